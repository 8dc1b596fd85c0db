"""Memory as the last resort, until the database is back: then the next use of the session flushes it, exactly once."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from checkout_cli.clock import Clock
from checkout_cli.errors import WriteConflict
from checkout_cli.privacy.personal_ids import named
from checkout_cli.session import Acknowledgement, Durability, Session, TierName, decode
from checkout_cli.store.database.flush_log import Dirty, FlushLog, Source
from checkout_cli.store.memory_tier import Kept, MemoryTier
from checkout_cli.store.protocol.value import NO_IDENTITY, Value
from checkout_cli.store.records import Record
from checkout_cli.store.versions import Changes, Versions


@dataclass(eq=False)
class MemoryAlone:
    """Reads and writes without any server. Thread-safe."""

    memory: MemoryTier
    flush_log: FlushLog
    versions: Versions
    clock: Clock

    def get(self, checkout_id: str) -> Session | None:
        """The session in memory, granted the full TTL again; ``None`` if memory has none, so that nobody knows."""
        now = self.clock.wall()
        kept = self.memory.read(checkout_id, now)
        if kept is None:
            return None
        self.versions.check_age(checkout_id, kept.record.created_at)
        slid = msgspec.structs.replace(kept.record, expires_at=self.versions.expiry(kept.record.created_at))
        self.memory.keep(slid, kept.write_ids, seen=kept, now=now)  # where it has changed meanwhile, that granted it
        return _session(slid)

    def create(self, record: Record) -> Acknowledgement:
        """Keep a new session in memory; raises ``DurabilityUnavailable`` if memory is full."""
        return self._keep(msgspec.structs.replace(record, version=0), record.write_id, None)

    def update(self, checkout_id: str, changes: Changes, write_id: str) -> Acknowledgement | None:
        """Change a session in memory; ``None`` if there is none."""
        kept = self.memory.read(checkout_id, self.clock.wall())
        if kept is None:
            return None
        changed = msgspec.structs.replace(self.versions.next(kept.record, changes), version=kept.record.version)
        return self._keep(changed, write_id, kept)

    def delete(self, checkout_id: str) -> bool:
        """Forget a session that only memory has; false if it may be elsewhere."""
        kept = self.memory.read(checkout_id, self.clock.wall())
        return kept is not None and not kept.record.version and self.memory.release(checkout_id, kept)

    def flush(self, checkout_id: str) -> None:
        """Bring what only memory has to the database; on ``DatabaseUnavailable`` memory keeps it."""
        kept = self.memory.read(checkout_id, self.clock.wall())
        if kept is None:
            return
        record = kept.record
        assert record.body is not None  # noqa: S101  (memory keeps no tombstones)
        value = Value(record.version, NO_IDENTITY, record.body, kept.write_ids)
        dirty = Dirty(checkout_id, value, record.created_at, record.expires_at, Source.MEMORY)
        self.flush_log.apply(dirty, self.clock.wall())
        self.memory.release(checkout_id, kept)

    def _keep(self, record: Record, write_id: str, seen: Kept | None) -> Acknowledgement:
        write_ids = (*(seen.write_ids if seen else ()), write_id)
        if not self.memory.keep(record, write_ids, seen=seen, now=self.clock.wall()):
            raise WriteConflict(f"session {named(record.checkout_id)} was changed by another thread meanwhile")
        return Acknowledgement(_session(record), Durability.MEMORY, published=False)


def _session(record: Record) -> Session:
    assert record.body is not None  # noqa: S101  (memory keeps no tombstones)
    return Session(record.checkout_id, decode(record.body), record.version, TierName.MEMORY, verified=False)
