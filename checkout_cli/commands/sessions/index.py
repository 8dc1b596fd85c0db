"""``sessions index check`` and ``repair``: the index against the keys, both ways.

Whatever seems wrong is looked at a second time before it is told or mended, because sessions come and go while we
look; and each repair is refused by Redis itself where somebody has written the session since. No session's content is
read, and none is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from checkout_cli.errors import (
    CheckoutError,
    DatabaseUnavailable,
    ExitCode,
    InvalidInput,
    RedisUnavailable,
    WrongKeyType,
)
from checkout_cli.jobs.job_lock import CLEANUP, JobLock, job_lock, new_owner
from checkout_cli.keys import INDEX, is_accepted_id, session_key
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.admin import FIRST_CURSOR
from checkout_cli.store.redis.commands import encoded
from checkout_cli.store.redis.index import Entry
from checkout_cli.store.redis.index_moves import IndexMoves
from checkout_cli.store.redis.index_place import Layout, Place

BATCH = 500
"""Sessions in one step: about a millisecond of Redis' time."""
EXAMPLES = 10
"""Sessions that are named of each kind."""
TOLERANCE = 1000
"""Milliseconds by which an entry may be later than the end of its key."""

_NO_MOMENT = float("inf")
_T = TypeVar("_T")

Progress = Callable[[int, int], None]
"""Told after each step how many of how many keys and entries were looked at."""


def silent(_done: int, _total: int) -> None:
    """The progress of who does not want to know."""


class _Stop(Exception):
    """The time is up, or the lock is lost."""


@dataclass
class Found:
    """How many sessions of one kind, and the first of them."""

    number: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, checkout_ids: Iterable[str]) -> None:
        """Some more."""
        for checkout_id in checkout_ids:
            self.number += 1
            if len(self.examples) < EXAMPLES:
                self.examples.append(checkout_id)


