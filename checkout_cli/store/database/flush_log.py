"""Bringing dirty values to the database, each exactly once, in one transaction.

``protocol/flushing.py`` decides what is done, and why. Here are the row's lock, the flush log, and the conflict log,
which keeps both contents of writes that could not stand as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import bindparam, delete, select
from sqlalchemy.engine import Connection

from checkout_cli.errors import SessionCorrupt
from checkout_cli.session import decode
from checkout_cli.store.database.engine import executed_for_all, insert_of
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
    whole: bool = False
    """All of the value became a version of the row, now or before."""


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


class _Decided(NamedTuple):
    """A value, the row before it, what its flush does, and the row after that."""

    dirty: Dirty
    row: Row | None
    flush: Flush
    record: Record | None

    @property
    def name(self) -> str:
        return self.dirty.checkout_id

    @property
    def flushed(self) -> Flushed:
        flush, was = self.flush, None if self.row is None else self.row.body
        return Flushed(
            flush.result,
            self.record,
            was,
            flush.conflict,
            self.dirty.is_external,
            flush.row is not None,
            flush.is_whole,
        )

    def columns(self, now: int) -> dict[str, Any]:
        """The row to be written."""
        dirty, new = self.dirty, self.flush.row
        assert new is not None  # noqa: S101  (only those are written)
        record = Record(dirty.checkout_id, new.version, new.body, dirty.created_at, dirty.expires_at)
        first = {"checkout_id": self.name, "created_at": dirty.created_at, "published_version": 0}
        seen = None if self.row is None else self.row.version
        return columns_of(record) | first | {"write_id": new.write_id, "updated_at": now, "previous_version": seen}

    def conflict(self, now: int) -> Conflict:
        """The entry of the conflict log."""
        value, source = self.dirty.value, Source.EXTERNAL if self.dirty.is_external else self.dirty.source
        at, body = (None, None) if self.row is None else (self.row.version, self.row.body)
        return Conflict(value.ids[-1], self.name, source, self.flush.result, value.base, at, value.body, body, now)


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
        return self.apply_all([dirty], now, committing=committing)[dirty.checkout_id]

    def apply_all(
        self, dirty: Sequence[Dirty], now: int, *, committing: Callable[[Record], None] = _no_note
    ) -> dict[str, Flushed]:
        """Flush values of several sessions in one transaction of a few statements; the results by id."""
        done: dict[str, _Decided] = {}
        left = sorted(dirty, key=lambda one: one.checkout_id)  # so that two that flush the same cannot deadlock
        with self._database.transaction() as connection:
            self._database.lock_for_writing(connection)
            while left:  # once, but for rows that another process inserts at this moment
                decided = self._decided(connection, left)
                writes = any(one.flush.row is not None for one in decided)
                written = self._write_all(connection, decided, now) if writes else set()
                done |= {one.dirty.checkout_id: one for one in decided if one.flush.row is None or one.name in written}
                left = [one.dirty for one in decided if one.name not in done]
            self._log_all(connection, list(done.values()), now)
            self._keep_conflicts(connection, list(done.values()), now)
            for one in done.values():
                if one.flush.row is not None and one.record is not None:
                    committing(one.record)
        return {name: one.flushed for name, one in done.items()}

    def _decided(self, connection: Connection, dirty: Sequence[Dirty]) -> list[_Decided]:
        found = connection.execute(_LOCKED, {"checkout_ids": [one.checkout_id for one in dirty]})
        rows = {row.checkout_id: row for row in found}
        # Read once the rows are locked: who had them until now may have flushed the same writes.
        known = self._known(connection, [each for one in dirty for each in one.value.ids])
        decided = []
        for one in dirty:
            before = rows.get(one.checkout_id)
            row, bodies = None if before is None else _row(before), SessionBodies(one.checkout_id)
            flush = decide(one.value, row, known, bodies, f"{self._new_token()}-1")
            decided.append(_Decided(one, row, flush, _record_after(one, before, flush)))
        return decided

    def _known(self, connection: Connection, ids: Sequence[str]) -> dict[str, Logged]:
        rows = connection.execute(_KNOWN, {"tokens": list(map(token_of, ids))})
        return {row.token: Logged(row.number, Result(row.result)) for row in rows}

    def _write_all(self, connection: Connection, decided: Sequence[_Decided], now: int) -> set[str]:
        """Write the rows; returns whose were written: no others than those that another process has just inserted.

        One statement for all: a row that is there is replaced where it still has the version that was decided upon.
        """
        values = [one.columns(now) for one in decided if one.flush.row is not None]
        statement = insert_of(connection, sessions)
        replaced = {name: statement.excluded[name] for name in (*_REPLACED, "previous_version")}
        upsert = statement.on_conflict_do_update(
            index_elements=[sessions.c.checkout_id],
            set_=replaced | {"previous_body": sessions.c.body},
            where=sessions.c.version == statement.excluded.previous_version,
        )
        return set(executed_for_all(connection, upsert, sessions.c.checkout_id, values))

    def _log_all(self, connection: Connection, decided: Sequence[_Decided], now: int) -> None:
        entries = {
            token: {"token": token, "checkout_id": one.name, "flushed_at": now, **logged._asdict()}
            for one in decided
            for token, logged in one.flush.log
        }
        if entries:
            statement = insert_of(connection, flushes)
            upsert = statement.on_conflict_do_update(
                index_elements=[flushes.c.token],
                set_={name: statement.excluded[name] for name in ("number", "result", "flushed_at")},
                where=flushes.c.number < statement.excluded.number,
            )
            executed_for_all(connection, upsert, flushes.c.token, [entries[token] for token in sorted(entries)])

    def _keep_conflicts(self, connection: Connection, decided: Sequence[_Decided], now: int) -> None:
        for one in decided:
            if one.flush.conflict:
                self._keep_conflict(connection, one.conflict(now))
        external = [one for one in decided if one.dirty.is_external and one.flush.log]
        if external:
            conflicting = sum(one.flush.conflict for one in external)
            self._external_writers.note(connection, now, taken_in=len(external), conflicts=conflicting)

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
_SEVERAL = select(*_COLUMNS).where(sessions.c.checkout_id.in_(bindparam("checkout_ids", expanding=True)))
_LOCKED = _SEVERAL.order_by(sessions.c.checkout_id).with_for_update()
_REPLACED = ("version", "body", "status", "completed", "expires_at", "updated_at", "write_id")
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
