"""What one tier has and the other still lacks: how much, since when, and which sessions."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from sqlalchemy import bindparam, func, select

from checkout_cli.errors import SessionCorrupt
from checkout_cli.keys import PENDING
from checkout_cli.session import decode, milliseconds_of
from checkout_cli.store import stamped
from checkout_cli.store.database_tier import DatabaseTier, Pending
from checkout_cli.store.redis_tier import Look, RedisTier, decoded
from checkout_cli.store.schema import sessions

MOST_COUNTED = 10_000
"""Rows that a count looks at where it must be quick."""
MOST_LOOKED_AT = 1_000
"""Sessions in ``checkout:pending`` that are looked at to learn since when the oldest waits."""
PAGE = 100
"""Sessions in one step."""


class Waiting(msgspec.Struct, frozen=True):
    """What waits in one direction: how many sessions, and since when (ms) the oldest; ``exact``: all were looked at."""

    number: int
    since: int | None = None
    exact: bool = True


class Backlog:
    """What waits. Methods raise ``RedisUnavailable``, ``AccessDenied`` or ``DatabaseUnavailable``."""

    def __init__(self, redis: RedisTier, database: DatabaseTier, *, session_ttl: float) -> None:
        """``session_ttl`` is in seconds."""
        self._redis = redis
        self._database = database
        self._ttl = int(session_ttl * 1000)

    # Database → Redis

    def for_redis(self, *, before: int | None = None, limit: int | None = None) -> Waiting:
        """Rows whose version Redis may lack, of those written before a moment (ms); looks at ``limit`` at most."""
        rows = select(sessions.c.updated_at).where(sessions.c.published_version < sessions.c.version)
        if before is not None:
            rows = rows.where(sessions.c.updated_at < before)
        found = (rows if limit is None else rows.limit(limit + 1)).subquery()
        with self._database.transaction() as connection:
            number, since = connection.execute(select(func.count(), func.min(found.c.updated_at))).one()
        exact = limit is None or number <= limit
        return Waiting(number if exact else number - 1, since, exact)

    def rows(self) -> Iterator[list[Pending]]:
        """All of them in pages, in the order of their ids: each once, however often it is written meanwhile."""
        last = ""
        while True:
            with self._database.transaction() as connection:
                page = [Pending(*row) for row in connection.execute(_PAGE, {"last": last, "limit": PAGE})]
            if page:
                yield page
            if len(page) < PAGE:
                return
            last = page[-1].checkout_id

    # Redis → database

    def for_database(self) -> Waiting:
        """Sessions that were written to Redis alone, and since when the oldest of them was."""
        number = self.number_for_database()
        since: int | None = None
        looked_at = 0
        for page in self.ids():
            for look in self._redis.look(page):
                written = self._written(look)
                since = min(filter(None, (since, written)), default=None)
            looked_at += len(page)
            if looked_at >= MOST_LOOKED_AT:
                break
        return Waiting(number, since, exact=looked_at >= number)

    def number_for_database(self) -> int:
        """How many sessions were written to Redis alone."""
        return int(self._redis.ask(("SCARD", PENDING)))

    def ids(self) -> Iterator[list[str]]:
        """Their ids, in pages; one may come twice."""
        cursor = b"0"
        while True:
            cursor, members = self._redis.ask(("SSCAN", PENDING, cursor, "COUNT", PAGE))
            ids = [decoded(member) for member in members]
            yield from (ids[start : start + PAGE] for start in range(0, len(ids), PAGE))
            if cursor == b"0":
                return

    def _written(self, look: Look) -> int | None:
        """When such a session was last written (ms): each write grants it the full TTL, and notes its end in it."""
        copy = None if look.value is None else stamped.decode(look.value)
        if copy is None or not copy.undrained:
            return None
        try:
            expires_at = milliseconds_of(decode(copy.body).get("expiresAt"))
        except SessionCorrupt:
            return None
        return None if expires_at is None else expires_at - self._ttl


_PAGE = (
    select(sessions.c.checkout_id, sessions.c.version, sessions.c.updated_at)
    .where(sessions.c.published_version < sessions.c.version, sessions.c.checkout_id > bindparam("last"))
    .order_by(sessions.c.checkout_id)
    .limit(bindparam("limit"))
)
