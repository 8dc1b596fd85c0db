"""What this process has just read or written: a write of the same session begins there, without reading it again.

A held copy is only ever compared: the write replaces exactly these bytes on the same server, or is refused and told
what lies there (rule 11). So a copy that is old costs nothing but the second round trip that it was to save.
"""

from __future__ import annotations

from collections import OrderedDict

from checkout_cli.store.redis.opened import Opened

MOST_COPIES = 2_000
LARGEST_COPY = 4_096
"""Bytes: with the value's own body beside them, all copies take 16 MiB at most, and a shop's usual ones 5."""


class HeldCopies:
    """One process' held copies, those used last. Thread-safe: each step is one operation of a dictionary."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Opened] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, checkout_id: str, opened: Opened) -> None:
        """Hold what was read, or has just been written."""
        held = self._held
        if opened.raw is None or len(opened.raw) > LARGEST_COPY:
            held.pop(checkout_id, None)
            return
        held[checkout_id] = opened
        try:
            held.move_to_end(checkout_id)
            if len(held) > MOST_COPIES:
                held.popitem(last=False)
        except KeyError:  # another thread has just dropped it
            return

    def take(self, checkout_id: str) -> Opened | None:
        """The held copy, no longer held: what becomes of the write decides what is held then."""
        return self._held.pop(checkout_id, None)

    def drop(self, checkout_id: str) -> None:
        """Hold it no longer."""
        self._held.pop(checkout_id, None)

    def drop_all(self) -> None:
        """Hold nothing."""
        self._held = OrderedDict()
