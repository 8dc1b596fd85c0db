from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.errors import InvalidInput, SessionCorrupt, TransitionRefused
from checkout_cli.session import (
    LARGEST_INTEGER,
    MAX_BODY_BYTES,
    MAX_DEPTH,
    STORE_FIELD,
    Durability,
    PaymentStatus,
    Session,
    TierName,
    at_least,
    check_fields,
    check_transition,
    decode,
    is_completed,
    iso,
    may_follow,
    members_of,
    milliseconds_of,
    parse_strict,
    transitions,
    with_changes,
    with_expiry,
    with_members,
    without_header,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = TEXT.filter(lambda name: name != STORE_FIELD)
NUMBERS = st.integers(-LARGEST_INTEGER, LARGEST_INTEGER) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(NAMES, VALUES, max_size=6)
FOREIGN_VALUES = st.sampled_from(
    [
        "250.10",
        "1e400",
        "-0.0",
        "0.1000000000000000055511151231257827",
        "123456789012345678901234567890",
        '"\\u00e9\\ud83d\\ude00 \\/"',
        '"é"',
        '[1,2 , {"a" : 1.50}]',
        '{"nested":{"price":19.90}}',
        "null",
        "true",
    ]
)


class TestChangingABody:
    @given(st.dictionaries(NAMES, FOREIGN_VALUES, min_size=1, max_size=6), FIELDS)
    def test_every_other_field_stays_byte_for_byte_in_its_place(
        self, foreign: dict[str, str], changes: dict[str, Any]
    ) -> None:
        body = "{" + " , ".join(f"{json.dumps(name)}: {value}" for name, value in foreign.items()) + "}"
        pieces = dict(foreign)
        pieces.update({name: _encoded(value) for name, value in changes.items()})
        expected = "{" + ",".join(f"{_encoded(name)}:{value}" for name, value in pieces.items()) + "}"
        assert with_changes(body.encode(), changes) == expected.encode()

    def test_a_field_given_twice_counts_with_its_last_value_as_in_the_shop(self) -> None:
        assert with_changes(b'{"a":1.0,"b":2,"a":3.10}', {"c": 1}) == b'{"a":3.10,"b":2,"c":1}'

    @given(FIELDS)
    def test_no_change_changes_no_field(self, fields: dict[str, Any]) -> None:
        assert decode(with_changes(_encoded(fields).encode(), {})) == fields

    def test_a_body_may_be_as_large_as_the_limit_and_no_larger(self) -> None:
        frame = len(b'{"a":""}')
        assert len(with_changes(b"{}", {"a": "x" * (MAX_BODY_BYTES - frame)})) == MAX_BODY_BYTES
        with pytest.raises(InvalidInput, match="at most 262,144"):
            with_changes(b"{}", {"a": "x" * (MAX_BODY_BYTES - frame + 1)})

    def test_the_stores_own_field_cannot_be_set(self) -> None:
        with pytest.raises(InvalidInput, match="'_store' belongs to the store"):
            with_changes(b"{}", {STORE_FIELD: 1})

    @pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b'{"a":1}x', b'{"a":"\xff"}', b"[" * 100_000])
    def test_a_broken_body_is_not_made_worse(self, body: bytes) -> None:
        with pytest.raises(SessionCorrupt):
            with_changes(body, {"a": 1})


class TestExternalBodies:
    @pytest.mark.parametrize(
        "body", [b'{ "total" : 250.10, "total": 1 }', b'{"version": 7, "stamp": "x", "undrained": []}', b"{}"]
    )
    def test_without_a_header_they_stay_as_they_are(self, body: bytes) -> None:
        assert without_header(body) == (body, None)

    def test_white_space_around_the_object_is_no_part_of_it(self) -> None:
        assert without_header(b' \r\n\t{"total":1}\n') == (b'{"total":1}', None)

    @pytest.mark.parametrize(
        "value",
        [
            b'{"_store":"7 - x","total": 250.10, "note": "\\u00e9"}',
            b'{"total": 250.10, "_store" : "7 - x", "note": "\\u00e9"}',
            b'{"total": 250.10, "note": "\\u00e9", "\\u005fstore":"7 - \\u0078"}',
        ],
    )
    def test_the_header_is_taken_out_wherever_it_is_and_the_rest_kept_byte_for_byte(self, value: bytes) -> None:
        assert without_header(value) == (b'{"total":250.10,"note":"\\u00e9"}', "7 - x")

    @pytest.mark.parametrize("header", [b"7", b"null", b"[]", b'{"a":"7 - x"}', b"true"])
    def test_a_header_that_is_no_text_is_taken_out_too(self, header: bytes) -> None:
        assert without_header(b'{"_store":%b,"total":1}' % header) == (b'{"total":1}', None)

    def test_a_header_deeper_in_is_the_shops(self) -> None:
        body = b'{"items":[{"_store":"7 - x"}]}'
        assert without_header(body) == (body, None)

    @given(st.binary(max_size=200))
    def test_any_bytes_are_an_object_or_corrupt(self, body: bytes) -> None:
        try:
            without_header(body)
        except SessionCorrupt:
            return


