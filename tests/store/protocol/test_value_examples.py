"""A session's value in Redis: what is ours, what an external writer has touched, and how each byte of it is kept."""

from __future__ import annotations

import json

import msgspec
import pytest

from checkout_cli.session import STORE_FIELD
from checkout_cli.store.protocol.ids import MOST_IDS
from checkout_cli.store.protocol.value import (
    NO_IDENTITY,
    Kind,
    Value,
    decode,
    encode,
    encode_value,
    looks_like_ours,
)

IDENTITY = b"0123456789abcdef0123456789abcdef01234567:89abcdef0123456789abcdef0123456789abcdef"
BODY = b'{"checkoutId":"x","total":10.50,"note":"\\u00e9"}'
IDS = ("0a1b-3", "f-" + "e" * 40, "2c3d-1")
CLEAN = encode(7, IDENTITY, BODY)
DIRTY = encode(7, IDENTITY, BODY, IDS, questionable=True)


def as_an_external_writer_writes(raw: bytes) -> bytes:
    """Parsed and written again by a program that knows nothing of headers, as JavaScript does it."""
    return json.dumps(json.loads(raw), separators=(",", ":"), ensure_ascii=False).encode()


# Ours


@pytest.mark.parametrize(
    "value",
    [
        Value(7, IDENTITY, BODY),
        Value(0, IDENTITY, BODY, ("0a1b-1",)),
        Value(7, IDENTITY, BODY, IDS, questionable=True),
        Value(10**15, NO_IDENTITY, b"{}"),
        Value(7, IDENTITY, b'{ "total" : 1 }'),
        Value(7, IDENTITY, b'{"total":1 }'),
        Value(7, IDENTITY, b"{}", IDS),
    ],
)
def test_what_was_encoded_is_decoded(value: Value) -> None:
    assert decode(encode_value(value)) == value


def test_the_blank_in_an_empty_body_is_nothing_to_keep() -> None:
    assert decode(encode(1, IDENTITY, b"{ }")).body == b"{}"


def test_a_value_is_one_json_object_with_one_member_more_which_comes_first() -> None:
    fields = json.loads(DIRTY)
    assert next(iter(fields)) == STORE_FIELD
    del fields[STORE_FIELD]
    assert fields == json.loads(BODY)


def test_the_header_of_an_empty_session_is_json_too() -> None:
    assert json.loads(encode(7, IDENTITY, b"{}")).keys() == {STORE_FIELD}


def test_the_shops_own_version_and_stamp_survive() -> None:
    body = b'{"version":"2.0","stamp":[1],"undrained":null}'
    assert decode(encode(7, IDENTITY, body)).body == body


def test_the_body_is_kept_byte_for_byte() -> None:
    assert DIRTY.endswith(BODY[1:])


def test_callers_see_the_rows_version_and_one_more_for_each_dirty_write() -> None:
    clean, dirty = decode(CLEAN), decode(DIRTY)
    assert (clean.version, clean.is_dirty, clean.is_external) == (7, False, False)
    assert (dirty.version, dirty.is_dirty, dirty.is_external) == (7 + 3 + 1, True, False)


def test_without_an_identity_a_value_names_no_server() -> None:
    value = decode(encode(1, None, BODY))
    assert (value.kind, value.identity) == (Kind.OURS, NO_IDENTITY)


def test_as_many_ids_as_a_value_may_have_fit_into_its_header() -> None:
    ids = tuple(f"{number:016x}-1" for number in range(MOST_IDS))
    assert decode(encode(1, IDENTITY, BODY, ids)).ids == ids
    assert decode(encode(1, IDENTITY, BODY, (*ids, "one-1"))).kind is Kind.UNSTAMPED


# What an external writer has touched


@pytest.mark.parametrize("raw", [CLEAN, DIRTY, encode(7, IDENTITY, b"{}")])
def test_a_value_that_was_only_parsed_and_written_again_shows(raw: bytes) -> None:
    written = as_an_external_writer_writes(raw)
    assert len(written) < len(raw)
    value, was = decode(written), decode(raw)
    assert value.kind is Kind.TAMPERED
    assert (value.base, value.identity, value.ids) == (was.base, was.identity, was.ids)
    assert json.loads(value.body) == json.loads(was.body)


@pytest.mark.parametrize("raw", [CLEAN, DIRTY])
def test_any_changed_byte_is_noticed(raw: bytes) -> None:
    for place in range(len(raw)):
        assert decode(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]).is_external


@pytest.mark.parametrize("raw", [CLEAN, DIRTY])
def test_a_value_that_was_cut_off_is_no_session(raw: bytes) -> None:
    for length in range(len(raw)):
        assert decode(raw[:length]) == Value(0, NO_IDENTITY, raw[:length], kind=Kind.UNREADABLE)


