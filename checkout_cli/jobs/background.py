"""A question in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Asks at once, in a daemon thread: one that hangs in a resolver must not keep the process."""

    def __init__(self, question: Callable[[], T]) -> None:
        self._answers: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()
        threading.Thread(target=self._ask, args=(question,), daemon=True).start()

    def _ask(self, question: Callable[[], T]) -> None:
        try:
            self._answers.put(question())
        except BaseException as error:  # noqa: BLE001  (raised again where the answer is taken)
            self._answers.put(error)

    def result(self, timeout: float) -> T | None:
        """The answer, once; ``None`` if it has not come in time (seconds). Raises what the question raised."""
        try:
            answer = self._answers.get(timeout=max(timeout, 0))
        except queue.Empty:
            return None
        if isinstance(answer, BaseException):
            raise answer
        return answer
