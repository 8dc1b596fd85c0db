"""The database tier: it issues the versions, and its commits are the truth (ARCHITECTURE.md).

Every change of a session is one conditional UPDATE of one row. *Pending* means that ``published_version`` has not
caught up with ``version``; nothing here knows of Redis.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Executable,
    Select,
    Table,
    bindparam,
    case,
    event,
    func,
    select,
    tuple_,
    update,
)
from sqlalchemy.engine import Connection, Engine

from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    ConfigurationError,
    ConnectionLost,
    DatabaseDenied,
    DatabaseNotReady,
    DatabasePoolExhausted,
    DatabaseUnavailable,
    StatementRefused,
)
from checkout_cli.keys import is_accepted_id
from checkout_cli.session import PaymentStatus, decode, is_completed
from checkout_cli.store.breaker import Breaker
from checkout_cli.store.database.engine import Prepared, insert_of, make_engine, transaction
from checkout_cli.store.database.external_writers import ExternalWrites, add_writes, read_writes
from checkout_cli.store.database.failures import no_tables
from checkout_cli.store.database.own_tables import own_tables
from checkout_cli.store.database.places import sqlite_path
from checkout_cli.store.database.schema import epochs, sessions
from checkout_cli.store.late_refusals import LateRefusals
from checkout_cli.store.records import Epoch, Record

_STATUSES = tuple(PaymentStatus)
"""To look up what may be anything: a foreign status can be a list, which no set can be asked for."""


COUNTED = {"preserve_rowcount": True}
"""For an INSERT: SQLAlchemy keeps its row count only when asked to; on PostgreSQL it would be -1."""

_log = logging.getLogger("checkout_cli.store")

FOREIGN = "foreign"
"""The status of a tombstone whose session was another program's, and never counted."""


class Pending(msgspec.Struct, frozen=True):
    """A version that Redis may still lack."""

    checkout_id: str
    version: int
    updated_at: int
    write_id: str


