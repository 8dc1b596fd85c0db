from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.keys import Family
from checkout_cli.operations.redaction import UNKNOWN, shape_of
from checkout_cli.store.redis_commands import SCRIPTS, script_names


def shape(*words: str) -> tuple[str, bytes | None, int]:
    found = shape_of([word.encode() for word in words])
    return found.name, found.key, found.others


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["GET", "checkout:session:1"], ("GET", b"checkout:session:1", 0)),
        (["set", "k", "the value", "PX", "5"], ("SET", b"k", 3)),
        (["CONFIG", "GET", "maxmemory"], ("CONFIG GET", None, 1)),
        (["MEMORY", "USAGE", "k", "SAMPLES", "0"], ("MEMORY USAGE", b"k", 2)),
        (["KEYS", "checkout:*"], ("KEYS", None, 1)),
        (["AUTH", "user", "secret"], ("AUTH", None, 2)),
        (["PING"], ("PING", None, 0)),
        (["GET"], ("GET", None, 0)),
        (["the value of something"], (UNKNOWN, None, 0)),
        (["CLIENT", "the name of a shopper"], ("CLIENT", None, 0)),
        (["EVAL", "return 1", "1", "k", "a", "b"], ("EVAL", b"k", 2)),
        (["EVAL", "return 1", "0", "a"], ("EVAL", None, 1)),
        (["EVAL", "return 1", "x", "a"], ("EVAL", None, 1)),
        (["EVALSHA", "0" * 40, "1", "k"], ("EVALSHA", b"k", 0)),
    ],
)
def test_a_command_is_told_by_its_name_its_first_key_and_how_much_more(
    words: list[str], expected: tuple[str, bytes | None, int]
) -> None:
    assert shape(*words) == expected


def test_nothing_has_no_shape() -> None:
    assert shape_of([]).name == UNKNOWN


def test_our_own_scripts_are_told_by_their_names() -> None:
    assert set(SCRIPTS) <= set(script_names())
    for digest, name in script_names().items():
        assert shape("EVALSHA", digest, "1", "checkout:session:1", "x") == (
            f"EVALSHA {name}",
            b"checkout:session:1",
            1,
        )


def test_the_family_is_that_of_the_key() -> None:
    assert shape_of([b"GET", b"checkout:session:1"]).family is Family.SESSIONS
    assert shape_of([b"GET", b"another"]).family is Family.OTHER
    assert shape_of([b"PING"]).family is None


CANARY = b"canary-4111111111111111@shop.example"


@given(
    st.sampled_from([b"SET", b"HSET", b"EVAL", b"EVALSHA", b"ACL", b"CLIENT", b"AUTH", b"KEYS", b"nonsense", CANARY]),
    st.lists(st.binary(max_size=8) | st.just(CANARY), max_size=5),
)
def test_no_argument_but_the_key_ever_leaves(command: bytes, arguments: list[bytes]) -> None:
    found = shape_of([command, *arguments])
    assert CANARY not in found.name.lower().encode()
    assert found.others <= len(arguments)
    if found.key is not None:
        assert found.key in arguments[:3]
        assert command in {b"SET", b"HSET", b"EVAL", b"EVALSHA"}


def test_control_an_argument_that_is_no_subcommand_would_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from checkout_cli.operations import redaction

    class Everything(frozenset[str]):
        def __contains__(self, _: object) -> bool:
            return True

    monkeypatch.setattr(redaction, "_SUBCOMMANDS", Everything())
    assert "SHOPPER" in shape("CLIENT", "the shopper")[0]
