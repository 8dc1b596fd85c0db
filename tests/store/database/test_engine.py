from __future__ import annotations

import os
import signal
import socket
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy

from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    ConfigurationError,
    ConnectionLost,
    DatabaseBusy,
    DatabaseNotReady,
    DatabasePoolExhausted,
    DatabaseUnavailable,
    StatementRefused,
)
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.database.admin import DatabaseAdmin
from checkout_cli.store.database.postgresql import GRACE
from checkout_cli.store.records import Record
from tests.support.proxy import proxied
from tests.support.servers import PostgresServer

SESSION = Record("session-1", 1, b'{"a":1}', 1, 10**15)
TIMEOUT = 0.3


def tier(url: str, timeout: float = TIMEOUT) -> DatabaseAdmin:
    return DatabaseAdmin(Settings(database_url=url, database_timeout=timeout))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkout.db"


@pytest.fixture
def database(path: Path) -> Iterator[DatabaseAdmin]:
    with closing(tier(f"sqlite:///{path}")) as opened:
        opened.create_schema()
        yield opened


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """The block ends in time; with a second's allowance for a busy machine."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds + 1


def insert(database: DatabaseAdmin) -> bool:
    return database.insert(SESSION, now=1, write_id="w")


# Wrong URLs and wrong files: each says what is wrong


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="names no file"):
        tier(url)


def test_a_directory_is_refused_and_a_file_in_it_suggested(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="names a directory") as refusal:
        tier(f"sqlite:///{tmp_path}")
    assert refusal.value.hint == f"DATABASE_URL=sqlite:///{tmp_path}/checkout.db checkoutctl setup"


def test_a_url_that_is_none_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        tier("postgresql://user:canary@host:notaport/db")
    assert "canary" not in str(refusal.value)


def test_a_missing_file_is_not_created_by_a_read(path: Path) -> None:
    with pytest.raises(DatabaseNotReady, match="there is no database"):
        tier(f"sqlite:///{path}").read("session-1")
    assert not path.exists()


def test_a_database_without_our_tables_says_so(path: Path) -> None:
    sqlite3.connect(path).close()
    path.touch()
    with pytest.raises(DatabaseNotReady, match="no checkout tables") as refusal:
        tier(f"sqlite:///{path}").read("session-1")
    assert refusal.value.hint == "checkoutctl setup"


def test_a_file_that_is_no_database_is_a_wrong_setting(path: Path) -> None:
    path.write_bytes(b"this is a text file, and not a small one\n" * 100)
    with pytest.raises(ConfigurationError, match="is not an SQLite database"):
        tier(f"sqlite:///{path}").read("session-1")


def test_the_file_and_its_directory_are_for_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "checkout.db"
    with closing(tier(f"sqlite:///{path}")) as database:
        assert database.create_schema()
        assert not database.create_schema()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions bind nobody here")
def test_a_file_that_may_only_be_read_acknowledges_no_write(path: Path, database: DatabaseAdmin) -> None:
    database.close()
    path.chmod(0o444)
    with pytest.raises(DatabaseUnavailable, match="readonly"):
        insert(database)


def test_a_database_that_takes_no_writes_acknowledges_none(database: DatabaseAdmin) -> None:
    database.close()

    @sqlalchemy.event.listens_for(database._engine, "connect")
    def _read_only(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA query_only = ON")

    with pytest.raises(DatabaseUnavailable, match="readonly"):
        insert(database)
    assert database.breaker.is_open


# Locks


def test_a_locked_database_costs_one_bounded_wait_and_acknowledges_nothing(path: Path, database: DatabaseAdmin) -> None:
    database.read("session-1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with within(TIMEOUT), pytest.raises(DatabaseUnavailable, match="locked"):
            insert(database)
        other.execute("ROLLBACK")
    database.breaker.succeeded()
    assert database.read("session-1") is None
    assert insert(database)


def test_a_read_does_not_wait_for_a_writer(path: Path, database: DatabaseAdmin) -> None:
    insert(database)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE checkoutctl_sessions SET version = 9")
        record = database.read("session-1")
        assert record is not None
        assert record.version == 1
        other.execute("ROLLBACK")


@pytest.mark.synchronous
def test_a_commit_is_on_disk_before_it_is_acknowledged(database: DatabaseAdmin) -> None:
    with database.transaction() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_database_that_was_there_before_us_keeps_its_journal_mode(path: Path) -> None:
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE theirs (a)")
    with closing(tier(f"sqlite:///{path}")) as database:
        assert not database.schema_present()
        with pytest.raises(DatabaseNotReady):
            database.read("session-1")
        assert database.create_schema()
        assert insert(database)
    with closing(sqlite3.connect(path)) as theirs:
        assert theirs.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert [found.name for found in path.parent.glob("checkout.db*")] == ["checkout.db"]


def test_a_value_is_in_no_error_message(database: DatabaseAdmin) -> None:
    with pytest.raises(DatabaseUnavailable) as failure, database.transaction() as connection:
        connection.execute(sqlalchemy.text("SELECT nonsense(:card)"), {"card": "canary"})
    assert "canary" not in str(failure.value)
    assert "canary" not in str(failure.value.__cause__)


# PostgreSQL


@contextmanager
def frozen(process: int) -> Iterator[None]:
    """The process is stopped for the block, so that it hangs and its connections stay open."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def backend_of(database: DatabaseAdmin) -> int:
    with database.transaction() as connection:
        return int(connection.execute(sqlalchemy.text("SELECT pg_backend_pid()")).scalar_one())


