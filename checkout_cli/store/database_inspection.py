"""What an operator asks of the database itself: is what it should have there, and how large is it?"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import inspect, select, text

from checkout_cli.store.database_tier import DatabaseTier
from checkout_cli.store.schema import sessions


class Space(NamedTuple):
    """Bytes of a SQLite file, and of those that are free inside it."""

    size: int
    free: int


def has_expiry_index(database: DatabaseTier) -> bool:
    """Whether rows can be found by their expiry without reading all of them.

    Raises:
        DatabaseUnavailable: the database cannot be asked.
    """
    with database.transaction() as connection:
        indexes = inspect(connection).get_indexes(sessions.name)
    return any(index["column_names"][:1] == [sessions.c.expires_at.name] for index in indexes)


def created_lately(database: DatabaseTier, since: int, among: int) -> int:
    """How many of the ``among`` sessions that end last were created since a moment (ms): where there are any, some.

    Raises:
        DatabaseUnavailable: the database cannot be asked.
    """
    latest = select(sessions.c.created_at).order_by(sessions.c.expires_at.desc()).limit(among)
    with database.transaction() as connection:
        return sum(row.created_at >= since for row in connection.execute(latest))


def sqlite_space(database: DatabaseTier) -> Space | None:
    """How large the file is; ``None`` for any other database.

    Raises:
        DatabaseUnavailable: the database cannot be asked.
    """
    if database.sqlite_path is None:
        return None
    with database.transaction() as connection:
        page, pages, free = (
            int(connection.execute(text(f"PRAGMA {name}")).scalar_one())
            for name in ("page_size", "page_count", "freelist_count")
        )
    return Space(page * pages, page * free)
