"""Checkouts whose steps go to an older program that writes our header back, or to us, by chance, one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.beside.places import Place
from tests.beside.rolling import DURABILITIES, How, roll


@pytest.mark.parametrize("durability", DURABILITIES)
def test_no_checkout_is_wrong_as_either_side_reads_it(place: Place, durability: str, tmp_path: Path) -> None:
    roll(place.lasting(durability), How(), tmp_path).assert_right()


@pytest.mark.parametrize("durability", DURABILITIES)
def test_no_checkout_is_wrong_on_postgresql(postgres_place: Place, durability: str, tmp_path: Path) -> None:
    roll(postgres_place.lasting(durability), How(seed=2), tmp_path).assert_right()


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_no_checkout_is_wrong_behind_sentinel_or_in_a_cluster_with_another_primary_in_between(
    place_at: Callable[[str], Place], kind: str, durability: str, tmp_path: Path
) -> None:
    roll(place_at(kind).lasting(durability), How(restarts=1), tmp_path).assert_right()


@pytest.mark.parametrize("durability", DURABILITIES)
def test_no_checkout_is_wrong_with_restarts_from_snapshots_in_between(
    place: Place, durability: str, tmp_path: Path
) -> None:
    roll(place.lasting(durability), How(restarts=3), tmp_path).assert_right()


@pytest.mark.parametrize("durability", DURABILITIES)
def test_no_checkout_is_wrong_after_our_database_was_unavailable_for_a_while(
    postgres_place: Place, durability: str, tmp_path: Path
) -> None:
    roll(postgres_place.lasting(durability), How(outage=True), tmp_path).assert_right()


def test_no_checkout_is_wrong_where_some_of_our_steps_are_typed_commands(place: Place, tmp_path: Path) -> None:
    roll(place, How(number=3, typed=0.5), tmp_path).assert_right()
