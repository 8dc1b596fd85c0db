"""The memory of one Redis server, from INFO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from checkout_cli.servers.inspection import Info

NO_EVICTION = "noeviction"
"""The policy of a server that refuses writes when it is full."""
KEEP = "checkoutctl memory tune --policy noeviction"
"""A full server refuses the write then, and the store keeps the session in the database."""
MORE_ROOM = "checkoutctl memory tune --advise"
NEARLY_FULL, FULL = 0.95, 0.99


@dataclass(frozen=True)
class Memory:
    """One server's memory, in bytes; ``None`` is unknown.

    ``limit`` is ``None`` without one, ``system`` is all memory of its machine. ``not_counted`` does not count against
    the limit. ``evicted`` is since the server's start.
    """

    JSON_KEYS = "usedBytes=used maxBytes=limit policy"

    place: str
    used: int
    limit: int | None = None
    limit_known: bool = True
    peak: int | None = None
    resident: int | None = None
    reported_fragmentation: float | None = None
    system: int | None = None
    not_counted: int = 0
    policy: str = ""
    evicted: int | None = None
    is_replica: bool = False

    @property
    def evicts(self) -> bool:
        """Whether its policy lets the server evict sessions; false where it does not tell."""
        return bool(self.policy) and self.policy != NO_EVICTION

    @classmethod
    def of(cls, place: str, info: Info, **more: Any) -> Self:
        """The memory in INFO; what it does not tell counts as unused."""
        return cls(
            place=place,
            used=info.integer("used_memory") or 0,
            limit=info.integer("maxmemory") or None,
            limit_known=info.integer("maxmemory") is not None,
            peak=info.integer("used_memory_peak"),
            resident=info.integer("used_memory_rss"),
            reported_fragmentation=info.number("mem_fragmentation_ratio"),
            system=info.integer("total_system_memory") or None,
            not_counted=info.integer("mem_not_counted_for_evict") or 0,
            policy=info.text("maxmemory_policy") or "",
            evicted=info.integer("evicted_keys"),
            is_replica=info.text("role") == "slave",
            **more,
        )

    @property
    def counted(self) -> int:
        """The bytes that count against the limit."""
        return max(self.used - self.not_counted, 0)

    @property
    def reference(self) -> int | None:
        """The limit, or without one all memory of the machine."""
        return self.limit or self.system or None

    @property
    def fullness(self) -> float | None:
        """The used share of the reference, 0 to 1, and above where it is over its limit."""
        return None if self.reference is None else self.counted / self.reference

    @property
    def headroom(self) -> int | None:
        """The bytes left below the reference, at least 0."""
        return None if self.reference is None else max(self.reference - self.counted, 0)

    @property
    def fragmentation(self) -> float | None:
        """The machine's bytes for each byte used; below 1, some are swapped out."""
        return None if self.resident is None or not self.used else self.resident / self.used

    @property
    def evicts_sessions(self) -> bool:
        """Whether it evicts live sessions when full: they all have a time to live."""
        return self.policy not in {"", "noeviction"}

    @property
    def before_filling(self) -> str:
        """What to type before more is written there; empty where there is room, and nothing that it throws away."""
        if self.limit is None or self.counted < NEARLY_FULL * self.limit:
            return ""
        return self.against_evictions if self.evicts_sessions else MORE_ROOM

    @property
    def against_evictions(self) -> str:
        """What to type so that nothing is evicted; without room left, the policy alone would refuse every write."""
        is_full = self.limit is not None and self.counted >= FULL * self.limit
        return MORE_ROOM if is_full else KEEP

    @property
    def refuses_writes(self) -> bool:
        """Whether it is full, and may not evict anything."""
        return self.limit is not None and self.counted >= self.limit and not self.evicts_sessions
