"""The memory of families of keys: counted, or estimated with bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from checkout_cli.commands.memory.measure import Method
from checkout_cli.commands.memory.tally import TTL_STEPS, BigKey
from checkout_cli.jobs.bounded_run import Ended, Stopped
from checkout_cli.keys import Family


@dataclass(frozen=True)
class Bound:
    """The bounds of a number, with 95 % certainty; ``high`` is ``None`` where it is unknown."""

    low: int
    high: int | None


@dataclass(frozen=True)
class FamilyMemory:
    """One family: its keys, their bytes, keys without expiry, the others by time to live (``TTL_STEPS``).

    ``size`` and ``without_ttl`` are ``None`` where the server does not tell, and the bounds where keys were counted.
    ``unmeasured`` keys are not in ``size``; ``share`` is the family's part of all bytes, 0 to 1.
    """

    SHOWN = (
        "keys bytes=size share:4 keysWithoutTtl=without_ttl ttl=by_ttl unmeasuredKeys=unmeasured [keysBound] "
        "[bytesBound=size_bound]"
    )

    family: Family
    keys: int
    size: int | None
    without_ttl: int | None
    ttls: tuple[int, ...]
    unmeasured: int = 0
    keys_bound: Bound | None = None
    size_bound: Bound | None = None
    share: float | None = None

    def by_ttl(self) -> dict[str, int] | None:
        steps = [*(f"under{step // 1000}Seconds" for step in TTL_STEPS), "longer"]
        return None if self.without_ttl is None else dict(zip(steps, self.ttls, strict=True))


@dataclass
class FamiliesReport(Ended):
    """All families; ``timestamp`` in ms since the epoch, ``took`` in seconds.

    ``looked_at`` keys were measured, ``total`` is DBSIZE at the beginning, ``sample`` says that the numbers are
    estimates. A ``resumed`` run began at a cursor: its numbers lack the part before. ``missing`` are servers of a
    cluster that did not answer.
    """

    SHOWN = (
        "timestamp@ server=place sample partial finished stopped=stopped_by resumed nextCursor=cursor lookedAt "
        "keysInRedis=total sizes=method durationMs=took:1 families=by_family"
    )

    timestamp: int
    place: str
    took: float
    families: tuple[FamilyMemory, ...]
    biggest: tuple[BigKey, ...]
    looked_at: int
    total: int | None
    method: Method
    sample: bool = False
    resumed: bool = False
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def stopped_by(self) -> Stopped | None:
        return None if self.finished else self.stopped

    def by_family(self) -> dict[str, Any]:
        return {str(family.family): replace(family, share=self.share(family)) for family in self.families}

    @property
    def whole(self) -> int | None:
        sizes = [family.size for family in self.families if family.size is not None]
        return sum(sizes) if sizes else None

    def share(self, family: FamilyMemory) -> float | None:
        """A family's part of all bytes, 0 to 1."""
        return family.size / self.whole if family.size is not None and self.whole else None

    @property
    def partial(self) -> bool:
        return not self.finished or self.resumed or bool(self.missing)

    @property
    def has_finding(self) -> bool:
        return bool(self.missing)
