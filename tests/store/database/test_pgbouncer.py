"""Behind PgBouncer, each transaction may be of another connection of the server, and little is kept between them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest
import sqlalchemy

from checkout_cli.config.settings import Settings
from checkout_cli.errors import ConfigurationError, DatabaseBusy
from checkout_cli.session import Durability
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.admin import DatabaseAdmin
from checkout_cli.store.records import Record
from tests.support.command import Checkoutctl
from tests.support.pgbouncer import SERVER_CONNECTIONS, pgbouncer
from tests.support.servers import PostgresServer

pytestmark = pytest.mark.needs("pgbouncer")
EXECUTIONS = 12
"""After five, psycopg would prepare a statement by default."""


@pytest.fixture
def pooled(postgres_url: str) -> Iterator[str]:
    with pgbouncer(postgres_url) as url:
        yield url


def tier(url: str) -> DatabaseAdmin:
    return DatabaseAdmin(Settings(database_url=url, database_timeout=1.0))


def record(name: str) -> Record:
    return Record(name, 1, b'{"a":1}', 1, 10**15)


def test_a_store_serves_as_it_does_without_it(pooled: str, settings: Settings) -> None:
    with CheckoutStore.open(replace(settings, database_url=pooled)) as store:
        store.database.create_schema()
        for number in range(EXECUTIONS):
            name = f"session-{number}"
            assert store.create({"totalAmount": 1}, checkout_id=name).durability is Durability.DATABASE
            assert store.update(name, {"notes": "ü€"}).durability is Durability.DATABASE
        assert store.get("session-3").fields["notes"] == "ü€"
        assert store.database.totals().created == EXECUTIONS
        store.delete("session-3")


def test_clients_that_outnumber_the_servers_connections_never_meet_each_others_statements(pooled: str) -> None:
    tiers = [tier(pooled) for _ in range(2 * SERVER_CONNECTIONS)]
    tiers[0].create_schema()

    def use(number: int) -> None:
        database = tiers[number]
        for turn in range(EXECUTIONS):
            name = f"session-{number}-{turn}"
            assert database.insert(record(name), now=1, write_id="w")
            assert database.read(name) is not None
            database.touch({name: 2 * 10**15, "session-0-0": 2})

    with ThreadPoolExecutor(len(tiers)) as pool:
        list(pool.map(use, range(len(tiers))))
    assert tiers[0].totals().created == len(tiers) * EXECUTIONS
    for database in tiers:
        database.close()


def test_our_time_outs_end_with_our_transactions(pooled: str) -> None:
    import psycopg

    with closing(tier(pooled)) as database:
        database.create_schema()
        with pytest.raises(DatabaseBusy, match="statement timeout"), database.transaction() as connection:
            connection.execute(sqlalchemy.text("SELECT pg_sleep(30)"))
        assert database.read("session-1") is None, "one statement's time-out has opened the breaker"
        with psycopg.connect(pooled, autocommit=True, prepare_threshold=None) as other:
            seen = {other.execute("SHOW statement_timeout").fetchone() for _ in range(4)}
    assert seen == {("0",)}


def test_a_server_that_ends_all_connections_is_no_outage(
    pooled: str, postgres_url: str, postgres_server: PostgresServer
) -> None:
    with closing(tier(pooled)) as database:
        database.create_schema()
        database.insert(record("session-1"), now=1, write_id="w")
        postgres_server.end_connections(postgres_url)
        assert database.read("session-1") is not None


def test_an_option_that_it_refuses_is_a_wrong_setting(pooled: str) -> None:
    url = f"{pooled}&options=-c%20search_path%3Dshop"
    with closing(tier(url)) as database, pytest.raises(ConfigurationError, match="startup parameter") as refused:
        database.ping()
    assert "take that option out of DATABASE_URL" in refused.value.hint


def test_the_command_sets_everything_up_and_finds_nothing_wrong(pooled: str, checkoutctl: Checkoutctl) -> None:
    environment = {"DATABASE_URL": pooled}
    assert checkoutctl("setup", "--yes", env=environment).returncode == 0
    done = checkoutctl("doctor", "--only", "database,database-write,database-encoding", env=environment)
    assert done.returncode == 0, done.stdout
