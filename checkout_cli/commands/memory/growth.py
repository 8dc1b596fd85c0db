"""How fast memory grows: the change between two readings of the same run of a server."""

from __future__ import annotations

from dataclasses import dataclass

from checkout_cli.files.last_look import Reading
from checkout_cli.servers.inspection import Info

SHORTEST_SPAN = 10.0
"""Seconds between two readings that are compared; in less, the work of one client looks like a trend."""
USED, EVICTED = "used_memory", "evicted_keys"


@dataclass(frozen=True)
class Growth:
    """The change in ``seconds`` since an earlier reading: bytes, and evicted keys (``None``: unknown)."""

    JSON_KEYS = "seconds:1 bytes=size:0 bytesPerMinute=size_per_minute:0 evicted evictedPerMinute:2"

    seconds: float
    size: float
    evicted: float | None

    @property
    def size_per_minute(self) -> float:
        return self.size / self.seconds * 60

    @property
    def evicted_per_minute(self) -> float | None:
        return None if self.evicted is None else self.evicted / self.seconds * 60


def reading_of(info: Info, now: int) -> Reading:
    """The counters that growth is judged by, at ``now`` (ms)."""
    numbers = {name: info.number(name) for name in (USED, EVICTED)}
    known = {name: value for name, value in numbers.items() if value is not None}
    return Reading(now, info.text("run_id") or "", known)


def growth_between(earlier: Reading | None, reading: Reading) -> tuple[Growth | None, str]:
    """The change since an earlier reading of the same server, or why it is unknown."""
    if not reading.run:
        return None, "growth is unknown: this server does not say since when it runs"
    if earlier is None or USED not in earlier.counters:
        return None, "this is the first look; the next one tells how it grows"
    if earlier.run != reading.run:
        return None, "Redis has restarted since the last look; the next one tells how it grows"
    seconds = reading.seconds_since(earlier)
    if seconds < SHORTEST_SPAN:
        return None, f"the last look was less than {SHORTEST_SPAN:.0f} s ago; look again a little later"
    size = reading.counters[USED] - earlier.counters[USED]
    return Growth(seconds, size, reading.since(earlier, EVICTED)), ""
