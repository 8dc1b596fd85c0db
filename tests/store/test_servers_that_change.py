"""Servers that change while a process runs: another password, another server by the same name, no right to write."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from checkout_cli.config.settings import Settings
from checkout_cli.errors import AccessDenied, DatabaseDenied, DatabaseUnavailable, RedisRefusing
from checkout_cli.servers.embedded import HOST
from checkout_cli.session import Durability, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.admin import DatabaseAdmin
from checkout_cli.store.records import Record
from checkout_cli.store.redis.server import RedisServer
from tests.support.proxy import Proxy, proxied
from tests.support.servers import PostgresServer, ValkeyServer
from tests.support.stores import ID, ManualClock, make_store, make_tables

FIRST, SECOND = "first-password", "second-password"


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# Another password


@pytest.fixture
def guarded(valkey_server: Callable[..., ValkeyServer], settings: Settings) -> tuple[ValkeyServer, Settings]:
    server = valkey_server("--requirepass", FIRST)
    return server, replace(settings, redis_port=server.port, redis_password=FIRST)


def change_password(server: ValkeyServer, old: str, new: str) -> None:
    """As an administrator does who lets nobody in by the old one: connections that are open are closed."""
    with server.client(password=old) as client:
        client.config_set("requirepass", new)
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def test_a_wrong_password_is_an_error_at_the_first_contact(guarded: tuple[ValkeyServer, Settings]) -> None:
    _, settings = guarded
    with closing(make_store(replace(settings, redis_password=SECOND), ManualClock())) as store:
        make_tables(store.database)
        with pytest.raises(AccessDenied):
            store.get(ID)


def test_when_redis_gets_another_password_the_database_serves_and_an_error_says_so_once(
    guarded: tuple[ValkeyServer, Settings], caplog: pytest.LogCaptureFixture
) -> None:
    server, settings = guarded
    clock = ManualClock()
    with closing(make_store(settings, clock)) as store:
        make_tables(store.database)
        store.create({}, checkout_id=ID)
        change_password(server, FIRST, SECOND)
        for _ in range(3):
            assert store.get(ID).tier is TierName.DATABASE
            assert store.update(ID, {"notes": "x"}).durability is Durability.DATABASE
            clock.advance(6)
        (told,) = errors(caplog)
        assert "checkoutctl config set REDIS_PASSWORD" in told
        change_password(server, SECOND, FIRST)
        clock.advance(6)
        assert store.update(ID, {"notes": "y"}).published
        change_password(server, FIRST, SECOND)
        store.get(ID)
        assert len(errors(caplog)) == 2


def test_connections_that_redis_leaves_open_go_on_serving(guarded: tuple[ValkeyServer, Settings]) -> None:
    server, settings = guarded
    with closing(make_store(settings, ManualClock())) as store:
        make_tables(store.database)
        store.create({}, checkout_id=ID)
        with server.client(password=FIRST) as client:
            client.config_set("requirepass", SECOND)
        assert store.get(ID).tier is TierName.REDIS


@contextmanager
def password_wanted(server: PostgresServer) -> Iterator[None]:
    """Of the role shop; the proxy connects over the server's Unix socket."""
    path = server.directory / "pg_hba.conf"
    before = path.read_text()
    path.write_text("local all shop scram-sha-256\n" + before)
    server.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        path.write_text(before)
        server.execute("SELECT pg_reload_conf()")


@pytest.fixture
def guarded_postgres(postgres_server: PostgresServer, postgres_url: str) -> Iterator[tuple[str, Proxy]]:
    """The URL of a database by a role with a password."""
    postgres_server.execute(f"CREATE ROLE shop LOGIN SUPERUSER PASSWORD '{FIRST}'")
    with proxied(postgres_url) as through, password_wanted(postgres_server):
        url = through.proxied_url.replace("//postgres@", f"//shop:{FIRST}@")
        yield url, through.proxy
    postgres_server.execute("DROP OWNED BY shop CASCADE", database=postgres_url)
    postgres_server.execute("DROP ROLE shop")


def test_a_wrong_password_of_postgresql_is_an_error_at_the_first_contact(guarded_postgres: tuple[str, Proxy]) -> None:
    url, _ = guarded_postgres
    with closing(DatabaseAdmin(Settings(database_url=url.replace(FIRST, SECOND)))) as database:
        for _ in range(2):
            with pytest.raises(DatabaseDenied, match="refuses the user or password"):
                database.ping()


