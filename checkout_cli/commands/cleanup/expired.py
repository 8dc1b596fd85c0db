"""``cleanup --expired``: remove expired sessions everywhere, in small steps.

Redis expires keys by itself; index entries and rows remain. Nothing is removed that lives anywhere: a row goes when its
key is gone too, an entry when no tier has the session. Sessions without an entry, and those that only an older
program's SET lists, are added on the way, some in each run (``sessions index repair`` checks all).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from checkout_cli.errors import DatabaseNotReady, DatabaseUnavailable, RedisUnavailable, WrongKeyType
from checkout_cli.jobs.bounded_run import BoundedRun, Ended, Step
from checkout_cli.jobs.clocks import WORTH_A_WORD, Clocks, agreed_clocks
from checkout_cli.jobs.heartbeat import beat, remembered
from checkout_cli.jobs.index_members import take_in
from checkout_cli.jobs.job_lock import CLEANUP
from checkout_cli.servers.per_server import Partial
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.admin import FIRST_CURSOR, UNKNOWN_TTL
from checkout_cli.store.redis.index import PAGE, Entry
from checkout_cli.store.redis.index_moves import IndexMoves

BATCH = 500
"""Sessions in one step: less than a millisecond of Redis' time."""
ROWS_PER_ENTRY = 16
"""A step of the database is so many times larger than one of the index: each costs it a commit."""

KEYS_IN_ONE_RUN = 20_000
"""Keys that one run looks at for sessions without an index entry; among a million, that spares it ten seconds."""
MEMBERS_IN_ONE_RUN = 20_000
"""Members of an older program's SET with which one run has nothing to do, before it leaves the rest to the next one."""
LARGEST_SCRIPT = 500
"""Entries that one script call settles: about one millisecond of Redis' time."""

Phase = Callable[[BoundedRun], None]
T = TypeVar("T")


@dataclass
class CleanupReport(Ended, Partial):
    """What a clean-up did, or with ``dry_run`` would do, in numbers of sessions and flush log entries.

    ``keys`` and ``members`` are where the next run continues; ``server`` is the Redis server whose index is known to
    have all rows. ``from_set`` were in an older program's SET alone. ``left`` are due, and may live on a server of the
    cluster that did not answer. ``clocks`` are those at hand, where they differ.
    """

    JSON_KEYS = (
        "dryRun removed{ index=removed_from_index database=removed_from_database memory=removed_from_memory tombstones "
        "flushLog } stillAlive enteredFromSet=from_set enteredIntoIndex withoutExpiry finished unreachable left "
        "partial missingServers=missing [clocks]"
    )

    dry_run: bool = False
    removed_from_index: int = 0
    removed_from_database: int = 0
    removed_from_memory: int = 0
    tombstones: int = 0
    flush_log: int = 0
    still_alive: int = 0
    from_set: int = 0
    entered_into_index: int = 0
    without_expiry: int = 0
    given_up: bool = False
    unreachable: list[str] = field(default_factory=list)
    keys: str = field(default=FIRST_CURSOR, compare=False)
    members: str = field(default=FIRST_CURSOR, compare=False)
    server: str = field(default="", compare=False)
    missing: tuple[str, ...] = ()
    left: int = 0
    clocks: Clocks | None = None

    @property
    def finished(self) -> bool:
        return super().finished and not self.given_up


def clean_up(
    store: CheckoutStore, run: BoundedRun | None = None, *, dry_run: bool = False, batch: int = BATCH
) -> CleanupReport:
    """Remove expired sessions everywhere.

    Raises Locked, AccessDenied, WrongClock, or TierUnavailable if neither tier answers.
    """
    run = run or BoundedRun(store.clock)
    if dry_run:
        return _CleanUp(store, run, batch).preview()
    with run.locked(store, CLEANUP):
        report = _CleanUp(store, run, batch).run()
    if not report.unreachable:
        removed = report.removed_from_index
        place = {"cursor": report.keys, "members": report.members, "server": report.server}
        beat(store, CLEANUP, seconds=run.seconds, finished=report.finished, sessions=removed, **place)
    return report


