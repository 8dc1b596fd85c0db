"""How a session's id dies: a tombstone in the database first, then nothing in Redis. And how that is taken back."""

from __future__ import annotations

import uuid

import msgspec

from checkout_cli.errors import SessionNotFound
from checkout_cli.keys import is_accepted_id
from checkout_cli.store.clock import Clock
from checkout_cli.store.database_tier import DatabaseTier
from checkout_cli.store.hand_over import HandOver
from checkout_cli.store.publisher import Publisher
from checkout_cli.store.records import Record
from checkout_cli.store.redis_tier import Opened, RedisTier


class Deletion:
    """Deletes for one store. Thread-safe. Its methods may raise ``DatabaseUnavailable``."""

    def __init__(
        self, redis: RedisTier, database: DatabaseTier, hand_over: HandOver, publisher: Publisher, clock: Clock
    ) -> None:
        """``publisher`` takes the session out of Redis, or leaves the row pending."""
        self._redis = redis
        self._database = database
        self._hand_over = hand_over
        self._publisher = publisher
        self._clock = clock

    def bury(self, row: Record, opened: Opened | None, write_id: str) -> bool:
        """Delete the session of a row; false where the row has another version by now."""
        self._hand_over.note_unpublished(row.checkout_id, row.version + 1)
        now = self._clock.wall()
        if not self._database.bury(row.checkout_id, seen=row.version, now=now, write_id=write_id):
            return False
        self._publisher.publish(msgspec.structs.replace(row, version=row.version + 1, body=None), opened)
        return True

    def foreign(self, checkout_id: str, opened: Opened | None, write_id: str) -> bool:
        """Delete another program's session; false where somebody has adopted it meanwhile.

        Raises:
            SessionNotFound: there is none either.
        """
        if opened is None or not opened.found_something:
            self._publisher.give_up(checkout_id, opened)
            raise SessionNotFound(f"no session {checkout_id!r}")
        if not is_accepted_id(checkout_id):
            self._redis.remove(checkout_id)  # nobody can adopt it, so nothing can bring it back but its own program
            return True
        if not self._database.entomb(checkout_id, now=self._clock.wall(), write_id=write_id):
            return False
        self._redis.remove(checkout_id)
        self._hand_over.note_published(checkout_id, 1, opened.identity)
        return True

    def take_back(self, record: Record, opened: Opened | None, deletion: str) -> bool:
        """Bring a session back in place of the tombstone of one deletion; false where that is not there any more.

        ``record.version`` is the one after the tombstone's: whoever still publishes that finds something newer.
        """
        self._hand_over.note_unpublished(record.checkout_id, record.version)
        now, write_id = self._clock.wall(), str(uuid.uuid4())
        if not self._database.unbury(record, deletion=deletion, now=now, write_id=write_id):
            return False
        self._publisher.publish(record, opened)
        return True
