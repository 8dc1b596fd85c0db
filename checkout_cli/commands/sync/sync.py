"""``sync``: bring each tier what it lacks of the other, and take in external writes.

Programs that use the store do this on the way, a few sessions at a time; this does all of it now. Each step is safe to
repeat and to run on several machines, so there is no lock: a version is published only over an older one, and a write
is flushed only if the flush log does not know it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from checkout_cli.errors import (
    AccessDenied,
    CheckoutError,
    DatabaseUnavailable,
    ExitCode,
    NotStorable,
    RedisUnavailable,
    SessionCorrupt,
    SlotMoving,
    TierUnavailable,
    WriteConflict,
)
from checkout_cli.jobs.bounded_run import BoundedRun, Ended, Step, Stopped
from checkout_cli.jobs.heartbeat import beat, remembered
from checkout_cli.store.backlog import MOST_COUNTED, PAGE, Backlog, Row, Waiting
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database_only import DatabaseOnly, database_only
from checkout_cli.store.lease import GRACE
from checkout_cli.store.protocol.publishing import Outcome
from checkout_cli.store.records import Record
from checkout_cli.store.redis.admin import FIRST_CURSOR
from checkout_cli.store.redis.opened import Look, Opened

MOST_NAMED = 20
"""Sessions that are named, of those that cannot be synced."""
JOB = "sync"
"""The name of what remembers where a run has stopped to look for external writes."""


T = TypeVar("T")


@dataclass(frozen=True)
class PendingCounts:
    """Sessions pending for Redis and dirty for the database, and conflicts.

    ``None`` where the tier that knows is unavailable; minimums where not ``exact``. ``redis_since`` and
    ``database_since`` (ms) are the oldest of each.
    """

    JSON_KEYS = "toRedis toDatabase conflicts oldestSince@=oldest"

    to_redis: int | None
    to_database: int | None
    conflicts: int | None
    exact: bool = True
    redis_since: int | None = None
    database_since: int | None = None

    @property
    def any(self) -> bool:
        return bool(self.to_redis or self.to_database or self.conflicts)

    @property
    def hint(self) -> str:
        """What brings it there; conflicts alone are for a person."""
        return "checkoutctl sync" if self.to_redis or self.to_database else "checkoutctl sync --conflicts"

    @property
    def oldest(self) -> int | None:
        """In milliseconds."""
        return min(filter(None, (self.redis_since, self.database_since)), default=None)


UNKNOWN = PendingCounts(None, None, None)


def pending_counts(store: CheckoutStore, *, redis: bool = True, database: bool = True) -> PendingCounts:
    """Count in a few questions, ``None`` for a tier that is not asked; rows of a moment ago do not count yet."""
    backlog = _backlog(store)
    now = store.clock.wall()
    conflicts = _known(store.flush_log.conflict_count) if database else None
    if not store.settings.enable_checkout_sessions:
        return PendingCounts(0, 0, conflicts)
    dirty, rows = _known(backlog.for_database) if redis else None, None
    if conflicts is not None:
        answers = dirty is not None
        rows = _known(lambda: backlog.for_redis(now, grace=GRACE, limit=MOST_COUNTED, redis_answers=answers))
    return PendingCounts(
        to_redis=None if rows is None else rows.number,
        to_database=None if dirty is None else dirty.number,
        conflicts=conflicts,
        exact=rows is None or rows.exact,
        redis_since=None if rows is None else rows.since,
        database_since=None if dirty is None else dirty.since,
    )


def _backlog(store: CheckoutStore) -> Backlog:
    return Backlog(store.redis, store.database, session_ttl=store.settings.session_ttl)


def _known(question: Callable[[], T]) -> T | None:
    try:
        return question()
    except CheckoutError:
        return None


# A run


@dataclass(frozen=True)
class Stuck:
    """A session that cannot be synced."""

    checkout_id: str
    reason: str


@dataclass
class SyncReport(Ended):
    """What was pending, and what became of it; numbers of sessions, moments in milliseconds.

    ``to_redis``, ``to_database`` and ``conflicts`` are what was found at first, ``None`` where a tier was unavailable.
    ``already``: Redis had it. ``not_needed``: Redis has no copy that could be old. ``external`` writes were taken in.
    ``database_only`` are sessions that Redis lacks, each of which its next read publishes.
    ``disputed`` went to the conflict log. ``lost``: gone from Redis, or overwritten there, before the database had it.
    ``stuck`` names some of the ``stuck_number``.
    """

    JSON_KEYS = (
        "dryRun pending{ toRedis=redis_waits toDatabase=database_waits conflicts } "
        "handedOver{ toRedis{ published already notNeeded expired } toDatabase{ flushed lost } "
        "externalWrites{ takenIn=external } conflicts=disputed } "
        "stuck{ count=stuck_number } databaseOnly=database_only.number finished unreachable"
    )

    now: int
    dry_run: bool = False
    to_redis: Waiting | None = None
    to_database: Waiting | None = None
    conflicts: int | None = None
    published: int = 0
    already: int = 0
    not_needed: int = 0
    expired: int = 0
    flushed: int = 0
    external: int = 0
    disputed: int = 0
    lost: int = 0
    database_only: DatabaseOnly = field(default_factory=DatabaseOnly)
    stuck: list[Stuck] = field(default_factory=list)
    stuck_number: int = 0
    unreachable: list[TierUnavailable] = field(default_factory=list)

    def redis_waits(self) -> dict[str, Any] | None:
        return _aged(self.to_redis, self.now)

    def database_waits(self) -> dict[str, Any] | None:
        return _aged(self.to_database, self.now)

    @property
    def synced(self) -> int:
        to_redis = self.published + self.already + self.not_needed + self.expired
        return to_redis + self.flushed + self.external + self.lost

    @property
    def exit_code(self) -> ExitCode:
        if self.stopped is Stopped.INTERRUPTED:
            return ExitCode.INTERRUPTED
        if self.unreachable and not self.synced:
            return ExitCode.UNAVAILABLE
        waiting = self.dry_run and any(side is not None and side.number for side in (self.to_redis, self.to_database))
        left = self.unreachable or self.stuck_number or not self.finished or waiting
        return ExitCode.FINDING if left or self.conflicts or self.disputed else ExitCode.OK

    @property
    def next_step(self) -> str:
        if self.unreachable:
            return self.unreachable[0].next_step
        if self.stuck_number:
            return "checkoutctl sessions list --tier redis --status unreadable"
        waiting = self.dry_run and (self.redis_waits() or self.database_waits())
        return "checkoutctl sync" if waiting or not self.finished else "checkoutctl sync --conflicts"


def _aged(side: Waiting | None, now: int) -> dict[str, Any] | None:
    if side is None:
        return None
    oldest = None if side.since is None else max(0, (now - side.since) // 1000)
    return {"count": side.number, "oldestSeconds": oldest, "exact": side.exact}


def synchronize(store: CheckoutStore, run: BoundedRun | None = None, *, dry_run: bool = False) -> SyncReport:
    """Sync dirty writes, pending rows, and external writes, which no list names; raises TierUnavailable."""
    return _Sync(store, run or BoundedRun(store.clock)).run(dry_run=dry_run)


class _Sync:
    def __init__(self, store: CheckoutStore, run: BoundedRun) -> None:
        self._store = store
        self._backlog = _backlog(store)
        self._run = run
        self._report = SyncReport(store.clock.wall())
        self._flushed: set[str] = set()
        self._stuck: set[str] = set()

    def run(self, *, dry_run: bool) -> SyncReport:
        report = self._report
        report.dry_run = dry_run
        self._look()
        if dry_run or report.unreachable:
            return report
        if self._store.settings.enable_checkout_sessions:
            self._cursor = remembered(self._store, JOB).cursor
            try:
                self._run.in_turn(self._flush, self._publish, self._sweep)  # the first two know which sessions
            except (RedisUnavailable, DatabaseUnavailable) as away:
                report.unreachable.append(away)
            report.end(self._run)
            done, finished = report.synced, report.finished and not report.unreachable
            beat(self._store, JOB, seconds=self._run.seconds, finished=finished, sessions=done, cursor=self._cursor)
        self._store.notes.write_down()
        report.database_only = self._left_out()
        return report

    def _left_out(self) -> DatabaseOnly:
        """What no sync brings to Redis, because no old copy there could be served."""
        store = self._store
        if not store.settings.enable_checkout_sessions or self._report.unreachable:
            return DatabaseOnly()
        try:
            return database_only(store.redis, store.database, store.index, store.clock.wall())
        except (TierUnavailable, AccessDenied):  # only a hint is lost
            return DatabaseOnly()

    def _look(self) -> None:
        report = self._report
        used = self._store.settings.enable_checkout_sessions
        try:
            report.to_database = self._backlog.for_database() if used else Waiting(0)
        except RedisUnavailable as away:
            report.unreachable.append(away)
        try:
            report.conflicts = self._store.flush_log.conflict_count()
            answers = not report.unreachable
            report.to_redis = self._backlog.for_redis(report.now, redis_answers=answers) if used else Waiting(0)
        except TierUnavailable as away:
            if report.unreachable:
                raise
            report.unreachable.append(away)
        self._run.expect(sum(side.number for side in (report.to_redis, report.to_database) if side is not None))

    def _cannot(self, checkout_id: str, reason: CheckoutError) -> None:
        if checkout_id in self._stuck:
            return
        self._stuck.add(checkout_id)
        self._report.stuck_number += 1
        if len(self._report.stuck) < MOST_NAMED:
            self._report.stuck.append(Stuck(checkout_id, str(reason)))

    # Redis → database

    def _flush(self, part: BoundedRun) -> None:
        for ids in part.pages(self._store.flusher.pending.ids(PAGE)):
            page = [checkout_id for checkout_id in dict.fromkeys(ids) if checkout_id not in self._flushed]
            self._flushed.update(page)
            for checkout_id, look in zip(page, self._store.redis.look(page), strict=True):
                self._bring(checkout_id, look, is_dirty=True)
        part.expect(self._report.flushed)  # what has just come to the database is news to Redis

    def _bring(self, checkout_id: str, look: Look, *, is_dirty: bool) -> None:
        flush = self._store.publisher.flush_seen if is_dirty else self._store.publisher.settle_seen
        try:
            flushed = flush(checkout_id, look)
        except (SessionCorrupt, SlotMoving, NotStorable) as error:
            self._cannot(checkout_id, error)
            return
        if flushed is not None:
            self._report.disputed += flushed.conflict
            self._report.external += flushed.external
            self._report.flushed += not flushed.external
        elif is_dirty and look.problem is None:
            self._report.lost += look.value is None or (look.copy is not None and look.copy.is_external)

    # External writers → database

    def _sweep(self, part: BoundedRun) -> None:
        def take_in(cursor: str) -> Step:
            names, following = self._store.index.session_ids_step(cursor)
            self._take_in_page(names)
            self._cursor = following or FIRST_CURSOR
            return Step(len(names), following)

        part.expect(self._store.index.number())
        part.through(take_in, cursor=self._cursor)
        if missing := self._store.redis.missing_servers():
            raise RedisUnavailable(f"no answer from {', '.join(missing)}: what only they have was not looked at")

    def _take_in_page(self, checkout_ids: Sequence[str]) -> None:
        suspects = self._store.redis.not_ours(checkout_ids)
        for checkout_id, look in zip(suspects, self._store.redis.look(suspects), strict=True):
            self._bring(checkout_id, look, is_dirty=False)

    # Database → Redis

    def _publish(self, part: BoundedRun) -> None:
        for page in part.pages(self._backlog.rows()):
            self._publish_page(page)
            self._store.notes.write_down()

    def _publish_page(self, page: Sequence[Row]) -> None:
        if self._store.lease.is_fenced:
            self._store.lease.renew()
        self._take_in_page([row.checkout_id for row in page])  # else the publish does, and nobody counts it
        # Before the rows are read: a later restart must void these publishes.
        identities = self._store.redis.identities([row.checkout_id for row in page])
        now = self._store.clock.wall()
        rows = self._store.database.read_many(list(identities))
        for record in self._as_long_as_redis_has_it(list(rows.values()), now):
            try:
                outcome = self._store.publisher.bring(record, Opened(None, identities[record.checkout_id]))
            except (SessionCorrupt, SlotMoving, NotStorable) as error:
                self._cannot(record.checkout_id, error)
            else:
                self._note(record, outcome, now)

    def _as_long_as_redis_has_it(self, rows: Sequence[Record], now: int) -> list[Record]:
        """A row that seems expired lives as long as its key: reads are noted late."""
        ended = [row.checkout_id for row in rows if row.expires_at <= now]
        ttls = dict(zip(ended, self._store.redis.remaining(ended), strict=True))
        ends = {name: now + ttl for name, ttl in ttls.items() if ttl > 0}
        return [msgspec.structs.replace(row, expires_at=ends.get(row.checkout_id, row.expires_at)) for row in rows]

    def _note(self, record: Record, outcome: Outcome, now: int) -> None:
        if not outcome.is_published:
            self._cannot(record.checkout_id, WriteConflict(f"others write it faster than it is published ({outcome})"))
        elif record.expires_at <= now:
            self._report.expired += 1
        elif outcome is Outcome.SET:
            self._report.published += 1
        elif outcome is Outcome.NEWER:
            self._report.already += 1
        else:
            self._report.not_needed += 1
