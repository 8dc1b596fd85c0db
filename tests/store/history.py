"""What several processes were told, and whether it can be true: the judge of the random tests.

Each update sets a field of its own (a *mark*), so that a content that lacks one is older than the update, and one that
lacks an older update's was made without it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

READS = frozenset({"get", "peek"})
GONE = frozenset({"SessionNotFound", "SessionExpired", "SessionDeleted"})


@dataclass(frozen=True)
class Call:
    """One call and its answer. ``began`` and ``ended`` order the calls of all processes; the clock measures spans."""

    process: str
    kind: str
    checkout_id: str
    mark: str = ""
    began: float = 0.0
    ended: float = 0.0
    clock_began: float = 0.0
    clock_ended: float = 0.0
    error: str = ""
    detail: str = ""
    ours: bool = True
    version: int = 0
    marks: frozenset[str] = frozenset()
    status: str = ""
    tier: str = ""
    durability: str = ""
    published: bool = False
    verified: bool = False
    dirty: int = 0
    """How many of its writes the database lacks: what is merged there, or stands against it, gets another number."""

    @property
    def is_promise(self) -> bool:
        """Whether it is a write that the database has, or so we were told."""
        return not self.error and self.durability == "database"


@dataclass
class _Told:
    promises: list[Call] = field(default_factory=list)
    weaker: list[Call] = field(default_factory=list)
    deletions: list[Call] = field(default_factory=list)
    first_deletion_began: float = float("inf")
    contents: dict[int, frozenset[str]] = field(default_factory=dict)
    all_calls: list[Call] = field(default_factory=list)


@dataclass(frozen=True)
class Kept:
    """What the database has in the end of one session, and what its conflict log has."""

    version: int | None
    marks: frozenset[str] | None
    status: str
    conflicts: tuple[tuple[frozenset[str], str], ...] = ()


class History:
    """All calls so far. ``trust`` is for how long a process may trust Redis, in seconds."""

    def __init__(self, trust: float) -> None:
        self._trust = trust
        self._told: dict[str, _Told] = defaultdict(_Told)
        self._losses: list[tuple[float, str | None]] = []

    def lost_by_redis(self, moment: float, checkout_id: str | None = None) -> None:
        """Redis lost this session's key, or all: what it alone had acknowledged may be gone."""
        self._losses.append((moment, checkout_id))

    def attempted_deletion(self, checkout_id: str, began: float) -> None:
        """A deletion is under way, so that the session may be gone from now on."""
        told = self._told[checkout_id]
        told.first_deletion_began = min(told.first_deletion_began, began)

    def add(self, call: Call) -> str | None:
        """Take a call, and tell how it contradicts those that had ended before it began, if it does."""
        told = self._told[call.checkout_id]
        told.all_calls.append(call)
        if not call.ours:
            return f"unexpected: {call.error}: {call.detail}"
        verdict = self._read(told, call) if call.kind in READS else self._write(told, call)
        return verdict or self._content(told, call)

    def calls_of(self, checkout_id: str) -> list[Call]:
        """For the report of a violation."""
        return self._told[checkout_id].all_calls

    def _write(self, told: _Told, call: Call) -> str | None:
        if call.kind == "delete":
            self.attempted_deletion(call.checkout_id, call.began)
            known = any(promise.ended <= call.began for promise in told.promises)
            if not call.error and known and call.durability != "memory":
                told.deletions.append(call)
            return None
        if call.error or call.durability != "database":
            if not call.error:
                told.weaker.append(call)
            return None
        buried = [deletion for deletion in told.deletions if deletion.ended <= call.began]
        paid = [promise for promise in told.promises if promise.status == "paid" and promise.ended <= call.began]
        missing = _marks(promise for promise in told.promises if promise.ended <= call.began) - call.marks
        told.promises.append(call)
        if buried:
            return "a deleted session was written to"
        if paid and call.status != "paid":
            return f"payment went from paid to {call.status}"
        return f"lost: a write was made without {_named(missing)}" if missing else None

    def _read(self, told: _Told, call: Call) -> str | None:
        owed = [promise for promise in told.promises if self._is_owed(promise, call)]
        deletion = any(self._is_owed(deleted, call) for deleted in told.deletions)
        if call.error:
            vanished = call.error in GONE and owed and told.first_deletion_began > call.ended
            return f"lost: {call.error} of a session that was acknowledged" if vanished else None
        if not call.verified:
            return None
        if deletion:
            return f"a deleted session was read from {call.tier}"
        missing = _marks(owed) - call.marks
        if missing:
            return f"stale read from {call.tier}: version {call.version} lacks {_named(missing)}"
        if call.status != "paid" and any(promise.status == "paid" for promise in owed):
            return f"stale read from {call.tier}: payment went from paid to {call.status}"
        return None

    def _is_owed(self, promise: Call, read: Call) -> bool:
        if promise.ended > read.began:
            return False
        return (
            promise.published
            or promise.process == read.process
            or read.tier == "database"
            or read.kind == "peek"
            or read.clock_began - promise.clock_ended >= self._trust
        )

    def _content(self, told: _Told, call: Call) -> str | None:
        """One version of the database has one content, whoever tells it."""
        certain = call.is_promise or (call.kind == "get" and call.verified and not call.dirty)
        if not certain or call.error or call.version == 0:
            return None
        known = told.contents.setdefault(call.version, call.marks)
        return None if known == call.marks else f"lost: version {call.version} has two contents"

    # In the end

    def reckon(self, kept: Mapping[str, Kept]) -> list[str]:
        """How what the database has in the end contradicts what was promised."""
        return [
            f"{checkout_id}: {verdict}"
            for checkout_id, told in self._told.items()
            for verdict in self._reckoned(told, kept[checkout_id])
        ]

    def _reckoned(self, told: _Told, kept: Kept) -> Iterable[str]:
        if told.deletions:
            if kept.version is None or kept.marks is not None:
                yield "a deleted session lives in the database"
            return
        buried = kept.marks is None and kept.version is not None and told.first_deletion_began < float("inf")
        if told.promises and not buried:
            missing = _marks(told.promises) - (kept.marks or frozenset())
            if missing:
                yield f"lost: the database has no {_named(missing)}"
            if kept.status != "paid" and any(promise.status == "paid" for promise in told.promises):
                yield f"payment went from paid to {kept.status}"
        for write in [] if buried else told.weaker:
            if write.durability == "redis" and not self._is_excused(write) and not _arrived(write, kept):
                yield f"lost: {write.mark}, acknowledged by Redis, is neither in the database nor a conflict"

    def _is_excused(self, write: Call) -> bool:
        return any(
            moment >= write.began and checkout_id in {None, write.checkout_id} for moment, checkout_id in self._losses
        )


def _arrived(write: Call, kept: Kept) -> bool:
    contents = [*kept.conflicts, *([] if kept.marks is None else [(kept.marks, kept.status)])]
    if write.mark:
        return any(write.mark in marks for marks, _ in contents)
    return write.status != "paid" or any(status == "paid" for _, status in contents)  # others may have been left again


def _marks(calls: Iterable[Call]) -> set[str]:
    return {call.mark for call in calls if call.mark}  # a payment has none


def _named(marks: Iterable[str]) -> str:
    return ", ".join(sorted(marks))
