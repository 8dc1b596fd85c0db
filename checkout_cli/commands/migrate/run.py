"""``migrate run``: publish the database's sessions to Redis, while the shop goes on.

Each session goes through the store's own protocol: a missing key is claimed before its row is read, a copy goes only to
the server that was asked before, and a newer version is never overwritten. So a page can be repeated, and the
checkpoint is written after each. Sessions created meanwhile go to Redis by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import msgspec

from checkout_cli.commands.migrate.checkpoint import (
    DIRECTION,
    Checkpoint,
    CheckpointFile,
    Counts,
    identities_of,
    place_of,
    refuse_foreign,
    source_of,
)
from checkout_cli.errors import ConfigurationError, ExitCode, RedisUnavailable, TierUnavailable, WrongKeyType
from checkout_cli.jobs.bounded_run import BoundedRun, Step, Stopped
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.publishing import Outcome
from checkout_cli.store.records import Problem, Record
from checkout_cli.store.redis.index import Entry
from checkout_cli.store.redis.opened import Look, Opened

JOB = "migrate"
PAGE = 100
"""Sessions in one step: about a millisecond of Redis' time, and of their largest values 25 MB here."""
RATE = 2000
"""Sessions a second by default."""
ATTEMPTS = 3
"""How often a session is tried that the shop takes out of our hands."""

T = TypeVar("T")


class State(StrEnum):
    """What Redis has of a living row."""

    CURRENT = "current"
    OLDER = "older"
    UNTRUSTED = "untrusted"
    """The same version, stamped for an earlier run of the server."""
    MISSING = "missing"
    DIRTY = "dirty"
    EXTERNAL = "external"


@dataclass
class MigrationReport:
    """How a run ended; ``unreachable`` is the tier that became unavailable."""

    JSON_KEYS = "*checkpoint resumed durationMs=seconds:0 unreachable"

    checkpoint: Checkpoint
    resumed: bool = False
    from_start_again: bool = False
    unreachable: TierUnavailable | None = None
    stopped: Stopped = Stopped.END
    seconds: float = 0.0

    @property
    def finished(self) -> bool:
        return self.checkpoint.finished

    @property
    def exit_code(self) -> ExitCode:
        """130 after Ctrl-C, 69 for an unavailable tier, 75 for a lost lock, 1 where sessions are left."""
        if self.stopped is Stopped.INTERRUPTED:
            return ExitCode.INTERRUPTED
        if self.unreachable is not None:
            return ExitCode.UNAVAILABLE
        if self.stopped is Stopped.LOCK_LOST:
            return ExitCode.TRY_AGAIN
        counts = self.checkpoint.counts
        left = counts.dirty or counts.external or counts.left or not self.finished
        return ExitCode.FINDING if left else ExitCode.OK

    @property
    def next_step(self) -> str:
        counts = self.checkpoint.counts
        if self.unreachable is not None:
            return self.unreachable.next_step
        return "checkoutctl sync" if counts.dirty or counts.external else "checkoutctl migrate run"


def state_of(row: Record, look: Look, identity: bytes | None) -> State:
    """Raises RedisUnavailable where its server did not answer."""
    if look.problem is Problem.UNREACHABLE:
        raise RedisUnavailable(look.detail)
    copy = look.copy
    if look.problem is not None or (copy is not None and copy.is_external):
        return State.EXTERNAL
    if copy is None:
        return State.MISSING
    if copy.is_dirty:
        return State.DIRTY
    if copy.version < row.version:
        return State.OLDER
    return State.CURRENT if copy.version > row.version or copy.identity == identity else State.UNTRUSTED


def need_redis(store: CheckoutStore) -> None:
    """Raises ConfigurationError where Redis is switched off for sessions."""
    if not store.settings.enable_checkout_sessions:
        raise ConfigurationError("sessions are not kept in Redis: REDIS_ENABLE_CHECKOUT_SESSIONS is off")


def migrate(
    store: CheckoutStore, file: CheckpointFile, run: BoundedRun | None = None, *, restart: bool = False
) -> MigrationReport:
    """Publish every living row that Redis lacks; continues an interrupted run. Raises InvalidInput, Locked."""
    need_redis(store)
    run = run or BoundedRun(store.clock, rate=RATE)

    def publish_page(last: str, counts: Counts) -> Step:
        rows = store.database.living_after(last, store.clock.wall(), PAGE)
        if not rows:
            return Step(0, None)
        in_attempts(rows, counts, lambda left: publish(store, left, counts))
        return Step(len(rows), rows[-1].checkout_id)

    with run.locked(store, JOB):
        target, server = place_of(store.settings), ",".join(identities_of(store.redis))
        now = store.clock.wall()
        fresh = Checkpoint(source_of(store), target, server, DIRECTION, now, now, store.database.count(now))
        return move(store, file, run, begun(fresh, file, restart=restart), publish_page)


