"""One computation at a time for each key: whoever asks meanwhile waits for its result."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Any

from cachetools import LRUCache

REMEMBERED = 1024
"""Finished computations, for whoever saw a miss just before the end of one."""


class SingleFlight:
    """The computations of one cache that are under way in this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moments = itertools.count()
        self._landed: LRUCache[Hashable, int] = LRUCache(REMEMBERED)
        self._flights: dict[Hashable, tuple[int, Future[Any]]] = {}

    def moment(self) -> int:
        """A moment to take before looking for a result that somebody else may be computing."""
        return next(self._moments)

    def landed_since(self, key: Hashable, moment: int) -> bool:
        """Whether a computation has ended since then: its result can be found by now."""
        with self._lock:
            return bool(self._landed.get(key, -1) > moment)

    def run(self, key: Hashable, work: Callable[[], Any]) -> Any:
        """The result of ``work``, or of the computation under way; one that asks for its own key works itself."""
        while True:
            with self._lock:
                leader, flight = self._flights.get(key, (0, None))
                if flight is None:
                    mine: Future[Any] = Future()
                    self._flights[key] = (threading.get_ident(), mine)
            if flight is None:
                return self._lead(key, mine, work)
            if leader == threading.get_ident():
                return work()
            try:
                return flight.result()
            except CancelledError:
                continue  # the computing thread was interrupted, which is no result

    def _lead(self, key: Hashable, mine: Future[Any], work: Callable[[], Any]) -> Any:
        settle: Callable[[], object] = mine.cancel
        try:
            result = work()
        except Exception as error:
            settle = partial(mine.set_exception, error)
            raise
        else:
            settle = partial(mine.set_result, result)
            return result
        finally:
            with self._lock:
                del self._flights[key]
                self._landed[key] = next(self._moments)
            settle()
