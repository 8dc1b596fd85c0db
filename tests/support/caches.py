"""What the tests of the caches share: computations that wait for the test, and the generation check switched off."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from checkout_cli.domain.generation import Generation

PATIENCE = 10.0
"""Seconds until a test that hangs gives up; nothing waits for so long."""


class SlowComputation:
    """A ``compute`` that begins, says so, and ends when the test lets it."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.times = 0
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self, *_: Any) -> Any:
        self.times += 1
        self.begun.set()
        assert self.may_end.wait(PATIENCE), "nobody let the computation end"
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def wait_until_begun(self) -> None:
        """Return as soon as somebody computes."""
        assert self.begun.wait(PATIENCE), "nobody computes"

    def end(self) -> None:
        """Let it end."""
        self.may_end.set()


def in_thread(call: Callable[[], Any]) -> Future[Any]:
    """What a call in a thread of its own will come to."""
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001  (whatever it is, the test wants to see it)
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome


def never_asked(*_: Any) -> Any:
    """A ``compute`` that must not be needed."""
    pytest.fail("computed what was cached")


def answering(answer: Any) -> Callable[..., Any]:
    """A ``compute`` that always says the same."""
    return lambda *_: answer


def without_generation_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believe every entry, whatever was invalidated meanwhile: the negative control."""
    monkeypatch.setattr(Generation, "problem", lambda *_: None)