def begun(fresh: Checkpoint, file: CheckpointFile, *, restart: bool) -> MigrationReport:
    """The checkpoint's report, or a ``fresh`` one; raises InvalidInput for another migration's checkpoint."""
    found = None if restart else file.read()
    if found is None or found.finished:
        return MigrationReport(fresh)
    refuse_foreign(found, fresh)
    if found.server != fresh.server:  # what it had may be lost, and no copy in it is trusted
        return MigrationReport(fresh, from_start_again=True)
    return MigrationReport(found, resumed=True)


def move(
    store: CheckoutStore,
    file: CheckpointFile,
    run: BoundedRun,
    report: MigrationReport,
    move_page: Callable[[str, Counts], Step],
) -> MigrationReport:
    """Move all pages after the checkpoint; a page that ``move_page`` leaves with TierUnavailable is repeated."""
    checkpoint = report.checkpoint

    def step(last: str) -> Step:
        counts = msgspec.structs.replace(checkpoint.counts)
        step = move_page(last, counts)
        checkpoint.counts, checkpoint.finished = counts, step.following is None
        checkpoint.last = step.following or last
        checkpoint.updated_at = store.clock.wall()
        file.write(checkpoint)
        return step

    file.write(checkpoint)
    run.expect(checkpoint.total, done=checkpoint.counts.done)
    try:
        with run.bounds():
            run.through(step, cursor=checkpoint.last)
    except TierUnavailable as away:
        report.unreachable = away
    store.notes.write_down()
    report.stopped, report.seconds = run.stopped, run.seconds
    return report


def in_attempts(page: list[T], counts: Counts, attempt: Callable[[list[T]], list[T]]) -> None:
    """Do a page; ``attempt`` returns the sessions that the shop wrote meanwhile."""
    for _ in range(ATTEMPTS):
        page = attempt(page)
        if not page:
            return
    counts.left += len(page)


def publish(store: CheckoutStore, rows: Sequence[Record], counts: Counts) -> list[Record]:
    """Bring Redis up to date with a page; returns the rows that the shop is writing itself."""
    if store.lease.is_fenced:
        store.lease.renew()
    names = [row.checkout_id for row in rows]
    identities = store.redis.identities(names)  # before the rows are read: a later restart must void these copies
    if len(identities) < len(names):
        raise RedisUnavailable("a server of the cluster does not answer")
    looks = dict(zip(names, store.redis.look(names), strict=True))
    states = {row.checkout_id: state_of(row, looks[row.checkout_id], identities[row.checkout_id]) for row in rows}
    counts.dirty += sum(state is State.DIRTY for state in states.values())
    counts.external += sum(state is State.EXTERNAL for state in states.values())
    current = [row for row in rows if states[row.checkout_id] is State.CURRENT]
    with suppress(WrongKeyType):  # an older program's SET: a clean-up adopts it
        store.index.add([Entry(row.checkout_id, row.expires_at) for row in current])
    counts.current += len(current)
    claims = store.redis.claim_all([name for name in names if states[name] is State.MISSING])
    stale = {
        name: Opened(looks[name].value, identities[name], value=looks[name].copy)
        for name in names
        if states[name] in {State.OLDER, State.UNTRUSTED}
    }
    ours = {name: opened for name, opened in claims.items() if opened.token}
    taken = [row for row in rows if row.checkout_id in claims and row.checkout_id not in ours]
    return taken + _publish_claimed(store, {row.checkout_id: row for row in rows}, ours | stale, looks, counts)


def _publish_claimed(
    store: CheckoutStore, seen: dict[str, Record], opened: dict[str, Opened], looks: dict[str, Look], counts: Counts
) -> list[Record]:
    """Publish rows as they are after the claim; returns those to try again."""
    now = store.clock.wall()
    rows = store.database.read_many(list(opened)) if opened else {}
    some: list[tuple[Record, Opened]] = []
    for name, way in opened.items():
        row = rows.get(name)
        if row is None or (row.body is not None and row.expires_at <= now) or (row.body is None and way.token):
            counts.ended += 1
            if way.token:
                store.redis.release(name, way)
            continue
        ends_at = max(row.expires_at, now + (looks[name].ttl or 0))  # reads are noted in the database late
        some.append((msgspec.structs.replace(row, expires_at=ends_at), way))
    again = []
    for (record, way), outcome in zip(some, store.publisher.publish_all(some), strict=True):
        if record.body is None:
            counts.ended += 1
        elif outcome is Outcome.SET and way.token:
            counts.published += 1
        elif outcome is Outcome.SET:
            counts.updated += 1
        elif outcome is Outcome.NEWER:
            counts.current += 1
        elif outcome is Outcome.DIRTY:
            counts.dirty += 1
        elif outcome is Outcome.EXTERNAL:
            counts.external += 1
        else:
            again.append(seen[record.checkout_id])
    return again