def test_when_postgresql_gets_another_password_redis_serves_and_an_error_says_so_once(
    guarded_postgres: tuple[str, Proxy],
    postgres_server: PostgresServer,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url, proxy = guarded_postgres
    clock = ManualClock()
    with closing(make_store(replace(settings, database_url=url), clock)) as store:
        make_tables(store.database)
        store.create({}, checkout_id=ID)
        postgres_server.execute(f"ALTER ROLE shop PASSWORD '{SECOND}'")
        assert store.update(ID, {"notes": "a"}).durability is Durability.DATABASE, "the open connection serves"
        proxy.cut()
        for _ in range(3):
            clock.advance(6)
            assert store.get(ID).verified is False
            assert store.update(ID, {"notes": "b"}).durability is Durability.REDIS
        (told,) = errors(caplog)
        assert "check DATABASE_URL" in told
        assert FIRST not in caplog.text
        postgres_server.execute(f"ALTER ROLE shop PASSWORD '{FIRST}'")
        clock.advance(6)
        assert store.update(ID, {"notes": "c"}).durability is Durability.DATABASE


# Another server behind the same name


def replicate(replica: ValkeyServer, primary: ValkeyServer) -> None:
    with replica.client(socket_timeout=5) as client:
        client.replicaof(HOST, str(primary.port))


@pytest.fixture
def moved(
    valkey_server: Callable[..., ValkeyServer], settings: Settings
) -> Iterator[tuple[Proxy, Callable[[], None], Settings]]:
    """An address, what makes it lead to another server while the first becomes its replica, and settings for it."""
    first, second = valkey_server(), valkey_server()
    with Proxy((HOST, first.port)) as proxy:

        def fail_over() -> None:
            replicate(first, second)
            proxy.lead_to((HOST, second.port))

        yield proxy, fail_over, replace(settings, redis_port=proxy.port)


def test_a_name_that_leads_to_another_server_now_is_followed(
    moved: tuple[Proxy, Callable[[], None], Settings],
) -> None:
    _, fail_over, settings = moved
    with closing(make_store(settings, ManualClock())) as store:
        make_tables(store.database)
        store.create({}, checkout_id=ID)
        fail_over()
        assert store.update(ID, {"notes": "x"}).published, "it still writes to the old primary"
        assert store.get(ID).tier is TierName.REDIS


def test_a_connection_that_was_in_use_meanwhile_is_refused_once_and_never_used_again(
    moved: tuple[Proxy, Callable[[], None], Settings],
) -> None:
    _, fail_over, settings = moved
    server = RedisServer(settings, elapsed=lambda: 100.0, jitter=random.random)  # no time passes for another look
    with closing(server):
        with server.conversation():
            server.ask(("PING",))  # over another one
            fail_over()
            assert server.ask(("SET", "key", "value")) == b"OK"
        with pytest.raises(RedisRefusing):
            server.ask(("SET", "key", "value"))
        assert server.ask(("SET", "key", "value")) == b"OK"


def test_where_nobody_was_promoted_a_write_is_refused_once_and_not_looked_for_again_at_once(
    valkey_server: Callable[..., ValkeyServer], settings: Settings
) -> None:
    primary, replica = valkey_server(), valkey_server()
    replicate(replica, primary)
    seconds = [100.0]
    with Proxy((HOST, replica.port)) as proxy:
        settings = replace(settings, redis_port=proxy.port)
        server = RedisServer(settings, elapsed=lambda: seconds[0], jitter=random.random)
        with closing(server):
            for _ in range(5):
                with pytest.raises(RedisRefusing, match="READONLY"):
                    server.ask(("SET", "key", "value"))
            assert proxy.accepted == 2
            seconds[0] += 1
            with pytest.raises(RedisRefusing):
                server.ask(("SET", "key", "value"))
            assert proxy.accepted == 3


def test_a_postgresql_that_became_a_standby_is_left_for_who_has_its_address_now(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    with closing(DatabaseAdmin(Settings(database_url=postgres_url))) as database:
        database.create_schema()
        postgres_server.execute("SET default_transaction_read_only = off", database=postgres_url)
        with database.transaction() as connection:
            connection.execute(sqlalchemy.text("SET default_transaction_read_only = on"))  # as a standby answers
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            database.insert(Record(ID, 1, b"{}", 1, 10**15), now=1, write_id="w")
        database.breaker.succeeded()
        assert database.insert(Record(ID, 1, b"{}", 1, 10**15), now=1, write_id="w")


# No right to write


def test_notes_that_may_not_be_written_fail_no_read_and_a_warning_says_so_once(
    postgres_role: str, postgres_url: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    import psycopg

    clock = ManualClock()
    with closing(make_store(replace(settings, database_url=postgres_url), clock)) as owner:
        make_tables(owner.database)
        owner.create({}, checkout_id=ID)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop")
    with closing(make_store(replace(settings, database_url=postgres_role), clock)) as reader:
        for _ in range(3):
            clock.advance(400)
            assert reader.get(ID).verified
    told = [record for record in caplog.records if "notes cannot be written" in record.getMessage()]
    assert len(told) == 1


def test_in_a_long_outage_only_the_newest_notes_are_kept(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("checkout_cli.store.notes.MOST_NOTES", 3)
    with closing(make_store(settings, ManualClock())) as store:  # without tables
        for number in range(5):
            store.notes.expiry(f"session-{number}", 10**15, at_once=True)
        assert list(store.notes._touched) == ["session-2", "session-3", "session-4"]


# Closing, and processes that are forked


@pytest.mark.parametrize("broken", ["notes", "bookkeeping", "redis", "database"])
def test_closing_closes_everything_whatever_of_it_fails(
    broken: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CheckoutStore.open(settings)
    make_tables(store.database)
    parts = {"notes": "write_down", "bookkeeping": "flush", "redis": "close", "database": "close"}
    done: list[str] = []

    def ending(part: str) -> Callable[[], None]:
        def end() -> None:
            done.append(part)
            if part == broken:
                raise RuntimeError(part)

        return end

    originals: list[Callable[[], Any]] = [getattr(getattr(store, part), name) for part, name in parts.items()]
    for part, name in parts.items():
        monkeypatch.setattr(getattr(store, part), name, ending(part))
    with pytest.raises(RuntimeError, match=broken):
        store.close()
    assert done == list(parts)
    for original in originals:
        original()


def in_a_child(work: Callable[[], object]) -> int:
    """The exit code of a forked process: 0 where it did its work."""
    process = os.fork()
    if not process:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)  # nothing of the test's own is to end with it
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_forked_process_serves_and_closes_and_its_parent_goes_on(
    kind: str, settings: Settings, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if kind == "postgres":
        settings = replace(settings, database_url=request.getfixturevalue("postgres_url"))
    with closing(make_store(settings, ManualClock())) as store:
        make_tables(store.database)
        store.create({}, checkout_id=ID)
        (used,) = {backend(store)} if kind == "postgres" else {0}

        def serve() -> None:
            assert store.update(ID, {"notes": "child"}).durability is Durability.DATABASE
            assert kind == "sqlite" or backend(store) != used
            store.close()

        assert in_a_child(serve) == 0
        assert in_a_child(store.close) == 0
        assert store.update(ID, {"more": "parent"}).session.fields["notes"] == "child"
        assert kind == "sqlite" or backend(store) == used, "the child closed its parent's connection"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_what_the_parent_has_counted_its_children_do_not_send(settings: Settings) -> None:
    with closing(make_store(settings, ManualClock())) as store:
        make_tables(store.database)
        store.create({}, checkout_id=ID)
        store.bookkeeping.flush()
        store.update(ID, {"notes": "x"})
        assert store.bookkeeping._minutes, "nothing waits to be sent"
        assert in_a_child(store.close) == 0
        store.bookkeeping.flush()
        minute = store.clock.wall() // 60_000
        counted = dict(zip(*[iter(store.redis.ask(("HGETALL", f"stats:minute:{minute}")))] * 2, strict=True))
        assert counted[b"updated"] == b"1"


def backend(store: CheckoutStore) -> int:
    with store.database.transaction() as connection:
        return int(connection.execute(sqlalchemy.text("SELECT pg_backend_pid()")).scalar_one())
