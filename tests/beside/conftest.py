"""Fixtures of the tests beside the older program: places to meet at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.beside.places import KINDS, Place, before_postgres


@pytest.fixture
def place_at(tmp_path: Path) -> Iterator[Callable[[str], Place]]:
    """``place_at("cluster")``: servers of the test's own, and a SQLite file with our tables."""
    with ExitStack() as stack:

        def start(kind: str) -> Place:
            place = stack.enter_context(KINDS[kind](tmp_path / "servers"))
            return place.on_database(f"sqlite:///{tmp_path / 'checkout.db'}")

        yield start


@pytest.fixture
def place(place_at: Callable[[str], Place]) -> Place:
    """One Redis server, and a SQLite file."""
    return place_at("standalone")


@pytest.fixture
def postgres_place(tmp_path: Path, postgres_url: str) -> Iterator[Place]:
    """One Redis server, and a PostgreSQL that our side can lose."""
    with KINDS["standalone"](tmp_path / "servers") as started, before_postgres(started, postgres_url) as place:
        yield place
