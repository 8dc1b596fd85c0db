"""Has it ended? All clocks at hand are asked, so that nothing is removed, and no end moved, by one that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from checkout_cli.errors import TierUnavailable, WrongClock
from checkout_cli.store.checkout_store import CheckoutStore

CLOCK_CHECKS = "clock,database-clock"
"""The checks of doctor that compare them."""
WORTH_A_WORD, TOLERATED = 5.0, 60.0
"""Seconds between two clocks that are reported, and beyond which nothing is removed."""
MARGIN = 3_600_000
"""Milliseconds that something must have ended ago where no other clock can confirm this machine's."""


@dataclass(frozen=True)
class Clocks:
    """The readings (ms since the epoch) of one moment; ``None`` for a server without a clock, or that does not tell."""

    JSON_KEYS = "differenceSeconds=difference:3 thisMachine@=host redis@? database@?"

    host: int
    redis: int | None
    database: int | None
    lasted: int
    """Milliseconds that the questions took, by this machine's clock."""

    @property
    def readings(self) -> dict[str, int]:
        """By whose clock it is."""
        found = {"this machine's": self.host, "Redis'": self.redis, "the database's": self.database}
        return {whose: reading for whose, reading in found.items() if reading is not None}

    @property
    def earliest(self) -> int:
        """The moment (ms) that every clock has reached."""
        return min(self.readings.values())

    @property
    def margin(self) -> int:
        """How long ago (ms) something must have ended by then, to have surely ended."""
        return MARGIN if len(self.readings) == 1 else 0

    @property
    def difference(self) -> float:
        """Seconds between the fastest and the slowest."""
        moments = self.readings.values()
        return max(max(moments) - min(moments) - self.lasted, 0) / 1000

    def __str__(self) -> str:
        slow, fast = (choose(self.readings, key=self.readings.__getitem__) for choose in (min, max))
        return f"{fast} clock is {self.difference:,.1f} s ahead of {slow}"


def compared(store: CheckoutStore) -> Clocks:
    """Ask every clock that answers; raises ``AccessDenied``."""
    redis = store.redis.time if store.settings.enable_checkout_sessions else None
    before = store.clock.wall()
    there, database = _told(redis), _told(store.database.own_time)
    return Clocks(before, there, database, max(store.clock.wall() - before, 0))


def agreed_clocks(store: CheckoutStore) -> Clocks:
    """The same for whoever removes something; also raises ``WrongClock``, where they differ by too much."""
    clocks = compared(store)
    if clocks.difference > TOLERATED:
        raise WrongClock(f"{clocks}: nothing is removed before they agree")
    return clocks


def _told(ask: Callable[[], int | None] | None) -> int | None:
    try:
        return ask() if ask else None
    except TierUnavailable:
        return None