class TestMembers:
    BODY = b'{"total":250.10,"note":"\\u00e9","items":[1.0]}'

    def test_they_are_read_and_replaced_as_bytes(self) -> None:
        members = members_of(self.BODY)
        assert {name: bytes(raw) for name, raw in members.items()} == {
            "total": b"250.10",
            "note": b'"\\u00e9"',
            "items": b"[1.0]",
        }
        replaced = with_members(b'{"total":1,"kept":2.50}', {"total": members["total"], "items": members["items"]})
        assert replaced == b'{"total":250.10,"kept":2.50,"items":[1.0]}'

    def test_one_that_is_given_as_missing_is_left_out(self) -> None:
        assert with_members(self.BODY, {"total": None, "unknown": None}) == b'{"note":"\\u00e9","items":[1.0]}'

    def test_the_expiry_moves_where_there_is_one_and_nothing_else_changes(self) -> None:
        assert with_expiry(self.BODY, 1_705_314_600_000) == self.BODY
        body = b'{"total":250.10,"expiresAt":"2024-01-01T00:00:00.000Z","x":1e2}'
        assert with_expiry(body, 1_705_314_600_000) == body.replace(b"2024-01-01T00:00", b"2024-01-15T10:30")

    def test_an_expiry_deeper_in_is_the_shops(self) -> None:
        body = b'{"coupon":{"expiresAt":"never"}}'
        assert with_expiry(body, 1_705_314_600_000) == body

    def test_broken_bodies_are_not_changed(self) -> None:
        for change in (members_of, lambda body: with_members(body, {}), lambda body: with_expiry(body, 1)):
            with pytest.raises(SessionCorrupt):
                change(b'{"expiresAt":')


BROKEN = {
    "empty": b"",
    "blank": b"  \n",
    "null": b"null",
    "array": b"[]",
    "text": b'"text"',
    "unfinished": b'{"a":',
    "more after it": b'{"a":1} {"b":2}',
    "not UTF-8": b'{"a":"\xff"}',
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":-Infinity}',
    "a number beyond all": b'{"a":1e400}',
    "an integer of 5,000 digits": b'{"a":' + b"9" * 5000 + b"}",
    "arrays 100,000 deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "brackets without end": b"[" * 100_000,
    "objects 40,000 deep": b'{"a":' * 40_000,
    "a pickle": b"\x80\x04\x95",
    "gzip": b"\x1f\x8b\x08\x00",
}


class TestDecoding:
    @pytest.mark.parametrize("body", list(BROKEN.values()), ids=list(BROKEN))
    def test_what_is_no_object_is_corrupt_and_its_content_is_not_shown(self, body: bytes) -> None:
        with pytest.raises(SessionCorrupt) as caught:
            decode(body)
        assert str(caught.value) == f"not a JSON object: {len(body)} bytes"

    @given(st.binary(max_size=300) | VALUES.map(lambda value: json.dumps(value).encode()))
    def test_any_bytes_are_a_dict_or_corrupt(self, body: bytes) -> None:
        try:
            fields = decode(body)
        except SessionCorrupt:
            return
        assert isinstance(fields, dict)

    @given(FIELDS)
    def test_every_object_is_read_as_it_was_written(self, fields: dict[str, Any]) -> None:
        assert decode(json.dumps(fields).encode()) == fields


class TestReadingWhatIsHandedToUs:
    REFUSED: tuple[bytes, ...] = (
        *BROKEN.values(),
        b'{"a":"\\ud800"}',
        b'{"\\udfff":1}',
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'{"_store":"1 - x"}',
        b'{"a":9007199254740992}',
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":' + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1) + b"}",
        b'{"a":"' + b"x" * MAX_BODY_BYTES + b'"}',
        b'{"a":"\n"}',
    )

    @pytest.mark.parametrize("document", REFUSED, ids=lambda document: repr(document[:24]))
    def test_what_is_wrong_is_refused_in_one_short_line(self, document: bytes) -> None:
        with pytest.raises(InvalidInput) as caught:
            parse_strict(document)
        assert len(str(caught.value)) < 200
        assert "sys." not in str(caught.value)  # Python's own advice on long integers is none for our users

    def test_a_message_stays_short_however_long_the_names(self) -> None:
        with pytest.raises(InvalidInput) as caught:
            parse_strict(json.dumps({"n" * 100_000: 2**60}).encode())
        assert len(str(caught.value)) < 200

    def test_the_place_is_named(self) -> None:
        with pytest.raises(InvalidInput, match=r"items\[1\]\.price"):
            parse_strict(b'{"items":[{},{"price":9007199254740993}]}')
        with pytest.raises(InvalidInput, match=r"line 2, column 1"):
            parse_strict(b'{"a":\n}')

    def test_a_byte_order_mark_is_no_obstacle(self) -> None:
        assert parse_strict(b'\xef\xbb\xbf{"a":1}') == {"a": 1}

    def test_the_deepest_that_is_accepted(self) -> None:
        deep = b'{"a":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}"
        assert list(parse_strict(deep)) == ["a"]

    @given(FIELDS)
    def test_every_proper_object_is_accepted_unchanged(self, fields: dict[str, Any]) -> None:
        assert parse_strict(json.dumps(fields, ensure_ascii=False).encode()) == fields

    @given(st.binary(max_size=300) | VALUES.map(lambda value: json.dumps(value).encode()))
    def test_exactly_json_objects_are_accepted(self, document: bytes) -> None:
        try:
            expected = json.loads(document.decode())
        except ValueError:
            expected = None
        try:
            fields = parse_strict(document)
        except InvalidInput:
            return
        assert fields == expected
        decode(with_changes(b"{}", fields))


