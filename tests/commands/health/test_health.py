"""What health says of each combination of tiers, and that a hung one costs one time-out."""

from __future__ import annotations

import dataclasses
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import event

from checkout_cli.clock import Clock
from checkout_cli.commands.cleanup.expired import clean_up
from checkout_cli.commands.health.health import GRACE, HealthCheck, HealthReport, Status
from checkout_cli.config.settings import Settings
from checkout_cli.errors import AccessDenied, ConfigurationError, DatabaseUnavailable, ExitCode
from checkout_cli.jobs.job_lock import CLEANUP
from checkout_cli.keys import heartbeat_key
from checkout_cli.servers.memory import Memory
from checkout_cli.session import PaymentStatus, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.external_writers import ExternalWrites
from checkout_cli.store.database.schema import locks
from checkout_cli.store.records import Totals
from checkout_cli.store.redis.server import RedisServer
from tests.support.divergence import locked, write_externally
from tests.support.liar import Liar, without_run_id
from tests.support.servers import ValkeyServer
from tests.support.stores import count_calls, without_redis

SLACK = 0.5
"""What a busy machine may add to a time-out."""

StartServer = Callable[..., ValkeyServer]


def looked(settings: Settings) -> HealthReport:
    return HealthCheck(lambda: settings).look()


def test_all_is_well_with_both_durable_tiers(store: CheckoutStore) -> None:
    paid = store.create({"totalAmount": 1}).session
    store.create({"totalAmount": 2})
    store.set_payment_status(paid.checkout_id, PaymentStatus.PAID)

    report = looked(store.settings)

    assert report.status is Status.HEALTHY
    assert report.exit_code is ExitCode.OK
    assert report.problems == ()
    assert report.redis.serving
    assert report.redis.latency is not None
    assert 0 < report.redis.latency < 1
    assert report.database.latency is not None
    assert report.redis.memory is not None
    assert report.redis.memory.used > 0
    assert report.sessions.count is not None
    assert report.sessions.count.number == 2
    assert report.sessions.totals == Totals(created=2, completed=1, failed=0)
    assert report.sessions.legacy_totals is None


def test_the_time_is_the_clocks(store: CheckoutStore) -> None:
    check = HealthCheck(lambda: store.settings, clock=Clock(wall=lambda: 1_705_314_600_000))
    assert check.look().timestamp == 1_705_314_600_000


def test_a_look_extends_no_session(store: CheckoutStore, valkey: ValkeyServer) -> None:
    session = store.create({}).session
    with valkey.client() as client:
        client.pexpire(f"checkout:session:{session.checkout_id}", 60_000)
        looked(store.settings)
        assert 0 < client.pttl(f"checkout:session:{session.checkout_id}") <= 60_000


def test_without_redis_it_is_degraded_and_counts_in_the_database(
    store: CheckoutStore, valkey_server: StartServer
) -> None:
    store.create({})
    server = valkey_server()
    server.kill()
    report = looked(dataclasses.replace(store.settings, redis_port=server.port))
    assert report.status is Status.DEGRADED
    assert report.exit_code is ExitCode.FINDING
    assert not report.redis.connected
    assert not report.redis.serving
    assert report.sessions.count is not None
    assert (report.sessions.count.number, report.sessions.count.tier) == (1, TierName.DATABASE)
    assert report.sessions.totals is not None


def test_without_a_database_it_is_degraded_and_says_why_there_are_no_totals(settings: Settings) -> None:
    report = looked(settings)
    assert report.status is Status.DEGRADED
    assert report.redis.serving
    assert [problem.hint for problem in report.problems] == ["checkoutctl setup"]
    assert report.sessions.count is not None
    assert report.sessions.count.tier is TierName.REDIS
    assert report.sessions.totals is None
    assert report.sessions.no_totals == "the database is away"


def test_a_database_that_takes_no_writes_degrades(store: CheckoutStore) -> None:
    """Reads succeed all the while, and each write has the durability of Redis alone."""
    with locked(store.settings):
        report = looked(dataclasses.replace(store.settings, database_timeout=0.1))
    assert (report.status, report.exit_code) == (Status.DEGRADED, ExitCode.FINDING)
    assert report.database.connected
    assert "locked" in str(report.database.problem)
    assert report.database.hint == "checkoutctl doctor"
    assert report.sessions.count is not None
    assert looked(store.settings).status is Status.HEALTHY
    assert store.database.number_of(locks) == 0


