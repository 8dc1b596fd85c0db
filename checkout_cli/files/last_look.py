"""The counters of the last run, so that this one can say what has happened since.

A server's counters run from its start: a million evictions may be a year old. Each command keeps them by server in a
file of the user's state directory.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from checkout_cli.files.state_file import StateFile

FILE = "last-look.json"


class Reading(msgspec.Struct, frozen=True):
    """A server's counters at ``taken_at`` (ms since the epoch); ``run`` is its ``run_id``."""

    taken_at: int
    run: str
    counters: dict[str, float]

    def since(self, earlier: Reading | None, name: str) -> float | None:
        """The growth of a counter, since the server's start where it has restarted; ``None`` where it is unknown."""
        now = self.counters.get(name)
        if now is None or earlier is None:
            return None
        before = earlier.counters.get(name, 0.0) if earlier.run == self.run else 0.0
        return now - before if now >= before else now  # CONFIG RESETSTAT sets counters back

    def seconds_since(self, earlier: Reading) -> float:
        return (self.taken_at - earlier.taken_at) / 1000


class LastLook(StateFile[Reading]):
    """The readings by command and server."""

    def __init__(self, directory: Path | None = None) -> None:
        super().__init__(FILE, Reading, lambda reading: reading.taken_at, directory)

    def previous(self, command: str, place: str) -> Reading | None:
        return self.last(f"{command} {place}")

    def remember(self, command: str, place: str, reading: Reading) -> None:
        """Keep a reading for the next run; raises ``OSError``."""
        self.put(f"{command} {place}", reading)
