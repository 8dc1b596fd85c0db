"""``cleanup --orphans``: copies and pending ids without a session.

A copy whose row is gone, and which was published to another server: no read believes it, and it only takes memory. And
an id in ``checkout:pending`` whose key has nothing for the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from checkout_cli.commands.sessions.index import MOST_AGREED, Found
from checkout_cli.errors import RedisUnavailable
from checkout_cli.jobs.bounded_run import BoundedRun, Ended, Step, Stopped
from checkout_cli.jobs.heartbeat import beat, remembered
from checkout_cli.jobs.job_lock import CLEANUP
from checkout_cli.keys import is_accepted_id
from checkout_cli.servers.per_server import Partial
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.value import Kind, digest_of
from checkout_cli.store.redis.admin import FIRST_CURSOR
from checkout_cli.store.redis.opened import Look, Opened

BATCH = 200
"""Sessions that are looked at in one step."""
JOB = "orphans"
"""The name of what remembers where a removal has stopped; its lock is that of the clean-up."""


@dataclass
class OrphanReport(Ended, Partial):
    """What was found, or with ``removed`` removed; ``bytes`` is the size of the ``copies``.

    ``believed`` copies may still be served, and are left alone: the database may have been restored from a backup.
    ``resumed``: what lies before the cursor is not counted; ``goes_on``: the next run begins where this has stopped.
    """

    JSON_KEYS = (
        "removed finished copies{ count=copies.number examples=copies.examples bytes } pendingNames=names believed "
        "resumed nextCursor=cursor partial missingServers=missing"
    )

    removed: bool
    copies: Found
    believed: Found
    names: Found
    bytes: int = 0
    missing: tuple[str, ...] = ()
    resumed: bool = False
    goes_on: bool = False

    @property
    def number(self) -> int:
        return self.copies.number + self.names.number

    @property
    def has_finding(self) -> bool:
        left = self.believed.number or self.missing or not self.finished or (self.number and not self.removed)
        return bool(left)


def find_orphans(store: CheckoutStore, run: BoundedRun | None = None) -> OrphanReport:
    """What a removal would find now: it begins where the last one stopped, and nothing is changed.

    Raises RedisUnavailable, AccessDenied, DatabaseUnavailable: both tiers are needed.
    """
    return _Orphans(store, run or BoundedRun(store.clock)).find(remembered(store, JOB, scans=2).cursor)


def remove_orphans(
    store: CheckoutStore, run: BoundedRun | None = None, *, agreed: Callable[[OrphanReport], bool]
) -> OrphanReport:
    """Find them from where the last run stopped, and if ``agreed``, remove those, as far as they still are as seen.

    Raises Locked, and as :func:`find_orphans`.
    """
    run, begin = run or BoundedRun(store.clock), remembered(store, JOB, scans=2).cursor
    part = run.share(2)
    orphans = _Orphans(store, part)
    report = orphans.find(begin)
    run.stopped = report.stopped
    if report.number:
        if run.stopped is Stopped.INTERRUPTED or not run.untimed(agreed, report):
            return report
        with run.locked(store, CLEANUP):
            report = orphans.remove(run, begin)
    cursor = report.cursor or FIRST_CURSOR
    beat(store, JOB, seconds=run.seconds, finished=report.finished, sessions=report.number, cursor=cursor)
    report.goes_on = True
    return report


class _Orphans:
    """What is found is kept, each copy with the digest of its bytes, so that nothing else is removed."""

    def __init__(self, store: CheckoutStore, run: BoundedRun) -> None:
        self._store = store
        self._run = run
        self._report = OrphanReport(False, Found(), Found(), Found())
        self._found_copies: dict[str, str] = {}
        self._found_names: dict[str, None] = {}

    def find(self, cursor: str) -> OrphanReport:
        self._store.database.ping()
        report, run = self._report, self._run
        report.resumed = cursor != FIRST_CURSOR
        with run.bounds():
            run.through(self._copies, self._names, cursor=cursor, enough=lambda: report.number >= MOST_AGREED)
        report.end(run)
        report.missing = tuple(self._store.redis.missing_servers())
        return report

    def remove(self, run: BoundedRun, begin: str) -> OrphanReport:
        """Remove what was found; where that is cut off, the next run begins where the search had begun."""
        found = self._report
        report = self._report = replace(found, removed=True, copies=Found(), names=Found(), bytes=0)
        run.expect(found.number)
        with run.bounds():
            for page in run.pages(_batches(list(self._found_copies))):
                for checkout_id, look in self._copies_alone(page):
                    self._remove_copy(checkout_id, look)
            for page in run.pages(_batches(list(self._found_names))):
                for name, opened in self._names_alone(page):
                    self._store.flusher.pending.forget(name, opened)
                    report.names.add([name])
        if not run.finished:
            report.stopped, report.cursor = run.stopped, begin
        return report

    def _remove_copy(self, checkout_id: str, look: Look) -> None:
        assert look.value is not None  # noqa: S101  (there is a copy)
        is_as_agreed = digest_of(look.value) == self._found_copies[checkout_id]
        if is_as_agreed and self._store.redis.discard(checkout_id, look.value):
            self._report.copies.add([checkout_id])
            self._report.bytes += look.size

    def _copies(self, cursor: str) -> Step:
        page, following = self._store.index.session_ids_step(cursor)
        for batch in _batches(page):
            self._look_at_copies(batch)
        return Step(len(page), following)

    def _names(self, cursor: str) -> Step:
        try:
            names, following = self._store.flusher.pending.ids_step(cursor, BATCH)
        except RedisUnavailable:  # in a cluster, one server has all the names
            if not self._store.redis.missing_servers():
                raise
            return Step(0, None)
        for batch in _batches(names):
            self._look_at_names(batch)
        return Step(len(names), following)

    def _look_at_copies(self, checkout_ids: Sequence[str]) -> None:
        for checkout_id, look in self._copies_alone([name for name in checkout_ids if is_accepted_id(name)]):
            assert look.value is not None  # noqa: S101  (there is a copy)
            if checkout_id not in self._found_copies:  # a scan may return a key twice
                self._found_copies[checkout_id] = digest_of(look.value)
                self._report.copies.add([checkout_id])
                self._report.bytes += look.size

    def _copies_alone(self, checkout_ids: Sequence[str]) -> Iterator[tuple[str, Look]]:
        """Copies without a row that no read believes; the others without one are reported."""
        rows = self._store.database.present(checkout_ids)
        alone = [name for name in checkout_ids if name not in rows]
        for checkout_id, look in zip(alone, self._store.redis.look(alone), strict=True):
            copy = look.copy
            if copy is None or copy.is_external or copy.is_dirty:
                continue  # an external writer's, or one that the database is still to get
            if copy.identity == self._store.redis.last_identity(checkout_id):
                self._report.believed.add([checkout_id])
                continue
            if not self._store.database.present([checkout_id]):  # else it was created while we looked
                yield checkout_id, look

    def _look_at_names(self, names: Sequence[str]) -> None:
        new = [name for name, _ in self._names_alone(names) if name not in self._found_names]
        self._found_names |= dict.fromkeys(new)
        self._report.names.add(new)

    def _names_alone(self, names: Sequence[str]) -> Iterator[tuple[str, Opened]]:
        """Those for which nothing waits; of others, a write of ours may, also where an external writer touched it."""
        for name, look in zip(names, self._store.redis.look(names), strict=True):
            copy = look.copy
            if look.problem is not None or (copy is not None and (copy.is_dirty or copy.kind is Kind.UNREADABLE)):
                continue
            yield name, Opened(look.value, None, value=copy)


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + BATCH] for start in range(0, len(names), BATCH))
