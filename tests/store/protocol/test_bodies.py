"""Bodies of two writers are combined by groups of fields; what does not fit is told, and nobody's change is dropped."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.session import decode, may_follow, milliseconds_of
from checkout_cli.store.protocol.bodies import EXPIRY, IDENTITY, STATUS, SessionBodies, group_of
from tests.store.protocol.strategies import BODIES, CHECKOUT_ID, CREATED_AT, SESSIONS, body_of

SESSION = SessionBodies(CHECKOUT_ID)


def canonical(value: Any) -> Any:
    """JSON as a program sees it that has one kind of number, and for which ``1`` is not true."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return (type(value).__name__, value)
    if isinstance(value, int | float):
        return ("number", float(value))
    if isinstance(value, list):
        return ("list", [canonical(each) for each in value])
    return ("object", {name: canonical(each) for name, each in value.items()})


def groups(body: bytes) -> dict[str, Any]:
    """The fields of a body by their groups, without ``expiresAt``."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in decode(body).items():
        if name != EXPIRY:
            found.setdefault(group_of(name), {})[name] = canonical(value)
    return found


def same(one: bytes, other: bytes) -> bool:
    return groups(one) == groups(other)


class TestTheSame:
    @given(SESSIONS, st.sampled_from([CREATED_AT, "2030-01-01T00:00:00.000Z", None]))
    def test_when_it_ends_is_no_part_of_a_state(self, fields: dict, ends: str | None) -> None:
        assert SESSION.same(body_of(fields), body_of({**fields, EXPIRY: ends}))

    @given(BODIES, BODIES)
    def test_two_bodies_are_one_state_if_every_other_field_says_the_same(self, one: bytes, other: bytes) -> None:
        assert SESSION.same(one, other) is same(one, other)
        assert SESSION.same(other, one) is SESSION.same(one, other)

    @given(SESSIONS)
    def test_how_it_is_written_does_not_matter(self, fields: dict) -> None:
        turned = dict(reversed(list(fields.items())))
        assert SESSION.same(body_of(fields), json.dumps(turned, indent=1).encode())

    @pytest.mark.parametrize(
        ("one", "other", "equal"),
        [
            ("1", "1.0", True), ("[1]", "[1.0]", True), ('{"n":1}', '{"n":1.0}', True), ("0", "-0.0", True),
            ("1", "true", False), ("0", "false", False), ("[1]", "[true]", False), ('{"n":0}', '{"n":false}', False),
            ("1", '"1"', False), ("null", "0", False), ("[]", "{}", False), ("[1,2]", "[2,1]", False),
            ("[1]", "[1,1]", False), ('{"n":null}', "{}", False),
        ],
    )  # fmt: skip
    def test_numbers_are_of_one_kind_and_true_is_no_number(self, one: str, other: str, equal: bool) -> None:
        bodies = [f'{{"notes":{value}}}'.encode() for value in (one, other)]
        assert SESSION.same(*bodies) is equal


class TestFirst:
    @given(BODIES)
    def test_what_begins_a_session_is_taken_as_it_is_but_for_another_ones_id(self, incoming: bytes) -> None:
        joined = SESSION.first(incoming)
        named = decode(incoming).get("checkoutId", CHECKOUT_ID)
        assert joined.complete is (named == CHECKOUT_ID)
        if joined.complete:
            assert joined.body == incoming
        else:
            assert decode(joined.body) == decode(incoming) | {"checkoutId": CHECKOUT_ID}


class TestFollow:
    @given(BODIES, BODIES)
    def test_it_is_the_incoming_body_but_for_what_may_not_follow(self, row: bytes, incoming: bytes) -> None:
        joined = SESSION.follow(row, incoming)
        refused = {"checkoutId", "createdAt"} & groups(row).keys()
        if not may_follow(decode(row).get(STATUS), decode(incoming).get(STATUS)):
            refused |= {STATUS}
        result, theirs, ours = groups(joined.body), groups(incoming), groups(row)
        for group in {*result, *theirs, *ours} - refused:
            assert result.get(group) == theirs.get(group)
        if STATUS in refused:
            assert result.get(STATUS) == ours.get(STATUS)
            assert not joined.complete
        assert may_follow(decode(row).get(STATUS), decode(joined.body).get(STATUS))

    @given(BODIES, BODIES)
    def test_nobody_changes_what_a_session_is_known_by_nor_how_old_it_is(self, row: bytes, incoming: bytes) -> None:
        before, after = decode(row), decode(SESSION.follow(row, incoming).body)
        for name in set(IDENTITY) & before.keys():
            moment = milliseconds_of(before[name])
            assert after[name] == before[name] or (moment is not None and moment == milliseconds_of(after[name]))

    @given(BODIES, BODIES)
    def test_it_is_complete_if_it_is_the_incoming_body_byte_for_byte(self, row: bytes, incoming: bytes) -> None:
        joined = SESSION.follow(row, incoming)
        assert not joined.complete or joined.body == incoming
        assert joined.complete or not same(joined.body, incoming) or STATUS not in groups(incoming)


class TestMergeWithTheBaseOfBoth:
    @given(BODIES, BODIES, BODIES)
    def test_each_group_is_whole_and_from_one_of_the_two(self, base: bytes, row: bytes, incoming: bytes) -> None:
        result, ours, theirs = (groups(each) for each in (SESSION.merge(base, row, incoming).body, row, incoming))
        for group in {*result, *ours, *theirs}:
            assert result.get(group) in (ours.get(group), theirs.get(group))

    @given(BODIES, BODIES, BODIES)
    def test_the_rows_changes_stay(self, base: bytes, row: bytes, incoming: bytes) -> None:
        result, was, ours = (groups(each) for each in (SESSION.merge(base, row, incoming).body, base, row))
        for group in {*was, *ours}:
            if ours.get(group) != was.get(group):
                assert result.get(group) == ours.get(group)

    @given(BODIES, BODIES, BODIES)
    def test_what_only_the_incoming_body_changed_is_taken(self, base: bytes, row: bytes, incoming: bytes) -> None:
        joined = SESSION.merge(base, row, incoming)
        result, was, ours, theirs = (groups(each) for each in (joined.body, base, row, incoming))
        allowed = may_follow(decode(row).get(STATUS), decode(incoming).get(STATUS))
        for group in {*was, *theirs} - set(IDENTITY):
            only_theirs = ours.get(group) == was.get(group) != theirs.get(group)
            if only_theirs and (group != STATUS or allowed):
                assert result.get(group) == theirs.get(group)

    @given(BODIES, BODIES, BODIES)
    def test_no_change_is_dropped_without_being_told(self, base: bytes, row: bytes, incoming: bytes) -> None:
        joined = SESSION.merge(base, row, incoming)
        result, was, theirs = (groups(each) for each in (joined.body, base, incoming))
        missing = [
            group
            for group in {*was, *theirs}
            if theirs.get(group) != was.get(group) and result.get(group) != theirs.get(group)
        ]
        assert joined.complete is not bool(missing)

    @given(BODIES, BODIES, BODIES)
    def test_payments_move_along_the_allowed_transitions(self, base: bytes, row: bytes, incoming: bytes) -> None:
        joined = SESSION.merge(base, row, incoming)
        assert may_follow(decode(row).get(STATUS), decode(joined.body).get(STATUS))

    @given(BODIES, BODIES)
    def test_who_changed_nothing_changes_nothing(self, row: bytes, base: bytes) -> None:
        assert SESSION.merge(base, row, base) == (row, True)

    @given(BODIES, BODIES, BODIES)
    def test_identity_stays_the_rows(self, base: bytes, row: bytes, incoming: bytes) -> None:
        before, after = decode(row), decode(SESSION.merge(base, row, incoming).body)
        for name in IDENTITY:
            assert before.get(name) == after.get(name)


class TestMergeWithoutABase:
    @given(BODIES, BODIES)
    def test_only_a_payment_moves_forward(self, row: bytes, incoming: bytes) -> None:
        joined = SESSION.merge(None, row, incoming)
        result, ours = groups(joined.body), groups(row)
        for group in {*result, *ours} - {STATUS}:
            assert result.get(group) == ours.get(group)
        before, after = decode(row).get(STATUS), decode(joined.body).get(STATUS)
        assert may_follow(before, after)
        if not same(joined.body, row):
            assert after in {"paid", "cancelled"}

    @given(BODIES, BODIES)
    def test_it_is_complete_if_it_says_what_the_incoming_body_says_and_nothing_of_the_row_gave_way(
        self, row: bytes, incoming: bytes
    ) -> None:
        joined = SESSION.merge(None, row, incoming)
        before, after = ({**fields, STATUS: None} for fields in (decode(row), decode(joined.body)))
        kept = all(canonical(before[name]) == canonical(after.get(name)) for name in before)
        assert joined.complete is (same(joined.body, incoming) and kept)

    def test_what_a_payment_replaces_of_the_row_is_told(self) -> None:
        row = body_of({"paymentStatus": "processing", "paymentAttempts": 1})
        incoming = body_of({"paymentStatus": "paid", "paymentAttempts": 0})
        assert SESSION.merge(None, row, incoming) == (incoming, False)

    def test_a_payment_with_its_order_reaches_a_session_that_was_pending(self) -> None:
        row = body_of({"paymentStatus": "pending", "notes": "ours"})
        incoming = body_of({"paymentStatus": "paid", "databaseOrderId": "ORD-1", "notes": "theirs"})
        joined = SESSION.merge(None, row, incoming)
        assert decode(joined.body) == {"paymentStatus": "paid", "notes": "ours", "databaseOrderId": "ORD-1"}
        assert not joined.complete


class TestUntouchedBytes:
    def test_what_is_taken_is_taken_to_the_last_digit(self) -> None:
        base, row = b'{"notes":1.10,"loyalty":2}', b'{"notes":1.10,"loyalty":2.50}'
        joined = SESSION.merge(base, row, b'{"notes": 250.100,"loyalty":2}')
        assert joined.body == b'{"notes":250.100,"loyalty":2.50}'
