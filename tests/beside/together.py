"""Together: both sides at work on the same sessions at once, and afterwards, in quiet, the reckoning.

Every write sets a field to a value that nobody else writes, and says which value it saw there before. So the values of
a field form chains, and a value is accounted for if it is an ancestor of what is read in the end: whoever replaced it
had seen it. What is no ancestor was overwritten unseen; it must be on record.

The older program is one process here, which reads before each write: its last write to a session can be missing
only through us.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.beside.conflict_log import recorded
from tests.beside.parties import Operator, Party, Refused, older_program, our_program, process_environment
from tests.beside.places import Place

OWN, SAME, DELETED = "own fields", "the same field", "deletions"
ITS_FIELD, OUR_FIELD, SHARED_FIELD = "deliveryTiming", "selectedAddressId", "notes"
FEW = 5
"""Verdicts that a failing test shows."""


@dataclass(frozen=True)
class How:
    """How a run goes."""

    seconds: float = 2.0
    number: int = 12
    """Sessions, a third of each kind."""
    seed: int = 1
    deletions: float = 0.05
    """The share of the calls that delete, of those to sessions that may be deleted."""
    fresh: float = 0.0
    """The share of the older program's writes that keep its own fields alone, and drop our header."""


@dataclass(frozen=True)
class Deed:
    """One call of either side. ``at`` is when the older program began to write, and when our call had ended."""

    kind: str
    id: str
    at: float
    acked: bool
    field: str = ""
    seen: Any = None
    value: str = ""
    durability: str = ""
    error: str = ""


@dataclass
class Together:
    """The figures, in writes where nothing else is said."""

    ours: int = 0
    """Writes of ours that were acknowledged with durability ``database``."""
    ours_lost: int = 0
    """Of these: overwritten by somebody who had not seen them."""
    ours_in_redis: int = 0
    """Writes of ours that were acknowledged with durability ``redis``."""
    ours_in_redis_lost: int = 0
    """Of these: overwritten unseen, and not on record."""
    theirs: int = 0
    last: int = 0
    """Fields that the older program has written: so many last values."""
    last_missing: int = 0
    """Of these: overwritten unseen before we have looked again."""
    last_missing_afterwards: int = 0
    """After one read of ours each."""
    last_silent: int = 0
    """Of these: not on record either."""
    silent: int = 0
    """Of all that it has written: overwritten unseen, and not on record."""
    deleted: int = 0
    """Sessions that we have deleted."""
    came_back: int = 0
    """Of these: read again by either side."""
    conflicts: int = 0
    """Writes on record."""
    errors: Counter[str] = field(default_factory=Counter)
    verdicts: list[str] = field(default_factory=list)

    def told(self) -> str:
        """What is not zero, and some of the evidence, for who has to find out what happened."""
        figures = {name: value for name, value in vars(self).items() if name != "verdicts" and value}
        return "\n".join([str(figures), *self.verdicts[:FEW]])


class Chains:
    """Which value of a field was seen by whom when it was replaced."""

    def __init__(self, deeds: Iterable[Deed]) -> None:
        self._seen = {(deed.id, deed.field, deed.value): deed.seen for deed in deeds if deed.kind == "write"}

    def of(self, checkout_id: str, name: str, contents: Iterable[Mapping[str, Any]]) -> set[str]:
        """The values of a field in these contents, and all their ancestors."""
        known: set[str] = set()
        for content in contents:
            value = content.get(name)
            while isinstance(value, str) and value not in known:
                known.add(value)
                value = self._seen.get((checkout_id, name, value))
        return known


def work_together(place: Place, how: How, directory: Path) -> Together:
    """One run at a place, and its figures."""
    chance = random.Random(how.seed)
    kinds = {f"session-{number:04}": (OWN, SAME, DELETED)[number % 3] for number in range(how.number)}
    with ExitStack() as stack:
        it = stack.enter_context(older_program(place.settings, directory))
        we = [stack.enter_context(our_program(place.settings, directory, f"we-{number}")) for number in range(2)]
        it("create", checkout_id="here-before-us", fields={"userId": "user-0"})  # its index is there before ours
        for party in we:
            assert party("settle")
        for name in kinds:
            chance.choice([it, *we])("create", checkout_id=name, fields={"userId": f"user-{name}"})
        pace = {"seconds": how.seconds, "deletions": how.deletions}
        it.order("work", sessions=_fields(kinds, ITS_FIELD), seed=how.seed, fresh=how.fresh, **pace)
        for number, party in enumerate(we):
            party.order("work", sessions=_fields(kinds, OUR_FIELD), seed=how.seed + 1 + number, **pace)
        theirs = [Deed(**deed) for deed in it.answer()]
        ours = [Deed(**deed) for party in we for deed in party.answer()]
        standing = {name: it("get", checkout_id=name) for name in kinds}
        read = {name: _read(we[0], name) for name in kinds}
        afterwards = {name: it("get", checkout_id=name) for name in kinds}
    Operator(process_environment(directory, place.settings), directory).sync()
    judge = Judge(theirs, ours, recorded(place.settings))
    return judge.verdict(standing, read, afterwards)


