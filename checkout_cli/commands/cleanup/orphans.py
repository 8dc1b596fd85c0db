"""``cleanup --orphans``: copies and pending ids without a session.

A copy whose row is gone, and which was published to another server: no read believes it, and it only takes memory. And
an id in ``checkout:pending`` whose key has nothing for the database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from checkout_cli.commands.sessions.index import Found
from checkout_cli.errors import RedisUnavailable
from checkout_cli.jobs.bounded_run import BoundedRun, Ended, Step, Stopped
from checkout_cli.jobs.heartbeat import beat, remembered
from checkout_cli.jobs.job_lock import CLEANUP
from checkout_cli.keys import is_accepted_id
from checkout_cli.servers.per_server import Partial
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.value import Kind
from checkout_cli.store.redis.admin import FIRST_CURSOR
from checkout_cli.store.redis.opened import Opened

BATCH = 200
"""Sessions that are looked at in one step."""
JOB = "orphans"
"""The name of what remembers where a removal has stopped; its lock is that of the clean-up."""


@dataclass
class OrphanReport(Ended, Partial):
    """What was found, or with ``removed`` removed; ``bytes`` is the size of the ``copies``.

    ``believed`` copies may still be served, and are left alone: the database may have been restored from a backup.
    """

    JSON_KEYS = (
        "removed finished copies{ count=copies.number examples=copies.examples bytes } pendingNames=names believed "
        "partial missingServers=missing"
    )

    removed: bool
    copies: Found
    believed: Found
    names: Found
    bytes: int = 0
    missing: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        return self.copies.number + self.names.number

    @property
    def has_finding(self) -> bool:
        left = self.believed.number or self.missing or not self.finished or (self.number and not self.removed)
        return bool(left)


def find_orphans(store: CheckoutStore, run: BoundedRun | None = None) -> OrphanReport:
    """Raises RedisUnavailable, AccessDenied, DatabaseUnavailable: both tiers are needed."""
    return _Orphans(store, run or BoundedRun(store.clock), remove=False).run(FIRST_CURSOR)


def remove_orphans(
    store: CheckoutStore, run: BoundedRun | None = None, *, agreed: Callable[[OrphanReport], bool]
) -> OrphanReport:
    """Remove them, if ``agreed`` and still as seen, from where the last run stopped; raises Locked."""
    run, begin = run or BoundedRun(store.clock), remembered(store, JOB, scans=2).cursor
    report = _Orphans(store, run.share(2), remove=False).run(begin)
    run.stopped = report.stopped
    if report.number:
        if run.stopped is Stopped.INTERRUPTED or not run.untimed(agreed, report):
            return report
        with run.locked(store, CLEANUP):
            report = _Orphans(store, run, remove=True).run(begin)
    cursor = report.cursor or FIRST_CURSOR
    beat(store, JOB, seconds=run.seconds, finished=report.finished, sessions=report.number, cursor=cursor)
    return report


class _Orphans:
    def __init__(self, store: CheckoutStore, run: BoundedRun, *, remove: bool) -> None:
        self._store = store
        self._run = run
        self._remove = remove
        self._report = OrphanReport(remove, Found(), Found(), Found())

    def run(self, cursor: str) -> OrphanReport:
        self._store.database.ping()
        self._report.follow(self._run, self._copies, self._names, cursor=cursor)
        self._report.missing = tuple(self._store.redis.missing_servers())
        return self._report

    def _copies(self, cursor: str) -> Step:
        page, following = self._store.index.session_ids_step(cursor)
        for start in range(0, len(page), BATCH):
            self._look_at_copies(page[start : start + BATCH])
        return Step(len(page), following)

    def _names(self, cursor: str) -> Step:
        try:
            names, following = self._store.flusher.pending.ids_step(cursor, BATCH)
        except RedisUnavailable:  # in a cluster, one server has all the names
            if not self._store.redis.missing_servers():
                raise
            return Step(0, None)
        for start in range(0, len(names), BATCH):
            self._look_at_names(names[start : start + BATCH])
        return Step(len(names), following)

    def _look_at_copies(self, checkout_ids: Sequence[str]) -> None:
        ours = [name for name in checkout_ids if is_accepted_id(name)]
        rows = self._store.database.present(ours)
        alone = [name for name in ours if name not in rows]
        for checkout_id, look in zip(alone, self._store.redis.look(alone), strict=True):
            copy = look.copy
            if copy is None or copy.is_external or copy.is_dirty:
                continue  # an external writer's, or one that the database is still to get
            if copy.identity == self._store.redis.last_identity(checkout_id):
                self._report.believed.add([checkout_id])
                continue
            assert look.value is not None  # noqa: S101  (there is a copy)
            if self._store.database.present([checkout_id]):  # it was created while we looked
                continue
            if not self._remove or self._store.redis.discard(checkout_id, look.value):
                self._report.copies.add([checkout_id])
                self._report.bytes += look.size

    def _look_at_names(self, names: Sequence[str]) -> None:
        for name, look in zip(names, self._store.redis.look(names), strict=True):
            copy = look.copy
            # A write of ours may wait there, also where an external writer has touched it.
            if look.problem is not None or (copy is not None and (copy.is_dirty or copy.kind is Kind.UNREADABLE)):
                continue
            if self._remove:
                self._store.flusher.pending.forget(name, Opened(look.value, None, value=copy))
            self._report.names.add([name])
