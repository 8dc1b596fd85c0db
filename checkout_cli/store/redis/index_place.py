"""Where our index lies: at ``checkout:index``, or beside it while something that is not ours is there.

A process finds the place out once; each write then notices a change, and repairs what it has put at the wrong one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import msgspec

from checkout_cli.errors import CheckoutError, CommandDenied, CommandUnknown, RedisUnavailable, WrongKeyType
from checkout_cli.keys import INDEX, INDEX_ASIDE, INDEX_BESIDE, is_accepted_id
from checkout_cli.privacy.personal_ids import id_beginning
from checkout_cli.store.redis.commands import Command, Script, checked, decoded, encoded, pairs, register
from checkout_cli.store.redis.replies import type_name

SAMPLED = 4
"""Entries at each end by which a sorted set at ``checkout:index`` is known for ours."""
EARLIEST = 10.0**12
"""The least score that can be a moment of expiry in milliseconds: in the year 2001."""
CLOCKS_APART = 86_400_000
"""By how much (ms) the clock of whoever wrote an entry may be ahead of ours."""
ATTEMPTS = 3
"""How often a session is entered again where the index is moved at the same moment."""

_PLACE = register(Script("place"))
_PROBE: tuple[Command, ...] = (
    *(("TYPE", INDEX), ("TYPE", INDEX_BESIDE), ("TYPE", INDEX_ASIDE)),
    ("ZRANGE", INDEX, 0, SAMPLED - 1, "WITHSCORES"),
    ("ZRANGE", INDEX, -SAMPLED, -1, "WITHSCORES"),
)

_LEFT_OUT = (RedisUnavailable, WrongKeyType, CommandDenied)
"""Errors that an entry in the index may meet; a command that is denied or unknown refuses no write."""

_log = logging.getLogger("checkout_cli.store")


class Place(StrEnum):
    """Where our index lies, and why."""

    OWN = "own"
    """At ``checkout:index``."""
    BESIDE_SET = "beside a set"
    """An external writer's SET is there, or was and is empty for the moment."""
    BESIDE_OTHER = "beside something else"
    """Something is there that is neither ours nor an external writer's SET."""


class IndexChange(NamedTuple):
    """A write's change of the index: the moment (ms) at which the session expires, ``None`` to remove it."""

    checkout_id: str
    expires_at: int | None


class Layout(msgspec.Struct, frozen=True):
    """What lies where: the type of ``checkout:index`` (``none``: missing), and further keys that name sessions, with
    their
    types: an external SET, one put aside, and ours where a process has left it beside an index at its own place.
    """

    place: Place
    kind: str
    has_ours: bool
    others: Mapping[str, str]

    @property
    def key(self) -> str:
        """The key of our index."""
        return INDEX if self.place is Place.OWN else INDEX_BESIDE

    @property
    def is_empty(self) -> bool:
        """Whether no index names any session."""
        return not self.has_ours and not self.others


class Entering(NamedTuple):
    """The commands that change the index along with a write; none where the place is unknown."""

    change: IndexChange
    place: Place | None = None
    commands: tuple[Command, ...] = ()


class _AskAll(Protocol):
    def __call__(self, *commands: Command, lenient: bool = False) -> list[Any]: ...


