"""The version of the database's tables, and the steps that bring an older database up to this program's.

A change of the tables is one more step, and the change of ``schema``: a new database gets its tables from there, an
older one takes the steps that it lacks, all in one transaction. Version 1 are the tables that no version was kept of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Index, delete, func, insert, inspect, select, text
from sqlalchemy.engine import Connection, Engine

from checkout_cli.errors import DatabaseDenied, DatabaseNotReady, SchemaTooNew
from checkout_cli.store.database_engine import place_of, transaction
from checkout_cli.store.schema import metadata, sessions, versions

UNVERSIONED = 1
"""The version of tables that were made before versions were kept."""

PATIENCE = 30.0
"""Seconds that an upgrade waits at most for another one that is under way."""
LONGEST = 3600.0
"""Seconds that one statement of an upgrade may take: an index on many rows takes minutes."""

_LOCK = int.from_bytes(b"checkout")
"""The key of PostgreSQL's advisory lock."""


class Step(NamedTuple):
    """One change, which brings the tables to version ``to``.

    It meets databases that have part of it already, such as a table that was made from today's ``schema`` because it
    was missing: it changes only what is not yet as it should be.
    """

    to: int
    change: Callable[[Connection], None]


class Upgrade(NamedTuple):
    """What was done: from which version to which; ``before`` is 0 where there were no tables of ours."""

    before: int
    after: int


def _complete(connection: Connection) -> None:
    """Make all tables and indexes that are missing, and again each index that is on other columns."""
    metadata.create_all(connection)
    for table in metadata.sorted_tables:
        found = {index["name"]: index["column_names"] for index in inspect(connection).get_indexes(table.name)}
        for index in table.indexes:
            _as_it_should_be(connection, index, found.get(index.name))


def _as_it_should_be(connection: Connection, index: Index, columns: list[str | None] | None) -> None:
    if columns == [column.name for column in index.columns]:
        return
    if columns is not None:
        index.drop(connection)
    index.create(connection)


STEPS: tuple[Step, ...] = (Step(2, _complete),)
"""In order, without gaps."""


def current() -> int:
    """The version that this program makes."""
    return STEPS[-1].to


def found_version(engine: Engine) -> int | None:
    """Which version the database has, by one short question; ``None`` where it cannot tell.

    That is the case where there are no versions yet, and where our role may not look: the tables that it needs were
    granted to it one by one, by somebody who has upgraded since.

    Raises:
        DatabaseUnavailable: it cannot be asked.
    """
    try:
        with transaction(engine) as connection:
            return connection.execute(select(func.max(versions.c.version))).scalar()
    except (DatabaseNotReady, DatabaseDenied):
        return None


def refuse_newer(version: int | None, engine: Engine) -> None:
    """Go no further with tables that are newer than this program.

    Raises:
        SchemaTooNew: they are.
    """
    if version is not None and version > current():
        raise SchemaTooNew(
            f"the database {place_of(engine)} has tables of version {version}, and this checkoutctl knows them up to "
            f"version {current()}"
        )


def version_of(connection: Connection) -> int:
    """The version of the tables; 0 where there are none of ours."""
    names = inspect(connection).get_table_names()
    if versions.name in names and (kept := connection.execute(select(func.max(versions.c.version))).scalar()):
        return int(kept)
    return UNVERSIONED if sessions.name in names else 0


def is_complete(connection: Connection) -> bool:
    """Whether all our tables are there, in this program's version."""
    return set(metadata.tables) <= set(inspect(connection).get_table_names()) and version_of(connection) == current()


def upgrade(engine: Engine, lock_timeout: float) -> Upgrade | None:
    """Make the tables, or bring them up to this program's version; ``None`` where another process has just done so.

    All or nothing, and one process at a time. ``lock_timeout`` is how long it waits for a table that is in use, in
    seconds: whoever comes after it waits as long.

    Raises:
        SchemaTooNew: they are newer than this program.
        DatabaseDenied: our role may not make tables here.
        DatabaseUnavailable: it cannot be done now; nothing was changed.
    """
    with transaction(engine) as connection:
        _wait_for_turn(connection, lock_timeout)
        before = version_of(connection)
        refuse_newer(before, engine)
        if is_complete(connection):
            return None
        for step in STEPS:
            if 0 < before < step.to:
                step.change(connection)
        _complete(connection)
        connection.execute(delete(versions))
        connection.execute(insert(versions).values(version=current()))
    return Upgrade(before, current())


def _wait_for_turn(connection: Connection, lock_timeout: float) -> None:
    """Until nobody else upgrades; then the transaction has begun, which a database does not do for DDL by itself."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    connection.execute(text(f"SET LOCAL lock_timeout = {round(PATIENCE * 1000)}"))
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    connection.execute(text(f"SET LOCAL lock_timeout = {round(lock_timeout * 1000)}"))
