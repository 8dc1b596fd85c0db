"""One caller and nobody else: how long reading and changing a session takes, with Redis and without, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from checkout_cli.commands.bench.pace import Pace
from checkout_cli.commands.bench.stage import Checkout
from checkout_cli.store.checkout_store import CheckoutStore

SESSIONS = 100
"""Sessions that are read and changed in turn, so that no single page or key is always the same."""
TURN = 20
"""Calls in a row to one side, before it is the other's turn: whatever else the machine does hits both."""


@dataclass(frozen=True)
class Compared:
    """The same calls without Redis and with it; ``redis`` is ``None`` where there is none."""

    SHOWN = "databaseOnly=database withRedis=redis ratio:3"

    database: Pace
    redis: Pace | None

    @property
    def ratio(self) -> float | None:
        return None if self.redis is None else self.database.p50 / self.redis.p50


Side = tuple[CheckoutStore, Sequence[Checkout]]
"""A store, without Redis or with it, and the sessions that were created in it."""
Call = Callable[[CheckoutStore, str, int], object]


def read(store: CheckoutStore, checkout_id: str, _number: int) -> object:
    """The shop's look at a session."""
    return store.get(checkout_id)


def change(store: CheckoutStore, checkout_id: str, number: int) -> object:
    """The shop's change of one field."""
    return store.update(checkout_id, {"step": number})


def compare(call: Call, sides: Sequence[Side], seconds: float) -> Compared:
    """Make a call on both sides in turn for so many seconds; the first side is the one without Redis."""
    times: list[list[float]] = [[] for _ in sides]
    for store, checkouts in sides:  # connections are made, scripts loaded, and Redis is trusted
        for checkout in checkouts:
            call(store, checkout.checkout_id, -1)
    number, end = 0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        for found, (store, checkouts) in zip(times, sides, strict=True):
            for step in range(number, number + TURN):
                checkout_id = checkouts[step % len(checkouts)].checkout_id
                begun = time.perf_counter()
                call(store, checkout_id, step)
                found.append(time.perf_counter() - begun)
        number += TURN
    return Compared(Pace.of(times[0]), Pace.of(times[1]) if len(times) > 1 else None)
