"""``sessions index adopt``: our index at ``checkout:index``, once no older program needs its SET there.

First whatever only the SET names is taken into ours, page by page; then both change places in one short step; then
what has been added in between is brought over, and the SET goes. Wherever that is interrupted, no session is without
an entry, and running it again finishes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from checkout_cli.commands.sessions.index import Progress, silent
from checkout_cli.errors import CheckoutError, ExitCode, InvalidInput
from checkout_cli.jobs.index_members import TakenIn, take_in
from checkout_cli.jobs.job_lock import CLEANUP, JobLock, job_lock, new_owner
from checkout_cli.keys import INDEX
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.admin import FIRST_CURSOR
from checkout_cli.store.redis.index_moves import Adopted, IndexMoves
from checkout_cli.store.redis.index_place import Layout, Place


class StillInUse(CheckoutError):
    """Another program has written sessions within a day, and would lose its index."""

    default_hint = "retire it first; or the same command with --force"


@dataclass
class AdoptionReport:
    """What was found, and with ``done`` changed.

    ``members`` is the size of an older program's SET and ``entries`` that of our index beside it, before anything was
    changed. ``taken`` is what became of members that ours lacked. ``seen_at`` is when another program was last seen
    (ms; ``None``: not within a day).
    """

    layout: Layout
    members: int = 0
    entries: int = 0
    seen_at: int | None = None
    taken: TakenIn = field(default_factory=TakenIn)
    done: bool = False
    finished: bool = True

    @property
    def is_needed(self) -> bool:
        """Whether there is something to adopt, or to finish."""
        return self.layout.place is Place.BESIDE_SET or bool(self.layout.others)

    @property
    def exit_code(self) -> ExitCode:
        """A finding where our index cannot go to its place, or is not there yet."""
        is_left = self.layout.place is Place.BESIDE_OTHER or not self.finished
        return ExitCode.FINDING if is_left else ExitCode.OK


class _Stop(Exception):
    """The time is up, or the lock is lost."""


def adopt_index(
    store: CheckoutStore,
    *,
    agreed: Callable[[AdoptionReport], bool],
    force: bool = False,
    max_seconds: float | None = None,
    owner: str | None = None,
    progress: Progress = silent,
) -> AdoptionReport:
    """Put our index at ``checkout:index``, if ``agreed``, which is shown what there is.

    Raises:
        InvalidInput: ``max_seconds`` is no time to work in.
        StillInUse: another program was seen within a day, and ``force`` is off.
        Locked: a clean-up runs now.
        RedisUnavailable, AccessDenied: Redis cannot be asked.
        WrongKeyType: another program's key is where our index would have to lie meanwhile.
    """
    if max_seconds is not None and not max_seconds > 0:
        raise InvalidInput("the time to adopt in must be more than zero seconds", hint="--max-seconds 50")
    report = _looked(store)
    if not report.is_needed or not agreed(report):
        return report
    if report.seen_at is not None and report.layout.place is Place.BESIDE_SET and not force:
        raise StillInUse(f"another program was seen within a day, and uses the SET at {INDEX}")
    with job_lock(store, CLEANUP, owner or new_owner()) as lock:
        store.external.forget_seen()  # else whoever knows of it would make room for it again
        _Adoption(store, lock, report, max_seconds, progress).run()
    return report


def _looked(store: CheckoutStore) -> AdoptionReport:
    layout = store.index.layout()
    sizes = store.index.sizes(layout)
    seen_at = store.external.seen_lately(store.clock.wall())
    members = sizes[INDEX] if layout.kind == "set" else 0
    return AdoptionReport(layout, members=members, entries=sizes[layout.key], seen_at=seen_at)


class _Adoption:
    """One run."""

    def __init__(
        self, store: CheckoutStore, lock: JobLock, report: AdoptionReport, max_seconds: float | None, progress: Progress
    ) -> None:
        self._store = store
        self._moves = IndexMoves(store.redis, store.index)
        self._lock = lock
        self._report = report
        self._progress = progress
        self._stop_at = None if max_seconds is None else store.clock.elapsed() + max_seconds
        self._looked_at = 0

    def run(self) -> None:
        """What an interrupted adoption has left, then this one."""
        self._report.done = True
        try:
            self._finish()
            if self._store.index.layout().place is Place.BESIDE_SET:
                self._take_members_in()
                self._report.finished = self._moves.adopt() is Adopted.ADOPTED
                self._finish()
        except _Stop:
            self._report.finished = False

    def _take_members_in(self) -> None:
        cursor: str | None = FIRST_CURSOR
        while cursor is not None:
            page = self._store.index.member_page(cursor)
            self._report.taken.add(take_in(self._store, page.lacking))
            cursor = page.cursor
            self._step(page.number)

    def _finish(self) -> None:
        for new in self._moves.finish(self._store.redis.time()):
            self._report.taken.entered += new
            self._step(0)

    def _step(self, looked_at: int) -> None:
        self._looked_at += looked_at
        self._progress(self._looked_at, max(self._report.members, self._looked_at))
        if self._stop_at is not None and self._store.clock.elapsed() >= self._stop_at:
            raise _Stop
        if not self._lock.still_held():
            raise _Stop
