"""Operators' queries about one row, the database's parts and size; all may raise ``DatabaseUnavailable``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from sqlalchemy import func, inspect, or_, select, text, tuple_
from sqlalchemy.schema import CreateIndex

from checkout_cli.keys import beginning_of_ids, is_accepted_id
from checkout_cli.store.database.engine import to_type
from checkout_cli.store.database.places import schema_of
from checkout_cli.store.database.schema import conflicts, epochs, expiry_index, sessions
from checkout_cli.store.database.tier import COLUMNS, DatabaseTier, latest_stamp, record_of
from checkout_cli.store.records import Record

_PAGE = 500
"""Rows to read at a time."""


class RowView(msgspec.Struct, frozen=True):
    """The row of a session; moments are in milliseconds. A tombstone has no body."""

    version: int
    published_version: int
    body: bytes | None
    status: str
    created_at: int
    updated_at: int
    expires_at: int
    write_id: str
    previous_version: int | None
    previous_body: str | None = None
    """What an external writer has deleted."""

    @property
    def is_pending(self) -> bool:
        """Whether Redis may still lack this version."""
        return self.published_version < self.version


class LoggedConflict(NamedTuple):
    """A write in the conflict log: when (ms), from where, and what of it was applied."""

    detected_at: int
    source: str
    result: str


def view_row(database: DatabaseTier, checkout_id: str) -> RowView | None:
    """The row of a session; ``None`` where there is none."""
    if not is_accepted_id(checkout_id):
        return None  # no row has another, which may be no text for a database
    columns = (sessions.c[name] for name in RowView.__struct_fields__)
    rows = database.rows(select(*columns).where(sessions.c.checkout_id == checkout_id))
    return next((RowView(**row._asdict() | {"body": row.body and row.body.encode()}) for row in rows), None)


def conflicts_of(database: DatabaseTier, checkout_id: str) -> list[LoggedConflict]:
    """A session's ten newest unresolved conflicts, newest first."""
    if not is_accepted_id(checkout_id):
        return []
    lost = select(conflicts.c.detected_at, conflicts.c.source, conflicts.c.result)
    newest = lost.where(conflicts.c.checkout_id == checkout_id).order_by(conflicts.c.detected_at.desc())
    return [LoggedConflict(*row) for row in database.rows(newest.limit(10))]


def is_replaced(database: DatabaseTier, identity: bytes) -> bool:
    """Whether a later primary has taken this one's place, behind Sentinels or in a cluster."""
    name = identity.decode()
    known = select(epochs.c.stamp).where((epochs.c.stamp == name) | epochs.c.stamp.endswith(f" {name}"))
    with database.transaction() as connection:
        stamp = connection.scalar(known)
        return stamp is not None and connection.scalar(latest_stamp(stamp.rpartition(" ")[0])) != stamp


class Encodings(NamedTuple):
    """How PostgreSQL keeps text, and how it is sent to us and by us, in its own words for both."""

    server: str
    client: str


def encodings(database: DatabaseTier) -> Encodings | None:
    """Those of a PostgreSQL; ``None`` for SQLite, which holds every character."""
    if database.sqlite_path is not None:
        return None
    settings = (func.current_setting(name) for name in ("server_encoding", "client_encoding"))
    ((server, client),) = database.rows(select(*settings))
    return Encodings(str(server), str(client))


class Space(NamedTuple):
    """The size of a SQLite file, and its free part, in bytes."""

    size: int
    free: int


def missing_expiry_index(database: DatabaseTier) -> str:
    """The statement that makes the index on the expiry; empty where it is there."""
    with database.transaction() as connection:
        engine = connection.engine
        indexes = inspect(connection).get_indexes(sessions.name, schema_of(engine) or None)
    if any(index["column_names"][:1] == [sessions.c.expires_at.name] for index in indexes):
        return ""
    return to_type(engine, CreateIndex(expiry_index))


def created_lately(database: DatabaseTier, since: int, among: int) -> int:
    """How many of the ``among`` sessions that end last were created since a moment (ms)."""
    latest = select(sessions.c.created_at).order_by(sessions.c.expires_at.desc()).limit(among)
    return sum(row.created_at >= since for row in database.rows(latest))


def ending_first(database: DatabaseTier, now: int, limit: int) -> list[Record]:
    """The living sessions that end first; ``now`` is in milliseconds."""
    living = select(*COLUMNS).where(sessions.c.expires_at > now, sessions.c.body.is_not(None))
    return list(map(record_of, database.rows(living.order_by(sessions.c.expires_at).limit(limit))))


def starting_with(database: DatabaseTier, prefix: str, limit: int) -> list[str]:
    """At most ``limit`` ids that begin with ``prefix``, living or not."""
    if not beginning_of_ids(prefix):
        return []
    chosen = sessions.c.checkout_id.startswith(prefix, autoescape=True)
    return [row.checkout_id for row in database.rows(select(sessions.c.checkout_id).where(chosen).limit(limit))]


def known_beginnings(database: DatabaseTier, prefix: str, limit: int) -> list[str]:
    """At most ``limit`` ids that begin so: of rows, tombstones among them, or of conflicts where there are none."""
    if rows := starting_with(database, prefix, limit):
        return rows
    column = conflicts.c.checkout_id
    chosen = select(column).where(column.startswith(prefix, autoescape=True)).distinct().limit(limit)
    return [row.checkout_id for row in database.rows(chosen)]


def ended(database: DatabaseTier, now: int) -> Iterator[list[Record]]:
    """The sessions that ended before ``now`` (ms), in pages, the last to expire first.

    A tombstone comes with the body that an external writer deleted; those of our own deletions keep none.
    """
    body = func.coalesce(sessions.c.body, sessions.c.previous_body)
    columns = [body.label("body") if column.name == "body" else column for column in COLUMNS]
    order = tuple_(sessions.c.expires_at, sessions.c.checkout_id)
    last: tuple[int, str] | None = None
    while True:
        chosen = or_(sessions.c.expires_at <= now, sessions.c.body.is_(None)), body.is_not(None)
        statement = select(*columns).where(*chosen, *(() if last is None else (order < tuple_(*last),)))
        newest = statement.order_by(sessions.c.expires_at.desc(), sessions.c.checkout_id.desc())
        page = list(map(record_of, database.rows(newest.limit(_PAGE))))
        if page:
            yield page
        if len(page) < _PAGE:
            return
        last = page[-1].expires_at, page[-1].checkout_id


def number_starting_with(database: DatabaseTier, prefix: str, *, alive_at: int = 0) -> int:
    """The number of rows that begin with ``prefix`` and live beyond ``alive_at`` (ms)."""
    begins = sessions.c.checkout_id.startswith(prefix, autoescape=True)
    return database.number_of(sessions, begins, sessions.c.expires_at > alive_at)


def sqlite_space(database: DatabaseTier) -> Space | None:
    """The size of the file; ``None`` for any other database."""
    if database.sqlite_path is None:
        return None
    with database.transaction() as connection:
        page, pages, free = (
            int(connection.execute(text(f"PRAGMA {name}")).scalar_one())
            for name in ("page_size", "page_count", "freelist_count")
        )
    return Space(page * pages, page * free)
