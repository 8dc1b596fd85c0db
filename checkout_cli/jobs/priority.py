"""Low priority for long jobs, which no shopper waits for."""

from __future__ import annotations

import os
from contextlib import suppress

NICENESS = 10
"""The shop, Redis and the database get the processor whenever they want it (setpriority(2))."""


def give_way() -> None:
    """Lower this process's priority; nothing changes where the system has none, or forbids it."""
    if not hasattr(os, "setpriority"):  # Windows
        return
    with suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, 0) < NICENESS:
            os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
