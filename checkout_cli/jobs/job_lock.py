"""One process at a time: a token lock with a time to live, so that a job that died does not block the next one.

It lies in Redis, which all machines share; where Redis is away, in the database.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from checkout_cli.errors import DatabaseUnavailable, Locked, RedisUnavailable, TierUnavailable
from checkout_cli.store.checkout_store import CheckoutStore

CLEANUP = "cleanup"
"""The job that changes the index; whatever else does so takes its lock."""
TIME_TO_LIVE = 30_000
"""For how long the lock outlives its holder's last sign of life, in milliseconds."""


class JobLock:
    """The lock of one running job."""

    def __init__(self, store: CheckoutStore, job: str, owner: str, *, in_redis: bool) -> None:
        """Made by :func:`job_lock`, which has taken the lock already."""
        self._store = store
        self._job = job
        self._owner = owner
        self._in_redis = in_redis

    def still_held(self) -> bool:
        """Keep the lock for longer; false where somebody else may have it by now, so that we must stop."""
        if self._in_redis:
            return self._store.redis.extend_lock(self._job, self._owner, TIME_TO_LIVE)
        return _taken_in_database(self._store, self._job, self._owner) is None

    def release(self) -> None:
        """Give the lock back."""
        if self._in_redis:
            self._store.redis.unlock(self._job, self._owner)
        else:
            self._store.database.unlock(self._job, self._owner)


def new_owner() -> str:
    """Who we are, for whoever finds the lock taken: host, process, and a token that no other process has."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


@contextmanager
def job_lock(store: CheckoutStore, job: str, owner: str) -> Iterator[JobLock]:
    """Hold the lock of a job for the block.

    Raises:
        Locked: another process has it.
        TierUnavailable: neither Redis nor the database can be reached.
        TablesRefused: the database's tables are not for us; a job would write to Redis first and fail then.
    """
    with suppress(DatabaseUnavailable):
        store.database.ping()
    in_redis = store.settings.enable_checkout_sessions
    try:
        holder = store.redis.lock(job, owner, TIME_TO_LIVE) if in_redis else _taken_in_database(store, job, owner)
    except RedisUnavailable:
        holder, in_redis = _taken_in_database(store, job, owner), False
    if holder is not None:
        raise Locked(f"skipped: locked by {holder}", hint="")
    lock = JobLock(store, job, owner, in_redis=in_redis)
    try:
        yield lock
    finally:
        with suppress(TierUnavailable):  # the server went away meanwhile; the lock ends by itself
            lock.release()


def _taken_in_database(store: CheckoutStore, job: str, owner: str) -> str | None:
    now = store.database.now()
    return store.database.lock(job, owner, now=now, until=now + TIME_TO_LIVE)
