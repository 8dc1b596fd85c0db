"""Which server has answered at an address, by its own word (INFO), for the day on which none answers there.

A server can say anything of itself: whoever makes a command of this checks each word on this machine first.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from checkout_cli.files.state_file import StateFile

FILE = "answered.json"
LONGEST_WORD = 512
"""Characters of a server's words that are kept."""
DAY, AGAIN_AFTER = 86_400_000, 30_000
"""Milliseconds; a server that has not restarted is noted anew no sooner than that."""


class Answered(msgspec.Struct, frozen=True):
    """The server that answered at ``at`` (ms since the epoch); ``had_data`` is whether there were keys in it."""

    at: int
    run: str
    program: str
    executable: str
    config_file: str
    port: int
    process: int
    had_data: bool

    def in_words(self, now: int) -> str:
        """When it answered, and what it was."""
        form = "%H:%M UTC" if now - self.at < DAY else "%Y-%m-%d %H:%M UTC"
        data = "with data in it" if self.had_data else "without data"
        what = f"{self.program}, process {self.process}, {data}"
        return f"it answered here at {time.strftime(form, time.gmtime(self.at / 1000))} ({what})"


class AnswersFile(StateFile[Answered]):
    """The last answer by address."""

    def __init__(self, directory: Path | None = None) -> None:
        super().__init__(FILE, Answered, lambda answered: answered.at, directory)

    def note(self, place: str, answered: Answered) -> None:
        """Keep the answer at an address, unless the same was kept a moment ago; raises ``OSError``."""
        last = self.last(place)
        same = last is not None and (last.run, last.had_data) == (answered.run, answered.had_data)
        if last is None or not same or not 0 <= answered.at - last.at < AGAIN_AFTER:
            self.put(place, answered)
