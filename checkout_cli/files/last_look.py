"""The counters of the last run, so that this one can say what has happened since.

A server's counters run from its start: a million evictions may be a year old. Each command keeps them by server in a
file of the user's state directory.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from checkout_cli.files.state_file import StateFile

FILE = "last-look.json"


LASTING = 3_600_000
"""Milliseconds for which a growth is a finding: the next run must not call the cause mended."""


class Growth(msgspec.Struct, frozen=True):
    """How much a counter had grown when that was noticed (ms since the epoch)."""

    number: float
    noticed_at: int


class Reading(msgspec.Struct, frozen=True):
    """A server's counters at ``taken_at`` (ms since the epoch); ``run`` its ``run_id``, ``found`` what grew lately."""

    taken_at: int
    run: str
    counters: dict[str, float]
    found: dict[str, Growth] = {}

    def since(self, earlier: Reading | None, name: str) -> float | None:
        """The growth of a counter, since the server's start where it has restarted; ``None`` where it is unknown."""
        now = self.counters.get(name)
        if now is None or earlier is None:
            return None
        before = earlier.counters.get(name, 0.0) if earlier.run == self.run else 0.0
        return now - before if now >= before else now  # CONFIG RESETSTAT sets counters back

    def growths(self, earlier: Reading | None, names: Iterable[str]) -> dict[str, Growth]:
        """The last growth of each of these counters, where it was noticed within an hour."""
        growths = {} if earlier is None else {name: earlier.found[name] for name in names if name in earlier.found}
        growths |= {name: Growth(new, self.taken_at) for name in names if (new := self.since(earlier, name))}
        return {name: growth for name, growth in growths.items() if 0 <= self.taken_at - growth.noticed_at < LASTING}

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
