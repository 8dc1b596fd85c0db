"""``doctor`` at a million sessions: as a process, check by check, and the memory that it takes.

It takes about 1.5 GB of memory and of disk, and two minutes. ``python -m tests.benchmarks.bench_doctor``
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from checkout_cli.commands.doctor.run import all_checks, run_checks
from checkout_cli.files.last_look import LastLook
from checkout_cli.servers.embedded import HOST
from tests.benchmarks.harness import Place, Result, duration, fill, once, peak_memory, place, show

SESSIONS = 1_000_000
BAR = 3.0
"""Seconds for all checks."""
MOST_MEMORY = 100
"""MB that the process may take at its peak."""
SHOWN = 12


COMMAND = (sys.executable, "-m", "checkout_cli", "doctor", "--json")


def environment(where: Place, directory: str) -> dict[str, str]:
    """What the command needs to find the place."""
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": directory,
        "REDIS_HOST": HOST,
        "REDIS_PORT": str(where.server.port),
        "DATABASE_URL": where.settings.database_url,
    }


def whole(where: Place, directory: str) -> dict[str, int]:
    """The command, from its start to its end; returns how many checks ended how."""
    done = subprocess.run(COMMAND, env=environment(where, directory), cwd=directory, capture_output=True, check=False)
    summary: dict[str, int] = json.loads(done.stdout)["summary"]
    return summary


def main() -> None:
    """Fill, run three times, and run each check by itself."""
    with place() as where, tempfile.TemporaryDirectory() as directory:
        fill(where, SESSIONS)
        summaries: list[dict[str, int]] = []
        times = [once(lambda: summaries.append(whole(where, directory))) for _ in range(3)]
        peak = peak_memory(COMMAND, env=environment(where, directory), cwd=directory)
        title = f"doctor at {SESSIONS:,} sessions: the slowest of three runs of the command / {BAR:g} s"
        show(title, [Result("doctor", max(times), BAR, 1.0)])
        print(f"checks: {', '.join(f'{number} {status}' for status, number in summaries[-1].items())}")
        verdict = "ok" if peak <= MOST_MEMORY else "MISSED"
        print(f"peak memory of the process: {peak:.0f} MB; bar {MOST_MEMORY} MB: {verdict}")
        spent = {}
        for name, check in all_checks().items():
            look = LastLook(Path(directory) / "state")
            spent[name] = once(
                lambda check=check, look=look: run_checks(
                    lambda: where.settings, [check], directory=Path(directory), environ={}, last_look=look
                )
            )
        slowest = sorted(spent.items(), key=lambda item: -item[1])[:SHOWN]
        print("\nThe slowest checks, each by itself, with its connections")
        for name, seconds in slowest:
            print(f"  {name:<20} {duration(seconds):>10}")


if __name__ == "__main__":
    main()
