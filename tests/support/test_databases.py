"""A database that a test gets at once is the same as one that was made for it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.store.database.admin import DatabaseAdmin
from tests.support.servers import PostgresServer
from tests.support.stores import SQLITE, make_tables


def told(path: Path) -> tuple[list[str], str, int]:
    """All that is in a file, its journal, and who may read it."""
    with closing(sqlite3.connect(path)) as connection:
        ((journal,),) = connection.execute("PRAGMA journal_mode")
        return list(connection.iterdump()), journal, path.stat().st_mode


def test_tables_that_are_copied_are_those_that_are_made(tmp_path: Path) -> None:
    copied, made = tmp_path / "copied.db", tmp_path / "made.db"
    with closing(DatabaseAdmin(Settings(database_url=f"{SQLITE}{copied}"))) as database:
        make_tables(database)
        assert not database.create_schema(), "something was missing"
    with closing(DatabaseAdmin(Settings(database_url=f"{SQLITE}{made}"))) as database:
        assert database.create_schema()
    assert told(copied) == told(made)


def test_a_database_that_was_given_back_is_empty_and_nobody_is_in_it(postgres_server: PostgresServer) -> None:
    first = postgres_server.lend_database()
    name = psycopg.conninfo.conninfo_to_dict(first)["dbname"]
    with psycopg.connect(first, autocommit=True) as connection:
        connection.execute("CREATE TABLE orders (id int); CREATE SCHEMA shop; CREATE VIEW shop.all AS TABLE orders")
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        postgres_server.take_back(first)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT")
    again, new = postgres_server.lend_database(), postgres_server.create_database()
    assert again == first
    assert seen(again) == seen(new)
    postgres_server.take_back(again)
    postgres_server.drop_database(new)


def seen(url: str) -> tuple[object, ...]:
    """The schemas and who may use them, all relations of anybody's, and whether it may be written to."""
    with psycopg.connect(url) as connection:
        schemas = connection.execute("SELECT nspname, nspacl, nspowner FROM pg_namespace ORDER BY 1").fetchall()
        (relations,) = connection.execute("SELECT count(*) FROM pg_class").fetchall()
        return schemas, relations, connection.execute("SHOW transaction_read_only").fetchone()
