"""Beside the older program: 150 checkouts step by step at one side or the other, and both sides at work at once.

``python -m tests.benchmarks.run_older_program``, or ``--only rolling --checkouts 30``, ``--only together --seconds 5``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.beside import rolling, together
from tests.beside.places import KINDS, Place, before_postgres
from tests.support.servers import PostgresServer

SQLITE, POSTGRES = "sqlite", "postgresql"
KEPT, DROPPED = 0.0, 1.0
WIDEST_WORD = 12
"""Characters."""


class Where(NamedTuple):
    """The servers of a run."""

    redis: str = "standalone"
    database: str = SQLITE
    durability: str = "database"


class Run(NamedTuple):
    """A line of the first table: where, what the older program does with our header, and what happens meanwhile."""

    where: Where
    fresh: float = KEPT
    meanwhile: str = ""


MEANWHILE: dict[str, dict[str, Any]] = {
    "": {},
    "3 restarts": {"restarts": 3},
    "failovers": {"restarts": 3},
    "old snapshot": {"old_snapshot": True},
    "no database": {"outage": True},
    "some typed": {"typed": 0.03},
}
PLACES = [
    Where(),
    Where(durability="redis"),
    Where(database=POSTGRES),
    Where(database=POSTGRES, durability="redis"),
    Where(redis="sentinel"),
    Where(redis="sentinel", durability="redis"),
    Where(redis="cluster"),
    Where(redis="cluster", durability="redis"),
]
ROLLING = [
    *(Run(where, fresh) for fresh in (KEPT, DROPPED) for where in PLACES),
    Run(Where(), 0.5),
    Run(Where(), KEPT, "some typed"),
    *(Run(where, fresh, "3 restarts") for fresh in (KEPT, DROPPED) for where in (PLACES[0], PLACES[1], PLACES[6])),
    *(Run(where, fresh, "failovers") for fresh in (KEPT, DROPPED) for where in PLACES[4:6]),
    *(Run(where, fresh, "no database") for fresh in (KEPT, DROPPED) for where in PLACES[2:4]),
    *(Run(where, fresh, "old snapshot") for fresh in (KEPT, DROPPED) for where in PLACES[:2]),
]
TOGETHER = [(where, fresh) for fresh in (KEPT, DROPPED) for where in PLACES]


class Servers:
    """What the runs share: one PostgreSQL, and a directory for the rest."""

    def __init__(self, directory: Path, postgres: PostgresServer) -> None:
        self._directory = directory
        self._postgres = postgres

    @contextmanager
    def at(self, where: Where) -> Iterator[tuple[Place, Path]]:
        """New servers of a kind, and a directory for the parties."""
        with tempfile.TemporaryDirectory(dir=self._directory) as name, ExitStack() as stack:
            directory = Path(name)
            place = stack.enter_context(KINDS[where.redis](directory / "servers"))
            if where.database == POSTGRES:
                place = stack.enter_context(before_postgres(place, self._postgres.create_database()))
            else:
                place = place.on_database(f"sqlite:///{directory / 'checkout.db'}")
            yield place.lasting(where.durability), directory


ROLLING_FIGURES = {
    "wrong: we": "wrong_as_we_read",
    "wrong: it": "wrong_as_it_reads",
    "it, later": "wrong_as_it_reads_afterwards",
    "not paid": "not_paid",
    "no order": "without_order",
    "refused": "refused",
    "SADD refused": "refused_additions",
    "silent": "silent",
    "conflicts": "conflicts",
    "unlisted": "unlisted",
    "in its list": "unlisted_there",
}
TOGETHER_FIGURES = {
    "ours": "ours",
    "lost": "ours_lost",
    "redis": "ours_in_redis",
    "redis lost": "ours_in_redis_lost",
    "its": "theirs",
    "last": "last",
    "missing": "last_missing",
    "after a read": "last_missing_afterwards",
    "last silent": "last_silent",
    "silent": "silent",
    "deleted": "deleted",
    "came back": "came_back",
    "conflicts": "conflicts",
}


def header(fresh: float) -> str:
    """What the older program does with our header, in a word."""
    return {KEPT: "kept", DROPPED: "dropped"}.get(fresh, "some dropped")


def roll_all(servers: Servers, number: int, seed: int) -> Iterator[Sequence[str]]:
    """The first table, line by line."""
    yield "redis", "database", "durability", "header", "meanwhile", *ROLLING_FIGURES
    for where, fresh, meanwhile in ROLLING:
        how = rolling.How(number=number, seed=seed, fresh=fresh, **MEANWHILE[meanwhile])
        with servers.at(where) as (place, directory):
            found = rolling.roll(place, how, directory)
        yield *where, header(fresh), meanwhile, *(str(getattr(found, name)) for name in ROLLING_FIGURES.values())


def work_together_everywhere(servers: Servers, number: int, seconds: float, seed: int) -> Iterator[Sequence[str]]:
    """The second table, line by line."""
    yield "redis", "database", "durability", "header", *TOGETHER_FIGURES
    for where, fresh in TOGETHER:
        how = together.How(seconds=seconds, number=number, seed=seed, fresh=fresh, deletions=0.01)
        with servers.at(where) as (place, directory):
            found = together.work_together(place, how, directory)
        yield *where, header(fresh), *(str(getattr(found, name)) for name in TOGETHER_FIGURES.values())


def in_columns(rows: Iterable[Sequence[str]], words: int) -> None:
    """Print a table line by line, as they come; the first ``words`` columns hold words, the others figures."""
    widths: list[int] = []
    for row in rows:
        widths = widths or [max(len(name), WIDEST_WORD if place < words else 0) for place, name in enumerate(row)]
        cells = [
            text.ljust(width) if place < words else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip(), flush=True)


def main() -> None:
    """Run, judge, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=("rolling", "together"))
    parser.add_argument("--checkouts", type=int, default=150)
    parser.add_argument("--sessions", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="checkoutctl-older-") as directory, ExitStack() as stack:
        postgres = PostgresServer()
        stack.callback(postgres.stop)
        postgres.start()
        servers = Servers(Path(directory), postgres)
        if asked.only != "together":
            print(f"rolling: {asked.checkouts} checkouts, seed {asked.seed}; figures are checkouts, or writes")
            in_columns(roll_all(servers, asked.checkouts, asked.seed), words=5)
        if asked.only != "rolling":
            print(f"\ntogether: {asked.sessions} sessions for {asked.seconds:g} s, seed {asked.seed}")
            in_columns(work_together_everywhere(servers, asked.sessions, asked.seconds, asked.seed), words=4)


if __name__ == "__main__":
    main()
