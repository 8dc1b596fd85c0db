from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.store.redis.clients import client_address
from checkout_cli.store.redis.monitor import Line, is_script, parsed


def as_the_server_writes(argument: bytes) -> bytes:
    """As Redis' own ``sdscatrepr`` does."""
    spelled = {0x5C: b"\\\\", 0x22: b'\\"', 0x0A: b"\\n", 0x0D: b"\\r", 0x09: b"\\t", 0x07: b"\\a", 0x08: b"\\b"}
    shown = (spelled.get(byte, bytes([byte]) if 0x20 <= byte < 0x7F else b"\\x%02x" % byte) for byte in argument)
    return b'"' + b"".join(shown) + b'"'


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4))
def test_what_the_server_writes_is_read_back_byte_for_byte(arguments: list[bytes]) -> None:
    raw = b"1763900000.000123 [0 127.0.0.1:5000] " + b" ".join(map(as_the_server_writes, arguments))
    assert parsed(raw) == Line(1_763_900_000_000_123, "127.0.0.1:5000", arguments)


@given(st.binary(max_size=60))
def test_no_line_breaks_it(raw: bytes) -> None:
    parsed(raw)


@pytest.mark.parametrize("raw", [b"", b"OK", b"1763900000.000123 [0 lua", None, 7, b'x [0 a] "GET"'])
def test_what_is_no_line_is_left_out(raw: object) -> None:
    assert parsed(raw) is None


def test_what_a_script_runs_is_told_from_what_clients_send() -> None:
    inner, outer = parsed(b'1.000001 [0 lua] "GET" "x"'), parsed(b'1.000001 [0 unix:/lua] "GET" "x"')
    assert inner is not None
    assert outer is not None
    assert is_script(inner)
    assert not is_script(outer)


@pytest.mark.parametrize(
    "raw", ["127.0.0.1:51234", "[2001:db8::1]:6379", "[::1]:51234", "lua", "/run/redis.sock:0", "unix:/run/redis.sock"]
)
def test_a_clients_address_is_told_as_it_is(raw: str) -> None:
    assert client_address(raw.encode()) == raw


@pytest.mark.parametrize("raw", [b"", b"jane@example.org", b"Jane", b"127.0.0.1:51234 jane", b"\xff:1", b"a\x1b[2J:1"])
def test_any_other_text_of_a_server_is_no_address(raw: bytes) -> None:
    assert client_address(raw) == ""
