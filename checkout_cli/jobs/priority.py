"""Letting everybody else on this machine go first, for long jobs that nobody waits for as a shopper does."""

from __future__ import annotations

import os
from contextlib import suppress

NICENESS = 10
"""How far behind: the shop, Redis and the database get the processor whenever they want it (setpriority(2))."""


def give_way() -> None:
    """Work at a low priority from now on; where the system has none, or forbids it, nothing changes."""
    if not hasattr(os, "setpriority"):  # Windows
        return
    with suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, 0) < NICENESS:
            os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
