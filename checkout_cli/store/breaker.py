"""The breaker: a dead server costs one time-out, not one per call.

After a failure nobody asks for a while; then one caller at a time tries (half-open). Each failed try doubles the wait,
up to a limit; jitter keeps a fleet of processes from coming back at once.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from checkout_cli.errors import RedisUnavailable, TierUnavailable

FIRST_WAIT = 0.5
"""Seconds from the first failure to the first try."""
LONGEST_WAIT = 5.0
"""Seconds between tries in a long outage."""


class Breaker:
    """Closed while the server answers, open while it does not, half-open for one caller at a time in between.

    ``clock`` counts monotonic seconds, ``jitter`` returns 0 to 1, ``longest_try`` is the longest a call can take (s).
    """

    def __init__(
        self, clock: Callable[[], float], jitter: Callable[[], float] = random.random, *, longest_try: float = 0.0
    ) -> None:
        self._clock = clock
        self._longest_try = longest_try
        self._jitter = jitter
        self._lock = threading.Lock()
        self._failures = 0
        self._next_try = 0.0
        self._cause: TierUnavailable | None = None

    @property
    def is_open(self) -> bool:
        """Whether the last exchange failed."""
        return self._failures > 0

    def check(self) -> None:
        """Let the caller through, or raise the failure that opened the breaker."""
        if self._failures == 0:
            return
        with self._lock:
            if self._failures and self._clock() < self._next_try:
                assert self._cause is not None  # noqa: S101  (set by whatever opened the breaker)
                raise self._again(self._cause)
            self._schedule(self._longest_try)  # while we try, nobody else does

    @staticmethod
    def _again(cause: TierUnavailable) -> TierUnavailable:
        error = type(cause)(str(cause), hint=cause.hint)
        if isinstance(error, RedisUnavailable):
            error.is_certain = True  # nothing was asked
        return error

    def failed(self, cause: TierUnavailable) -> None:
        """Open, or stay open for longer."""
        with self._lock:
            self._failures += 1
            self._cause = cause
            self._schedule()

    def succeeded(self) -> None:
        """Close: the server answered."""
        if self._failures:
            with self._lock:
                self._failures = 0
                self._cause = None

    def _schedule(self, busy: float = 0.0) -> None:
        wait = min(FIRST_WAIT * 2 ** min(self._failures - 1, 10), LONGEST_WAIT)
        self._next_try = self._clock() + busy + wait * (0.5 + self._jitter() / 2)
