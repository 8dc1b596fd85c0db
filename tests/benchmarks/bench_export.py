"""``sessions export`` of a million sessions, against a bare loop of ZRANGE and MGET that decodes nothing.

It takes about 2.5 GB: each session is in Redis and in the database, as the store leaves it.

``python -m tests.benchmarks.bench_export``; with a number behind it, so many sessions.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.harness import Place, Result, fill, once, peak_memory, place, show

SESSIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
PAGE = 500
BAR = 1 / 0.8
MOST_MEMORY = 120
COMMAND = (sys.executable, "-m", "checkout_cli", "sessions", "export")
_BARE = """
import sys, redis
client = redis.Redis(port=int(sys.argv[1]), socket_timeout=60)
start = number = 0
while ids := client.zrange("checkout:index", start, start + int(sys.argv[2]) - 1):
    number += len(client.mget([b"checkout:session:" + name for name in ids]))
    start += len(ids)
assert number == int(sys.argv[3]), number
"""


def environment(where: Place) -> dict[str, str]:
    """What the command needs to find the place."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "REDIS_HOST": where.settings.redis_host,
        "REDIS_PORT": str(where.settings.redis_port),
        "DATABASE_URL": where.settings.database_url,
    }


def bare(where: Place) -> None:
    """The loop, as a process of its own."""
    arguments = (str(where.settings.redis_port), str(PAGE), str(SESSIONS))
    subprocess.run([sys.executable, "-c", _BARE, *arguments], check=True)


def export(where: Place, *options: str) -> None:
    """The command, into a file."""
    target = Path(where.server.directory) / "export"
    with target.open("wb") as stream:
        subprocess.run(
            [*COMMAND, *options],
            env=environment(where),
            cwd=target.parent,
            stdout=stream,
            check=True,
            stderr=subprocess.DEVNULL,
        )
    with target.open("rb") as stream:
        assert sum(1 for _ in stream) == SESSIONS, "not one line for each session"


def main() -> None:
    """Measure in turn, and print."""
    with place() as where:
        fill(where, SESSIONS)
        baseline = min(once(lambda: bare(where)) for _ in range(2))
        masked = once(lambda: export(where))
        revealed = once(lambda: export(where, "--reveal"))
        baseline = min(baseline, once(lambda: bare(where)))
        show(
            f"Export of {SESSIONS:,} sessions, whole processes",
            [
                Result("sessions export / zrange + mget", masked, baseline, bar=BAR),
                Result("sessions export --reveal / zrange + mget", revealed, baseline, bar=BAR),
            ],
        )
        peak = peak_memory(COMMAND, env=environment(where), cwd=where.server.directory)
        verdict = "ok" if peak <= MOST_MEMORY else "MISSED"
        print(f"peak memory of the process: {peak:.0f} MB; bar {MOST_MEMORY} MB: {verdict}")


if __name__ == "__main__":
    main()
