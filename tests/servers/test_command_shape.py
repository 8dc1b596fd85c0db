from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.keys import Family
from checkout_cli.servers.command_shape import UNKNOWN, shape_of
from checkout_cli.store.redis.commands import SCRIPTS, script_names
from tests.support.servers import ValkeyServer


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
        (["XREAD", "COUNT", "2", "STREAMS", "k", "0"], ("XREAD", b"k", 4)),
        (["XREADGROUP", "GROUP", "streams", "somebody", "STREAMS", "k", ">"], ("XREADGROUP", b"k", 5)),
        (["XREAD", "STREAMS"], ("XREAD", None, 1)),
        (["BITOP", "AND", "k", "other"], ("BITOP", b"k", 2)),
        (["ZINTER", "2", "k", "other"], ("ZINTER", b"k", 2)),
        (["ZINTER", "the value", "another"], ("ZINTER", None, 2)),
        (["BLMPOP", "0", "1", "k", "LEFT"], ("BLMPOP", b"k", 3)),
        (["BLMPOP", "0"], ("BLMPOP", None, 1)),
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


CHANNELS_AND_INTERNALS = {"spublish", "ssubscribe", "sunsubscribe", "pfdebug", "clusterscan"}


def test_every_command_of_the_server_has_its_name_and_the_key_that_the_server_says(
    any_redis_server: ValkeyServer,
) -> None:
    with any_redis_server.client() as client:
        table = {name: entry["first_key_pos"] for name, entry in client.command().items()}
    assert len(table) > 200
    arguments = [f"argument-{place}".encode() for place in range(1, 6)]
    shapes = {name: shape_of([name.encode(), *arguments]) for name in table}
    assert [name for name, found in shapes.items() if found.name == UNKNOWN] == []
    assert [
        name
        for name, place in table.items()
        if shapes[name].key != (arguments[place - 1] if place else None) and name not in CHANNELS_AND_INTERNALS
    ] == []


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
    from checkout_cli.servers import command_shape as redaction

    class Everything(frozenset[str]):
        def __contains__(self, _: object) -> bool:
            return True

    monkeypatch.setattr(redaction, "_SUBCOMMANDS", Everything())
    assert "SHOPPER" in shape("CLIENT", "the shopper")[0]
