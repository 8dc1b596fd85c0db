"""An older program's SET with a million members at ``checkout:index``: what it costs whom.

Twice: most of the members have leaked, as its ids do; and every one of them is a living session. It takes about 1 GB of
memory and some minutes. ``python -m tests.benchmarks.bench_index``
"""

from __future__ import annotations

import sys

import redis

from checkout_cli.commands.cleanup.expired import clean_up
from checkout_cli.commands.sessions.index_adoption import adopt_index
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.keys import INDEX, INDEX_ASIDE, INDEX_BESIDE, SESSION_PREFIX
from checkout_cli.store.checkout_store import CheckoutStore
from tests.benchmarks.bench_cleanup import LOGGED_FROM
from tests.benchmarks.harness import (
    FILLED_AT_ONCE,
    TTL,
    Place,
    Result,
    duration,
    in_turn,
    once,
    peak_memory,
    place,
    show,
)

MEMBERS, LIVING = 1_000_000, 10_000
MOST_MEMORY = 120.0
"""MB that a command may take."""
ROUNDS = 200

_FILL = """
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local id = string.format('%08x-0000-4000-8000-%012x', (number * 2654435761) % 4294967296, number)
  if number <= tonumber(ARGV[3]) then
    redis.call('SET', ARGV[4] .. id, '{"totalAmount":1}', 'PX', ARGV[5])
  end
  redis.call('SADD', KEYS[1], id)
end
"""


def fill_set(client: redis.Redis, living: int) -> None:
    """What an older program has left, so many of it alive."""
    for start in range(1, MEMBERS + 1, FILLED_AT_ONCE):
        last = min(start + FILLED_AT_ONCE, MEMBERS + 1) - 1
        client.eval(_FILL, 1, INDEX, start, last, living, SESSION_PREFIX, TTL)


def of_writes() -> list[Result]:
    """A create beside the SET, against one with our index at its own place."""
    with place() as where, place() as plain, where.client() as client:
        fill_set(client, LIVING)
        beside, own = where.store, plain.store
        measured, baseline = in_turn(ROUNDS, lambda _: beside.create({}), lambda _: own.create({}))
        return [Result("create beside the set / at its own place", measured, baseline, bar=1.06)]


def of_the_rest(living: int) -> list[tuple[str, str]]:
    """Counting, listing, cleaning up and adopting: how long each takes, and what it takes of this machine."""
    told: list[tuple[str, str]] = []
    with place() as where, where.client() as client:
        fill_set(client, living)
        client.config_set("slowlog-log-slower-than", LOGGED_FROM)
        client.slowlog_reset()
        told.append(_count("count, before any clean-up", where.store))
        told.append(("newest page of a list", duration(once(lambda: next(where.store.index.newest())))))
        told.append(("health, peak memory", _memory(where, "health", "--json")))
        seconds = once(lambda: clean_up(where.store, BoundedRun(max_seconds=600)))
        left = f"{client.scard(INDEX):,} members, {client.zcard(INDEX_BESIDE):,} entries"
        told.append(("first clean-up", f"{duration(seconds)}, leaves {left}"))
        told.append(_count("count, after it", where.store))
        told.append(("next clean-up", duration(once(lambda: clean_up(where.store)))))
        told.append(("clean-up, peak memory", _memory(where, "cleanup", "--expired")))
        seconds = once(lambda: adopt_index(where.store, agreed=lambda _: True))
        assert client.zcard(INDEX) == living, "a session has lost its entry"
        assert not client.exists(INDEX_BESIDE, INDEX_ASIDE), "something was left"
        told.append(("adopt", f"{duration(seconds)}, {client.zcard(INDEX):,} entries"))
        told.append(("longest command", _slowest(client)))
    with place() as where, where.client() as client:
        fill_set(client, living)
        told.append(("adopt without a clean-up before", _memory(where, "sessions", "index", "adopt", "--yes")))
        assert client.zcard(INDEX) == living, "a session has lost its entry"
    return told


def _count(what: str, store: CheckoutStore) -> tuple[str, str]:
    counts = []
    seconds = once(lambda: counts.append(store.index.count(store.clock.wall())))
    return what, f"{duration(seconds)}: {counts[0].number:,}{'' if counts[0].exact else ' or more'}"


def _memory(where: Place, *command: str) -> str:
    environment = {
        "PATH": "",
        "REDIS_HOST": where.settings.redis_host,
        "REDIS_PORT": str(where.settings.redis_port),
        "DATABASE_URL": where.settings.database_url,
        "XDG_STATE_HOME": str(where.server.directory),
        "HOME": str(where.server.directory),
    }
    taken = [0.0]

    def run() -> None:
        taken[0] = peak_memory(
            [sys.executable, "-m", "checkout_cli", *command], env=environment, cwd=where.server.directory
        )

    seconds = once(run)
    verdict = "ok" if taken[0] < MOST_MEMORY else "MISSED"
    return f"{taken[0]:.0f} MB in {duration(seconds)}; bar {MOST_MEMORY:.0f} MB: {verdict}"


def _slowest(client: redis.Redis) -> str:
    logged = client.slowlog_get(100_000)
    slow = [(entry["duration"], entry["command"][:60].decode(errors="replace")) for entry in logged]
    longest, command = max(
        (each for each in slow if not each[1].startswith(("CONFIG", "SLOWLOG", "EVAL "))), default=(0, "")
    )
    return f"{duration(longest / 1e6)} ({command})"


def main() -> None:
    """Measure, and print."""
    show(f"Beside a SET with {MEMBERS:,} members", of_writes())
    for living in (LIVING, MEMBERS):
        print(f"\n{MEMBERS:,} members, {living:,} of them alive")
        for what, value in of_the_rest(living):
            print(f"{what:<34}{value}")


if __name__ == "__main__":
    main()
