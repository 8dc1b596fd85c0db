"""Keys counted by family, in memory that does not grow with their number."""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from checkout_cli.commands.memory.measure import NO_TTL, Page
from checkout_cli.keys import Family, family_of

TTL_STEPS = (60_000, 300_000, 600_000, 1_800_000, 3_600_000, 86_400_000)
"""Where one bar of the histogram ends and the next begins, in milliseconds; the last has all that live longer."""


@dataclass(frozen=True)
class BigKey:
    """A key and the bytes it takes."""

    key: bytes
    size: int

    @property
    def family(self) -> Family:
        """Of the key."""
        return family_of(self.key)


class FamilyTally:
    """What was counted of one family: keys, bytes, keys that never end, and the others by their time to live.

    ``unmeasured`` keys are without a size, for one of the reasons in the ways of the server that has them.
    """

    __slots__ = ("keys", "size", "ttls", "unmeasured", "without_ttl")

    def __init__(self) -> None:
        self.keys = 0
        self.size = 0
        self.unmeasured = 0
        self.without_ttl = 0
        self.ttls = [0] * (len(TTL_STEPS) + 1)

    def add(self, sizes: Sequence[int | None], ttls: Sequence[int | None]) -> None:
        """Count keys of these sizes and times to live."""
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
    """All families, and the biggest keys."""

    def __init__(self, biggest: int) -> None:
        """``biggest`` is how many of the biggest keys to keep."""
        self.families = {family: FamilyTally() for family in Family}
        self.looked_at = 0
        self._most = biggest
        self._heap: list[tuple[int, bytes]] = []

    def add(self, page: Page) -> None:
        """Count the keys of a page."""
        members: dict[Family, tuple[list[int | None], list[int | None]]] = {}
        for key, size, ttl in zip(page.keys, page.sizes, page.ttls, strict=True):
            sizes, ttls = members.setdefault(family_of(key), ([], []))
            sizes.append(size)
            ttls.append(ttl)
        for family, (sizes, ttls) in members.items():
            self.families[family].add(sizes, ttls)
        self.looked_at += len(page.keys)
        self._keep(zip(page.sizes, page.keys, strict=True))

    def _keep(self, measured: Iterable[tuple[int | None, bytes]]) -> None:
        least = self._heap[0][0] if len(self._heap) == self._most and self._heap else -1
        bigger = {(size, key) for size, key in measured if size is not None and size > least}
        if bigger and self._most:
            self._heap = heapq.nlargest(self._most, bigger.union(self._heap))[::-1]  # a set: SCAN repeats keys

    @property
    def biggest(self) -> tuple[BigKey, ...]:
        """The biggest keys, the biggest first."""
        return tuple(BigKey(key, size) for size, key in reversed(self._heap))
