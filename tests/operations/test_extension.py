"""One session lives longer than it would."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from checkout_cli.errors import InvalidInput, SessionCorrupt, SessionDeleted, SessionNotFound
from checkout_cli.keys import session_key
from checkout_cli.operations.extension import extend
from checkout_cli.store.checkout_store import CheckoutStore
from tests.operations.test_sync import set_columns
from tests.servers import ValkeyServer
from tests.store.support import make_store

ID = "longer-001"
KEY = session_key(ID)
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


def test_both_tiers_end_it_later(store: CheckoutStore, valkey: ValkeyServer) -> None:
    store.create({}, checkout_id=ID)
    before = store.peek(ID).expires_at
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
        assert store.redis.lengthen(ID, 1000) > 49_000_000
        client.persist(KEY)
        assert store.redis.lengthen(ID, 1000) == -1
        client.set(KEY, b"fill:token:123", px=5000)
        assert store.redis.lengthen(ID, 100_000) == -2
        assert client.pttl(KEY) <= 5000  # nobody's claim lives longer for it
        client.delete(KEY)
        assert store.redis.lengthen(ID, 1000) == -2


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


def test_another_programs_session_lives_longer_in_redis(store: CheckoutStore) -> None:
    store.redis.ask(("SET", KEY, b'{"totalAmount":1}', "PX", 60_000))
    longer = extend(store, ID, 600)
    assert (longer.in_redis, longer.in_database) == (True, False)
    assert store.redis.ask(("PTTL", KEY)) > 650_000


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


@pytest.fixture
def client(valkey: ValkeyServer) -> redis.Redis:
    return valkey.client()
