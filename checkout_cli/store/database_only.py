"""Sessions that Redis had and only the database still has: after FLUSHALL, a restart without data, or evictions.

Rows that Redis is not known to have are the backlog's (``backlog.py``), and not counted here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import bindparam, select

from checkout_cli.errors import WrongKeyType
from checkout_cli.session import PaymentStatus
from checkout_cli.store.database.schema import sessions
from checkout_cli.store.database.tier import DatabaseTier
from checkout_cli.store.redis.admin import RedisAdmin
from checkout_cli.store.redis.index import RedisIndex

DAY = 86_400_000
"""Milliseconds."""
PUBLISH = "checkoutctl migrate run"
"""What brings them to Redis again."""
SAMPLE = 100
PAGE = 500
MOST_COUNTED = 2000
"""Rows that are looked at one by one, once the sample says that Redis was emptied."""
ENDING = 5000
"""Milliseconds: a session that ends so soon may be gone from Redis by the time we look there."""
FEW = 5
"""So many can be missing because somebody deleted their keys."""
SHARE = 0.5
"""Of the sample: what is missing beyond that was no deletion of single sessions."""
_GONE = -2


class _Row(NamedTuple):
    checkout_id: str
    expires_at: int
    updated_at: int


@dataclass(frozen=True)
class DatabaseOnly:
    """``number`` sessions are in the database alone (a minimum where not ``exact``), of ``looked_at``.

    ``written_at`` is when the newest of them was written (ms): Redis had it then. ``is_loss``: so many are missing that
    Redis has lost its data, and not single sessions.
    """

    number: int = 0
    looked_at: int = 0
    written_at: int = 0
    is_loss: bool = False
    exact: bool = True
    examples: tuple[str, ...] = ()

    def in_words(self, now: int, uptime: int | None) -> str:
        """What happened, at ``now`` (ms), on a server that runs for ``uptime`` seconds (``None``: unknown)."""
        started_at = 0 if uptime is None else now - uptime * 1000
        lost_at = max(started_at, self.written_at)
        form = "%H:%M UTC" if now - lost_at < DAY else "%Y-%m-%d %H:%M UTC"
        since = time.strftime(form, time.gmtime(lost_at / 1000))
        number = f"{self.number:,}{'' if self.exact else ' or more'}"
        sessions = "session is" if self.number == 1 else "sessions are"
        lost = "Redis was emptied" if self.is_loss else "Redis lacks what it had"
        return f"{lost} since {since}, {number} {sessions} in the database only"


def database_only(redis: RedisAdmin, database: DatabaseTier, index: RedisIndex, now: int) -> DatabaseOnly:
    """Compare those that end first; where most of them are missing, all up to a limit. One question to each tier.

    Raises TierUnavailable, AccessDenied.
    """
    sample = _rows(database, now + ENDING, "", SAMPLE)
    missing = _missing(redis, sample)
    if not missing:
        return DatabaseOnly(0, len(sample))
    is_loss = len(missing) >= SHARE * len(sample) and (len(missing) >= FEW or _is_empty(index, now))
    looked_at, exact, page = len(sample), True, sample
    while is_loss and len(page) in {SAMPLE, PAGE} and exact:
        page = _rows(database, page[-1].expires_at, page[-1].checkout_id, PAGE)
        missing += _missing(redis, page)
        looked_at += len(page)
        exact = looked_at < MOST_COUNTED or len(page) < PAGE
    newest = max(row.updated_at for row in missing)
    examples = tuple(row.checkout_id for row in missing[:10])
    return DatabaseOnly(len(missing), looked_at, newest, is_loss, exact, examples)


def _is_empty(index: RedisIndex, now: int) -> bool:
    try:
        return not index.count(now).number
    except WrongKeyType:
        return False


def _rows(database: DatabaseTier, after: int, checkout_id: str, limit: int) -> list[_Row]:
    return [_Row(*row) for row in database.rows(_ENDING_AFTER, after=after, last=checkout_id, limit=limit)]


def _missing(redis: RedisAdmin, rows: Sequence[_Row]) -> list[_Row]:
    ttls = redis.remaining([row.checkout_id for row in rows]) if rows else []
    return [row for row, ttl in zip(rows, ttls, strict=True) if ttl == _GONE]


# An older program deletes the key of a checkout that has ended, and its row stays until a clean-up: that is no loss.
_OPEN = (PaymentStatus.PENDING.value, PaymentStatus.PROCESSING.value, PaymentStatus.FAILED.value)
_ENDING_AFTER = (
    select(sessions.c.checkout_id, sessions.c.expires_at, sessions.c.updated_at)
    .where(
        (sessions.c.expires_at > bindparam("after"))
        | ((sessions.c.expires_at == bindparam("after")) & (sessions.c.checkout_id > bindparam("last"))),
        sessions.c.body.is_not(None),
        sessions.c.published_version >= sessions.c.version,
        sessions.c.completed.is_(False),
        sessions.c.status.in_(_OPEN),
    )
    .order_by(sessions.c.expires_at, sessions.c.checkout_id)
    .limit(bindparam("limit"))
)
