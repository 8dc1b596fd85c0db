"""Single keys from a terminal, without Enter."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Self

from checkout_cli.terminal.output import is_terminal

ESCAPE = "escape"
GONE = "gone"
"""The key of a terminal that has been closed."""


class Keyboard:
    """For use in a ``with``, which restores the terminal; without a terminal on stdin there are no keys."""

    def __init__(self) -> None:
        self._descriptor = sys.stdin.fileno() if is_terminal(sys.stdin) else None
        self._before: Any = None

    def __enter__(self) -> Self:
        if self._descriptor is not None and os.name != "nt":
            import termios
            import tty

            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor, termios.TCSADRAIN)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None and self._descriptor is not None:
            import termios

            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def keys(self, seconds: float) -> list[str]:
        """The keys typed, waiting (seconds) for the first one; ``escape`` and ``gone`` are words."""
        if self._descriptor is None:
            time.sleep(seconds)
            return []
        if os.name == "nt":
            return _windows_keys(seconds)
        import select

        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        return keys_of(os.read(self._descriptor, 64)) if ready else []


def keys_of(raw: bytes) -> list[str]:
    """The keys in what a terminal sends at once; escape sequences such as arrows are none."""
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
