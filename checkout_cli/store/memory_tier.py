"""The memory tier: the last resort when neither Redis nor the database can be reached. A full memory refuses writes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import msgspec

from checkout_cli.errors import DurabilityUnavailable
from checkout_cli.store.records import Record

CAPACITY = 10_000
"""Sessions; about 20 MB of typical ones."""


class Kept(msgspec.Struct, frozen=True):
    """A session in memory and its writes since the row of ``record.version`` (0: none); each write makes a new one."""

    record: Record
    write_ids: tuple[str, ...]


class MemoryTier:
    """Sessions in this process, ``capacity`` at most. Thread-safe."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._kept: dict[str, Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, checkout_id: str, now: int) -> Kept | None:
        """A session that is alive at ``now`` (ms)."""
        kept = self._kept.get(checkout_id)
        return kept if kept is not None and kept.record.expires_at > now else None

    def keep(self, record: Record, write_ids: tuple[str, ...], *, seen: Kept | None, now: int) -> bool:
        """Keep a session in place of ``seen``; false where that has changed, ``DurabilityUnavailable`` where full."""
        with self._lock:
            if self.read(record.checkout_id, now) is not seen:
                return False
            if len(self._kept) >= self._capacity and record.checkout_id not in self._kept:
                self._purge(now)
            if len(self._kept) >= self._capacity and record.checkout_id not in self._kept:
                raise DurabilityUnavailable(f"memory holds {self._capacity:,} sessions already, and no tier is there")
            self._kept[record.checkout_id] = Kept(record, write_ids)
            return True

    def release(self, checkout_id: str, seen: Kept) -> bool:
        """Forget a session that was flushed or deleted, unless it has changed meanwhile."""
        with self._lock:
            if self._kept.get(checkout_id) is not seen:
                return False
            del self._kept[checkout_id]
            return True

    def newest(self, now: int) -> Iterator[Record]:
        """All live sessions, the last to expire first."""
        alive = [kept.record for kept in list(self._kept.values()) if kept.record.expires_at > now]
        return iter(sorted(alive, key=lambda record: record.expires_at, reverse=True))

    def purge(self, now: int) -> int:
        """Forget the sessions expired at ``now`` (ms); returns how many."""
        with self._lock:
            return self._purge(now)

    def _purge(self, now: int) -> int:
        dead = [name for name, kept in self._kept.items() if kept.record.expires_at <= now]
        for name in dead:
            del self._kept[name]
        return len(dead)
