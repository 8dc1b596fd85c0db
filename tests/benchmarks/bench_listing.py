"""``sessions list --limit 50`` among a million sessions, against the same among a thousand.

It takes about 2.5 GB: each session is in Redis and in the database, as the store leaves it. All of it is given back.

``python -m tests.benchmarks.bench_listing``
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import islice

from tests.benchmarks.harness import Place, Result, fill, in_turn, place, show

FEW, MANY = 1_000, 1_000_000
LIMIT = 50
CALLS = 200
PROCESSES = 15
BAR = 1.2


def call(where: Place) -> Callable[[int], object]:
    """What the command asks the store for."""

    def first_page(_: int) -> None:
        seen = list(islice(where.store.admin.iterate(), LIMIT))
        assert len(seen) == LIMIT, f"only {len(seen)} sessions were seen"

    return first_page


def process(where: Place) -> Callable[[int], object]:
    """The whole command, from its start to its end."""
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "REDIS_HOST": where.settings.redis_host,
        "REDIS_PORT": str(where.settings.redis_port),
        "DATABASE_URL": where.settings.database_url,
    }
    command = [sys.executable, "-m", "checkout_cli", "sessions", "list", "--limit", str(LIMIT), "--output", "ids"]

    def run(_: int) -> None:
        done = subprocess.run(command, env=environment, cwd=where.server.directory, capture_output=True, check=True)
        assert done.stdout.count(b"\n") == LIMIT, "not one line for each session"

    return run


def main() -> None:
    """Measure, and print the table."""
    with place() as few, place() as many:
        fill(few, FEW)
        fill(many, MANY)
        call_many, call_few = in_turn(CALLS, call(many), call(few))
        process_many, process_few = in_turn(PROCESSES, process(many), process(few), warm_up=2)
    results = [
        Result(f"store.iterate, first {LIMIT}", call_many, call_few, bar=BAR),
        Result(f"checkoutctl sessions list --limit {LIMIT}", process_many, process_few, bar=BAR),
    ]
    show(f"List {LIMIT} of {MANY:,} sessions / of {FEW:,}: medians", results)


if __name__ == "__main__":
    main()