def _fields(kinds: Mapping[str, str], own: str) -> dict[str, str]:
    """Which field a side writes in each session; ``-`` before it where it may delete the session too."""
    return {name: {OWN: own, SAME: SHARED_FIELD, DELETED: f"-{own}"}[kind] for name, kind in kinds.items()}


def _read(party: Party, name: str) -> dict[str, Any] | None:
    try:
        fields: dict[str, Any] | None = party("get", checkout_id=name)
    except Refused as refusal:
        raise AssertionError(f"a read in quiet was refused: {refusal}") from None
    return fields


Sessions = Mapping[str, dict[str, Any] | None]


class Judge:
    """Who holds what was done against what is there in the end."""

    def __init__(
        self, theirs: Sequence[Deed], ours: Sequence[Deed], on_record: Mapping[str, list[dict[str, Any]]]
    ) -> None:
        self._theirs, self._ours, self._on_record = theirs, ours, on_record
        self._chains = Chains([*theirs, *ours])
        deletions = [deed for deed in ours if deed.kind == "delete"]
        # One that was not acknowledged may have happened, so that it excuses, but promises nothing.
        self._deleted_at = {deed.id: deed.at for deed in deletions if deed.acked}
        self._perhaps_deleted = {deed.id for deed in deletions}
        self._deleted_there = {deed.id: deed.at for deed in theirs if deed.kind == "delete"}  # the last of each
        self.found = Together()

    def verdict(self, standing: Sessions, read: Sessions, afterwards: Sessions) -> Together:
        """The figures: by what stood before our last look, what we read then, and what stands since."""
        self._judge_ours(read)
        self._judge_theirs(read)
        self._judge_last(standing, read)
        self._judge_deletions(read, afterwards)
        self.found.conflicts = sum(map(len, self._on_record.values()))
        self.found.errors = Counter(deed.error for deed in self._ours if deed.error)
        return self.found

    def _judge_ours(self, read: Sessions) -> None:
        for deed in self._ours:
            if deed.kind != "write" or not deed.acked:
                continue
            stands = deed.id in self._perhaps_deleted or self._stands(deed, read)
            if deed.durability == "database":
                self.found.ours += 1
                self.found.ours_lost += not stands
                if not stands:
                    self._say(deed, f"ours is lost; we read {self._now(deed, read)!r}")
            else:
                self.found.ours_in_redis += 1
                self.found.ours_in_redis_lost += not (stands or self._is_on_record(deed))

    def _judge_theirs(self, read: Sessions) -> None:
        for deed in self._theirs:
            if deed.kind == "write":
                self.found.theirs += 1
                if self._is_silent(deed, read):
                    self.found.silent += 1
                    self._say(deed, f"its is silently lost; we read {self._now(deed, read)!r}")

    def _judge_last(self, standing: Sessions, read: Sessions) -> None:
        last = {(deed.id, deed.field): deed for deed in self._theirs if deed.kind == "write"}
        for deed in last.values():
            if deed.id in self._perhaps_deleted or self._was_deleted_there(deed):
                continue
            self.found.last += 1
            self.found.last_missing += not self._stands(deed, standing)
            self.found.last_missing_afterwards += not self._stands(deed, read)
            self.found.last_silent += self._is_silent(deed, read)

    def _judge_deletions(self, read: Sessions, afterwards: Sessions) -> None:
        self.found.deleted = len(self._deleted_at)
        back = [name for name in self._deleted_at if read[name] is not None or afterwards[name] is not None]
        self.found.came_back = len(back)
        self.found.verdicts += [f"{name}: deleted, and read again" for name in back]

    def _is_silent(self, deed: Deed, read: Sessions) -> bool:
        """Whether a write of theirs was overwritten by somebody who had not seen it, without a trace."""
        if self._was_deleted_there(deed):
            return False  # between two of our looks
        if deed.id in self._perhaps_deleted:
            deleted_at = self._deleted_at.get(deed.id)
            if deleted_at is None or deed.at <= deleted_at:
                return False  # it may have been part of what we deleted
            return not self._is_on_record(deed)
        return not (self._stands(deed, read) or self._is_on_record(deed))

    def _was_deleted_there(self, deed: Deed) -> bool:
        return deed.at < self._deleted_there.get(deed.id, 0.0)

    def _stands(self, deed: Deed, sessions: Sessions) -> bool:
        fields = sessions[deed.id]
        return fields is not None and deed.value in self._chains.of(deed.id, deed.field, [fields])

    def _is_on_record(self, deed: Deed) -> bool:
        return deed.value in self._chains.of(deed.id, deed.field, self._on_record.get(deed.id, []))

    @staticmethod
    def _now(deed: Deed, sessions: Sessions) -> Any:
        return (sessions[deed.id] or {}).get(deed.field)

    def _say(self, deed: Deed, verdict: str) -> None:
        self.found.verdicts.append(f"{deed.id}: {deed.value!r}: {verdict}")
