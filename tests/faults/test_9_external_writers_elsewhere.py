"""An external writer behind Sentinel and in a cluster: through failovers, and while slots move."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry
from redis.sentinel import Sentinel

from checkout_cli.config.settings import Settings
from checkout_cli.keys import session_key
from checkout_cli.servers.embedded import HOST
from checkout_cli.session import Durability
from tests.faults.external_writer import KEEPS, ExternalWriter, assert_taken_in, conflicts_of, row_of
from tests.faults.harness import (
    GRACE,
    ID,
    Background,
    Checkpoint,
    Shop,
    hand_over,
    outcome,
    part,
    trusted_again,
    value_in_redis,
)
from tests.faults.moving import MovingSlot, settings_of
from tests.faults.test_8_external_writers import settles
from tests.support.cluster import Cluster
from tests.support.sentinel import SERVICE, Replicated
from tests.support.stores import ManualClock, count_calls, wait_until

Program = Callable[[Shop, bool], ExternalWriter]


# Behind Sentinel


@pytest.fixture
def program(replicated: Replicated) -> Iterator[Program]:
    """``program(shop, keeps)``: an external writer that asks the Sentinel where the primary is."""
    sentinel = Sentinel([(HOST, replicated.port)], socket_timeout=2, retry=Retry(NoBackoff(), 0))
    clients = []

    def start(shop: Shop, keeps: bool) -> ExternalWriter:
        clients.append(sentinel.master_for(SERVICE, socket_timeout=2, retry=Retry(NoBackoff(), 0)))
        return ExternalWriter(shop, clients[-1], keeps_header=keeps)

    yield start
    for client in clients:
        client.close()


def in_step(replicated: Replicated) -> None:
    """The replica has all that the primary has."""
    with replicated.first.client(socket_timeout=5) as client:
        assert client.wait(1, 4000) == 1


@pytest.mark.fault("external writer: failover")
@KEEPS
@pytest.mark.parametrize("met", ["before the failover", "after the failover"])
@pytest.mark.parametrize("ours", ["nothing", "update", "delete"])
def test_a_write_that_a_failover_carries_over_is_taken_in_once(
    replicated: Replicated,
    settings_behind_sentinel: Settings,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    program: Program,
    keeps: bool,
    met: str,
    ours: str,
) -> None:
    shop = make_shop(settings_behind_sentinel)
    first, second = shop.process(), shop.process()
    shop.create(first)
    mark = program(shop, keeps).update()
    in_step(replicated)
    if met == "before the failover":
        replicated.second.pause()  # what becomes of it, the replica never hears
        shop.get(first)
        taken_in = row_of(first)
    replicated.first.kill()
    if met == "before the failover":
        replicated.second.resume()
    if ours == "update":
        assert shop.update(second).published is False
    elif ours == "delete":
        shop.delete(second)
    replicated.wait_for_primary(replicated.second)
    clock.advance(6)
    if ours == "delete":
        for store in (second, first):
            shop.gone(store)
        kept = [conflict for conflict in conflicts_of(first) if mark in (conflict.fields or {})]
        assert len(kept) == (0 if keeps and met == "before the failover" else 1)
        if keeps and met == "before the failover":
            shop.forget_external(mark)  # it was a version of what was deleted then
        return
    shop.get(second)
    assert_taken_in(second, mark, keeps=keeps)
    if met == "before the failover":
        assert row_of(second)[0] == taken_in[0] + (ours == "update"), "it was taken in again"
    settles(shop, clock, second, first)


@pytest.mark.fault("external writer: failover")
@KEEPS
def test_a_write_on_the_new_primary_is_not_overwritten_by_a_publish_for_the_old_one(
    replicated: Replicated,
    settings_behind_sentinel: Settings,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    background: Background,
    program: Program,
    keeps: bool,
) -> None:
    shop = make_shop(settings_behind_sentinel)
    stalled, other = shop.process(), shop.process()
    shop.create(stalled)
    in_step(replicated)
    checkpoint = Checkpoint(stalled.redis, "publish")
    writing = background(shop.update, stalled)
    checkpoint.wait()
    replicated.fail_over(replicated.second)
    mark = program(shop, keeps).update()
    clock.advance(6)
    checkpoint.release()
    done = outcome(writing)
    assert (done.durability, done.published) == (Durability.DATABASE, False)
    clock.advance(GRACE)
    shop.get(other)
    assert_taken_in(other, mark, keeps=keeps)
    assert "mark2" in row_of(other)[1]
    settles(shop, clock, other, stalled)


@pytest.mark.fault("external writer: failover")
@KEEPS
def test_a_write_on_the_old_primary_that_a_process_there_meets_reaches_the_new_one(
    replicated: Replicated,
    settings_behind_sentinel: Settings,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    keeps: bool,
) -> None:
    shop = make_shop(settings_behind_sentinel)
    left = shop.process()
    shop.create(left)
    assert trusted_again(shop, left)
    in_step(replicated)
    part(replicated)
    moved = shop.process()
    assert trusted_again(shop, moved)
    shop.update(moved)
    with replicated.first.client() as client:  # it was left there too
        mark = ExternalWriter(shop, client, keeps_header=keeps).update()
    clock.advance(1.01)
    identity = left.redis.identity(ID)
    assert {"mark1", "mark2"} <= set(shop.get(left).fields)
    assert left.redis.identity(ID) == identity != moved.redis.identity(ID), "it was not left on the old primary"
    assert_taken_in(left, mark, keeps=keeps)
    for _ in range(2):
        clock.advance(GRACE)
        assert shop.get(moved).version == row_of(moved)[0]
    assert trusted_again(shop, moved)
    assert value_in_redis(moved).base == row_of(moved)[0]


# In a cluster


@pytest.fixture
def anywhere() -> Iterator[Callable[[Shop, Cluster, bool], ExternalWriter]]:
    """``anywhere(shop, cluster, keeps)``: an external writer that follows the cluster's redirections."""
    clients = []

    def start(shop: Shop, cluster: Cluster, keeps: bool) -> ExternalWriter:
        nodes = [ClusterNode(HOST, server.port) for server in cluster.primaries]
        clients.append(RedisCluster(startup_nodes=nodes, socket_timeout=2))
        return ExternalWriter(shop, clients[-1], keeps_header=keeps)

    yield start
    for client in clients:
        client.close()


