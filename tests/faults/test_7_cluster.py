"""A Redis Cluster: slots that move, a primary that dies, a replica that takes over, and writes without the database."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from checkout_cli.commands.sessions.index_adoption import adopt_index
from checkout_cli.commands.sync.sync import synchronize
from checkout_cli.errors import ConfigurationError, DatabaseUnavailable, RedisUnavailable
from checkout_cli.keys import INDEX, PENDING, session_key
from checkout_cli.session import Durability, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.records import Problem
from checkout_cli.store.redis.cluster import RedisCluster
from checkout_cli.store.redis.index_moves import IndexMoves
from checkout_cli.store.redis.index_place import Place
from checkout_cli.store.redis.pending import is_dirty
from tests.faults.conftest import settings_for
from tests.faults.harness import (
    GRACE,
    ID,
    Background,
    Shop,
    busy_with_a_script,
    hand_over,
    trusted_again,
    value_in_redis,
    without_its_database,
)
from tests.faults.moving import MANY, MovingSlot, give_back, ids_of, others_than, settings_of
from tests.support.cluster import Cluster, node_id
from tests.support.command import Checkoutctl
from tests.support.servers import REDIS, RedisServer, ValkeyServer
from tests.support.stores import ManualClock, count_calls, make_tables, redis_away, wait_until

# Everyday life


@pytest.mark.parametrize("kind", ["valkey", REDIS])
def test_sessions_live_on_all_primaries_and_are_trusted_there(
    kind: str, cluster: Cluster, tmp_path: Path, sqlite_url: str, make_shop: Callable[..., Shop]
) -> None:
    if kind == "redis":
        with Cluster(tmp_path / "redis", kind=RedisServer) as older:
            everyday_life(older, sqlite_url, make_shop)
    else:
        everyday_life(cluster, sqlite_url, make_shop)


def everyday_life(cluster: Cluster, sqlite_url: str, make_shop: Callable[..., Shop]) -> None:
    shop = make_shop(settings_of(cluster, sqlite_url))
    first, second = shop.process(), shop.process()
    for name in MANY:
        assert shop.create(first, name).published
    assert all(ids_of(cluster, server) for server in cluster.primaries), "one primary has them all"
    for name in MANY:
        assert shop.update(second, name).published
        assert trusted_again(shop, first, name)
    assert {sighting.checkout_id for sighting in first.admin.iterate()} == set(MANY)
    assert first.admin.count().number == len(MANY)
    assert first.admin.matching("session-002", 20) == MANY[20:]
    shop.delete(second, MANY[0])
    shop.gone(first, MANY[0])


def test_a_node_that_is_spoken_to_as_if_it_were_alone_says_what_to_set(
    cluster: Cluster, sqlite_url: str, make_shop: Callable[..., Shop]
) -> None:
    store = make_shop(replace(settings_of(cluster, sqlite_url), redis_mode="standalone")).process()
    elsewhere = next(name for name in MANY if cluster.owner(session_key(name)) is not cluster.primaries[0])
    with pytest.raises(ConfigurationError, match="is a node of a cluster") as raised:
        store.create({}, checkout_id=elsewhere)
    assert raised.value.hint == "checkoutctl config set REDIS_MODE=cluster"


def test_a_server_without_a_cluster_says_so(
    valkey: ValkeyServer, sqlite_url: str, make_shop: Callable[..., Shop]
) -> None:
    store = make_shop(replace(settings_for(valkey, sqlite_url), redis_mode="cluster")).process()
    with pytest.raises(ConfigurationError, match="is no node of a cluster") as raised:
        store.get(ID)
    assert raised.value.hint == "checkoutctl config set REDIS_MODE=standalone"


def test_an_older_programs_set_is_kept_in_a_cluster_and_adopted_when_it_is_retired(
    cluster: Cluster, sqlite_url: str, make_shop: Callable[..., Shop]
) -> None:
    shop = make_shop(settings_of(cluster, sqlite_url))
    store = shop.process()
    store.redis.ask(("SADD", INDEX, "foreign-0001", "foreign-0002"))
    for name in ("foreign-0001", "foreign-0002"):
        store.redis.ask(("SET", session_key(name), b'{"items":[]}', "PX", 60_000))
    assert shop.create(store).published
    names = {ID, "foreign-0001", "foreign-0002"}
    assert {sighting.checkout_id for sighting in store.admin.iterate()} == names
    assert {member.decode() for member in store.redis.ask(("SMEMBERS", INDEX))} == names
    other = shop.process()
    assert other.redis.index_place.find().place is Place.BESIDE_SET
    assert adopt_index(store, agreed=lambda _: True).finished
    assert shop.create(other, "session-later").published
    assert {member.decode() for member in store.redis.ask(("ZRANGE", INDEX, 0, -1))} == {*names, "session-later"}
    list(IndexMoves(store.redis, store.index).make_room())
    assert {member.decode() for member in store.redis.ask(("SMEMBERS", INDEX))} == {*names, "session-later"}
    shop.delete(other, "session-later")
    assert {member.decode() for member in store.redis.ask(("SMEMBERS", INDEX))} == names
    assert {sighting.checkout_id for sighting in store.admin.iterate()} == names


# Without the database


def test_without_the_database_a_write_to_a_cluster_is_remembered_and_flushed(
    cluster: Cluster,
    sqlite_url: str,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = make_shop(settings_of(cluster, sqlite_url))
    store, other = shop.process(), shop.process()
    for name in MANY:
        shop.create(store, name)
    with monkeypatch.context() as patch:
        without_its_database(store, patch)
        for name in MANY:
            done = store.update(name, {"while": "away"})
            assert (done.durability, done.session.verified, done.session.version) == (Durability.REDIS, False, 2)
    assert other.flusher.pending.count() == len(MANY)
    while other.flusher.pending.count():
        hand_over(other)
        clock.advance(GRACE)
    assert {shop.get(other, name).fields["while"] for name in MANY} == {"away"}
    assert {shop.get(other, name).version for name in MANY} == {2}
    assert not any(value_in_redis(other, name).is_dirty for name in MANY)
    assert other.flush_log.conflict_count() == 0


def test_a_write_that_is_entered_while_somebody_forgets_the_id_is_not_forgotten(
    cluster: Cluster, sqlite_url: str, make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop(settings_of(cluster, sqlite_url))
    store, other = shop.process(), shop.process()
    shop.create(store)
    ask = store.redis.ask

    def forgotten_in_between(command: tuple[Any, ...]) -> Any:
        reply = ask(command)
        (look,) = other.redis.look([ID])
        if command[:2] == ("SADD", PENDING) and not is_dirty(look):
            assert other.flusher.pending.some_ids(10) == [ID], "it was not there to be forgotten"
            assert other.publisher.flush_seen(ID, look) is None
            assert other.flusher.pending.some_ids(10) == [], "it was not forgotten"
        return reply

    with monkeypatch.context() as patch:
        patch.setattr(store.redis, "ask", forgotten_in_between)
        without_its_database(store, patch)
        assert store.update(ID, {"while": "away"}).durability is Durability.REDIS
    assert other.flusher.pending.some_ids(10) == [ID]


def test_an_id_stays_among_the_pending_where_nobody_could_look_at_its_session(
    cluster: Cluster, sqlite_url: str, make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop(settings_of(cluster, sqlite_url))
    store, other = shop.process(), shop.process()
    shop.create(store)
    (look,) = other.redis.look([ID])
    with monkeypatch.context() as patch:
        without_its_database(store, patch)
        assert store.update(ID, {"while": "away"}).durability is Durability.REDIS
    with monkeypatch.context() as patch:
        patch.setattr(other.redis, "look", redis_away)
        with pytest.raises(RedisUnavailable):
            other.publisher.flush_seen(ID, look)  # from before the write, so that there seems nothing to be flushed
    assert other.flusher.pending.some_ids(10) == [ID]


def test_a_session_whose_server_goes_away_between_two_looks_is_shown_as_unreachable(
    cluster: Cluster, sqlite_url: str, make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop(settings_of(cluster, sqlite_url))
    store = shop.process()
    shop.create(store)
    exchange = RedisCluster.exchange

    def away_for_the_value(servers: RedisCluster, commands: Any, *how: Any, **options: Any) -> Any:
        if commands[0][0] == "GET":
            return None, [RedisUnavailable("away, the test says")]
        return exchange(servers, commands, *how, **options)

    monkeypatch.setattr(RedisCluster, "exchange", away_for_the_value)
    (look,) = store.redis.look([ID])
    assert look.problem is Problem.UNREACHABLE


@pytest.mark.fault("slot move")
def test_a_slot_that_moves_in_the_middle_of_a_write_without_the_database_is_no_error_of_its_own(
    moving: MovingSlot, sqlite_url: str, make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop(settings_of(moving.cluster, sqlite_url))
    store, other = shop.process(), shop.process()
    shop.create(store)
    exchange = store.redis.with_index

    def moved_meanwhile(*arguments: Any, **options: Any) -> Any:
        if not moving.is_open:
            moving.begin()
            moving.move_keys()
            moving.end()
        return exchange(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(store.redis, "with_index", moved_meanwhile)
        without_its_database(store, patch)
        done = store.update(ID, {"while": "away"})
    assert (done.durability, done.session.version) == (Durability.REDIS, 2)
    assert value_in_redis(other).questionable, "nobody has compared it with the database since it was another server's"
    assert shop.get(other).fields["while"] == "away"
    assert not value_in_redis(other).is_dirty
    assert other.flush_log.conflict_count() == 0


@pytest.mark.fault("slot move")
def test_a_write_without_the_database_to_a_slot_that_is_moving_is_refused_and_leaves_nothing(
    moving: MovingSlot, sqlite_url: str, make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop(settings_of(moving.cluster, sqlite_url))
    store, other = shop.process(), shop.process()
    shop.create(store)
    moving.begin()
    with monkeypatch.context() as patch:
        without_its_database(store, patch)
        with pytest.raises(DatabaseUnavailable):
            store.update(ID, {"while": "away"})
        moving.end_with_its_keys()
        assert store.update(ID, {"while": "away again"}).durability is Durability.REDIS
    assert shop.get(other).fields["while"] == "away again"
    assert other.flush_log.conflict_count() == 0


# The matrix


@pytest.mark.fault("slot move")
def test_a_slot_that_moves_costs_no_error_and_its_own_sessions_a_look_at_the_database(
    moving: MovingSlot,
    sqlite_url: str,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = make_shop(settings_of(moving.cluster, sqlite_url))
    reader, writer = shop.process(), shop.process()
    shop.create(writer)
    assert trusted_again(shop, reader)
    moving.begin()
    assert shop.get(reader).tier is TierName.REDIS, "the key has not moved yet"
    moving.move_keys()
    rows = count_calls(reader.database, "read", monkeypatch)
    for _ in range(3):
        shop.get(reader)
    assert len(rows) == 3, "the copy was published to the other server, and cannot be again before the slot has moved"
    moving.end()
    for _ in range(3):
        shop.get(reader)
    assert len(rows) == 4, "once more"
    for store in (reader, writer):
        clock.advance(1.1)
        assert shop.update(store).published
        assert trusted_again(shop, store)


@pytest.mark.fault("slot move")
@pytest.mark.parametrize("moved", [False, True], ids=["before the key has moved", "after the key has moved"])
@pytest.mark.parametrize("call", ["update", "delete"])
def test_a_write_while_its_slot_moves_stays_pending_and_is_published_afterwards(
    moving: MovingSlot,
    sqlite_url: str,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    call: str,
    moved: bool,
) -> None:
    shop = make_shop(settings_of(moving.cluster, sqlite_url))
    writer, reader = shop.process(), shop.process()
    shop.create(writer)
    shop.get(reader)
    moving.begin()
    if moved:
        moving.move_keys()
    if call == "update":
        assert shop.update(writer).published is False, "its two keys cannot be used together now"
        assert shop.get(writer).version == 2, "its own write"
    else:
        shop.delete(writer, everywhere=False)
        shop.gone(writer)
    assert [row.version for row in reader.database.pending(10)] == [2]
    clock.advance(1.01)
    (shop.get if call == "update" else shop.gone)(reader)
    moving.end_with_its_keys()
    clock.advance(GRACE)
    for store in (reader, writer):
        hand_over(store)
    assert reader.database.pending(10) == []
    if call == "update":
        assert value_in_redis(reader).base == 2
        assert all(trusted_again(shop, store) for store in (reader, writer))
    else:
        assert reader.redis.ask(("EXISTS", session_key(ID))) == 0
        shop.gone(reader)


@pytest.mark.fault("slot move")
def test_a_slot_that_moves_costs_the_other_sessions_of_its_servers_nothing(
    moving: MovingSlot, sqlite_url: str, make_shop: Callable[..., Shop]
) -> None:
    shop = make_shop(settings_of(moving.cluster, sqlite_url))
    store = shop.process()
    elsewhere = [ids_of(moving.cluster, server)[0] for server in (moving.source, moving.target)]
    for name in (ID, *elsewhere):
        shop.create(store, name)
        assert trusted_again(shop, store, name)
    moving.begin()
    for step in (moving.move_keys, moving.end):
        assert shop.update(store).published is False
        shop.get(store)
        for name in elsewhere:
            assert shop.get(store, name).tier is TierName.REDIS, "a server was not believed because of one slot"
            assert shop.update(store, name).published, "a server was given up because of one slot"
        assert not any(server.breaker.is_open for server in store.redis.servers())
        step()
    assert shop.update(store).published


@pytest.mark.fault("slot move")
@pytest.mark.parametrize("call", ["create", "update"])
def test_a_shop_that_prefers_redis_writes_to_the_database_while_the_slot_moves(
    moving: MovingSlot, sqlite_url: str, make_shop: Callable[..., Shop], clock: ManualClock, call: str
) -> None:
    shop = make_shop(settings_of(moving.cluster, sqlite_url, durability="redis"))
    store, other = shop.process(), shop.process()
    if call == "update":
        assert shop.create(store).durability is Durability.REDIS
        assert shop.update(store).durability is Durability.REDIS
    moving.begin()
    done = getattr(shop, call)(store)
    assert (done.durability, done.published) == (Durability.DATABASE, False)
    version = done.session.version
    assert version == (1 if call == "create" else 3)
    moving.end_with_its_keys()
    clock.advance(GRACE)
    for reader in (other, store):
        assert shop.get(reader).version == version
        hand_over(reader)
    assert shop.update(store).durability is Durability.REDIS
    assert shop.get(other).version == version + 1
    hand_over(other)
    assert other.flush_log.conflict_count() == 0


@pytest.mark.fault("slot move")
def test_a_sync_during_a_move_names_the_sessions_of_the_slot_and_brings_over_the_others(
    moving: MovingSlot, sqlite_url: str, make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = make_shop(settings_of(moving.cluster, sqlite_url))
    store, other = shop.process(), shop.process()
    elsewhere = ids_of(moving.cluster, moving.source)[0]
    for name in (ID, elsewhere):
        shop.create(store, name)
    with monkeypatch.context() as patch:
        patch.setattr(store.redis, "publish", redis_away)
        for name in (ID, elsewhere):
            assert shop.update(store, name).published is False
    moving.begin()
    report = synchronize(other)
    assert ([stuck.checkout_id for stuck in report.stuck], report.published) == ([ID], 1)
    assert (report.unreachable, report.finished) == ([], True)
    moving.end_with_its_keys()
    report = synchronize(other)
    assert (report.stuck, report.published) == ([], 1)


@pytest.mark.fault("slot move")
@pytest.mark.parametrize("completely", [False, True], ids=["begun", "done"])
def test_a_slot_that_moves_in_the_middle_of_a_write_is_published_where_it_went(
    moving: MovingSlot,
    sqlite_url: str,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    completely: bool,
) -> None:
    shop = make_shop(settings_of(moving.cluster, sqlite_url))
    reader, writer = shop.process(), shop.process()
    shop.create(writer)
    update = writer.database.update

    def moved_meanwhile(*arguments: Any, **options: Any) -> bool:
        committed = update(*arguments, **options)
        moving.begin()
        moving.move_keys()
        if completely:
            moving.end()
        return committed

    with monkeypatch.context() as patch:
        patch.setattr(writer.database, "update", moved_meanwhile)
        assert shop.update(writer).published is completely
    assert shop.get(reader).version == 2
    if not completely:
        moving.end()
        clock.advance(GRACE)
    assert trusted_again(shop, reader)
    assert value_in_redis(reader).base == 2


@pytest.mark.fault("slot move")
def test_a_session_that_is_created_while_its_slot_moves_is_there_at_once(
    moving: MovingSlot, sqlite_url: str, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(settings_of(moving.cluster, sqlite_url))
    reader, writer = shop.process(), shop.process()
    moving.begin()
    assert shop.create(writer).published is False
    assert shop.get(reader).version == 1
    moving.end_with_its_keys()
    assert trusted_again(shop, reader)
    shop.delete(writer)
    shop.gone(reader)


@pytest.mark.fault("slot move")
def test_a_slot_that_comes_back_in_the_middle_of_a_write_leaves_nothing_old_to_be_trusted(
    cluster: Cluster,
    sqlite_url: str,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = make_shop(settings_of(cluster, sqlite_url))
    reader, writer = shop.process(), shop.process()
    shop.create(writer)
    slot = key_slot(session_key(ID).encode())
    source = cluster.owner(session_key(ID))
    target = others_than(cluster, session_key(ID))[0]
    update = writer.database.update

    def there_and_back(*arguments: Any, **options: Any) -> bool:
        give_back(cluster, slot, source, target)
        shop.get(writer)  # in another thread, which learns where the slot is
        assert trusted_again(shop, reader)
        cluster.begin_move(slot, target, source)
        return update(*arguments, **options)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(writer.database, "update", there_and_back)
            shop.update(writer)
        writer.notes.write_down()
        clock.advance(1.1)
        assert shop.get(reader).version == 2
    finally:
        give_back(cluster, slot, target, source)


@pytest.mark.fault("slot move")
def test_a_primary_that_is_new_is_trusted_and_published_to_as_soon_as_it_has_its_first_slot(
    own_cluster: Cluster, sqlite_url: str, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(settings_of(own_cluster, sqlite_url))
    store = shop.process()
    shop.create(store)
    slot = key_slot(session_key(ID).encode())
    source = own_cluster.owner(session_key(ID))
    newcomer = own_cluster.add_primary()
    own_cluster.begin_move(slot, source, newcomer)
    own_cluster.move_keys(slot, source, newcomer)
    for _ in range(2):
        clock.advance(1.1)
        shop.get(store)
    assert shop.update(store).published is False
    assert shop.get(store).version == 2
    own_cluster.end_move(slot, source, newcomer)
    clock.advance(1.1)
    assert shop.update(store).published
    assert trusted_again(shop, store)


@pytest.mark.fault("cluster node dead")
def test_a_node_that_was_taken_out_of_the_cluster_is_not_believed_that_there_are_no_slots(
    cluster: Cluster, sqlite_url: str, make_shop: Callable[..., Shop], tmp_path: Path
) -> None:
    with Cluster(tmp_path / "alone", size=1) as alone:
        (node,) = alone.primaries
        with node.client(socket_timeout=5) as client:
            client.execute_command("CLUSTER", "RESET", "HARD")
        shop = make_shop(replace(settings_of(cluster, sqlite_url), redis_port=node.port))
        for name in MANY[:8]:
            assert shop.create(shop.process(), name).published


@pytest.mark.fault("cluster node dead")
def test_a_node_that_is_busy_does_not_hide_the_others(
    own_cluster: Cluster, sqlite_url: str, make_shop: Callable[..., Shop], background: Background
) -> None:
    first, *_ = own_cluster.primaries
    shop = make_shop(settings_of(own_cluster, sqlite_url))
    elsewhere = [name for name in MANY if name not in ids_of(own_cluster, first)]
    with busy_with_a_script(first, background):
        for name in elsewhere[:8]:
            assert shop.create(shop.process(), name).published


@pytest.mark.fault("cluster node dead")
def test_a_dead_primary_is_missed_for_its_own_sessions_only(
    own_cluster: Cluster, sqlite_url: str, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(settings_of(own_cluster, sqlite_url))
    first, second = shop.process(), shop.process()
    for name in MANY:
        shop.create(first, name)
        shop.get(second, name)
    (victim, *_) = others_than(own_cluster, INDEX, PENDING)
    lost = ids_of(own_cluster, victim)
    kept = [name for name in MANY if name not in lost]
    victim.kill()
    for name in lost:
        assert shop.get(first, name).tier is TierName.DATABASE
        assert shop.update(second, name).published is False
        assert shop.get(first, name).version == 2
    for name in kept:
        assert shop.get(first, name).tier is TierName.REDIS
        assert shop.update(second, name).published
        assert shop.get(first, name).tier is TierName.REDIS
    for _ in range(3):
        clock.advance(1.1)
        assert trusted_again(shop, first, kept[0]), "the others' leases go on"
    assert {sighting.checkout_id for sighting in first.admin.iterate()} == set(MANY)
    assert first.redis.missing_servers() == [f"127.0.0.1:{victim.port}"]
    victim.start()
    wait_until(lambda: own_cluster.is_up(victim), 15)
    for _ in range(3):
        clock.advance(6)
        for name in lost:
            shop.get(first, name)
    assert all(trusted_again(shop, second, name) for name in lost)
    assert first.redis.missing_servers() == []


@pytest.mark.fault("cluster node dead")
def test_the_list_says_that_it_is_partial(
    own_cluster: Cluster, sqlite_url: str, make_shop: Callable[..., Shop], checkoutctl: Checkoutctl
) -> None:
    store = make_shop(settings_of(own_cluster, sqlite_url)).process()
    names = [name for server in own_cluster.primaries for name in ids_of(own_cluster, server)[:2]]
    for name in names:
        store.redis.ask(("SET", session_key(name), b'{"items":[]}', "PX", 60_000))
        store.redis.ask(("ZADD", INDEX, 9e12, name))
    (victim, *_) = others_than(own_cluster, INDEX, PENDING)
    nodes = ",".join(f"127.0.0.1:{server.port}" for server in own_cluster.primaries)
    port = str(own_cluster.primaries[0].port)
    environment = {
        "REDIS_MODE": "cluster",
        "REDIS_CLUSTER_NODES": nodes,
        "REDIS_PORT": port,
        "DATABASE_URL": sqlite_url,
    }
    whole = checkoutctl("sessions", "list", "--json", env=environment)
    assert whole.returncode == 0, whole.stderr
    assert json.loads(whole.stdout)["partial"] is False
    assert {session["checkoutId"] for session in json.loads(whole.stdout)["sessions"]} == set(names)
    lost = set(ids_of(own_cluster, victim))
    victim.kill()
    part = checkoutctl("sessions", "list", "--json", env=environment)
    assert part.returncode == 1, part.stderr
    assert json.loads(part.stdout)["partial"] is True
    assert {session["checkoutId"] for session in json.loads(part.stdout)["sessions"]} == set(names) - lost
    assert f"partial: no answer from 127.0.0.1:{victim.port}" in part.stderr
    for command in (("users", "list"), ("cache", "delivery", "list")):
        other = checkoutctl(*command, "--json", env=environment)
        assert json.loads(other.stdout)["partial"] is True
        assert "partial: no answer" in other.stderr
    health = checkoutctl("health", "--json", env=environment)
    assert health.returncode == 1, health.stdout
    assert f"checkoutctl --redis-host 127.0.0.1 --redis-port {victim.port} ping" in health.stdout + health.stderr


@pytest.mark.fault("cluster node dead")
@pytest.mark.parametrize("key", [INDEX, PENDING])
def test_without_the_server_of_the_index_or_of_the_pending_ids_sessions_are_read_and_written(
    own_cluster: Cluster, sqlite_url: str, make_shop: Callable[..., Shop], key: str
) -> None:
    shop = make_shop(settings_of(own_cluster, sqlite_url))
    store = shop.process()
    for name in MANY:
        shop.create(store, name)
    victim = own_cluster.owner(key)
    kept = [name for name in MANY if own_cluster.owner(session_key(name)) is not victim]
    victim.kill()
    for name in MANY:
        shop.get(store, name)
        assert shop.update(store, name).published is (name in kept)
    assert {sighting.checkout_id for sighting in store.admin.iterate()} == set(MANY)
    assert store.admin.count().number == len(MANY)


@pytest.mark.fault("failover")
def test_a_replica_that_takes_over_in_a_cluster_serves_nothing_old(
    own_cluster: Cluster, sqlite_url: str, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(settings_of(own_cluster, sqlite_url))
    first, second = shop.process(), shop.process()
    shop.create(first)
    primary = own_cluster.owner(session_key(ID))
    replica = own_cluster.add_replica(primary)
    assert trusted_again(shop, second)
    with primary.client() as client:
        client.wait(1, 2000)
    replica.pause()  # from here on the replica hears of nothing
    shop.update(first)
    primary.kill()
    replica.resume()
    wait_until(lambda: own_cluster.owner(session_key(ID)) is replica, 20)
    for _ in range(3):
        clock.advance(6)
        for store in (first, second):
            shop.get(store)
    assert trusted_again(shop, first)
    assert trusted_again(shop, second)
    assert shop.update(first).published


@pytest.mark.fault("failover")
@pytest.mark.parametrize("fenced", [True, False], ids=["fenced", "without the fence"])
def test_a_process_that_is_left_on_the_old_primary_of_a_shard_trusts_it_for_t_at_most(
    own_cluster: Cluster,
    sqlite_url: str,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    fenced: bool,
) -> None:
    shop = Shop(settings_of(own_cluster, sqlite_url), clock)
    make_tables(shop.process().database)
    left, moved = shop.process(), shop.process()
    if not fenced:
        monkeypatch.setattr(type(left.lease), "is_fenced_off", lambda *_: False)
    try:
        old = own_cluster.owner(session_key(ID))
        new = own_cluster.add_replica(old)  # first: with it, the primary takes another identity
        shop.create(left)
        assert trusted_again(shop, left)
        with old.client() as client:
            client.wait(1, 2000)
        take_over_unnoticed(own_cluster, old, new)
        keep_on(left, old)
        clock.advance(6)
        keep_on(moved, new)
        shop.update(moved)
        moved.notes.write_down()
        assert moved.database.pending(10) == [], "the row tells of it, with a fence or without"
        clock.advance(1.01)
        if fenced:
            assert shop.get(left).version == 2
        else:
            with pytest.raises(AssertionError, match="a stale read from redis"):
                shop.get(left)
    finally:
        shop.close()


@pytest.mark.fault("failover")
def test_a_primary_that_became_a_replica_does_not_fence_its_successor_off(
    own_cluster: Cluster, sqlite_url: str, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(settings_of(own_cluster, sqlite_url))
    idle, busy = shop.process(), shop.process()
    replica = own_cluster.add_replica(own_cluster.owner(session_key(ID)))
    shop.create(idle)
    assert trusted_again(shop, idle)
    hand_over_in_order(own_cluster, replica)
    live_on(shop, clock, busy)
    assert trusted_again(shop, busy)
    live_on(shop, clock, idle, busy)  # the first renews its lease before its first command is sent on
    assert trusted_again(shop, idle)
    assert trusted_again(shop, busy)
    assert shop.update(busy).published


@pytest.mark.fault("failover")
def test_a_primary_that_comes_back_cut_off_does_not_fence_its_successor_off(
    own_cluster: Cluster, sqlite_url: str, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(settings_of(own_cluster, sqlite_url))
    idle, busy = shop.process(), shop.process()
    old = own_cluster.owner(session_key(ID))
    new = own_cluster.add_replica(old)
    shop.create(idle)
    assert trusted_again(shop, idle)
    old.kill()
    wait_until(lambda: own_cluster.owner(session_key(ID)) is new, 20)
    live_on(shop, clock, busy)
    assert trusted_again(shop, busy)
    others = [server for server in (*own_cluster.primaries, new) if server is not old]
    for server in others:
        server.pause()
    try:
        old.start()
        clock.advance(6)
        idle.get(ID)
    finally:
        for server in others:
            server.resume()
    wait_until(lambda: is_replica(old), 15)
    live_on(shop, clock, idle, busy)
    assert trusted_again(shop, idle)
    assert trusted_again(shop, busy)
    assert shop.update(busy).published


@pytest.mark.fault("failover")
def test_an_address_that_takes_over_another_shard_is_fenced_as_of_that_shard(
    own_cluster: Cluster, sqlite_url: str, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(settings_of(own_cluster, sqlite_url))
    store = shop.process()
    wanderer, host = own_cluster.owner(session_key(ID)), others_than(own_cluster, session_key(ID))[0]
    (elsewhere, *_) = ids_of(own_cluster, host)
    successor = own_cluster.add_replica(wanderer)
    for name in (ID, elsewhere):
        shop.create(store, name)
        assert trusted_again(shop, store, name)
    hand_over_in_order(own_cluster, successor)
    live_on(shop, clock, store)
    with wanderer.client(socket_timeout=5) as client:
        wait_until(lambda: is_replica(wanderer), 10)
        client.execute_command("CLUSTER", "REPLICATE", node_id(host))
    hand_over_in_order(own_cluster, wanderer)
    for name in (ID, elsewhere):
        live_on(shop, clock, store, checkout_id=name)
        assert trusted_again(shop, store, name)
        assert shop.update(store, name).published


def hand_over_in_order(cluster: Cluster, replica: ValkeyServer) -> None:
    """A replica takes over with its primary's consent, as for an upgrade; all primaries know when this returns."""
    with replica.client(socket_timeout=5) as client:
        wait_until(lambda: client.info("replication").get("master_link_status") == "up", 15)
        client.execute_command("CLUSTER", "FAILOVER")
        wait_until(lambda: not is_replica(replica), 15)
    address = f"127.0.0.1:{replica.port}"
    wait_until(lambda: all("master" in cluster.nodes(one)[address]["flags"] for one in cluster.primaries), 15)


