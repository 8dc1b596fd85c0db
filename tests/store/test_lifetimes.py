"""Sliding expiry and tombstones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    SessionDeleted,
    SessionExists,
)
from checkout_cli.session import TierName
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.stores import (
    ID,
    ManualClock,
    count_calls,
    foreign_session,
    key_of,
    make_store,
    make_tables,
    put_raw,
    raw,
    under_another_identity,
    wait_until,
)

# Sliding expiry


def expiry_in_database(store: CheckoutStore) -> int:
    row = store.database.read(ID)
    assert row is not None
    return row.expires_at


def test_a_read_slides_the_key_and_looks_do_not(store: CheckoutStore) -> None:
    store.create({}, checkout_id=ID)
    store.redis.ask(("PEXPIRE", key_of(ID), 60_000))
    store.admin.inspect(ID)
    list(store.admin.iterate())
    list(store.admin.iterate(tier=TierName.REDIS))
    store.admin.count()
    store.admin.matching("session")
    assert store.redis.ask(("PTTL", key_of(ID))) <= 60_000
    store.get(ID)
    assert store.redis.ask(("PTTL", key_of(ID))) > 1_790_000


def test_operators_see_the_real_expiry(store: CheckoutStore, clock: ManualClock) -> None:
    store.create({}, checkout_id=ID)
    store.redis.ask(("PEXPIRE", key_of(ID), 60_000))
    expires_at = store.admin.inspect(ID).expires_at
    assert expires_at is not None
    assert 55_000 < expires_at - clock.milliseconds <= 60_000


def test_the_database_is_touched_once_in_a_tenth_of_the_time(
    store: CheckoutStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({}, checkout_id=ID)
    touched = count_calls(store.database, "touch", monkeypatch)
    for _ in range(179):
        clock.advance(1)
        store.get(ID)
    assert [call for call in touched if call[0]] == []
    for _ in range(180):
        clock.advance(1)
        store.get(ID)
    assert len([call for call in touched if call[0]]) == 1
    assert expiry_in_database(store) > clock.milliseconds + 1_800_000 - 182_000


def test_touching_never_moves_backwards_nor_past_the_maximum_age(store: CheckoutStore, clock: ManualClock) -> None:
    store.create({}, checkout_id=ID)
    first = expiry_in_database(store)
    store.database.touch({ID: first - 1})
    assert expiry_in_database(store) == first
    store.database.touch({ID: first + 10**12})
    assert expiry_in_database(store) == clock.milliseconds + 86_400_000
    store.delete(ID)
    before = store.database.read(ID)
    store.database.touch({ID: first + 10**13})
    assert store.database.read(ID) == before


def test_a_key_that_redis_itself_ends_is_gone(settings: Settings) -> None:
    """The one test that waits for Redis' own clock."""
    with make_store(replace(settings, session_ttl=1.0)) as store:
        make_tables(store.database)
        store.create({}, checkout_id=ID)
        assert store.admin.inspect(ID).session is not None
        wait_until(lambda: raw(store, ID) is None)


def test_a_session_without_an_end_in_redis_gets_one_when_it_is_read(store: CheckoutStore, clock: ManualClock) -> None:
    put_raw(store, ID, foreign_session(clock))
    store.redis.ask(("PERSIST", key_of(ID)))
    assert store.admin.inspect(ID).expires_at is None
    store.get(ID)
    assert store.redis.ask(("PTTL", key_of(ID))) > 1_790_000


def test_a_read_without_redis_reaches_other_processes(
    settings: Settings, clock: ManualClock, another: Callable[..., CheckoutStore], store: CheckoutStore
) -> None:
    store.create({}, checkout_id=ID)
    alone = replace(settings, enable_checkout_sessions=False)
    first, second = another(alone), another(alone)
    for _ in range(3):
        clock.advance(1500)
        first.get(ID)
    assert second.get(ID).version == 1


# Tombstones


def test_a_deleted_session_stays_deleted_though_redis_brings_a_copy_back(
    store: CheckoutStore, another: Callable[..., CheckoutStore], clock: ManualClock
) -> None:
    store.create({}, checkout_id=ID)
    old = raw(store, ID)
    assert old is not None
    store.delete(ID)
    put_raw(store, ID, under_another_identity(old))
    for reader in (store, another()):
        with pytest.raises(SessionDeleted):
            reader.get(ID)
        with pytest.raises(SessionDeleted):
            reader.admin.inspect(ID)
        with pytest.raises(SessionDeleted):
            reader.update(ID, {"a": 1})
    assert raw(store, ID) is None
    assert list(store.admin.iterate()) == []


def test_a_deleted_session_stays_deleted_though_another_program_writes_it_again(
    store: CheckoutStore, clock: ManualClock
) -> None:
    store.create({}, checkout_id=ID)
    store.delete(ID)
    put_raw(store, ID, foreign_session(clock))
    with pytest.raises(SessionDeleted):
        store.get(ID)
    put_raw(store, ID, foreign_session(clock))
    with pytest.raises(SessionExists):
        store.create({}, checkout_id=ID)
    store.redis.ask(("DEL", key_of(ID)))
    with pytest.raises(SessionDeleted):
        store.create({}, checkout_id=ID)
