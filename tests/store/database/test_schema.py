"""``CHECKOUT_DATABASE_SCHEMA``: a schema of our own in a PostgreSQL that others use too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import pytest
from sqlalchemy import inspect, make_url

from checkout_cli.config.settings import Settings
from checkout_cli.errors import ConfigurationError, DatabaseDenied, DatabaseNotReady
from checkout_cli.store.database.admin import DatabaseAdmin
from checkout_cli.store.database.schema import metadata
from checkout_cli.store.records import Record, Totals
from tests.support.servers import PostgresServer

NOW = 1_800_000_000_000
BODY = b'{"paymentStatus":"paid"}'
SESSION = Record("session-1", 1, BODY, NOW, NOW + 1000)

In = Callable[[str], DatabaseAdmin]


@pytest.fixture
def inside(settings: Settings, postgres_url: str) -> Iterator[In]:
    """Opens tiers on the tables of a schema, or of the search path where it is empty."""
    with ExitStack() as stack:

        def opened(schema: str) -> DatabaseAdmin:
            made = DatabaseAdmin(replace(settings, database_url=postgres_url, database_schema=schema))
            return stack.enter_context(closing(made))

        yield opened


def insert(tier: DatabaseAdmin) -> bool:
    return tier.insert(SESSION, now=NOW, write_id="w")


def names(tier: DatabaseAdmin, schema: str) -> set[str]:
    with tier.transaction() as connection:
        return set(inspect(connection).get_table_names(schema))


@pytest.mark.parametrize(("one", "other"), [("one", "other"), ("", "other"), ("one", "")])
def test_two_schemas_see_nothing_of_each_other(one: str, other: str, inside: In) -> None:
    first, second = inside(one), inside(other)
    assert first.create_schema()
    with pytest.raises(DatabaseNotReady):
        second.ping()
    assert second.create_schema()
    assert insert(first)
    assert second.read("session-1") is None
    assert insert(second)
    assert first.update(replace_version(2), seen=1, now=NOW, write_id="w")
    assert first.lock("cleanup", "first", now=NOW, until=NOW + 1000) is None
    assert second.lock("cleanup", "second", now=NOW, until=NOW + 1000) is None
    assert first.purge(["session-1"], NOW + 1000) == 1
    assert (first.count(NOW), second.count(NOW)) == (0, 1)
    assert first.totals() == second.totals() == Totals(created=1, completed=1, failed=0)
    found = second.read("session-1")
    assert found is not None
    assert found.version == 1


def replace_version(version: int) -> Record:
    return Record("session-1", version, BODY, NOW, NOW + 1000)


def test_a_reserved_word_is_a_name_too(inside: In) -> None:
    tier = inside("order")
    assert tier.create_schema()
    assert insert(tier)
    assert tier.update(replace_version(2), seen=1, now=NOW, write_id="w")
    assert names(tier, "order") == set(metadata.tables)
    assert names(tier, "public") == set()


def test_a_schema_that_is_there_is_used_as_it_is(
    inside: In, postgres_server: PostgresServer, postgres_url: str
) -> None:
    postgres_server.execute("CREATE SCHEMA shop; CREATE TABLE shop.orders (id int)", database=postgres_url)
    tier = inside("shop")
    assert tier.create_schema()
    assert not inside("shop").create_schema()
    assert names(tier, "shop") == {*metadata.tables, "orders"}


def test_nothing_depends_on_a_search_path(inside: In, postgres_server: PostgresServer, postgres_url: str) -> None:
    """A pooler gives each transaction any connection, with the search path that somebody else has left there."""
    database = make_url(postgres_url).database
    postgres_server.execute(
        f"CREATE SCHEMA shop; ALTER DATABASE {database} SET search_path = ''", database=postgres_url
    )
    tier = inside("shop")
    assert tier.create_schema()
    assert insert(tier)
    assert tier.update(replace_version(2), seen=1, now=NOW, write_id="w")
    assert tier.pending(10) != []
    with pytest.raises(DatabaseNotReady):
        inside("").read("session-1")


def test_its_indexes_are_those_of_the_search_path(inside: In) -> None:
    def indexes(schema: str) -> dict[str, list[str | None]]:
        tier = inside(schema)
        tier.create_schema()
        with tier.transaction() as connection:
            seen = inspect(connection)
            return {
                str(index["name"]): index["column_names"]
                for table in metadata.tables
                for index in seen.get_indexes(table, schema or None)
            }

    assert indexes("shop") == indexes("")


def test_a_schema_that_our_role_may_not_make_is_denied_with_the_statements_that_help(
    settings: Settings, postgres_role: str, postgres_url: str, postgres_server: PostgresServer
) -> None:
    with closing(DatabaseAdmin(replace(settings, database_url=postgres_role, database_schema="apart"))) as tier:
        with pytest.raises(DatabaseDenied, match="no schema apart, and our role may not make it") as refusal:
            tier.create_schema()
        assert refusal.value.exit_code == 4
        postgres_server.execute(refusal.value.hint, database=postgres_url)
        assert tier.create_schema()
        assert insert(tier)


def test_a_role_that_may_use_the_schema_needs_no_right_on_the_database(
    settings: Settings, postgres_role: str, postgres_url: str, postgres_server: PostgresServer
) -> None:
    postgres_server.execute("CREATE SCHEMA apart AUTHORIZATION shop", database=postgres_url)
    with closing(DatabaseAdmin(replace(settings, database_url=postgres_role, database_schema="apart"))) as tier:
        assert tier.create_schema()


def test_a_role_that_may_make_it_makes_it(
    settings: Settings, postgres_role: str, postgres_url: str, postgres_server: PostgresServer
) -> None:
    postgres_server.execute(f"GRANT CREATE ON DATABASE {make_url(postgres_url).database} TO shop")
    with closing(DatabaseAdmin(replace(settings, database_url=postgres_role, database_schema="apart"))) as tier:
        assert tier.create_schema()
        assert names(tier, "apart") == set(metadata.tables)


def test_a_place_names_its_schema(inside: In, settings: Settings, postgres_url: str) -> None:
    """So that a checkpoint or an undo file of one is not taken for one of the other."""
    places = {inside(schema).place for schema in ("", "one", "two")}
    assert len(places) == 3
    of_settings = {replace(settings, database_url=postgres_url, database_schema=name).database_place for name in "ab"}
    assert len(of_settings) == 2


def test_sqlite_has_none(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="SQLite has no schemas"):
        DatabaseAdmin(replace(settings, database_schema="shop"))
