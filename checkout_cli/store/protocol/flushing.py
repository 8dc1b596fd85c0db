"""What flushing a dirty value does (rule 7): it becomes the next version, is merged, or is a conflict.

A flush may happen twice, late, or from a value that a restart brought back, and changes nothing then. The decision is
carried out in one transaction, with the row locked.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol

import msgspec

from checkout_cli.store.protocol.ids import RESTORED, contains, is_external, number_of, token_of
from checkout_cli.store.protocol.row import Row
from checkout_cli.store.protocol.value import Value


class Result(StrEnum):
    """The outcome for a dirty value."""

    APPLIED = "applied"
    """It is the row's next version, or the first."""
    PARTLY = "partly applied"
    """It is, but for what may not follow the row, such as a payment status: that is in the conflict log."""
    MERGED = "merged"
    """The row had changed meanwhile: what fits together is in it; the rest, if any, is in the conflict log."""
    CONFLICT = "conflict"
    """The row stays as it was; both contents are in the conflict log."""
    ALREADY = "already there"


class Logged(NamedTuple):
    """The flush log's entry for a token: the last write flushed, and its result."""

    number: int
    result: Result


class Joined(NamedTuple):
    """A body made of two; complete if all of the incoming one is in it, and nothing of the row's was replaced."""

    body: bytes
    complete: bool


class Bodies(Protocol):
    """How bodies are compared and combined; the protocol does not look into them."""

    def same(self, one: bytes, other: bytes) -> bool:
        """Whether two bodies are one state."""

    def first(self, incoming: bytes) -> Joined:
        """A session's first version."""

    def follow(self, row: bytes, incoming: bytes) -> Joined:
        """The version after the row's body, made of one that grew from it."""

    def merge(self, base: bytes | None, row: bytes, incoming: bytes) -> Joined:
        """The row's body with the incoming one's changes since the ``base`` of both, if it is known."""


class Flush(msgspec.Struct, frozen=True):
    """What a flush does: the row that it writes, whether both contents go to the conflict log, what it logs."""

    result: Result
    row: Row | None = None
    conflict: bool = False
    log: tuple[tuple[str, Logged], ...] = ()
    earlier: Result | None = None
    """What became of the value before, where the log knows it."""

    @property
    def is_whole(self) -> bool:
        """Whether all of the value became, or had become, a version of the row."""
        return (self.earlier or self.result) in {Result.APPLIED, Result.ALREADY}


def decide(value: Value, row: Row | None, logged: Mapping[str, Logged], bodies: Bodies, fresh_id: str) -> Flush:
    """What flushing a dirty value does to the row (rule 7, a to e).

    ``logged`` is the flush log's knowledge of the value's tokens; ``fresh_id`` is an unused id, for a state that is not
    the value's own.
    """
    known = _known(value, row, logged)
    if known is not None:
        return known
    if row is not None and row.body is not None and _is_taken_in(value) and bodies.same(value.body, row.body):
        return _logged(Flush(Result.ALREADY), value)
    if row is None:
        return _logged(_first(value, bodies, fresh_id), value)
    if row.body is None:
        return _logged(Flush(Result.CONFLICT, conflict=True), value)
    grew_from_row = row.version == value.base or contains(value.ids, row.write_id)
    if grew_from_row and value.version > row.version:  # a header may claim anything
        return _logged(_following(value, row, row.body, bodies, fresh_id), value)
    return _logged(_merged(value, row, row.body, bodies, fresh_id), value)


def _known(value: Value, row: Row | None, logged: Mapping[str, Logged]) -> Flush | None:
    """The earlier result: it is in the log, or the row was made by its last write, whose answer was lost."""
    last = value.ids[-1]
    before = logged.get(token_of(last))
    if before is not None and before.number >= number_of(last):
        partly_or_not = before.result in {Result.PARTLY, Result.CONFLICT}
        return Flush(before.result if partly_or_not else Result.ALREADY, earlier=before.result)
    if row is not None and row.write_id == last and row.version == value.version:
        return Flush(Result.ALREADY)
    if _is_taken_in(value) and value.ids[-2].startswith(RESTORED) and token_of(value.ids[-2]) in logged:
        return Flush(Result.ALREADY)
    return None


def _is_taken_in(value: Value) -> bool:
    """Whether it is an external value as it was, without a write of ours in it."""
    return len(value.ids) > 1 and is_external(value.ids[-2]) and number_of(value.ids[-1]) == 1


def _first(value: Value, bodies: Bodies, fresh_id: str) -> Flush:
    if value.base:  # it grew from a row that is gone
        return Flush(Result.CONFLICT, conflict=True)
    joined = bodies.first(value.body)
    if joined.complete:
        return Flush(Result.APPLIED, Row(value.version, value.ids[-1], value.body))
    return Flush(Result.PARTLY, Row(value.version, fresh_id, joined.body), conflict=True)


def _following(value: Value, row: Row, body: bytes, bodies: Bodies, fresh_id: str) -> Flush:
    joined = bodies.follow(body, value.body)
    if joined.complete:
        return Flush(Result.APPLIED, _after(row, value.version, value.ids[-1], value.body))
    return Flush(Result.PARTLY, _after(row, value.version, fresh_id, joined.body), conflict=True)


def _merged(value: Value, row: Row, body: bytes, bodies: Bodies, fresh_id: str) -> Flush:
    base = row.previous_body if value.base and value.base == row.previous_version else None
    joined = bodies.merge(base, body, value.body)
    if bodies.same(joined.body, body):
        return Flush(Result.ALREADY) if joined.complete else Flush(Result.CONFLICT, conflict=True)
    following = _after(row, row.version + 1, fresh_id, joined.body)
    return Flush(Result.MERGED, following, conflict=not joined.complete)


def _after(row: Row, version: int, write_id: str, body: bytes) -> Row:
    return Row(version, write_id, body, row.version, row.body)


def _logged(flush: Flush, value: Value) -> Flush:
    numbers: dict[str, int] = {}
    for each in value.ids:  # a header may claim the same token twice, and the log has it once
        numbers[token_of(each)] = max(number_of(each), numbers.get(token_of(each), 0))
    log = tuple((token, Logged(number, flush.result)) for token, number in numbers.items())
    return msgspec.structs.replace(flush, log=log)