@pytest.mark.parametrize("more", [b" ", b"\n", b"x", b"}", b'{"a":1}'])
def test_a_value_that_goes_on_is_not_ours(more: bytes) -> None:
    assert decode(CLEAN + more).is_external


@pytest.mark.parametrize("version", [0, 1, 6, 8, 70, 10**14])
def test_a_wrong_version_is_tampered_with(version: int) -> None:
    value = decode(CLEAN.replace(b'"7 -', b'"%d -' % version))
    assert (value.kind, value.base, value.body) == (Kind.TAMPERED, version, BODY)


def test_another_identity_is_tampered_with() -> None:
    value = decode(CLEAN.replace(IDENTITY, b"another:server"))
    assert (value.kind, value.identity) == (Kind.TAMPERED, b"another:server")


def test_a_flag_that_was_taken_off_is_noticed() -> None:
    assert decode(DIRTY.replace(b" ? ", b" - ")).kind is Kind.TAMPERED


@pytest.mark.parametrize("ids", [b"", b" 0a1b-3", b" 0a1b-4,2c3d-1"])
def test_ids_that_were_changed_are_noticed(ids: bytes) -> None:
    changed = DIRTY.replace(b" " + ",".join(IDS).encode(), ids)
    assert changed != DIRTY
    assert decode(changed).kind is Kind.TAMPERED


def test_a_header_is_found_wherever_an_external_writer_has_put_it_and_is_no_part_of_the_body() -> None:
    fields = json.loads(CLEAN)
    header = fields.pop(STORE_FIELD)
    raw = json.dumps({**fields, STORE_FIELD: header}).encode()
    value = decode(raw)
    assert (value.kind, value.base) == (Kind.TAMPERED, 7)
    assert json.loads(value.body) == fields


def test_the_bytes_of_each_member_survive_a_header_that_is_taken_out() -> None:
    header = json.loads(CLEAN)[STORE_FIELD].encode()
    raw = b'{"big":12345678901234567890123, "price" : 1.50, "_store":"%b", "odd":"\\u00e9"}' % header
    assert decode(raw).body == b'{"big":12345678901234567890123,"price":1.50,"odd":"\\u00e9"}'


# Without our header


@pytest.mark.parametrize(
    "raw",
    [
        BODY,
        b"{}",
        b' {"checkoutId": "x"}\n',
        b'{"version":1,"stamp":"0123:4567:00000000","total":1}',
        b'{"_store":null,"total":1}',
        b'{"_store":["7 - x"],"total":1}',
        b'{"_store":"","total":1}',
        b'{"_store":"mine","total":1}',
        b'{"_store":"-1 - x 0123456789abcdef","total":1}',
        b'{"_store":"1.0 - x 0123456789abcdef","total":1}',
        b'{"_store":"7 ! x 0123456789abcdef","total":1}',
        b'{"_store":"7 - x 0123456789ABCDEF","total":1}',
        b'{"_store":"7 - x 0123456789abcde","total":1}',
        b'{"_store":"7 - x 0123456789abcdef no-id-of,ours","total":1}',
        b'{"_store":"' + b"9" * 400 + b' - x 0123456789abcdef","total":1}',
    ],
)
def test_a_session_without_a_header_of_ours_has_no_base(raw: bytes) -> None:
    value = decode(raw)
    fields = json.loads(raw)
    fields.pop(STORE_FIELD, None)
    assert (value.kind, value.base, value.version, value.ids) == (Kind.UNSTAMPED, 0, 0, ())
    assert json.loads(value.body) == fields


def test_without_a_header_the_bytes_are_the_body() -> None:
    for raw in (BODY, b'{ "a" : 1.0, "a" : 2 }'):
        assert decode(raw).body == raw


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"fill:token:1700000000000",
        b"{",
        b'{"a":1}{"b":2}',
        b'{"a":"\xff"}',
        b"\x80\x04\x95 a pickle",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_json_object_is_unreadable_and_kept_as_it_is(raw: bytes) -> None:
    assert decode(raw) == Value(0, NO_IDENTITY, raw, kind=Kind.UNREADABLE)


# The first bytes


@pytest.mark.parametrize("raw", [CLEAN, DIRTY, encode(7, None, b"{}")])
def test_the_first_bytes_tell_a_whole_header_of_ours(raw: bytes) -> None:
    assert looks_like_ours(raw)
    assert not looks_like_ours(as_an_external_writer_writes(raw))


@pytest.mark.parametrize("raw", [b"", b"{}", BODY, b'{"_store":"mine" ,"a":1}', CLEAN[:40], b" " + CLEAN])
def test_the_first_bytes_of_anything_else_do_not(raw: bytes) -> None:
    assert not looks_like_ours(raw)


def test_a_value_that_is_written_again_by_msgspec_shows_as_well() -> None:
    assert decode(msgspec.json.encode(msgspec.json.decode(CLEAN))).kind is Kind.TAMPERED
