"""What the benchmarks share: servers of their own, sessions in bulk, interleaved timing, one table.

Run them by hand, from the project's root: ``python -m tests.benchmarks.bench_store``. A benchmark prints and never
fails: a time depends on the machine, so each bar is a ratio of two things that were measured in turn, in one run.
"""

from __future__ import annotations

import contextlib
import gc
import json
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import text

from checkout_cli.commands.demo.data import legacy_session
from checkout_cli.config.settings import Settings
from checkout_cli.keys import INDEX, SESSION_PREFIX
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.engine import make_engine
from checkout_cli.store.protocol.value import encode
from tests.support.servers import ValkeyServer

TTL = 3_600_000
"""Milliseconds for which sessions that were filled in live: longer than any benchmark runs."""
FILLED_AT_ONCE = 2000
"""Sessions that one script makes."""


@dataclass(frozen=True)
class Result:
    """One line of a table. Times are in seconds; ``bar`` is the largest ratio that is good enough."""

    what: str
    measured: float
    baseline: float
    bar: float | None = None

    @property
    def ratio(self) -> float:
        return self.measured / self.baseline


def show(title: str, results: Sequence[Result]) -> None:
    """Print the table, columns aligned, times in the unit that suits them."""
    head = ("what", "measured", "baseline", "ratio", "bar", "")
    rows = [head, *(_cells(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    print(f"\n{title}")
    for row in rows:
        print(row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:]), sep="  ")


def _cells(result: Result) -> tuple[str, ...]:
    if result.bar is None:
        bar, verdict = "-", ""
    else:
        bar, verdict = f"{result.bar:.3g}", "ok" if result.ratio <= result.bar else "MISSED"
    return result.what, duration(result.measured), duration(result.baseline), f"{result.ratio:.3f}", bar, verdict


def duration(seconds: float) -> str:
    """Seconds as a person reads them."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.2f} {unit}"
    return f"{seconds * 1e6:.1f} µs"


def in_turn(times: int, *contestants: Callable[[int], Any], warm_up: int = 20) -> list[float]:
    """The median seconds of each contestant, called one after the other, every round in another order.

    Each call gets the number of its round, so that contestants can take the same session in the same round.
    """
    for number in range(warm_up):
        for contestant in contestants:
            contestant(number)
    samples: list[list[float]] = [[] for _ in contestants]
    order = list(range(len(contestants)))
    gc.collect()
    for number in range(warm_up, warm_up + times):
        for place in order:
            started = time.perf_counter()
            contestants[place](number)
            samples[place].append(time.perf_counter() - started)
        order = order[1:] + order[:1]
    return [statistics.median(sample) for sample in samples]


def once(work: Callable[[], Any]) -> float:
    """The seconds that one call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


_WITNESS = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak_memory(command: Sequence[str], **options: Any) -> float:
    """The most memory that a process takes, in MB (getrusage(2), ``ru_maxrss``).

    Started by a small process: until its own program begins, the memory of the one that starts it counts as its own,
    and that of a benchmark is larger than what is to be measured.
    """
    witness = [sys.executable, "-I", "-S", "-c", _WITNESS, *command]
    return int(subprocess.run(witness, capture_output=True, check=True, **options).stdout) / 1024


@dataclass(frozen=True)
class Place:
    """A server, a database and a store on both."""

    server: ValkeyServer
    store: CheckoutStore

    @property
    def settings(self) -> Settings:
        return self.store.settings

    def client(self) -> redis.Redis:
        """A bare redis-py client that waits as long as a blocking command takes."""
        return self.server.client(socket_timeout=120)


@contextlib.contextmanager
def place(**changes: Any) -> Iterator[Place]:
    """An empty server and an empty database of our own; gone afterwards, with all the memory and disk they took.

    ``changes`` are settings other than usual.
    """
    with (
        tempfile.TemporaryDirectory(prefix="checkoutctl-benchmark-") as directory,
        ValkeyServer(Path(directory) / "server", "--slowlog-max-len", "100000") as server,
    ):
        settings = Settings(
            redis_host=HOST,
            redis_port=server.port,
            database_url=f"sqlite:///{Path(directory) / 'checkout.db'}",
            timeout=5.0,  # of a busy machine: a benchmark measures the wait, so it must not cut it short
            database_timeout=30.0,
            **changes,
        )
        with CheckoutStore.open(settings) as store:
            store.database.create_schema()
            yield Place(server, store)


@contextlib.contextmanager
def bare_database(where: Place) -> Iterator[sqlite3.Connection]:
    """The place's database by the bare driver, with commits as durable and a page cache as large as the store's."""
    path = where.settings.database_url.removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-32768")
        yield connection


def kilobyte_session(seed: int = 1) -> dict[str, Any]:
    """The fields of a realistic session of about 1 kB of JSON, without what the store itself adds."""
    chance = random.Random(seed)
    candidates = [legacy_session(chance, 0)[1] for _ in range(200)]
    chosen = min(candidates, key=lambda fields: abs(len(json.dumps(fields, separators=(",", ":"))) - 1000))
    return {name: value for name, value in chosen.items() if name not in {"checkoutId", "createdAt", "expiresAt"}}


_FILL_REDIS = """
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local id = string.format('%08x-0000-4000-8000-%012x', (number * 2654435761) % 4294967296, number)
  if ARGV[5] ~= '' then
    redis.call('SET', ARGV[6] .. id, ARGV[5], 'PX', ARGV[4])
  end
  redis.call('ZADD', KEYS[1], tonumber(ARGV[3]) - number, id)
end
"""
_FILL_DATABASE = text("""
INSERT INTO checkoutctl_sessions
WITH RECURSIVE numbers(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n < :last)
SELECT printf('%08x-0000-4000-8000-%012x', (n * 2654435761) % 4294967296, n), 1, :body, 'pending', 0,
       :created_at, :created_at, :expires_at - n, 1, 'benchmark'
FROM numbers
""")


def fill(
    where: Place,
    count: int,
    *,
    first: int = 1,
    expired: bool = False,
    in_redis: bool = True,
    in_database: bool = True,
) -> None:
    """Put sessions into the index, Redis and the database, as the store would have, but quickly; ``first`` is a number.

    All have the same content: what is measured never depends on it, and it lets both servers make them by themselves.
    Of an expired session, Redis has no more than the index entry.
    """
    now = where.store.clock.wall()
    expires_at = now - 1000 if expired else now + TTL
    body = json.dumps(kilobyte_session(), separators=(",", ":"), ensure_ascii=False).encode()
    value = encode(1, where.store.redis.identity("any-session"), body)
    if in_redis:
        with where.client() as client:
            content = b"" if expired else value
            for start in range(first, first + count, FILLED_AT_ONCE):
                last = min(start + FILLED_AT_ONCE, first + count) - 1
                client.eval(_FILL_REDIS, 1, INDEX, start, last, expires_at, TTL, content, SESSION_PREFIX)
    if in_database:
        engine = make_engine(where.settings)
        with engine.begin() as connection:
            connection.execute(
                _FILL_DATABASE,
                {
                    "first": first,
                    "last": first + count - 1,
                    "body": body.decode(),
                    "created_at": now - 60_000,
                    "expires_at": expires_at,
                },
            )
        with engine.connect() as connection:  # on disk and out of the way, as rows are that were written an hour ago
            connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        engine.dispose()
