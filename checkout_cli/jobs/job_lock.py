"""One process at a time: a token lock with a time to live, so that a dead job does not block the next.

It is in Redis, which all machines share, or in the database where Redis is unavailable.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from checkout_cli.errors import DatabaseUnavailable, Locked, RedisUnavailable, TierUnavailable
from checkout_cli.privacy.personal_ids import named
from checkout_cli.store.checkout_store import CheckoutStore

CLEANUP = "cleanup"
"""The lock of everything that changes the index."""
TIME_TO_LIVE = 30_000
"""Milliseconds that the lock outlives its holder's last sign of life."""


class JobLock:
    """The lock of a running job, as :func:`job_lock` has taken it."""

    def __init__(self, store: CheckoutStore, job: str, owner: str, *, in_redis: bool) -> None:
        self._store = store
        self._job = job
        self._owner = owner
        self._in_redis = in_redis

    def still_held(self) -> bool:
        """Extend the lock; false where somebody else may have it, so that the job must stop."""
        if self._in_redis:
            return self._store.redis.extend_lock(self._job, self._owner, TIME_TO_LIVE)
        return _taken_in_database(self._store, self._job, self._owner) is None

    def release(self) -> None:
        if self._in_redis:
            self._store.redis.unlock(self._job, self._owner)
        else:
            self._store.database.unlock(self._job, self._owner)


def new_owner() -> str:
    """This process, for whoever finds the lock taken: host, process id, and a unique token."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def is_owner(holder: str) -> bool:
    """Whether such a name is one that :func:`new_owner` makes."""
    return re.fullmatch(r"[A-Za-z0-9._-]{1,255}:\d{1,10}:[0-9a-f]{8}", holder, re.ASCII) is not None


def _holder(name: str) -> str:
    """Who holds a lock, unless that is text of another program's."""
    return named(name) if re.fullmatch(r"[A-Za-z0-9._:-]{1,300}", name) else "another program"


@contextmanager
def job_lock(store: CheckoutStore, job: str, owner: str) -> Iterator[JobLock]:
    """Hold the lock of a job for the block.

    Raises ``Locked`` where another process has it, ``TierUnavailable`` where neither tier answers, and
    ``TablesRefused`` where the database's tables are not ours: a job would write to Redis first and fail then.
    """
    with suppress(DatabaseUnavailable):
        store.database.ping()
    in_redis = store.settings.enable_checkout_sessions
    try:
        holder = store.redis.lock(job, owner, TIME_TO_LIVE) if in_redis else _taken_in_database(store, job, owner)
    except RedisUnavailable:
        holder, in_redis = _taken_in_database(store, job, owner), False
    if holder is not None:
        raise Locked(f"skipped: locked by {_holder(holder)}")
    lock = JobLock(store, job, owner, in_redis=in_redis)
    try:
        yield lock
    finally:
        with suppress(TierUnavailable):  # the server went away meanwhile; the lock ends by itself
            lock.release()


def _taken_in_database(store: CheckoutStore, job: str, owner: str) -> str | None:
    now = store.database.now()
    return store.database.lock(job, owner, now=now, until=now + TIME_TO_LIVE)
