"""``cleanup --expired`` of 100,000 sessions, against the way of the shop that it was written for.

The shop reads everything, blocking its server, and then makes two round trips for each session that has ended. It is
played here by a bare redis-py client. There it took 16.9 s, and the bar is a clean-up within 1.0 s.

The shop has no rows to delete. Those are compared with the bare driver that deletes the same rows in commits of the
same size: what any clean-up must pay that lets others write in between.

``python -m tests.benchmarks.bench_cleanup``
"""

from __future__ import annotations

import json
import sqlite3
import time
from typing import Any

import redis

from checkout_cli.commands.cleanup.expired import BATCH, ROWS_PER_ENTRY, CleanupReport, clean_up
from checkout_cli.keys import INDEX, SESSION_PREFIX
from checkout_cli.session import iso
from tests.benchmarks.harness import Place, Result, bare_database, duration, fill, kilobyte_session, once, place, show

EXPIRED = 100_000
BAR = 1.0 / 16.9
LONGEST_COMMAND = 0.005
"""Seconds for which a single command may keep Redis from everybody else."""
LOGGED_FROM = 500
"""Microseconds from which Redis logs a command as slow, while it is watched."""
OUR_OWN = (b"CONFIG", b"SLOWLOG")


def bench_shop() -> tuple[float, str]:
    """The shop's way: KEYS, one MGET of everything, then DEL and SREM for each."""
    with place() as where, where.client() as client:
        _fill_as_the_shop(client, where.store.clock.wall())
        _watch(client)
        seconds = once(lambda: clean_up_as_the_shop(client))
        assert client.dbsize() == 0, "the shop's way has left something behind"
        return seconds, _slowest(client)


def _fill_as_the_shop(client: redis.Redis, now: int) -> None:
    fields = kilobyte_session()
    for first in range(0, EXPIRED, 5000):
        ids = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(first, first + 5000)]
        moments = {"createdAt": iso(now - 3_600_000), "expiresAt": iso(now - 1000)}
        values = {SESSION_PREFIX + name: json.dumps({"checkoutId": name, **fields, **moments}) for name in ids}
        client.mset(values)
        client.sadd(INDEX, *ids)


def clean_up_as_the_shop(client: redis.Redis) -> None:
    """Read everything, then two round trips for each that has ended."""
    keys: Any = client.keys(SESSION_PREFIX + "*")
    values: Any = client.mget(keys)
    now = iso(time.time_ns() // 1_000_000)
    for key, value in zip(keys, values, strict=True):
        if json.loads(value)["expiresAt"] < now:
            client.delete(key)
            client.srem(INDEX, key.removeprefix(SESSION_PREFIX.encode()))


def bench_ours(*, in_database: bool) -> tuple[float, str]:
    """The whole clean-up; without rows it is Redis' share alone: entries whose keys have gone."""
    with place() as where, where.client() as client:
        fill(where, EXPIRED, expired=True, in_database=in_database)
        _watch(client)
        reports: list[CleanupReport] = []
        seconds = once(lambda: reports.append(clean_up(where.store)))
        _check(where, reports[0], in_database=in_database)
        return seconds, _slowest(client)


def bench_bare_deletes() -> float:
    """The rows alone, by the bare driver, as durably and in as many commits."""
    with place() as where, bare_database(where) as connection:
        fill(where, EXPIRED, expired=True, in_redis=False)
        seconds = once(lambda: _delete_bare(connection))
        assert where.store.database.totals().created == 0, "rows were left"
        return seconds


def _delete_bare(connection: sqlite3.Connection) -> None:
    choose = "SELECT checkout_id FROM checkoutctl_sessions ORDER BY expires_at LIMIT ?"
    while ids := [row[0] for row in connection.execute(choose, (BATCH * ROWS_PER_ENTRY,))]:
        marks = ",".join("?" * len(ids))
        connection.execute(f"DELETE FROM checkoutctl_sessions WHERE checkout_id IN ({marks})", ids)  # noqa: S608  (marks)
        connection.commit()


def _check(where: Place, report: CleanupReport, *, in_database: bool) -> None:
    assert report.finished, "the clean-up did not finish"
    assert report.removed_from_index == EXPIRED, f"only {report.removed_from_index} entries were removed"
    assert report.removed_from_database == (EXPIRED if in_database else 0), "rows were left"
    assert where.store.database.totals().created == report.removed_from_database, "the totals forgot the removed"


def _watch(client: redis.Redis) -> None:
    client.config_set("slowlog-log-slower-than", LOGGED_FROM)
    client.slowlog_reset()


def _slowest(client: redis.Redis) -> str:
    """The command that blocked Redis for longest, as a line to print."""
    logged: Any = client.slowlog_get(100_000)
    slow = [(entry["duration"] / 1e6, entry["command"].split(b" ")[0]) for entry in logged]
    slow = [(seconds, command) for seconds, command in slow if command not in OUR_OWN]
    if not slow:
        return f"no command took {LOGGED_FROM} µs"
    longest, command = max(slow)
    verdict = "ok" if longest <= LONGEST_COMMAND else "MISSED"
    return f"{duration(longest)} ({command.decode()}; {len(slow)} of {LOGGED_FROM} µs or more); bar 5 ms: {verdict}"


def main() -> None:
    """Measure, and print the tables."""
    shop, shop_slowest = bench_shop()
    bare = bench_bare_deletes()
    redis_alone, redis_slowest = bench_ours(in_database=False)
    everything, everything_slowest = bench_ours(in_database=True)
    results = [
        Result("index entries alone / the shop's way", redis_alone, shop, bar=BAR),
        Result("index entries and rows / the shop's way", everything, shop, bar=BAR),
        Result("index entries and rows / bare deletes of the rows", everything, bare),
    ]
    show(f"Clean up {EXPIRED:,} expired sessions", results)
    print("\nThe longest that one command blocked Redis")
    print(f"index entries alone     {redis_slowest}")
    print(f"index entries and rows  {everything_slowest}")
    print(f"the shop's way          {shop_slowest}")


if __name__ == "__main__":
    main()
