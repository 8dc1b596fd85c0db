"""How many reads and writes each tier served, in this process: the first sign that Redis is not made use of."""

from __future__ import annotations

from collections import Counter

from checkout_cli.session import Acknowledgement, Durability, TierName

_TIER_OF = {
    Durability.DATABASE: TierName.DATABASE,
    Durability.REDIS: TierName.REDIS,
    Durability.MEMORY: TierName.MEMORY,
}
UNPUBLISHED = "unpublished"
"""Writes that Redis did not get with their acknowledgement."""


class TierCounts:
    """Plain increments, without a lock: of two at the same instant one may be lost, which a share does not show."""

    def __init__(self) -> None:
        self.reads = dict.fromkeys(TierName, 0)
        self._writes = dict.fromkeys(TierName, 0)
        self._unpublished = 0
        self._taken: Counter[str] = Counter()

    def wrote(self, written: Acknowledgement) -> None:
        """Count a write by the tier whose durability was acknowledged."""
        self._writes[_TIER_OF[written.durability]] += 1
        self._unpublished += not written.published

    def take(self) -> Counter[str]:
        """What was counted since the last time, by the names of the statistics' fields; for one thread at a time."""
        now = Counter({UNPUBLISHED: self._unpublished})
        for kind, counts in (("read", self.reads), ("write", self._writes)):
            now.update({f"{kind}:{tier}": number for tier, number in counts.items()})
        taken, self._taken = now - self._taken, now
        return taken
