"""``sync --conflicts`` and ``--resolve``: writes that could not stand, for a person to decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from checkout_cli.errors import ExitCode, InvalidInput
from checkout_cli.keys import is_accepted_id
from checkout_cli.session import Durability, decode, may_follow
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.flush_log import Conflict
from checkout_cli.typed import typed

SHORTEST_BEGINNING = 4


class Keep(StrEnum):
    DATABASE = "database"
    WRITTEN = "written"


@dataclass(frozen=True)
class Conflicts:
    """The newest conflicts and their total number at ``now`` (ms), and the side to keep of the first."""

    now: int
    conflicts: list[Conflict]
    number: int
    keep: Keep = Keep.WRITTEN

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.FINDING if self.number else ExitCode.OK

    @property
    def next_step(self) -> str:
        if not self.conflicts:
            return "checkoutctl sync --conflicts"
        return typed("checkoutctl sync --resolve {} --keep {}", self.conflicts[0].write_id, self.keep)


@dataclass(frozen=True)
class Resolution:
    """The outcome; ``version`` is the one that the written side became."""

    JSON_KEYS = "writeId=conflict.write_id checkoutId=conflict.checkout_id keep dryRun!=done settled=done version"

    conflict: Conflict
    keep: Keep
    done: bool
    version: int | None = None


def list_conflicts(store: CheckoutStore, *, limit: int) -> Conflicts:
    """The newest conflicts; raises DatabaseUnavailable."""
    conflicts, number = store.flush_log.conflicts(limit), store.flush_log.conflict_count()
    keep = _side_to_keep(store, conflicts[0]) if conflicts else Keep.WRITTEN
    return Conflicts(store.clock.wall(), conflicts, number, keep)


def _side_to_keep(store: CheckoutStore, conflict: Conflict) -> Keep:
    """The written side, where :func:`resolve` would not refuse it."""
    written, row = conflict.fields, store.database.read(conflict.checkout_id)
    if written is None or row is None or row.body is None:
        return Keep.DATABASE
    status = decode(row.body).get("paymentStatus")
    return Keep.WRITTEN if may_follow(status, written.get("paymentStatus", status)) else Keep.DATABASE


def resolve(store: CheckoutStore, write_id: str, keep: Keep, *, agreed: Callable[[Conflict, int], bool]) -> Resolution:
    """Settle a conflict, if ``agreed``, which gets it and the time (ms): forget it, or write the written fields.

    Raises InvalidInput, TransitionRefused, SessionNotFound, DatabaseUnavailable; nothing is settled then.
    """
    conflict = _named(store, write_id)
    if not agreed(conflict, store.clock.wall()):
        return Resolution(conflict, keep, done=False)
    version = None
    if keep is Keep.WRITTEN:
        wanted = conflict.fields
        if wanted is None:
            raise InvalidInput(
                f"what was written is no session: {len(conflict.written):,} bytes",
                hint=typed("checkoutctl sync --resolve {} --keep database", conflict.write_id),
            )
        written = store.update(
            conflict.checkout_id, lambda present: changed(present, wanted), require=Durability.DATABASE
        )
        version = written.session.version
    store.flush_log.resolve(conflict.write_id)
    return Resolution(conflict, keep, done=True, version=version)


def _named(store: CheckoutStore, write_id: str) -> Conflict:
    hint = "checkoutctl sync --conflicts"
    if len(write_id) < SHORTEST_BEGINNING or not is_accepted_id(write_id.ljust(8, "0")):
        raise InvalidInput(f"not the id of a write: {write_id[:64]!r}", hint=hint)
    named = store.flush_log.conflicts_named(write_id)
    if len(named) != 1:
        raise InvalidInput(
            f"{'several conflicts begin' if named else 'no conflict begins'} with {write_id!r}", hint=hint
        )
    return named[0]


_THE_STORES = frozenset({"checkoutId", "createdAt", "expiresAt"})
"""Fields that the store itself sets; they are no part of what a person decides."""


def changed(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of ``wanted`` that differ from ``present``: every other one keeps its very digits."""
    return {
        name: value
        for name, value in wanted.items()
        if name not in _THE_STORES and not (name in present and same(present[name], value))
    }


def same(one: Any, other: Any) -> bool:
    """Compared as text, so that ``true`` is not 1."""
    return msgspec.json.encode(one, order="deterministic") == msgspec.json.encode(other, order="deterministic")
