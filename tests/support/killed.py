"""A process that is killed, within the test's own process."""

from __future__ import annotations


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


class no_lock:  # noqa: N801  (stands for a function)
    """A killed process's lock holds for half a minute; these tests do not wait for it."""

    def __init__(self, *_: object) -> None:
        pass

    def __enter__(self) -> no_lock:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def still_held(self) -> bool:
        return True
