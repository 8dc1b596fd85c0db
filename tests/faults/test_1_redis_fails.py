"""Redis is killed, restarted, cut off, slow, late or half away: the first rows of the matrix."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from checkout_cli.errors import DatabaseUnavailable
from checkout_cli.servers.embedded import HOST
from checkout_cli.session import TierName
from tests.faults.conftest import Scenario, settings_for
from tests.faults.harness import (
    GRACE,
    ID,
    Background,
    Checkpoint,
    Shop,
    busy_with_a_script,
    outcome,
    trusted_again,
    value_in_redis,
)
from tests.support.proxy import ProxiedPostgres, Proxy
from tests.support.servers import ValkeyServer
from tests.support.stores import ManualClock, evict, raw, wait_until


@pytest.mark.fault("kill -9, old snapshot")
def test_a_restart_from_an_old_snapshot_brings_back_nothing_older_than_was_acknowledged(
    own_scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(own_scenario.settings)
    first, second = shop.process(), shop.process()
    shop.create(first)
    shop.create(first, "session-0002")
    with own_scenario.redis.client() as client:
        client.save()
    shop.update(first)
    shop.delete(first, "session-0002")
    own_scenario.redis.kill()
    own_scenario.redis.start()
    assert value_in_redis(second).base == 1, "the snapshot was not old"
    assert raw(second, "session-0002") is not None, "the snapshot was not old"
    for store in (first, second):
        clock.advance(6)
        shop.get(store)
        shop.gone(store, "session-0002")
    assert trusted_again(shop, second)


@pytest.mark.fault("kill -9, old snapshot")
def test_a_restart_with_nothing_is_filled_again_one_session_at_a_time(
    own_scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(own_scenario.settings)
    first, second = shop.process(), shop.process()
    shop.create(first)
    own_scenario.redis.kill()
    assert shop.update(first).published is False
    own_scenario.redis.start()
    clock.advance(6)
    assert shop.get(second).tier is TierName.DATABASE
    assert trusted_again(shop, second)
    shop.update(second)
    assert trusted_again(shop, first)


@pytest.mark.fault("lost reply")
def test_a_lost_reply_to_a_publish_leaves_one_effect_and_its_own_writer_reads_it(
    scenario: Scenario, redis_proxy: Proxy, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(scenario.settings)
    writer, other = shop.process(scenario.through(redis_proxy)), shop.process()
    shop.create(writer)
    lost = redis_proxy.lose_reply_to(b"EVALSHA")
    done = shop.update(writer)
    assert lost.wait(1)
    assert done.published is False
    assert value_in_redis(other).base == 2, "the request did not arrive"
    assert shop.get(writer).version == 2
    assert shop.get(other).version == 2
    clock.advance(GRACE)
    shop.get(other)
    clock.advance(GRACE)
    shop.get(other)
    assert other.database.pending(10) == []


@pytest.mark.fault("lost reply")
def test_a_lost_reply_to_a_read_is_answered_by_the_database(
    scenario: Scenario, redis_proxy: Proxy, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(scenario.settings)
    reader = shop.process(scenario.through(redis_proxy))
    shop.create(reader)
    lost = redis_proxy.lose_reply_to(b"GETEX")
    assert shop.get(reader).tier is TierName.DATABASE
    assert lost.is_set()
    clock.advance(1)
    shop.get(reader)
    assert trusted_again(shop, reader)


@pytest.mark.fault("lost reply")
@pytest.mark.parametrize("call", ["create", "update", "delete"])
def test_a_lost_answer_to_a_commit_is_settled_by_the_write_id(
    scenario: Scenario, postgres: ProxiedPostgres, make_shop: Callable[..., Shop], call: str
) -> None:
    shop = make_shop(replace(scenario.settings, database_url=postgres.url))
    writer, other = shop.process(replace(scenario.settings, database_url=postgres.proxied_url)), shop.process()
    if call != "create":
        shop.create(other)
    writer.database.ping()
    with Commits(writer, postgres.proxy) as commits:
        getattr(shop, call)(writer)
    assert commits.lost is not None
    assert commits.lost.is_set(), "the commit was answered"
    if call == "delete":
        shop.gone(other)
    else:
        assert shop.get(other).version == (1 if call == "create" else 2)
    assert other.flusher.pending.count() == 0
    assert other.flush_log.conflict_count() == 0


class Commits:
    """Loses the answer to the commit of the next statement that writes a session."""

    def __init__(self, store: object, proxy: Proxy) -> None:
        self._store, self._proxy = store, proxy
        self.lost = None

    def __enter__(self) -> Commits:
        from sqlalchemy import event

        def armed(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if self.lost is None and statement.startswith(
                ("INSERT INTO checkoutctl_sessions", "UPDATE checkoutctl_sessions")
            ):
                self.lost = self._proxy.lose_reply_to(b"COMMIT")

        self._arguments = (self._store.database._engine, "after_cursor_execute", armed)
        event.listen(*self._arguments)
        return self

    def __exit__(self, *_: object) -> None:
        from sqlalchemy import event

        event.remove(*self._arguments)


@pytest.mark.fault("slow")
@pytest.mark.parametrize(
    "kind", ["replies delayed", "requests delayed", "nothing passes", "DEBUG SLEEP", "CLIENT PAUSE"]
)
def test_a_slow_redis_costs_one_budget_and_then_nothing(
    own_scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, kind: str
) -> None:
    with Proxy((HOST, own_scenario.redis.port)) as proxy:
        shop = make_shop(replace(own_scenario.settings, timeout=0.25))
        store = shop.process(replace(own_scenario.through(proxy), timeout=0.25))
        shop.create(store)
        client = own_scenario.redis.client(socket_timeout=None)
        if kind == "replies delayed":
            proxy.reply_delay = 1.5
        elif kind == "requests delayed":
            proxy.request_delay = 1.5
        elif kind == "nothing passes":
            proxy.black_hole()
        elif kind == "DEBUG SLEEP":
            client.connection_pool.get_connection().send_command("DEBUG", "SLEEP", "1")
        else:
            client.client_pause(1000)
        started = time.monotonic()
        assert shop.get(store).tier is TierName.DATABASE
        assert time.monotonic() - started < 0.5 + 0.25, "the first call took more than its budget"
        assert store.redis.breaker.is_open
        started = time.monotonic()
        for _ in range(5):
            assert shop.get(store).tier is TierName.DATABASE
            assert shop.update(store).published is False
        assert time.monotonic() - started < 0.25, "calls wait for Redis though it is known to be away"
        proxy.restore()
        clock.advance(6)
        with client:
            client.ping()
        proxy.cut()
        shop.get(store)
        assert trusted_again(shop, store)


@pytest.mark.fault("late write")
@pytest.mark.parametrize("evicted", [False, True])
def test_a_publish_that_arrives_late_is_never_trusted(
    own_scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock, background: Background, evicted: bool
) -> None:
    shop = make_shop(own_scenario.settings)
    late, newer = shop.process(), shop.process()
    shop.create(late)
    shop.get(newer)
    checkpoint = Checkpoint(late.redis, "publish")
    writing = background(shop.update, late)
    checkpoint.wait()
    if evicted:
        evict(newer, ID)
    own_scenario.redis.pause()
    checkpoint.release()
    assert outcome(writing).published is False
    assert shop.update(newer).published is False
    own_scenario.redis.resume()
    with own_scenario.redis.client(socket_timeout=5) as client:
        client.ping()
    for _ in range(4):
        clock.advance(1.01)
        for store in (late, newer):
            shop.get(store)
    assert trusted_again(shop, late)
    assert trusted_again(shop, newer)


@pytest.mark.fault("asymmetric partition")
def test_a_process_that_is_cut_off_from_redis_makes_no_other_one_read_old_versions_for_longer_than_t(
    scenario: Scenario, redis_proxy: Proxy, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    with Proxy((HOST, scenario.redis.port)) as second_proxy:
        shop = make_shop(scenario.settings)
        first, second = shop.process(scenario.through(redis_proxy)), shop.process(scenario.through(second_proxy))
        shop.create(first)
        shop.get(second)
        redis_proxy.refuse()
        assert shop.update(first).published is False
        assert shop.get(first).version == 2
        assert shop.get(second).version == 1, "the lease should still hold, or this proves nothing"
        clock.advance(1.01)
        assert shop.get(second).version == 2
        redis_proxy.restore()
        second_proxy.refuse()
        clock.advance(6)
        assert shop.update(second).published is False
        clock.advance(1.01)
        shop.update(first)
        shop.get(first)
        shop.get(second)


@pytest.mark.fault("OOM")
def test_a_redis_without_memory_refuses_writes_and_everything_goes_on(
    own_scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(own_scenario.settings)
    first, second = shop.process(), shop.process()
    shop.create(first)
    with own_scenario.redis.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        assert shop.update(first).published is False
        assert shop.create(first, "session-0002").published is False
        assert shop.get(first).version == 2
        clock.advance(1.01)
        assert shop.get(second).version == 2
        assert not first.redis.breaker.is_open, "it still reads"
        shop.delete(first, "session-0002", everywhere=False)
        client.config_set("maxmemory", 0)
    clock.advance(GRACE)
    shop.get(second)
    clock.advance(GRACE)
    shop.get(second)
    assert trusted_again(shop, second)


@pytest.mark.fault("eviction")
@pytest.mark.parametrize("lost", ["DEL", "FLUSHALL", "FLUSHALL and SCRIPT FLUSH"])
def test_what_redis_loses_is_filled_again(
    any_redis_server: ValkeyServer, sqlite_url: str, make_shop: Callable[..., Shop], lost: str
) -> None:
    shop = make_shop(settings_for(any_redis_server, sqlite_url))
    first, second = shop.process(), shop.process()
    shop.create(first)
    shop.update(second)
    with any_redis_server.client() as client:
        if lost == "DEL":
            evict(first, ID)
        else:
            client.flushall()
        if "SCRIPT" in lost:
            client.script_flush()
    assert shop.get(first).tier is TierName.DATABASE
    assert trusted_again(shop, first)
    evict(first, ID)
    assert shop.update(second).published is True
    assert trusted_again(shop, second)


@pytest.mark.fault("eviction")
@pytest.mark.parametrize("call", ["get", "update"])
def test_without_the_database_an_evicted_session_is_neither_invented_nor_acknowledged(
    scenario: Scenario, postgres: ProxiedPostgres, make_shop: Callable[..., Shop], clock: ManualClock, call: str
) -> None:
    shop = make_shop(replace(scenario.settings, database_url=postgres.url))
    store = shop.process(replace(shop.settings, database_url=postgres.proxied_url))
    shop.create(store)
    evict(store, ID)
    postgres.proxy.refuse()
    with pytest.raises(DatabaseUnavailable):
        getattr(shop, call)(store)
    postgres.proxy.restore()
    clock.advance(6)
    assert shop.update(store).session.version == 2


@pytest.mark.fault("eviction")
def test_under_memory_pressure_with_an_evicting_policy_no_acknowledged_write_is_lost(
    own_scenario: Scenario, make_shop: Callable[..., Shop]
) -> None:
    shop = make_shop(own_scenario.settings)
    store = shop.process()
    with own_scenario.redis.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 200_000)
        for number in range(60):
            shop.create(store, f"session-{number:04}")
            shop.update(store, f"session-{number:04}", {"notes": "x" * 8000})
        assert client.info("stats")["evicted_keys"] > 0
    for number in range(60):
        shop.get(store, f"session-{number:04}")


@pytest.mark.fault("READONLY")
def test_a_primary_that_becomes_a_replica_is_believed_nothing(
    valkey_server: Callable[..., ValkeyServer], sqlite_url: str, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    primary, another_primary = valkey_server(), valkey_server("--repl-diskless-sync-delay", "0")
    shop = make_shop(settings_for(primary, sqlite_url))
    first, second = shop.process(), shop.process()
    shop.create(first)
    shop.create(first, "session-0002")
    elsewhere = shop.process(settings_for(another_primary, sqlite_url))
    assert elsewhere.get(ID).version == 1  # a copy there, with the stamp of the other primary
    shop.update(first)
    with primary.client() as client:
        client.replicaof(HOST, another_primary.port)
        wait_until(lambda: client.info("replication")["master_link_status"] == "up")
        assert shop.update(first).published is False
        clock.advance(1.01)
        for store in (first, second):
            shop.get(store)
            shop.get(store, "session-0002")
        shop.delete(second, "session-0002", everywhere=False)
        client.replicaof("NO", "ONE")
    clock.advance(GRACE)
    for _ in range(3):
        clock.advance(1.01)
        for store in (first, second):
            shop.get(store)
            shop.gone(store, "session-0002")


@pytest.mark.fault("NOREPLICAS, BUSY, MISCONF, maxclients, LOADING")
def test_a_process_that_came_while_redis_was_busy_trusts_it_afterwards(
    valkey: ValkeyServer, sqlite_url: str, make_shop: Callable[..., Shop], clock: ManualClock, background: Background
) -> None:
    shop = make_shop(settings_for(valkey, sqlite_url))
    shop.create(shop.process())
    newcomer = shop.process()
    with busy_with_a_script(valkey, background):
        assert shop.get(newcomer).tier is TierName.DATABASE
    clock.advance(6)
    assert trusted_again(shop, newcomer)
