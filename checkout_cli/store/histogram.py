"""Times as counts per bucket: four buckets for each doubling, so that every figure is within 20 %.

Bucket ``b`` holds the times up to ``2 ** (b / 4)`` microseconds that no smaller bucket holds. Counts of several minutes
or processes are added bucket by bucket.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

BUCKETS = 128
"""The last one ends at an hour, and holds whatever took longer too."""

_UPPER_BOUNDS = [2 ** (bucket / 4) / 1_000_000 for bucket in range(BUCKETS)]


def bucket_of(seconds: float) -> int:
    """The bucket of a time; the first one for anything below zero, or not a number."""
    if not seconds > 0:
        return 0
    return min(bisect_left(_UPPER_BOUNDS, seconds), BUCKETS - 1)


def upper_bound(bucket: int) -> float:
    """The longest time of the nearest bucket, in seconds."""
    return _UPPER_BOUNDS[min(max(bucket, 0), BUCKETS - 1)]


def percentile(counts: Mapping[int, int], share: float) -> float | None:
    """The time (s) that a share (0 to 1) did not exceed, never below the truth; ``None`` if nothing was counted."""
    if not 0 <= share <= 1:
        raise ValueError(f"a share is between 0 and 1, not {share}")
    total = sum(count for count in counts.values() if count > 0)
    passed, last = 0, None
    for bucket in sorted(counts):
        if counts[bucket] <= 0:
            continue
        passed, last = passed + counts[bucket], upper_bound(bucket)
        if passed >= share * total:
            return last
    return last
