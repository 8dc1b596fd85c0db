"""The last run of a job and its result, so that ``doctor`` notices a job that has stopped running."""

from __future__ import annotations

import logging

import msgspec

from checkout_cli.errors import AccessDenied, CheckoutError, InvalidInput, RedisUnavailable
from checkout_cli.jobs.cursors import checked_cursor
from checkout_cli.keys import heartbeat_key
from checkout_cli.session import iso, milliseconds_of
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.admin import FIRST_CURSOR

AHEAD = 60_000
"""Milliseconds by which the clock of the machine that ran a job may be ahead."""
KEPT = 30 * 86_400_000
"""Milliseconds for which a heartbeat is kept: longer than any job's interval."""

_log = logging.getLogger("checkout_cli.jobs")


class Heartbeat(msgspec.Struct, frozen=True, rename="camel"):
    """One run: its end (ISO 8601), its length (seconds), whether it finished, and its number of sessions.

    ``cursor`` is where the next run continues, ``members`` the same in an older program's SET; ``server`` is the Redis
    server that lacks nothing since this run. ``completed_at`` is the end of the last run that finished.
    """

    finished_at: str
    seconds: float
    finished: bool
    sessions: int
    cursor: str = FIRST_CURSOR
    server: str = ""
    members: str = FIRST_CURSOR
    completed_at: str = ""

    @property
    def moment(self) -> int:
        """Its end in milliseconds since the epoch; 0 where it is no moment."""
        return milliseconds_of(self.finished_at) or 0

    @property
    def completed(self) -> int:
        """The same of the last run that finished."""
        return self.moment if self.finished else milliseconds_of(self.completed_at) or 0

    def is_forged(self, now: int) -> bool:
        """Whether it lies in the future, where no run of ours has ended yet."""
        return max(self.moment, self.completed) > now + AHEAD


def beat(store: CheckoutStore, job: str, *, seconds: float, finished: bool, sessions: int, **place: str) -> None:
    """Record a run, ``place`` being the heartbeat's other fields; a failure to record it does not fail the run."""
    if not store.settings.enable_checkout_sessions:
        return
    now = Heartbeat(iso(store.clock.wall()), round(seconds, 3), finished, sessions, **place)
    try:
        if not finished and (last := last_beat(store, job)) is not None and not last.is_forged(store.clock.wall()):
            now = msgspec.structs.replace(now, completed_at=iso(max(last.completed, 0)))
        store.redis.put(heartbeat_key(job), msgspec.json.encode(now), KEPT)
    except CheckoutError as error:
        _log.debug("no heartbeat of %s: %s", job, error)


def last_beat(store: CheckoutStore, job: str) -> Heartbeat | None:
    """The last run, if any is remembered; raises ``RedisUnavailable``, ``AccessDenied``."""
    return beat_of(store.redis.value(heartbeat_key(job)))


def remembered(store: CheckoutStore, job: str, scans: int = 1) -> Heartbeat:
    """The last run, with the first cursors where they are unknown; ``WrongKeyType`` for another program's key."""
    never = Heartbeat("", 0, finished=False, sessions=0)
    try:
        last = last_beat(store, job) or never
        checked_cursor(last.cursor, scans)
        checked_cursor(last.members)
    except (AccessDenied, InvalidInput, RedisUnavailable):  # RedisUnavailable: of its server in a cluster
        return never
    return last


def beat_of(reply: object) -> Heartbeat | None:
    """The run in a reply; ``None`` for an error, and for another program's value."""
    try:
        return msgspec.json.decode(reply, type=Heartbeat) if isinstance(reply, bytes) else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
