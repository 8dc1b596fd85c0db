"""Writes while the database is away: Redis alone, else memory.

Each keeps the id that it had when the database was asked, which may have the write and only have lost its answer.
"""

from __future__ import annotations

from checkout_cli.errors import DatabaseNotReady, DatabaseUnavailable, DurabilityUnavailable
from checkout_cli.session import Acknowledgement, Durability
from checkout_cli.store.last_resort import LastResort
from checkout_cli.store.publisher import Publisher
from checkout_cli.store.records import Record
from checkout_cli.store.redis.tier import Opened
from checkout_cli.store.redis_alone import RedisAlone
from checkout_cli.store.versions import Changes


class WithoutDatabase:
    """What becomes of a write that the database did not take. Thread-safe."""

    def __init__(self, redis_alone: RedisAlone, last_resort: LastResort, publisher: Publisher) -> None:
        """``publisher`` takes a claim back that nothing came of."""
        self._redis_alone = redis_alone
        self._last_resort = last_resort
        self._publisher = publisher

    def create(
        self,
        record: Record,
        opened: Opened | None,
        write_id: str,
        require: Durability | None,
        away: DatabaseUnavailable,
        *,
        chosen: bool,
    ) -> Acknowledgement:
        """Redis alone, else memory. The write's id is the same: the database may have it, and lost only the answer.

        ``chosen``: the session's id is its caller's, so that the database may know of another one that has had it.
        """
        if isinstance(away, DatabaseNotReady):
            self._publisher.give_up(record.checkout_id, opened)
            raise away  # nobody has set it up: that is to be reported, not to be survived
        if opened is None:
            return self._last_resort.create(record, write_id, require, away)
        try:
            written = self._redis_alone.create(record, opened, write_id, require, questionable=chosen)
        except DurabilityUnavailable:
            self._publisher.give_up(record.checkout_id, opened)
            raise
        if written is None:
            raise away
        return written

    def update(
        self,
        checkout_id: str,
        changes: Changes,
        opened: Opened | None,
        write_id: str,
        require: Durability | None,
        away: DatabaseUnavailable,
        *,
        attempted: bool,
    ) -> Acknowledgement:
        """Redis alone, else memory; where neither has anything to build upon, the write fails.

        ``attempted``: the database may have this very write, under ``write_id``, and have lost only its answer.
        """
        if isinstance(away, DatabaseNotReady):
            self._publisher.give_up(checkout_id, opened)
            raise away
        if opened is None:
            return self._last_resort.update(checkout_id, changes, write_id, require, away)
        written = self._redis_alone.update(
            checkout_id, changes, opened, require, attempted=write_id if attempted else None
        )
        if written is None:
            self._publisher.give_up(checkout_id, opened)
            raise away
        return written
