"""``cleanup --orphans``: what no session stands behind any more.

Two kinds. A copy in Redis whose row the database no longer has, and which was published to another server than the one
that it lies on: no read believes it, and the shop is told that the session has ended; its memory is in use until its
time runs out. And a name in ``checkout:pending`` at whose key nothing waits for the database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from checkout_cli.commands.sessions.index import Found, Progress, silent
from checkout_cli.errors import ExitCode, RedisUnavailable
from checkout_cli.jobs.job_lock import CLEANUP, job_lock, new_owner
from checkout_cli.keys import is_accepted_id
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.value import Kind
from checkout_cli.store.redis.opened import Look, Opened

BATCH = 200
"""Sessions that are looked at in one step."""


@dataclass
class OrphanReport:
    """What was found, and with ``removed`` taken away.

    ``believed`` are copies without a row that reads may still be served: they are told and left alone, because the
    database may have been restored from a backup. ``bytes`` is the size of the values of ``copies``. ``missing`` are
    servers of a cluster that did not answer, and were not looked at.
    """

    removed: bool
    copies: Found
    believed: Found
    names: Found
    bytes: int = 0
    missing: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """How many can be removed."""
        return self.copies.number + self.names.number

    @property
    def exit_code(self) -> ExitCode:
        """A finding where something is left that a person should look at."""
        left = self.believed.number or self.missing or (self.number and not self.removed)
        return ExitCode.FINDING if left else ExitCode.OK


def find_orphans(store: CheckoutStore, *, progress: Progress = silent) -> OrphanReport:
    """Look for them, and change nothing.

    Raises:
        RedisUnavailable, AccessDenied, DatabaseUnavailable: both are needed to tell.
    """
    return _Orphans(store, remove=False, progress=progress).run()


def remove_orphans(
    store: CheckoutStore,
    *,
    agreed: Callable[[OrphanReport], bool],
    owner: str | None = None,
    progress: Progress = silent,
) -> OrphanReport:
    """Remove them, if ``agreed``, which is shown what there is; each only if it is still what was seen.

    Raises:
        Locked: a clean-up runs now.
        RedisUnavailable, AccessDenied, DatabaseUnavailable: both are needed to tell.
    """
    found = find_orphans(store, progress=progress)
    if not found.number or not agreed(found):
        return found
    with job_lock(store, CLEANUP, owner or new_owner()):
        return _Orphans(store, remove=True, progress=progress).run()


class _Orphans:
    """One run over all session keys, and over the pending names."""

    def __init__(self, store: CheckoutStore, *, remove: bool, progress: Progress) -> None:
        self._store = store
        self._remove = remove
        self._progress = progress
        self._report = OrphanReport(remove, Found(), Found(), Found())
        self._done = 0

    def run(self) -> OrphanReport:
        """Both kinds."""
        self._store.database.ping()
        for page in self._store.index.session_ids():
            for start in range(0, len(page), BATCH):
                self._look_at_copies(page[start : start + BATCH])
        try:
            for page in self._store.flusher.pending.ids(BATCH):
                for start in range(0, len(page), BATCH):
                    self._look_at_names(page[start : start + BATCH])
        except RedisUnavailable:  # in a cluster, one server has all the names
            if not self._store.redis.missing_servers():
                raise
        self._report.missing = tuple(self._store.redis.missing_servers())
        return self._report

    def _step(self, looked_at: int) -> None:
        self._done += looked_at
        self._progress(self._done, self._done)

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
            elif not self._store.database.present([checkout_id]):  # it may have been created while we looked
                self._take_copy(checkout_id, look)
        self._step(len(checkout_ids))

    def _take_copy(self, checkout_id: str, look: Look) -> None:
        assert look.value is not None  # noqa: S101  (the caller has read it)
        if self._remove and not self._store.redis.discard(checkout_id, look.value):
            return
        self._report.copies.add([checkout_id])
        self._report.bytes += look.size

    def _look_at_names(self, names: Sequence[str]) -> None:
        for name, look in zip(names, self._store.redis.look(names), strict=True):
            if look.problem is not None or _may_wait(look):
                continue
            if self._remove:
                self._store.flusher.pending.forget(name, Opened(look.value, None, value=look.copy))
            self._report.names.add([name])
        self._step(len(names))


def _may_wait(look: Look) -> bool:
    """Whether there may be a write of ours that the database lacks, also where an external writer has touched it."""
    return look.copy is not None and (look.copy.is_dirty or look.copy.kind is Kind.UNREADABLE)
