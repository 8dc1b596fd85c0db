"""``checkoutctl top``: all that changes, asked again and again with a bounded number of questions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from checkout_cli.commands.health.health import HealthReport
from checkout_cli.commands.health.snapshot import Snapshot, snapshot
from checkout_cli.commands.memory.growth import SHORTEST_SPAN, growth_between, reading_of
from checkout_cli.commands.memory.show import COMMAND, MemoryLook
from checkout_cli.commands.sessions.ending_soon import EndingSoon, ending_soon
from checkout_cli.commands.slowlog.slowlog import ServerSlowLog, ShapeTotal, slow_log
from checkout_cli.errors import CheckoutError
from checkout_cli.files.last_look import LastLook, Reading
from checkout_cli.servers.inspection import Info
from checkout_cli.servers.per_server import PerServer
from checkout_cli.store.checkout_store import CheckoutStore

SHOWN = 10
"""The number of sessions that end soon, and of kinds of slow commands."""
SLOW_ENTRIES = 128
"""The newest entries of each server's slow log that are read."""
GROWTH_WINDOW = 300_000
"""The time over which growth is taken, in milliseconds."""

T = TypeVar("T")


@dataclass(frozen=True)
class TopLook:
    """One set of answers. ``why_…`` says why ``slow`` or ``ending`` is missing, unless Redis is unavailable."""

    snapshot: Snapshot
    memory: tuple[MemoryLook, ...] = ()
    slow: tuple[ShapeTotal, ...] | None = None
    why_no_slow: str = ""
    ending: EndingSoon | None = None
    why_no_ending: str = ""


class Top:
    """Asks one store's servers, and remembers readings of their memory to tell its growth."""

    def __init__(
        self, store: CheckoutStore, health: Callable[[], HealthReport], *, last_look: LastLook | None = None
    ) -> None:
        self._store = store
        self._health = health
        self._last_look = last_look or LastLook()
        self._readings: dict[str, deque[Reading]] = {}

    def look(self) -> TopLook:
        """Ask now, without the parts that are unavailable or denied. Not for two threads at a time."""
        seen = snapshot(self._store, self._health)
        redis, database = seen.health.redis.connected, seen.health.database.connected
        memory = tuple(self._memory(place, info, seen.taken_at) for place, info in seen.servers.items())
        slow, why_no_slow = _tried(lambda: slow_log(self._store.redis, SLOW_ENTRIES)) if redis else (None, "")
        use_redis = redis and self._store.settings.enable_checkout_sessions
        ending, why_no_ending = None, ""
        if use_redis or database:
            ending, why_no_ending = _tried(lambda: ending_soon(self._store, SHOWN, use_redis=use_redis))
        return TopLook(seen, memory, None if slow is None else _slowest(slow), why_no_slow, ending, why_no_ending)

    def _memory(self, place: str, info: Info, now: int) -> MemoryLook:
        reading = reading_of(info, now)
        readings = self._readings.setdefault(place, deque())
        while readings and (readings[0].run != reading.run or now - readings[0].taken_at > GROWTH_WINDOW):
            readings.popleft()
        earlier = readings[0] if readings else None
        if earlier is None or reading.seconds_since(earlier) < SHORTEST_SPAN:
            earlier = self._last_look.previous(COMMAND, place) or earlier
        readings.append(reading)
        growth, no_growth = growth_between(earlier, reading)
        return MemoryLook.of(place, info, growth=growth, no_growth=no_growth)


def _slowest(report: PerServer[ServerSlowLog]) -> tuple[ShapeTotal, ...]:
    totals = [total for server in report.servers for total in server.totals]
    return tuple(sorted(totals, key=lambda total: -total.total)[:SHOWN])


def _tried(question: Callable[[], T]) -> tuple[T | None, str]:
    try:
        return question(), ""
    except CheckoutError as error:
        return None, str(error)