def test_a_hanging_postgresql_costs_one_bounded_wait_and_serves_again_afterwards(postgres_url: str) -> None:
    with closing(tier(postgres_url)) as database:
        database.create_schema()
        with frozen(backend_of(database)), within(TIMEOUT + GRACE):
            with pytest.raises(DatabaseUnavailable, match="did not answer in time"):
                insert(database)
            with pytest.raises(DatabaseUnavailable):
                database.read("session-1")
        database.breaker.succeeded()
        assert database.read("session-1") in {None, SESSION}  # the write may have come through: it was not acknowledged


def test_a_server_that_accepts_and_never_answers_costs_one_bounded_wait() -> None:
    with socket.create_server((HOST, 0)) as silent:
        url = f"postgresql://user:canary@{HOST}:{silent.getsockname()[1]}/checkout"
        with closing(tier(url)) as database, within(2):
            with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1/checkout") as failure:
                database.read("session-1")
            assert "canary" not in str(failure.value)
            with pytest.raises(DatabaseUnavailable):
                database.read("session-1")


def test_a_refused_connection_is_an_outage() -> None:
    with closing(tier(f"postgresql://{HOST}:1/checkout")) as database, within(2), pytest.raises(DatabaseUnavailable):
        database.read("session-1")


def test_a_slow_statement_is_ended_by_the_server(postgres_url: str) -> None:
    sleep = sqlalchemy.text("SELECT pg_sleep(10)")
    database = tier(postgres_url)
    database.create_schema()
    refused = pytest.raises(DatabaseUnavailable, match="statement timeout")
    with closing(database), within(TIMEOUT), refused, database.transaction() as connection:
        connection.execute(sleep)


def test_a_locked_row_costs_one_bounded_wait(postgres_url: str) -> None:
    with closing(tier(postgres_url)) as database, closing(tier(postgres_url)) as other:
        database.create_schema()
        insert(database)
        with other.transaction() as connection:
            connection.execute(sqlalchemy.text("SELECT * FROM checkoutctl_sessions FOR UPDATE"))
            with within(TIMEOUT), pytest.raises(DatabaseUnavailable, match="timeout"):
                database.update(SESSION, seen=1, now=2, write_id="another")


def test_a_postgresql_without_our_tables_says_so(postgres_url: str) -> None:
    with closing(tier(postgres_url)) as database, pytest.raises(DatabaseNotReady, match="no checkout tables"):
        database.read("session-1")


def test_an_unknown_database_is_a_wrong_setting(postgres_url: str) -> None:
    database = tier(postgres_url.replace("/checkout_", "/nowhere_"))
    with closing(database), pytest.raises(ConfigurationError, match="does not exist"):
        database.read("session-1")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_name_of_postgresql_is_understood(postgres_url: str, scheme: str) -> None:
    with closing(tier(f"{scheme}://{postgres_url.partition('://')[2]}")) as database:
        assert database.create_schema()


# One connection, one statement: nobody else is concerned


def end_connections(server: PostgresServer, database: DatabaseAdmin, url: str) -> None:
    """All that wait in the pool, each of which was used before."""
    with database.transaction(), database.transaction():
        pass
    server.end_connections(url)


