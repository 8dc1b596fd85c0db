from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    CheckoutError,
    DatabaseUnavailable,
    DurabilityUnavailable,
    TierUnavailable,
    WriteConflict,
)
from checkout_cli.keys import SESSION_PREFIX
from checkout_cli.session import Durability, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from tests.store.contract import StoreContract
from tests.support.servers import ValkeyServer
from tests.support.stores import ManualClock, make_store, make_tables, without_database, without_redis


def opened(settings: Settings, clock: ManualClock) -> Iterator[CheckoutStore]:
    patient = replace(settings, timeout=5.0, database_timeout=20.0)  # the contract says nothing of a busy machine
    with make_store(patient, clock) as store:
        make_tables(store.database)
        yield store


class WithRedis(StoreContract):
    def pass_time(self, store: CheckoutStore, clock: ManualClock, seconds: float) -> None:
        """Redis' own clock cannot be moved, so its keys are."""
        clock.advance(seconds)
        for key in store.redis.ask(("KEYS", SESSION_PREFIX + "*")):
            left = store.redis.ask(("PTTL", key)) - round(seconds * 1000)
            store.redis.ask(("PEXPIRE", key, left) if left > 0 else ("DEL", key))


class TestAllTiers(WithRedis):
    @pytest.fixture
    def store(self, settings: Settings, clock: ManualClock) -> Iterator[CheckoutStore]:
        yield from opened(settings, clock)


class TestAllTiersOnEachServer(WithRedis):
    @pytest.fixture
    def store(self, any_redis_server: ValkeyServer, settings: Settings, clock: ManualClock) -> Iterator[CheckoutStore]:
        yield from opened(replace(settings, redis_port=any_redis_server.port), clock)


class TestPostgreSQL(WithRedis):
    @pytest.fixture
    def store(self, settings: Settings, emptied_database: str, clock: ManualClock) -> Iterator[CheckoutStore]:
        yield from opened(replace(settings, database_url=emptied_database), clock)


class TestASchemaOfPostgreSQL(WithRedis):
    @pytest.fixture
    def store(self, settings: Settings, emptied_database: str, clock: ManualClock) -> Iterator[CheckoutStore]:
        apart = replace(settings, database_url=emptied_database, database_schema="checkoutctl")
        yield from opened(apart, clock)


class DatabaseAlone(StoreContract):
    write_tier = TierName.DATABASE


class TestRedisAway(DatabaseAlone):
    @pytest.fixture
    def store(self, settings: Settings, clock: ManualClock) -> Iterator[CheckoutStore]:
        yield from opened(without_redis(settings), clock)


class TestRedisAwayOnPostgreSQL(DatabaseAlone):
    @pytest.fixture
    def store(self, settings: Settings, emptied_database: str, clock: ManualClock) -> Iterator[CheckoutStore]:
        yield from opened(replace(without_redis(settings), database_url=emptied_database), clock)


class TestSwitchedOff(DatabaseAlone):
    @pytest.fixture
    def store(self, settings: Settings, clock: ManualClock) -> Iterator[CheckoutStore]:
        yield from opened(replace(settings, enable_checkout_sessions=False), clock)

    @pytest.fixture(autouse=True)
    def _nothing_in_redis(self, valkey: ValkeyServer) -> Iterator[None]:
        yield
        with valkey.client() as client:
            assert client.dbsize() == 0


class TestBothAway(StoreContract):
    """Memory alone: it knows what this process did, and of everything else that it cannot know."""

    durability = Durability.MEMORY
    write_tier = TierName.MEMORY
    remembers_the_dead = False
    lists_anything = False

    def version(self, written: int) -> int:
        """The database alone issues versions: memory keeps that of the row that it grew from, here none."""
        assert written
        return 0

    @pytest.fixture
    def store(self, settings: Settings, clock: ManualClock, tmp_path: Path) -> Iterator[CheckoutStore]:
        with make_store(without_redis(without_database(settings)), clock) as store:
            yield store

    def check_missing(self, store: CheckoutStore, checkout_id: str) -> None:
        """It may exist in a tier that is away."""
        with pytest.raises(TierUnavailable):
            store.get(checkout_id)

    def check_not_writable(self, refusal: CheckoutError) -> None:
        assert isinstance(refusal, DatabaseUnavailable)

    def check_taken(self, refusal: CheckoutError) -> None:
        assert isinstance(refusal, WriteConflict)

    def check_totals(self, store: CheckoutStore) -> None:
        with pytest.raises(DatabaseUnavailable):
            store.database.totals()

    def persistently(self, write: Any) -> None:
        """Nobody retries for the caller here."""
        for _ in range(1000):
            with suppress(WriteConflict):
                return write()
        raise AssertionError("always overtaken")

    def test_a_caller_that_insists_on_more_is_refused(self, store: CheckoutStore) -> None:
        for required in (Durability.REDIS, Durability.DATABASE):
            with pytest.raises(DurabilityUnavailable):
                store.create({}, checkout_id="session-1", require=required)
        assert store.create({}, checkout_id="session-1", require=Durability.MEMORY).durability is Durability.MEMORY
        with pytest.raises(DurabilityUnavailable):
            store.update("session-1", {"a": 1}, require=Durability.REDIS)
        session = store.get("session-1")
        assert (session.version, "a" in session.fields) == (0, False)

    def test_listing_and_counting_say_that_they_cannot_know(self, store: CheckoutStore) -> None:
        store.create({}, checkout_id="session-1")
        with pytest.raises(TierUnavailable):
            store.admin.count()
        with pytest.raises(TierUnavailable):
            list(store.admin.iterate())
        assert [sighting.checkout_id for sighting in store.admin.iterate(tier=TierName.MEMORY)] == ["session-1"]
