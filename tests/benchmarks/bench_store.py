"""``store.get``, ``create`` and ``update``: what the store adds to the round trips and the commit that it cannot save.

And with Redis dead: what a call adds to the database's own time, with the breaker open, and what the first call takes.

``python -m tests.benchmarks.bench_store``
"""

from __future__ import annotations

import contextlib
import sqlite3
import statistics
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import redis
from sqlalchemy import bindparam, func, update
from sqlalchemy.engine import Engine

from checkout_cli.config.settings import Settings
from checkout_cli.keys import session_key
from checkout_cli.session import TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.schema import sessions
from checkout_cli.store.protocol.publishing import Outcome
from checkout_cli.store.records import Record
from checkout_cli.store.redis.connection import connection_pool
from tests.benchmarks.harness import (
    TTL,
    Place,
    Result,
    bare_database,
    fill,
    in_turn,
    kilobyte_session,
    once,
    place,
    show,
)

READS = 10_000
WRITES = 1_000
SESSIONS = 300
FEW, MANY = 300, 100_000
ROUND_TRIPS_OF_AN_UPDATE = 2.3
"""*open* and *publish*, the latter with the index entry; the fraction is for the scripts that Redis runs meanwhile."""
FIRST_CALL = 0.5
"""Seconds that the first call of an outage may take, with the default time-outs."""


def bare_client(where: Place) -> redis.Redis:
    """redis-py as it comes, on connections like the store's."""
    return redis.Redis(connection_pool=connection_pool(where.settings))


def bench_get() -> Result:
    """A trusted read, decoded, against redis-py's own GETEX of the same keys."""
    with place() as where, bare_client(where) as client:
        fields = kilobyte_session()
        ids = [where.store.create(fields).session.checkout_id for _ in range(SESSIONS)]
        keys = [session_key(checkout_id) for checkout_id in ids]
        assert where.store.get(ids[0]).tier is TierName.REDIS, "the reads would not be trusted ones"
        size = client.strlen(keys[0])
        ours, bare = in_turn(
            READS,
            lambda number: where.store.get(ids[number % SESSIONS]),
            lambda number: client.getex(keys[number % SESSIONS], px=1_800_000),
        )
        return Result(f"get, trusted, {size} bytes / bare getex", ours, bare, bar=1.25)


def bench_publish() -> Result:
    """A publish of 4 kB over what lies there, with its index entry, against redis-py's own SET of the same bytes."""
    with place() as where, bare_client(where) as client:
        redis, now = where.store.redis, where.store.clock.wall()
        body = b'{"checkoutId":"session-0001","notes":"%s"}' % (b"x" * 4_000)
        first = Record("session-0001", 1, body, now, now + TTL, "first-1")
        assert redis.publish(first, redis.claim("session-0001"), now)[0] is Outcome.SET, "nothing would be replaced"
        opened = [redis.open("session-0001")]

        def publish_alone(number: int) -> float:
            seen = opened.pop()
            record = Record("session-0001", number + 2, body, now, now + TTL, f"write-{number + 1}")
            started = time.perf_counter()
            outcome, _ = redis.publish(record, seen, now)
            took = time.perf_counter() - started
            assert outcome is Outcome.SET
            opened.append(redis.open("session-0001"))
            return took

        def set_alone(_: int) -> float:
            started = time.perf_counter()
            client.set("plain", body, px=TTL)
            return time.perf_counter() - started

        times = [(publish_alone(number), set_alone(number)) for number in range(WRITES)]
        ours, bare = (statistics.median(some) for some in zip(*times, strict=True))
        return Result("publish, 4 kB / bare set of the same bytes", ours, bare, bar=1.5)


def bench_create() -> Result:
    """A creation where many sessions live, against one where few do; in two places, in turn."""
    with place() as few, place() as many:
        fill(few, FEW)
        fill(many, MANY)
        fields = kilobyte_session()
        with_many, with_few = in_turn(WRITES, lambda _: many.store.create(fields), lambda _: few.store.create(fields))
        return Result(f"create at {MANY:,} sessions / at {FEW:,}", with_many, with_few, bar=1.1)


def bench_update() -> list[Result]:
    """An update, against the commit of the very row, by SQLAlchemy and by the driver alone, and its round trips.

    Without the statistics and the tracking of users: what these add is measured by ``bench_bookkeeping``.
    """
    alone = {"enable_statistics": False, "enable_user_sessions": False}
    with place(**alone) as where, place() as bare, place() as plain, bare_client(where) as client:
        fields = kilobyte_session()
        ids = [where.store.create(fields).session.checkout_id for _ in range(SESSIONS)]
        for checkout_id in ids:
            bare.store.create(fields, checkout_id=checkout_id)
            plain.store.create(fields, checkout_id=checkout_id)
        engine = plain.store.database._engine
        now = where.store.clock.wall()
        keys = [session_key(checkout_id) for checkout_id in ids]
        with bare_database(bare) as connection:
            ours, with_sqlalchemy, commit, round_trip = in_turn(
                WRITES,
                lambda number: where.store.update(ids[number % SESSIONS], {"notes": f"ring {number} times"}),
                lambda number: _sqlalchemy_update(engine, ids[number % SESSIONS], now + TTL + number),
                lambda number: _bare_update(connection, ids[number % SESSIONS], now + TTL + number),
                lambda number: client.getex(keys[number % SESSIONS], px=1_800_000),
            )
        needed = ROUND_TRIPS_OF_AN_UPDATE * round_trip
        trips = f"{ROUND_TRIPS_OF_AN_UPDATE} round trips"
        return [
            Result(f"update / SQLAlchemy's own commit + {trips}", ours, with_sqlalchemy + needed, bar=1.0),
            Result(f"update / the bare driver's commit + {trips}", ours, commit + needed),
        ]


