"""Which tables of a database are ours: told by our record and their columns, never by their names alone.

Databases are shared with shops, so no statement names a table that the catalogue does not show to be ours.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Table, bindparam, func, select, text
from sqlalchemy.engine import Connection, Engine

from checkout_cli.errors import ForeignTable, SchemaTooNew
from checkout_cli.store.database import schema
from checkout_cli.store.database.places import place_of, schema_of, sqlite_path
from checkout_cli.store.database.schema import PROGRAM, metadata, versions
from checkout_cli.typed import typed

SCHEMAS = ("checkoutctl", "checkoutctl_own")
FILES = ("checkoutctl.db", "checkoutctl-own.db")
"""Proposed for our tables where others have their names; the second one for who uses the first already."""

_POSTGRESQL = text("""
    SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, NULL)
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_catalog.pg_attribute a
      ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p')
    WHERE c.relname IN :names
      AND CASE WHEN :schema = '' THEN pg_catalog.pg_table_is_visible(c.oid) ELSE n.nspname = :schema END
""").bindparams(bindparam("names", expanding=True))
_SQLITE = text("""
    SELECT '', lower(m.name), lower(c.name), c.type
    FROM sqlite_master m
    LEFT JOIN pragma_table_info(CASE m.type WHEN 'table' THEN m.name END) c
    WHERE lower(m.name) IN :names AND m.type IN ('table', 'view') AND :schema = ''
""").bindparams(bindparam("names", expanding=True))
"""Whatever bears one of our names: its schema, and the names and types of its columns; none where it is no table."""


class OwnTables(NamedTuple):
    """The version of our tables, 0 where there are none, and the names of the missing ones."""

    version: int
    missing: frozenset[str]

    @property
    def are_complete(self) -> bool:
        """Whether all of them are there, in this program's version."""
        return self.version == schema.VERSION and not self.missing


class Found(NamedTuple):
    """The full name of a table, view or index with a name of ours, and its columns with their types."""

    full_name: str
    columns: dict[str, str]


def own_tables(connection: Connection) -> OwnTables:
    """Which of our tables there are; raises ``ForeignTable``, ``SchemaTooNew``, or ``SQLAlchemyError``."""
    found = _catalogue(connection)
    missing = frozenset(metadata.tables) - found.keys()
    if not found:
        return OwnTables(0, missing)
    version = _recorded_version(connection, found)
    if version > schema.VERSION:
        raise SchemaTooNew(
            f"the database {place_of(connection.engine)} has tables of version {version}, and this checkoutctl knows "
            f"them up to version {schema.VERSION}"
        )
    for name, table in found.items():
        if lacking := lacking_columns(metadata.tables[name], table, version, connection):
            raise _foreign(connection.engine, table, f"its column {lacking[0]} is missing or of another type")
    return OwnTables(version, missing)


def _catalogue(connection: Connection) -> dict[str, Found]:
    question = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL
    parameters = {"names": list(metadata.tables), "schema": schema_of(connection.engine)}
    found: dict[str, Found] = {}
    for place, name, column, kind in connection.execute(question, parameters).all():
        columns = found.setdefault(name, Found(f"{place}.{name}" if place else name, {})).columns
        if column is not None:
            columns[column] = _kind(kind)
    return found


def _kind(type_text: str) -> str:
    """A type without its length, as SQLAlchemy calls it."""
    return type_text.partition("(")[0].upper().replace("CHARACTER VARYING", "VARCHAR")


def lacking_columns(table: Table, found: Found, version: int, connection: Connection) -> list[str]:
    """The columns of a version of our table that are missing or of another type; further columns are no obstacle."""
    return [
        column.name
        for column in table.columns
        if column.info.get("since", 1) <= version
        and found.columns.get(column.name) != _kind(column.type.compile(connection.dialect))
    ]


def _recorded_version(connection: Connection, found: dict[str, Found]) -> int:
    """The version in our record, which is read only once its columns say that it is ours."""
    record = found.get(versions.name)
    if record is None:
        first = next(found[name] for name in metadata.tables if name in found)
        raise _foreign(connection.engine, first, f"there is no {versions.name} beside it")
    if lacking := lacking_columns(versions, record, 1, connection):
        raise _foreign(connection.engine, record, f"its column {lacking[0]} is missing or of another type")
    recorded = select(func.max(versions.c.version)).where(versions.c.program == PROGRAM)
    version = connection.execute(recorded).scalar()
    if version is None:
        raise _foreign(connection.engine, record, f"it has no row of {PROGRAM}")
    return int(version)


def _foreign(engine: Engine, table: Found, reason: str) -> ForeignTable:
    return ForeignTable(
        f"the database {place_of(engine)} has a table {table.full_name} that this program did not make ({reason}): "
        "it was left alone",
        hint=_elsewhere(engine),
    )


def _elsewhere(engine: Engine) -> str:
    path = sqlite_path(engine)
    if path is None:
        name = next(name for name in SCHEMAS if name != schema_of(engine))
        return typed("CHECKOUT_DATABASE_SCHEMA={} checkoutctl setup", name)
    file = next(name for name in FILES if name != path.name)
    return typed("DATABASE_URL={} checkoutctl setup", f"sqlite:///{path.absolute().with_name(file)}")