class DatabaseTier:
    """Sessions in the database. Thread-safe. Every method may raise ``DatabaseUnavailable``."""

    def __init__(self, settings: Settings, *, engine: Engine | None = None, breaker: Breaker | None = None) -> None:
        self._settings = settings
        self._engine = engine or make_engine(settings)
        self._tables_are_ours = False
        self._max_age = int(settings.session_max_age * 1000)
        self._update = Prepared(_UPDATE, self._engine)
        self._refusals = LateRefusals("the database")
        event.listen(self._engine, "connect", lambda *_: self._refusals.connected())
        # A connect and an answer, each as long as a hanging server can make them.
        self.breaker = breaker or Breaker(time.monotonic, longest_try=2 * settings.database_timeout)

    @property
    def sqlite_path(self) -> Path | None:
        """The file of an SQLite database; ``None`` for any other."""
        return sqlite_path(self._engine)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def forked(self) -> None:
        """In a new process: its connections are still its parent's, which goes on using them."""
        self._engine.dispose(close=False)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction on our tables, unless the breaker is open."""
        with self._connected() as connection:
            self._insist_on_our_tables(connection)
            yield connection

    def _insist_on_our_tables(self, connection: Connection) -> None:
        """Raise ``DatabaseNotReady`` or ``TablesRefused``; asked once in a tier's life, since it costs two queries."""
        if not self._tables_are_ours:
            if not own_tables(connection).version:
                raise no_tables(self._engine)
            self._tables_are_ours = True

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A transaction for reading: all its statements see one and the same moment."""
        with self._connected() as connection:
            is_sqlite = self._engine.dialect.name == "sqlite"
            connection.exec_driver_sql("BEGIN" if is_sqlite else "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            self._insist_on_our_tables(connection)
            yield connection

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        self.breaker.check()
        begun = False
        try:
            with transaction(self._engine) as connection:
                begun = True
                yield connection
        except (DatabaseNotReady, DatabaseDenied, ConfigurationError) as error:
            if isinstance(error, DatabaseNotReady):
                self._tables_are_ours = False  # who makes the tables now may be newer than we are
            elif not begun and self._refusals.is_late(error):
                away = DatabaseUnavailable(str(error), hint=error.hint)
                self.breaker.failed(away)
                raise away from error
            self.breaker.succeeded()  # it answers at once, so it may be asked again at once
            raise
        except (DatabasePoolExhausted, ConnectionLost):
            raise  # of this process, or of one connection: it says nothing about the server
        except StatementRefused:
            self.breaker.succeeded()  # it answers, and others want something else of it
            raise
        except DatabaseUnavailable as error:
            self.breaker.failed(error)
            raise
        self.breaker.succeeded()

    def ping(self) -> float:
        """One round trip to our table, in seconds; raises ``DatabaseNotReady``."""
        started = time.perf_counter()
        with self.transaction() as connection:
            connection.execute(select(sessions.c.version).limit(1)).first()
        return time.perf_counter() - started

    def rows(self, statement: Executable, **parameters: Any) -> Sequence[Any]:
        """What a query returns, in a transaction of its own; asked again where the connection was lost meanwhile."""
        try:
            return self._rows(statement, parameters)
        except ConnectionLost:
            return self._rows(statement, parameters)

    def _rows(self, statement: Executable, parameters: Mapping[str, Any]) -> Sequence[Any]:
        with self.transaction() as connection:
            return connection.execute(statement, parameters).all()

    def number_of(self, table: Table, *conditions: ColumnElement[bool]) -> int:
        """The number of rows of a table that meet all conditions."""
        ((number,),) = self.rows(select(func.count()).select_from(table).where(*conditions))
        return int(number)

    # The protocol

    def read(self, checkout_id: str) -> Record | None:
        """The row of a session, live or a tombstone."""
        rows = self.rows(_READ, checkout_id=checkout_id) if is_accepted_id(checkout_id) else ()
        return record_of(rows[0]) if rows else None

    def read_many(self, checkout_ids: Sequence[str]) -> dict[str, Record]:
        """The rows of several sessions, by id."""
        possible = list(filter(is_accepted_id, checkout_ids))  # no row has another, which may be no text for a database
        rows = self.rows(_READ_MANY, checkout_ids=possible) if possible else ()
        return {row.checkout_id: record_of(row) for row in rows}

    def insert(self, record: Record, *, now: int, write_id: str) -> bool:
        """Create a row; false where the id exists, alive or as a tombstone."""
        first = {"checkout_id": record.checkout_id, "created_at": record.created_at, "published_version": 0}
        values = columns_of(record) | first | {"updated_at": now, "write_id": write_id}
        return self._settled(record.checkout_id, write_id, lambda connection: insert_once(connection, sessions, values))

    def update(self, record: Record, *, seen: int, now: int, write_id: str) -> bool:
        """Replace version ``seen`` of a live session; false where it has another version, or is dead."""
        parameters = columns_of(record) | {
            "id": record.checkout_id,
            "seen": seen,
            "updated_at": now,
            "write_id": write_id,
        }
        return self._settled(
            record.checkout_id, write_id, lambda connection: self._update.changed(connection, parameters) == 1
        )

    def delete(self, checkout_id: str, *, seen: int, now: int, write_id: str, by_external_writer: bool = False) -> bool:
        """Turn version ``seen`` into a tombstone, with the body of an external deletion; false where it is gone."""
        parameters = {"id": checkout_id, "seen": seen, "updated_at": now, "write_id": write_id}

        def write(connection: Connection) -> bool:
            statement = _DELETE_KEEPING if by_external_writer else _DELETE
            is_deleted = connection.execute(statement, parameters).rowcount == 1
            if is_deleted and by_external_writer:
                add_writes(connection, deleted=1)
            return is_deleted

        return self._settled(checkout_id, write_id, write)

    def insert_tombstone(self, checkout_id: str, *, now: int, write_id: str) -> bool:
        """A tombstone for a session without a row; false where it has one. The totals do not count it."""
        values = {"checkout_id": checkout_id, "version": 1, "body": None, "status": FOREIGN, "completed": False}
        values |= dict.fromkeys(("created_at", "updated_at", "expires_at"), now)
        values |= {"published_version": 0, "write_id": write_id}
        return self._settled(checkout_id, write_id, lambda connection: insert_once(connection, sessions, values))

    def restore(self, record: Record, *, deletion: str, now: int, write_id: str) -> bool:
        """Put a session in place of the tombstone before it that ``deletion`` wrote; false where there is none."""
        tombstone = {"id": record.checkout_id, "deleted": record.version - 1, "deletion": deletion}
        moments = {"created_at": record.created_at, "updated_at": now}
        parameters = columns_of(record) | tombstone | moments | {"write_id": write_id}
        return self._settled(
            record.checkout_id, write_id, lambda connection: connection.execute(_RESTORE, parameters).rowcount == 1
        )

    def _settled(self, checkout_id: str, write_id: str, write: Callable[[Connection], bool]) -> bool:
        """Run a write; where the answer to COMMIT was lost, the write id in the row says whether it happened."""
        sent = False
        try:
            with self.transaction() as connection:
                sent = True
                return write(connection)
        except DatabaseUnavailable:
            if not (sent and self._has_write(checkout_id, write_id)):
                raise
            self.breaker.succeeded()
            return True

    def _has_write(self, checkout_id: str, write_id: str) -> bool:
        try:
            with transaction(self._engine) as connection:  # past the breaker: this answer decides what we tell
                return connection.execute(_WRITE_ID, {"checkout_id": checkout_id}).scalar() == write_id
        except DatabaseUnavailable as silent:
            _log.warning("whether a write was committed is not known: %s", silent)
            return False

    def lock_for_writing(self, connection: Connection) -> None:
        """Begin to write at once: SQLite refuses a reader that becomes a writer."""
        if self._engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    def pending(self, limit: int) -> list[Pending]:
        """At most ``limit`` versions that Redis may still lack, tombstones among them."""
        return [Pending(*row) for row in self.rows(_PENDING, limit=limit)]

    def look(self, limit: int) -> tuple[list[Pending], ExternalWrites]:
        """:meth:`pending`, and the counts of external writers: what each process asks once per lease."""
        with self.transaction() as connection:
            rows = connection.execute(_PENDING, {"limit": limit}).all()
            return [Pending(*row) for row in rows], read_writes(connection)

    def note_published(self, versions: Mapping[str, int], epoch: Epoch | None = None) -> None:
        """Note which versions Redis has; never backwards, and losing this note is harmless.

        With ``epoch``, only while that is the latest primary of its shard: its successor may lack what it has.
        """
        if not versions:
            return
        is_latest = [] if epoch is None else [latest_stamp(epoch.shard).scalar_subquery() == epoch.stamp]
        parameters = {"ids": sorted(versions), "noted": sorted(versions.items())}
        with self.transaction() as connection:
            connection.execute(_NOTE.where(*is_latest), parameters)

    def note_proofs(self, notes: Mapping[str, str]) -> None:
        """Keep the notes made at publications; each begins with its version."""
        self._note(_PROVE, notes)

    def proof(self, checkout_id: str) -> str:
        """The note of the row's version; empty where there is none, or where the row is pending again."""
        if not is_accepted_id(checkout_id):
            return ""
        statement = select(sessions.c.proof).where(
            sessions.c.checkout_id == checkout_id, sessions.c.published_version >= sessions.c.version
        )
        rows = self.rows(statement)
        return (rows[0].proof or "") if rows else ""

    def note_refilled(self, number: int) -> None:
        """Count sessions refilled from the database while external writers are there."""
        with self.transaction() as connection:
            add_writes(connection, refilled=number)

    def touch(self, expiries: Mapping[str, int]) -> None:
        """Move expiries (ms) forward after reads; never backwards, past the maximum age, or of a dead row."""
        self._note(_TOUCH, expiries, max_age=self._max_age)

    def _note(self, statement: Executable, notes: Mapping[str, Any], **others: Any) -> None:
        # Sorted, so that two processes that note the same sessions cannot deadlock.
        parameters = [{"id": name, "noted": noted, **others} for name, noted in sorted(notes.items())]
        if parameters:
            with self.transaction() as connection:
                connection.execute(statement, parameters)


