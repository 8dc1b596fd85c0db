"""The dirty writes of this process, kept until the database has them.

Whatever Redis loses meanwhile, their writer still brings them to the database (rule 12). What no longer fits is
dropped, oldest first: from then on only Redis has it, as if its writer had ended.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import islice

import msgspec

from checkout_cli.store.protocol import value as values
from checkout_cli.store.protocol.ids import contains
from checkout_cli.store.protocol.value import Value

MOST_SESSIONS = 10_000
MOST_BYTES = 8 * 2**20
"""Of values, as they are in Redis."""


class OwnWrite(msgspec.Struct, frozen=True):
    """The exact bytes that this process wrote to the server of ``identity``, their ids, and the session's end (ms)."""

    raw: bytes
    identity: bytes | None
    ids: tuple[str, ...]
    expires_at: int
    since: float = 0.0
    """When (elapsed seconds) the oldest of the writes in it was made."""

    @property
    def value(self) -> Value:
        """The value that was written."""
        return values.decode(self.raw)


class OwnWrites:
    """One process' own writes. Thread-safe. ``elapsed`` counts seconds."""

    def __init__(
        self, elapsed: Callable[[], float], *, most_sessions: int = MOST_SESSIONS, most_bytes: int = MOST_BYTES
    ) -> None:
        self._elapsed = elapsed
        self._most_sessions = most_sessions
        self._most_bytes = most_bytes
        self.forget_all()

    def forget_all(self) -> None:
        """Begin anew, in a process that was forked: its parent brings its own writes to the database."""
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[OwnWrite, ...]] = OrderedDict()
        self._bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._kept)

    def ids(self, checkout_id: str) -> tuple[str, ...]:
        """The last ids of a session's writes that the database may lack."""
        kept = self._kept.get(checkout_id)
        if kept is None:
            return ()
        return kept[0].ids[-1:] if len(kept) == 1 else tuple(each.ids[-1] for each in kept)

    def of(self, checkout_id: str) -> tuple[OwnWrite, ...]:
        """A session's writes that the database may lack, oldest first: none of them contains another."""
        return self._kept.get(checkout_id, ())

    def keep(self, checkout_id: str, own: OwnWrite, grew_from: Sequence[str] = ()) -> None:
        """Keep a write in place of those that it contains; it waits since the oldest of them was made.

        ``grew_from`` are the ids of the value that it was made of.
        """
        with self._lock:
            before = self._kept.get(checkout_id, ())
            since = before[0].since if before else self._elapsed()
            own = OwnWrite(own.raw, own.identity, own.ids, own.expires_at, since)
            self._put(checkout_id, before, (*_lacking(before, (*grew_from, *own.ids)), own))
            while len(self._kept) > self._most_sessions or (self._bytes > self._most_bytes and len(self._kept) > 1):
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= _size(oldest)
                self.dropped += len(oldest)

    def accounted(self, checkout_id: str, ids: Sequence[str]) -> None:
        """The database has accounted for a value with these ids, and so for every write in it."""
        if checkout_id not in self._kept:
            return
        with self._lock:
            before = self._kept.get(checkout_id, ())
            self._put(checkout_id, before, _lacking(before, ids))

    def oldest(self, limit: int) -> list[tuple[str, OwnWrite]]:
        """The first write of each of at most ``limit`` sessions, those that have waited longest first."""
        with self._lock:
            return [(name, kept[0]) for name, kept in islice(self._kept.items(), limit)]

    def oldest_age(self) -> float:
        """For how many seconds the oldest has waited; 0 without any."""
        with self._lock:
            first = next(iter(self._kept.values()), None)
        return 0.0 if first is None else max(self._elapsed() - first[0].since, 0.0)

    def _put(self, checkout_id: str, before: tuple[OwnWrite, ...], after: tuple[OwnWrite, ...]) -> None:
        self._bytes += _size(after) - _size(before)
        if after:
            self._kept[checkout_id] = after  # at its place: a session that is written all the time waits no longer
        else:
            self._kept.pop(checkout_id, None)


def _lacking(kept: Sequence[OwnWrite], ids: Sequence[str]) -> tuple[OwnWrite, ...]:
    return tuple(each for each in kept if not contains(ids, each.ids[-1]))


def _size(kept: Sequence[OwnWrite]) -> int:
    return sum(len(each.raw) for each in kept)