Anywhere = Callable[[Shop, Cluster, bool], ExternalWriter]


@pytest.mark.fault("external writer: slot move")
@KEEPS
@pytest.mark.parametrize("moved", [False, True], ids=["before the key has moved", "after the key has moved"])
@pytest.mark.parametrize("ours", ["get", "update", "delete"])
def test_a_write_while_its_slot_moves_is_taken_in_as_soon_as_it_has_moved(
    moving: MovingSlot,
    sqlite_url: str,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    anywhere: Anywhere,
    keeps: bool,
    moved: bool,
    ours: str,
) -> None:
    shop = make_shop(settings_of(moving.cluster, sqlite_url))
    store, other = shop.process(), shop.process()
    shop.create(store)
    external = anywhere(shop, moving.cluster, keeps)
    moving.begin()
    if moved:
        moving.move_keys()
    mark = external.update()
    if ours == "get":
        assert shop.get(store).version == 1
    elif ours == "update":
        assert shop.update(store).published is False
    else:
        shop.delete(store, everywhere=False)
    assert mark.encode() in (store.redis.ask(("GET", session_key(ID))) or b""), "it lies there until it can be taken in"
    moving.end_with_its_keys()
    clock.advance(GRACE)
    if ours == "delete":
        for each in (other, store):
            shop.gone(each)
        (conflict,) = conflicts_of(other)
        assert (mark in (conflict.fields or {}), conflict.found_body) == (True, None)
        assert other.redis.ask(("EXISTS", session_key(ID))) == 0
        return
    shop.get(other)
    assert_taken_in(other, mark, keeps=keeps)
    assert ours == "get" or "mark2" in row_of(other)[1]
    settles(shop, clock, other, store)


@pytest.mark.fault("external writer: slot move")
@KEEPS
@pytest.mark.parametrize("completely", [False, True], ids=["begun", "done"])
def test_a_write_between_our_commit_and_a_publish_whose_slot_has_moved_is_not_overwritten(
    moving: MovingSlot,
    sqlite_url: str,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    background: Background,
    anywhere: Anywhere,
    keeps: bool,
    completely: bool,
) -> None:
    shop = make_shop(settings_of(moving.cluster, sqlite_url))
    writer, other = shop.process(), shop.process()
    shop.create(writer)
    external = anywhere(shop, moving.cluster, keeps)
    checkpoint = Checkpoint(writer.redis, "publish")
    writing = background(shop.update, writer)
    checkpoint.wait()
    moving.begin()
    moving.move_keys()
    if completely:
        moving.end()
    mark = external.update()
    checkpoint.release()
    assert outcome(writing).published is completely
    if not completely:
        moving.end_with_its_keys()
        clock.advance(GRACE)
    shop.get(other)
    assert_taken_in(other, mark, keeps=keeps)
    assert "mark2" in row_of(other)[1]
    settles(shop, clock, other, writer)