COLUMNS = tuple(sessions.c[name] for name in Record.__struct_fields__)
_READ = select(*COLUMNS).where(sessions.c.checkout_id == bindparam("checkout_id"))
_READ_MANY = select(*COLUMNS).where(sessions.c.checkout_id.in_(bindparam("checkout_ids", expanding=True)))
_WRITE_ID = select(sessions.c.write_id).where(sessions.c.checkout_id == bindparam("checkout_id"))
_ROW = update(sessions).where(sessions.c.checkout_id == bindparam("id"))
_LIVING = _ROW.where(sessions.c.version == bindparam("seen"), sessions.c.body.is_not(None))
_VERSION: dict[str, Any] = {
    name: bindparam(name) for name in ("version", "body", "status", "completed", "expires_at", "updated_at", "write_id")
}
_PREVIOUS = {"previous_version": sessions.c.version, "previous_body": sessions.c.body}
_UPDATE = _LIVING.values(_VERSION | _PREVIOUS)
_TOMBSTONE = _LIVING.values(
    version=sessions.c.version + 1, body=None, updated_at=bindparam("updated_at"), write_id=bindparam("write_id")
)
_DELETE = _TOMBSTONE.values(previous_version=None, previous_body=None)
_DELETE_KEEPING = _TOMBSTONE.values(_PREVIOUS)
_RESTORE = _ROW.where(
    sessions.c.version == bindparam("deleted"), sessions.c.write_id == bindparam("deletion"), sessions.c.body.is_(None)
).values(_VERSION | {"created_at": bindparam("created_at")})
_PENDING = (
    select(sessions.c.checkout_id, sessions.c.version, sessions.c.updated_at, sessions.c.write_id)
    .where(sessions.c.published_version < sessions.c.version)
    .limit(bindparam("limit"))
)
_NOTED = bindparam("noted", type_=BigInteger)
# All in one statement; a note of another version than the row's would leave that pending just as well.
_NOTE = (
    update(sessions)
    .where(
        sessions.c.checkout_id.in_(bindparam("ids", expanding=True)),
        tuple_(sessions.c.checkout_id, sessions.c.version).in_(bindparam("noted", expanding=True)),
        sessions.c.published_version < sessions.c.version,
    )
    .values(published_version=sessions.c.version)
)
_PROVE = _ROW.values(proof=bindparam("noted"))
_LATEST = sessions.c.created_at + bindparam("max_age")
_TOUCH = _ROW.where(sessions.c.expires_at < _NOTED, sessions.c.body.is_not(None)).values(
    expires_at=case((_NOTED > _LATEST, _LATEST), else_=_NOTED)
)


