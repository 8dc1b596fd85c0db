"""What Redis may hold and answer, and the store has to live with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import redis

from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    AccessDenied,
    SessionCorrupt,
    SessionExists,
    WrongKeyType,
)
from checkout_cli.servers.embedded import HOST
from checkout_cli.session import Durability, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.records import Problem
from checkout_cli.store.redis import connection as redis_connection
from tests.support.servers import ValkeyServer
from tests.support.stores import (
    ID,
    ManualClock,
    copy_of,
    evict,
    external_write,
    key_of,
    make_store,
    make_tables,
    put_raw,
    raw,
    trusted,
    wait_until,
)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"garbage",
        b"[1]",
        b"null",
        b'{"checkoutId":',
        b'{"a":"\xff\xfe"}',
        b"\x00\x01",
        b'{"a":1}{"b":2}',
        b"{" * 9999,
    ],
)
def test_a_value_that_is_no_session_is_named_and_the_database_serves(store: CheckoutStore, value: bytes) -> None:
    put_raw(store, ID, value)
    with pytest.raises(SessionCorrupt):
        store.get(ID)
    with pytest.raises(SessionCorrupt):
        store.update(ID, {"a": 1})
    assert store.admin.inspect(ID).problem is Problem.CORRUPT
    assert [(seen.checkout_id, seen.problem) for seen in store.admin.iterate()] == [(ID, Problem.CORRUPT)]
    assert raw(store, ID) == value, "nothing is lost by looking"
    store.delete(ID)
    store.create({"n": 1}, checkout_id="session-0002")
    put_raw(store, "session-0002", value)
    assert store.get("session-0002").fields["n"] == 1
    assert copy_of(store, "session-0002") is not None


@pytest.mark.parametrize("part", [0.2, 0.5, 0.8, 0.99])
def test_a_truncated_copy_is_replaced(store: CheckoutStore, part: float) -> None:
    store.create({"n": 1, "notes": "x" * 500}, checkout_id=ID)
    whole = raw(store, ID)
    assert whole is not None
    put_raw(store, ID, whole[: int(len(whole) * part)])
    assert store.admin.inspect(ID).session is not None
    assert store.get(ID).fields["n"] == 1
    assert raw(store, ID) == whole


def test_a_huge_value_is_looked_at_without_being_fetched(store: CheckoutStore) -> None:
    put_raw(store, ID, b'{"a":"' + b"x" * 2_000_000 + b'"}')
    sighting = store.admin.inspect(ID)
    assert (sighting.problem, sighting.session) == (Problem.TOO_LARGE, None)
    assert sighting.size == 2_000_008
    with pytest.raises(WrongKeyType, match="too large"):
        store.update(ID, {"b": 1})


def test_something_else_at_a_sessions_key_is_named(store: CheckoutStore) -> None:
    store.redis.ask(("LPUSH", key_of(ID), "a"))
    with pytest.raises(WrongKeyType):
        store.get(ID)
    with pytest.raises(WrongKeyType):
        store.update(ID, {"a": 1})
    with pytest.raises(SessionExists):
        store.create({}, checkout_id=ID)
    assert store.admin.inspect(ID).problem is Problem.WRONG_TYPE
    assert [seen.problem for seen in store.admin.iterate()] == [Problem.WRONG_TYPE]
    store.delete(ID)
    assert store.redis.ask(("DBSIZE",)) == 0


def test_something_else_at_a_sessions_key_does_not_hinder_the_database(store: CheckoutStore) -> None:
    store.create({"n": 1}, checkout_id=ID)
    evict(store, ID)
    store.redis.ask(("LPUSH", key_of(ID), "a"))
    assert store.get(ID).fields["n"] == 1
    assert store.update(ID, {"n": 2}).published is False
    assert store.get(ID).fields["n"] == 2
    assert store.admin.inspect(ID).session is not None


def test_a_server_that_does_not_say_who_it_is_is_never_trusted_and_still_serves(
    valkey_server: Callable[..., ValkeyServer], settings: Settings, clock: ManualClock
) -> None:
    server = valkey_server()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-info")
    with make_store(replace(settings, redis_port=server.port), clock) as store:
        make_tables(store.database)
        assert store.create({"n": 1}, checkout_id=ID).published
        assert store.get(ID).tier is TierName.DATABASE
        assert store.update(ID, {"n": 2}).published
        assert json.loads(raw(store, ID) or b"")["n"] == 2
        assert store.get(ID).fields["n"] == 2
        store.delete(ID)
        assert raw(store, ID) is None


@pytest.mark.parametrize("who", [b"", b"two words", b'a"b', b"a\\b", b"\xff", b"x" * 200, b"a\x00b"])
def test_a_server_that_says_who_it_is_in_no_usable_way_is_never_trusted_and_still_serves(
    store: CheckoutStore, another: Callable[..., CheckoutStore], monkeypatch: pytest.MonkeyPatch, who: bytes
) -> None:
    monkeypatch.setattr(redis_connection, "_info_value", lambda _section, _name: who)
    odd = another()
    assert odd.create({"n": 1}, checkout_id=ID).published
    assert odd.get(ID).tier is TierName.DATABASE
    external_write(odd, {"n": 2})
    assert odd.get(ID).version == 2
    assert odd.update(ID, {"n": 3}).published
    odd.delete(ID)
    assert raw(odd, ID) is None


def test_a_wrong_password_is_no_outage(
    valkey_server: Callable[..., ValkeyServer], settings: Settings, clock: ManualClock
) -> None:
    server = valkey_server("--requirepass", "right")
    with make_store(replace(settings, redis_port=server.port, redis_password="canary"), clock) as store:
        make_tables(store.database)
        for call in (
            lambda: store.get(ID),
            lambda: store.create({}, checkout_id=ID),
            lambda: store.update(ID, {"a": 1}),
            lambda: store.delete(ID),
            lambda: store.admin.inspect(ID),
            lambda: list(store.admin.iterate()),
        ):
            with pytest.raises(AccessDenied) as refusal:
                call()
            assert "canary" not in str(refusal.value)
        assert store.database.read(ID) is None


def test_a_permission_that_is_missing_for_the_index_alone_does_not_refuse_the_write(
    valkey_server: Callable[..., ValkeyServer], settings: Settings, clock: ManualClock
) -> None:
    server = valkey_server("--user", "default", "on", "nopass", "~*", "&*", "+@all", "-zadd")
    with make_store(replace(settings, redis_port=server.port), clock) as store:
        make_tables(store.database)
        acknowledgement = store.create({"n": 1}, checkout_id=ID)
        assert (acknowledgement.durability, acknowledgement.published) == (Durability.DATABASE, True)
        assert store.get(ID).fields["n"] == 1
        assert store.index.layout().is_empty


def test_a_replica_serves_no_session_and_takes_no_write(
    valkey_server: Callable[..., ValkeyServer], settings: Settings, clock: ManualClock
) -> None:
    server = valkey_server()
    with make_store(replace(settings, redis_port=server.port), clock) as store:
        make_tables(store.database)
        store.create({"n": 1}, checkout_id=ID)
        with server.client() as client:
            client.replicaof(HOST, 1)
        assert store.get(ID).tier is TierName.DATABASE
        assert store.update(ID, {"n": 2}).published is False
        assert store.get(ID).fields["n"] == 2
        with server.client() as client:
            client.replicaof("NO", "ONE")
        clock.advance(10)
        assert store.get(ID).fields["n"] == 2


def test_a_full_redis_leaves_a_write_pending_and_the_database_acknowledges_it(
    valkey_server: Callable[..., ValkeyServer], settings: Settings, clock: ManualClock
) -> None:
    server = valkey_server("--maxmemory-policy", "noeviction")
    with make_store(replace(settings, redis_port=server.port), clock) as store:
        make_tables(store.database)
        store.create({"n": 1}, checkout_id=ID)
        with server.client() as client:
            client.config_set("maxmemory", "1")
            acknowledgement = store.update(ID, {"n": 2})
            assert (acknowledgement.published, acknowledgement.durability) == (False, Durability.DATABASE)
            assert store.create({"n": 1}, checkout_id="session-0002").published is False
            assert store.get(ID).fields["n"] == 2
            assert store.get("session-0002").fields["n"] == 1
            store.delete("session-0002")
            client.config_set("maxmemory", "0")
        clock.advance(10)
        assert store.get(ID).fields["n"] == 2
        assert trusted(store) is not None


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def test_a_busy_redis_is_an_outage_that_ends(
    valkey_server: Callable[..., ValkeyServer], settings: Settings, clock: ManualClock
) -> None:
    server = valkey_server("--busy-reply-threshold", "1")
    with make_store(replace(settings, redis_port=server.port), clock) as store, server.client() as client:
        make_tables(store.database)
        store.create({"n": 1}, checkout_id=ID)
        with pytest.raises(redis.TimeoutError):
            client.eval("while true do end", 0)
        assert store.get(ID).tier is TierName.DATABASE
        assert store.redis.breaker.is_open
        with server.client() as other:
            other.script_kill()
            wait_until(lambda: answers(other))
        clock.advance(10)
        assert store.get(ID).fields["n"] == 1
        assert not store.redis.breaker.is_open
