"""One caller alone: the time of reading and changing a session, with Redis and without, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from checkout_cli.commands.bench.stage import Checkout
from checkout_cli.commands.ping.summary import percentile
from checkout_cli.store.checkout_store import CheckoutStore

SESSIONS = 100
"""Sessions that are read and changed in turn, so that no single page or key is always the same."""
TURN = 20
"""Calls in a row to one side before the other's turn: whatever else the machine does hits both."""

Side = tuple[CheckoutStore, Sequence[Checkout]]
"""A store, without Redis or with it, and the sessions that were created in it."""
Call = Callable[[CheckoutStore, str, int], object]


@dataclass(frozen=True)
class Pace:
    """Times of calls, in seconds; every one is a time that was measured."""

    JSON_KEYS = "calls p50Ms=p50:4 p99Ms=p99:4 longestMs=longest:4"

    calls: int
    p50: float
    p99: float
    longest: float

    @classmethod
    def of(cls, times: Sequence[float]) -> Self:
        """Of at least one time."""
        ordered = sorted(times)
        return cls(len(ordered), percentile(ordered, 50) or 0.0, percentile(ordered, 99) or 0.0, ordered[-1])


@dataclass(frozen=True)
class Compared:
    """The same calls without Redis and with it; ``redis`` is ``None`` where there is none."""

    JSON_KEYS = "databaseOnly=database withRedis=redis ratio:3"

    database: Pace
    redis: Pace | None

    @property
    def ratio(self) -> float | None:
        """How many times as fast the median is with Redis."""
        return None if self.redis is None else self.database.p50 / self.redis.p50


def read(store: CheckoutStore, checkout_id: str, _number: int) -> object:
    """Read a session as the shop does."""
    return store.get(checkout_id)


def change(store: CheckoutStore, checkout_id: str, number: int) -> object:
    """Change one field."""
    return store.update(checkout_id, {"step": number})


def compare(call: Call, sides: Sequence[Side], seconds: float, check: Callable[[float], None]) -> Compared:
    """Make a call on both sides in turn for so many seconds, with a ``check`` between turns; without Redis first."""
    times: list[list[float]] = [[] for _ in sides]
    for store, checkouts in sides:  # connections are made, scripts loaded, and Redis is trusted
        for checkout in checkouts:
            call(store, checkout.checkout_id, -1)
    number, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        check(0)
        for found, (store, checkouts) in zip(times, sides, strict=True):
            for step in range(number, number + TURN):
                checkout_id = checkouts[step % len(checkouts)].checkout_id
                begun = time.perf_counter()
                call(store, checkout_id, step)
                found.append(time.perf_counter() - begun)
        number += TURN
    return Compared(Pace.of(times[0]), Pace.of(times[1]) if len(times) > 1 else None)
