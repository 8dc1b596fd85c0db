"""A flush happens once, however often it is tried; nothing that it cannot keep is dropped without the conflict log."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.session import decode
from checkout_cli.store.protocol.bodies import EXPIRY, SessionBodies
from checkout_cli.store.protocol.flushing import Flush, Logged, Result, decide
from checkout_cli.store.protocol.ids import contains, number_of, token_of
from checkout_cli.store.protocol.row import Row
from checkout_cli.store.protocol.value import Value
from tests.store.protocol.strategies import CHECKOUT_ID, DIRTY, HERE, ROWS, TOKENS

BODIES = SessionBodies(CHECKOUT_ID)
NO_ROW = st.none()
LOGGED = st.builds(Logged, st.integers(0, 4), st.sampled_from(list(Result)))
LOGS = st.dictionaries(TOKENS, LOGGED, max_size=2)


def flush(value: Value, row: Row | None, log: dict[str, Logged] | None = None, fresh_id: str = "fresh-1") -> Flush:
    return decide(value, row, log or {}, BODIES, fresh_id)


def state_of(body: bytes) -> dict[str, object]:
    return {name: value for name, value in decode(body).items() if name != EXPIRY}


@given(DIRTY, ROWS | NO_ROW, LOGS)
def test_a_flush_that_is_repeated_changes_nothing(value: Value, row: Row | None, log: dict[str, Logged]) -> None:
    first = flush(value, row, log)
    after = log | dict(first.log)
    again = flush(value, first.row or row, after, "another-1")
    assert (again.row, again.conflict) == (None, False)
    assert again.result in {Result.ALREADY, Result.PARTLY, Result.CONFLICT}
    if first.result in {Result.PARTLY, Result.CONFLICT}:
        assert again.result is first.result, "who tries again is told what became of it"


@given(DIRTY, ROWS | NO_ROW, LOGS)
def test_versions_only_grow_and_callers_keep_the_one_that_they_saw(
    value: Value, row: Row | None, log: dict[str, Logged]
) -> None:
    found = flush(value, row, log)
    if found.row is None:
        return
    assert found.row.version > (0 if row is None else row.version)
    if found.result in {Result.APPLIED, Result.PARTLY}:
        assert found.row.version == value.version
    if row is not None:
        assert (found.row.previous_version, found.row.previous_body) == (row.version, row.body)


@given(DIRTY, ROWS | NO_ROW, LOGS)
def test_one_id_names_one_state(value: Value, row: Row | None, log: dict[str, Logged]) -> None:
    found = flush(value, row, log)
    if found.row is not None:
        own_state = found.result is Result.APPLIED
        assert found.row.write_id == (value.ids[-1] if own_state else "fresh-1")
        assert not own_state or found.row.body == value.body


@given(DIRTY, ROWS | NO_ROW, LOGS)
def test_all_of_it_is_in_the_row_or_it_is_in_the_conflict_log(
    value: Value, row: Row | None, log: dict[str, Logged]
) -> None:
    found = flush(value, row, log)
    if found.conflict or not found.log:
        return
    living = found.row or row
    assert living is not None
    assert living.body is not None
    if found.result is Result.APPLIED or (found.result is Result.ALREADY and row is not None):
        base = row.previous_body if row is not None and row.previous_version == value.base and value.base else None
        if found.result is Result.APPLIED or base is None:
            assert state_of(living.body) == state_of(value.body)


@given(DIRTY, ROWS, LOGS)
def test_a_deleted_session_never_lives_again(value: Value, row: Row, log: dict[str, Logged]) -> None:
    tombstone = msgspec.structs.replace(row, body=None)
    found = flush(value, tombstone, log)
    assert found.row is None
    assert found.conflict or not found.log


@given(DIRTY, ROWS)
def test_a_value_becomes_the_next_version_only_of_the_row_that_it_grew_from(value: Value, row: Row) -> None:
    found = flush(value, row)
    if found.result in {Result.APPLIED, Result.PARTLY}:
        assert row.version == value.base or contains(value.ids, row.write_id)
        assert value.version > row.version


@given(DIRTY, ROWS.filter(lambda row: row.body is not None))
def test_bodies_are_compared_with_the_one_that_both_grew_from_or_with_none(value: Value, row: Row) -> None:
    found = flush(value, row)
    if found.result is Result.MERGED and (not value.base or value.base != row.previous_version):
        assert found.row is not None
        assert row.body is not None
        assert found.row.body == BODIES.merge(None, row.body, value.body).body


@given(DIRTY)
def test_without_a_row_only_what_grew_from_none_begins_one(value: Value) -> None:
    found = flush(value, None)
    assert (found.row is None) is bool(value.base)
    assert found.conflict is bool(value.base) or found.result is Result.PARTLY


@given(DIRTY, ROWS | NO_ROW)
def test_the_log_has_each_token_once_with_its_highest_number(value: Value, row: Row | None) -> None:
    """A header may claim the same token twice; the database's upsert would refuse that."""
    log = flush(value, row).log
    assert len(dict(log)) == len(log)
    for token, logged in log:
        assert logged.number == max(number_of(each) for each in value.ids if token_of(each) == token)


def test_what_a_row_has_as_its_last_write_is_there_already() -> None:
    row = Row(2, "w1-1", b'{"notes":"w"}', 1, b"{}")
    assert flush(Value(1, HERE, b'{"notes":"w"}', ("w1-1",)), row) == Flush(Result.ALREADY)


def test_the_same_last_write_on_top_of_another_one_is_another_state() -> None:
    """A COMMIT whose answer was lost, and the same write in Redis on top of somebody else's."""
    row = Row(2, "m1-1", b'{"notes":"m"}', 1, b"{}")
    found = flush(Value(1, HERE, b'{"notes":"m","loyalty":"w"}', ("w1-1", "m1-1")), row)
    assert found.result is Result.APPLIED
    assert found.row is not None
    assert found.row.body == b'{"notes":"m","loyalty":"w"}'


def test_a_header_that_claims_the_base_and_no_more_than_the_row_has_is_merged() -> None:
    row = Row(5, "w1-1", b'{"notes":"w"}', 4, b"{}")
    found = flush(Value(1, HERE, b'{"notes":"x"}', ("w1-1", "x1-1")), row)
    assert (found.result, found.row, found.conflict) == (Result.CONFLICT, None, True)


def test_bytes_that_came_back_with_a_restart_were_taken_in_before() -> None:
    row, body = Row(3, "w1-1", b'{"notes":"w"}'), b'{"notes":"x"}'
    log = {"f-abc": Logged(0, Result.APPLIED)}
    assert flush(Value(1, HERE, body, ("r-abc", "new-1")), row, log).result is Result.ALREADY
    assert flush(Value(1, HERE, body, ("f-abc", "new-1")), row, log).conflict, "written again, it is another write"


def test_a_payment_that_may_not_follow_leaves_the_rest_to_be_applied() -> None:
    row = Row(1, "z1-1", b'{"paymentStatus":"paid","notes":"a"}')
    value = Value(1, HERE, b'{"paymentStatus":"pending","notes":"b"}', ("w1-1",))
    found = flush(value, row)
    assert (found.result, found.conflict) == (Result.PARTLY, True)
    assert found.row is not None
    assert found.row.body is not None
    assert decode(found.row.body) == {"paymentStatus": "paid", "notes": "b"}
    assert flush(value, found.row, dict(found.log)).result is Result.PARTLY