def test_a_read_only_database_degrades_too(store: CheckoutStore) -> None:
    engine = store.database._engine

    @event.listens_for(engine.pool, "checkout")
    def _limit(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA query_only=ON")

    with pytest.raises(DatabaseUnavailable):
        store.database.prove_write()


def test_without_redis_a_database_that_takes_no_writes_is_unhealthy(store: CheckoutStore) -> None:
    away = without_redis(dataclasses.replace(store.settings, database_timeout=0.1))
    with locked(store.settings):
        assert looked(away).status is Status.UNHEALTHY
    assert looked(away).status is Status.DEGRADED


def test_with_no_durable_tier_it_is_unhealthy(settings: Settings, valkey_server: StartServer) -> None:
    server = valkey_server()
    server.kill()
    report = looked(dataclasses.replace(settings, redis_port=server.port))
    assert report.status is Status.UNHEALTHY
    assert report.exit_code is ExitCode.UNAVAILABLE
    assert report.memory.connected
    assert report.sessions.count is None


@pytest.mark.parametrize("hung", ["redis", "resolver"])
def test_a_hung_redis_costs_one_time_out_in_all(
    store: CheckoutStore, valkey_server: StartServer, monkeypatch: pytest.MonkeyPatch, hung: str
) -> None:
    server = valkey_server()
    released = threading.Event()
    if hung == "redis":
        server.pause()
    else:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(30) and [])
    settings = dataclasses.replace(store.settings, redis_port=server.port, timeout=0.5, database_timeout=0.5)
    began = time.monotonic()
    report = looked(settings)
    elapsed = time.monotonic() - began
    released.set()
    assert elapsed < 0.5 + GRACE + SLACK
    assert report.status is Status.DEGRADED
    assert "did not answer" in str(report.redis.problem)


def test_a_wrong_password_is_named_and_degrades(store: CheckoutStore, valkey_server: StartServer) -> None:
    server = valkey_server("--requirepass", "secret")
    settings = dataclasses.replace(store.settings, redis_port=server.port, redis_password="canary")
    report = looked(settings)
    assert report.status is Status.DEGRADED
    assert isinstance(report.redis.problem, AccessDenied)
    assert "canary" not in str(report.redis.problem)
    assert looked(dataclasses.replace(settings, redis_password="secret")).status is Status.HEALTHY


def test_a_wrong_setting_is_part_of_the_answer() -> None:
    def load() -> Settings:
        raise ConfigurationError("REDIS_PORT is wrong", "REDIS_DB is wrong")

    report = HealthCheck(load).look()
    assert report.exit_code is ExitCode.CONFIGURATION
    assert report.status is Status.UNHEALTHY
    assert report.configuration is not None
    assert report.configuration.problems == ("REDIS_PORT is wrong", "REDIS_DB is wrong")


def test_a_database_url_that_names_a_directory_is_part_of_the_answer(settings: Settings, tmp_path: Path) -> None:
    report = looked(dataclasses.replace(settings, database_url=f"sqlite:///{tmp_path}"))
    assert report.exit_code is ExitCode.CONFIGURATION
    assert "directory" in str(report.configuration)


def test_sessions_switched_off_in_redis_are_no_degradation(store: CheckoutStore) -> None:
    report = looked(dataclasses.replace(store.settings, enable_checkout_sessions=False))
    assert report.status is Status.HEALTHY
    assert report.redis.connected
    assert not report.redis.serving
    assert report.sessions.count is not None
    assert report.sessions.count.tier is TierName.DATABASE


def test_sessions_switched_off_in_redis_without_a_database_are_unhealthy(settings: Settings) -> None:
    report = looked(dataclasses.replace(settings, enable_checkout_sessions=False))
    assert report.redis.connected
    assert report.status is Status.UNHEALTHY


def test_statistics_switched_off_say_so(store: CheckoutStore) -> None:
    report = looked(dataclasses.replace(store.settings, enable_statistics=False))
    assert report.status is Status.HEALTHY
    assert report.sessions.totals is None
    assert report.sessions.no_totals == "REDIS_ENABLE_STATISTICS is false"


def test_the_counters_of_older_programs_are_shown_beside_ours(store: CheckoutStore, valkey: ValkeyServer) -> None:
    with valkey.client() as client:
        client.hset("checkout:stats", mapping={"totalCreated": 7, "lastCleanup": "never"})
    assert looked(store.settings).sessions.legacy_totals == {"totalCreated": 7}


def test_the_last_cleanup_is_told_and_costs_no_round_trip(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert looked(store.settings).redis.cleanup is None
    clean_up(store)
    sent = count_calls(RedisServer, "send", monkeypatch)
    report = looked(store.settings)
    assert report.redis.cleanup is not None
    assert report.redis.cleanup.finished
    name = heartbeat_key(CLEANUP)
    asked = [exchange for exchange in sent if any(name in command for command in exchange[1])]
    assert [len(exchange[1]) for exchange in asked] == [4]  # with the sections of INFO


@pytest.mark.parametrize("value", [b"", b"null", b'"never"', b'{"finishedAt":1}', b"\xff", b'{"x":' + b"[" * 100_000])
def test_a_heartbeat_that_another_program_wrote_is_none(
    store: CheckoutStore, valkey: ValkeyServer, value: bytes
) -> None:
    with valkey.client() as client:
        client.set(heartbeat_key(CLEANUP), value)
    report = looked(store.settings)
    assert (report.status, report.redis.cleanup) == (Status.HEALTHY, None)


@pytest.mark.parametrize("rule", ["-get", "resetkeys %R~checkout:session:* %R~checkout:index %R~checkout:pending"])
def test_where_the_heartbeat_may_not_be_read_the_rest_is_there(
    store: CheckoutStore, valkey_server: StartServer, rule: str
) -> None:
    server = valkey_server()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "shy", "on", ">secret", "~*", "+@all", *rule.split())
    report = looked(
        dataclasses.replace(store.settings, redis_port=server.port, redis_username="shy", redis_password="secret")
    )
    # Who may read a session, and write none, only looks; who may not GET at all is a shop that lacks something.
    expected = (Status.DEGRADED, "GET") if rule == "-get" else (Status.HEALTHY, None)
    lacking = report.redis.lacks[0].command if report.redis.lacks else None
    assert (report.status, lacking, report.redis.cleanup) == (*expected, None)
    assert report.redis.memory is not None
    assert report.sessions.count is not None


