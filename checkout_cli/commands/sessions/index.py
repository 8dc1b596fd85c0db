"""``sessions index check`` and ``repair``: the index against the keys, both ways.

Every fault is checked twice before it is reported or repaired, because sessions come and go; Redis refuses a repair of
a session that was written since. No session's content is read or changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

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
from checkout_cli.store.redis.index import PAGE, Entry
from checkout_cli.store.redis.index_moves import IndexMoves
from checkout_cli.store.redis.index_place import Place
from checkout_cli.typed import typed

EXAMPLES = 10
"""Sessions that are named of each kind."""
TOLERANCE = 1000
"""Milliseconds by which an entry may be later than the end of its key."""

UNREADABLE = "checkoutctl sessions list --tier redis --status unreadable"
_NO_MOMENT = float("inf")

MOST_AGREED = 100_000
"""Sessions that one repair shows, asks about and then mends; the next run goes on after them."""

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
    before the cursor are not counted. ``goes_on``: the next repair begins where this has stopped.
    """

    JSON_KEYS = (
        "repaired sound place kind keys entries missing "
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
    goes_on: bool = False
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
    def sound(self) -> bool | None:
        """The same of the whole index; ``None`` where only a part of it was looked at."""
        if self.is_sound and (self.resumed or not self.finished or self.away):
            return None
        return self.is_sound

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


_KINDS = ("missing", "unlisted", "endless", "late", "unfilled", "members")


@dataclass
class _Kept:
    """What a check has found, for a repair of exactly that: ids by kind, and the dangling entries as they were."""

    kinds: dict[str, dict[str, None]] = field(default_factory=lambda: {kind: {} for kind in _KINDS})
    entries: dict[str, Entry] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self.kinds.values())) + len(self.entries)

    def of(self, *kinds: str) -> list[str]:
        return list(dict.fromkeys(name for kind in kinds for name in self.kinds[kind]))


def check_index(store: CheckoutStore, run: BoundedRun | None = None, *, cursor: str = FIRST_CURSOR) -> IndexReport:
    """Compare, and change nothing; raises RedisUnavailable, and WrongKeyType where there is no place for an index."""
    return _Check(store, run or BoundedRun(store.clock)).run(checked_cursor(cursor, PHASES))


def preview_repair(store: CheckoutStore, run: BoundedRun | None = None) -> IndexReport:
    """What a repair would look at and find now: it begins where the last one stopped. Changes nothing."""
    return check_index(store, run, cursor=remembered(store, JOB, PHASES).cursor)


def repair_index(
    store: CheckoutStore,
    run: BoundedRun | None = None,
    *,
    agreed: Callable[[IndexReport], bool] | None = None,
    fix_ttl: bool = False,
) -> IndexReport:
    """Add missing entries, remove dangling ones, bring late ones forward; finish an interrupted adoption.

    An older program's SET stays, and gets what it lacks. ``fix_ttl`` gives endless sessions the full TTL. With
    ``agreed``, the index is checked first, and if something is wrong and ``agreed``, exactly what was found is repaired
    where it still is so. Continues where the last repair stopped.

    Raises Locked while a clean-up or repair runs, RedisUnavailable, AccessDenied, WrongKeyType, WrongClock.
    """
    run, begin = run or BoundedRun(store.clock), remembered(store, JOB, PHASES).cursor
    kept = None if agreed is None else _Kept()
    report = None
    if agreed is not None:
        report = _Check(store, run.share(2), keep=kept).run(begin)
        run.stopped = report.stopped
        if run.stopped is Stopped.INTERRUPTED or not (report.is_sound or run.untimed(agreed, report)):
            return report
    if report is None or not report.is_sound:
        with run.locked(store, CLEANUP):
            check = _Check(store, run, repair=True, fix_ttl=fix_ttl, keep=kept)
            report = check.run(begin) if report is None else check.mend(report, begin)
    cursor = report.cursor or FIRST_CURSOR
    beat(store, JOB, seconds=run.seconds, finished=report.finished, sessions=report.keys, cursor=cursor)
    report.goes_on = True
    return report


