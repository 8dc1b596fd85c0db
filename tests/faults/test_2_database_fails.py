"""The database is locked, killed, cut, full or down, alone or together with Redis."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import DatabaseUnavailable, DurabilityUnavailable
from checkout_cli.session import Durability, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.flushing import Result
from checkout_cli.store.protocol.value import decode, encode
from tests.faults.conftest import Scenario
from tests.faults.harness import ID, Background, Checkpoint, Shop, outcome, trusted_again, value_in_redis
from tests.support.command import Checkoutctl
from tests.support.proxy import ProxiedPostgres, Proxy, proxied
from tests.support.servers import PostgresServer
from tests.support.stores import ManualClock, make_tables, put_raw, raw, wait_until, without_redis


class Database:
    """A database that a test takes away and gives back; a SQLite file can still be read then, and not be written."""

    def __init__(self, postgres: ProxiedPostgres | None, sqlite_url: str) -> None:
        self.postgres_server = postgres
        self._path = Path(sqlite_url.removeprefix("sqlite:///"))
        self.url = postgres.proxied_url if postgres else sqlite_url

    def away(self) -> None:
        if self.postgres_server:
            self.postgres_server.proxy.refuse()
        else:
            self._lock = sqlite3.connect(self._path, isolation_level=None)
            self._lock.execute("BEGIN IMMEDIATE")

    def back(self) -> None:
        if self.postgres_server:
            self.postgres_server.proxy.restore()
        else:
            self._lock.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, sqlite_url: str) -> Database:
    postgres = request.getfixturevalue("postgres") if request.param == "postgres" else None
    return Database(postgres, sqlite_url)


@pytest.fixture
def shop(scenario: Scenario, database: Database, make_shop: Callable[..., Shop]) -> Shop:
    return make_shop(replace(scenario.settings, database_url=database.url, database_timeout=0.3))


# Locked


@pytest.mark.fault("database locked")
def test_a_locked_sqlite_is_waited_for_only_so_long_and_nothing_is_acknowledged_falsely(
    scenario: Scenario, make_shop: Callable[..., Shop], sqlite_url: str, clock: ManualClock
) -> None:
    shop = make_shop(replace(scenario.settings, database_timeout=0.2))
    store = shop.process()
    shop.create(store)
    with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DurabilityUnavailable):
            shop.update(store, require=Durability.DATABASE)
        with pytest.raises(DatabaseUnavailable):
            shop.delete(store)
        clock.advance(6)
        assert shop.update(store).durability is Durability.REDIS, "a falsely durable acknowledgement"
    clock.advance(6)
    assert shop.get(store).version == 2
    assert shop.update(store).durability is Durability.DATABASE


@pytest.mark.fault("database locked")
def test_a_locked_postgresql_table_is_waited_for_only_so_long(
    scenario: Scenario, postgres_url: str, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    import psycopg

    shop = make_shop(replace(scenario.settings, database_url=postgres_url, database_timeout=0.2))
    store = shop.process()
    shop.create(store)
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE checkoutctl_sessions IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        with pytest.raises(DurabilityUnavailable):
            shop.update(store, require=Durability.DATABASE)
        assert time.monotonic() - started < 1.5
        assert shop.get(store).verified is False
        other.rollback()
    clock.advance(6)
    assert shop.update(store).durability is Durability.DATABASE


@pytest.mark.fault("database locked")
def test_a_postgresql_that_swallows_everything_costs_a_time_out_and_then_nothing(
    scenario: Scenario, postgres: ProxiedPostgres, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(replace(scenario.settings, database_url=postgres.url, database_timeout=0.3))
    store = shop.process(replace(shop.settings, database_url=postgres.proxied_url))
    shop.create(store)
    clock.advance(1.01)
    postgres.proxy.black_hole()
    started = time.monotonic()
    assert shop.get(store).verified is False
    assert time.monotonic() - started < 1.5
    started = time.monotonic()
    for _ in range(5):
        assert shop.get(store).verified is False
    assert time.monotonic() - started < 0.3, "reads wait for a database that is known to be away"
    postgres.proxy.cut()
    postgres.proxy.restore()
    clock.advance(6)
    assert shop.update(store).durability is Durability.DATABASE


# Killed in the middle of a commit


@pytest.mark.fault("database killed mid-commit")
@pytest.mark.parametrize("moment", ["before the commit arrives", "after the commit"])
def test_a_postgresql_that_is_killed_in_a_commit_leaves_one_effect_or_none(
    scenario: Scenario, own_postgres: PostgresServer, make_shop: Callable[..., Shop], moment: str, clock: ManualClock
) -> None:
    import psycopg
    from sqlalchemy import event

    url = own_postgres.create_database()
    with proxied(url) as through, contextlib.closing(psycopg.connect(url, autocommit=True)) as witness:
        shop = make_shop(replace(scenario.settings, database_url=url))
        store = shop.process(replace(scenario.settings, database_url=through.proxied_url))
        shop.create(store)
        victims: list[int] = []

        def kill(connection: object) -> None:
            if victims:
                return
            victims.append(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar())  # type: ignore[attr-defined]
            if moment == "before the commit arrives":
                os.kill(victims[0], signal.SIGKILL)  # the whole server goes down and recovers from its log
            else:
                through.proxy.lose_reply_to(b"COMMIT")

        event.listen(store.database._engine, "commit", kill)
        done = shop.update(store)
        if moment == "before the commit arrives":
            assert done.durability is Durability.REDIS, "nobody could know, so nobody may say so"
        else:
            assert done.durability is Durability.DATABASE
            _crash(url)
        wait_until(lambda: _is_dead(witness), 20)  # from here on nobody is let in before it has recovered
        wait_until(lambda: _answers(store, clock), 20)
        assert set(done.session.fields) >= {"mark1", "mark2"}
        assert {"mark1", "mark2"} <= set(shop.get(store).fields)
        assert shop.get(store).version == 2
        assert store.flush_log.conflict_count() == 0
        shop.check()


def _crash(url: str) -> None:
    """Kill one process of a PostgreSQL: all the others go down with it, and it recovers from its log."""
    import psycopg

    with contextlib.closing(psycopg.connect(url)) as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")


def _is_dead(witness: Any) -> bool:
    """Whether this connection's process was taken down with the others."""
    import psycopg

    try:
        witness.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def _answers(store: CheckoutStore, clock: ManualClock) -> bool:
    clock.advance(6)
    try:
        store.database.ping()
    except DatabaseUnavailable:
        return False
    return True


