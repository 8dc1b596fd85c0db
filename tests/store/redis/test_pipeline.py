from __future__ import annotations

from collections.abc import Callable

import pytest

from checkout_cli.errors import CommandDenied, RedisUnavailable, WrongKeyType
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.pipeline import one_key
from checkout_cli.store.redis.server import RedisServer
from tests.support.servers import ValkeyServer


@pytest.mark.parametrize("key", [b"", b"plain", b"with\r\nline ends", b"%d %b %%", b"\x00\xff"])
def test_a_packed_command_is_what_the_driver_packs(store: CheckoutStore, key: bytes) -> None:
    store.redis.ask(("SET", key, "12345"))
    with store.redis.servers()[0].conversation() as talk:
        talk.send(one_key(b"STRLEN") % (len(key), key), 1)
        talk.send(one_key(b"OBJECT", b"ENCODING") % (len(key), key), 1)
        assert talk.replies(2) == [5, b"int"]


def test_an_error_is_the_reply_to_its_own_command_only(store: CheckoutStore) -> None:
    store.redis.ask(("LPUSH", "list", "x"))
    with store.redis.servers()[0].conversation() as talk:
        one, two, three = talk.ask(("PING",), ("GET", "list"), ("PING",))
        assert (one, three) == (b"PONG", b"PONG")
        assert isinstance(two, WrongKeyType)


def _interrupted(server: RedisServer) -> None:
    with server.conversation() as talk:
        talk.say(("ECHO", "stale"))
        raise KeyboardInterrupt


def _asked_while_paused(one: RedisServer, server: ValkeyServer) -> None:
    with one.conversation() as talk:
        talk.ask(("PING",))
        server.pause()
        talk.ask(("PING",))


def test_a_conversation_that_is_left_early_leaves_no_reply_to_the_next_one(store: CheckoutStore) -> None:
    server = store.redis.servers()[0]
    with server.conversation() as talk:
        talk.say(("ECHO", "stale"), ("ECHO", "stale"))
        talk.replies(1)
    assert server.ask(("PING",)) == b"PONG"
    with pytest.raises(KeyboardInterrupt):
        _interrupted(server)
    assert server.ask(("PING",)) == b"PONG"


def test_a_server_that_hangs_opens_the_breaker_and_the_next_conversation_fails_at_once(
    valkey_server: Callable[..., ValkeyServer], settings: object
) -> None:
    from checkout_cli.config.settings import Settings
    from checkout_cli.store.redis.admin import RedisAdmin

    server = valkey_server()
    redis = RedisAdmin(Settings(redis_host="127.0.0.1", redis_port=server.port, timeout=0.2))
    (one,) = redis.servers()
    with pytest.raises(RedisUnavailable, match="in time"):
        _asked_while_paused(one, server)
    assert one.breaker.is_open
    with pytest.raises(RedisUnavailable), one.conversation():
        pytest.fail("the breaker let it through")
    redis.close()


def test_a_denied_command_is_told_as_such_and_the_breaker_stays_closed(store: CheckoutStore) -> None:
    server = store.redis.servers()[0]
    store.redis.ask(("ACL", "SETUSER", "default", "-memory|usage"))
    try:
        with server.conversation() as talk:
            (reply,) = talk.ask(("MEMORY", "USAGE", "x"))
    finally:
        store.redis.ask(("ACL", "SETUSER", "default", "+@all"))
    assert isinstance(reply, CommandDenied)
    assert reply.grant == "+memory|usage"
    assert not server.breaker.is_open


@pytest.mark.parametrize(
    ("rules", "grant"),
    [(("~*", "+@all", "-set"), "+set"), (("resetkeys", "~checkout:index", "+@all"), "")],
    ids=["command", "key"],
)
def test_what_is_denied_inside_a_script_is_denied(
    any_redis_server: ValkeyServer, rules: tuple[str, ...], grant: str
) -> None:
    from checkout_cli.config.settings import Settings
    from checkout_cli.store.redis.admin import RedisAdmin

    with any_redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", *rules)
        redis = RedisAdmin(Settings(redis_host="127.0.0.1", redis_port=any_redis_server.port, timeout=5.0))
        try:
            with pytest.raises(CommandDenied) as denied:
                redis.ask(("EVAL", "return redis.call('SET', 'x', 'y')", 0))
            assert not redis.servers()[0].breaker.is_open
        finally:
            client.execute_command("ACL", "SETUSER", "default", "~*", "+@all")
            redis.close()
    assert denied.value.grant == (grant if "'set'" in str(denied.value) else "")  # Redis 7.0 names no command
