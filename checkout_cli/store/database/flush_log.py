"""Bringing dirty values to the database, each exactly once, in one transaction.

``protocol/flushing.py`` decides what is done, and why. Here are the row's lock, the flush log, and the conflict log,
which keeps both contents of writes that could not stand as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.engine import Connection

from checkout_cli.errors import SessionCorrupt
from checkout_cli.session import decode
from checkout_cli.store.database.engine import insert_of
from checkout_cli.store.database.external_writers import ExternalWriters
from checkout_cli.store.database.schema import conflicts, flushes, sessions
from checkout_cli.store.database.tier import COLUMNS, DatabaseTier, columns_of, insert_once, record_of
from checkout_cli.store.protocol.bodies import SessionBodies
from checkout_cli.store.protocol.flushing import Flush, Logged, Result, decide
from checkout_cli.store.protocol.ids import EXTERNAL, is_external, token_of
from checkout_cli.store.protocol.row import Row
from checkout_cli.store.protocol.value import Value, digest_of
from checkout_cli.store.records import Record

LONGEST_WRITE_ID = 64
"""Characters of the column."""


class Source(StrEnum):
    """Where a write was before the database had it."""

    REDIS = "redis"
    MEMORY = "memory"
    EXTERNAL = "external"


class Dirty(msgspec.Struct, frozen=True):
    """A dirty value to be flushed; moments are in milliseconds."""

    checkout_id: str
    value: Value
    created_at: int
    expires_at: int
    source: Source

    @property
    def is_external(self) -> bool:
        """Whether an external writer's bytes are in it."""
        return any(map(is_external, self.value.ids))


class Flushed(msgspec.Struct, frozen=True):
    """The result of a flush, the row now, and its body before (``None``: no row); ``wrote``: by this very flush."""

    result: Result
    record: Record | None
    before: bytes | None
    conflict: bool
    external: bool = False
    wrote: bool = False


class Conflict(msgspec.Struct, frozen=True):
    """A write that could not stand as it was, and the database's content then (``None``: nothing alive)."""

    write_id: str
    checkout_id: str
    source: str
    result: str
    base_version: int
    found_version: int | None
    written: bytes
    found_body: bytes | None
    detected_at: int

    @property
    def fields(self) -> dict[str, Any] | None:
        """The fields that were written, if they are a session."""
        try:
            return decode(self.written)
        except SessionCorrupt:
            return None


def _no_note(_record: Record) -> None:
    """For who trusts nothing anyway."""