class _CleanUp:
    def __init__(self, store: CheckoutStore, run: BoundedRun, batch: int) -> None:
        self._store = store
        self._run = run
        self._batch = batch
        self._report = CleanupReport()
        self._redis_away = not store.settings.enable_checkout_sessions  # then it is none of our business
        self._database_away = self._rows_unknown = self._index_broken = False
        self._left = 0
        clocks = agreed_clocks(store)
        self._earliest, self._margin, self._began = clocks.earliest, clocks.margin, store.clock.elapsed()
        if clocks.difference > WORTH_A_WORD:
            self._report.clocks = clocks
        self._alive: set[str] = set()
        self._unjudged: set[str] = set()

    def run(self) -> CleanupReport:
        """Each phase works without the other tier; both unavailable is an error."""
        self._report.removed_from_memory = self._store.memory.purge(self._now())
        return self._do(
            self._in_redis(self._resume),
            self._in_database(self._clean_database),
            self._in_redis(self._clean_index),
            self._in_redis(self._take_members_in),
            self._in_redis(self._enter_unlisted),
        )

    def preview(self) -> CleanupReport:
        self._report.dry_run = True
        return self._do(self._in_database(self._preview_database), self._in_redis(self._preview_index))

    def _now(self) -> int:
        """The moment (ms) that every clock has reached; one that is set meanwhile changes nothing."""
        return self._earliest + int((self._store.clock.elapsed() - self._began) * 1000)

    def _ended(self) -> int:
        """What ended before this moment (ms) has surely ended."""
        return self._now() - self._margin

    def _do(self, *phases: Phase) -> CleanupReport:
        self._run.in_turn(*phases)
        self._report.end(self._run)
        self._report.still_alive = len(self._alive)
        if self._store.settings.enable_checkout_sessions:
            self._report.left = len(self._unjudged)
            self._report.missing = tuple(self._store.redis.missing_servers())
        return self._report

    def _in_redis(self, phase: Phase) -> Phase:
        def run(part: BoundedRun) -> None:
            if self._redis_away or self._index_broken:
                return
            try:
                phase(part)
            except RedisUnavailable as away:
                self._redis_away = True
                self._give_up_or_note(away)
            except WrongKeyType as broken:
                self._index_broken = True
                self._report.unreachable.append(str(broken))

        return run

    def _in_database(self, phase: Phase) -> Phase:
        def run(part: BoundedRun) -> None:
            if self._database_away:
                return
            try:
                phase(part)
            except DatabaseUnavailable as away:
                self._without_database(away)
            except RedisUnavailable as away:
                self._redis_away = True  # in the middle: what is alive, and who has the lock, is not known any more
                self._report.given_up = True
                self._give_up_or_note(away)

        return run

    def _without_database(self, away: DatabaseUnavailable) -> None:
        self._database_away = True
        self._rows_unknown = not isinstance(away, DatabaseNotReady)  # where it was never set up, there are none
        self._give_up_or_note(away)

    def _give_up_or_note(self, away: RedisUnavailable | DatabaseUnavailable) -> None:
        if self._redis_away and self._database_away:
            raise away
        if str(away) not in self._report.unreachable:
            self._report.unreachable.append(str(away))

    def _all_due(self, due: Callable[..., list[T]]) -> Iterator[list[T]]:
        """A page that others change meanwhile is left to the next run."""
        self._left, previous = 0, list[T]()
        while (page := due(offset=self._left)) and page != previous:
            previous = page
            yield page

    # The index

    def _resume(self, part: BoundedRun) -> None:
        """Continue where the last run stopped, and finish an interrupted adoption."""
        self._last = remembered(self._store, CLEANUP)
        self._report.keys, self._report.members = self._last.cursor, self._last.members
        moves = IndexMoves(self._store.redis, self._store.index)
        for moved in part.pages(moves.finish(self._now()), lambda _: 0):
            self._report.from_set += moved

    def _take_members_in(self, part: BoundedRun) -> None:
        """Continues where the last run stopped, until MEMBERS_IN_ONE_RUN needed nothing."""
        idle = 0

        def take_page(cursor: str) -> Step:
            nonlocal idle
            page = self._store.index.member_page(cursor)
            done = take_in(self._store, page.lacking, self._ended())
            self._report.from_set += done.entered
            self._report.removed_from_index += done.removed
            idle += page.number - done.entered - done.removed
            self._report.members = page.cursor or FIRST_CURSOR
            return Step(page.number, page.cursor if idle < MEMBERS_IN_ONE_RUN else None)

        part.through(take_page, cursor=self._report.members)

    def _clean_index(self, part: BoundedRun) -> None:
        ended = self._ended()
        part.expect(self._store.index.count_due(ended))
        for entries in part.pages(self._all_due(partial(self._store.index.due, ended, limit=self._batch))):
            dead, living, unjudged = self._judge(entries)
            self._report.removed_from_index += self._store.index.remove_expired(dead, living)
            self._left += unjudged

    def _judge(self, entries: Sequence[Entry]) -> tuple[list[Entry], list[tuple[Entry, int]], int]:
        """Entries dead in every tier, living ones with their end (ms), and the number of unknown ones."""
        ttls = self._store.redis.remaining([entry.checkout_id for entry in entries])
        gone = [entry.checkout_id for entry, ttl in zip(entries, ttls, strict=True) if ttl == -2]
        rows, now = self._living_rows(gone), self._now()
        dead: list[Entry] = []
        living: list[tuple[Entry, int]] = []
        for entry, ttl in zip(entries, ttls, strict=True):
            if ttl == UNKNOWN_TTL:
                self._unjudged.add(entry.checkout_id)
                continue
            if ttl >= 0:
                living.append((entry, now + ttl))
            elif ttl == -1:
                self._report.without_expiry += 1
                living.append((entry, now + int(self._store.settings.session_ttl * 1000)))
            elif entry.checkout_id in rows:
                living.append((entry, rows[entry.checkout_id]))
            elif not self._rows_unknown:
                dead.append(entry)
        self._alive.update(entry.checkout_id for entry, _ in living)
        return dead, living, ttls.count(UNKNOWN_TTL)

    def _living_rows(self, checkout_ids: Sequence[str]) -> dict[str, int]:
        try:
            return {} if self._database_away else self._store.database.expiries(checkout_ids, self._ended())
        except DatabaseUnavailable as away:
            self._without_database(away)
            return {}

    # The database

    def _clean_database(self, part: BoundedRun) -> None:
        cutoff, rows = self._database_cutoff(), self._batch * ROWS_PER_ENTRY
        part.expect(self._store.database.count_due(cutoff))
        for due in part.pages(self._all_due(partial(self._store.database.due, cutoff, rows))):
            alive, unjudged = self._alive_in_redis(due)
            self._store.database.touch(alive)
            self._alive.update(alive)
            judged = [name for name in due if name not in unjudged] if unjudged else due
            self._report.removed_from_database += self._store.database.purge(judged, cutoff)
            # Of those whose server is unavailable, the ones that have ended even if a late read was not noted.
            removed = self._store.database.purge(sorted(unjudged), cutoff - self._noted_late()) if unjudged else 0
            self._report.removed_from_database += removed
            self._left += len(unjudged) - removed
            self._remove_entries([Entry(name, cutoff) for name in judged if name not in alive])
        retention = cutoff - int(self._store.settings.session_max_age * 1000)
        for removed in part.pages(iter(lambda: self._store.database.purge_tombstones(retention, rows), 0), int):
            self._report.tombstones += removed
        for removed in part.pages(iter(lambda: self._store.flush_log.purge(retention, rows), 0), int):
            self._report.flush_log += removed

    def _remove_entries(self, dead: Sequence[Entry]) -> None:
        """Spares the index' own phase a second look at each."""
        if self._redis_away or self._index_broken:
            return
        for start in range(0, len(dead), LARGEST_SCRIPT):
            part = dead[start : start + LARGEST_SCRIPT]
            self._report.removed_from_index += self._store.index.remove_expired(part, [])

    def _database_cutoff(self) -> int:
        ended = self._ended()
        return ended - self._noted_late() if self._redis_away else ended

    def _noted_late(self) -> int:
        """How much longer (ms) a session may live than its row says, where Redis cannot tell."""
        return int(self._store.settings.session_ttl * 100)  # reads are noted up to a tenth of the TTL late

    def _alive_in_redis(self, checkout_ids: Sequence[str]) -> tuple[dict[str, int], set[str]]:
        """Living keys with their end (ms), and ids whose server is unavailable."""
        if self._redis_away:
            return {}, set()
        now, endless = self._now(), int(self._store.settings.session_ttl * 1000)
        ttls = dict(zip(checkout_ids, self._store.redis.remaining(checkout_ids), strict=True))
        unjudged = {name for name, ttl in ttls.items() if ttl == UNKNOWN_TTL}
        self._unjudged |= unjudged
        return {name: now + (ttl if ttl >= 0 else endless) for name, ttl in ttls.items() if ttl >= -1}, unjudged

    # Repair

    def _enter_unlisted(self, part: BoundedRun) -> None:
        """Other programs write sessions without an entry, and a Redis that restarted empty lost all entries."""
        identity, listed = self._store.index.size()
        server = (identity or b"").decode()
        known = bool(listed and server and self._last.server == server)
        self._enter_keys(part, self._report.keys if listed else FIRST_CURSOR, KEYS_IN_ONE_RUN if listed else None)
        if not known and not self._database_away:  # this server may have been restarted with less than it had
            for rows in part.pages(self._store.database.living_ids(self._now()), lambda _: 0):
                entries = [Entry(name, rows[name]) for name in self._store.index.missing(list(rows))]
                self._report.entered_into_index += self._store.index.add(entries)
            known = True
        self._report.server = server if known else ""

    def _enter_keys(self, part: BoundedRun, begin: str, most: int | None) -> None:
        now, looked_at = self._now(), 0

        def enter_page(cursor: str) -> Step:
            nonlocal looked_at
            names, following = self._store.index.session_ids_step(cursor)
            entries = [Entry(name, now) for name in self._store.index.missing(names)]
            self._report.entered_into_index += self._store.index.add(entries)
            looked_at += PAGE
            self._report.keys = following or FIRST_CURSOR
            return Step(0, following if most is None or looked_at < most else None)

        part.through(enter_page, cursor=begin)

    # Preview

    def _preview_index(self, part: BoundedRun) -> None:
        layout, ended = self._store.index.layout(), self._ended()
        part.expect(self._store.index.count_due(ended))
        for entries in part.pages(self._store.index.all_due(ended, self._batch)):
            self._report.removed_from_index += len(self._judge(entries)[0])
        for _, lacking in part.pages(self._store.index.unlisted(layout), lambda page: page[0]):
            dead, _, _ = self._judge([Entry(name, ended) for name in lacking])
            self._report.removed_from_index += len(dead)

    def _preview_database(self, part: BoundedRun) -> None:
        cutoff = self._database_cutoff()
        part.expect(self._store.database.count_due(cutoff))
        for due in part.pages(self._store.database.all_due(cutoff, self._batch)):
            self._report.removed_from_database += len(due) - sum(map(len, self._alive_in_redis(due)))
        retention = int(self._store.settings.session_max_age * 1000)
        self._report.tombstones += self._store.database.count_tombstones(cutoff - retention)
        self._report.flush_log += self._store.flush_log.count(cutoff - retention)
