"""Publishing a row to Redis (rules 6 and 6'): a compare-and-set on exact bytes, never a blind write.

A refusal returns the present bytes; they are judged here, and tried again with. Outcomes that write nothing count only
on bytes that were returned after the row was committed.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from checkout_cli.store.protocol.ids import contains
from checkout_cli.store.protocol.row import Row
from checkout_cli.store.protocol.value import Value

MOST_TRIES = 3
"""Refusals after which the row stays pending: somebody writes this session faster than we publish it."""


class Outcome(StrEnum):
    """The outcome of a publish."""

    SET = "set"
    MISSING = "missing"
    """Nothing lies at the key that could be old; whoever misses it fills it from the database."""
    NEWER = "newer"
    EXTERNAL = "external"
    DIRTY = "dirty"
    EXHAUSTED = "exhausted"

    @property
    def is_published(self) -> bool:
        """Whether Redis has nothing older than the row any more; else the row stays pending."""
        return self in {Outcome.SET, Outcome.MISSING, Outcome.NEWER}


class Found(msgspec.Struct, frozen=True):
    """The exact bytes at a key, and the value that they are."""

    raw: bytes
    value: Value


def judge(found: Found, row: Row, identity: bytes | None, accounted: bytes | None) -> Outcome:
    """Whether a row may replace a value (``SET``), or why not.

    ``accounted`` are bytes that the database has accounted for in this very operation.
    """
    value = found.value
    if accounted is not None and found.raw == accounted:
        return Outcome.SET
    if value.is_external:
        return Outcome.EXTERNAL
    if value.is_dirty:
        if value.ids[-1] == row.write_id and value.version == row.version:
            return Outcome.SET
        return Outcome.NEWER if value.base >= row.version or contains(value.ids, row.write_id) else Outcome.DIRTY
    same_again = value.base == row.version and (value.identity != identity or value.questionable)
    return Outcome.SET if value.base < row.version or same_again else Outcome.NEWER


class Move(StrEnum):
    """What to send next."""

    SWAP = "swap"
    """Put the row in place of exactly the bytes that were seen."""
    FILL = "fill"
    """Put the row where nothing lies, if the fill claim is still ours."""
    LOOK = "look"
    """Read the present bytes: those of *open* are older than the row."""


class Publication(msgspec.Struct, frozen=True):
    """One publish under way: the row, and what was last seen at its key (``None``: nothing).

    ``fresh``: it was returned after the row was committed.
    """

    row: Row
    identity: bytes | None
    seen: Found | None
    accounted: bytes | None = None
    fresh: bool = False
    tries: int = 0

    def next(self) -> Move | Outcome:
        """What to send, or the outcome."""
        if self.seen is None:
            return Move.FILL
        outcome = judge(self.seen, self.row, self.identity, self.accounted)
        if outcome is not Outcome.SET:
            return outcome if self.fresh else Move.LOOK
        return Move.SWAP if self.tries < MOST_TRIES else Outcome.EXHAUSTED

    def refused(self, present: Found) -> Publication:
        """The publication after other bytes were returned than expected."""
        return msgspec.structs.replace(self, seen=present, fresh=True, tries=self.tries + 1)
