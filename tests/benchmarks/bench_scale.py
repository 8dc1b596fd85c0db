"""A million sessions: clean-up among them, the index' check, and what shoppers feel of what operators do.

It takes about 6 GB of memory and disk, and some minutes. ``python -m tests.benchmarks.bench_scale``
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from checkout_cli.commands.cleanup.expired import clean_up
from checkout_cli.commands.sessions.index import check_index
from checkout_cli.keys import INDEX, SESSION_PREFIX
from checkout_cli.session import iso
from tests.benchmarks.bench_cleanup import clean_up_as_the_shop
from tests.benchmarks.harness import Place, Result, fill, kilobyte_session, once, place, show

SESSIONS, EXPIRED = 1_000_000, 100_000
CLEAN_UP_BAR, SHOP_BAR, CHECK_BAR, SHOPPER_BAR = 1.0, 1 / 15, 15.0, 2.0
"""Seconds; a part of the shop's time; seconds; times the undisturbed p99."""
SHOPPING = 6.0
"""Seconds for which a shopper is watched."""

_FILL_SHOP = """
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local id = string.format('%08x-0000-4000-8000-%012x', (number * 2654435761) % 4294967296, number)
  redis.call('SET', ARGV[4] .. id, ARGV[3], 'PX', 3600000)
  redis.call('SADD', KEYS[1], id)
end
"""
_SHOPPER = """
import random, sys, time
from checkout_cli.config.settings import Settings
from checkout_cli.store.checkout_store import CheckoutStore
settings = Settings(redis_host=sys.argv[1], redis_port=int(sys.argv[2]), database_url=sys.argv[3],
                    timeout=5.0, database_timeout=30.0)
chance, took = random.Random(1), []
with CheckoutStore.open(settings) as store:
    until = time.monotonic() + float(sys.argv[4])
    while time.monotonic() < until:
        number = chance.randrange(1, int(sys.argv[5]))
        name = f"{(number * 2654435761) % 4294967296:08x}-0000-4000-8000-{number:012x}"
        started = time.perf_counter()
        store.get(name)
        took.append(time.perf_counter() - started)
        time.sleep(0.001)
took.sort()
print(took[int(len(took) * 0.99)])
"""


def shop_at_scale() -> float:
    """The shop's clean-up where a million of its sessions live."""
    with place() as where, where.client() as client:
        now = where.store.clock.wall()
        for first, count, expires_at in ((1, SESSIONS, now + 3_600_000), (SESSIONS + 1, EXPIRED, now - 1000)):
            value = json.dumps({**kilobyte_session(), "expiresAt": iso(expires_at)})
            for start in range(first, first + count, 2000):
                last = min(start + 2000, first + count) - 1
                client.eval(_FILL_SHOP, 1, INDEX, start, last, value, SESSION_PREFIX)
        return once(lambda: clean_up_as_the_shop(client))


def shopper(where: Place) -> subprocess.Popen[str]:
    """A process that reads random sessions, a thousand a second at most, and tells its p99 in seconds."""
    settings = where.settings
    arguments = (settings.redis_host, settings.redis_port, settings.database_url, SHOPPING, SESSIONS)
    command = [sys.executable, "-c", _SHOPPER, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def p99_during(where: Place, *command: str) -> float:
    """A shopper's p99 while a command runs, again and again until the shopper goes."""
    watched = shopper(where)
    while watched.poll() is None and command:
        _run(where, command)
    out, _ = watched.communicate()
    return float(out)


def _run(where: Place, command: Sequence[str]) -> None:
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "REDIS_HOST": where.settings.redis_host,
        "REDIS_PORT": str(where.settings.redis_port),
        "DATABASE_URL": where.settings.database_url,
        "XDG_STATE_HOME": str(where.server.directory),
    }
    with Path(os.devnull).open("w") as nowhere:
        subprocess.run(
            [sys.executable, "-m", "checkout_cli", *command],
            env=environment,
            cwd=where.server.directory,
            stdout=nowhere,
            stderr=nowhere,
            check=False,
        )


def main() -> None:
    """Measure, and print."""
    shop = shop_at_scale()
    with place() as where:
        fill(where, SESSIONS)
        clean_up(where.store)  # the first one on a server compares its index with all rows
        fill(where, EXPIRED, first=SESSIONS + 1, expired=True, in_database=False)
        redis_alone = once(lambda: clean_up(where.store))
        fill(where, EXPIRED, first=SESSIONS + 1, expired=True)
        everything = once(lambda: clean_up(where.store))
        check = once(lambda: check_index(where.store))
        show(
            f"{EXPIRED:,} expired sessions among {SESSIONS:,}",
            [
                Result("clean-up, index entries alone / 1 s", redis_alone, CLEAN_UP_BAR, bar=1.0),
                Result("clean-up, index entries alone / the shop's way", redis_alone, shop, bar=SHOP_BAR),
                Result("clean-up, entries and rows / 1 s", everything, CLEAN_UP_BAR, bar=1.0),
                Result("clean-up, entries and rows / the shop's way", everything, shop, bar=SHOP_BAR),
                Result("index check / 15 s", check, CHECK_BAR, bar=1.0),
            ],
        )
        calm = p99_during(where)
        commands = (("sessions", "export"), ("memory", "families"), ("sessions", "index", "check"))
        results = [
            Result(" ".join(command), p99_during(where, *command), calm, bar=SHOPPER_BAR) for command in commands
        ]
        fill(where, EXPIRED, first=SESSIONS + 1, expired=True)
        results.append(Result("cleanup --expired", p99_during(where, "cleanup", "--expired"), calm, bar=SHOPPER_BAR))
        show("A shopper's p99 of get, while an operator's command runs / undisturbed", results)


if __name__ == "__main__":
    main()