class TestFields:
    @pytest.mark.parametrize(
        "value",
        [math.nan, math.inf, -math.inf, b"bytes", {1, 2}, object(), 2**53, -(2**53), "\ud800", {"\udfff": 1}, {1: 2}],
    )
    def test_what_json_cannot_hold_is_refused(self, value: Any) -> None:
        with pytest.raises(InvalidInput):
            check_fields({"field": [value]})

    def test_a_list_that_contains_itself_is_too_deep(self) -> None:
        endless: list[Any] = []
        endless.append(endless)
        with pytest.raises(InvalidInput, match="nested deeper"):
            check_fields({"field": endless})

    @given(FIELDS)
    def test_everything_else_is_accepted(self, fields: dict[str, Any]) -> None:
        check_fields(fields)


class TestMoments:
    EARLIEST, LATEST = -62_135_596_800_000, 253_402_300_799_999

    @given(st.integers(EARLIEST, LATEST))
    def test_the_round_trip_is_exact(self, moment: int) -> None:
        assert milliseconds_of(iso(moment)) == moment

    def test_the_form_is_the_shops(self) -> None:
        assert iso(1_705_314_600_000) == "2024-01-15T10:30:00.000Z"
        assert iso(-1) == "1969-12-31T23:59:59.999Z"
        assert iso(self.EARLIEST) == "0001-01-01T00:00:00.000Z"

    @given(st.integers())
    def test_no_number_is_too_large(self, moment: int) -> None:
        assert milliseconds_of(iso(moment)) == min(max(moment, self.EARLIEST), self.LATEST)

    def test_without_a_zone_it_is_utc(self) -> None:
        assert milliseconds_of("2024-01-15T10:30:00") == 1_705_314_600_000

    def test_with_a_zone_it_is_that_zones(self) -> None:
        assert milliseconds_of("2024-01-15T16:00:00.5+05:30") == 1_705_314_600_500

    @pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
    def test_the_ends_of_time_are_moments_too(self, moment: str) -> None:
        assert isinstance(milliseconds_of(moment), int)

    @pytest.mark.parametrize("moment", [None, 5, True, "", "soon", "2024-13-01", "\ud800", ["2024-01-15"], "x" * 9999])
    def test_anything_else_is_no_moment(self, moment: object) -> None:
        assert milliseconds_of(moment) is None

    @given(st.text())
    def test_no_text_is_an_error(self, moment: str) -> None:
        assert milliseconds_of(moment) is None or isinstance(milliseconds_of(moment), int)


FINAL = {PaymentStatus.PAID, PaymentStatus.CANCELLED}
STATUSES = st.sampled_from([*map(str, PaymentStatus), *PaymentStatus]) | st.sampled_from(
    [None, "", "PAID", "refunded", "chargeback", 0, 7, True, [], ["paid"], {}, {"paid": 1}]
)
"""Also what another program may have written."""


