"""One session lives longer than it would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import redis

from checkout_cli.commands.sessions.sessions import extend
from checkout_cli.commands.sync.sync import synchronize
from checkout_cli.errors import InvalidInput, SessionCorrupt, SessionDeleted, SessionNotFound
from checkout_cli.keys import claim_key, session_key
from checkout_cli.session import decode, iso
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.value import Kind, Value
from checkout_cli.store.protocol.value import decode as decode_value
from checkout_cli.store.redis.opened import Look, Opened, Replaced
from tests.support.divergence import create_in_redis_alone, set_columns
from tests.support.servers import ValkeyServer
from tests.support.stores import make_store

ID = "longer-001"
KEY = session_key(ID)
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


def test_both_tiers_end_it_later(store: CheckoutStore, valkey: ValkeyServer) -> None:
    store.create({}, checkout_id=ID)
    before = store.admin.inspect(ID).expires_at
    longer = extend(store, ID, 600)
    assert (longer.in_redis, longer.in_database, longer.capped) == (True, True, False)
    assert longer.after == longer.before + 600_000
    with valkey.client() as client:
        assert client.pttl(KEY) > 2_390_000
    row = store.database.read(ID)
    assert row is not None
    assert row.expires_at == longer.after
    assert before is not None
    assert abs(longer.before - before) < 1000


def test_a_read_may_shorten_it_in_redis_and_the_database_still_has_it(store: CheckoutStore) -> None:
    store.create({}, checkout_id=ID)
    longer = extend(store, ID, 7200)
    store.get(ID)
    assert store.redis.ask(("PTTL", KEY)) <= 1_800_000
    row = store.database.read(ID)
    assert row is not None
    assert row.expires_at == longer.after


def test_nothing_is_ever_shortened(store: CheckoutStore, valkey: ValkeyServer) -> None:
    store.create({}, checkout_id=ID)
    with valkey.client() as client:
        client.pexpire(KEY, 50_000_000)  # a read has granted more since this process looked
        assert store.redis.extend_ttl(ID, 1000) > 49_000_000
        client.persist(KEY)
        assert store.redis.extend_ttl(ID, 1000) == -1
        client.delete(KEY)
        assert store.redis.extend_ttl(ID, 1000) == -2


def test_expires_at_in_the_json_moves_along_and_nothing_else_does(store: CheckoutStore, valkey: ValkeyServer) -> None:
    store.create({"notes": "ring twice", "price": 1.10}, checkout_id=ID)
    before = value_at(valkey)
    longer = extend(store, ID, 600)
    after = value_at(valkey)
    assert fields_of(after)["expiresAt"] == iso(longer.after)
    assert fields_of(before)["expiresAt"] != iso(longer.after)
    assert (after.base, after.ids, after.identity, after.kind) == (before.base, (), before.identity, Kind.OURS)
    assert fields_of(after) == fields_of(before) | {"expiresAt": iso(longer.after)}
    assert store.get(ID).version == 1
    assert store.index.missing([ID]) == []


def test_a_dirty_value_keeps_its_ids_so_that_it_is_flushed_once(store: CheckoutStore, valkey: ValkeyServer) -> None:
    create_in_redis_alone(store.settings, ID, notes="only here")
    before = value_at(valkey)
    longer = extend(store, ID, 600)
    after = value_at(valkey)
    assert before.ids
    assert (after.base, after.ids) == (before.base, before.ids)
    assert fields_of(after)["expiresAt"] == iso(longer.after)
    assert (longer.in_redis, longer.in_database) == (True, False)
    assert synchronize(store).flushed == 1
    row = store.database.read(ID)
    assert row is not None
    assert row.version == 1


def test_a_fill_claim_ends_with_it_for_its_holder_has_read_an_older_expires_at(
    store: CheckoutStore, valkey: ValkeyServer
) -> None:
    store.create({}, checkout_id=ID)
    with valkey.client() as client:
        client.set(claim_key(ID), b"somebody", px=5000)
        extend(store, ID, 600)
        assert not client.exists(claim_key(ID))


def test_a_write_in_between_is_not_lost_and_the_session_lives_longer_all_the_same(
    store: CheckoutStore, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({}, checkout_id=ID)
    look = store.redis.look

    def look_then_write(ids: Sequence[str]) -> list[Look]:
        found = look(ids)
        monkeypatch.setattr(store.redis, "look", look)
        with make_store(store.settings) as other:
            other.update(ID, {"notes": "written meanwhile"})
        return found

    seen = store.admin.inspect(ID)
    monkeypatch.setattr(store.admin, "inspect", lambda _: seen)
    monkeypatch.setattr(store.redis, "look", look_then_write)
    longer = extend(store, ID, 3600)
    written = value_at(valkey)
    assert (written.base, fields_of(written)["notes"]) == (2, "written meanwhile")
    assert fields_of(written)["expiresAt"] == iso(longer.after)
    with valkey.client() as client:
        assert client.pttl(KEY) > 5_390_000


def test_a_read_in_between_that_grants_more_is_not_taken_back(
    store: CheckoutStore, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({}, checkout_id=ID)
    rewrite = store.redis.rewrite

    def read_then_rewrite(checkout_id: str, opened: Opened, new: bytes) -> Replaced:
        store.get(ID)
        return rewrite(checkout_id, opened, new)

    monkeypatch.setattr(store.redis, "rewrite", read_then_rewrite)
    with valkey.client() as client:
        client.pexpire(KEY, 60_000)
        extend(store, ID, 60)
        assert client.pttl(KEY) > 1_700_000


def test_the_maximum_age_is_the_limit(store: CheckoutStore) -> None:
    store.create({}, checkout_id=ID)
    longer = extend(store, ID, 10 * 86_400)
    assert longer.capped
    row = store.database.read(ID)
    assert row is not None
    assert longer.after == row.expires_at == row.created_at + 86_400_000
    with pytest.raises(InvalidInput, match="all the age"):
        extend(store, ID, 60)


@pytest.mark.parametrize("by", [0, -1, float("inf"), float("nan")])
def test_no_time_is_refused(store: CheckoutStore, by: float) -> None:
    with pytest.raises(InvalidInput):
        extend(store, ID, by)


def test_what_is_not_there_or_no_session_is_told(store: CheckoutStore) -> None:
    with pytest.raises(SessionNotFound):
        extend(store, ID, 60)
    store.create({}, checkout_id=ID)
    store.delete(ID)
    with pytest.raises(SessionDeleted):
        extend(store, ID, 60)
    store.redis.ask(("SET", session_key("broken-001"), b"{", "PX", 60_000))
    with pytest.raises(SessionCorrupt):
        extend(store, "broken-001", 60)


def test_an_external_session_lives_longer_in_redis_and_keeps_its_bytes(store: CheckoutStore) -> None:
    raw = b'{"totalAmount":1, "expiresAt":"2030-01-01T00:00:00.000Z"}'
    store.redis.ask(("SET", KEY, raw, "PX", 60_000))
    longer = extend(store, ID, 600)
    assert (longer.in_redis, longer.in_database, longer.external) == (True, False, True)
    assert store.redis.ask(("PTTL", KEY)) > 650_000
    assert store.redis.ask(("GET", KEY)) == raw


def test_with_one_tier_away_the_other_has_it_and_that_is_said(store: CheckoutStore, client: redis.Redis) -> None:
    store.create({}, checkout_id=ID)
    set_columns(store, ID, published_version=1)
    with make_store(replace(store.settings, redis_port=1)) as without_redis:
        longer = extend(without_redis, ID, 600)
    assert (longer.in_redis, longer.in_database, len(longer.away)) == (False, True, 1)
    with make_store(replace(store.settings, database_url=NOWHERE)) as without_database:
        longer = extend(without_database, ID, 600)
    assert (longer.in_redis, longer.in_database, len(longer.away)) == (True, False, 1)
    assert client.pttl(KEY) > 2_390_000


def value_at(valkey: ValkeyServer) -> Value:
    with valkey.client() as client:
        raw = client.get(KEY)
    assert isinstance(raw, bytes)
    return decode_value(raw)


def fields_of(value: Value) -> dict[str, Any]:
    return decode(value.body)


@pytest.fixture
def client(valkey: ValkeyServer) -> redis.Redis:
    return valkey.client()
