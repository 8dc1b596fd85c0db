"""Long work and its bounds: a time limit, a lock that can be lost, Ctrl-C.

An operation asks its run for each page; the run counts progress, keeps the lock, slows down, and ends the work between
two pages, never before the first, so that each run gets further.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeVar

from checkout_cli.clock import Clock
from checkout_cli.errors import ExitCode, InvalidInput
from checkout_cli.jobs.job_lock import JobLock, job_lock, new_owner
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.admin import FIRST_CURSOR

Asked = TypeVar("Asked")
Page = TypeVar("Page")
Item = TypeVar("Item")


class Stopped(StrEnum):
    END = "end"
    """Nothing was left to do."""
    ENOUGH = "enough"
    """There is more, and it was not asked for."""
    TIME = "timeIsUp"
    LOCK_LOST = "lockLost"
    INTERRUPTED = "interrupted"


class Step(NamedTuple):
    """A page that is done: its size, and the cursor of the next one; ``None`` after the last."""

    done: int
    following: str | None


@dataclass(kw_only=True)
class Ended:
    """How a run ended, as part of its report: why, and at which cursor to continue."""

    stopped: Stopped = Stopped.END
    cursor: str | None = None

    def end(self, run: BoundedRun) -> None:
        """Take over how a run ended."""
        self.stopped, self.cursor = run.stopped, run.cursor

    def follow(self, run: BoundedRun, *phases: Callable[[str], Step], cursor: str) -> None:
        """Let a run do all pages of some phases, and take over how it ended."""
        with run.bounds():
            run.through(*phases, cursor=cursor)
        self.end(run)

    @property
    def finished(self) -> bool:
        return self.stopped is Stopped.END

    @property
    def has_finding(self) -> bool:
        return False

    @property
    def exit_code(self) -> ExitCode:
        if self.stopped is Stopped.INTERRUPTED:
            return ExitCode.INTERRUPTED
        return ExitCode.FINDING if self.has_finding else ExitCode.OK

    @property
    def next_step(self) -> str:
        return "checkoutctl doctor"


class _Stop(Exception):
    def __init__(self, reason: Stopped) -> None:
        super().__init__(reason)
        self.reason = reason


class BoundedRun:
    """One run: ``stopped`` is why it ended, ``cursor`` where the next one continues (``None``: nothing is left)."""

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        max_seconds: float | None = None,
        rate: float | None = None,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        """``rate`` is the most that is done a second; ``progress`` gets the numbers done and expected."""
        if not all(0 < bound < math.inf for bound in (max_seconds, rate) if bound is not None):
            raise InvalidInput(
                "a run takes more than zero seconds, and does more than nothing", hint="--max-seconds 50"
            )
        self.clock = clock or Clock()
        self.stopped = Stopped.END
        self.cursor: str | None = None
        self.looked_at = 0
        self._lock: JobLock | None = None
        self._progress = progress
        self._counted = [0, 0]  # done, and expected at least: of the whole
        self._rate = rate
        self._here = 0
        self._started = self.clock.elapsed()
        self._stop_at = math.inf if max_seconds is None else self._started + max_seconds

    @property
    def finished(self) -> bool:
        return self.stopped is Stopped.END

    @property
    def is_timed(self) -> bool:
        return self._stop_at < math.inf

    @property
    def seconds(self) -> float:
        """The time since its start."""
        return self.clock.elapsed() - self._started

    # What it is bounded by

    @contextmanager
    def bounds(self) -> Iterator[None]:
        """Catch the end of the run and Ctrl-C; errors pass."""
        self.stopped = Stopped.END
        try:
            yield
        except _Stop as stop:
            self.stopped = stop.reason
        except KeyboardInterrupt:
            self.stopped = Stopped.INTERRUPTED

    @contextmanager
    def locked(self, store: CheckoutStore, job: str, owner: str | None = None) -> Iterator[None]:
        """Hold a job's lock for the block, and end the run where it is lost; raises as :func:`job_lock`."""
        with job_lock(store, job, owner or new_owner()) as lock:
            self._lock = lock
            try:
                yield
            finally:
                self._lock = None

    def in_turn(self, *phases: Callable[[BoundedRun], None], again: bool = True) -> None:
        """Run each phase for an equal share of the time left, so that none starves.

        Unused time goes to the others; while there is time, and with ``again``, unfinished phases have another turn,
        but not after a lost lock or Ctrl-C.
        """
        waiting = list(phases)
        while waiting:
            turn, waiting = waiting, []
            for place, phase in enumerate(turn):
                part = self.share(len(turn) - place)
                with part.bounds():
                    phase(part)
                if not part.finished:
                    waiting.append(phase)
                    self.stopped = part.stopped
                if part.stopped not in {Stopped.END, Stopped.TIME}:
                    return
            if not again or self.clock.elapsed() >= self._stop_at:
                break
        if not waiting:
            self.stopped = Stopped.END

    def share(self, of: int) -> BoundedRun:
        """A run for one of ``of`` equal parts of the time left."""
        part = copy.copy(self)
        part.stopped, part.cursor, part._started = Stopped.END, None, self.clock.elapsed()
        part._stop_at = part._started + max(self._stop_at - part._started, 0) / of
        return part

    def untimed(self, ask: Callable[[Asked], bool], about: Asked) -> bool:
        """A person's answer; the time to think does not count."""
        begun = self.clock.elapsed()
        answer = ask(about)
        self._stop_at += self.clock.elapsed() - begun
        return answer

    # The work

    def expect(self, number: int, *, done: int = 0) -> None:
        """Expect about so many more, of which an earlier run has done some."""
        self._counted[0] += done
        self._counted[1] += number

    def pages(
        self,
        pages: Iterable[Page],
        number: Callable[[Page], int] = len,  # type: ignore[assignment]
        *,
        enough: Callable[[], bool] = lambda: False,
    ) -> Iterator[Page]:
        """Each page while the run may go on, and until it is ``enough``; ``number`` is how many are in one."""
        is_first = True
        for page in pages:
            self._go_on(enough, is_first=is_first)
            is_first = False
            yield page
            self.done(number(page))

    def each(self, pages: Iterable[tuple[Iterable[Item], int]], *, most: float = math.inf) -> Iterator[Item]:
        """The items of pages that say how many entries were looked at for each, until these are ``most``.

        ``finished`` and ``looked_at`` say afterwards whether there was more, and how many entries there were.
        """
        try:
            for items, number in self.pages(pages, lambda page: page[1], enough=lambda: self.looked_at >= most):
                self.looked_at += number
                yield from items
        except _Stop as stop:
            self.stopped = stop.reason

    def through(
        self,
        *phases: Callable[[str], Step],
        cursor: str = FIRST_CURSOR,
        enough: Callable[[], bool] = lambda: False,
    ) -> None:
        """All pages of all phases, from a cursor on: each phase does the page that its own cursor names.

        It ends where it is ``enough``. Of several phases, the run's cursor begins with the number of its phase.
        """
        at, _, position = cursor.partition(":") if len(phases) > 1 and ":" in cursor else ("0", "", cursor)
        for number in range(int(at), len(phases)):
            following: str | None = position
            is_first = True
            while following is not None:
                self.cursor = f"{number}:{following}" if len(phases) > 1 else following
                self._go_on(enough, is_first=is_first)
                is_first = False
                done, following = phases[number](following)
                self.done(done, more=following is not None)
            position = FIRST_CURSOR
        self.cursor = None

    def _go_on(self, enough: Callable[[], bool], *, is_first: bool) -> None:
        if not is_first and enough():
            raise _Stop(Stopped.ENOUGH)
        if not is_first and self.clock.elapsed() >= self._stop_at:
            raise _Stop(Stopped.TIME)
        if self._lock is not None and not self._lock.still_held():
            raise _Stop(Stopped.LOCK_LOST)

    def done(self, number: int, *, more: bool = True) -> None:
        """Count so many more as done; waits where that was faster than the rate and more are to come."""
        self._here += number
        self._counted[0] += number
        self._progress(self._counted[0], max(self._counted))
        if self._rate is not None and more:
            ahead = self._here / self._rate - self.seconds
            if ahead > 0:
                self.clock.pause(ahead)
