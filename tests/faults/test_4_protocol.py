"""The tests that the model checking of the protocol asks for, each on a real server and at an exact step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from checkout_cli.errors import RedisUnavailable, SessionDeleted, SessionNotFound
from checkout_cli.keys import claim_key
from checkout_cli.session import Durability, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.publishing import MOST_TRIES
from checkout_cli.store.protocol.value import encode
from tests.faults.altered import (
    believe_what_open_found,
    let_claims_outlive_a_missing_key,
    swap_whatever_lies_there,
)
from tests.faults.conftest import Scenario
from tests.faults.external_writer import ExternalWriter
from tests.faults.harness import (
    GRACE,
    ID,
    Background,
    Checkpoint,
    Shop,
    hand_over,
    outcome,
    trusted_again,
    value_in_redis,
)
from tests.support.proxy import ProxiedPostgres, Proxy
from tests.support.servers import ValkeyServer
from tests.support.stores import ManualClock, count_calls, evict, key_of, put_raw, raw, redis_away, wait_until

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
    other.notes.write_down()  # published, and noted as such: nothing is pending that would make readers careful
    lose(own_scenario.redis, loss)
    clock.advance(6)
    checkpoint.release()
    assert outcome(writing).published is not loss.startswith("killed"), "published to another server than was opened"
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
    stalled.lease.renew()
    checkpoint = Checkpoint(stalled.redis, "publish")
    reading = background(stalled.get, ID)  # it began before the write, so it may return what was before
    checkpoint.wait()
    getattr(shop, meanwhile)(other)
    other.notes.write_down()  # published, and noted as such: nothing is pending that would make readers careful
    lose(own_scenario.redis, loss)
    clock.advance(6)
    checkpoint.release()
    outcome(reading)
    look = shop.get if meanwhile == "update" else shop.gone
    for _ in range(3):
        for store in (reader, other, stalled):
            look(store)
        clock.advance(GRACE)


ENDS_THE_CLAIM = ["an update's publish", "a deletion's publish", "a reader that has no claim"]


@pytest.fixture
def with_late_filler(
    scenario: Scenario,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    background: Background,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], tuple[Shop, CheckoutStore]]:
    """``with_late_filler(how)``: a session whose filler read the row long ago, and comes to fill the key only now."""

    def play(how: str) -> tuple[Shop, CheckoutStore]:
        shop = make_shop(scenario.settings)
        writer, filler, other = shop.process(), shop.process(), shop.process()
        shop.create(writer)
        commit = Checkpoint(writer.database, "delete" if "deletion" in how else "update")
        writing = background(shop.delete if "deletion" in how else shop.update, writer)
        commit.wait()  # it has opened the session, which lies there still
        evict(other, ID)
        filling = Checkpoint(filler.redis, "publish")
        reading = background(filler.get, ID)  # it began before the write, so it may return what was before
        filling.wait()
        if "no claim" in how:
            monkeypatch.setattr(writer.redis, "publish", redis_away)
        commit.release()
        outcome(writing)
        if "no claim" in how:
            assert shop.get(other).version == 2
        filling.release()
        outcome(reading)
        for store in (other, writer):
            store.notes.write_down()
        assert other.database.pending(10) == [], "something is pending that makes readers careful"
        clock.advance(1.01)
        return shop, other

    return play


@pytest.mark.fault("1 stalled writer or filler")
@pytest.mark.parametrize("how", ENDS_THE_CLAIM)
def test_who_finds_the_key_missing_ends_the_claim_of_a_filler_that_read_the_row_before(
    with_late_filler: Callable[[str], tuple[Shop, CheckoutStore]], how: str
) -> None:
    shop, other = with_late_filler(how)
    assert raw(other, ID) is None, "an old row was filled in"
    for store in (other, shop.process()):
        if "deletion" in how:
            shop.gone(store)
        else:
            assert shop.get(store).version == 2
            assert trusted_again(shop, store)


@pytest.mark.fault("11 negative controls")
@pytest.mark.parametrize("how", ENDS_THE_CLAIM)
def test_if_a_claim_outlived_a_publish_its_filler_would_bring_the_old_row_back(
    with_late_filler: Callable[[str], tuple[Shop, CheckoutStore]], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_claims_outlive_a_missing_key(monkeypatch)
    shop, other = with_late_filler(how)
    assert value_in_redis(other).base == 1, "filled by who held the claim"
    reader = shop.process()
    reader.lease.renew()
    with pytest.raises(AssertionError, match="a deleted session was read" if "deletion" in how else "a stale read"):
        shop.get(reader)
    evict(other, ID)


@pytest.fixture
def with_early_writer(
    scenario: Scenario, make_shop: Callable[..., Shop], background: Background
) -> Callable[[], tuple[Shop, CheckoutStore]]:
    """A writer that found the key missing and claimed, and publishes only when the filler has been there."""

    def play() -> tuple[Shop, CheckoutStore]:
        shop = make_shop(scenario.settings)
        writer, filler, other = shop.process(), shop.process(), shop.process()
        shop.create(writer)
        evict(other, ID)
        filling = Checkpoint(filler.redis, "publish")
        reading = background(filler.get, ID)
        filling.wait()
        publish = Checkpoint(writer.redis, "publish")
        writing = background(shop.update, writer)
        publish.wait()
        filling.release()
        outcome(reading)
        assert value_in_redis(other).base == 1, "the claim was the filler's, and so was the key"
        publish.release()
        assert outcome(writing).published is True
        writer.notes.write_down()
        return shop, other

    return play


@pytest.mark.fault("1 stalled writer or filler")
def test_a_writer_that_found_nothing_publishes_over_what_was_filled_meanwhile(
    with_early_writer: Callable[[], tuple[Shop, CheckoutStore]],
) -> None:
    shop, other = with_early_writer()
    assert value_in_redis(other).base == 2
    assert shop.get(other).version == 2
    assert trusted_again(shop, other)


@pytest.mark.fault("11 negative controls")
def test_if_nothing_found_before_the_commit_were_believed_afterwards_what_was_filled_would_be_read(
    with_early_writer: Callable[[], tuple[Shop, CheckoutStore]], monkeypatch: pytest.MonkeyPatch
) -> None:
    believe_what_open_found(monkeypatch)
    shop, other = with_early_writer()
    other.lease.renew()
    with pytest.raises(AssertionError, match="a stale read from redis: it lacks"):
        shop.get(other)
    evict(other, ID)


@pytest.fixture
def with_late_writer(
    scenario: Scenario, make_shop: Callable[..., Shop], background: Background
) -> Callable[[], tuple[Shop, CheckoutStore]]:
    """A writer that publishes version 2 when version 3 is there already, with the very bytes it expects long gone."""

    def play() -> tuple[Shop, CheckoutStore]:
        shop = make_shop(scenario.settings)
        late, newer = shop.process(), shop.process()
        shop.create(late)
        checkpoint = Checkpoint(late.redis, "publish")
        writing = background(shop.update, late)
        checkpoint.wait()
        assert shop.update(newer).published is True
        newer.notes.write_down()
        checkpoint.release()
        assert outcome(writing).published is True, "something newer is published"
        return shop, newer

    return play


@pytest.mark.fault("1 stalled writer or filler")
def test_a_late_swap_is_refused_by_what_is_newer(with_late_writer: Callable[[], tuple[Shop, CheckoutStore]]) -> None:
    shop, newer = with_late_writer()
    assert value_in_redis(newer).base == 3
    assert shop.get(newer).version == 3


@pytest.mark.fault("11 negative controls")
def test_if_a_swap_did_not_compare_a_late_one_would_bring_back_its_version(
    with_late_writer: Callable[[], tuple[Shop, CheckoutStore]], monkeypatch: pytest.MonkeyPatch
) -> None:
    swap_whatever_lies_there(monkeypatch)
    shop, newer = with_late_writer()
    with pytest.raises(AssertionError, match="a stale read from redis: it lacks"):
        shop.get(newer)
    evict(newer, ID)


@pytest.mark.fault("1 stalled writer or filler")
def test_a_refused_swap_is_tried_again_on_the_present_bytes(
    scenario: Scenario, make_shop: Callable[..., Shop], background: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop(scenario.settings)
    writer, other = shop.process(), shop.process()
    shop.create(writer)
    commit = Checkpoint(writer.database, "update")
    writing = background(shop.update, writer)
    commit.wait()
    assert shop.update(other).published is True  # so that the first commit finds another version than it has seen
    scripts = count_calls(writer.redis, "with_index", monkeypatch)
    commit.release()
    done = outcome(writing)
    assert (done.session.version, done.published) == (3, True)
    assert len(scripts) == 2, "one was refused"
    assert value_in_redis(other).base == 3
    assert trusted_again(shop, other)


@pytest.mark.fault("1 stalled writer or filler")
@pytest.mark.parametrize("meanwhile", ["evicted", "deleted", "an external write", "a newer version"])
def test_what_lay_there_before_the_row_was_read_is_looked_at_again(
    scenario: Scenario,
    make_shop: Callable[..., Shop],
    background: Background,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: str,
) -> None:
    monkeypatch.setattr("checkout_cli.store.lease.MOST_PENDING", -1)  # nobody has a lease
    shop = make_shop(scenario.settings)
    reader, other = shop.process(), shop.process()
    shop.create(other)
    checkpoint = Checkpoint(reader.redis, "publish")
    reading = background(reader.get, ID)  # it reads the row, and publishes that version again
    checkpoint.wait()
    if meanwhile == "evicted":
        evict(other, ID)
        assert other.redis.claim(ID).token
    elif meanwhile == "deleted":
        shop.delete(other)
    elif meanwhile == "an external write":
        with scenario.redis.client() as client:
            mark = ExternalWriter(shop, client, keeps_header=True).update()
    else:
        shop.update(other)
    checkpoint.release()
    assert outcome(reading).version == 1
    if meanwhile == "evicted":
        assert not other.redis.ask(("EXISTS", claim_key(ID))), "who sees that the key is missing ends the claim"
    elif meanwhile == "deleted":
        assert raw(other, ID) is None
    elif meanwhile == "an external write":
        row = other.database.read(ID)
        assert row is not None
        assert (row.version, mark.encode() in (row.body or b"")) == (2, True), "it is met by the look, and taken in"
        assert value_in_redis(other).base == 2
    else:
        assert value_in_redis(other).base == 2


@pytest.mark.fault("1 stalled writer or filler")
def test_a_publish_that_others_outrun_every_time_leaves_the_row_pending_until_it_is_published(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop(scenario.settings)
    writer, other = shop.process(), shop.process()
    shop.create(writer)
    shop.get(other)
    send, sent = writer.redis.with_index, []

    def outrun(*arguments: Any, **options: Any) -> Any:
        """Just before each script, the same old version is written again with another ``expiresAt``."""
        sent.append(arguments)
        before = raw(other, ID)
        other.expiry.extend(ID, clock.milliseconds + 1_800_000 + len(sent))
        assert raw(other, ID) != before
        return send(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(writer.redis, "with_index", outrun)
        done = shop.update(writer)
    assert (done.published, len(sent)) == (False, MOST_TRIES)
    assert value_in_redis(other).base == 1
    assert [row.version for row in other.database.pending(10)] == [2]
    clock.advance(1.01)
    assert shop.get(other).version == 2
    clock.advance(GRACE)
    hand_over(other)
    hand_over(other)
    assert other.database.pending(10) == []
    assert trusted_again(shop, other)
    assert trusted_again(shop, writer)


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


MEANWHILE = ["nothing", "update", "delete", "evicted and filled"]


@pytest.mark.fault("3 SIGSTOP, publish times out")
@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_a_swap_that_the_network_holds_back_changes_nothing_newer_when_it_arrives(
    scenario: Scenario, redis_proxy: Proxy, make_shop: Callable[..., Shop], clock: ManualClock, meanwhile: str
) -> None:
    shop = make_shop(scenario.settings)
    held_back, other, reader = shop.process(scenario.through(redis_proxy)), shop.process(), shop.process()
    shop.create(held_back)
    with Held(held_back, redis_proxy, scenario.redis) as held:
        assert shop.update(held_back).published is False
        if meanwhile == "update":
            assert shop.update(other).published is True
        elif meanwhile == "delete":
            shop.delete(other)
        elif meanwhile == "evicted and filled":
            evict(other, ID)
            shop.get(other)
        held.arrives()
    newest = 3 if meanwhile == "update" else 2
    if meanwhile == "delete":
        assert raw(other, ID) is None
    else:
        assert value_in_redis(other).base == newest
    for _ in range(3):
        clock.advance(GRACE)
        for store in (reader, other, held_back):
            if meanwhile == "delete":
                shop.gone(store)
            else:
                assert shop.get(store).version == newest


@pytest.mark.fault("3 SIGSTOP, publish times out")
@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_a_write_to_redis_alone_that_arrives_late_is_found_where_its_writer_said_that_it_may_be(
    scenario: Scenario, redis_proxy: Proxy, make_shop: Callable[..., Shop], clock: ManualClock, meanwhile: str
) -> None:
    shop = make_shop(replace(scenario.settings, durability="redis"))
    held_back = shop.process(replace(scenario.through(redis_proxy), durability="redis"))
    other = shop.process()
    shop.create(held_back, require=Durability.DATABASE)
    assert shop.update(held_back).durability is Durability.REDIS
    with Held(held_back, redis_proxy, scenario.redis) as held:
        with pytest.raises(RedisUnavailable):
            shop.update(held_back)
        if meanwhile == "update":
            shop.update(other)
        elif meanwhile == "delete":
            shop.delete(other)
        elif meanwhile == "evicted and filled":
            hand_over(other)  # what Redis loses from here on, the database has
            evict(other, ID)
            shop.get(other)
        held.arrives()
    clock.advance(6)
    if meanwhile == "delete":
        shop.gone(held_back)
    else:
        arrived = "mark3" in shop.get(held_back).fields
        assert arrived == (meanwhile == "nothing")
        done = shop.update(held_back)
        assert done.session.version == shop.get(other).version == (4 if arrived or meanwhile == "update" else 3)
        assert {"mark1", "mark2"} <= set(done.session.fields)
        clock.advance(GRACE)
        hand_over(other)
        assert shop.get(other).version == done.session.version, "a flush keeps it"
        assert not value_in_redis(other).is_dirty
    assert other.flusher.pending.count() == 0
    assert other.flush_log.conflict_count() == 0, "a token was used for two writes"


class Held:
    """The network holds back what one process sends to Redis; ``arrives`` lets it through, and waits for that."""

    def __init__(self, store: CheckoutStore, proxy: Proxy, server: ValkeyServer) -> None:
        self._store, self._proxy, self._server = store, proxy, server

    def __enter__(self) -> Held:
        send = self._store.redis.with_index

        def held_back(*arguments: Any, **options: Any) -> Any:
            self._proxy.black_hole()
            return send(*arguments, **options)

        self._store.redis.with_index = held_back  # type: ignore[method-assign]
        self._before = self._scripts()
        return self

    def __exit__(self, *_: object) -> None:
        del self._store.redis.with_index

    def arrives(self) -> None:
        """What was held back is carried out now."""
        before = self._scripts()
        self._proxy.restore()
        wait_until(lambda: self._scripts() > before)

    def _scripts(self) -> int:
        with self._server.client() as client:
            return int(client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])


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
    checkpoint = Checkpoint(slow.database, "look", after=True)
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
@pytest.mark.parametrize("other_side", ["another field", "the same field", "delete"])
def test_writes_on_both_sides_of_a_cut_are_merged_or_both_contents_are_kept(
    forked: tuple[Shop, CheckoutStore], postgres: ProxiedPostgres, clock: ManualClock, other_side: str
) -> None:
    shop, cut = forked
    other, reader = shop.process(), shop.process()
    shop.create(other, fields={"notes": "before"})
    shop.get(cut)
    checkpoint = Checkpoint(other.redis, "open", after=True)  # the other side reads before the cut side writes
    with Background() as background:
        theirs = {"theirs": 1} if other_side == "another field" else {"notes": "the other side's"}
        calling = background(*([shop.delete, other] if other_side == "delete" else [shop.update, other, ID, theirs]))
        checkpoint.wait()
        postgres.proxy.refuse()
        done = shop.update(cut, ID, {"notes": "the cut side's"})
        assert (done.durability, done.session.version) == (Durability.REDIS, 2)
        checkpoint.release()
        outcome(calling)
    mark = next(name for name in done.session.fields if name in {"mark2", "mark3"})
    clock.advance(GRACE)
    if other_side == "delete":
        shop.gone(other)
        assert raw(other, ID) is None
    else:
        row = other.database.read(ID)
        assert row is not None
        fields = shop.get(reader).fields
        assert fields["notes"] == ("the cut side's" if other_side == "another field" else "the other side's")
        assert mark in fields, "what does not collide is merged"
        assert row.version == 3
    conflicts = other.flush_log.conflicts(10)
    if other_side == "another field":
        assert conflicts == []
    else:
        (conflict,) = conflicts
        assert conflict.fields is not None
        assert (conflict.fields["notes"], mark in conflict.fields) == ("the cut side's", True)
        assert (conflict.found_body is None) == (other_side == "delete")
    postgres.proxy.restore()
    clock.advance(6)
    if other_side == "delete":
        shop.gone(cut)
    else:
        assert shop.get(cut).version == 3
    assert cut.flusher.pending.count() == 0


@pytest.mark.fault("5 database cut for one process")
def test_a_flush_that_races_a_further_write_to_redis_loses_neither(
    forked: tuple[Shop, CheckoutStore], postgres: ProxiedPostgres, clock: ManualClock, background: Background
) -> None:
    shop, cut = forked
    flusher = shop.process()
    shop.create(flusher)
    shop.get(cut)
    postgres.proxy.refuse()
    shop.update(cut)
    checkpoint = Checkpoint(flusher.redis, "publish")
    reading = background(shop.get, flusher)
    checkpoint.wait()
    done = shop.update(cut)  # onto the bytes that were just flushed
    assert (done.durability, done.session.version) == (Durability.REDIS, 3)
    checkpoint.release()
    outcome(reading)
    assert value_in_redis(cut).is_dirty, "the flush put its clean copy over a newer write"
    postgres.proxy.restore()
    clock.advance(6)
    for store in (flusher, cut):
        read = shop.get(store)
        assert ({"mark1", "mark2", "mark3"} <= set(read.fields), read.version) == (True, 3)
    assert flusher.flush_log.conflict_count() == 0
    assert flusher.flusher.pending.count() == 0
    assert not value_in_redis(cut).is_dirty


@pytest.mark.fault("5 database cut for one process")
@pytest.mark.parametrize("after", ["nothing", "update", "delete"])
def test_a_snapshot_that_revives_a_flushed_value_changes_nothing(
    own_scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, after: str
) -> None:
    shop = make_shop(replace(own_scenario.settings, durability="redis"))
    store, other = shop.process(), shop.process()
    shop.create(store, require=Durability.DATABASE)
    assert shop.update(store).durability is Durability.REDIS
    take_snapshot(own_scenario.redis)
    assert shop.get(other).version == 2
    assert not value_in_redis(other).is_dirty, "it was not flushed"
    if after == "update":
        shop.update(other, require=Durability.DATABASE)
    elif after == "delete":
        shop.delete(other)
    own_scenario.redis.kill()
    own_scenario.redis.start()
    assert value_in_redis(other).is_dirty, "nothing was revived"
    clock.advance(6)
    for reader in (store, other):
        if after == "delete":
            shop.gone(reader)
        else:
            assert shop.get(reader).version == (3 if after == "update" else 2)
    assert other.flush_log.conflict_count() == 0
    assert other.flusher.pending.count() == 0


@pytest.fixture(params=["deleted", "evicted"])
def created_unasked(
    request: pytest.FixtureRequest, forked: tuple[Shop, CheckoutStore], postgres: ProxiedPostgres
) -> tuple[Shop, CheckoutStore, CheckoutStore, str]:
    """An id that only the database knows to be taken, and under which Redis alone has acknowledged a session."""
    shop, cut = forked
    other = shop.process()
    shop.create(other)
    shop.get(cut)  # without which the first thing that it asked the database for would be its tables' version
    if request.param == "deleted":
        shop.delete(other)
    else:
        assert shop.update(other).published is True
        evict(other, ID)
    other.notes.write_down()
    reader = shop.process()
    reader.lease.renew()
    postgres.proxy.refuse()
    done = cut.create({"theirs": 1}, checkout_id=ID)
    assert (done.durability, done.session.verified) == (Durability.REDIS, False)
    return shop, cut, reader, request.param


@pytest.mark.fault("5 database cut for one process")
def test_what_was_created_without_asking_the_database_is_verified_by_nobody(
    created_unasked: tuple[Shop, CheckoutStore, CheckoutStore, str], postgres: ProxiedPostgres, clock: ManualClock
) -> None:
    shop, cut, reader, how = created_unasked
    assert cut.get(ID).verified is False
    assert cut.update(ID, {"more": 1}).session.verified is False
    for store in (reader, shop.process()):
        if how == "deleted":
            shop.gone(store)
        else:
            assert shop.get(store).version == 2
    postgres.proxy.restore()
    clock.advance(6)
    if how == "deleted":
        shop.gone(cut)
    else:
        assert "theirs" not in shop.get(cut).fields
    (conflict,) = cut.flush_log.conflicts(10)
    assert conflict.fields is not None
    assert {"theirs", "more"} <= set(conflict.fields), "acknowledged, and neither there nor kept"
    assert cut.flusher.pending.count() == 0


@pytest.mark.fault("11 negative controls")
def test_if_what_was_created_unasked_were_not_in_question_it_would_be_read(
    created_unasked: tuple[Shop, CheckoutStore, CheckoutStore, str], postgres: ProxiedPostgres
) -> None:
    shop, cut, reader, how = created_unasked
    value = value_in_redis(cut)
    put_raw(cut, ID, encode(value.base, value.identity, value.body, value.ids))
    with pytest.raises(AssertionError, match="a deleted session was read" if how == "deleted" else "a stale read"):
        shop.get(reader)
    postgres.proxy.restore()


@pytest.mark.fault("5 database cut for one process")
@pytest.mark.parametrize("given", ["as an argument", "as a field"])
def test_a_shop_that_prefers_redis_asks_the_database_for_an_id_that_its_caller_gives(
    scenario: Scenario, make_shop: Callable[..., Shop], given: str
) -> None:
    shop = make_shop(replace(scenario.settings, durability="redis"))
    store, other = shop.process(), shop.process()
    shop.create(store, require=Durability.DATABASE)
    shop.delete(store)
    with pytest.raises(SessionDeleted):
        other.create({"checkoutId": ID}, checkout_id=ID if given == "as an argument" else None)
    assert raw(other, ID) is None


# 6 A publish that was refused during a flush


@pytest.mark.fault("6 newer publish refused during flush")
@pytest.mark.parametrize("stalls", ["before the commit", "before the publish"])
def test_a_newer_version_that_meets_a_dirty_value_flushes_it_and_is_published(
    forked: tuple[Shop, CheckoutStore],
    postgres: ProxiedPostgres,
    clock: ManualClock,
    background: Background,
    monkeypatch: pytest.MonkeyPatch,
    stalls: str,
) -> None:
    shop, cut = forked
    flusher, writer = shop.process(), shop.process()
    shop.create(flusher)
    shop.get(cut)
    opening = Checkpoint(writer.redis, "open", after=True)
    writing = background(shop.update, writer)
    opening.wait()
    postgres.proxy.refuse()
    shop.update(cut)
    stalled = (flusher.flush_log, "apply") if "commit" in stalls else (flusher.redis, "publish")
    checkpoint = Checkpoint(*stalled)
    reading = background(shop.get, flusher)
    checkpoint.wait()
    opening.release()
    done = outcome(writing)
    assert done.published is True
    version = done.session.version
    checkpoint.release()
    outcome(reading)
    for store in (flusher, writer):
        for _ in range(3):
            assert {"mark1", "mark2", "mark3"} <= set(shop.get(store).fields)
        assert shop.get(store).version >= version
        assert trusted_again(shop, store)
    assert flusher.flush_log.conflict_count() == 0


# 7 External writers


@pytest.mark.fault("7 external SET")
@pytest.mark.parametrize("claimed", [1, 2, 9_000])
def test_an_external_value_of_any_version_is_never_taken_for_ours(
    scenario: Scenario, make_shop: Callable[..., Shop], claimed: int
) -> None:
    shop = make_shop(scenario.settings)
    first, second = shop.process(), shop.process()
    shop.create(first)
    value = b'{"version":%d,"checkoutId":"session-0001","theirs":1}' % claimed
    put_raw(first, ID, value)
    assert "theirs" not in shop.get(second).fields, "nobody knows what it grew from"
    (conflict,) = first.flush_log.conflicts(10)
    row = first.database.read(ID)
    assert row is not None
    assert (conflict.written, conflict.found_body) == (value, row.body)
    put_raw(first, ID, value)
    assert "theirs" not in shop.update(second).session.fields
    assert first.flush_log.conflicts(10) == [conflict], "the same bytes again are no second conflict"
    for store in (first, second):
        shop.get(store)
        assert trusted_again(shop, store)


@pytest.mark.fault("7 external SET")
@pytest.mark.parametrize("base", [1, 2, 3, 9_000])
def test_a_header_that_lies_about_its_version_overwrites_nothing(
    scenario: Scenario, make_shop: Callable[..., Shop], base: int
) -> None:
    shop = make_shop(scenario.settings)
    store = shop.process()
    shop.create(store)
    shop.update(store)
    shop.update(store)
    value = value_in_redis(store)
    header = b'{"_store":"%d - %b 0123456789abcdef","theirs":1,' % (base, value.identity)
    put_raw(store, ID, header + value.body[1:])
    read = shop.get(store)
    assert {"mark1", "mark2", "mark3"} <= set(read.fields)
    conflicts = store.flush_log.conflicts(10)
    assert "theirs" in read.fields or [conflict.fields["theirs"] for conflict in conflicts if conflict.fields] == [1]
    assert read.version == (4 if "theirs" in read.fields else 3)
    assert trusted_again(shop, store)


@pytest.mark.fault("7 external SET")
@pytest.mark.parametrize("call", ["get", "update"])
def test_an_external_value_that_comes_during_a_fill_or_a_write_is_kept_and_does_not_stay(
    scenario: Scenario, make_shop: Callable[..., Shop], background: Background, call: str
) -> None:
    shop = make_shop(scenario.settings)
    store, other = shop.process(), shop.process()
    shop.create(store)
    evict(store, ID)
    checkpoint = Checkpoint(store.redis, "publish")
    calling = background(getattr(shop, call), store)
    checkpoint.wait()
    value = b'{"version":77,"checkoutId":"session-0001","theirs":1}'
    put_raw(other, ID, value)
    checkpoint.release()
    outcome(calling)
    assert [conflict.written for conflict in other.flush_log.conflicts(10)] == [value]
    for reader in (store, other):
        assert "theirs" not in shop.get(reader).fields
        shop.get(reader)
        assert trusted_again(shop, reader)


@pytest.mark.fault("7 external SET")
def test_an_external_value_after_a_deletion_revives_nothing(scenario: Scenario, make_shop: Callable[..., Shop]) -> None:
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
    (conflict,) = first.flush_log.conflicts(10)  # the other value was ours, unchanged, and of a version before
    assert (conflict.fields, conflict.found_body) == ({"checkoutId": ID, "theirs": 1}, None)


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
        totals = second.database.totals()
        assert (totals.created, totals.completed, totals.failed) == expected
    own_scenario.redis.kill()
    shop.update(second, "session-0005", {"paymentStatus": "paid"})
    own_scenario.redis.start()
    clock.advance(6)
    shop.get(first, "session-0005")
    totals = first.database.totals()
    assert (totals.created, totals.completed, totals.failed) == (6, 5, 1)


@pytest.mark.fault("9 counters")
def test_totals_count_a_write_that_was_flushed_by_two_processes_once(
    forked: tuple[Shop, CheckoutStore], postgres: ProxiedPostgres, clock: ManualClock
) -> None:
    shop, cut = forked
    cut.database.ping()
    postgres.proxy.refuse()
    shop.create(cut)
    shop.update(cut, ID, {"paymentStatus": "paid"})
    value = raw(cut, ID) or b""
    flusher = shop.process()
    shop.get(flusher)
    put_raw(flusher, ID, value)
    clock.advance(GRACE)
    hand_over(flusher)
    postgres.proxy.restore()
    clock.advance(6)
    shop.get(cut)
    totals = flusher.database.totals()
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