class TestPaymentStatus:
    @pytest.mark.parametrize(("before", "after"), list(itertools.product(PaymentStatus, repeat=2)))
    def test_only_a_paid_or_cancelled_checkout_is_final(self, before: PaymentStatus, after: PaymentStatus) -> None:
        if before in FINAL and after != before:
            with pytest.raises(TransitionRefused):
                check_transition(str(before), str(after))
        else:
            check_transition(str(before), str(after))

    @pytest.mark.parametrize("before", [None, "", "refunded", 7, [], {}, ["paid"]])
    def test_a_foreign_status_stands_in_nobodys_way(self, before: object) -> None:
        check_transition(before, "paid")

    @given(st.sampled_from([*PaymentStatus, *map(str, PaymentStatus), None]), STATUSES)
    def test_only_the_shops_statuses_follow_one_of_them(self, before: object, after: object) -> None:
        allowed = after in (None, before, *PaymentStatus)
        assert may_follow(before, after) <= allowed
        if before in (None, "pending", "processing", "failed"):
            assert may_follow(before, after) == allowed

    @given(st.sampled_from(sorted(FINAL)), st.lists(STATUSES))
    def test_no_steps_lead_out_of_paid_or_cancelled(self, final: str, steps: list[object]) -> None:
        status: object = final
        for step in steps:
            if may_follow(status, step):
                status = step
        assert status == final

    @given(STATUSES, STATUSES)
    def test_a_missing_status_counts_as_pending(self, before: object, after: object) -> None:
        assert may_follow(None, after) == may_follow("pending", after)
        assert may_follow(before, None) == may_follow(before, "pending")

    @given(STATUSES.filter(lambda status: status is not None and status not in tuple(PaymentStatus)), STATUSES)
    def test_an_unknown_status_stays_or_is_left_for_one_of_the_shops(self, unknown: object, other: object) -> None:
        assert may_follow(unknown, unknown)
        assert may_follow(unknown, other) == (other in (None, unknown, *PaymentStatus))

    @given(STATUSES, st.sampled_from(PaymentStatus))
    def test_what_a_caller_sets_is_judged_by_the_same_rule(self, before: object, after: PaymentStatus) -> None:
        try:
            check_transition(before, after)
        except TransitionRefused:
            assert not may_follow(before, after)
        else:
            assert may_follow(before, after)

    def test_the_table_in_words_is_the_rule(self) -> None:
        table = dict(transitions())
        assert set(table) == set(PaymentStatus)
        for before, after in itertools.permutations(PaymentStatus, 2):
            assert (after in table[before].split(", ")) == may_follow(before, after)
        assert all("final" in table[status] for status in FINAL)

    @pytest.mark.parametrize("after", [None, "", "refunded", "PAID", 7, [], {}, ["paid"], "x" * 10_000])
    def test_what_is_no_status_is_refused_whatever_it_is(self, after: object) -> None:
        with pytest.raises(InvalidInput) as caught:
            check_transition("pending", after)
        assert len(str(caught.value)) < 200
        assert "pending, processing, paid, failed, cancelled" in caught.value.hint

    @pytest.mark.parametrize(
        ("fields", "completed"),
        [
            ({"databaseOrderId": "o-1"}, True),
            ({"paymentStatus": "paid"}, True),
            ({"databaseOrderId": None, "paymentStatus": "failed"}, False),
            ({"paymentStatus": ["paid"]}, False),
            ({}, False),
        ],
    )
    def test_completed_is_an_order_or_a_payment(self, fields: dict[str, Any], completed: bool) -> None:
        assert is_completed(fields) is completed


class TestASessionOfAnotherProgram:
    @pytest.mark.parametrize("value", [None, 0, "", [], {}, "text", True, [1, None], {"a": 1}, 1.5])
    def test_no_type_in_any_field_is_an_error(self, value: Any) -> None:
        fields = dict.fromkeys(["paymentStatus", "items", "totalAmount", "userId", "createdAt"], value)
        session = Session("foreign-1", fields, 0, TierName.REDIS)
        assert isinstance(session.status, str)
        assert all(isinstance(item, dict) for item in session.items)
        assert session.total is None or isinstance(session.total, (int, float))
        assert not isinstance(session.total, bool)
        assert session.user_id is None or isinstance(session.user_id, str)
        assert session.created_at is None

    def test_its_fields_are_read(self) -> None:
        fields = {
            "paymentStatus": "paid",
            "items": [{"product_id": 1}, "no item"],
            "totalAmount": 12.5,
            "userId": 42,
            "createdAt": "2024-01-15T10:30:00.000Z",
        }
        session = Session("foreign-1", fields, 0, TierName.REDIS)
        assert (session.status, session.items, session.total) == ("paid", [{"product_id": 1}], 12.5)
        assert (session.user_id, session.created_at) == ("42", 1_705_314_600_000)


def test_each_durability_survives_what_the_weaker_ones_do() -> None:
    strongest_first = [Durability.DATABASE, Durability.REDIS, Durability.MEMORY]
    assert set(strongest_first) == set(Durability)
    for (rank, kept), (needed, required) in itertools.product(enumerate(strongest_first), repeat=2):
        assert at_least(kept, required) is (rank <= needed)


def _encoded(value: Any) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()
