"""Operators' queries: tables, lists, counts, clean-up. The protocol needs none of them."""

from __future__ import annotations

import itertools
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, delete, event, func, select, tuple_
from sqlalchemy import text as sql_text
from sqlalchemy.engine import Connection

from checkout_cli.config.addresses import is_loopback
from checkout_cli.errors import SchemaOutdated
from checkout_cli.keys import beginning_of_ids, is_accepted_id
from checkout_cli.session import PaymentStatus
from checkout_cli.store.database import migrations, schema
from checkout_cli.store.database.account import insist_on_writes
from checkout_cli.store.database.engine import create_file, insert_of, make_engine, transaction
from checkout_cli.store.database.own_tables import own_tables
from checkout_cli.store.database.places import schema_of
from checkout_cli.store.database.schema import locks, sessions, totals
from checkout_cli.store.database.tier import COLUMNS, COUNTED, FOREIGN, DatabaseTier, record_of
from checkout_cli.store.records import Record, Totals

PAGE = 500
"""Rows to read at a time."""
IDS_AT_ONCE = 10_000
"""Ids alone to read at a time: a few milliseconds."""

LOCK_TIMEOUT = 5.0
"""Seconds that an upgrade waits at least for a table that is in use: it comes seldom, and may be tried again."""


class DatabaseAdmin(DatabaseTier):
    """The tier with operators' queries. Every method may raise ``DatabaseUnavailable``."""

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine, by its URL."""
        url = self._engine.url
        host = url.host or next(iter(url.normalized_query.get("host", ())), "")
        return self.sqlite_path is not None or not host or host.startswith("/") or is_loopback(host)

    @property
    def place(self) -> str:
        """Its address, without a password."""
        shown, within = self._engine.url.render_as_string(hide_password=True), schema_of(self._engine)
        return str(self.sqlite_path or (f"{shown}, schema {within}" if within else shown))

    @contextmanager
    def counting(self) -> Iterator[Callable[[], int]]:
        """A function that returns how many statements any thread has sent since the block began."""
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

    def now(self) -> int:
        """The database's clock, in milliseconds since the epoch."""
        own = self.own_time()
        return time.time_ns() // 1_000_000 if own is None else own

    def own_time(self) -> int | None:
        """The clock (ms since the epoch) of the database server; ``None`` for SQLite, which has this machine's."""
        if self._engine.dialect.name == "sqlite":
            return None
        with self.transaction() as connection:
            return int(connection.execute(sql_text("SELECT extract(epoch FROM clock_timestamp()) * 1000")).scalar_one())

    def prove_write(self) -> None:
        """Commit a row and its deletion at once: locks, a full disk and a read-only database refuse that.

        Raises ``ReadOnlyAccount`` where that says nothing of the shop. The breaker hears nothing of it: what cannot be
        written can still be read.
        """
        if not self._tables_are_ours:
            self.ping()
        probe = f"probe:{secrets.token_hex(8)}"
        with transaction(self._engine) as connection:
            insist_on_writes(connection)
            connection.execute(locks.insert().values(job=probe, owner="", expires_at=0))
            connection.execute(delete(locks).where(locks.c.job == probe))

    # The tables' version

    def check_schema(self) -> SchemaOutdated | None:
        """A warning if the tables are of an older version; raises ``TablesRefused`` or ``DatabaseNotReady``."""
        with self.transaction() as connection:
            found = own_tables(connection).version
        if found == schema.VERSION:
            return None
        older = f"the database's tables are of version {found}"
        return SchemaOutdated(f"{older}, and this program's of version {schema.VERSION}")

    def upgrade_schema(self) -> migrations.Upgrade | None:
        """Make or upgrade file and tables; ``None``: nothing to do. Raises ``TablesRefused`` or ``DatabaseDenied``."""
        create_file(self._engine)
        if self.schema_present():
            return None
        sqlite = self._engine.dialect.name == "sqlite"
        patience = migrations.PATIENCE if sqlite else migrations.LONGEST
        engine = make_engine(self._settings, timeout=patience)
        try:
            done = migrations.upgrade(engine, max(self._settings.database_timeout, LOCK_TIMEOUT))
        finally:
            engine.dispose()
            self._tables_are_ours = False
        return done

    def create_schema(self) -> bool:
        """:meth:`upgrade_schema`; returns whether something was to do."""
        return self.upgrade_schema() is not None

    def schema_present(self) -> bool:
        """Whether all our tables are there, in this program's version."""
        with self._connected() as connection:
            return own_tables(connection).are_complete

    # Looking

    def present(self, checkout_ids: Sequence[str]) -> set[str]:
        """The ids that have a row, living or a tombstone."""
        possible = list(filter(is_accepted_id, checkout_ids))
        statement = select(sessions.c.checkout_id).where(sessions.c.checkout_id.in_(possible))
        return {row.checkout_id for row in self.rows(statement)} if possible else set()

    def newest(self) -> Iterator[list[Record]]:
        """All live rows, the last to expire first, in pages."""
        begin = _LIVE.order_by(sessions.c.expires_at.desc(), sessions.c.checkout_id.desc()).limit(PAGE)

        def after(last: Any) -> Select[Any]:
            return begin.where(tuple_(last.expires_at, last.checkout_id) > _END)

        for page in self._pages(begin, after, PAGE):
            yield list(map(record_of, page))

    def _pages(self, begin: Select[Any], after: Callable[[Any], Select[Any]], size: int) -> Iterator[Sequence[Any]]:
        statement = begin
        while page := self.rows(statement):
            yield page
            if len(page) < size:
                return
            statement = after(page[-1])

    def matching(self, prefix: str, limit: int) -> list[str]:
        """Ids of live rows that begin with ``prefix``."""
        if not beginning_of_ids(prefix):
            return []
        matching = _LIVING.where(sessions.c.checkout_id.startswith(prefix, autoescape=True))
        return [row.checkout_id for row in self.rows(matching.limit(limit))]

    def count(self, now: int) -> int:
        """The number of rows alive at ``now`` (ms)."""
        return self._ending(lambda end: end > now)

    def _ending(self, wanted: Callable[[ColumnElement[int]], ColumnElement[bool]]) -> int:
        with self.snapshot() as connection:
            rows, buried = (connection.execute(statement).scalar_one() for statement in by_end(wanted, func.count()))
        return int(rows - buried)

    def totals(self) -> Totals:
        """How many sessions were ever created, completed and failed: the rows, and those that clean-ups removed."""
        with self.snapshot() as connection:
            removed = {row.name: row.number for row in connection.execute(select(totals))}
            present = _tally(connection.execute(_TALLY))
        return Totals(**{name: removed.get(name, 0) + number for name, number in present.items()})

    def expiries(self, checkout_ids: Sequence[str], now: int) -> dict[str, int]:
        """The expiry (ms) of those of the ids whose row is alive at ``now`` (ms)."""
        ours = list(filter(is_accepted_id, checkout_ids))  # others may be no text for a database
        chosen = _LIVING.where(sessions.c.checkout_id.in_(ours), sessions.c.expires_at > now)
        return {row.checkout_id: row.expires_at for row in self.rows(chosen)} if ours else {}

    def ending_after(self, moment: int, checkout_id: str = "") -> Iterator[list[tuple[int, str]]]:
        """Expiry (ms) and id of the rows after ``(moment, checkout_id)``, in pages; tombstones are among them."""

        ends = select(sessions.c.expires_at, sessions.c.checkout_id)
        begin = ends.order_by(sessions.c.expires_at, sessions.c.checkout_id).limit(IDS_AT_ONCE)

        def after(last: tuple[int, str]) -> Select[Any]:
            return begin.where(tuple_(*last) < _END)

        for page in self._pages(after((moment, checkout_id)), after, IDS_AT_ONCE):
            yield [(row[0], row[1]) for row in page]

    def living_ids(self, now: int) -> Iterator[dict[str, int]]:
        """All ids alive at ``now`` (ms) with their expiry (ms), by id and in pages."""
        begin = _LIVING.where(sessions.c.expires_at > now).order_by(sessions.c.checkout_id).limit(PAGE)
        for page in self._pages(begin, lambda last: begin.where(sessions.c.checkout_id > last.checkout_id), PAGE):
            yield {row.checkout_id: row.expires_at for row in page}

    def living_after(self, last: str, now: int, limit: int) -> list[Record]:
        """Rows alive at ``now`` (ms) with ids greater than ``last``, by id."""
        statement = _LIVE.where(sessions.c.checkout_id > last, sessions.c.expires_at > now)
        return [record_of(row) for row in self.rows(statement.order_by(sessions.c.checkout_id).limit(limit))]

    def aside(self, now: int) -> tuple[int, int, int]:
        """How many rows have expired by ``now`` (ms), are tombstones, and are pending."""
        return (
            self.count_due(now),
            self.number_of(sessions, sessions.c.body.is_(None)),
            self.number_of(sessions, sessions.c.published_version < sessions.c.version),
        )

    def deleted_body(self, checkout_id: str) -> Record | None:
        """What an external writer deleted, with the tombstone's version and write id; else ``None``."""
        if not is_accepted_id(checkout_id):
            return None
        columns = [sessions.c.previous_body.label("body") if column.name == "body" else column for column in COLUMNS]
        kept = sessions.c.body.is_(None), sessions.c.previous_body.is_not(None)
        rows = self.rows(select(*columns).where(sessions.c.checkout_id == checkout_id, *kept))
        return record_of(rows[0]) if rows else None

    def deleted_by_others(self, prefix: str, limit: int) -> list[str]:
        """Ids that begin with ``prefix``, of those that :meth:`deleted_body` knows."""
        kept = sessions.c.body.is_(None), sessions.c.previous_body.is_not(None)
        begins = sessions.c.checkout_id.startswith(prefix, autoescape=True)
        return [row.checkout_id for row in self.rows(select(sessions.c.checkout_id).where(*kept, begins).limit(limit))]

    # Clean-up

    def due(self, cutoff: int, limit: int, *, offset: int = 0) -> list[str]:
        """Ids of rows that expired at or before ``cutoff`` (ms), longest ago first."""
        due = _LIVING.where(sessions.c.expires_at <= cutoff).order_by(sessions.c.expires_at, sessions.c.checkout_id)
        return [row.checkout_id for row in self.rows(due.limit(limit).offset(offset))]

    def all_due(self, cutoff: int, limit: int) -> Iterator[list[str]]:
        """All ids of expired rows in batches, where nothing is changed."""
        offset = 0
        while page := self.due(cutoff, limit, offset=offset):
            yield page
            offset += len(page)

    def count_due(self, cutoff: int) -> int:
        """The number of rows that expired at or before ``cutoff`` (ms)."""
        return self._ending(lambda end: end <= cutoff)

    def count_tombstones(self, cutoff: int) -> int:
        """The number of sessions deleted at or before ``cutoff`` (ms)."""
        return self.number_of(sessions, sessions.c.updated_at <= cutoff, sessions.c.body.is_(None))

    def purge(self, checkout_ids: Sequence[str], cutoff: int) -> int:
        """Remove those of the rows that are still expired at ``cutoff`` (ms); the totals keep counting them."""
        chosen = sessions.c.checkout_id.in_(bindparam("ids", expanding=True)) & (sessions.c.expires_at <= cutoff)
        return self._purge(chosen & sessions.c.body.is_not(None), {"ids": list(checkout_ids)})

    def purge_tombstones(self, cutoff: int, limit: int) -> int:
        """Remove at most ``limit`` tombstones of sessions deleted at or before ``cutoff`` (ms)."""
        old = (sessions.c.updated_at <= cutoff) & sessions.c.body.is_(None)
        batch = select(sessions.c.checkout_id).where(old).limit(limit)
        return self._purge(sessions.c.checkout_id.in_(batch) & sessions.c.body.is_(None), {})

    def erase(self, *checkout_ids: str) -> None:
        """Remove rows, out of the totals too; for probes, never for a shopper's session."""
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
        statement = insert_of(connection, totals)
        upsert = statement.on_conflict_do_update(
            index_elements=[totals.c.name], set_={"number": totals.c.number + statement.excluded.number}
        )
        connection.execute(upsert, [{"name": name, "number": number} for name, number in removed.items()])

    # Locks, for when Redis is unavailable

    def lock(self, job: str, owner: str, *, now: int, until: int) -> str | None:
        """Take the lock of a job until a moment (ms); returns its present owner, or ``None`` where it is ours now."""
        with self.transaction() as connection:
            statement = insert_of(connection, locks).values(job=job, owner=owner, expires_at=until)
            upsert = statement.on_conflict_do_update(
                index_elements=[locks.c.job],
                set_={"owner": owner, "expires_at": until},
                where=(locks.c.expires_at <= now) | (locks.c.owner == owner),
            )
            if connection.execute(upsert.execution_options(**COUNTED)).rowcount == 1:
                return None
            holder = connection.execute(select(locks.c.owner).where(locks.c.job == job)).scalar()
        return holder or "somebody who has just finished"

    def unlock(self, job: str, owner: str) -> None:
        """Release the lock, if it is still ours."""
        with self.transaction() as connection:
            connection.execute(delete(locks).where(locks.c.job == job, locks.c.owner == owner))


_END = tuple_(sessions.c.expires_at, sessions.c.checkout_id)
_LIVING = select(sessions.c.checkout_id, sessions.c.expires_at).where(sessions.c.body.is_not(None))
_LIVE = select(*COLUMNS).where(sessions.c.body.is_not(None))
_TALLY = select(sessions.c.status, sessions.c.completed, func.count()).group_by(sessions.c.status, sessions.c.completed)


def by_end(
    wanted: Callable[[ColumnElement[int]], ColumnElement[bool]], *columns: ColumnElement[Any]
) -> tuple[Select[Any], Select[Any]]:
    """Rows with such an end, and the tombstones among them; one query for both would read every row, not an index."""
    everything = select(*columns).select_from(sessions)
    buried = sessions.c.body.is_(None), wanted(sessions.c.expires_at + 0)  # no index has this sum
    return everything.where(wanted(sessions.c.expires_at)), everything.where(*buried)


def _tally(rows: Any) -> dict[str, int]:
    numbers = {"created": 0, "completed": 0, "failed": 0}
    for status, completed, number in rows:
        numbers["created"] += number if status != FOREIGN else 0
        numbers["completed"] += number if completed else 0
        numbers["failed"] += number if status == PaymentStatus.FAILED else 0
    return numbers
