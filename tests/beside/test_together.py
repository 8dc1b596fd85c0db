"""The older program and two processes of ours at work on the same sessions at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.beside.places import Place
from tests.beside.together import How, Together, work_together


def assert_all_accounted_for(found: Together) -> None:
    """None of our writes is lost, none of theirs without a trace, and what we deleted stays deleted."""
    assert found.theirs > 0
    assert found.last > 0
    names = ("ours_lost", "last_silent", "silent", "came_back")
    assert {name: count for name in names if (count := getattr(found, name))} == {}, found.told()


@pytest.mark.parametrize("fresh", [0.0, 1.0])
@pytest.mark.parametrize("durability", ["database", "redis"])
def test_no_write_of_either_side_is_lost_without_a_trace(
    place: Place, durability: str, fresh: float, tmp_path: Path
) -> None:
    found = work_together(place.lasting(durability), How(fresh=fresh), tmp_path)
    assert_all_accounted_for(found)
    if durability == "database":
        assert found.ours > 0


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_no_write_is_lost_without_a_trace_behind_sentinel_or_in_a_cluster(
    place_at: Callable[[str], Place], kind: str, tmp_path: Path
) -> None:
    assert_all_accounted_for(work_together(place_at(kind), How(seed=2), tmp_path))


def test_no_write_is_lost_without_a_trace_on_postgresql(postgres_place: Place, tmp_path: Path) -> None:
    assert_all_accounted_for(work_together(postgres_place, How(seed=3), tmp_path))
