"""The steps that bring the tables of an older database up to this program's version.

A change of the tables is a change of ``schema``, whose version goes up, and a step: an older database takes those that
it lacks, in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import delete, func, insert, inspect, select, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.schema import CreateSchema

from checkout_cli.errors import DatabaseDenied
from checkout_cli.store.database import schema
from checkout_cli.store.database.engine import transaction
from checkout_cli.store.database.failures import schema_statements
from checkout_cli.store.database.own_tables import own_tables
from checkout_cli.store.database.places import place_of, schema_of
from checkout_cli.store.database.schema import PROGRAM, metadata, versions

PATIENCE = 30.0
"""Seconds that an upgrade waits at most for another one that is under way."""
LONGEST = 3600.0
"""Seconds that one statement of an upgrade may take: an index on many rows takes minutes."""

_LOCK = int.from_bytes(b"checkout")
"""The key of PostgreSQL's advisory lock."""


class Step(NamedTuple):
    """One change, which brings the tables to version ``to``, also where part of it is done already."""

    to: int
    change: Callable[[Connection], None]


STEPS: tuple[Step, ...] = ()
"""In order, without gaps, up to the version of ``schema``."""


class Upgrade(NamedTuple):
    """The version before (0: no tables of ours) and after."""

    before: int
    after: int


def upgrade(engine: Engine, lock_timeout: float) -> Upgrade | None:
    """Make or upgrade the tables, all or nothing; ``None`` where another process has just done so.

    ``lock_timeout`` (s) is the wait for a table in use. Raises ``TablesRefused``, ``DatabaseDenied``,
    ``DatabaseUnavailable``.
    """
    with transaction(engine) as connection:
        _wait_for_turn(connection, lock_timeout)
        found = own_tables(connection)
        if found.are_complete:
            return None
        for step in STEPS:
            if 0 < found.version < step.to:
                step.change(connection)
        _make_schema(connection)
        _complete(connection)
        connection.execute(delete(versions))
        connection.execute(insert(versions).values(program=PROGRAM, version=schema.VERSION))
    return Upgrade(found.version, schema.VERSION)


def _wait_for_turn(connection: Connection, lock_timeout: float) -> None:
    """Wait until nobody else upgrades, and begin the transaction, which a database does not do for DDL by itself."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    connection.execute(text(f"SET LOCAL lock_timeout = {round(PATIENCE * 1000)}"))
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    connection.execute(text(f"SET LOCAL lock_timeout = {round(lock_timeout * 1000)}"))


def _make_schema(connection: Connection) -> None:
    name, engine = schema_of(connection.engine), connection.engine
    if not name or inspect(connection).has_schema(name):
        return
    if not connection.execute(select(func.has_database_privilege(func.current_database(), "CREATE"))).scalar():
        raise DatabaseDenied(
            f"the database {place_of(engine)} has no schema {name}, and our role may not make it",
            hint=schema_statements(engine),
        )
    connection.execute(CreateSchema(name, if_not_exists=True))


def _complete(connection: Connection) -> None:
    """Make missing tables and indexes, and remake each index that is on other columns."""
    metadata.create_all(connection)
    seen, schema_name = inspect(connection), schema_of(connection.engine) or None
    for table in metadata.sorted_tables:
        found = {index["name"]: index["column_names"] for index in seen.get_indexes(table.name, schema_name)}
        for index in table.indexes:
            columns = found.get(index.name)
            if columns == [column.name for column in index.columns]:
                continue
            if columns is not None:
                index.drop(connection)
            index.create(connection)
