"""Counts of the last minutes from the database, for when Redis cannot tell.

There are no events, only rows as they are now: sessions are counted by the minute of their creation, and their states
by the minute of their last write. No session can expire before it was created or written, so the index on the expiry
finds all rows of a window.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Integer, case, func, literal_column, select

from checkout_cli.session import PaymentStatus
from checkout_cli.store.database.admin import DatabaseAdmin, by_end
from checkout_cli.store.database.schema import sessions
from checkout_cli.store.database.tier import FOREIGN

DELETED = "deleted"
"""In place of a status: the session was deleted since."""


class MinuteCounts(msgspec.Struct, frozen=True):
    """Sessions created in a minute, and those last written in it that are completed, failed or cancelled now."""

    created: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0


class DatabaseCounts:
    """Counts over the rows of a window. Every method may raise ``DatabaseUnavailable``."""

    def __init__(self, database: DatabaseAdmin) -> None:
        self._database = database

    def by_minute(self, since: int, until: int) -> dict[int, MinuteCounts]:
        """The counts of each minute (since the epoch) from ``since`` (ms) to before ``until`` (ms)."""
        with self._database.snapshot() as connection:
            created = {row.minute: row.number for row in connection.execute(_created(since, until))}
            ended = {minute: numbers for minute, *numbers in connection.execute(_ended(since, until))}
        minutes = created.keys() | ended.keys()
        return {minute: MinuteCounts(created.get(minute, 0), *ended.get(minute, ())) for minute in minutes}

    def by_status(self, since: int, until: int) -> dict[str, int]:
        """Sessions created in a window by their payment status now, also ``deleted`` and ``other``."""
        status = case((sessions.c.body.is_(None), DELETED), else_=sessions.c.status).label("state")
        statement = select(status, func.count().label("number")).where(*_created_within(since, until)).group_by("state")
        return {row.state: row.number for row in self._database.rows(statement)}

    def created_ids(self, since: int, until: int, limit: int) -> list[tuple[str, str]]:
        """Ids and payment statuses of living sessions created in a window, newest first."""
        newest = select(sessions.c.checkout_id, sessions.c.status).where(
            *_created_within(since, until), sessions.c.body.is_not(None)
        )
        rows = self._database.rows(newest.order_by(sessions.c.created_at.desc()).limit(limit))
        return [(row.checkout_id, row.status) for row in rows]

    def living_by_status(self, now: int) -> dict[str, int]:
        """Sessions alive at ``now`` (ms) by their payment status; ``other`` for unknown ones."""
        unended, buried = by_end(lambda end: end > now, sessions.c.status, func.count().label("number"))
        found: Counter[str] = Counter()
        with self._database.snapshot() as connection:
            for statement, sign in ((unended, 1), (buried, -1)):
                for row in connection.execute(statement.group_by(sessions.c.status)):
                    found[row.status] += sign * row.number
        return {status: number for status, number in found.items() if number > 0}


def _minute(column: ColumnElement[int]) -> Any:
    # Literal, because PostgreSQL takes two parameters of the same value for two different expressions to group by.
    return column.op("/")(literal_column("60000", Integer)).label("minute")


def _created_within(since: int, until: int) -> tuple[ColumnElement[bool], ...]:
    return (
        sessions.c.expires_at >= since,
        sessions.c.created_at >= since,
        sessions.c.created_at < until,
        sessions.c.status != FOREIGN,
    )


def _created(since: int, until: int) -> Any:
    statement = select(_minute(sessions.c.created_at), func.count().label("number"))
    return statement.where(*_created_within(since, until)).group_by("minute")


def _ended(since: int, until: int) -> Any:
    failed, cancelled = (sessions.c.status == status for status in (PaymentStatus.FAILED, PaymentStatus.CANCELLED))
    numbers = (func.count().filter(condition) for condition in (sessions.c.completed, failed, cancelled))
    written = (sessions.c.updated_at >= since, sessions.c.updated_at < until, sessions.c.body.is_not(None))
    statement = select(_minute(sessions.c.updated_at), *numbers)
    return statement.where(sessions.c.expires_at >= since, *written).group_by("minute")
