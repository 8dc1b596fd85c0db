"""``sessions index check`` and ``repair``: the index against the keys, both ways.

Every fault is checked twice before it is reported or repaired, because sessions come and go; Redis refuses a repair of
a session that was written since. No session's content is read or changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from checkout_cli.errors import AccessDenied, CheckoutError, DatabaseUnavailable, RedisUnavailable, WrongKeyType
from checkout_cli.jobs.bounded_run import BoundedRun, Ended, Step, Stopped
from checkout_cli.jobs.clocks import agreed_clocks, compared
from checkout_cli.jobs.cursors import checked_cursor
from checkout_cli.jobs.heartbeat import beat, remembered
from checkout_cli.jobs.job_lock import CLEANUP
from checkout_cli.keys import INDEX, session_key
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database_only import PUBLISH, DatabaseOnly, database_only
from checkout_cli.store.redis.admin import FIRST_CURSOR
from checkout_cli.store.redis.commands import encoded
from checkout_cli.store.redis.index import Entry
from checkout_cli.store.redis.index_moves import IndexMoves
from checkout_cli.store.redis.index_place import Place
from checkout_cli.typed import typed

EXAMPLES = 10
"""Sessions that are named of each kind."""
TOLERANCE = 1000
"""Milliseconds by which an entry may be later than the end of its key."""

UNREADABLE = "checkoutctl sessions list --tier redis --status unreadable"
_NO_MOMENT = float("inf")

JOB = "index"
"""The name of what remembers where a repair has stopped; its lock is that of the clean-up."""
PHASES = 3


@dataclass
class Found:
    JSON_KEYS = "count=number examples"

    number: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, checkout_ids: Iterable[str]) -> None:
        for checkout_id in checkout_ids:
            self.number += 1
            if len(self.examples) < EXAMPLES:
                self.examples.append(checkout_id)


@dataclass
class IndexReport(Ended):
    """What was found, and with ``repaired`` what was repaired.

    ``missing``: sessions without an entry. ``dangling``: entries without a session, of which ``due`` have expired
    normally. ``late``: entries later than the key's end. ``endless``: keys without TTL. ``wrong_type``: keys that hold
    no string. ``unknown``: entries that an unavailable tier would have to judge.

    ``members`` is the size of an older program's SET; ``unlisted`` are in it alone (listed and counted all the same),
    ``unfilled`` are missing in it. ``unfinished`` entries were left by an interrupted adoption. ``resumed``: keys
    before the cursor are not counted.
    """

    JSON_KEYS = (
        "repaired sound=is_sound place kind keys entries missing "
        "dangling{ count=dangling.number examples=dangling.examples due } late "
        "endless{ count=endless.number examples=endless.examples fixed=endowed } wrongType "
        "set{ members unlisted unfilled } databaseOnly{ count=database_only.number exact=database_only.exact "
        "lost=database_only.is_loss } unfinished unknown finished nextCursor=cursor resumed partial"
    )

    place: Place = Place.OWN
    kind: str = "none"
    repaired: bool = False
    keys: int = 0
    entries: int = 0
    missing: Found = field(default_factory=Found)
    dangling: Found = field(default_factory=Found)
    due: int = 0
    late: Found = field(default_factory=Found)
    endless: Found = field(default_factory=Found)
    wrong_type: Found = field(default_factory=Found)
    members: int = 0
    unlisted: Found = field(default_factory=Found)
    unfilled: Found = field(default_factory=Found)
    unfinished: int = 0
    unknown: int = 0
    database_only: DatabaseOnly = field(default_factory=DatabaseOnly)
    endowed: int = 0
    resumed: bool = False
    away: list[str] = field(default_factory=list)

    @property
    def partial(self) -> bool:
        return bool(self.away)

    @property
    def is_sound(self) -> bool:
        """Expired entries are no fault: they are left to the clean-up."""
        return not (self.has_faults or self.wrong_type.number or self.database_only.is_loss)

    @property
    def has_faults(self) -> bool:
        """Whether there is anything that a repair mends."""
        faults = (self.missing, self.late, self.endless, self.unfilled)
        early = self.dangling.number - self.due
        return bool(any(found.number for found in faults) or early or self.unfinished)

    @property
    def has_finding(self) -> bool:
        left: object = not self.is_sound
        if self.repaired:
            left = self.wrong_type.number or self.endless.number > self.endowed or self.database_only.is_loss
        return bool(left or self.away or not self.finished)

    @property
    def next_step(self) -> str:
        if self.away:
            return "checkoutctl doctor"
        if self.database_only.is_loss:
            return PUBLISH
        repair = f"checkoutctl sessions index repair{' --fix-ttl' if self.endless.number > self.endowed else ''}"
        if self.wrong_type.number:  # which a repair leaves alone
            return repair if self.has_faults and not self.repaired else UNREADABLE
        if not self.finished and not self.repaired and self.is_sound:
            return typed("checkoutctl sessions index check --cursor {}", self.cursor or FIRST_CURSOR)
        return repair


def check_index(store: CheckoutStore, run: BoundedRun | None = None, *, cursor: str = FIRST_CURSOR) -> IndexReport:
    """Compare, and change nothing; raises RedisUnavailable, and WrongKeyType where there is no place for an index."""
    return _Check(store, run or BoundedRun(store.clock)).run(checked_cursor(cursor, PHASES))


def repair_index(
    store: CheckoutStore,
    run: BoundedRun | None = None,
    *,
    agreed: Callable[[IndexReport], bool] | None = None,
    fix_ttl: bool = False,
) -> IndexReport:
    """Add missing entries, remove dangling ones, bring late ones forward; finish an interrupted adoption.

    An older program's SET stays, and gets what it lacks. ``fix_ttl`` gives endless sessions the full TTL. With
    ``agreed``, the index is checked first, and repaired only if something is wrong and ``agreed``. Continues where the
    last repair stopped.

    Raises Locked while a clean-up or repair runs, RedisUnavailable, AccessDenied, WrongKeyType, WrongClock.
    """
    run, begin = run or BoundedRun(store.clock), remembered(store, JOB, PHASES).cursor
    report = None
    if agreed is not None:
        report = _Check(store, run.share(2)).run(begin)
        run.stopped = report.stopped
        if run.stopped is Stopped.INTERRUPTED or not (report.is_sound or run.untimed(agreed, report)):
            return report
    if report is None or not report.is_sound:
        with run.locked(store, CLEANUP):
            report = _Check(store, run, repair=True, fix_ttl=fix_ttl).run(begin)
    cursor = report.cursor or FIRST_CURSOR
    beat(store, JOB, seconds=run.seconds, finished=report.finished, sessions=report.keys, cursor=cursor)
    return report


class _Check:
    def __init__(self, store: CheckoutStore, run: BoundedRun, *, repair: bool = False, fix_ttl: bool = False) -> None:
        self._store = store
        self._redis = store.redis
        self._index = store.index
        self._run = run
        self._fix_ttl = fix_ttl
        self._full_life = int(store.settings.session_ttl * 1000)
        self._report = IndexReport(repaired=repair)
        clocks = agreed_clocks(store) if repair else compared(store)
        self._ended = clocks.earliest - clocks.margin

    def run(self, cursor: str) -> IndexReport:
        report, run = self._report, self._run
        layout = self._index.layout()
        report.place, report.kind, report.resumed = layout.place, layout.kind, cursor != FIRST_CURSOR
        sizes = self._index.sizes(layout)
        entries, report.members = sizes.pop(layout.key), sizes.pop(INDEX, 0)
        report.unfinished = sum(sizes.values())  # what an interrupted move has left
        run.expect(2 * entries + report.members)
        with run.bounds():
            run.cursor = cursor
            if report.repaired:
                for _ in run.pages(IndexMoves(self._redis, self._index).finish(self._redis.time()), lambda _: 0):
                    pass
            run.through(self._look_at_keys, self._look_at_entries, self._look_at_members, cursor=cursor)
        report.end(run)
        report.database_only = self._lost()
        report.away += [f"no answer from {place}" for place in self._redis.missing_servers()]
        return report

    def _lost(self) -> DatabaseOnly:
        """An index and keys that agree are not sound where both have been emptied."""
        store = self._store
        try:
            return database_only(store.redis, store.database, self._index, store.clock.wall())
        except (DatabaseUnavailable, AccessDenied):  # without the database nothing can be missed
            return DatabaseOnly()

    # Keys without an entry, without an end, with an entry that is late

    def _look_at_keys(self, cursor: str) -> Step:
        checkout_ids, following = self._index.session_ids_step(cursor)
        now = self._redis.time()
        ttls = self._lifetimes(checkout_ids)
        present = [name for name in checkout_ids if ttls.get(name, -2) != -2]
        listed = self._listed(present)
        self._report.keys += len(present)
        unlisted = [name for name in present if name not in listed]
        endless = [name for name in present if ttls[name] == -1]
        sizes = self._sizes(list(dict.fromkeys([*unlisted, *endless])))
        missing = self._index.missing([name for name in unlisted if name in sizes])
        only_in_set = [name for name in present if listed.get(name) == _NO_MOMENT]
        endless = [name for name in endless if name in sizes]
        late = [
            Entry(name, now + ttls[name])
            for name in present
            if ttls[name] >= 0 and now + ttls[name] + TOLERANCE < listed.get(name, 0) < _NO_MOMENT
        ]
        self._report.missing.add(missing)
        self._report.unlisted.add(only_in_set)
        self._report.endless.add(endless)
        self._report.late.add(entry.checkout_id for entry in late)
        if self._report.repaired:
            if self._fix_ttl:
                self._report.endowed += sum(self._redis.set_missing_ttl(name, self._full_life) for name in endless)
            lives = ((name, ttls[name]) for name in [*missing, *only_in_set])
            self._index.add([Entry(name, now + (ttl if ttl >= 0 else self._full_life)) for name, ttl in lives])
            self._index.bring_forward(late)
        return Step(len(checkout_ids), following)

    def _lifetimes(self, checkout_ids: Sequence[str]) -> dict[str, int]:
        """Each key's TTL (ms; -1: no end, -2: gone), without those of an unavailable server."""
        replies = self._redis.ttls(_keys(checkout_ids))
        return {name: ttl for name, ttl in zip(checkout_ids, replies, strict=True) if isinstance(_sure(ttl), int)}

    def _listed(self, checkout_ids: Sequence[str]) -> dict[str, float]:
        """Each listed id's moment (ms); infinite where only an older program's SET has it."""
        scores = dict(zip(checkout_ids, self._index.scores(checkout_ids), strict=True))
        unlisted = [name for name, score in scores.items() if score is None]
        elsewhere = set(unlisted) - set(self._index.missing(unlisted))
        return {
            name: _NO_MOMENT if score is None else score
            for name, score in scores.items()
            if score is not None or name in elsewhere
        }

    def _sizes(self, checkout_ids: Sequence[str]) -> dict[str, int]:
        """Sizes in bytes of those that are strings; the others are reported."""
        if not checkout_ids:
            return {}
        sizes = dict(zip(checkout_ids, self._redis.lengths(_keys(checkout_ids)), strict=True))
        for name, size in sizes.items():
            if isinstance(size, WrongKeyType):
                self._report.wrong_type.add([name])
            else:
                _sure(size)
        return {name: size for name, size in sizes.items() if isinstance(size, int) and size}

    # Entries without a session

    def _look_at_entries(self, cursor: str) -> Step:
        entries, following = self._index.entries_step(cursor)
        self._report.entries += len(entries)
        dangling = self._really_dangling(entries)
        now = self._redis.time()
        self._report.dangling.add(entry.checkout_id for entry in dangling)
        self._report.due += sum(entry.score <= now for entry in dangling)
        self._look_for_members(entries)
        if self._report.repaired and dangling:
            self._index.remove_entries(dangling)
            ttls = self._lifetimes([entry.checkout_id for entry in dangling])
            # An external writer, which does not know of the index, may have written one in this very moment.
            self._index.add([entry for entry in dangling if ttls.get(entry.checkout_id, -2) != -2])
        return Step(len(entries), following)

    def _look_for_members(self, entries: Sequence[Entry]) -> None:
        names = [entry.checkout_id for entry in entries]
        if self._report.kind != "set" or not (lacking := self._index.not_in_set(names)):
            return
        ttls = self._lifetimes(lacking)
        lacking = self._index.not_in_set([name for name in lacking if ttls.get(name, -2) != -2])  # it may come by now
        self._report.unfilled.add(lacking)
        if self._report.repaired:
            self._index.fill_set(lacking)

    def _look_at_members(self, cursor: str) -> Step:
        """Members of the SET without a session: an older program leaks them."""
        page = self._index.member_page(cursor)
        nowhere = self._nowhere(page.lacking)
        gone = [name for name in page.lacking if name in nowhere]
        dangling = [name for name, score in zip(gone, self._index.scores(gone), strict=True) if score is None]
        self._report.dangling.add(dangling)
        self._report.due += len(dangling)
        if self._report.repaired:
            self._index.remove_expired([Entry(name, 0) for name in dangling], [])
        return Step(page.number, page.cursor)

    def _really_dangling(self, entries: Sequence[Entry]) -> list[Entry]:
        if not entries:
            return []
        names = [entry.checkout_id for entry in entries]
        if self._redis.are_all_there(_keys(names)):
            return []  # the usual case, told by one command
        nowhere = self._nowhere(names)
        gone = [entry for entry in entries if entry.checkout_id in nowhere]
        scores = self._index.scores([entry.checkout_id for entry in gone])
        return [entry for entry, score in zip(gone, scores, strict=True) if score == entry.score]

    def _nowhere(self, names: Sequence[str]) -> set[str]:
        ttls = self._lifetimes(names)
        self._report.unknown += len(names) - len(ttls)
        gone = [name for name in names if ttls.get(name) == -2]
        try:
            return set(gone) - set(self._store.database.expiries(gone, self._ended))
        except DatabaseUnavailable as away:
            self._report.unknown += len(gone)
            if str(away) not in self._report.away:
                self._report.away.append(str(away))
            return set()


def _keys(checkout_ids: Sequence[str]) -> list[bytes]:
    return [encoded(session_key(checkout_id)) for checkout_id in checkout_ids]


def _sure(reply: object) -> object:
    """The reply, unless the command itself is refused: then nothing can be judged."""
    if isinstance(reply, CheckoutError) and not isinstance(reply, RedisUnavailable):
        raise reply
    return reply
