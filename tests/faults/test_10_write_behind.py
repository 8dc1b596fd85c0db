"""Write-behind under faults: what a writer keeps reaches the database, whatever Redis loses meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import DatabaseUnavailable, DurabilityUnavailable
from checkout_cli.session import Durability, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.admin import DatabaseAdmin
from checkout_cli.store.own_writes import OwnWrites
from tests.faults.conftest import Scenario
from tests.faults.harness import Background, Checkpoint, Shop, outcome, trusted_again, value_in_redis
from tests.support.proxy import ProxiedPostgres
from tests.support.stores import ID, ManualClock, database_away, evict, row_fields, row_of, save, wait_until

TEN_MINUTES = 600


def behind(settings: Settings) -> Settings:
    """The same shop in write-behind mode."""
    return replace(settings, durability="redis")


def lost(shop: Shop, store: CheckoutStore, *names: str) -> dict[str, set[str]]:
    """Which acknowledged marks are in no row; printed, as the matrix shows it."""
    missing = {}
    for name in names or (ID,):
        row = store.database.read(name)
        there = set() if row is None or row.body is None else set(row_fields(store, name))
        owed = {promise.mark for promise in shop.told[name].promises}
        if owed - there:
            missing[name] = owed - there
    print(f"acknowledged writes lost: {sum(map(len, missing.values()))}")  # noqa: T201  (shown by -rP)
    return missing


# What Redis loses


@pytest.mark.fault("write-behind: Redis killed before the flush")
@pytest.mark.parametrize("comes_back", ["empty", "with an old snapshot", "not at all"])
def test_what_redis_loses_before_the_flush_its_writer_still_brings_to_the_database(
    own_scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, comes_back: str
) -> None:
    shop = make_shop(behind(own_scenario.settings))
    store, other = shop.process(), shop.process()
    shop.create(store)
    if comes_back == "with an old snapshot":
        save(own_scenario.redis)
    for _ in range(3):
        assert shop.update(store).durability is Durability.REDIS
    own_scenario.redis.kill()
    if comes_back != "not at all":
        own_scenario.redis.start()
    clock.advance(6)
    store.behind.turn()
    assert lost(shop, store) == {}
    for process in (store, other):
        assert {"mark1", "mark2", "mark3", "mark4"} <= set(shop.get(process).fields)
    assert shop.get(store).version == 4, "the version that its writer was told"
    if comes_back == "not at all":
        own_scenario.redis.start()


@pytest.mark.fault("write-behind: Redis killed before the flush")
def test_without_own_copies_what_redis_loses_is_lost(
    own_scenario: Scenario, make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    """The negative control."""
    shop = make_shop(behind(own_scenario.settings))
    store = shop.process()
    shop.create(store, require=Durability.DATABASE)
    monkeypatch.setattr(OwnWrites, "keep", lambda *_, **__: None)
    shop.update(store)
    own_scenario.redis.kill()
    own_scenario.redis.start()
    clock.advance(6)
    store.behind.turn()
    assert lost(shop, store) == {ID: {"mark2"}}


@pytest.mark.fault("write-behind: evicted")
@pytest.mark.parametrize("read_by", ["its writer", "another"])
def test_an_evicted_dirty_session_is_filled_with_what_its_writer_keeps(
    scenario: Scenario, make_shop: Callable[..., Shop], read_by: str
) -> None:
    shop = make_shop(behind(scenario.settings))
    store, other = shop.process(), shop.process()
    shop.create(store, require=Durability.DATABASE)
    shop.update(store)
    evict(store, ID)
    if read_by == "another":
        assert shop.get(other).version == 1, "nobody but the writer has it"
    assert {"mark1", "mark2"} <= set(shop.get(store).fields), "a process reads its own writes"
    store.behind.turn()
    assert lost(shop, store) == {}
    assert trusted_again(shop, store)
    assert store.flush_log.conflict_count() == 0


@pytest.mark.fault("write-behind: Redis full")
def test_a_full_redis_with_dirty_sessions_loses_none_and_the_database_takes_the_next_writes(
    own_scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(behind(own_scenario.settings))
    store = shop.process()
    shop.create(store)
    shop.create(store, "session-0002")
    with own_scenario.redis.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        done = shop.update(store)
        assert (done.durability, done.published) == (Durability.DATABASE, False)
        assert shop.create(store, "session-0003").durability is Durability.DATABASE
        assert {"mark1", done.session.fields and "mark3"} <= set(shop.get(store).fields)
        store.behind.turn()
        assert lost(shop, store, ID, "session-0002", "session-0003") == {}
        client.config_set("maxmemory", 0)
    clock.advance(6)
    assert shop.update(store).durability is Durability.REDIS
    store.behind.turn()
    assert lost(shop, store, ID, "session-0002", "session-0003") == {}
    assert store.flush_log.conflict_count() == 0


# Who writes, and who flushes


@pytest.mark.fault("write-behind: the writer dies")
def test_what_a_writer_leaves_in_redis_others_flush(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(behind(scenario.settings))
    store, other = shop.process(), shop.process()
    for number in range(5):
        shop.create(store, f"session-000{number}")
    store.own.forget_all()  # as if its process had been killed
    other.behind.turn()
    assert other.flusher.pending.count() == 5, "its writer has a moment for it"
    clock.advance(3)
    other.behind.turn()
    assert other.flusher.pending.count() == 0
    assert lost(shop, other, *(f"session-000{number}" for number in range(5))) == {}
    assert not value_in_redis(other, "session-0003").is_dirty


@pytest.mark.fault("write-behind: a clock step")
@pytest.mark.parametrize("step", [-7200, 7200])
def test_a_clock_that_was_set_leaves_no_dirty_session_waiting(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, step: int
) -> None:
    shop = make_shop(behind(scenario.settings))
    store, other = shop.process(), shop.process()
    shop.create(store)
    shop.create(other, "session-0002")
    clock.milliseconds += step * 1000
    store.behind.turn()
    assert store.own.oldest_age() == 0
    other.own.forget_all()
    clock.seconds += 6
    store.behind.turn()
    assert store.flusher.pending.count() == 0
    assert lost(shop, store, ID, "session-0002") == {}


@pytest.mark.fault("write-behind: the flusher dies")
def test_a_flusher_that_has_died_is_started_by_the_next_write(
    scenario: Scenario, make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop(behind(scenario.settings))
    store = shop.process()
    with monkeypatch.context() as patch:
        patch.setattr(store.behind, "_run", lambda: None)
        shop.create(store)
        first = store.behind._thread
        assert first is not None
        first.join(10)
        assert not store.behind.is_running
    shop.update(store)
    assert store.behind.is_running
    store.behind.turn()
    assert lost(shop, store) == {}


@pytest.mark.fault("write-behind: the flusher dies")
def test_an_error_that_nobody_foresaw_ends_no_flusher_and_keeps_no_other_session(
    scenario: Scenario, make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop(behind(scenario.settings))
    store = shop.process()
    for number in range(3):
        shop.create(store, f"session-000{number}")
    apply_all = store.flush_log.apply_all

    def choke(dirty: Any, *arguments: Any, **options: Any) -> Any:
        if any(one.checkout_id == "session-0001" for one in dirty):
            raise ValueError("nobody foresaw this")
        return apply_all(dirty, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(store.flush_log, "apply_all", choke)
        store.behind.turn()
    assert store.database.read("session-0000") is not None
    assert store.database.read("session-0001") is None
    assert len(store.own) == 0, "it would be tried for ever"
    assert store.flusher.pending.count() == 1, "checkoutctl sync finds it"


@pytest.mark.fault("write-behind: fork")
def test_a_forked_process_has_a_flusher_and_writes_of_its_own(scenario: Scenario) -> None:
    settings = replace(behind(scenario.settings), flush=0.05)
    with CheckoutStore.open(settings) as store:
        store.database.create_schema()
        store.create({"mark1": 1}, checkout_id="session-0001")
        child = os.fork()
        if not child:
            status = 1
            try:
                assert len(store.own) == 0, "its parent brings them"
                store.create({"mark1": 1}, checkout_id="session-0002")
                store.update("session-0001", {"mark2": 1})
                store.close()
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert "mark2" in store.update("session-0001", {"mark3": 1}).session.fields
    with CheckoutStore.open(settings) as auditor:
        assert {"mark1", "mark2", "mark3"} <= set(row_fields(auditor, "session-0001"))
        assert auditor.database.read("session-0002") is not None
        assert auditor.flush_log.conflict_count() == 0


@pytest.mark.fault("write-behind: the writer dies")
def test_a_store_that_is_closed_leaves_nothing_dirty(scenario: Scenario, make_shop: Callable[..., Shop]) -> None:
    shop = make_shop(behind(scenario.settings))
    store, other = shop.process(), shop.process()
    for number in range(250):
        shop.create(store, f"session-{number:04d}")
    store.close()
    assert not store.behind.is_running
    assert other.flusher.pending.count() == 0


def test_the_flusher_works_by_itself(scenario: Scenario) -> None:
    """With the clock of a shop."""
    with CheckoutStore.open(replace(behind(scenario.settings), flush=0.05)) as store:
        store.database.create_schema()
        store.create({"n": 1}, checkout_id="session-0001")
        wait_until(lambda: len(store.own) == 0, 20)
        assert row_of(store, "session-0001").version == 1
        wait_until(lambda: not value_in_redis(store, "session-0001").is_dirty, 20)


# The database away


@pytest.mark.fault("write-behind: the database away for long")
def test_the_database_is_away_for_ten_minutes_under_load(
    scenario: Scenario,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody waits for it, what is kept stays small, and everything is there afterwards."""
    shop = make_shop(behind(scenario.settings))
    store = shop.process()
    store.own._most_sessions = 40
    names = [f"session-{number:04d}" for number in range(60)]
    for name in names[:30]:
        shop.create(store, name)
    store.behind.turn()
    asked = []

    def away(*_: Any, **__: Any) -> Any:
        asked.append(threading.get_ident())
        raise DatabaseUnavailable("away, the test says")

    with monkeypatch.context() as patch:
        patch.setattr("checkout_cli.store.database.tier.transaction", away)
        for minute in range(10):
            clock.advance(TEN_MINUTES / 10)
            store.behind._thread = threading.current_thread()  # it is at work: the test makes its turns
            store.behind.turn()
            before = len(asked)
            for name in names[3 * minute : 3 * minute + 3]:
                assert shop.update(store, name).durability is Durability.REDIS
            done = shop.create(store, names[30 + 3 * minute])
            assert done.durability is Durability.REDIS
            assert shop.update(store, names[30 + 3 * minute]).durability is Durability.REDIS
            assert len(asked) == before, "a shopper waited for the database"
            assert len(store.own) <= 40
    store.behind._thread = None
    clock.advance(6)
    for _ in range(3):
        clock.advance(3)
        store.behind.turn()
    assert lost(shop, store, *names[:30], *names[30::3]) == {}
    assert store.flusher.pending.count() == 0
    assert store.flush_log.conflict_count() == 0


