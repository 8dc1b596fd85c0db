"""``store.get``, ``create`` and ``update``: what the store adds to the round trips and the commit that it cannot save.

``python -m tests.benchmarks.bench_store``
"""

from __future__ import annotations

import sqlite3
import uuid

import redis

from checkout_cli.keys import session_key
from checkout_cli.session import TierName
from checkout_cli.store.redis_connection import connection_pool
from tests.benchmarks.harness import TTL, Place, Result, bare_database, fill, in_turn, kilobyte_session, place, show

READS = 10_000
WRITES = 1_000
SESSIONS = 300
FEW, MANY = 300, 100_000
ROUND_TRIPS_OF_AN_UPDATE = 2.3
"""*open* and *publish*, the latter with the index entry; the fraction is for the scripts that Redis runs meanwhile."""


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


def bench_create() -> Result:
    """A creation where many sessions live, against one where few do; in two places, in turn."""
    with place() as few, place() as many:
        fill(few, FEW)
        fill(many, MANY)
        fields = kilobyte_session()
        with_many, with_few = in_turn(WRITES, lambda _: many.store.create(fields), lambda _: few.store.create(fields))
        return Result(f"create at {MANY:,} sessions / at {FEW:,}", with_many, with_few, bar=1.1)


def bench_update() -> Result:
    """An update, against the commit of the very row by the bare driver and the round trips that it needs."""
    with place() as where, place() as bare, bare_client(where) as client:
        fields = kilobyte_session()
        ids = [where.store.create(fields).session.checkout_id for _ in range(SESSIONS)]
        for checkout_id in ids:
            bare.store.create(fields, checkout_id=checkout_id)
        now = where.store.clock.wall()
        keys = [session_key(checkout_id) for checkout_id in ids]
        with bare_database(bare) as connection:
            ours, commit, round_trip = in_turn(
                WRITES,
                lambda number: where.store.update(ids[number % SESSIONS], {"notes": f"ring {number} times"}),
                lambda number: _bare_update(connection, ids[number % SESSIONS], now + TTL + number),
                lambda number: client.getex(keys[number % SESSIONS], px=1_800_000),
            )
        baseline = commit + ROUND_TRIPS_OF_AN_UPDATE * round_trip
        return Result(f"update / bare commit + {ROUND_TRIPS_OF_AN_UPDATE} round trips", ours, baseline)


def _bare_update(connection: sqlite3.Connection, checkout_id: str, moment: int) -> None:
    """The row's columns as an update of the store changes them."""
    connection.execute(
        "UPDATE checkout_sessions SET version = version + 1, body = json_set(body, '$.notes', ?), expires_at = ?,"
        " updated_at = ?, write_id = ? WHERE checkout_id = ? AND version > 0 AND body IS NOT NULL",
        (f"ring at {moment}", moment, moment, str(uuid.uuid4()), checkout_id),
    )
    connection.commit()


def main() -> None:
    """Measure, and print the table."""
    show("The store: medians", [bench_get(), bench_create(), bench_update()])


if __name__ == "__main__":
    main()
