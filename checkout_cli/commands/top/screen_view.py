"""The live view of ``top``: the newest frame on the whole screen, until a key ends it.

Servers are asked in the background, so that keys and a new window size work at once, also while Redis hangs.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.live import Live
from rich.text import Text

from checkout_cli.clock import Clock
from checkout_cli.commands.top.frame_view import Room, frame
from checkout_cli.commands.top.top import TopLook
from checkout_cli.commands.top.view import show_top
from checkout_cli.errors import InvalidInput
from checkout_cli.jobs.background import Background
from checkout_cli.terminal.keyboard import ESCAPE, GONE, Keyboard
from checkout_cli.terminal.output import console, is_terminal

TICK = 0.1
"""Seconds between two checks for a result and the size of the window."""
SHARE = 0.2
"""The part of the time that questions take at most: where they take long, they are asked less often."""
SLOW_LOOK = 1.0
"""Seconds after which a slow answer is mentioned."""
KEYS = "q quit   space pause   r look now   h help"
HELP = (
    "q, Esc, Ctrl-C  leave; the last frame stays",
    "space           pause, and go on",
    "r               look now, also while paused",
    "h               this help, and away with it",
    "",
    "per minute      each line has its own scale, whose top stands before it",
    "full in         at the growth of the last minutes",
    "ends soon       unless the shopper comes back",
)


def needs_terminal(*, logs_to_terminal: bool) -> None:
    """Raise :class:`InvalidInput` without a terminal, or where the log would be written over the view."""
    if not is_terminal(sys.stdout) or os.environ.get("TERM", "") in {"", "dumb", "unknown"}:
        raise InvalidInput("a live view needs a terminal", hint="checkoutctl top --once")
    if logs_to_terminal:
        raise InvalidInput("the log would be written over the view", hint="LOG_FILE=top.log checkoutctl top")


def run(look: Callable[[], TopLook], every: float) -> None:
    """Ask every so many seconds until a key ends it; the last frame stays on the terminal, whatever ends it."""
    screen = Screen(look, every)
    try:
        with Keyboard() as keyboard:
            screen.run(keyboard)
    finally:
        if screen.last is not None:
            show_top(screen.last)


class Screen:
    """The state of the view, and when the next questions are due."""

    def __init__(self, look: Callable[[], TopLook], every: float, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self.last: TopLook | None = None
        self._look = look
        self._every = self._wait = every
        self._console = console()
        self._running: Background[TopLook] | None = None
        self._started = self._next = float("-inf")
        self._paused = self._help = self._asked = self._stopped = False

    def run(self, keyboard: Keyboard) -> None:
        shown: object = None
        with _noting_stop(self._stop), Live(console=self._console, screen=True, auto_refresh=False) as live:
            while True:
                self.advance()
                state = (self._console.size, self.last, self._help, tuple(self._notes()))
                if state != shown:
                    live.update(Text("\n").join(self._lines()), refresh=True)
                    shown = state
                for key in keyboard.keys(TICK):
                    if key in {"q", "Q", ESCAPE, GONE}:
                        return
                    self.press(key)
                if self._stopped:
                    self._suspend(keyboard, live)
                    shown = None

    def press(self, key: str) -> None:
        """Obey a key that does not end it."""
        if key == " ":
            self._paused = not self._paused
        elif key in {"r", "R"}:
            self._asked = True
        elif key in {"h", "H", "?"}:
            self._help = not self._help

    def advance(self) -> None:
        """Take a result that is ready, and begin to ask anew when it is time."""
        if self._running is not None:
            found = self._running.result(0)
            if found is not None:
                self.last, self._running = found, None
                self._wait = max(self._every, self._load(found) / SHARE)
                self._next = self._started + self._wait
        now = self._clock.elapsed()
        if self._running is None and (self._asked or (now >= self._next and not self._paused)):
            self._asked, self._started = False, now
            self._running = Background(self._look)

    @staticmethod
    def _load(look: TopLook) -> float:
        """The seconds that the servers were busy; waiting for one that does not answer is no load."""
        health = look.snapshot.health
        return look.snapshot.seconds if health.redis.connected and health.database.connected else 0.0

    def _notes(self) -> list[str]:
        notes = ["paused"] if self._paused else [f"every {self._wait:.3g} s"]
        waited = self._clock.elapsed() - self._started
        if self._running is not None and waited > SLOW_LOOK:
            notes.append(f"looking for {waited:.0f} s")
        return notes

    def _lines(self) -> list[Text]:
        size = self._console.size
        room = Room(size.width, size.height)
        if self._help:
            lines = [Text(line) for line in (*HELP, "", KEYS)][: size.height]
        elif self.last is None:
            lines = [Text("looking…")]
        else:
            return frame(self.last, room, self._notes(), Text(KEYS, "dim"))
        for line in lines:
            line.truncate(size.width, overflow="ellipsis")
        return lines

    def _stop(self) -> None:
        self._stopped = True

    def _suspend(self, keyboard: Keyboard, live: Live) -> None:
        """Ctrl-Z: give the shell its terminal back, and take it again afterwards."""
        self._stopped = False
        live.stop()
        keyboard.__exit__(None, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        keyboard.__enter__()
        live.start()


@contextmanager
def _noting_stop(stop: Callable[[], None]) -> Iterator[None]:
    if not hasattr(signal, "SIGTSTP"):  # Windows
        yield
        return
    before = signal.signal(signal.SIGTSTP, lambda *_: stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)
