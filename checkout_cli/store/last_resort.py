"""Memory as the last resort: when neither Redis nor the database can be reached.

A caller that accepts memory gets an acknowledgement that says so. As soon as the database is back, whatever touches
the session hands it over first.
"""

from __future__ import annotations

import logging
import uuid

import msgspec

from checkout_cli.errors import DatabaseUnavailable, DurabilityUnavailable, WriteConflict
from checkout_cli.session import Acknowledgement, Durability, Session, TierName, at_least, decode
from checkout_cli.store.clock import Clock
from checkout_cli.store.database_tier import DatabaseTier
from checkout_cli.store.memory_tier import Kept, MemoryTier
from checkout_cli.store.records import Record
from checkout_cli.store.versions import Changes, Versions

_log = logging.getLogger("checkout_cli.store")


class LastResort:
    """What the store does without any server. Thread-safe."""

    def __init__(self, memory: MemoryTier, database: DatabaseTier, versions: Versions, clock: Clock) -> None:
        """``database`` is asked only to hand over to it."""
        self._memory = memory
        self._database = database
        self._versions = versions
        self._clock = clock

    def get(self, checkout_id: str, away: DatabaseUnavailable) -> Session:
        """The session as memory has it, granted the full TTL again; without one, whether it exists cannot be known."""
        kept = self._memory.read(checkout_id, self._clock.wall())
        if kept is None:
            raise away
        self._versions.check_age(checkout_id, kept.record.created_at)
        slid = msgspec.structs.replace(kept.record, expires_at=self._versions.expiry(kept.record.created_at))
        self._memory.keep(slid, seen=kept, now=self._clock.wall())  # where it has changed meanwhile, that granted it
        return _session(slid)

    def create(
        self, record: Record, require: Durability | None, away: DatabaseUnavailable, *, redis_away: bool
    ) -> Acknowledgement:
        """Keep a new session in memory, if the caller accepts that."""
        self._insist(require, away, redis_away=redis_away)
        return self._keep(record, None)

    def update(
        self,
        checkout_id: str,
        changes: Changes,
        require: Durability | None,
        away: DatabaseUnavailable,
        *,
        redis_away: bool,
    ) -> Acknowledgement:
        """Change a session that memory has."""
        self._insist(require, away, redis_away=redis_away)
        kept = self._memory.read(checkout_id, self._clock.wall())
        if kept is None:
            raise away
        return self._keep(self._versions.next(kept.record, changes), kept)

    def delete(self, checkout_id: str, away: DatabaseUnavailable, *, redis_away: bool) -> None:
        """Forget a session that only memory has."""
        kept = self._memory.read(checkout_id, self._clock.wall())
        if not redis_away or kept is None or not self._memory.release(checkout_id, kept):
            raise away

    def hand_over(self, checkout_id: str) -> None:
        """Bring to the database what only memory has; where the id is taken there, the database wins.

        Raises:
            DatabaseUnavailable: it is still away, and memory keeps the session.
        """
        kept = self._memory.read(checkout_id, self._clock.wall())
        if kept is None:
            return
        first = msgspec.structs.replace(kept.record, version=1)
        if not self._database.insert(first, now=self._clock.wall(), write_id=str(uuid.uuid4())):
            _log.warning("session %.8s… in memory gives way to the database's", checkout_id)
        self._memory.release(checkout_id, kept)

    def _insist(self, require: Durability | None, away: DatabaseUnavailable, *, redis_away: bool) -> None:
        if not redis_away:
            raise away  # Redis is there, so memory is not the last resort
        if require is not None and not at_least(Durability.MEMORY, require):
            raise DurabilityUnavailable(
                f"neither Redis nor the database can be reached, and memory does not last: {away}"
            ) from away

    def _keep(self, record: Record, seen: Kept | None) -> Acknowledgement:
        if not self._memory.keep(record, seen=seen, now=self._clock.wall()):
            raise WriteConflict(f"session {record.checkout_id} was changed by another thread meanwhile")
        return Acknowledgement(_session(record), Durability.MEMORY, published=False)


def _session(record: Record) -> Session:
    assert record.body is not None  # noqa: S101  (memory keeps no tombstones)
    return Session(record.checkout_id, decode(record.body), record.version, TierName.MEMORY, verified=False)