def test_connections_that_the_server_closed_are_replaced_and_nobody_hears_of_it(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    with closing(tier(postgres_url)) as database:
        database.create_schema()
        for use in (insert, lambda it: it.read("session-1"), lambda it: it.totals().created):
            end_connections(postgres_server, database, postgres_url)
            assert use(database)
        assert not database.breaker.is_open


def test_a_connection_that_is_lost_within_a_transaction_is_one_callers_error(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    with closing(tier(postgres_url)) as database:
        database.create_schema()
        lost = pytest.raises(ConnectionLost)
        with lost, database.transaction() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
            postgres_server.end_connections(postgres_url)
            connection.execute(sqlalchemy.text("SELECT 1"))
        assert not database.breaker.is_open
        assert insert(database)


def test_a_read_whose_connection_is_lost_is_asked_again(postgres_server: PostgresServer, postgres_url: str) -> None:
    with closing(tier(postgres_url)) as database:
        database.create_schema()
        insert(database)
        ended: list[object] = []

        @sqlalchemy.event.listens_for(database._engine, "before_cursor_execute")
        def _end(*_: object) -> None:
            if not ended:
                ended.append(postgres_server.end_connections(postgres_url))

        assert database.read("session-1") is not None
        assert ended


def test_a_server_that_is_gone_is_an_outage_after_one_more_try(postgres_url: str) -> None:
    with proxied(postgres_url) as through, closing(tier(through.proxied_url)) as database:
        database.create_schema()
        through.proxy.refuse()
        with pytest.raises(DatabaseUnavailable):
            database.read("session-1")
        assert database.breaker.is_open


def test_a_full_pool_is_this_processes_own_matter(database: DatabaseAdmin) -> None:
    with ExitStack() as held:
        for _ in range(20):
            held.enter_context(database.transaction())
        with within(TIMEOUT), pytest.raises(DatabasePoolExhausted) as busy:
            database.read("session-1")
        assert busy.value.exit_code == 75
    assert database.read("session-1") is None, "the breaker is open"


def test_a_lock_is_one_statements_matter(path: Path, database: DatabaseAdmin, postgres_url: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy):
            insert(database)
        assert database.read("session-1") is None, "the breaker is open"
    with closing(tier(postgres_url)) as server, closing(tier(postgres_url)) as other_one:
        server.create_schema()
        insert(server)
        with other_one.transaction() as connection:
            connection.execute(sqlalchemy.text("SELECT * FROM checkoutctl_sessions FOR UPDATE"))
            with pytest.raises(DatabaseBusy):
                server.update(SESSION, seen=1, now=2, write_id="another")
            assert server.read("session-1") is not None, "the breaker is open"


def test_a_statement_that_cannot_be_is_one_statements_matter(postgres_url: str) -> None:
    with closing(tier(postgres_url)) as database:
        database.create_schema()
        with pytest.raises(StatementRefused), database.transaction() as connection:
            connection.execute(sqlalchemy.text("SELECT nonsense()"))
        assert database.read("session-1") is None


def test_a_server_with_too_many_clients_is_busy(postgres_server: PostgresServer, postgres_url: str) -> None:
    with closing(tier(postgres_url)) as database, closing(tier(postgres_url)) as late:
        database.create_schema()
        postgres_server.execute("CREATE ROLE few LOGIN CONNECTION LIMIT 1 IN ROLE pg_read_all_data")
        few = postgres_url.replace("//postgres:@", "//few@")
        assert few != postgres_url
        with closing(tier(few)) as first, closing(tier(few)) as second:
            first.schema_present()
            with pytest.raises(DatabaseBusy, match="too many connections"):
                second.schema_present()
        postgres_server.execute("DROP ROLE few")
        assert late.read("session-1") is None


@pytest.fixture(params=["sqlite", "postgres"])
def any_database(request: pytest.FixtureRequest, path: Path) -> Iterator[DatabaseAdmin]:
    url = f"sqlite:///{path}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with closing(tier(url)) as opened:
        opened.create_schema()
        yield opened


def test_statements_of_one_snapshot_see_one_moment(any_database: DatabaseAdmin) -> None:
    count = sqlalchemy.text("SELECT count(*) FROM checkoutctl_sessions")
    with any_database.snapshot() as connection:
        before = connection.execute(count).scalar_one()
        assert insert(any_database)
        assert connection.execute(count).scalar_one() == before
    with any_database.transaction() as connection:
        assert connection.execute(count).scalar_one() == before + 1


def test_totals_agree_while_a_clean_up_moves_rows_into_them(any_database: DatabaseAdmin) -> None:
    insert(any_database)
    purged: list[int] = []

    @sqlalchemy.event.listens_for(any_database._engine, "after_cursor_execute")
    def _purge(_: object, __: object, statement: str, *___: object) -> None:
        if "checkoutctl_totals" in statement and statement.startswith("SELECT") and not purged:
            purged.append(0)
            purged[0] = any_database.purge(["session-1"], 10**16)  # between the two questions

    assert any_database.totals().created == 1
    assert purged == [1]
    assert any_database.totals().created == 1
