"""Single keys from a terminal, without Enter."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Any, Self

from checkout_cli.terminal.output import is_terminal

ESCAPE = "escape"
GONE = "gone"
"""What is read when the terminal has been closed."""


class Keyboard:
    """Use it in a ``with``: the terminal is as it was afterwards. Without a terminal on stdin there are no keys."""

    def __init__(self) -> None:
        """Changes nothing yet."""
        self._descriptor = sys.stdin.fileno() if is_terminal(sys.stdin) else None
        self._before: Any = None

    def __enter__(self) -> Self:
        if self._descriptor is not None and os.name != "nt":
            import termios
            import tty

            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor, termios.TCSADRAIN)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._before is not None and self._descriptor is not None:
            import termios

            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def keys(self, seconds: float) -> list[str]:
        """What was typed, waiting for so many seconds for the first key; ``escape`` and ``gone`` are words."""
        if self._descriptor is None:
            time.sleep(seconds)
            return []
        if os.name == "nt":
            return _windows_keys(seconds)
        import select

        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        return keys_of(os.read(self._descriptor, 64)) if ready else []


def keys_of(raw: bytes) -> list[str]:
    """The keys of what a terminal has sent at once; arrows and the like, which begin with ESC, are none."""
    if not raw:
        return [GONE]
    if raw.startswith(b"\x1b"):
        return [ESCAPE] if len(raw) == 1 else []
    return list(raw.decode(errors="ignore"))


def _windows_keys(seconds: float) -> list[str]:
    import msvcrt

    end = time.monotonic() + seconds
    module: Any = msvcrt
    while not module.kbhit():
        if time.monotonic() > end:
            return []
        time.sleep(0.02)
    return keys_of(module.getwch().encode())