def test_external_writes_are_counted_where_the_database_answers(store: CheckoutStore) -> None:
    assert looked(store.settings).external == ExternalWrites()
    store.create({}, checkout_id="session-0001")
    write_externally(store, "session-0001", paymentStatus="paid")
    assert looked(store.settings).external == ExternalWrites()  # a look takes nothing in
    store.get("session-0001")
    external = looked(store.settings).external
    assert external is not None
    assert (external.taken_in, external.conflicts) == (1, 0)
    assert abs(external.seen_at - store.clock.wall()) < 60_000
    nowhere = dataclasses.replace(store.settings, database_url="postgresql://nobody@127.0.0.1:1/none")
    assert looked(nowhere).external is None


def test_a_wrong_type_at_the_index_is_no_crash(store: CheckoutStore, valkey: ValkeyServer) -> None:
    with valkey.client() as client:
        client.set("checkout:index", "text")
    assert looked(store.settings).status is Status.HEALTHY


def test_without_info_memory_is_unknown_and_the_rest_is_there(store: CheckoutStore, valkey_server: StartServer) -> None:
    server = valkey_server()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "noinfo", "on", ">secret", "~*", "+@all", "-info")
    report = looked(
        dataclasses.replace(store.settings, redis_port=server.port, redis_username="noinfo", redis_password="secret")
    )
    assert (report.status, report.redis.serving) == (Status.DEGRADED, False)
    assert "the database answers every read" in str(report.redis.problem)
    assert report.redis.memory is None


def test_a_server_without_an_identity_is_of_no_use(store: CheckoutStore, valkey: ValkeyServer) -> None:
    with Liar(valkey.port) as liar:
        settings = dataclasses.replace(store.settings, redis_port=liar.port)
        assert looked(settings).status is Status.HEALTHY
        liar.lies["INFO"] = without_run_id
        report = looked(settings)
    assert (report.status, report.redis.hint) == (Status.DEGRADED, "checkoutctl doctor --only requirements")


def test_a_replica_answers_and_does_not_serve(store: CheckoutStore, valkey_server: StartServer) -> None:
    server = valkey_server()
    with server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
    report = looked(dataclasses.replace(store.settings, redis_port=server.port))
    assert report.redis.connected
    assert not report.redis.serving
    assert report.status is Status.DEGRADED
    assert "replica" in str(report.redis.problem)


def test_a_full_redis_that_may_not_evict_does_not_serve(store: CheckoutStore, valkey_server: StartServer) -> None:
    server = valkey_server("--maxmemory", "1", "--maxmemory-policy", "noeviction")
    report = looked(dataclasses.replace(store.settings, redis_port=server.port))
    assert report.redis.connected
    assert not report.redis.serving
    assert report.status is Status.DEGRADED
    assert "full" in str(report.redis.problem)


@pytest.mark.parametrize(("policy", "evicts"), [("noeviction", False), ("allkeys-lru", True), ("volatile-ttl", True)])
def test_every_policy_but_noeviction_throws_sessions_away(policy: str, evicts: bool) -> None:
    assert Memory("here", used=10, limit=10, policy=policy).evicts_sessions is evicts
    assert Memory("here", used=10, limit=10, policy=policy).refuses_writes is not evicts


def test_watching_looks_again_until_stopped_and_sees_what_changed(store: CheckoutStore) -> None:
    waits: list[float] = []
    reports = HealthCheck(lambda: store.settings).watch(1.5, sleep=waits.append)
    first = next(reports)
    store.create({})
    second = next(reports)
    assert waits == [1.5]
    assert first.sessions.count is not None
    assert second.sessions.count is not None
    assert second.sessions.count.number == first.sessions.count.number + 1


def test_watching_a_wrong_configuration_ends_after_one_look() -> None:
    def load() -> Settings:
        raise ConfigurationError("REDIS_PORT is wrong")

    assert len(list(HealthCheck(load).watch(0.5, sleep=lambda _: None))) == 1


def test_a_server_that_comes_back_is_seen_at_the_next_look(store: CheckoutStore, valkey_server: StartServer) -> None:
    server = valkey_server()
    server.kill()
    settings = dataclasses.replace(store.settings, redis_port=server.port)
    reports = HealthCheck(lambda: settings).watch(0.5, sleep=lambda _: server.start())
    assert next(reports).status is Status.DEGRADED
    assert next(reports).status is Status.HEALTHY