def test_what_does_not_fit_any_more_is_dropped_and_flushed_from_redis(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(behind(scenario.settings))
    store = shop.process()
    store.own._most_sessions = 2
    names = [f"session-000{number}" for number in range(5)]
    for name in names:
        shop.create(store, name)
    assert (len(store.own), store.own.dropped) == (2, 3)
    clock.advance(3)
    store.behind.turn()
    assert lost(shop, store, *names) == {}


# A mixed shop, and payments


@pytest.mark.fault("write-behind: beside database mode")
def test_processes_of_both_modes_lose_nothing_of_each_other(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(scenario.settings)
    store, other = shop.process(behind(scenario.settings)), shop.process()
    shop.create(other)
    for _ in range(4):
        shop.update(store)
        shop.update(other)
        shop.get(store)
        store.behind.turn()
        shop.update(other)
        shop.update(store)
        shop.get(other)
        clock.advance(1.1)
    store.behind.turn()
    assert lost(shop, store) == {}
    assert store.flush_log.conflict_count() == 0
    assert shop.get(store).version == shop.get(other).version == 17


@pytest.mark.fault("write-behind: beside database mode")
def test_the_version_that_a_caller_saw_never_changes_by_a_flush(
    scenario: Scenario, make_shop: Callable[..., Shop]
) -> None:
    shop = make_shop(behind(scenario.settings))
    store, other = shop.process(), shop.process()
    shop.create(store)
    versions = [shop.update(process).session.version for process in (store, store, other, store)]
    assert versions == [2, 3, 4, 5]
    for process in (store, other, store):
        process.behind.turn()
        assert row_of(process).version <= 5
    assert row_of(store).version == shop.get(store).version == shop.get(other).version == 5


@pytest.mark.fault("write-behind: payment")
def test_a_payment_is_in_the_database_when_it_is_acknowledged(
    own_scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(behind(own_scenario.settings))
    store = shop.process()
    shop.create(store)
    shop.update(store)
    done = store.set_payment_status(ID, "paid", order_id="order-1", require=Durability.DATABASE)
    assert (done.durability, done.published, done.session.version) == (Durability.DATABASE, True, 3)
    assert row_fields(store)["paymentStatus"] == "paid"
    assert not value_in_redis(store).is_dirty
    own_scenario.redis.kill()
    own_scenario.redis.start()
    clock.advance(6)
    assert shop.get(store).fields["databaseOrderId"] == "order-1"
    assert lost(shop, store) == {}


@pytest.mark.fault("write-behind: payment")
def test_a_payment_beside_a_write_of_another_mode_is_applied_to_the_row(
    scenario: Scenario, make_shop: Callable[..., Shop], background: Background
) -> None:
    shop = make_shop(behind(scenario.settings))
    store, other = shop.process(), shop.process(scenario.settings)
    shop.create(other)
    shop.get(store)
    checkpoint = Checkpoint(store.flusher, "flush")
    paying = background(store.set_payment_status, ID, "paid", require=Durability.DATABASE)
    checkpoint.wait()
    # Between its write to Redis and its flush: a commit whose writer has read the row before either.
    assert other.database.update(overtaking(other), seen=1, now=other.clock.wall(), write_id="elsewhere-1")
    checkpoint.release()
    done = outcome(paying)
    assert done.durability is Durability.DATABASE
    assert row_fields(store)["paymentStatus"] == "paid"
    assert row_fields(store)["notes"] == "theirs"


def overtaking(store: CheckoutStore) -> Any:
    """A version 2 of another process, whose commit nobody has published yet."""
    from checkout_cli.session import with_changes
    from checkout_cli.store.records import Record

    row = row_of(store)
    assert row.body is not None
    body = with_changes(row.body, {"notes": "theirs", "paymentStatus": "processing"})
    return Record(ID, 2, body, row.created_at, row.expires_at, "elsewhere-1")


@pytest.mark.fault("write-behind: payment")
def test_a_payment_without_the_database_is_an_error_that_says_that_it_may_still_take_effect(
    scenario: Scenario, make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    shop = make_shop(behind(scenario.settings))
    store = shop.process()
    shop.create(store)
    shop.get(store)
    with monkeypatch.context() as patch:
        patch.setattr(store.database, "transaction", database_away)
        with pytest.raises(DurabilityUnavailable, match="may still take effect"):
            store.set_payment_status(ID, "paid", require=Durability.DATABASE)
    store.behind.turn()
    assert row_fields(store)["paymentStatus"] == "paid"


@pytest.mark.fault("write-behind: payment")
def test_a_payment_while_the_database_is_known_to_be_away_leaves_nothing_behind(
    scenario: Scenario, postgres: ProxiedPostgres, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    settings = replace(behind(scenario.settings), database_url=postgres.url)
    shop = make_shop(settings)
    store = shop.process(replace(settings, database_url=postgres.proxied_url))
    shop.create(store)
    postgres.proxy.refuse()
    clock.advance(6)
    shop.update(store)
    assert store.database.breaker.is_open
    before = value_in_redis(store)
    with pytest.raises(DurabilityUnavailable):
        store.set_payment_status(ID, "paid", require=Durability.DATABASE)
    assert value_in_redis(store).body == before.body
    postgres.proxy.restore()
    clock.advance(6)
    store.behind.turn()
    assert row_fields(store)["paymentStatus"] == "pending"


# A held copy


def test_a_write_from_a_held_copy_that_is_old_builds_on_what_lies_there(
    scenario: Scenario, make_shop: Callable[..., Shop]
) -> None:
    shop = make_shop(behind(scenario.settings))
    store, other = shop.process(), shop.process()
    shop.create(store)
    shop.get(other)
    shop.update(store)
    done = shop.update(other)
    assert (done.session.version, {"mark1", "mark2", "mark3"} <= set(done.session.fields)) == (3, True)


def test_a_held_copy_of_a_server_that_was_restarted_is_no_error(
    own_scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(behind(own_scenario.settings))
    store = shop.process()
    shop.create(store)
    shop.get(store)
    own_scenario.redis.kill()
    assert shop.update(store).durability is Durability.DATABASE
    own_scenario.redis.start()
    clock.advance(6)
    assert shop.update(store).session.version == 3
    store.behind.turn()
    assert lost(shop, store) == {}


def test_the_flush_of_many_sessions_takes_a_few_statements(scenario: Scenario, make_shop: Callable[..., Shop]) -> None:
    shop = make_shop(behind(scenario.settings))
    store = shop.process()
    for number in range(100):
        shop.create(store, f"session-{number:04d}")
        shop.update(store, f"session-{number:04d}")
    assert isinstance(store.database, DatabaseAdmin)
    with store.database.counting() as statements:
        store.behind.turn()
        assert statements() <= 12, "for 200 writes"
    assert store.get("session-0042").tier is TierName.REDIS
