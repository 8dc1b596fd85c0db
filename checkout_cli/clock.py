"""Time, passed in so that tests need no sleep."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


def _wall() -> int:
    return time.time_ns() // 1_000_000


def _elapsed() -> float:
    """Seconds that go on while the machine sleeps: a lease must not outlive a suspended laptop."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@dataclass(frozen=True)
class Clock:
    """``wall`` is milliseconds since the epoch; ``elapsed`` is seconds for measuring spans; ``pause`` waits seconds.

    ``wait`` waits so many seconds for an event, and says whether it has come.
    """

    wall: Callable[[], int] = _wall
    elapsed: Callable[[], float] = _elapsed
    pause: Callable[[float], None] = time.sleep
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait
