"""Keys counted by family, in memory that does not grow with their number, and the report of families."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from checkout_cli.commands.memory.measure import NO_TTL, Method, Page
from checkout_cli.jobs.bounded_run import Ended, Stopped
from checkout_cli.keys import Family, family_of

TTL_STEPS = (60_000, 300_000, 600_000, 1_800_000, 3_600_000, 86_400_000)
"""Where one bar of the histogram ends and the next begins, in milliseconds; the last one is open."""


@dataclass(frozen=True)
class BigKey:
    """A key and the bytes it takes."""

    key: bytes
    size: int

    @property
    def family(self) -> Family:
        return family_of(self.key)


class FamilyTally:
    """The count of one family: keys, bytes, keys without a known size or without expiry, the others by time to live."""

    __slots__ = ("keys", "size", "ttls", "unmeasured", "without_ttl")

    def __init__(self) -> None:
        self.keys = 0
        self.size = 0
        self.unmeasured = 0
        self.without_ttl = 0
        self.ttls = [0] * (len(TTL_STEPS) + 1)

    def add(self, sizes: Sequence[int | None], ttls: Sequence[int | None]) -> None:
        known = [size for size in sizes if size is not None]
        ends = sorted(ttl for ttl in ttls if ttl is not None)
        self.keys += len(sizes)
        self.size += sum(known)
        self.unmeasured += len(sizes) - len(known)
        edge = bisect_right(ends, NO_TTL)
        self.without_ttl += edge
        for step, highest in enumerate((*TTL_STEPS, ends[-1] + 1 if ends else 0)):
            before, edge = edge, max(edge, bisect_left(ends, highest))
            self.ttls[step] += edge - before


class Tally:
    """The count of all families, with the ``biggest`` keys, largest first."""

    def __init__(self, biggest: int) -> None:
        self.families = {family: FamilyTally() for family in Family}
        self.looked_at = 0
        self._most = biggest
        self._biggest: list[tuple[int, bytes]] = []

    def add(self, page: Page) -> None:
        members: dict[Family, tuple[list[int | None], list[int | None]]] = {}
        for key, size, ttl in zip(page.keys, page.sizes, page.ttls, strict=True):
            sizes, ttls = members.setdefault(family_of(key), ([], []))
            sizes.append(size)
            ttls.append(ttl)
        for family, (sizes, ttls) in members.items():
            self.families[family].add(sizes, ttls)
        self.looked_at += len(page.keys)
        least = self._biggest[-1][0] if len(self._biggest) == self._most and self._biggest else -1
        measured = zip(page.sizes, page.keys, strict=True)
        bigger = {(size, key) for size, key in measured if size is not None and size > least}
        if bigger:
            self._biggest = heapq.nlargest(self._most, bigger.union(self._biggest))  # a set: SCAN repeats keys

    @property
    def biggest(self) -> tuple[BigKey, ...]:
        return tuple(BigKey(key, size) for size, key in self._biggest)


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

    JSON_KEYS = (
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

    JSON_KEYS = (
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