class IndexPlace:
    """Where the index lies, as this process knows it. Thread-safe. ``max_age`` and ``wall`` are in seconds."""

    def __init__(
        self, ask_all: _AskAll, *, max_age: float, is_cluster: bool, wall: Callable[[], float] = time.time
    ) -> None:
        self._ask_all = ask_all
        self._longest = int(max_age * 1000) + CLOCKS_APART
        self._is_cluster = is_cluster
        self._wall = wall
        self._layout: Layout | None = None

    def known(self) -> Layout:
        """The layout as last found; raises ``WrongKeyType`` where another key is in the way of ours."""
        return self._layout or self.find()

    def find(self) -> Layout:
        """The layout now, in one round trip; raises as :meth:`known`."""
        for _ in range(ATTEMPTS):
            layout = self._read(self._ask_all(*_PROBE, lenient=True))
            if layout is not None:
                self._layout = layout
                return layout
        raise WrongKeyType(f"{INDEX} changes its type all the time", hint=f"redis-cli TYPE {INDEX}")

    def _read(self, replies: Sequence[Any]) -> Layout | None:
        """The layout by the replies to the probe; ``None`` where the index was moved between two of them."""
        for reply in replies:
            checked(reply, WrongKeyType)
        kind, beside, aside = map(type_name, replies[:3])
        lowest, highest = replies[3:]
        if kind == "zset" and not (isinstance(lowest, list) and isinstance(highest, list)):
            return None
        others = {INDEX_ASIDE: "set"} if aside == "set" else {}
        is_beside = beside == "zset"
        if kind == "zset" and self._is_ours([*lowest, *highest]):
            return Layout(Place.OWN, kind, True, {INDEX_BESIDE: "zset"} | others if is_beside else others)
        if kind == "none" and not is_beside:
            return Layout(Place.OWN, kind, False, others)
        if beside not in {"zset", "none"}:
            raise WrongKeyType(f"{INDEX_BESIDE} holds a {beside}, not an index", hint=f"redis-cli TYPE {INDEX_BESIDE}")
        if kind == "set":
            return Layout(Place.BESIDE_SET, kind, is_beside, {INDEX: "set"} | others)
        return Layout(Place.BESIDE_SET if kind == "none" else Place.BESIDE_OTHER, kind, is_beside, others)

    def _is_ours(self, raw: Sequence[bytes]) -> bool:
        """Whether most entries can be ours; a few of another program's must not take the index from us."""
        latest = self._wall() * 1000 + self._longest
        entries = set(pairs(raw))  # the two ends of a short index overlap
        credible = sum(EARLIEST < float(score) <= latest and is_accepted_id(decoded(name)) for name, score in entries)
        return 2 * credible >= len(entries)

    # Along with a write

    def entering(self, change: IndexChange) -> Entering:
        """The commands to send along with a write."""
        try:
            place = self.known().place
        except _LEFT_OUT as error:
            return self._left_out(change, error)
        return Entering(change, place, _commands(place, change))

    def check(self, entering: Entering, replies: Sequence[Any]) -> None:
        """Check their replies; where the index has moved, add the session there, or leave it to a clean-up."""
        if entering.place is None:
            return
        written = len(replies) if entering.place is not Place.BESIDE_OTHER else len(replies) - len(_PROBE)
        try:
            done = [checked(reply, WrongKeyType) for reply in replies[:written]]
            has_moved = any(isinstance(reply, WrongKeyType) for reply in done)
            if entering.place is Place.BESIDE_OTHER and not has_moved:  # no error tells that it is at its own place now
                layout = self._read(replies[written:])
                has_moved = layout is None or layout.place is not Place.BESIDE_OTHER
            if has_moved:
                self._enter(entering.change)
        except _LEFT_OUT as error:
            self._left_out(entering.change, error)

    def _left_out(self, change: IndexChange, error: CheckoutError) -> Entering:
        if isinstance(error, RedisUnavailable) and not isinstance(error, CommandUnknown) and not self._is_cluster:
            raise error
        _log.info("session %s stays without its entry in the index: %s", id_beginning(change.checkout_id), error)
        return Entering(change)

    def _enter(self, change: IndexChange) -> None:
        for _ in range(ATTEMPTS):
            place = self.find().place
            moment = "" if change.expires_at is None else change.expires_at
            script = _PLACE.call_on((INDEX, INDEX_BESIDE), place, encoded(change.checkout_id), moment)
            if self._ask_all(script)[0]:
                return
        raise WrongKeyType(f"{INDEX} was moved {ATTEMPTS} times in a row")


def _commands(place: Place, change: IndexChange) -> tuple[Command, ...]:
    """Ours comes before the SET: whatever moves in between, the SET's reply tells of it."""
    member = encoded(change.checkout_id)
    key = INDEX if place is Place.OWN else INDEX_BESIDE
    ours: Command = ("ZREM", key, member)
    theirs: Command = ("SREM", INDEX, member)
    if change.expires_at is not None:
        ours, theirs = ("ZADD", key, "GT", change.expires_at, member), ("SADD", INDEX, member)
    return (ours, *{Place.OWN: (), Place.BESIDE_SET: (theirs,), Place.BESIDE_OTHER: _PROBE}[place])
