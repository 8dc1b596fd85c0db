"""A write is proven on a real PostgreSQL, and an account that may only read is told from a shop that cannot write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from checkout_cli.checks import Status as Verdict
from checkout_cli.commands.cleanup.expired import clean_up
from checkout_cli.commands.health.health import Status
from checkout_cli.config.settings import Settings
from checkout_cli.errors import DatabaseDenied, DatabaseUnavailable, ReadOnlyAccount, WrongClock
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.schema import locks
from tests.commands.health.test_health import looked
from tests.support.doctoring import finding
from tests.support.servers import PostgresServer
from tests.support.stores import make_tables

Execute = Callable[[str], None]


@pytest.fixture
def execute(postgres_server: PostgresServer, postgres_url: str, settings: Settings) -> Execute:
    """Runs a statement as the owner of tables that are there."""
    with CheckoutStore.open(replace(settings, database_url=postgres_url)) as store:
        make_tables(store.database)
    return lambda statement: postgres_server.execute(statement, database=postgres_url)


@contextmanager
def opened(settings: Settings, url: str) -> Iterator[CheckoutStore]:
    with CheckoutStore.open(replace(settings, database_url=url)) as store:
        yield store


ALL = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO shop"


def test_a_shop_that_may_write_proves_it(
    execute: Execute, settings: Settings, postgres_role: str, tmp_path: Path
) -> None:
    execute(ALL)
    with opened(settings, postgres_role) as store:
        store.database.prove_write()
        assert store.database.number_of(locks) == 0
        assert looked(store.settings).status is Status.HEALTHY
        assert finding(store.settings, "database-write", tmp_path).status is Verdict.OK


@pytest.mark.parametrize("missing", ["INSERT", "UPDATE", "DELETE"])
@pytest.mark.parametrize("table", ["checkoutctl_sessions", "checkoutctl_locks"])
def test_a_shop_that_lacks_a_privilege_is_broken(
    table: str, missing: str, execute: Execute, settings: Settings, postgres_role: str, tmp_path: Path
) -> None:
    execute(ALL)
    execute(f"REVOKE {missing} ON {table} FROM shop")
    with opened(settings, postgres_role) as store:
        with pytest.raises(DatabaseDenied, match=f"does not grant {missing} on {table}") as refused:
            store.database.prove_write()
        assert not isinstance(refused.value, ReadOnlyAccount)
        found = finding(store.settings, "database-write", tmp_path)
        assert (found.status, found.fix) == (Verdict.CRIT, f"GRANT INSERT, UPDATE, DELETE ON {table} TO shop")
        assert looked(store.settings).status is Status.DEGRADED
        execute(found.fix)  # the hint works
        store.database.prove_write()


@pytest.mark.parametrize("how", ["SELECT alone", "read-only role", "read-only role here", "read-only in the URL"])
def test_a_monitoring_account_is_no_alarm(
    how: str, execute: Execute, settings: Settings, postgres_role: str, tmp_path: Path
) -> None:
    execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop" if how == "SELECT alone" else ALL)
    database = postgres_role.partition("?")[0].rpartition("/")[2]
    if how == "read-only role":
        execute("ALTER ROLE shop SET default_transaction_read_only = on")
    elif how == "read-only role here":
        execute(f"ALTER ROLE shop IN DATABASE {database} SET default_transaction_read_only = on")
    elif how == "read-only in the URL":
        postgres_role += "&options=-c%20default_transaction_read_only%3Don"
    with opened(settings, postgres_role) as store:
        with pytest.raises(ReadOnlyAccount, match="shop may only read the database"):
            store.database.prove_write()
        report = looked(store.settings)
        assert (report.status, report.database.problem) == (Status.HEALTHY, None)
        assert str(report.database.advice).startswith("shop may only read the database")
        found = finding(store.settings, "database-write", tmp_path)
        assert found.status is Verdict.SKIPPED
        assert "set DATABASE_URL to the shop's own account" in found.evidence


def test_a_database_that_is_read_only_for_everybody_is_an_alarm(
    execute: Execute, settings: Settings, postgres_role: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    execute(ALL)
    database = postgres_role.partition("?")[0].rpartition("/")[2]
    postgres_server.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    with opened(settings, postgres_role) as store, ExitStack() as after:
        after.callback(postgres_server.execute, f"ALTER DATABASE {database} RESET ALL")
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            store.database.prove_write()
        assert looked(store.settings).status is Status.DEGRADED
        assert finding(store.settings, "database-write", tmp_path).status is Verdict.CRIT


SHADOWED = """
CREATE SCHEMA shadow;
CREATE FUNCTION shadow.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
  $$ SELECT pg_catalog.clock_timestamp() + interval '{} seconds' $$;
ALTER DATABASE {} SET search_path = shadow, pg_catalog, public
"""
"""A clock of the server that is wrong: its function is found before the catalogue's own."""


@pytest.mark.parametrize(("seconds", "verdict"), [(-300, Verdict.WARN), (300, Verdict.WARN), (0, Verdict.OK)])
def test_a_clean_up_agrees_with_the_clock_of_postgresql_or_removes_nothing(
    seconds: int, verdict: Verdict, execute: Execute, settings: Settings, postgres_url: str, tmp_path: Path
) -> None:
    execute(SHADOWED.format(seconds, postgres_url.partition("?")[0].rpartition("/")[2]))
    with opened(settings, postgres_url) as store:
        store.create({}, checkout_id="session-0001")
        own = store.database.own_time()
        assert own is not None
        assert abs(own - store.clock.wall() - seconds * 1000) < 30_000
        if seconds:
            with pytest.raises(WrongClock, match="the database's" if seconds > 0 else "ahead of the database's"):
                clean_up(store)
        else:
            assert clean_up(store).finished
        assert store.get("session-0001").version == 1
        assert finding(store.settings, "database-clock", tmp_path).status is verdict
