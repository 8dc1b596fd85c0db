"""Answers kept in this process while Redis is unavailable, and no longer.

They have the lifetimes that they would have in Redis. Other processes' invalidations cannot be heard meanwhile; this
process's own empty it, and so does Redis' return.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Hashable

from cachetools import LRUCache

MOST_ANSWERS = 10_000


class Fallback:
    """One cache's answers of one outage. Thread-safe; ``elapsed`` counts seconds and never goes back."""

    def __init__(self, elapsed: Callable[[], float]) -> None:
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._answers: LRUCache[Hashable, tuple[bytes, float]] = LRUCache(MOST_ANSWERS)
        self._moments = itertools.count()
        self.forgotten = -1
        """The moment of the last :meth:`forget`."""

    def moment(self) -> int:
        """A moment to take before Redis is asked: an answer of before the last :meth:`forget` is not kept."""
        return next(self._moments)

    def get(self, key: Hashable) -> bytes | None:
        """The answer as JSON, if there is one."""
        with self._lock:
            answer, ends_at = self._answers.get(key, (None, float("-inf")))
            return answer if self._elapsed() < ends_at else None

    def keep(self, key: Hashable, answer: bytes, seconds: float, began: int) -> None:
        """Keep an answer, unless all was forgotten since its computation ``began``."""
        with self._lock:
            if began > self.forgotten:
                self._answers[key] = (answer, self._elapsed() + seconds)

    def forget(self) -> None:
        """Forget all answers, and those that are being computed now."""
        with self._lock:
            self.forgotten = next(self._moments)
            if self._answers:  # each read from Redis comes here
                self._answers.clear()
