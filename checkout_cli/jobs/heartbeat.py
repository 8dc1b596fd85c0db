"""When a job ran last and what came of it, so that ``doctor`` can say that one has stopped running."""

from __future__ import annotations

import logging

import msgspec

from checkout_cli.errors import AccessDenied, CheckoutError, InvalidInput, RedisUnavailable
from checkout_cli.jobs.cursors import checked_cursor
from checkout_cli.keys import heartbeat_key
from checkout_cli.session import iso, milliseconds_of
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.admin import FIRST_CURSOR

KEPT = 30 * 86_400_000
"""For how long a heartbeat is remembered, in milliseconds: longer than any job's interval."""

_log = logging.getLogger("checkout_cli.jobs")


class Heartbeat(msgspec.Struct, frozen=True, rename="camel"):
    """One run: its end (ISO 8601), how long it took (seconds), whether it got through, and on how many sessions.

    ``cursor`` is where the next run goes on with what is done a part at a time, ``members`` the same in an older
    program's SET; ``server`` is the Redis server of which a run has made sure that it lacks nothing.
    """

    finished_at: str
    seconds: float
    finished: bool
    sessions: int
    cursor: str = FIRST_CURSOR
    server: str = ""
    members: str = FIRST_CURSOR

    @property
    def moment(self) -> int:
        """Its end in milliseconds since the epoch; 0 where somebody has written no moment there."""
        return milliseconds_of(self.finished_at) or 0


def beat(
    store: CheckoutStore,
    job: str,
    *,
    seconds: float,
    finished: bool,
    sessions: int,
    cursor: str = FIRST_CURSOR,
    server: str = "",
    members: str = FIRST_CURSOR,
) -> None:
    """Leave a trace of a run; where Redis cannot take it, the run has still been one."""
    if not store.settings.enable_checkout_sessions:
        return
    now = Heartbeat(iso(store.clock.wall()), round(seconds, 3), finished, sessions, cursor, server, members)
    try:
        store.redis.put(heartbeat_key(job), msgspec.json.encode(now), KEPT)
    except CheckoutError as error:
        _log.debug("no heartbeat of %s: %s", job, error)


def last_beat(store: CheckoutStore, job: str) -> Heartbeat | None:
    """The last run; ``None`` where none is remembered, or another program has written there.

    Raises:
        RedisUnavailable, AccessDenied: it is in Redis.
    """
    return beat_of(store.redis.value(heartbeat_key(job)))


def remembered(store: CheckoutStore, job: str, scans: int = 1) -> Heartbeat:
    """Where the last run stopped; at the first cursors where nobody knows, or they are none of ours.

    Raises:
        WrongKeyType: another program keeps something else there.
    """
    never = Heartbeat("", 0, finished=False, sessions=0)
    try:
        last = last_beat(store, job) or never
        checked_cursor(last.cursor, scans)
        checked_cursor(last.members)
    except (AccessDenied, InvalidInput, RedisUnavailable):  # RedisUnavailable: its server in a cluster is away
        return never
    return last


def beat_of(reply: object) -> Heartbeat | None:
    """The run that a reply tells of; ``None`` for an error, and for what another program has written there."""
    try:
        return msgspec.json.decode(reply, type=Heartbeat) if isinstance(reply, bytes) else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