@pytest.mark.fault("database killed mid-commit")
def test_a_commit_whose_fate_nobody_can_tell_is_applied_once(
    scenario: Scenario, postgres: ProxiedPostgres, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(replace(scenario.settings, database_url=postgres.url, database_timeout=0.3))
    store = shop.process(replace(shop.settings, database_url=postgres.proxied_url))
    shop.create(store)
    from sqlalchemy import event

    def gone(_connection: object) -> None:
        if not hasattr(gone, "lost"):
            gone.lost = postgres.proxy.lose_reply_to(b"COMMIT")  # type: ignore[attr-defined]

    event.listen(store.database._engine, "commit", gone)
    checkpoint = Checkpoint(store.database, "_has_write")
    with Background() as background:
        writing = background(shop.update, store)
        checkpoint.wait()
        postgres.proxy.refuse()
        checkpoint.release()
        done = outcome(writing)
    assert done.durability is Durability.REDIS, "committed, and nobody knows"
    assert store.flusher.pending.count() == 1
    postgres.proxy.restore()
    clock.advance(6)
    read = shop.get(store)
    assert {"mark1", "mark2"} <= set(read.fields)
    assert store.flush_log.conflict_count() == 0, "a write conflicts with itself"
    assert store.flusher.pending.count() == 0


# Down


@pytest.mark.fault("database or both down")
def test_without_the_database_redis_alone_acknowledges_and_two_racing_flushers_apply_it_once(
    shop: Shop, database: Database, clock: ManualClock, background: Background
) -> None:
    writer, first, second = shop.process(), shop.process(), shop.process()
    shop.create(writer)
    database.away()
    done = [shop.update(writer), shop.update(writer), shop.create(writer, "session-0002")]
    assert [each.session.version for each in done] == [2, 3, 1]
    unverified = shop.get(writer)
    assert {"mark1", "mark2", "mark3"} <= set(unverified.fields), "its own writes are not there"
    still_read = database.postgres_server is None  # where others wait to write, reads go on: the lease holds
    assert (unverified.verified, unverified.version, unverified.dirty) == (still_read, 3, 2)
    assert {each.durability for each in done} == {Durability.REDIS}
    assert writer.flusher.pending.count() == 2
    with pytest.raises(DurabilityUnavailable):
        shop.update(writer, require=Durability.DATABASE)
    with pytest.raises(DatabaseUnavailable):
        shop.delete(writer)
    database.back()
    clock.advance(6)
    checkpoints = [Checkpoint(store.flush_log, "apply") for store in (first, second)]
    reading = [background(shop.get, store) for store in (first, second)]
    for checkpoint in checkpoints:
        checkpoint.wait()
    for checkpoint in checkpoints:
        checkpoint.release()
    reads = [outcome(future) for future in reading]
    assert [read.version for read in reads] == [3, 3], "a flush keeps the version that the writer was told"
    assert all({"mark1", "mark2", "mark3"} <= set(read.fields) for read in reads)
    for store in (writer, first, second):
        clock.advance(6)
        assert shop.get(store, "session-0002").version == 1
    assert first.flusher.pending.count() == 0
    assert first.flush_log.conflict_count() == 0
    assert first.database.totals().created == 2


@pytest.mark.fault("database or both down")
def test_with_both_down_memory_says_so_and_hands_over_once(
    scenario: Scenario,
    postgres: ProxiedPostgres,
    redis_proxy: Proxy,
    make_shop: Callable[..., Shop],
    clock: ManualClock,
) -> None:
    shop = make_shop(replace(scenario.settings, database_url=postgres.url, database_timeout=0.3))
    settings = replace(scenario.through(redis_proxy), database_url=postgres.proxied_url, database_timeout=0.3)
    store, other = shop.process(settings), shop.process()
    redis_proxy.refuse()
    postgres.proxy.refuse()
    done = shop.create(store)
    assert (done.durability, done.session.tier) == (Durability.MEMORY, TierName.MEMORY)
    assert shop.update(store).durability is Durability.MEMORY
    assert store.get(ID).tier is TierName.MEMORY
    with pytest.raises(DurabilityUnavailable):
        shop.update(store, require=Durability.REDIS)
    redis_proxy.restore()
    postgres.proxy.restore()
    clock.advance(6)
    read = shop.get(store)
    assert {"mark1", "mark2"} <= set(read.fields)
    assert (read.version, len(store.memory)) == (2, 0)
    assert {"mark1", "mark2"} <= set(shop.get(other).fields)
    assert other.database.totals().created == 1


@pytest.mark.fault("database or both down")
def test_the_command_refuses_to_write_to_memory_alone(
    checkoutctl: Checkoutctl, settings: Settings, tmp_path: Path
) -> None:
    with CheckoutStore.open(settings) as store:
        make_tables(store.database)
        store.create({}, checkout_id=ID)
    away = {"REDIS_PORT": str(without_redis(settings).redis_port)}
    with contextlib.closing(sqlite3.connect(tmp_path / "checkout.db", isolation_level=None)) as lock:
        lock.execute("PRAGMA locking_mode=EXCLUSIVE")
        lock.execute("BEGIN EXCLUSIVE")
        done = checkoutctl("sessions", "update", ID, "--set", "notes=x", "--timeout", "0.3", env=away)
        assert done.returncode == 75, done.stderr
        assert done.stdout == ""
        done = checkoutctl("sessions", "delete", ID, "--yes", "--timeout", "0.3", env=away)
        assert done.returncode == 75, done.stderr


@pytest.mark.fault("database or both down")
def test_a_crash_between_a_flush_and_its_publish_flushes_nothing_twice(
    shop: Shop, database: Database, clock: ManualClock
) -> None:
    writer, crashing, other = shop.process(), shop.process(), shop.process()
    shop.create(writer)
    database.away()
    shop.update(writer)
    database.back()
    clock.advance(6)
    value = raw(writer, ID)
    assert value is not None
    assert crashing.flusher.flush(ID, value_in_redis(writer)).result is Result.APPLIED
    assert raw(writer, ID) == value, "it was published after all"
    other.update(ID, {"later": 1})
    read = shop.get(other)
    assert (read.version, read.fields["later"]) == (3, 1)
    dirty = decode(value)
    put_raw(writer, ID, encode(dirty.base, b"an-earlier:run", dirty.body, dirty.ids))  # as a snapshot would revive it
    assert shop.get(other).version == 3
    assert shop.get(writer).fields["later"] == 1
    assert other.flush_log.conflict_count() == 0


@pytest.mark.fault("database or both down")
def test_durability_redis_by_choice_reaches_the_database_exactly_once(
    scenario: Scenario, any_database_url: str, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    shop = make_shop(replace(scenario.settings, database_url=any_database_url, durability="redis"))
    first, second = shop.process(), shop.process()
    assert shop.create(first).durability is Durability.REDIS
    shop.update(first)
    assert shop.update(first, require=Durability.DATABASE).durability is Durability.DATABASE
    read = shop.get(second)
    assert {"mark1", "mark2", "mark3"} <= set(read.fields)
    assert read.version == 3
    assert first.flush_log.conflict_count() == 0
    assert first.flusher.pending.count() == 0
    assert first.database.totals().created == 1


# Full


@pytest.mark.fault("disk full")
def test_a_full_disk_is_no_acknowledgement(
    scenario: Scenario, make_shop: Callable[..., Shop], clock: ManualClock
) -> None:
    from sqlalchemy import event

    shop = make_shop(scenario.settings)
    store = shop.process()
    shop.create(store)

    @event.listens_for(store.database._engine, "connect")
    def _limit(connection: sqlite3.Connection, _: object) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")

    store.database._engine.dispose()

    def fill() -> None:
        for number in range(20):
            shop.update(store, fields={f"field{number}": "x" * 20_000}, require=Durability.DATABASE)

    with pytest.raises(DurabilityUnavailable) as refused:
        fill()
    assert "full" in str(refused.value.__context__)
    clock.advance(6)
    with pytest.raises((DatabaseUnavailable, DurabilityUnavailable)):
        shop.create(store, "session-0002", fields={"notes": "x" * 20_000}, require=Durability.DATABASE)
    assert trusted_again(shop, shop.process())


@pytest.mark.fault("disk full")
def test_a_file_that_may_not_grow_is_no_acknowledgement(checkoutctl: Checkoutctl, settings: Settings) -> None:
    with CheckoutStore.open(settings) as store:
        make_tables(store.database)
        store.create({}, checkout_id=ID)
    import resource
    import subprocess

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    notes = "x" * 30_000
    done = subprocess.run(
        checkoutctl.command("sessions", "update", ID, "--set", f"notes={notes}"),
        env=checkoutctl.environment
        | {"REDIS_PORT": str(without_redis(settings).redis_port), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode in {69, 75}, (done.returncode, done.stderr)
    assert done.stdout == ""
    with CheckoutStore.open(settings) as store:
        assert "notes" not in store.get(ID).fields
