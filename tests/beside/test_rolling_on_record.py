"""Checkouts with an older program that drops our header, or on a Redis that forgets: what is not there is on record."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.beside.places import Place
from tests.beside.rolling import DURABILITIES, HEADER_DROPPED, HEADER_KEPT, How, roll


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("fresh", [0.5, HEADER_DROPPED])
def test_nothing_is_lost_silently_where_the_older_program_drops_our_header(
    place: Place, fresh: float, durability: str, tmp_path: Path
) -> None:
    found = roll(place.lasting(durability), How(fresh=fresh, restarts=1), tmp_path)
    found.assert_nothing_silent()
    assert found.refused == 0, found.told()


@pytest.mark.parametrize("durability", DURABILITIES)
def test_nothing_is_lost_silently_where_it_drops_our_header_while_our_database_is_unavailable(
    postgres_place: Place, durability: str, tmp_path: Path
) -> None:
    how = How(fresh=HEADER_DROPPED, outage=True)
    roll(postgres_place.lasting(durability), how, tmp_path).assert_nothing_silent()


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("fresh", [HEADER_KEPT, HEADER_DROPPED])
def test_nothing_that_we_have_taken_in_is_lost_silently_when_redis_comes_back_with_an_old_snapshot(
    place: Place, fresh: float, durability: str, tmp_path: Path
) -> None:
    found = roll(place.lasting(durability), How(number=20, fresh=fresh, old_snapshot=True), tmp_path)
    assert found.silent == 0, found.told()


def test_what_the_older_program_deletes_after_its_order_is_not_payable_again_where_its_deletions_are_honoured(
    place: Place, tmp_path: Path
) -> None:
    honouring = place.with_settings(CHECKOUT_EXTERNAL_DELETES="honour")
    found = roll(honouring, How(deletes=True), tmp_path)
    assert found.deleted_there > 0
    assert found.payable_again == 0, found.told()