@dataclass
class IndexReport:
    """What was found, and with ``repaired`` mended.

    ``missing``: sessions without an entry. ``dangling``: entries of which no tier has a session; ``due`` of them have
    ended in the ordinary way. ``late``: entries that say of a session that it lives longer than its key does.
    ``endless``: sessions that never end. ``wrong_type``: keys that hold no string. ``unknown``: entries of which nobody
    can tell, because the tier that would know is away.

    ``members`` is the size of an older program's SET; ``unlisted`` are those of which ours has no entry (they are
    listed and counted all the same, until a clean-up takes them in), ``unfilled`` sessions of ours that the SET lacks.
    ``unfinished`` is how many entries and members an interrupted move of the index has left where they were.
    """

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
    endowed: int = 0
    finished: bool = True
    away: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing needs to be mended; what has just ended waits for a clean-up, and is no fault."""
        faults = (self.missing, self.late, self.endless, self.wrong_type, self.unfilled)
        early = self.dangling.number - self.due
        return not (any(found.number for found in faults) or early or self.unfinished)

    @property
    def exit_code(self) -> ExitCode:
        """A finding where something is wrong, or still is."""
        if self.repaired:
            left = self.wrong_type.number or self.endless.number > self.endowed
            return ExitCode.FINDING if left or self.away or not self.finished else ExitCode.OK
        return ExitCode.OK if self.is_sound and not self.away else ExitCode.FINDING


def check_index(store: CheckoutStore, *, progress: Progress = silent) -> IndexReport:
    """Compare, and change nothing.

    Raises:
        RedisUnavailable, AccessDenied: Redis cannot be asked.
        WrongKeyType: another program's keys are where our index would have to lie.
    """
    return _Check(store, None, fix_ttl=False, max_seconds=None, progress=progress).run()


def repair_index(
    store: CheckoutStore,
    *,
    agreed: Callable[[IndexReport], bool] | None = None,
    fix_ttl: bool = False,
    max_seconds: float | None = None,
    owner: str | None = None,
    progress: Progress = silent,
) -> IndexReport:
    """Enter what is missing, take out what dangles, and bring forward what is late; finish an interrupted adoption.

    An older program's SET stays, and is brought in line as well. With ``fix_ttl``, sessions that never end get the full
    time to live. With ``agreed``, the index is checked first, and repaired only where something is wrong and
    ``agreed``, which is shown what.

    Raises:
        InvalidInput: ``max_seconds`` is no time to work in.
        Locked: a clean-up or another repair runs now.
        RedisUnavailable, AccessDenied: Redis cannot be asked.
        WrongKeyType: another program's keys are where our index would have to lie.
    """
    if max_seconds is not None and not max_seconds > 0:
        raise InvalidInput("the time to repair in must be more than zero seconds", hint="--max-seconds 50")
    if agreed is not None:
        found = check_index(store, progress=progress)
        if found.is_sound or not agreed(found):
            return found
    with job_lock(store, CLEANUP, owner or new_owner()) as lock:
        return _Check(store, lock, fix_ttl=fix_ttl, max_seconds=max_seconds, progress=progress).run()


class _Check:
    """One run over all keys, and then over all entries."""

    def __init__(
        self,
        store: CheckoutStore,
        lock: JobLock | None,
        *,
        fix_ttl: bool,
        max_seconds: float | None,
        progress: Progress,
    ) -> None:
        self._store = store
        self._redis = store.redis
        self._index = store.index
        self._lock = lock
        self._fix_ttl = fix_ttl
        self._progress = progress
        self._stop_at = None if max_seconds is None else store.clock.elapsed() + max_seconds
        self._full_life = int(store.settings.session_ttl * 1000)
        self._report = IndexReport(repaired=lock is not None)
        self._done = self._total = 0

    def run(self) -> IndexReport:
        """Everything; stops early when its time is up."""
        report = self._report
        layout = self._index.layout()
        report.place, report.kind = layout.place, layout.kind
        self._measure(layout)
        try:
            if self._lock is not None:
                for _ in IndexMoves(self._redis, self._index).finish(self._redis.time()):
                    self._step(0)
            for page in self._index.session_ids():
                for part in _parts(page):
                    self._look_at_keys(part)
            for entries in self._index.entries():
                self._look_at_entries(entries)
            if layout.kind == "set":
                self._look_at_members()
        except _Stop:
            report.finished = False
        report.away += [f"no answer from {place}" for place in self._redis.missing_servers()]
        return report

    def _measure(self, layout: Layout) -> None:
        """How much there is to look at, and what an interrupted move has left."""
        number = self._index.sizes(layout)
        self._total = 2 * number.pop(layout.key)
        self._report.members = number.pop(INDEX, 0)
        self._report.unfinished = sum(number.values())

    def _step(self, looked_at: int) -> None:
        self._done += looked_at
        self._progress(self._done, max(self._total, self._done))
        if self._stop_at is not None and self._store.clock.elapsed() >= self._stop_at:
            raise _Stop
        if self._lock is not None and looked_at and not self._lock.still_held():
            raise _Stop

    # Keys without an entry, without an end, with an entry that is late

    def _look_at_keys(self, checkout_ids: Sequence[str]) -> None:
        now = self._redis.time()
        ttls = self._lifetimes(checkout_ids)
        present = [name for name in checkout_ids if ttls.get(name, -2) != -2]
        listed = self._listed(present)
        self._report.keys += len(present)
        unlisted = [name for name in present if name not in listed]
        endless = [name for name in present if ttls[name] == -1]
        sizes = self._sizes(dict.fromkeys([*unlisted, *endless]))
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
        if self._lock is not None:
            self._mend([*missing, *only_in_set], endless, late, ttls, now)
        self._step(len(checkout_ids))

    def _lifetimes(self, checkout_ids: Sequence[str]) -> dict[str, int]:
        """Each key's time to live (ms; -1: no end, -2: gone); without those whose server is away."""
        replies = self._redis.ttls([encoded(session_key(name)) for name in checkout_ids])
        return {name: ttl for name, ttl in zip(checkout_ids, replies, strict=True) if isinstance(_sure(ttl), int)}

    def _listed(self, checkout_ids: Sequence[str]) -> dict[str, float]:
        """Those that have an entry, and its moment (ms); infinite where only an older program's SET has them."""
        scores = dict(zip(checkout_ids, self._index.scores(checkout_ids), strict=True))
        unlisted = [name for name, score in scores.items() if score is None]
        elsewhere = set(unlisted) - set(self._index.missing(unlisted))
        return {
            name: _NO_MOMENT if score is None else score
            for name, score in scores.items()
            if score is not None or name in elsewhere
        }

    def _sizes(self, checkout_ids: Iterable[str]) -> dict[str, int]:
        """The sizes in bytes of those that are strings; the others are told."""
        names = list(checkout_ids)
        if not names:
            return {}
        replies = self._redis.lengths([encoded(session_key(name)) for name in names])
        sizes = dict(zip(names, replies, strict=True))
        for size in replies:
            if not isinstance(size, WrongKeyType):
                _sure(size)
        self._report.wrong_type.add(name for name, size in sizes.items() if isinstance(size, WrongKeyType))
        return {name: size for name, size in sizes.items() if isinstance(size, int) and size}

    def _mend(
        self, missing: Sequence[str], endless: Sequence[str], late: Sequence[Entry], ttls: dict[str, int], now: int
    ) -> None:
        if self._fix_ttl:
            self._report.endowed += sum(self._redis.set_missing_ttl(name, self._full_life) for name in endless)
        lives = ((name, ttls[name] if ttls[name] >= 0 else self._full_life) for name in missing)
        self._index.add([Entry(name, now + ttl) for name, ttl in lives])
        self._index.bring_forward(late)

    # Entries without a session

    def _look_at_entries(self, entries: Sequence[Entry]) -> None:
        for part in _parts(entries):
            self._report.entries += len(part)
            dangling = self._really_dangling(part)
            now = self._redis.time()
            self._report.dangling.add(entry.checkout_id for entry in dangling)
            self._report.due += sum(entry.score <= now for entry in dangling)
            self._look_for_members(part)
            if self._lock is not None and dangling:
                self._index.remove_entries(dangling)
                self._revive(dangling)
            self._step(len(part))

    def _look_for_members(self, entries: Sequence[Entry]) -> None:
        """Which of them an older program's SET lacks, though their sessions are there; filled in by a repair."""
        names = [entry.checkout_id for entry in entries]
        if self._report.kind != "set" or not (lacking := self._index.not_in_set(names)):
            return
        ttls = self._lifetimes(lacking)
        lacking = self._index.not_in_set([name for name in lacking if ttls.get(name, -2) != -2])  # it may come by now
        self._report.unfilled.add(lacking)
        if self._lock is not None:
            self._index.fill_set(lacking)

    def _look_at_members(self) -> None:
        """Members of the SET without a session and without an entry: what an older program leaks."""
        cursor: str | None = FIRST_CURSOR
        while cursor is not None:
            page = self._index.member_page(cursor)
            cursor = page.cursor
            dangling = self._really_dangling_members(page.lacking)
            self._report.dangling.add(dangling)
            self._report.due += len(dangling)
            if self._lock is not None:
                self._index.remove_expired([Entry(name, 0) for name in dangling])
            self._step(page.number)

    def _really_dangling(self, entries: Sequence[Entry]) -> list[Entry]:
        """Entries of which neither Redis nor the database has a session, and that are still there."""
        keys = [encoded(session_key(entry.checkout_id)) for entry in entries]
        if self._redis.are_all_there(keys):
            return []  # the usual case, told by one command
        names = self._nowhere([entry.checkout_id for entry in entries])
        gone = [entry for entry in entries if entry.checkout_id in names]
        scores = self._index.scores([entry.checkout_id for entry in gone])
        return [entry for entry, score in zip(gone, scores, strict=True) if score == entry.score]

    def _really_dangling_members(self, names: Sequence[str]) -> list[str]:
        """The same of members of an older program's SET; they have no moment, and still none of ours."""
        gone = self._nowhere(names)
        names = [name for name in names if name in gone]
        return [name for name, score in zip(names, self._index.scores(names), strict=True) if score is None]

    def _nowhere(self, names: Sequence[str]) -> set[str]:
        """Those of which neither Redis nor the database has a session; of others it is noted that nobody can tell."""
        ttls = self._lifetimes(names)
        self._report.unknown += len(names) - len(ttls)
        gone = [name for name in names if ttls.get(name) == -2]
        try:
            return set(gone) - set(self._living_rows(gone))
        except DatabaseUnavailable as away:
            self._report.unknown += len(gone)
            if str(away) not in self._report.away:
                self._report.away.append(str(away))
            return set()

    def _living_rows(self, checkout_ids: Sequence[str]) -> dict[str, int]:
        ours = [name for name in checkout_ids if is_accepted_id(name)]
        return self._store.database.expiries(ours, self._store.clock.wall()) if ours else {}

    def _revive(self, entries: Sequence[Entry]) -> None:
        """Enter again what another program, which does not know of the index, has written in this very moment."""
        ttls = self._lifetimes([entry.checkout_id for entry in entries])
        alive = [entry for entry in entries if ttls.get(entry.checkout_id, -2) != -2]
        self._index.add(alive)


def _sure(reply: object) -> object:
    """A reply, unless the command itself is refused: then nothing can be judged by what is left."""
    if isinstance(reply, CheckoutError) and not isinstance(reply, RedisUnavailable):
        raise reply
    return reply


def _parts(page: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(page), BATCH):
        yield page[start : start + BATCH]
