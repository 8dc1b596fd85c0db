"""The tests that the model checking of the protocol asks for, each on a real server and at an exact step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import redis

from checkout_cli.errors import SessionNotFound
from checkout_cli.session import Durability, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from tests.faults.conftest import ProxiedPostgres, Scenario
from tests.faults.harness import GRACE, ID, Background, Checkpoint, Shop, outcome, trusted_again
from tests.faults.proxy import Proxy
from tests.servers import ValkeyServer
from tests.store.support import ManualClock, evict, key_of, put_raw, raw

LOSSES = ["nothing", "DEL", "eviction", "FLUSHALL", "killed, empty", "killed, snapshot"]


def lose(server: ValkeyServer, how: str) -> None:
    """Let Redis forget."""
    if how == "DEL":
        with server.client() as client:
            client.delete(key_of(ID))
    elif how == "eviction":
        with server.client(socket_timeout=5) as client:
            client.config_set("maxmemory-policy", "allkeys-random")
            client.config_set("maxmemory", 1)  # the server evicts everything, and refuses the rest
            with pytest.raises(redis.RedisError, match="maxmemory"):
                client.set("checkout:lock:nobody", "x")
            client.config_set("maxmemory", 0)
            assert not client.exists(key_of(ID))
    elif how == "FLUSHALL":
        server.flush()
    elif how.startswith("killed"):
        server.kill()
        if "empty" in how:
            (server.directory / "dump.rdb").unlink(missing_ok=True)
        server.start()


def take_snapshot(server: ValkeyServer) -> None:
    with server.client(socket_timeout=5) as client:
        client.save()


# 1 Stalled writers and fillers


@pytest.mark.fault("1 stalled writer or filler")
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("meanwhile", ["update", "delete"])
def test_a_writer_that_stalls_between_its_commit_and_its_publish_brings_back_nothing(
    own_scenario: Scenario,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    background: Background,
    meanwhile: str,
    loss: str,
) -> None:
    shop = make_shop(own_scenario.settings)
    stalled, other, reader = shop.process(), shop.process(), shop.process()
    shop.create(stalled)
    take_snapshot(own_scenario.redis)
    checkpoint = Checkpoint(stalled.redis, "publish")
    writing = background(shop.update, stalled)
    checkpoint.wait()
    getattr(shop, meanwhile)(other)
    other.hand_over.write_down()  # published, and noted as such: nothing is pending that would make readers careful
    lose(own_scenario.redis, loss)
    clock.advance(6)
    checkpoint.release()
    outcome(writing)
    look = shop.get if meanwhile == "update" else shop.gone
    for _ in range(3):
        for store in (reader, other, stalled):
            look(store)
        clock.advance(GRACE)
    if meanwhile == "update":
        assert all(trusted_again(shop, store) for store in (reader, other, stalled))


@pytest.mark.fault("1 stalled writer or filler")
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("meanwhile", ["update", "delete"])
def test_a_filler_that_stalls_with_an_old_row_brings_back_nothing(
    own_scenario: Scenario,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    background: Background,
    meanwhile: str,
    loss: str,
) -> None:
    shop = make_shop(own_scenario.settings)
    stalled, other, reader = shop.process(), shop.process(), shop.process()
    shop.create(other)
    take_snapshot(own_scenario.redis)
    evict(other, ID)
    stalled.hand_over.renew()
    checkpoint = Checkpoint(stalled.redis, "publish")
    reading = background(stalled.get, ID)  # it began before the write, so it may return what was before
    checkpoint.wait()
    getattr(shop, meanwhile)(other)
    other.hand_over.write_down()  # published, and noted as such: nothing is pending that would make readers careful
    lose(own_scenario.redis, loss)
    clock.advance(6)
    checkpoint.release()
    outcome(reading)
    look = shop.get if meanwhile == "update" else shop.gone
    for _ in range(3):
        for store in (reader, other, stalled):
            look(store)
        clock.advance(GRACE)


@pytest.mark.fault("1 stalled writer or filler")
def test_a_late_publish_takes_no_claim_of_another_filler(
    scenario: Scenario, make_shop: Callable[..., Shop], background: Background
) -> None:
    shop = make_shop(scenario.settings)
    stalled, other, reader = shop.process(), shop.process(), shop.process()
    shop.create(stalled)
    checkpoint = Checkpoint(stalled.redis, "publish")
    writing = background(shop.update, stalled)
    checkpoint.wait()
    shop.update(other)
    other.hand_over.write_down()
    evict(other, ID)
    assert other.redis.claim(ID).token, "nobody fills the key"
    checkpoint.release()
    outcome(writing)
    assert shop.get(reader).version == 3
    assert trusted_again(shop, reader)


# 2 Snapshots


@pytest.mark.fault("2 snapshot restart, unchanged session")
def test_an_unchanged_session_is_trusted_again_after_one_read(
    own_scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(own_scenario.settings)
    store = shop.process()
    shop.create(store)
    take_snapshot(own_scenario.redis)
    for _ in range(3):
        own_scenario.redis.kill()
        own_scenario.redis.start()
        assert shop.get(store).tier is TierName.DATABASE, "a copy of another run of the server was trusted"
        assert shop.get(store).tier is TierName.REDIS
    assert shop.get(store).version == 1


# 3 SIGSTOP


@pytest.mark.fault("3 SIGSTOP, publish times out")
@pytest.mark.parametrize("newer", ["update", "delete"])
def test_what_a_frozen_redis_executes_afterwards_is_not_believed(
    own_scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, background: Background, newer: str
) -> None:
    shop = make_shop(own_scenario.settings)
    first, second, reader = shop.process(), shop.process(), shop.process()
    shop.create(first)
    shop.get(reader)
    checkpoint = Checkpoint(first.redis, "publish")
    writing = background(shop.update, first)
    checkpoint.wait()
    own_scenario.redis.pause()
    checkpoint.release()
    assert outcome(writing).published is False
    if newer == "update":
        shop.update(second)
    else:
        shop.delete(second, everywhere=False)
    own_scenario.redis.resume()
    with own_scenario.redis.client(socket_timeout=5) as client:
        client.ping()
    for _ in range(3):
        clock.advance(GRACE)
        for store in (reader, first, second):
            (shop.get if newer == "update" else shop.gone)(store)


# 4 Redis cut for one process


@pytest.mark.fault("4 Redis cut for one process")
def test_a_process_cut_off_reads_its_own_write_at_once_and_others_within_t(
    scenario: Scenario, redis_proxy: Proxy, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(scenario.settings)
    cut, other = shop.process(scenario.through(redis_proxy)), shop.process()
    shop.create(cut)
    for _ in range(2):
        shop.get(cut)
        shop.get(other)
    redis_proxy.refuse()
    shop.update(cut)
    assert shop.get(cut).version == 2
    redis_proxy.restore()
    clock.advance(0.6)
    assert shop.get(cut).version == 2, "it trusts Redis again, which has not got its write"
    clock.advance(0.45)
    assert shop.get(other).version == 2


@pytest.mark.fault("4 Redis cut for one process")
def test_a_session_that_is_written_faster_than_the_grace_is_not_stale_for_longer_than_t(
    scenario: Scenario, redis_proxy: Proxy, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(scenario.settings)
    cut, other = shop.process(scenario.through(redis_proxy)), shop.process()
    shop.create(cut)
    shop.get(other)
    redis_proxy.refuse()
    for _ in range(12):
        shop.update(cut)
        clock.advance(0.4)
        shop.get(other)
    clock.advance(1.01)
    assert shop.get(other).version == 13


@pytest.mark.fault("4 Redis cut for one process")
def test_a_check_that_takes_longer_than_t_gives_no_trust(
    scenario: Scenario, redis_proxy: Proxy, make_shop: Callable[..., Shop], clock: ManualClock, background: Background
) -> None:
    shop = make_shop(scenario.settings)
    cut, slow = shop.process(scenario.through(redis_proxy)), shop.process()
    shop.create(cut)
    shop.get(slow)
    clock.advance(1.01)
    checkpoint = Checkpoint(slow.database, "pending", after=True)
    reading = background(slow.get, ID)
    checkpoint.wait()
    redis_proxy.refuse()
    shop.update(cut)  # after the check has read its rows
    clock.advance(1.01)
    checkpoint.release()
    assert outcome(reading).version == 2, "a lease was counted from the end of the check"
    assert shop.get(slow).version == 2


# 5 The database cut for one process


@pytest.fixture
def forked(scenario: Scenario, postgres: ProxiedPostgres, make_shop: Callable[..., Shop]) -> tuple[Shop, CheckoutStore]:
    """A shop whose processes reach the database, and one more that can be cut off from it."""
    shop = make_shop(replace(scenario.settings, database_url=postgres.url, database_timeout=0.3))
    return shop, shop.process(replace(shop.settings, database_url=postgres.proxied_url))


@pytest.mark.fault("5 database cut for one process")
@pytest.mark.parametrize("other_side", ["update", "delete"])
def test_writes_on_both_sides_of_a_cut_end_with_the_database_winning_and_both_contents_kept(
    forked: tuple[Shop, CheckoutStore], postgres: ProxiedPostgres, clock: ManualClock, other_side: str
) -> None:
    shop, cut = forked
    other = shop.process()
    shop.create(other)
    shop.get(cut)
    other_checkpoint = other.redis.open(ID)  # the other side reads before the cut side writes
    postgres.proxy.refuse()
    assert shop.update(cut).durability is Durability.REDIS
    row = other.database.read(ID)
    assert row is not None
    if other_side == "update":
        record = other._versions.next(row, {"theirs": 1})
        assert other._replace(record, row, "00000000-0000-0000-0000-000000000001")
        other._acknowledged(record, other_checkpoint, row)
    else:
        assert other._deletion.bury(row, other_checkpoint, "deletion-1")
        shop.note_deletion(other, everywhere=True)
    postgres.proxy.restore()
    clock.advance(6)
    if other_side == "update":
        read = shop.get(cut)
        assert (read.version, read.fields.get("theirs"), "mark2" in read.fields) == (2, 1, False)
    else:
        shop.gone(cut)
        shop.gone(other)
    (conflict,) = cut.flush_log.conflicts(10)
    assert b"mark2" in conflict.drained_body
    assert (conflict.found_body is None) == (other_side == "delete")
    assert cut.flusher.pending.count() == 0


@pytest.mark.fault("5 database cut for one process")
def test_a_drain_that_races_a_further_write_to_redis_loses_neither(
    forked: tuple[Shop, CheckoutStore], postgres: ProxiedPostgres, clock: ManualClock, background: Background
) -> None:
    shop, cut = forked
    drainer = shop.process()
    shop.create(drainer)
    shop.get(cut)
    postgres.proxy.refuse()
    shop.update(cut)
    checkpoint = Checkpoint(drainer.redis_alone, "_take_out")
    reading = background(shop.get, drainer)
    checkpoint.wait()
    assert shop.update(cut).durability is Durability.REDIS  # onto the bytes that are being drained
    checkpoint.release()
    outcome(reading)
    postgres.proxy.restore()
    clock.advance(6)
    for store in (drainer, cut):
        assert {"mark1", "mark2", "mark3"} <= set(shop.get(store).fields)
    assert drainer.flush_log.conflict_count() == 0
    assert drainer.flusher.pending.count() == 0


@pytest.mark.fault("5 database cut for one process")
@pytest.mark.parametrize("after", ["nothing", "update", "delete"])
def test_a_snapshot_that_revives_a_drained_value_changes_nothing(
    own_scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, after: str
) -> None:
    shop = make_shop(replace(own_scenario.settings, durability="redis"))
    store, other = shop.process(), shop.process()
    shop.create(store, require=Durability.DATABASE)
    assert shop.update(store).durability is Durability.REDIS
    take_snapshot(own_scenario.redis)
    assert shop.get(other).version == 2
    if after == "update":
        shop.update(other, require=Durability.DATABASE)
    elif after == "delete":
        shop.delete(other)
    own_scenario.redis.kill()
    own_scenario.redis.start()
    assert b'"undrained"' in (raw(other, ID) or b""), "nothing was revived"
    clock.advance(6)
    for reader in (store, other):
        if after == "delete":
            shop.gone(reader)
        else:
            assert shop.get(reader).version == (3 if after == "update" else 2)
    assert other.flush_log.conflict_count() == 0
    assert other.flusher.pending.count() == 0


# 6 A publish that was refused during a drain


@pytest.mark.fault("6 newer publish refused during drain")
def test_a_newer_version_whose_publish_an_undrained_value_refused_is_read_after_the_drain(
    forked: tuple[Shop, CheckoutStore], postgres: ProxiedPostgres, clock: ManualClock, background: Background
) -> None:
    shop, cut = forked
    drainer, writer = shop.process(), shop.process()
    shop.create(drainer)
    shop.get(cut)
    postgres.proxy.refuse()
    shop.update(cut)
    checkpoint = Checkpoint(drainer.redis_alone, "_take_out")
    reading = background(shop.get, drainer)
    checkpoint.wait()
    row = writer.database.read(ID)
    assert row is not None
    record = writer._versions.next(row, {"newer": 1})
    opened = writer.redis.open(ID)
    assert writer._replace(record, row, "00000000-0000-0000-0000-000000000002")
    assert writer.redis.publish(record, opened, clock.milliseconds) == "undrained"
    checkpoint.release()
    outcome(reading)
    for store in (drainer, writer):
        for _ in range(3):
            assert shop.get(store).fields.get("newer") == 1
        assert trusted_again(shop, store)


# 7 Other programs


@pytest.mark.fault("7 foreign SET")
@pytest.mark.parametrize("claimed", [1, 2, 9_000])
def test_a_foreign_value_of_any_version_is_never_taken_for_ours(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, claimed: int
) -> None:
    shop = make_shop(scenario.settings)
    first, second = shop.process(), shop.process()
    shop.create(first)
    put_raw(first, ID, b'{"version":%d,"checkoutId":"session-0001","theirs":1}' % claimed)
    assert "theirs" not in shop.get(second).fields
    put_raw(first, ID, b'{"version":%d,"checkoutId":"session-0001","theirs":1}' % claimed)
    assert "theirs" not in shop.update(second).session.fields
    for store in (first, second):
        shop.get(store)
        assert trusted_again(shop, store)


@pytest.mark.fault("7 foreign SET")
@pytest.mark.parametrize("call", ["get", "update"])
def test_a_foreign_value_that_comes_during_a_fill_or_a_write_does_not_stay(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, background: Background, call: str
) -> None:
    shop = make_shop(scenario.settings)
    store, other = shop.process(), shop.process()
    shop.create(store)
    evict(store, ID)
    checkpoint = Checkpoint(store.redis, "publish")
    calling = background(getattr(shop, call), store)
    checkpoint.wait()
    put_raw(other, ID, b'{"version":77,"checkoutId":"session-0001","theirs":1}')
    checkpoint.release()
    outcome(calling)
    for reader in (store, other):
        assert "theirs" not in shop.get(reader).fields
        shop.get(reader)
        assert trusted_again(shop, reader)


@pytest.mark.fault("7 foreign SET")
def test_a_foreign_value_after_a_deletion_revives_nothing(scenario: Scenario, make_shop: Callable[..., Shop]) -> None:
    shop = make_shop(scenario.settings)
    first, second = shop.process(), shop.process()
    shop.create(first)
    value = raw(first, ID) or b""
    shop.delete(first)
    for revived in (value, b'{"checkoutId":"session-0001","theirs":1}'):
        put_raw(first, ID, revived)
        shop.gone(second)
        shop.gone(first)
        put_raw(first, ID, revived)
        with pytest.raises(SessionNotFound):
            first.update(ID, {"x": 1})
    assert raw(first, ID) is None


# 9 Counters


@pytest.mark.fault("9 counters")
def test_totals_are_exact_after_refills_republishes_late_publishes_and_lost_redis(
    own_scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, background: Background
) -> None:
    shop = make_shop(own_scenario.settings)
    first, second = shop.process(), shop.process()
    for number in range(6):
        shop.create(first, f"session-{number:04}")
    for number in range(3):
        shop.update(first, f"session-{number:04}", {"paymentStatus": "paid"})
    shop.update(first, "session-0003", {"paymentStatus": "failed"})
    expected = (6, 3, 1)
    checkpoint = Checkpoint(first.redis, "publish")
    writing = background(shop.update, first, "session-0004", {"paymentStatus": "paid"})
    checkpoint.wait()
    own_scenario.redis.flush()
    checkpoint.release()
    outcome(writing)
    expected = (6, 4, 1)
    for _ in range(3):
        clock.advance(GRACE)
        for number in range(6):
            shop.get(second, f"session-{number:04}")
        shop.update(second, "session-0000", {"paymentStatus": "paid"})
        totals = second.totals()
        assert (totals.created, totals.completed, totals.failed) == expected
    own_scenario.redis.kill()
    shop.update(second, "session-0005", {"paymentStatus": "paid"})
    own_scenario.redis.start()
    clock.advance(6)
    shop.get(first, "session-0005")
    totals = first.totals()
    assert (totals.created, totals.completed, totals.failed) == (6, 5, 1)


@pytest.mark.fault("9 counters")
def test_totals_count_a_write_that_was_drained_by_two_processes_once(
    forked: tuple[Shop, CheckoutStore], postgres: ProxiedPostgres, clock: ManualClock
) -> None:
    shop, cut = forked
    cut.database.ping()
    postgres.proxy.refuse()
    shop.create(cut)
    shop.update(cut, ID, {"paymentStatus": "paid"})
    value = raw(cut, ID) or b""
    drainer = shop.process()
    shop.get(drainer)
    put_raw(drainer, ID, value)
    shop.get(drainer)
    postgres.proxy.restore()
    clock.advance(6)
    shop.get(cut)
    totals = drainer.totals()
    assert (totals.created, totals.completed, totals.failed) == (1, 1, 0)


# Many at once


@pytest.mark.fault("4 Redis cut for one process")
def test_writers_in_parallel_through_faults_lose_nothing(
    scenario: Scenario, any_database_url: str, make_shop: Callable[..., Shop], background: Background
) -> None:
    with Proxy(("127.0.0.1", scenario.redis.port)) as proxy:
        shop = make_shop(replace(scenario.settings, database_url=any_database_url))
        stores = [shop.process(scenario_settings) for scenario_settings in _alternating(shop, scenario, proxy)]
        shop.create(stores[0])
        writing = [background(_write_often, shop, store) for store in stores]
        for _ in range(5):
            proxy.cut()
            evict(stores[1], ID)
            scenario.redis.flush()
        done = [outcome(future) for future in writing]
        assert done == [10] * len(stores), done
    assert shop.get(shop.process()).version == 1 + sum(done)


def _alternating(shop: Shop, scenario: Scenario, proxy: Proxy) -> list[object]:
    through = replace(scenario.through(proxy), database_url=shop.settings.database_url)
    return [through, shop.settings, through, shop.settings]


def _write_often(shop: Shop, store: CheckoutStore) -> int:
    for _ in range(10):
        shop.update(store, require=Durability.DATABASE)
        shop.get(store)
    return 10