def is_replica(server: ValkeyServer) -> bool:
    with server.client(socket_timeout=5) as client:
        return bool(client.info("replication")["role"] == "slave")


def live_on(shop: Shop, clock: ManualClock, *stores: CheckoutStore, checkout_id: str = ID) -> None:
    """Leases run out and are renewed, and breakers close."""
    for _ in range(3):
        clock.advance(6)
        for store in stores:
            shop.get(store, checkout_id)


def take_over_unnoticed(cluster: Cluster, old: ValkeyServer, new: ValkeyServer) -> None:
    """Two primaries of one shard, as in a partition: the replica takes over, and the old primary never hears of it."""
    with old.client(socket_timeout=5) as client:
        for node in cluster.nodes(old).values():
            if "myself" not in node["flags"]:
                client.execute_command("CLUSTER", "FORGET", node["node_id"])
    with new.client(socket_timeout=5) as client:
        client.execute_command("CLUSTER", "FAILOVER", "TAKEOVER")
        wait_until(lambda: client.info("replication")["role"] == "master", 10)


def keep_on(store: CheckoutStore, server: ValkeyServer) -> None:
    """Let a process know one primary for the test's session, and never learn better."""
    servers = store.redis._servers
    assert isinstance(servers, RedisCluster)
    servers.members()
    servers._slots[key_slot(session_key(ID).encode())] = servers._at(("127.0.0.1", server.port))
    servers._members = list(dict.fromkeys(one for one in servers._slots if one is not None))
    servers._look_where_slots_are = lambda: None  # type: ignore[method-assign]


# Negative controls


def test_without_following_redirections_a_moved_slot_would_be_an_error(
    cluster: Cluster, sqlite_url: str, make_shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checkout_cli.store.redis.cluster.MOST_REDIRECTIONS", 0)
    shop = make_shop(settings_of(cluster, sqlite_url))
    assert shop.create(shop.process()).published is False
