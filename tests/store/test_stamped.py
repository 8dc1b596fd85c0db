from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from checkout_cli.store import stamped

IDENTITY = b"0123456789abcdef0123456789abcdef01234567:89abcdef0123456789abcdef0123456789abcdef"
BODY = b'{"checkoutId":"x","total":10.50}'


@given(version=some.integers(1, 10**15), body=some.dictionaries(some.text(), some.integers(), min_size=1))
def test_what_was_encoded_is_decoded(version: int, body: dict[str, int]) -> None:
    raw = json.dumps(body).encode()
    value, _ = stamped.encode(version, IDENTITY, raw)
    copy = stamped.decode(value)
    assert copy == stamped.Stamped(version, IDENTITY, raw, intact=True)


def test_a_value_is_json_that_any_program_reads_with_version_and_stamp_first() -> None:
    value, stamp = stamped.encode(7, IDENTITY, BODY)
    assert list(json.loads(value).items())[:2] == [("version", 7), ("stamp", stamp.decode())]


def test_the_body_is_kept_byte_for_byte() -> None:
    value, _ = stamped.encode(7, IDENTITY, BODY)
    assert value.endswith(BODY[1:])


@pytest.mark.parametrize("place", range(len(BODY)))
def test_any_changed_byte_of_the_body_is_noticed(place: int) -> None:
    value, _ = stamped.encode(7, IDENTITY, BODY)
    position = len(value) - len(BODY) + place
    changed = value[:position] + bytes([value[position] ^ 1]) + value[position + 1 :]
    copy = stamped.decode(changed)
    assert copy is None or not copy.intact


@pytest.mark.parametrize("version", [1, 6, 8, 70, 10**14])
def test_a_changed_version_is_noticed(version: int) -> None:
    value, _ = stamped.encode(7, IDENTITY, BODY)
    copy = stamped.decode(value.replace(b'"version":7,', b'"version":%d,' % version))
    assert copy is not None
    assert not copy.intact


@pytest.mark.parametrize("length", range(0, 140, 7))
def test_a_truncated_value_is_not_taken_for_whole(length: int) -> None:
    value, _ = stamped.encode(7, IDENTITY, BODY)
    copy = stamped.decode(value[:length])
    assert copy is None or not copy.intact


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b"fill:token:123",
        BODY,
        b'{"version":1,"checkoutId":"x"}',
        b'{"version": 1, "stamp": "a:b:00000000", "x": 1}',
        b'{"stamp":"a:b:00000000","version":1,"x":1}',
        b'{"version":1,"stamp":"another program\'s","x":1}',
        b'{"version":-1,"stamp":"a:b:00000000","x":1}',
        b'{"version":1.0,"stamp":"a:b:00000000","x":1}',
        b'{"version":' + b"9" * 400 + b',"stamp":"a:b:00000000","x":1}',
        b"\xff\xfe\x00",
    ],
)
def test_everything_else_is_foreign(value: bytes) -> None:
    assert stamped.decode(value) is None


def test_without_an_identity_a_copy_equals_no_servers() -> None:
    value, _ = stamped.encode(1, None, BODY)
    copy = stamped.decode(value)
    assert copy is not None
    assert copy.identity == stamped.NO_IDENTITY
    assert copy.intact
