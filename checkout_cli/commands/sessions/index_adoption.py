"""``sessions index adopt``: put our index at ``checkout:index``, once no older program needs its SET there.

First the members that only the SET has go into ours, page by page; then both change places in one short step; then what
was added in between is brought over, and the SET goes. Wherever that is interrupted, every session has an entry, and
running it again finishes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from checkout_cli.errors import CheckoutError
from checkout_cli.jobs.bounded_run import BoundedRun, Ended, Step
from checkout_cli.jobs.clocks import agreed_clocks
from checkout_cli.jobs.heartbeat import beat, remembered
from checkout_cli.jobs.index_members import TakenIn, take_in
from checkout_cli.jobs.job_lock import CLEANUP
from checkout_cli.keys import INDEX
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.admin import FIRST_CURSOR
from checkout_cli.store.redis.index_moves import Adopted, IndexMoves
from checkout_cli.store.redis.index_place import Layout, Place

JOB = "adoption"
"""The name of what remembers where the SET was read to; members that come later are brought over at the end."""


class StillInUse(CheckoutError):
    """Another program has written sessions within a day, and would lose its index."""

    default_hint = "retire it first; or the same command with --force"


@dataclass
class AdoptionReport(Ended):
    """What was found, and with ``done`` changed.

    ``members`` and ``entries`` are the sizes of the SET and of our index before. ``taken`` counts members that ours
    lacked. ``seen_at`` (ms) is when an external writer was last seen, ``None``: not within a day.
    """

    JSON_KEYS = (
        "adopted=is_adopted place=layout.place kind=layout.kind members entries externalWriterSeenAt@=seen_at "
        "entered=taken.entered removed=taken.removed finished"
    )

    layout: Layout
    members: int = 0
    entries: int = 0
    seen_at: int | None = None
    taken: TakenIn = field(default_factory=TakenIn)
    done: bool = False
    is_waiting: bool = False

    @property
    def finished(self) -> bool:
        return super().finished and not self.is_waiting

    @property
    def is_adopted(self) -> bool:
        return self.done and self.finished

    @property
    def is_needed(self) -> bool:
        return self.layout.place is Place.BESIDE_SET or bool(self.layout.others)

    @property
    def has_finding(self) -> bool:
        return self.layout.place is Place.BESIDE_OTHER or not self.finished


def adopt_index(
    store: CheckoutStore,
    run: BoundedRun | None = None,
    *,
    agreed: Callable[[AdoptionReport], bool],
    force: bool = False,
) -> AdoptionReport:
    """Put our index at ``checkout:index``, if ``agreed``.

    Raises StillInUse without ``force``, Locked, WrongClock.
    """
    run, layout = run or BoundedRun(store.clock), store.index.layout()
    sizes, seen_at = store.index.sizes(layout), store.external.seen_lately(store.clock.wall())
    members = sizes[INDEX] if layout.kind == "set" else 0
    report = AdoptionReport(layout, members=members, entries=sizes[layout.key], seen_at=seen_at)
    if not report.is_needed or not run.untimed(agreed, report):
        return report
    if report.seen_at is not None and report.layout.place is Place.BESIDE_SET and not force:
        raise StillInUse(f"another program was seen within a day, and uses the SET at {INDEX}")
    with run.locked(store, CLEANUP):
        store.external.forget_seen()  # else whoever knows of it would make room for it again
        _adopt(store, run, report)
    return report


def _adopt(store: CheckoutStore, run: BoundedRun, report: AdoptionReport) -> None:
    moves, clocks = IndexMoves(store.redis, store.index), agreed_clocks(store)

    def take_members_in(cursor: str) -> Step:
        page = store.index.member_page(cursor)
        report.taken.add(take_in(store, page.lacking, clocks.earliest - clocks.margin))
        return Step(page.number, page.cursor)

    def finish() -> None:
        for new in run.pages(moves.finish(store.redis.time()), lambda _: 0):
            report.taken.entered += new

    report.done, begin = True, remembered(store, JOB).cursor
    run.expect(report.members)
    with run.bounds():
        finish()
        if store.index.layout().place is Place.BESIDE_SET:
            run.through(take_members_in, cursor=begin)
            report.is_waiting = moves.adopt() is not Adopted.ADOPTED
            finish()
    report.end(run)
    place = {"cursor": run.cursor or FIRST_CURSOR}
    beat(store, JOB, seconds=run.seconds, finished=report.finished, sessions=report.taken.entered, **place)