_SQLALCHEMY_UPDATE = (
    update(sessions)
    .where(sessions.c.checkout_id == bindparam("id"), sessions.c.version > 0, sessions.c.body.is_not(None))
    .values(
        version=sessions.c.version + 1,
        body=func.json_set(sessions.c.body, "$.notes", bindparam("note")),
        expires_at=bindparam("moment"),
        updated_at=bindparam("moment"),
        write_id=bindparam("write"),
    )
)


def _sqlalchemy_update(engine: Engine, checkout_id: str, moment: int) -> None:
    """The row's columns as an update of the store changes them, by SQLAlchemy as it comes."""
    values = {"id": checkout_id, "note": f"ring at {moment}", "moment": moment, "write": str(uuid.uuid4())}
    with engine.begin() as connection:
        connection.execute(_SQLALCHEMY_UPDATE, values)


def _bare_update(connection: sqlite3.Connection, checkout_id: str, moment: int) -> None:
    """The row's columns as an update of the store changes them."""
    connection.execute(
        "UPDATE checkoutctl_sessions SET version = version + 1, body = json_set(body, '$.notes', ?), expires_at = ?,"
        " updated_at = ?, write_id = ? WHERE checkout_id = ? AND version > 0 AND body IS NOT NULL",
        (f"ring at {moment}", moment, moment, str(uuid.uuid4()), checkout_id),
    )
    connection.commit()


def bench_outage() -> list[Result]:
    """With Redis dead and the breaker open: the 99th percentile of a call against the database's own, measured alike.

    The breaker lets one caller try again from time to time, at its own pace: such tries are among the calls. Each
    session was read once before: the first read in an outage also writes its expiry down, once in a tenth of the TTL.
    """
    with place() as where:
        fields = kilobyte_session()
        ids = [where.store.create(fields).session.checkout_id for _ in range(SESSIONS)]
        where.store.notes.write_down()
        where.server.kill()
        now = where.store.clock.wall()
        with bare_database(where) as connection, contextlib.closing(CheckoutStore.open(_as_by_default(where))) as store:
            get, update, read, commit = percentiles(
                WRITES,
                lambda number: store.get(ids[number % SESSIONS]),
                lambda number: store.update(ids[number % SESSIONS], {"notes": f"ring {number} times"}),
                lambda number: _bare_read(connection, ids[number % SESSIONS]),
                lambda number: _bare_update(connection, ids[number % SESSIONS], now + TTL + number),
                warm_up=SESSIONS,
            )
        return [
            Result("get without Redis, p99 / 2 × bare read + 2 ms", get, 2 * read + 0.002, bar=1.0),
            Result("update without Redis, p99 / 2 × bare commit + 2 ms", update, 2 * commit + 0.002, bar=1.0),
        ]


def bench_first_call() -> list[Result]:
    """The first call after Redis has died, and after it has frozen, against the budget of all time-outs."""
    results = []
    for how in ("died", "frozen"):
        with place() as where, contextlib.closing(CheckoutStore.open(_as_by_default(where))) as store:
            checkout_id = store.create(kilobyte_session()).session.checkout_id
            assert store.get(checkout_id).tier is TierName.REDIS
            where.server.kill() if how == "died" else where.server.pause()
            took = once(lambda store=store, checkout_id=checkout_id: store.get(checkout_id))  # type: ignore[misc]
            where.server.resume()
            results.append(Result(f"first get when Redis has {how} / its budget", took, FIRST_CALL, bar=1.0))
    return results


def _as_by_default(where: Place) -> Settings:
    """The place's settings with the time-outs that a shop has if it sets none."""
    default = Settings()
    return replace(where.settings, timeout=default.timeout, database_timeout=default.database_timeout)


def percentiles(times: int, *contestants: Callable[[int], Any], percentile: int = 99, warm_up: int = 20) -> list[float]:
    """Such a percentile of the seconds of each contestant, called in turn."""
    samples: list[list[float]] = [[] for _ in contestants]
    for number in range(warm_up + times):
        for sample, contestant in zip(samples, contestants, strict=True):
            started = time.perf_counter()
            contestant(number)
            if number >= warm_up:
                sample.append(time.perf_counter() - started)
    return [statistics.quantiles(sample, n=100)[percentile - 1] for sample in samples]


def _bare_read(connection: sqlite3.Connection, checkout_id: str) -> None:
    """One row, by the bare driver."""
    connection.execute(
        "SELECT checkout_id, version, body, created_at, expires_at FROM checkoutctl_sessions WHERE checkout_id = ?",
        (checkout_id,),
    ).fetchone()


def main() -> None:
    """Measure, and print the table."""
    show("The store: medians", [bench_get(), bench_publish(), bench_create(), *bench_update()])
    show("Without Redis", [*bench_outage(), *bench_first_call()])


if __name__ == "__main__":
    main()
