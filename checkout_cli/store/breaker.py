"""The breaker: a dead server costs one time-out, not one per call.

After a failure nobody asks the server again for a while; then one caller at a time tries (half-open). Each failed try
doubles the wait, up to a limit, and every wait is jittered, so that a fleet of processes does not come back at once.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from checkout_cli.errors import TierUnavailable

FIRST_WAIT = 0.5
"""Seconds from the first failure to the first try."""
LONGEST_WAIT = 5.0
"""Seconds between tries in a long outage."""


class Breaker:
    """Closed while the server answers; open while it does not; half-open for one caller at a time in between."""

    def __init__(
        self, clock: Callable[[], float], jitter: Callable[[], float] = random.random, *, longest_try: float = 0.0
    ) -> None:
        """``clock`` counts seconds and never goes back; ``jitter`` gives a number from 0 to 1.

        ``longest_try`` is how long, in seconds, one call to the server can take.
        """
        self._clock = clock
        self._longest_try = longest_try
        self._jitter = jitter
        self._lock = threading.Lock()
        self._failures = 0
        self._next_try = 0.0
        self._cause: TierUnavailable | None = None

    @property
    def is_open(self) -> bool:
        """Whether the last word from the server was a failure."""
        return self._failures > 0

    def check(self) -> None:
        """Let the caller through, or say at once that the server is away.

        Raises:
            TierUnavailable: the failure that opened the breaker, where it is not time for a try yet.
        """
        if self._failures == 0:
            return
        with self._lock:
            if self._failures and self._clock() < self._next_try:
                assert self._cause is not None  # noqa: S101  (set by whatever opened the breaker)
                raise type(self._cause)(str(self._cause), hint=self._cause.hint)
            self._schedule(self._longest_try)  # while we try, nobody else does

    def failed(self, cause: TierUnavailable) -> None:
        """The server did not answer, or not usefully: open, or stay open for longer."""
        with self._lock:
            self._failures += 1
            self._cause = cause
            self._schedule()

    def succeeded(self) -> None:
        """The server answered: close."""
        if self._failures:
            with self._lock:
                self._failures = 0
                self._cause = None

    def _schedule(self, busy: float = 0.0) -> None:
        wait = min(FIRST_WAIT * 2 ** min(self._failures - 1, 10), LONGEST_WAIT)
        self._next_try = self._clock() + busy + wait * (0.5 + self._jitter() / 2)
