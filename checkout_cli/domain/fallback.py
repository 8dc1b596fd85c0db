"""Answers that are kept in this process while Redis is away, and no longer.

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
    """One cache's answers of one outage. Thread-safe."""

    def __init__(self, elapsed: Callable[[], float]) -> None:
        """``elapsed`` counts seconds and never goes back."""
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._answers: LRUCache[Hashable, tuple[bytes, float]] = LRUCache(MOST_ANSWERS)
        self._moments = itertools.count()
        self._forgot_at = -1

    def moment(self) -> int:
        """A moment, to be taken before Redis is asked: what is forgotten later was computed too early."""
        return next(self._moments)

    @property
    def forgotten(self) -> int:
        """When all was last forgotten."""
        return self._forgot_at

    def get(self, key: Hashable) -> bytes | None:
        """The answer as JSON, or ``None`` where there is none."""
        with self._lock:
            answer, ends_at = self._answers.get(key, (None, float("-inf")))
            return answer if self._elapsed() < ends_at else None

    def keep(self, key: Hashable, answer: bytes, seconds: float, began: int) -> None:
        """Keep an answer, unless all was forgotten since the moment at which its computation ``began``."""
        with self._lock:
            if began > self._forgot_at:
                self._answers[key] = (answer, self._elapsed() + seconds)

    def forget(self) -> None:
        """Forget all, and what is being computed now."""
        with self._lock:
            self._forgot_at = next(self._moments)
            if self._answers:
                self._answers.clear()
