"""Ids say which writes a value contains, and go on only where the last one was this process's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.store.protocol.ids import (
    LONGEST_ID,
    contains,
    extended,
    first_of,
    is_external,
    number_of,
    token_of,
    writes,
)
from tests.store.protocol.strategies import CHAINS, EXTERNAL_IDS, OWN_IDS, TOKENS


@given(CHAINS, st.integers(1, 9))
def test_a_value_contains_what_it_lists_and_what_came_before_under_the_same_token(
    ids: tuple[str, ...], number: int
) -> None:
    for each in ids:
        assert contains(ids, each)
    highest = max(number_of(each) for each in ids if token_of(each) == token_of(ids[-1]))
    assert contains(ids, f"{token_of(ids[-1])}-{number}") is (number <= highest)
    assert not contains(ids, "dd-1")


@given(CHAINS, OWN_IDS | st.none(), st.integers(1, 3))
def test_a_write_keeps_everything_that_was_there_and_adds_itself(
    ids: tuple[str, ...], issued: str | None, number: int
) -> None:
    after = extended(ids, issued=issued, token="new", number=number)
    assert all(contains(after, each) for each in ids)
    assert writes(after) == writes(ids) + number
    if not any(token_of(each) == token_of(ids[-1]) for each in ids[:-1]):
        assert not contains(ids, after[-1])


@given(CHAINS, OWN_IDS | st.none())
def test_a_token_goes_on_only_from_the_very_last_id_that_was_issued(ids: tuple[str, ...], issued: str | None) -> None:
    after = extended(ids, issued=issued, token="new")
    if issued == ids[-1]:
        assert after == (*ids[:-1], f"{token_of(issued)}-{number_of(issued) + 1}")
    else:
        assert after == (*ids, first_of("new"))


def test_the_first_write_begins_a_token() -> None:
    assert extended((), issued="a1-4", token="new") == ("new-1",)


@given(EXTERNAL_IDS)
def test_bytes_of_an_external_writer_are_no_write_of_ours(external: str) -> None:
    assert is_external(external)
    assert number_of(external) == 0
    assert writes([external]) == 0
    assert len(external) <= LONGEST_ID


def test_bytes_that_came_back_with_a_restart_are_known_as_what_they_were() -> None:
    assert token_of("r-ab") == token_of("f-ab") != token_of("f-ac")


@given(TOKENS, st.integers(1, 10**9))
def test_an_id_is_a_token_and_a_number(token: str, number: int) -> None:
    assert (token_of(f"{token}-{number}"), number_of(f"{token}-{number}")) == (token, number)
    assert not is_external(f"{token}-{number}")


@pytest.mark.parametrize("odd", ["a1-", "a1", "", "a1-x", "a1-²"])
def test_what_is_no_id_counts_no_write(odd: str) -> None:
    assert number_of(odd) == 0
