"""A publish replaces what is older, and nothing that the database has not accounted for; and it comes to an end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.store.protocol.ids import contains
from checkout_cli.store.protocol.publishing import MOST_TRIES, Found, Move, Outcome, Publication, judge
from checkout_cli.store.protocol.row import Row
from checkout_cli.store.protocol.value import Kind, Value, encode_value
from tests.store.protocol.strategies import CLEAN, ELSEWHERE, FOUND, HERE, ROWS, VALUES

SEEN = FOUND | st.none()
PRESENT = st.lists(FOUND, max_size=6)
"""What lies there, script after script, while others go on writing."""
ACCOUNTED = st.none() | FOUND.map(lambda found: found.raw)


def accounted_for(found: Found, row: Row, accounted: bytes | None) -> bool:
    """Whether the database has everything of a value: said again, in other words than the protocol's."""
    value = found.value
    is_the_row = value.is_dirty and value.ids[-1] == row.write_id and value.version == row.version
    return found.raw == accounted or (value.kind is Kind.OURS and (not value.is_dirty or is_the_row))


def run(publication: Publication, present: Sequence[Found]) -> tuple[Outcome, list[Move]]:
    """Carry out a publish, each script of which finds something else: the end of it, and what was sent."""
    sent: list[Move] = []
    queue = list(present)
    while True:
        move = publication.next()
        if isinstance(move, Outcome):
            return move, sent
        sent.append(move)
        if move is Move.SWAP:
            assert publication.seen is not None
            assert accounted_for(publication.seen, publication.row, publication.accounted)
        if not queue:
            return (Outcome.SET if move is Move.SWAP else Outcome.MISSING), sent
        publication = publication.refused(queue.pop(0))


@given(ROWS, SEEN, PRESENT, ACCOUNTED)
def test_a_publish_ends_and_replaces_nothing_that_is_not_accounted_for(
    row: Row, seen: Found | None, present: list[Found], accounted: bytes | None
) -> None:
    publication = Publication(row, HERE, seen, accounted if accounted is not None or seen is None else seen.raw)
    outcome, sent = run(publication, present)
    assert len(sent) <= MOST_TRIES + 1
    if outcome is Outcome.EXHAUSTED:
        assert not outcome.is_published


@given(ROWS, SEEN, PRESENT, ACCOUNTED)
def test_what_writes_nothing_counts_only_on_bytes_that_came_after_the_commit(
    row: Row, seen: Found | None, present: list[Found], accounted: bytes | None
) -> None:
    publication = Publication(row, HERE, seen, accounted)
    assert isinstance(publication.next(), Move), "the bytes of open may be as old as they like"
    outcome, sent = run(publication, present)
    if outcome is not Outcome.EXHAUSTED and outcome is not Outcome.SET:
        assert sent


@given(FOUND, ROWS, ACCOUNTED)
def test_published_means_that_nothing_older_lies_there(found: Found, row: Row, accounted: bytes | None) -> None:
    outcome, value = judge(found, row, HERE, accounted), found.value
    if outcome is Outcome.NEWER:
        assert not value.is_external
        assert value.base >= row.version or contains(value.ids, row.write_id)
    if not outcome.is_published:
        assert value.is_external or value.is_dirty


@given(CLEAN, ROWS)
def test_a_clean_value_makes_way_for_a_newer_row_and_for_the_same_one_under_another_identity(
    value: Value, row: Row
) -> None:
    found = Found(encode_value(value), value)
    same_again = value.base == row.version and (value.identity != HERE or value.questionable)
    expected = Outcome.SET if value.base < row.version or same_again else Outcome.NEWER
    assert judge(found, row, HERE, None) is expected


@given(VALUES.filter(lambda value: value.is_external), ROWS)
def test_an_external_value_stays_unless_these_very_bytes_were_accounted_for(value: Value, row: Row) -> None:
    found = Found(b"their bytes", value)
    assert judge(found, row, HERE, None) is Outcome.EXTERNAL
    assert judge(found, row, HERE, b"other bytes of theirs") is Outcome.EXTERNAL
    assert judge(found, row, HERE, b"their bytes") is Outcome.SET


def test_a_dirty_value_is_the_row_only_with_its_version() -> None:
    """The row's id is the last one, and there is one more write before it that the row lacks."""
    row = Row(2, "m1-1", b"{}")
    with_more = Value(1, HERE, b"{}", ("w1-1", "m1-1"))
    assert judge(Found(b"raw", with_more), row, HERE, None) is Outcome.NEWER
    assert judge(Found(b"raw", Value(1, HERE, b"{}", ("m1-1",))), row, HERE, None) is Outcome.SET


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Value(1, HERE, b"{}", ("w1-1",)), Outcome.DIRTY),
        (Value(2, HERE, b"{}", ("w1-1",)), Outcome.NEWER),
        (Value(1, HERE, b"{}", ("b2-3", "w1-1")), Outcome.NEWER),
        (Value(1, HERE, b"{}", ("b2-1", "w1-1")), Outcome.DIRTY),
        (Value(1, ELSEWHERE, b"{}", ("w1-1",), questionable=True), Outcome.DIRTY),
    ],
)
def test_a_dirty_value_keeps_out_a_row_that_it_lacks(value: Value, expected: Outcome) -> None:
    outcome = judge(Found(b"raw", value), Row(2, "b2-2", b"{}"), HERE, None)
    assert outcome is expected
    assert outcome.is_published is (expected is Outcome.NEWER)


def test_somebody_who_writes_faster_than_we_publish_leaves_the_row_pending() -> None:
    older = [Found(b"%d" % number, Value(1, HERE, b"{}", questionable=bool(number % 2))) for number in range(9)]
    outcome, sent = run(Publication(Row(2, "a1-1", b"{}"), HERE, older[0]), older[1:])
    assert (outcome, sent) == (Outcome.EXHAUSTED, [Move.SWAP] * MOST_TRIES)
    assert not outcome.is_published