@pytest.mark.fault("external writer: slot move")
@KEEPS
def test_what_was_taken_in_before_its_slot_moved_is_flushed_once(
    moving: MovingSlot,
    sqlite_url: str,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    background: Background,
    anywhere: Anywhere,
    monkeypatch: pytest.MonkeyPatch,
    keeps: bool,
) -> None:
    shop = make_shop(settings_of(moving.cluster, sqlite_url))
    taker, other = shop.process(), shop.process()
    shop.create(taker)
    mark = anywhere(shop, moving.cluster, keeps).update()
    checkpoint = Checkpoint(taker.flush_log, "apply")
    taking = background(shop.get, taker)
    checkpoint.wait()
    assert value_in_redis(other).questionable
    moving.begin()
    moving.move_keys()
    checkpoint.release()
    outcome(taking)
    assert_taken_in(other, mark, keeps=keeps)
    before = row_of(other)[0]
    moving.end()
    applied = count_calls(other.flush_log, "_write_all", monkeypatch)
    clock.advance(GRACE)
    hand_over(other)
    assert not value_in_redis(other).is_dirty
    assert (row_of(other)[0], len(applied)) == (before, 0)
    assert other.external.writes().taken_in == 1
    settles(shop, clock, other, taker)


@pytest.mark.fault("external writer: failover")
@KEEPS
def test_a_write_to_a_shard_whose_replica_takes_over_is_taken_in(
    own_cluster: Cluster,
    sqlite_url: str,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    anywhere: Anywhere,
    keeps: bool,
) -> None:
    shop = make_shop(settings_of(own_cluster, sqlite_url))
    first, second = shop.process(), shop.process()
    primary = own_cluster.owner(session_key(ID))
    replica = own_cluster.add_replica(primary)
    shop.create(first)
    assert trusted_again(shop, second)
    mark = anywhere(shop, own_cluster, keeps).update()
    with primary.client(socket_timeout=5) as client:
        assert client.wait(1, 4000) == 1
    primary.kill()
    assert shop.update(first).published is False
    wait_until(lambda: own_cluster.owner(session_key(ID)) is replica, 20)
    for _ in range(2):
        clock.advance(6)
        shop.get(second)
    assert_taken_in(second, mark, keeps=keeps)
    assert "mark2" in row_of(second)[1]
    clock.advance(6)
    shop.get(first)
    settles(shop, clock, second, first)


@pytest.mark.fault("external writer: database away")
@KEEPS
def test_without_the_database_a_cluster_builds_on_external_writes_and_all_arrive(
    moving: MovingSlot,
    sqlite_url: str,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    anywhere: Anywhere,
    monkeypatch: pytest.MonkeyPatch,
    keeps: bool,
) -> None:
    from tests.faults.harness import without_its_database

    shop = make_shop(settings_of(moving.cluster, sqlite_url))
    store, other = shop.process(), shop.process()
    shop.create(store)
    external = anywhere(shop, moving.cluster, keeps)
    with monkeypatch.context() as patch:
        without_its_database(store, patch)
        first = external.update()
        read = shop.get(store)
        assert (read.verified, read.external, first in read.fields) == (False, True, True)
        done = shop.update(store)
        assert done.durability is Durability.REDIS
        moving.begin()
        moving.move_keys()
        moving.end()
        second = external.update()
        again = shop.update(store)
        assert again.durability is Durability.REDIS
    everything = {"mark1", first, second} | {name for name in again.session.fields if name.startswith("mark")}
    assert everything <= set(again.session.fields)
    assert other.flusher.pending.some_ids(10) == [ID]
    clock.advance(GRACE)
    hand_over(other)
    fields = set(row_of(other)[1])
    kept = fields.union(*(set(conflict.fields or {}) for conflict in conflicts_of(other)))
    assert everything <= kept
    assert keeps is (everything <= fields)
    settles(shop, clock, other, store)