class _Check:
    """One pass; ``keep`` takes what it finds, and with ``repair``, has all that it may mend."""

    def __init__(
        self,
        store: CheckoutStore,
        run: BoundedRun,
        *,
        repair: bool = False,
        fix_ttl: bool = False,
        keep: _Kept | None = None,
    ) -> None:
        self._store = store
        self._kept = keep
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
                self._finish_moves()
            phases = self._look_at_keys, self._look_at_entries, self._look_at_members
            run.through(*phases, cursor=cursor, enough=lambda: len(self._kept or ()) >= MOST_AGREED)
        report.end(run)
        report.database_only = self._lost()
        report.away += [f"no answer from {place}" for place in self._redis.missing_servers()]
        return report

    def mend(self, found: IndexReport, begin: str) -> IndexReport:
        """Repair what a check has found from ``begin`` on; where that is cut off, the next run begins there again."""
        assert self._kept is not None  # noqa: S101  (it was kept by that check)
        report, run, kept = self._report, self._run, self._kept
        report.kind = self._index.layout().kind
        entries = list(kept.entries.values())
        work: list[tuple[Callable[[Any], None], Sequence[Any]]] = [
            (self._examine_keys, kept.of("missing", "unlisted", "endless", "late")),
            (self._examine_entries, entries),
            (self._examine_unfilled, kept.of("unfilled")),
            (self._examine_members, kept.of("members")),
        ]
        run.expect(sum(len(items) for _, items in work))
        with run.bounds():
            self._finish_moves()
            for examine, items in work:
                for batch in run.pages(items[start : start + PAGE] for start in range(0, len(items), PAGE)):
                    examine(batch)
        whole = run.finished
        report.stopped, report.cursor = (found.stopped, found.cursor) if whole else (run.stopped, begin)
        for name in ("place", "keys", "entries", "members", "unfinished", "resumed", "wrong_type", "unknown"):
            setattr(report, name, getattr(found, name))
        report.away = list(dict.fromkeys([*found.away, *report.away]))
        return report

    def _finish_moves(self) -> None:
        for _ in self._run.pages(IndexMoves(self._redis, self._index).finish(self._redis.time()), lambda _: 0):
            pass

    def _found(self, kind: str, names: Sequence[str]) -> list[str]:
        """Count these, or in a repair of what was agreed to, those of them."""
        kept = None if self._kept is None else self._kept.kinds[kind]
        if kept is not None and self._report.repaired:
            names = [name for name in names if name in kept]
        elif kept is not None:
            kept |= dict.fromkeys(names)
        found: Found = self._report.dangling if kind == "members" else getattr(self._report, kind)
        found.add(names)
        return list(names)

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
        self._examine_keys(checkout_ids)
        return Step(len(checkout_ids), following)

    def _examine_keys(self, checkout_ids: Sequence[str]) -> None:
        now = self._redis.time()
        ttls = self._lifetimes(checkout_ids)
        present = [name for name in checkout_ids if ttls.get(name, -2) != -2]
        listed = self._listed(present)
        self._report.keys += len(present)
        unlisted = [name for name in present if name not in listed]
        endless = [name for name in present if ttls[name] == -1]
        sizes = self._sizes(list(dict.fromkeys([*unlisted, *endless])))
        missing = self._found("missing", self._index.missing([name for name in unlisted if name in sizes]))
        only_in_set = self._found("unlisted", [name for name in present if listed.get(name) == _NO_MOMENT])
        endless = self._found("endless", [name for name in endless if name in sizes])
        early = (
            name
            for name in present
            if ttls[name] >= 0 and now + ttls[name] + TOLERANCE < listed.get(name, 0) < _NO_MOMENT
        )
        late = [Entry(name, now + ttls[name]) for name in self._found("late", list(early))]
        if self._report.repaired:
            if self._fix_ttl:
                self._report.endowed += sum(self._redis.set_missing_ttl(name, self._full_life) for name in endless)
            lives = ((name, ttls[name]) for name in [*missing, *only_in_set])
            self._index.add([Entry(name, now + (ttl if ttl >= 0 else self._full_life)) for name, ttl in lives])
            self._index.bring_forward(late)

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
        self._examine_entries(entries)
        self._examine_unfilled([entry.checkout_id for entry in entries])
        return Step(len(entries), following)

    def _examine_entries(self, entries: Sequence[Entry]) -> None:
        dangling = self._really_dangling(entries)
        now = self._redis.time()
        if self._kept is not None and not self._report.repaired:
            self._kept.entries |= {entry.checkout_id: entry for entry in dangling}
        self._report.dangling.add(entry.checkout_id for entry in dangling)
        self._report.due += sum(entry.score <= now for entry in dangling)
        if self._report.repaired and dangling:
            self._index.remove_entries(dangling)
            ttls = self._lifetimes([entry.checkout_id for entry in dangling])
            # An external writer, which does not know of the index, may have written one in this very moment.
            self._index.add([entry for entry in dangling if ttls.get(entry.checkout_id, -2) != -2])

    def _examine_unfilled(self, names: Sequence[str]) -> None:
        if self._report.kind != "set" or not (lacking := self._index.not_in_set(names)):
            return
        ttls = self._lifetimes(lacking)
        lacking = self._index.not_in_set([name for name in lacking if ttls.get(name, -2) != -2])  # it may come by now
        lacking = self._found("unfilled", lacking)
        if self._report.repaired:
            self._index.fill_set(lacking)

    def _look_at_members(self, cursor: str) -> Step:
        """Members of the SET without a session: an older program leaks them."""
        page = self._index.member_page(cursor)
        self._examine_members(page.lacking)
        return Step(page.number, page.cursor)

    def _examine_members(self, lacking: Sequence[str]) -> None:
        nowhere = self._nowhere(lacking)
        gone = [name for name in lacking if name in nowhere]
        dangling = [name for name, score in zip(gone, self._index.scores(gone), strict=True) if score is None]
        dangling = self._found("members", dangling)
        self._report.due += len(dangling)
        if self._report.repaired:
            self._index.remove_expired([Entry(name, 0) for name in dangling], [])

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
