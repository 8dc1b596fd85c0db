"""A value is ours only if every byte is as we wrote it; what an external program left of our header is still read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.session import STORE_FIELD
from checkout_cli.session import decode as fields_of
from checkout_cli.store.protocol.value import NO_IDENTITY, Kind, Value, decode, digest_of, encode, encode_value
from tests.store.protocol.strategies import (
    CHAINS,
    DOCUMENTS,
    HERE,
    IDENTITIES,
    body_of,
    dumps_of_javascript,
)

BODIES = DOCUMENTS.map(body_of)
VALUES = st.builds(
    Value, st.integers(0, 10**18 - 1), IDENTITIES, BODIES, CHAINS | st.just(()), questionable=st.booleans()
)


@given(VALUES)
def test_what_is_written_is_read_back(value: Value) -> None:
    assert decode(encode_value(value)) == value


@given(VALUES)
def test_it_is_json_that_any_program_reads_with_our_header_first(value: Value) -> None:
    document = json.loads(encode_value(value))
    assert next(iter(document)) == STORE_FIELD
    del document[STORE_FIELD]
    assert document == json.loads(value.body)


def test_a_server_that_does_not_tell_who_it_is_has_no_identity() -> None:
    assert decode(encode(1, None, b"{}")).identity == NO_IDENTITY


@pytest.mark.parametrize("body", [b"{}", b"{ }", b"{\n}"])
def test_a_session_without_fields_is_ours_too(body: bytes) -> None:
    raw = encode(3, HERE, body)
    assert decode(raw) == Value(3, HERE, b"{}")
    assert fields_of(raw).keys() == {STORE_FIELD}


@given(VALUES, st.data())
def test_whatever_byte_changes_shows(value: Value, data: st.DataObject) -> None:
    raw = encode_value(value)
    place = data.draw(st.integers(0, len(raw) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[place]))
    assert decode(raw[:place] + bytes([other]) + raw[place + 1 :]).is_external


@given(VALUES, st.data())
def test_so_does_a_byte_more_or_less(value: Value, data: st.DataObject) -> None:
    raw = encode_value(value)
    place = data.draw(st.integers(0, len(raw)))
    more = bytes(
        [
            data.draw(
                st.sampled_from(
                    [*b' 0123456789abf-?,"}{\n'],
                )
                | st.integers(0, 255)
            )
        ]
    )
    assert decode(raw[:place] + more + raw[place:]).is_external
    if place < len(raw):
        less = raw[:place] + raw[place + 1 :]
        assert less == raw or decode(less).is_external


@given(VALUES.filter(lambda value: len(value.body) > 2), st.data())
def test_so_does_a_blank_more_in_the_session_itself(value: Value, data: st.DataObject) -> None:
    raw = encode_value(value)
    place = data.draw(st.integers(len(raw) - len(value.body) + 1, len(raw)))
    blank = data.draw(st.sampled_from([b" ", b"\n", b"\t"]))
    assert decode(raw[:place] + blank + raw[place:]).is_external


@given(VALUES)
def test_a_number_is_written_in_one_way_only(value: Value) -> None:
    """``01`` is the same number as ``1``, and not the same bytes."""
    raw = encode_value(value)
    beginning = len(f'{{"{STORE_FIELD}":"')
    assert decode(raw[:beginning] + b"0" + raw[beginning:]).is_external


@given(
    VALUES,
    st.sampled_from(
        [
            json.dumps,
            lambda document: json.dumps(document, separators=(",", ":")),
            lambda document: json.dumps(document, separators=(",", ":"), ensure_ascii=False),
            lambda document: json.dumps(document, indent=2),
            lambda document: dumps_of_javascript(document).decode(),
        ]
    ),
)
def test_a_program_that_reads_and_writes_it_back_shows_though_it_changes_nothing(value: Value, dumps: object) -> None:
    assert callable(dumps)
    written = decode(dumps(json.loads(encode_value(value))).encode())
    assert written.kind is Kind.TAMPERED
    assert (written.base, written.identity, written.ids) == (value.base, value.identity, value.ids)
    assert (written.questionable, json.loads(written.body)) == (value.questionable, json.loads(value.body))


@given(VALUES, DOCUMENTS)
def test_a_program_that_spreads_its_changes_over_it_keeps_the_base_and_the_ids(value: Value, changes: dict) -> None:
    document = json.loads(encode_value(value)) | changes
    written = decode(json.dumps(document).encode())
    assert (written.kind, written.base, written.ids) == (Kind.TAMPERED, value.base, value.ids)
    assert json.loads(written.body) == json.loads(value.body) | changes


@given(VALUES, st.randoms())
def test_the_header_is_found_wherever_it_is_moved_to(value: Value, random: object) -> None:
    members = list(json.loads(encode_value(value)).items())
    random.shuffle(members)  # type: ignore[attr-defined]
    written = decode(json.dumps(dict(members)).encode())
    assert (written.kind, written.base, written.ids) == (Kind.TAMPERED, value.base, value.ids)
    assert STORE_FIELD not in json.loads(written.body)


@given(VALUES, st.none() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=20) | st.just({}))
def test_what_is_no_header_any_more_tells_nothing(value: Value, header: object) -> None:
    document = json.loads(encode_value(value)) | {STORE_FIELD: header}
    written = decode(json.dumps(document).encode())
    assert (written.kind, written.base, written.ids) == (Kind.UNSTAMPED, 0, ())
    assert json.loads(written.body) == json.loads(value.body)


@given(VALUES, st.data())
def test_a_damaged_header_never_makes_a_value_ours(value: Value, data: st.DataObject) -> None:
    document = json.loads(encode_value(value))
    header = document[STORE_FIELD]
    start = data.draw(st.integers(0, len(header)))
    document[STORE_FIELD] = header[:start] + data.draw(st.text("01 -?,abT", max_size=3)) + header[start + 1 :]
    following = json.dumps(document).encode()
    as_we_write = following.replace(b'", ', b'" ,', 1)
    for raw in (following, as_we_write):
        assert decode(raw).is_external or raw == encode_value(value)


@given(DOCUMENTS)
def test_an_external_programs_own_session_is_unstamped_byte_for_byte(document: dict) -> None:
    raw = json.dumps(document).encode()
    assert decode(raw) == Value(0, NO_IDENTITY, raw, kind=Kind.UNSTAMPED)


@given(st.binary(max_size=40) | st.sampled_from([b"null", b"[]", b"1", b'"text"', b'{"a":1', b'{"a":"\xff"}', b""]))
def test_what_is_no_json_object_is_kept_as_it_is(raw: bytes) -> None:
    value = decode(raw)
    if value.kind is Kind.UNREADABLE:
        assert value.body == raw
    else:
        assert isinstance(json.loads(raw), dict)


@given(VALUES, VALUES)
def test_bytes_of_yesterday_are_what_they_were_and_nothing_newer(old: Value, new: Value) -> None:
    """Written back raw they are ours again; no mixture of old and new is."""
    raw, newer = encode_value(old), encode_value(new)
    assert decode(raw) == old
    end = newer.index(b'" ') + 2
    mixed = newer[:end] + raw[raw.index(b'" ') + 2 :]
    assert mixed in {raw, newer} or decode(mixed).is_external


@given(VALUES)
def test_callers_see_a_version_more_for_each_write_that_waits(value: Value) -> None:
    numbers = [int(each.rpartition("-")[2]) for each in value.ids if each[:2] not in {"f-", "r-"}]
    assert value.version == value.base + sum(numbers)
    assert value.is_dirty is bool(value.ids)


@given(VALUES, VALUES)
def test_two_values_never_have_the_same_bytes(one: Value, other: Value) -> None:
    assert (encode_value(one) == encode_value(other)) is (one == other)
    assert (digest_of(encode_value(one)) == digest_of(encode_value(other))) is (one == other)
