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
from checkout_cli.keys import INDEX, is_accepted_id, session_key
from checkout_cli.operations.cleanup import JOB
from checkout_cli.operations.job_lock import JobLock, job_lock, new_owner
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis_commands import encoded
from checkout_cli.store.redis_index import Entry

BATCH = 500
"""Sessions in one step: about a millisecond of Redis' time."""
EXAMPLES = 10
"""Sessions that are named of each kind."""
TOLERANCE = 1000
"""Milliseconds by which an entry may be later than the end of its key."""

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
    ``endless``: sessions that never end. ``wrong_type``: keys that hold no string. ``legacy``: members of a SET that
    older programs keep there. ``unknown``: entries of which nobody can tell, because the tier that would know is away.
    """

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
    legacy: int = 0
    unknown: int = 0
    endowed: int = 0
    finished: bool = True
    away: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing needs to be mended; what has just ended waits for a clean-up, and is no fault."""
        faults = (self.missing, self.late, self.endless, self.wrong_type)
        early = self.dangling.number - self.due
        return not (any(found.number for found in faults) or early or self.legacy or self.kind == "set")

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
        WrongKeyType: something that is no index is there.
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
    """Adopt a legacy SET, enter what is missing, take out what dangles, and bring forward what is late.

    With ``fix_ttl``, sessions that never end get the full time to live. With ``agreed``, the index is checked first,
    and repaired only where something is wrong and ``agreed``, which is shown what.

    Raises:
        InvalidInput: ``max_seconds`` is no time to work in.
        Locked: a clean-up or another repair runs now.
        RedisUnavailable, AccessDenied: Redis cannot be asked.
        WrongKeyType: something that is no index is there.
    """
    if max_seconds is not None and not max_seconds > 0:
        raise InvalidInput("the time to repair in must be more than zero seconds", hint="--max-seconds 50")
    if agreed is not None:
        found = check_index(store, progress=progress)
        if found.is_sound or not agreed(found):
            return found
    with job_lock(store, JOB, owner or new_owner()) as lock:
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
        report.kind = self._index.known_kind()
        report.legacy = self._legacy_members()
        self._total = self._expected()
        try:
            if self._lock is not None:
                for _ in self._index.adopt_legacy(self._redis.time()):
                    self._step(0)
            for page in self._index.session_ids():
                for part in _parts(page):
                    self._look_at_keys(part)
            if self._index.known_kind() == "zset":
                for entries in self._index.entries():
                    self._look_at_entries(entries)
        except _Stop:
            report.finished = False
        report.away += [f"no answer from {place}" for place in self._redis.missing_servers()]
        return report

    def _legacy_members(self) -> int:
        keys = ([INDEX] if self._report.kind == "set" else []) + [self._redis.legacy_index]
        counts = self._redis.ask_all(*(("SCARD", key) for key in keys), lenient=True)
        return sum(count for count in counts if isinstance(count, int))

    def _expected(self) -> int:
        """About how many keys and entries there are, for the progress."""
        (entries,) = self._redis.ask_all(("ZCARD", INDEX), lenient=True)
        return 2 * entries if isinstance(entries, int) else 0

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
        endless = [name for name in endless if name in sizes]
        late = [
            Entry(name, now + ttls[name])
            for name in present
            if ttls[name] >= 0 and now + ttls[name] + TOLERANCE < listed.get(name, 0) < float("inf")
        ]
        self._report.missing.add(missing)
        self._report.endless.add(endless)
        self._report.late.add(entry.checkout_id for entry in late)
        if self._lock is not None:
            self._mend(missing, endless, late, ttls, now)
        self._step(len(checkout_ids))

    def _lifetimes(self, checkout_ids: Sequence[str]) -> dict[str, int]:
        """Each key's time to live (ms; -1: no end, -2: gone); without those whose server is away."""
        replies = self._redis.ask_all(*(("PTTL", encoded(session_key(name))) for name in checkout_ids), lenient=True)
        return {name: ttl for name, ttl in zip(checkout_ids, replies, strict=True) if isinstance(_sure(ttl), int)}

    def _listed(self, checkout_ids: Sequence[str]) -> dict[str, float]:
        """Those that have an entry, and its moment (ms); infinite where a legacy index has them."""
        if self._index.kind() != "zset":
            missing = set(self._index.missing(checkout_ids))
            return {name: float("inf") for name in checkout_ids if name not in missing}
        scores = dict(zip(checkout_ids, self._index.scores(checkout_ids), strict=True))
        unlisted = [name for name, score in scores.items() if score is None]
        waiting = set(unlisted) - set(self._index.missing(unlisted))  # those that are still being adopted
        return {
            name: float("inf") if score is None else score
            for name, score in scores.items()
            if score is not None or name in waiting
        }

    def _sizes(self, checkout_ids: Iterable[str]) -> dict[str, int]:
        """The sizes in bytes of those that are strings; the others are told."""
        names = list(checkout_ids)
        if not names:
            return {}
        replies = self._redis.ask_all(*(("STRLEN", encoded(session_key(name))) for name in names), lenient=True)
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
            self._report.endowed += sum(self._redis.endow(name, self._full_life) for name in endless)
        lives = ((name, ttls[name] if ttls[name] >= 0 else self._full_life) for name in missing)
        self._index.enter([Entry(name, now + ttl) for name, ttl in lives])
        self._index.bring_forward(late)

    # Entries without a session

    def _look_at_entries(self, entries: Sequence[Entry]) -> None:
        for part in _parts(entries):
            self._report.entries += len(part)
            dangling = self._really_dangling(part)
            now = self._redis.time()
            self._report.dangling.add(entry.checkout_id for entry in dangling)
            self._report.due += sum(entry.score <= now for entry in dangling)
            if self._lock is not None and dangling:
                self._index.unlist(dangling)
                self._revive(dangling)
            self._step(len(part))

    def _really_dangling(self, entries: Sequence[Entry]) -> list[Entry]:
        """Entries of which neither Redis nor the database has a session, and that are still there."""
        keys = [encoded(session_key(entry.checkout_id)) for entry in entries]
        if not self._redis.is_cluster and self._redis.ask(("EXISTS", *keys)) == len(keys):
            return []  # the usual case, told by one command
        ttls = self._lifetimes([entry.checkout_id for entry in entries])
        self._report.unknown += len(entries) - len(ttls)
        gone = [entry for entry in entries if ttls.get(entry.checkout_id) == -2]
        try:
            rows = self._living_rows([entry.checkout_id for entry in gone])
        except DatabaseUnavailable as away:
            self._report.unknown += len(gone)
            if str(away) not in self._report.away:
                self._report.away.append(str(away))
            return []
        gone = [entry for entry in gone if entry.checkout_id not in rows]
        scores = self._index.scores([entry.checkout_id for entry in gone])
        return [entry for entry, score in zip(gone, scores, strict=True) if score == entry.score]

    def _living_rows(self, checkout_ids: Sequence[str]) -> dict[str, int]:
        ours = [name for name in checkout_ids if is_accepted_id(name)]
        return self._store.database.expiries(ours, self._store.clock.wall()) if ours else {}

    def _revive(self, entries: Sequence[Entry]) -> None:
        """Enter again what another program, which does not know of the index, has written in this very moment."""
        ttls = self._lifetimes([entry.checkout_id for entry in entries])
        alive = [entry for entry in entries if ttls.get(entry.checkout_id, -2) != -2]
        self._index.enter(alive)


def _sure(reply: object) -> object:
    """A reply, unless the command itself is refused: then nothing can be judged by what is left."""
    if isinstance(reply, CheckoutError) and not isinstance(reply, RedisUnavailable):
        raise reply
    return reply


def _parts(page: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(page), BATCH):
        yield page[start : start + BATCH]
