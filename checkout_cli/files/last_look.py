"""What was counted at the last look, so that this one can say what has happened since.

A server's counters run from its start: a million evictions may be a year old. Each command keeps what it saw in a file
of the user's own state directory, by server, and compares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import msgspec

from checkout_cli.files.state_file import StateFile

FILE = "last-look.json"


class Reading(msgspec.Struct, frozen=True):
    """What a server's counters said at ``taken_at`` (ms since the epoch); ``run`` is its ``run_id``."""

    taken_at: int
    run: str
    counters: dict[str, float]

    def since(self, earlier: Reading | None, name: str) -> float | None:
        """How much a counter has grown since an earlier reading; since the server's start where it has restarted.

        ``None`` where there is no earlier reading, or no such counter.
        """
        now = self.counters.get(name)
        if now is None or earlier is None:
            return None
        before = earlier.counters.get(name, 0.0) if earlier.run == self.run else 0.0
        return now - before if now >= before else now  # CONFIG RESETSTAT sets counters back

    def seconds_since(self, earlier: Reading) -> float:
        """The time between two readings, in seconds."""
        return (self.taken_at - earlier.taken_at) / 1000


class LastLook(StateFile[Reading]):
    """The file of readings, by command and server."""

    def __init__(self, directory: Path | None = None) -> None:
        """``directory`` defaults to the user's state directory (``$XDG_STATE_HOME/checkoutctl``)."""
        super().__init__(FILE, Reading, lambda reading: reading.taken_at, directory)

    def previous(self, command: str, place: str) -> Reading | None:
        """What ``command`` saw last of the server at ``place``; ``None`` at a first look."""
        return self.last(f"{command} {place}")

    def remember(self, command: str, place: str, reading: Reading) -> None:
        """Keep a reading for the next look.

        Raises:
            OSError: the file cannot be written.
        """
        self.put(f"{command} {place}", reading)

    def read(self) -> dict[str, Reading]:
        """All readings that can be reckoned with."""
        return {name: reading for name, reading in super().read().items() if _is_sound(reading.counters)}


def _is_sound(counters: Mapping[str, float]) -> bool:
    return all(math.isfinite(value) for value in counters.values())
