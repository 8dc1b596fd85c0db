"""Rows of our own making, for benchmarks: found by how their ids begin."""

from __future__ import annotations

from sqlalchemy import func, select

from checkout_cli.store.database.schema import sessions
from checkout_cli.store.database.tier import DatabaseTier


def starting_with(database: DatabaseTier, prefix: str, limit: int) -> list[str]:
    """Ids of at most so many rows that begin with ``prefix``, living or not."""
    chosen = sessions.c.checkout_id.startswith(prefix, autoescape=True)
    with database.transaction() as connection:
        return list(connection.scalars(select(sessions.c.checkout_id).where(chosen).limit(limit)).all())


def number_starting_with(database: DatabaseTier, prefix: str, *, alive_at: int = 0) -> int:
    """How many rows begin with ``prefix``, and are to live beyond ``alive_at`` (ms)."""
    chosen = sessions.c.checkout_id.startswith(prefix, autoescape=True), sessions.c.expires_at > alive_at
    with database.transaction() as connection:
        return connection.execute(select(func.count()).select_from(sessions).where(*chosen)).scalar_one()