def insert_once(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert a row; false where its key is there already."""
    statement = insert_of(connection, table).values(values).on_conflict_do_nothing().execution_options(**COUNTED)
    return bool(connection.execute(statement).rowcount == 1)


def latest_stamp(shard: str) -> Select[Any]:
    """The stamp of the latest primary of a shard, or without a shard of all."""
    latest = select(epochs.c.stamp).order_by(epochs.c.number.desc()).limit(1)
    return latest.where(epochs.c.stamp.startswith(f"{shard} ", autoescape=True)) if shard else latest


def record_of(row: Any) -> Record:
    """A row with ``COLUMNS``."""
    body = None if row.body is None else row.body.encode()
    return Record(row.checkout_id, row.version, body, row.created_at, row.expires_at, row.write_id)


def columns_of(record: Record) -> dict[str, Any]:
    """The columns that a new version sets; status and completion are copied out of the body, to be counted."""
    assert record.body is not None  # noqa: S101  (tombstones are made by delete)
    fields = decode(record.body)
    status = fields.get("paymentStatus") or PaymentStatus.PENDING
    return {
        "version": record.version,
        "body": record.body.decode(),
        "status": str(status) if status in _STATUSES else "other",
        "completed": is_completed(fields),
        "expires_at": record.expires_at,
    }