class FlushLog:
    """The logs of one database. Every method may raise ``DatabaseUnavailable``."""

    def __init__(self, database: DatabaseTier, external_writers: ExternalWriters, new_token: Callable[[], str]) -> None:
        self._database = database
        self._external_writers = external_writers
        self._new_token = new_token

    def apply(self, dirty: Dirty, now: int, *, committing: Callable[[Record], None] = _no_note) -> Flushed:
        """Flush one value; ``committing`` is called with the version that is about to be committed, if one is."""
        bodies, fresh_id = SessionBodies(dirty.checkout_id), f"{self._new_token()}-1"
        with self._database.transaction() as connection:
            self._database.lock_for_writing(connection)
            while True:
                before = connection.execute(_LOCKED, {"checkout_id": dirty.checkout_id}).first()
                row = None if before is None else _row(before)
                flush = decide(dirty.value, row, self._known(connection, dirty.value.ids), bodies, fresh_id)
                if flush.row is None or self._write(connection, dirty, row, flush.row, now):
                    break
            self._log(connection, dirty, flush, now)
            if flush.conflict:
                value, source = dirty.value, Source.EXTERNAL if dirty.is_external else dirty.source
                at, body = (None, None) if row is None else (row.version, row.body)
                name, result = dirty.checkout_id, flush.result
                lost = Conflict(value.ids[-1], name, source, result, value.base, at, value.body, body, now)
                self._keep_conflict(connection, lost)
            if dirty.is_external and flush.log:
                self._external_writers.note(connection, now, taken_in=1, conflicts=int(flush.conflict))
            record = _record_after(dirty, before, flush)
            if flush.row is not None and record is not None:
                committing(record)
        was = None if row is None else row.body
        return Flushed(flush.result, record, was, flush.conflict, dirty.is_external, flush.row is not None)

    def _known(self, connection: Connection, ids: Sequence[str]) -> dict[str, Logged]:
        rows = connection.execute(_KNOWN, {"tokens": list(map(token_of, ids))})
        return {row.token: Logged(row.number, Result(row.result)) for row in rows}

    def _write(self, connection: Connection, dirty: Dirty, row: Row | None, new: Row, now: int) -> bool:
        """Write the row; false where another process has inserted one since."""
        record = Record(dirty.checkout_id, new.version, new.body, dirty.created_at, dirty.expires_at)
        values = columns_of(record) | {"write_id": new.write_id, "updated_at": now}
        if row is None:
            first = {"checkout_id": dirty.checkout_id, "created_at": dirty.created_at, "published_version": 0}
            return insert_once(connection, sessions, values | first)
        values |= {"previous_version": sessions.c.version, "previous_body": sessions.c.body}
        connection.execute(update(sessions).where(sessions.c.checkout_id == dirty.checkout_id).values(values))
        return True

    def _log(self, connection: Connection, dirty: Dirty, flush: Flush, now: int) -> None:
        if not flush.log:
            return
        entries = [
            {"token": token, "checkout_id": dirty.checkout_id, "flushed_at": now, **logged._asdict()}
            for token, logged in sorted(flush.log)
        ]
        statement = insert_of(connection, flushes)
        upsert = statement.on_conflict_do_update(
            index_elements=[flushes.c.token],
            set_={name: statement.excluded[name] for name in ("number", "result", "flushed_at")},
            where=flushes.c.number < statement.excluded.number,
        )
        connection.execute(upsert, entries)

    def _keep_conflict(self, connection: Connection, conflict: Conflict) -> bool:
        body = conflict.found_body
        values = msgspec.structs.asdict(conflict) | {"found_body": None if body is None else body.decode()}
        return insert_once(connection, conflicts, values)

    def keep_unreadable(self, checkout_id: str, raw: bytes, row: Record, now: int) -> Flushed:
        """Keep an external writer's unreadable bytes, so that the row may replace them."""
        write_id = EXTERNAL + digest_of(raw)
        lost = Conflict(write_id, checkout_id, Source.EXTERNAL, Result.CONFLICT, 0, row.version, raw, row.body, now)
        with self._database.transaction() as connection:
            self._database.lock_for_writing(connection)
            is_new = self._keep_conflict(connection, lost)
            if is_new:
                self._external_writers.note(connection, now, taken_in=1, conflicts=1)
        return Flushed(Result.CONFLICT, row, row.body, is_new, external=True)

    def expected(self, checkout_id: str, value: Value, row: Record | None) -> Flush:
        """What flushing a value would do; nothing is written."""
        found = self.expected_all({checkout_id: value}, {} if row is None else {checkout_id: row})
        return found[checkout_id]

    def expected_all(self, some: Mapping[str, Value], rows: Mapping[str, Record]) -> dict[str, Flush]:
        """:meth:`expected` for several sessions, by id."""
        if not some:
            return {}
        with self._database.transaction() as connection:
            known = self._known(connection, [each for value in some.values() for each in value.ids])
            found = connection.execute(_SEVERAL, {"checkout_ids": list(rows)})
            previous = {row.checkout_id: _row(row) for row in found}
        return {
            name: decide(value, previous.get(name), known, SessionBodies(name), self._new_token() + "-1")
            for name, value in some.items()
        }

    # What operators see

    def conflicts(self, limit: int) -> list[Conflict]:
        """The newest conflicts."""
        newest = select(conflicts).order_by(conflicts.c.detected_at.desc())
        return list(map(_conflict, self._database.rows(newest.limit(limit))))

    def conflicts_named(self, beginning: str) -> list[Conflict]:
        """At most three conflicts whose write id begins with ``beginning``."""
        if not _is_write_id(beginning):
            return []
        named = select(conflicts).where(conflicts.c.write_id.startswith(beginning, autoescape=True)).limit(3)
        return list(map(_conflict, self._database.rows(named)))

    def resolve(self, write_id: str) -> bool:
        """Forget a resolved conflict; false where it was forgotten already."""
        if not _is_write_id(write_id):
            return False
        with self._database.transaction() as connection:
            return connection.execute(delete(conflicts).where(conflicts.c.write_id == write_id)).rowcount == 1

    def conflict_count(self) -> int:
        """The number of unresolved conflicts."""
        return self._database.number_of(conflicts)

    def count(self, cutoff: int) -> int:
        """The number of entries of the flush log from ``cutoff`` (ms) or before."""
        return self._database.number_of(flushes, flushes.c.flushed_at <= cutoff)

    def purge(self, cutoff: int, limit: int) -> int:
        """Forget at most ``limit`` flushes of ``cutoff`` (ms) or before, whose writes no old copy can bring back."""
        batch = select(flushes.c.token).where(flushes.c.flushed_at <= cutoff).limit(limit)
        with self._database.transaction() as connection:
            return connection.execute(delete(flushes).where(flushes.c.token.in_(batch))).rowcount


_COLUMNS = (*COLUMNS, sessions.c.previous_version, sessions.c.previous_body)
_LOCKED = select(*_COLUMNS).where(sessions.c.checkout_id == bindparam("checkout_id")).with_for_update()
_SEVERAL = select(*_COLUMNS).where(sessions.c.checkout_id.in_(bindparam("checkout_ids", expanding=True)))
_KNOWN = select(flushes.c.token, flushes.c.number, flushes.c.result).where(
    flushes.c.token.in_(bindparam("tokens", expanding=True))
)


def _is_write_id(text: object) -> bool:
    """Whether a write id can be so, or begin so; anything else may be no text for a database."""
    return isinstance(text, str) and len(text) <= LONGEST_WRITE_ID and text.isascii() and text.isprintable()


def _row(row: Any) -> Row:
    return Row(row.version, row.write_id, _bytes(row.body), row.previous_version, _bytes(row.previous_body))


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _record_after(dirty: Dirty, before: Any, flush: Flush) -> Record | None:
    if flush.row is not None:
        created_at = dirty.created_at if before is None else before.created_at
        new = flush.row
        return Record(dirty.checkout_id, new.version, new.body, created_at, dirty.expires_at, new.write_id)
    return None if before is None else record_of(before)


def _conflict(row: Any) -> Conflict:
    return Conflict(**row._asdict() | {"written": bytes(row.written), "found_body": _bytes(row.found_body)})
