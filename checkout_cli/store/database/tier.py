"""The database tier: it issues the versions, and what it has committed is what is true (ARCHITECTURE.md).

Every change of a session is one conditional UPDATE of one row. Nothing here knows of Redis; *pending* only means that
``published_version`` has not caught up with ``version``.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Table,
    bindparam,
    case,
    delete,
    event,
    func,
    or_,
    select,
    update,
)
from sqlalchemy import text as sql_text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine

from checkout_cli.config.addresses import is_loopback
from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    ConfigurationError,
    DatabaseDenied,
    DatabaseNotReady,
    DatabaseUnavailable,
    SchemaOutdated,
)
from checkout_cli.session import PaymentStatus, TierName, decode, is_completed
from checkout_cli.store.breaker import Breaker
from checkout_cli.store.database import migrations as schema_version
from checkout_cli.store.database import schema
from checkout_cli.store.database.engine import Prepared, create_file, make_engine, no_tables, schema_of, transaction
from checkout_cli.store.database.external_writers import ExternalWrites, add_writes, read_writes
from checkout_cli.store.database.own_tables import own_tables
from checkout_cli.store.database.schema import epochs, locks, sessions, totals
from checkout_cli.store.records import Epoch, Record, Totals

PAGE = 500
"""Rows to read at a time."""
IDS_AT_ONCE = 10_000
"""Ids alone to read at a time: a few milliseconds."""
LOCK_TIMEOUT = 5.0
"""Seconds that an upgrade waits at least for a table that is in use: it comes seldom, and may be tried again."""


_STATUSES = tuple(PaymentStatus)
"""To look up what may be anything: a foreign status can be a list, which no set can be asked for."""


_COUNTED = {"preserve_rowcount": True}
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

    name = TierName.DATABASE

    def __init__(self, settings: Settings, *, engine: Engine | None = None, breaker: Breaker | None = None) -> None:
        """Connects to nothing yet."""
        self._settings = settings
        self._engine = engine or make_engine(settings)
        self._tables_are_ours = False
        self._ttl = int(settings.session_ttl * 1000)
        self._max_age = int(settings.session_max_age * 1000)
        self._update = Prepared(_UPDATE, self._engine)
        self._insert: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[self._engine.dialect.name]
        # A connect and an answer, each as long as a hanging server can make them.
        self.breaker = breaker or Breaker(time.monotonic, longest_try=2 * settings.database_timeout)

    @property
    def sqlite_path(self) -> Path | None:
        """The file of an SQLite database; ``None`` for any other."""
        path: Path | None = getattr(self._engine, "sqlite_path", None)
        return path

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine, as far as its URL tells."""
        url = self._engine.url
        host = url.host or next(iter(url.normalized_query.get("host", ())), "")
        return self.sqlite_path is not None or not host or host.startswith("/") or is_loopback(host)

    @contextmanager
    def counting(self) -> Iterator[Callable[[], int]]:
        """Hands out a function that says how many statements were sent since the block began, by any thread."""
        numbers = itertools.count(1)
        sent = 0

        def note(*_: object) -> None:
            nonlocal sent
            sent = next(numbers)  # which no two threads get alike

        event.listen(self._engine, "before_cursor_execute", note)
        try:
            yield lambda: sent
        finally:
            event.remove(self._engine, "before_cursor_execute", note)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction on our tables, unless the database was away a moment ago; for this tier and the flush log."""
        with self._connected() as connection:
            self._insist_on_our_tables(connection)
            yield connection

    def _insist_on_our_tables(self, connection: Connection) -> None:
        """Look once in the life of this tier, before its first statement on a table: it costs two questions.

        Raises:
            DatabaseNotReady: there are no tables of ours.
            TablesRefused: those that are there are somebody else's, or a newer program's.
        """
        if not self._tables_are_ours:
            if not own_tables(connection).version:
                raise no_tables(self._engine)
            self._tables_are_ours = True

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """One transaction on whatever is there."""
        self.breaker.check()
        try:
            with transaction(self._engine) as connection:
                yield connection
        except (DatabaseNotReady, DatabaseDenied, ConfigurationError) as error:
            self.breaker.succeeded()  # it answers at once, so it may be asked again at once
            if isinstance(error, DatabaseNotReady):
                self._tables_are_ours = False  # who makes the tables now may be newer than we are
            raise
        except DatabaseUnavailable as error:
            self.breaker.failed(error)
            raise
        self.breaker.succeeded()

    def ping(self) -> float:
        """One round trip to our table, in seconds.

        Raises:
            DatabaseNotReady: the tables are not there.
        """
        started = time.perf_counter()
        with self.transaction() as connection:
            connection.execute(select(sessions.c.version).limit(1)).first()
        return time.perf_counter() - started

    # The tables' version

    def check_schema(self) -> SchemaOutdated | None:
        """What to say of tables of an older version, which serve all the same.

        Raises:
            TablesRefused: they are newer than this program, or not ours.
            DatabaseNotReady: there are none.
        """
        with self.transaction() as connection:
            found = own_tables(connection).version
        if found == schema.VERSION:
            return None
        return SchemaOutdated(
            f"the database's tables are of version {found}, and this program's of version {schema.VERSION}"
        )

    def upgrade_schema(self) -> schema_version.Upgrade | None:
        """Create what is missing of the database's file and tables, and upgrade older ones; ``None``: nothing to do.

        Raises:
            TablesRefused: the tables are newer than this program, or not ours.
            DatabaseDenied: our role may not make tables.
            ConfigurationError: the file cannot be made.
        """
        create_file(self._engine)
        if self.schema_present():
            return None
        sqlite = self._engine.dialect.name == "sqlite"
        patience = schema_version.PATIENCE if sqlite else schema_version.LONGEST
        engine = make_engine(replace(self._settings, database_timeout=patience))
        try:
            done = schema_version.upgrade(engine, max(self._settings.database_timeout, LOCK_TIMEOUT))
        finally:
            engine.dispose()
            self._tables_are_ours = False
        return done

    def create_schema(self) -> bool:
        """The same, told as whether something was to do."""
        return self.upgrade_schema() is not None

    def schema_present(self) -> bool:
        """Whether all our tables are there, in this program's version."""
        with self._connected() as connection:
            return own_tables(connection).are_complete

    # The protocol

    def read(self, checkout_id: str) -> Record | None:
        """The row of a session, live or a tombstone."""
        with self.transaction() as connection:
            row = connection.execute(_READ, {"checkout_id": checkout_id}).first()
        return None if row is None else _record(row)

    def read_many(self, checkout_ids: Sequence[str]) -> dict[str, Record]:
        """The rows of several sessions, by id."""
        with self.transaction() as connection:
            rows = connection.execute(_READ_MANY, {"checkout_ids": list(checkout_ids)})
            return {row.checkout_id: _record(row) for row in rows}

    def present(self, checkout_ids: Sequence[str]) -> set[str]:
        """Those of the ids that have a row, living or a tombstone."""
        if not checkout_ids:
            return set()
        with self.transaction() as connection:
            return set(connection.scalars(_PRESENT, {"checkout_ids": list(checkout_ids)}))

    def insert(self, record: Record, *, now: int, write_id: str) -> bool:
        """Create a row; false where the id exists, alive or as a tombstone."""
        values = _values(record) | {
            "checkout_id": record.checkout_id,
            "created_at": record.created_at,
            "updated_at": now,
            "published_version": 0,
            "write_id": write_id,
        }
        return self._settled(
            record.checkout_id, write_id, lambda connection: self.insert_once(connection, sessions, values)
        )

    def update(self, record: Record, *, seen: int, now: int, write_id: str) -> bool:
        """Replace version ``seen`` of a live session; false where the row has another version by now, or is dead."""
        parameters = _values(record) | {
            "id": record.checkout_id,
            "seen": seen,
            "updated_at": now,
            "write_id": write_id,
        }
        return self._settled(
            record.checkout_id, write_id, lambda connection: self._update.changed(connection, parameters) == 1
        )

    def bury_deleted(self, checkout_id: str, *, seen: int, now: int, write_id: str) -> bool:
        """:meth:`bury` for an external writer's deletion: the tombstone keeps the body, so that it can be undone."""
        parameters = {"id": checkout_id, "seen": seen, "updated_at": now, "write_id": write_id}

        def write(connection: Connection) -> bool:
            buried = connection.execute(_BURY_KEEPING, parameters).rowcount == 1
            if buried:
                add_writes(self, connection, {"deleted": 1})
            return buried

        return self._settled(checkout_id, write_id, write)

    def deleted_body(self, checkout_id: str) -> Record | None:
        """What an external writer's deletion took, with the tombstone's version and write id; else ``None``."""
        with self.transaction() as connection:
            row = connection.execute(_KEPT, {"checkout_id": checkout_id}).first()
        return None if row is None else _record(row)

    def bury(self, checkout_id: str, *, seen: int, now: int, write_id: str) -> bool:
        """Turn version ``seen`` into a tombstone, one version further; false where it is not the version any more."""
        parameters = {"id": checkout_id, "seen": seen, "updated_at": now, "write_id": write_id}
        return self._settled(
            checkout_id, write_id, lambda connection: connection.execute(_BURY, parameters).rowcount == 1
        )

    def entomb(self, checkout_id: str, *, now: int, write_id: str) -> bool:
        """A tombstone for a session that never had a row; false where it has one. The totals do not count it."""
        values = {
            "checkout_id": checkout_id,
            "version": 1,
            "body": None,
            "status": FOREIGN,
            "completed": False,
            "created_at": now,
            "updated_at": now,
            "expires_at": now,
            "published_version": 0,
            "write_id": write_id,
        }
        return self._settled(checkout_id, write_id, lambda connection: self.insert_once(connection, sessions, values))

    def unbury(self, record: Record, *, deletion: str, now: int, write_id: str) -> bool:
        """Put a session in place of its tombstone, which is of the version before and was written as ``deletion``.

        False where there is no such tombstone.
        """
        parameters = _values(record) | {
            "id": record.checkout_id,
            "buried": record.version - 1,
            "deletion": deletion,
            "created_at": record.created_at,
            "updated_at": now,
            "write_id": write_id,
        }
        return self._settled(
            record.checkout_id, write_id, lambda connection: connection.execute(_UNBURY, parameters).rowcount == 1
        )

    def _settled(self, checkout_id: str, write_id: str, write: Callable[[Connection], bool]) -> bool:
        """Run a write; where its COMMIT's answer was lost, the write id in the row says whether it happened.

        Raises:
            DatabaseUnavailable: it did not happen, or nobody can tell.
        """
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

    def insert_once(self, connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
        """Insert a row; false where its key is there already."""
        statement = self._insert(table).values(values).on_conflict_do_nothing().execution_options(**_COUNTED)
        return bool(connection.execute(statement).rowcount == 1)

    def insert_of(self, table: Table) -> Any:
        """An INSERT of this database's dialect, which can be told what to do where the key is there already."""
        return self._insert(table)

    def lock_for_writing(self, connection: Connection) -> None:
        """Begin to write at once where a reader cannot become a writer: SQLite refuses it to who has read before."""
        if self._engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    def columns_of(self, record: Record) -> dict[str, Any]:
        """The columns that a version sets."""
        return _values(record)

    def pending(self, limit: int) -> list[Pending]:
        """Versions that Redis may still lack, tombstones among them, at most ``limit``."""
        with self.transaction() as connection:
            return [Pending(*row) for row in connection.execute(_PENDING, {"limit": limit}).all()]

    def look(self, limit: int) -> tuple[list[Pending], ExternalWrites]:
        """:meth:`pending`, and what external writers have done so far: what each process asks once in a while."""
        with self.transaction() as connection:
            rows = connection.execute(_PENDING, {"limit": limit}).all()
            return [Pending(*row) for row in rows], read_writes(connection)

    def note_published(self, versions: Mapping[str, int], epoch: Epoch | None = None) -> None:
        """Note which versions Redis has; never backwards, and losing this note is harmless.

        With ``epoch``, only while that is the latest primary of its shard: what an old one has, the new one may lack.
        """
        if not versions:
            return
        parameters = [{"id": name, "v": version} for name, version in sorted(versions.items())]
        statement = _NOTE if epoch is None else _NOTE.where(latest_stamp(epoch.shard).scalar_subquery() == epoch.stamp)
        with self.transaction() as connection:
            connection.execute(statement, parameters)

    def note_proofs(self, notes: Mapping[str, str]) -> None:
        """Keep with versions what was noted as they were published; each begins with its version."""
        if notes:
            parameters = [{"id": name, "proof": note} for name, note in sorted(notes.items())]
            with self.transaction() as connection:
                connection.execute(_PROVE, parameters)

    def proof(self, checkout_id: str) -> str:
        """What was noted as the row's version was published; empty where nothing was, or where it is pending again."""
        statement = select(sessions.c.proof).where(
            sessions.c.checkout_id == checkout_id, sessions.c.published_version >= sessions.c.version
        )
        with self.transaction() as connection:
            return connection.execute(statement).scalar() or ""

    def note_refilled(self, number: int) -> None:
        """Count sessions that came back from the database while external writers are there."""
        with self.transaction() as connection:
            add_writes(self, connection, {"refilled": number})

    def touch(self, expiries: Mapping[str, int]) -> None:
        """Move expiries (ms) forward after reads; never backwards, never past the maximum age, never a dead row's."""
        if expiries:
            parameters = [
                {"id": name, "e": expiry, "max_age": self._max_age} for name, expiry in sorted(expiries.items())
            ]  # sorted, so that two processes that write down the same sessions cannot deadlock
            with self.transaction() as connection:
                connection.execute(_TOUCH, parameters)

    # What operators see

    def newest(self) -> Iterator[list[Record]]:
        """All live rows, those that expire last first, in pages."""
        last: tuple[int, str] | None = None
        while True:
            statement = _LIVE.order_by(sessions.c.expires_at.desc(), sessions.c.checkout_id.desc()).limit(PAGE)
            if last is not None:
                same = (sessions.c.expires_at == last[0]) & (sessions.c.checkout_id < last[1])
                statement = statement.where(
                    sessions.c.expires_at <= last[0], or_(sessions.c.expires_at < last[0], same)
                )
            with self.transaction() as connection:
                page = [_record(row) for row in connection.execute(statement)]
            if page:
                yield page
            if len(page) < PAGE:
                return
            last = (page[-1].expires_at, page[-1].checkout_id)

    def matching(self, prefix: str, limit: int) -> list[str]:
        """Ids of live rows that begin with ``prefix``."""
        statement = (
            select(sessions.c.checkout_id)
            .where(sessions.c.body.is_not(None), sessions.c.checkout_id.startswith(prefix, autoescape=True))
            .limit(limit)
        )
        with self.transaction() as connection:
            return list(connection.scalars(statement).all())

    def count(self, now: int) -> int:
        """How many rows are alive at ``now`` (ms)."""
        return self._number_of(lambda end: end > now)

    def _number_of(self, wanted: Callable[[ColumnElement[int]], ColumnElement[bool]]) -> int:
        """How many sessions have such an end; tombstones are none."""
        with self.transaction() as connection:
            rows, buried = (connection.execute(statement).scalar_one() for statement in by_end(wanted, func.count()))
        return int(rows - buried)

    def _number(self, *conditions: ColumnElement[bool]) -> int:
        with self.transaction() as connection:
            return connection.execute(select(func.count()).select_from(sessions).where(*conditions)).scalar_one()

    def totals(self) -> Totals:
        """How many sessions were ever created, completed and failed: the rows, and what clean-ups removed of them."""
        with self.transaction() as connection:
            removed = {row.name: row.number for row in connection.execute(select(totals))}
            present = _tally(connection.execute(_TALLY))
        return Totals(**{name: removed.get(name, 0) + number for name, number in present.items()})

    def now(self) -> int:
        """The database's own clock, in milliseconds since the epoch."""
        if self._engine.dialect.name == "sqlite":
            return time.time_ns() // 1_000_000  # it has no other clock than this machine's
        with self.transaction() as connection:
            return int(connection.execute(sql_text("SELECT extract(epoch FROM clock_timestamp()) * 1000")).scalar_one())

    # Clean-up

    def due(self, cutoff: int, limit: int, *, offset: int = 0) -> list[str]:
        """Ids of rows that expired at or before ``cutoff`` (ms), longest ago first."""
        statement = (
            select(sessions.c.checkout_id)
            .where(sessions.c.expires_at <= cutoff, sessions.c.body.is_not(None))
            .order_by(sessions.c.expires_at, sessions.c.checkout_id)
            .limit(limit)
            .offset(offset)
        )
        with self.transaction() as connection:
            return list(connection.scalars(statement).all())

    def all_due(self, cutoff: int, limit: int) -> Iterator[list[str]]:
        """All ids of expired rows in batches, for who only looks."""
        offset = 0
        while page := self.due(cutoff, limit, offset=offset):
            yield page
            offset += len(page)

    def count_due(self, cutoff: int) -> int:
        """How many rows expired at or before ``cutoff`` (ms)."""
        return self._number_of(lambda end: end <= cutoff)

    def count_tombstones(self, cutoff: int) -> int:
        """How many sessions were deleted at or before ``cutoff`` (ms)."""
        return self._number(sessions.c.updated_at <= cutoff, sessions.c.body.is_(None))

    def expiries(self, checkout_ids: Sequence[str], now: int) -> dict[str, int]:
        """Those of the ids whose row is alive at ``now`` (ms), with its expiry (ms)."""
        with self.transaction() as connection:
            rows = connection.execute(_EXPIRIES, {"checkout_ids": list(checkout_ids), "now": now}).all()
        return {row.checkout_id: row.expires_at for row in rows}

    def ending_after(self, moment: int, checkout_id: str = "") -> Iterator[list[tuple[int, str]]]:
        """Rows that expire later than that (ms), in this order: their expiry and their ids, in pages.

        Tombstones are among them: without the bodies, one index has the whole answer.
        """
        while True:
            same = (sessions.c.expires_at == moment) & (sessions.c.checkout_id > checkout_id)
            statement = (
                select(sessions.c.expires_at, sessions.c.checkout_id)
                .where(sessions.c.expires_at >= moment, or_(sessions.c.expires_at > moment, same))
                .order_by(sessions.c.expires_at, sessions.c.checkout_id)
                .limit(IDS_AT_ONCE)
            )
            with self.transaction() as connection:
                page = [(row[0], row[1]) for row in connection.execute(statement).all()]
            if page:
                yield page
            if len(page) < IDS_AT_ONCE:
                return
            moment, checkout_id = page[-1]

    def living_ids(self, now: int) -> Iterator[dict[str, int]]:
        """All ids of rows that are alive at ``now`` (ms) with their expiry (ms), in order and in pages."""
        last = ""
        while True:
            statement = (
                select(sessions.c.checkout_id, sessions.c.expires_at)
                .where(sessions.c.checkout_id > last, sessions.c.expires_at > now, sessions.c.body.is_not(None))
                .order_by(sessions.c.checkout_id)
                .limit(PAGE)
            )
            with self.transaction() as connection:
                page: dict[str, int] = {row[0]: row[1] for row in connection.execute(statement).all()}
            if page:
                yield page
            if len(page) < PAGE:
                return
            last = next(reversed(page))

    @property
    def place(self) -> str:
        """Where it is, without a password."""
        shown, within = self._engine.url.render_as_string(hide_password=True), schema_of(self._engine)
        return str(self.sqlite_path or (f"{shown}, schema {within}" if within else shown))

    def aside(self, now: int) -> tuple[int, int, int]:
        """How many rows have ended by ``now`` (ms), are tombstones, and are pending."""
        return (
            self.count_due(now),
            self._number(sessions.c.body.is_(None)),
            self._number(sessions.c.published_version < sessions.c.version),
        )

    def living_after(self, last: str, now: int, limit: int) -> list[Record]:
        """Rows that are alive at ``now`` (ms), in the order of their ids, from the first one after ``last``."""
        statement = _LIVE.where(sessions.c.checkout_id > last, sessions.c.expires_at > now)
        with self.transaction() as connection:
            rows = connection.execute(statement.order_by(sessions.c.checkout_id).limit(limit)).all()
        return [_record(row) for row in rows]

    def purge(self, checkout_ids: Sequence[str], cutoff: int) -> int:
        """Remove those of the rows that are still expired at ``cutoff`` (ms); the totals keep counting them."""
        chosen = sessions.c.checkout_id.in_(bindparam("ids", expanding=True)) & (sessions.c.expires_at <= cutoff)
        return self._purge(chosen & sessions.c.body.is_not(None), {"ids": list(checkout_ids)})

    def purge_tombstones(self, cutoff: int, limit: int) -> int:
        """Remove the tombstones of sessions that were deleted at or before ``cutoff`` (ms), at most ``limit``."""
        old = (sessions.c.updated_at <= cutoff) & sessions.c.body.is_(None)
        batch = select(sessions.c.checkout_id).where(old).limit(limit)
        return self._purge(sessions.c.checkout_id.in_(batch) & sessions.c.body.is_(None), {})

    def erase(self, *checkout_ids: str) -> None:
        """Remove rows as if they had never been, out of the totals too; for probes, never for a shopper's session."""
        with self.transaction() as connection:
            connection.execute(delete(sessions).where(sessions.c.checkout_id.in_(checkout_ids)))

    def _purge(self, chosen: Any, parameters: dict[str, Any]) -> int:
        gone = delete(sessions).where(chosen).returning(sessions.c.status, sessions.c.completed)
        with self.transaction() as connection:
            rows = Counter(map(tuple, connection.execute(gone, parameters).all()))
            if rows:
                self._add_totals(connection, _tally((*kind, number) for kind, number in rows.items()))
        return rows.total()

    def _add_totals(self, connection: Connection, removed: Mapping[str, int]) -> None:
        statement = self._insert(totals)
        upsert = statement.on_conflict_do_update(
            index_elements=[totals.c.name], set_={"number": totals.c.number + statement.excluded.number}
        )
        connection.execute(upsert, [{"name": name, "number": number} for name, number in removed.items()])

    # Locks, for when Redis is away

    def lock(self, job: str, owner: str, *, now: int, until: int) -> str | None:
        """Take the lock of a job until a moment (ms); ``None`` where it is ours now, else who has it."""
        statement = self._insert(locks).values(job=job, owner=owner, expires_at=until)
        upsert = statement.on_conflict_do_update(
            index_elements=[locks.c.job],
            set_={"owner": owner, "expires_at": until},
            where=(locks.c.expires_at <= now) | (locks.c.owner == owner),
        )
        with self.transaction() as connection:
            if connection.execute(upsert.execution_options(**_COUNTED)).rowcount == 1:
                return None
            holder = connection.execute(select(locks.c.owner).where(locks.c.job == job)).scalar()
        return holder or "somebody who has just finished"

    def unlock(self, job: str, owner: str) -> None:
        """Give the lock back, if it is still ours."""
        with self.transaction() as connection:
            connection.execute(delete(locks).where(locks.c.job == job, locks.c.owner == owner))


_COLUMNS = (
    sessions.c.checkout_id,
    sessions.c.version,
    sessions.c.body,
    sessions.c.created_at,
    sessions.c.expires_at,
    sessions.c.write_id,
)
_READ = select(*_COLUMNS).where(sessions.c.checkout_id == bindparam("checkout_id"))
_READ_MANY = select(*_COLUMNS).where(sessions.c.checkout_id.in_(bindparam("checkout_ids", expanding=True)))
_PRESENT = select(sessions.c.checkout_id).where(sessions.c.checkout_id.in_(bindparam("checkout_ids", expanding=True)))
_EXPIRIES = select(sessions.c.checkout_id, sessions.c.expires_at).where(
    sessions.c.checkout_id.in_(bindparam("checkout_ids", expanding=True)),
    sessions.c.expires_at > bindparam("now"),
    sessions.c.body.is_not(None),
)
_LIVE = select(*_COLUMNS).where(sessions.c.body.is_not(None))
_WRITE_ID = select(sessions.c.write_id).where(sessions.c.checkout_id == bindparam("checkout_id"))
_UPDATE = (
    update(sessions)
    .where(
        sessions.c.checkout_id == bindparam("id"),
        sessions.c.version == bindparam("seen"),
        sessions.c.body.is_not(None),
    )
    .values(
        {
            name: bindparam(name)
            for name in ("version", "body", "status", "completed", "expires_at", "updated_at", "write_id")
        }
        | {"previous_version": sessions.c.version, "previous_body": sessions.c.body}
    )
)
_BURY = (
    update(sessions)
    .where(
        sessions.c.checkout_id == bindparam("id"),
        sessions.c.version == bindparam("seen"),
        sessions.c.body.is_not(None),
    )
    .values(
        version=sessions.c.version + 1,
        body=None,
        previous_version=None,
        previous_body=None,
        updated_at=bindparam("updated_at"),
        write_id=bindparam("write_id"),
    )
)
_BURY_KEEPING = (
    update(sessions)
    .where(
        sessions.c.checkout_id == bindparam("id"),
        sessions.c.version == bindparam("seen"),
        sessions.c.body.is_not(None),
    )
    .values(
        version=sessions.c.version + 1,
        body=None,
        previous_version=sessions.c.version,
        previous_body=sessions.c.body,
        updated_at=bindparam("updated_at"),
        write_id=bindparam("write_id"),
    )
)
_KEPT = select(
    sessions.c.checkout_id,
    sessions.c.version,
    sessions.c.previous_body.label("body"),
    sessions.c.created_at,
    sessions.c.expires_at,
    sessions.c.write_id,
).where(
    sessions.c.checkout_id == bindparam("checkout_id"), sessions.c.body.is_(None), sessions.c.previous_body.is_not(None)
)
_UNBURY = (
    update(sessions)
    .where(
        sessions.c.checkout_id == bindparam("id"),
        sessions.c.version == bindparam("buried"),
        sessions.c.write_id == bindparam("deletion"),
        sessions.c.body.is_(None),
    )
    .values(
        {
            name: bindparam(name)
            for name in (
                *("version", "body", "status", "completed"),
                *("created_at", "expires_at", "updated_at", "write_id"),
            )
        }
    )
)
_PENDING = (
    select(sessions.c.checkout_id, sessions.c.version, sessions.c.updated_at, sessions.c.write_id)
    .where(sessions.c.published_version < sessions.c.version)
    .limit(bindparam("limit"))
)
_NOTE = (
    update(sessions)
    .where(sessions.c.checkout_id == bindparam("id"), sessions.c.published_version < bindparam("v"))
    .values(published_version=bindparam("v"))
)
_PROVE = update(sessions).where(sessions.c.checkout_id == bindparam("id")).values(proof=bindparam("proof"))
_LATEST = sessions.c.created_at + bindparam("max_age")
_TOUCH = (
    update(sessions)
    .where(
        sessions.c.checkout_id == bindparam("id"), sessions.c.expires_at < bindparam("e"), sessions.c.body.is_not(None)
    )
    .values(expires_at=case((bindparam("e") > _LATEST, _LATEST), else_=bindparam("e", type_=BigInteger)))
)
_TALLY = select(sessions.c.status, sessions.c.completed, func.count()).group_by(sessions.c.status, sessions.c.completed)


def by_end(
    wanted: Callable[[ColumnElement[int]], ColumnElement[bool]], *columns: ColumnElement[Any]
) -> tuple[Select[Any], Select[Any]]:
    """Rows with such an end, and the tombstones among them, which are no sessions.

    The first reads an index alone, the second only tombstones; asking for both at once would read every row.
    """
    everything = select(*columns).select_from(sessions)
    buried = sessions.c.body.is_(None), wanted(sessions.c.expires_at + 0)  # no index has this sum
    return everything.where(wanted(sessions.c.expires_at)), everything.where(*buried)


def latest_stamp(shard: str) -> Select[Any]:
    """The stamp of the latest primary of a shard; without a shard, of the latest primary that there was."""
    latest = select(epochs.c.stamp).order_by(epochs.c.number.desc()).limit(1)
    return latest.where(epochs.c.stamp.startswith(f"{shard} ", autoescape=True)) if shard else latest


def _record(row: Any) -> Record:
    body = None if row.body is None else row.body.encode()
    return Record(row.checkout_id, row.version, body, row.created_at, row.expires_at, row.write_id)


def _values(record: Record) -> dict[str, Any]:
    """The columns that a new version sets; status and completion are copied out of the body, to be counted."""
    assert record.body is not None  # noqa: S101  (tombstones are made by bury)
    fields = decode(record.body)
    status = fields.get("paymentStatus") or PaymentStatus.PENDING
    return {
        "version": record.version,
        "body": record.body.decode(),
        "status": str(status) if status in _STATUSES else "other",
        "completed": is_completed(fields),
        "expires_at": record.expires_at,
    }


def _tally(rows: Any) -> dict[str, int]:
    numbers = {"created": 0, "completed": 0, "failed": 0}
    for status, completed, number in rows:
        numbers["created"] += number if status != FOREIGN else 0
        numbers["completed"] += number if completed else 0
        numbers["failed"] += number if status == PaymentStatus.FAILED else 0
    return numbers
