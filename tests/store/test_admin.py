from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import DatabaseUnavailable, RedisUnavailable, SessionExpired, SessionNotFound, TierUnavailable
from checkout_cli.keys import INDEX
from checkout_cli.session import TierName
from checkout_cli.store import admin
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.records import Problem
from tests.support.stores import (
    ID,
    ManualClock,
    count_calls,
    database_away,
    evict,
    foreign_session,
    key_of,
    make_store,
    make_tables,
    put_raw,
    redis_away,
    without_redis,
)


def listed(store: CheckoutStore, tier: TierName | None = None) -> list[tuple[str, TierName, int | None]]:
    return [
        (seen.checkout_id, seen.tier, seen.session.version if seen.session else None)
        for seen in store.admin.iterate(tier=tier)
    ]


def unpublished(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch, call: Callable[[], Any]) -> None:
    """A write whose publish fails."""
    with monkeypatch.context() as patch:
        patch.setattr(store.redis, "publish", redis_away)
        call()


def test_a_published_session_is_seen_in_redis(store: CheckoutStore) -> None:
    store.create({}, checkout_id=ID)
    assert listed(store) == [(ID, TierName.REDIS, 1)]
    assert store.admin.inspect(ID).tier is TierName.REDIS


def test_what_redis_lacks_is_seen_in_the_database(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    unpublished(store, monkeypatch, lambda: store.create({}, checkout_id=ID))
    assert listed(store) == [(ID, TierName.DATABASE, 1)]
    assert store.admin.inspect(ID).tier is TierName.DATABASE


def test_a_pending_change_is_seen_and_not_the_copy_before_it(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({}, checkout_id=ID)
    unpublished(store, monkeypatch, lambda: store.update(ID, {"a": 1}))
    assert listed(store) == [(ID, TierName.DATABASE, 2)]
    assert store.admin.inspect(ID).tier is TierName.DATABASE


def test_a_pending_deletion_hides_the_copy_that_redis_still_has(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({}, checkout_id=ID)
    store.notes.write_down()
    unpublished(store, monkeypatch, lambda: store.delete(ID))
    assert listed(store) == []
    with pytest.raises(SessionNotFound):
        store.admin.inspect(ID)


def test_each_tier_can_be_looked_at_alone(store: CheckoutStore, clock: ManualClock) -> None:
    store.create({}, checkout_id="session-1")
    put_raw(store, "foreign-1", foreign_session(clock))
    store.redis.ask(("ZADD", INDEX, clock.milliseconds, "foreign-1"))
    assert listed(store, TierName.REDIS) == [("session-1", TierName.REDIS, 1), ("foreign-1", TierName.REDIS, 0)]
    assert listed(store, TierName.DATABASE) == [("session-1", TierName.DATABASE, 1)]
    assert listed(store, TierName.MEMORY) == []


def test_a_dead_index_entry_is_not_seen(store: CheckoutStore, clock: ManualClock) -> None:
    store.redis.ask(("ZADD", INDEX, clock.milliseconds, "gone-0001"))
    assert listed(store) == []


def test_an_expired_session_is_told_from_an_unknown_one(store: CheckoutStore, clock: ManualClock) -> None:
    store.create({}, checkout_id=ID)
    evict(store, ID)
    clock.advance(1801)
    with pytest.raises(SessionExpired):
        store.admin.inspect(ID)
    assert listed(store) == []
    with pytest.raises(SessionNotFound):
        store.admin.inspect("session-0002")


def test_listing_asks_for_pages_and_not_for_each(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(admin.PAGE * 2):
        store.create({}, checkout_id=f"session-{number:04}")
    store.notes.write_down()
    exchanges = count_calls(store.redis, "exchange", monkeypatch)
    reads = count_calls(store.database, "read_many", monkeypatch)
    assert len(listed(store)) == admin.PAGE * 2
    assert len(exchanges) < 20
    assert len(reads) <= 1


def test_listing_is_lazy(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(admin.PAGE * 3):
        store.create({}, checkout_id=f"session-{number:04}")
    looks = count_calls(store.redis, "look", monkeypatch)
    first = next(iter(store.admin.iterate()))
    assert first.session is not None
    assert sum(len(call[0]) for call in looks) <= admin.PAGE * 3 + admin.PAGE


def test_a_bad_copy_gives_way_to_the_row_behind_it(store: CheckoutStore) -> None:
    store.create({}, checkout_id=ID)
    for value in (b"garbage", b"", b"[]"):
        put_raw(store, ID, value)
        assert store.admin.inspect(ID).tier is TierName.DATABASE
        assert listed(store) == [(ID, TierName.DATABASE, 1)]
        assert [seen.problem for seen in store.admin.iterate(tier=TierName.REDIS)] == [Problem.CORRUPT]


def test_no_value_is_in_a_problem(store: CheckoutStore) -> None:
    put_raw(store, ID, b'{"userEmail":"ada@example.com",')
    sighting = store.admin.inspect(ID)
    assert sighting.problem is Problem.CORRUPT
    assert "ada" not in repr(sighting)


# A tier is away


def test_without_redis_the_database_is_seen(
    store: CheckoutStore, another: Callable[..., CheckoutStore], settings: Settings
) -> None:
    store.create({}, checkout_id=ID)
    alone = another(without_redis(settings))
    assert listed(alone) == [(ID, TierName.DATABASE, 1)]
    assert alone.admin.inspect(ID).tier is TierName.DATABASE
    with pytest.raises(RedisUnavailable):
        alone.admin.inspect("session-0002")
    with pytest.raises(RedisUnavailable):
        listed(alone, TierName.REDIS)


def test_without_the_database_redis_is_seen_and_says_that_it_is_not_verified(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({}, checkout_id=ID)
    for method in ("read", "read_many", "pending", "newest", "matching", "count"):
        monkeypatch.setattr(store.database, method, database_away)
    session = store.admin.inspect(ID).session
    assert session is not None
    assert not session.verified
    assert listed(store) == [(ID, TierName.REDIS, 1)]
    assert store.admin.matching("session") == [ID]
    assert store.admin.count().number == 1
    with pytest.raises(DatabaseUnavailable):
        store.admin.inspect("session-0002")
    with pytest.raises(DatabaseUnavailable):
        listed(store, TierName.DATABASE)


def test_memory_is_seen_last(settings: Settings, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    with make_store(without_redis(settings), clock) as alone:
        make_tables(alone.database)
        with monkeypatch.context() as patch:
            patch.setattr(alone.database, "insert", database_away)
            alone.create({}, checkout_id="session-m")
        alone.create({}, checkout_id="session-d")
        assert listed(alone) == [("session-d", TierName.DATABASE, 1), ("session-m", TierName.MEMORY, 0)]
        assert alone.admin.inspect("session-m").tier is TierName.MEMORY


# By the beginning of an id


def test_prefixes_are_taken_literally(store: CheckoutStore) -> None:
    for odd in ("a*b", "a?b", "a[x]b", "a\\b", "a^b", "aXb"):
        store.redis.ask(("SET", key_of(odd), b"{}"))
    for odd in ("a*", "a?", "a[", "a\\", "a^"):
        assert [name[: len(odd)] for name in store.admin.matching(odd, limit=10)] == [odd]
    assert len(store.admin.matching("a", limit=10)) == 6
    assert len(store.admin.matching("a", limit=2)) == 2


def test_a_prefix_finds_what_either_tier_has_once(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create({}, checkout_id="abcd-both")
    unpublished(store, monkeypatch, lambda: store.create({}, checkout_id="abcd-rows"))
    store.redis.ask(("SET", key_of("abcd-keys"), b"{}"))
    assert store.admin.matching("abcd", limit=10) == ["abcd-both", "abcd-keys", "abcd-rows"]


def test_without_any_tier_nothing_can_be_matched(
    store: CheckoutStore, another: Callable[..., CheckoutStore], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = another(without_redis(settings))
    monkeypatch.setattr(alone.database, "matching", database_away)
    with pytest.raises(TierUnavailable):
        alone.admin.matching("session")
    switched_off = another(replace(settings, enable_checkout_sessions=False))
    store.create({}, checkout_id=ID)
    assert switched_off.admin.matching("session") == [ID]
