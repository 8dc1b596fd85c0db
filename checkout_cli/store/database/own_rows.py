"""Rows of our own making, for benchmarks, found by the beginning of their ids."""

from __future__ import annotations

from sqlalchemy import func, select

from checkout_cli.store.database.schema import sessions
from checkout_cli.store.database.tier import DatabaseTier


def starting_with(database: DatabaseTier, prefix: str, limit: int) -> list[str]:
    """At most ``limit`` ids that begin with ``prefix``, living or not."""
    chosen = sessions.c.checkout_id.startswith(prefix, autoescape=True)
    return [row.checkout_id for row in database.rows(select(sessions.c.checkout_id).where(chosen).limit(limit))]


def number_starting_with(database: DatabaseTier, prefix: str, *, alive_at: int = 0) -> int:
    """The number of rows that begin with ``prefix`` and live beyond ``alive_at`` (ms)."""
    chosen = sessions.c.checkout_id.startswith(prefix, autoescape=True), sessions.c.expires_at > alive_at
    ((number,),) = database.rows(select(func.count()).select_from(sessions).where(*chosen))
    return int(number)
