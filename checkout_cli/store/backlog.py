"""What one tier has and the other still lacks: how much, since when, and which sessions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import bindparam, select

from checkout_cli.store.database.schema import sessions
from checkout_cli.store.database.tier import DatabaseTier
from checkout_cli.store.redis.admin import RedisAdmin
from checkout_cli.store.redis.opened import Look
from checkout_cli.store.redis.pending import RedisPending, is_dirty, written_at

MOST_COUNTED = 5_000
"""Rows that a count looks at where it must be quick."""
MOST_LOOKED_AT = 1_000
"""Sessions in ``checkout:pending`` that are looked at to learn since when the oldest waits."""
PAGE = 100
"""Sessions in one step."""
FETCHED_AT_ONCE = 20
"""Sessions whose values are fetched whole and kept at the same time, each of a megabyte at most."""


class Row(msgspec.Struct, frozen=True):
    """A version that Redis is not known to have; moments are in milliseconds."""

    checkout_id: str
    version: int
    updated_at: int
    expires_at: int
    deleted: bool


class Waiting(msgspec.Struct, frozen=True):
    """How many sessions wait in one direction, and since when (ms) the oldest; ``exact`` if all were inspected."""

    number: int
    since: int | None = None
    exact: bool = True


@dataclass(eq=False)
class Backlog:
    """Pending and dirty sessions. Methods raise ``RedisUnavailable``, ``AccessDenied`` or ``DatabaseUnavailable``."""

    redis: RedisAdmin
    database: DatabaseTier
    session_ttl: float
    """Seconds."""

    # Database → Redis

    def for_redis(self, now: int, *, grace: int = 0, limit: int | None = None, redis_answers: bool = True) -> Waiting:
        """Versions older than ``grace`` (ms) that Redis lacks at ``now`` (ms); it is asked, as its notes come late."""
        number = looked_at = 0
        since: int | None = None
        for page in self.rows():
            rows = [row for row in page if row.updated_at <= now - grace and row.expires_at > now]
            if redis_answers:
                looks = self._looks([row.checkout_id for row in rows])
                rows = [row for row, look in zip(rows, looks, strict=True) if not _has(look, row)]
            number += len(rows)
            since = min(filter(None, (since, *(row.updated_at for row in rows))), default=None)
            looked_at += len(page)
            if limit is not None and looked_at >= limit:
                return Waiting(number, since, exact=False)
        return Waiting(number, since)

    def _looks(self, checkout_ids: Sequence[str]) -> Iterator[Look]:
        for start in range(0, len(checkout_ids), FETCHED_AT_ONCE):
            yield from self.redis.look(checkout_ids[start : start + FETCHED_AT_ONCE])

    def rows(self) -> Iterator[list[Row]]:
        """All rows that Redis is not known to have, by id, each once, however often it changes meanwhile."""
        last = ""
        while page := [Row(*row) for row in self.database.rows(_PAGE, last=last, limit=PAGE)]:
            yield page
            last = page[-1].checkout_id

    # Redis → database

    def for_database(self) -> Waiting:
        """Dirty sessions, and since when the oldest is dirty."""
        pending = RedisPending(self.redis)
        number, looked_at = pending.count(), 0
        since: int | None = None
        if not number:
            return Waiting(0)
        for page in pending.ids(PAGE):
            moments = map(self._written, self._looks(page))
            since = min(filter(None, (since, *moments)), default=None)
            looked_at += len(page)
            if looked_at >= MOST_LOOKED_AT:
                break
        return Waiting(number, since, exact=looked_at >= number)

    def _written(self, look: Look) -> int | None:
        copy = look.copy
        return None if copy is None or not is_dirty(look) else written_at(copy, int(self.session_ttl * 1000))


_COLUMNS = (sessions.c.checkout_id, sessions.c.version, sessions.c.updated_at, sessions.c.expires_at)
_PAGE = (
    select(*_COLUMNS, sessions.c.body.is_(None))
    .where(sessions.c.published_version < sessions.c.version, sessions.c.checkout_id > bindparam("last"))
    .order_by(sessions.c.checkout_id)
    .limit(bindparam("limit"))
)


def _has(look: Look, row: Row) -> bool:
    if row.deleted:
        return look.value is None and look.problem is None
    copy = look.copy
    return copy is not None and not copy.is_external and copy.version >= row.version
