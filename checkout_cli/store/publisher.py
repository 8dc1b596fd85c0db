"""Bringing Redis up to date with what the database has committed.

Nothing here raises because Redis, or what lies in it, is difficult: the database has the session, its row stays
pending, and whoever finds it publishes it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

from checkout_cli.errors import AccessDenied, DatabaseUnavailable, RedisUnavailable, SlotMoved, WrongKeyType
from checkout_cli.session import is_session
from checkout_cli.store.clock import Clock
from checkout_cli.store.database_tier import DatabaseTier
from checkout_cli.store.drain_log import DrainLog
from checkout_cli.store.hand_over import HandOver
from checkout_cli.store.records import Record
from checkout_cli.store.redis_commands import Command
from checkout_cli.store.redis_tier import Opened, RedisTier

REFILLS = 3
"""How often another program's session is replaced while that program goes on writing it."""

_log = logging.getLogger("checkout_cli.store")


class Publisher:
    """Publishes for one store. Thread-safe."""

    def __init__(
        self, redis: RedisTier, database: DatabaseTier, hand_over: HandOver, drain_log: DrainLog, clock: Clock
    ) -> None:
        """``hand_over`` publishes a version; this decides what becomes of whatever lies in its way."""
        self._redis = redis
        self._database = database
        self._hand_over = hand_over
        self._drain_log = drain_log
        self._clock = clock

    def publish(self, record: Record, opened: Opened | None, also: Sequence[Command] = ()) -> bool:
        """Bring Redis up to date; false where it could not be, so that the row stays pending.

        ``also`` goes along with the first attempt and no other, because it must not happen twice.
        """
        if opened is None or opened.problem is not None:
            return False
        try:
            if opened.is_foreign:
                self._supersede(record, opened, also)
            else:
                self._publish(record, opened, also)
        except (RedisUnavailable, AccessDenied, WrongKeyType, DatabaseUnavailable) as error:
            # Committed is committed: whatever goes wrong from here on is no reason to refuse the write.
            _log.info("session %.8s… stays pending: %s", record.checkout_id, error)
            self._hand_over.void(record.checkout_id)
            return False
        return True

    def _publish(self, record: Record, opened: Opened, also: Sequence[Command]) -> None:
        try:
            self._hand_over.publish(record, opened, also)
        except SlotMoved:  # to a server that has the session since: it is published there as any pending row is
            self._hand_over.publish_row(record.checkout_id, opened.token, also)

    def _supersede(self, record: Record, opened: Opened, also: Sequence[Command]) -> None:
        """Put the database's version in place of what another program wrote, whichever version that claims to be."""
        assert opened.value is not None  # noqa: S101  (else it would not be another program's)
        if not is_session(opened.value):
            self._quarantine(record.checkout_id, opened.value)
        self._redis.discard(record.checkout_id, opened.value)
        if record.body is None:
            self._hand_over.publish(record, opened, also)
            return
        for _ in range(REFILLS):  # the other programs must go on seeing their session, also if they write meanwhile
            claimed = self._redis.claim(record.checkout_id)
            row = self._database.read(record.checkout_id)  # after the claim, so that it cannot be older than a publish
            if row is None or self._hand_over.publish(row, claimed, also) != "cleared":
                return
            also = ()

    def _quarantine(self, checkout_id: str, value: bytes) -> None:
        """Remember a value that is no session before it is replaced: a digest, because the bytes may be personal."""
        digest = hashlib.sha256(value).hexdigest()
        self._drain_log.quarantine(checkout_id, digest, len(value), self._clock.wall())
        _log.warning("session %.8s… in Redis was no session: %d bytes, SHA-256 %s", checkout_id, len(value), digest)

    def give_up(self, checkout_id: str, opened: Opened | None) -> None:
        """There is nothing to fill the key with: take our claim back, so that misses leave nothing behind."""
        if opened is None or not opened.token:
            return
        try:
            self._redis.release(checkout_id, opened)
        except (RedisUnavailable, AccessDenied, WrongKeyType) as error:
            _log.debug("a claim ends by itself: %s", error)
