"""What the store and its tiers pass to each other and to operators."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from checkout_cli.session import Session, TierName
from checkout_cli.store.protocol.row import Row


class Record(msgspec.Struct, frozen=True):
    """One version of a session, as a tier keeps it; a tombstone has no body, an external session version 0."""

    checkout_id: str
    version: int
    body: bytes | None
    created_at: int
    expires_at: int
    write_id: str = ""

    @property
    def row(self) -> Row:
        """The part that the protocol needs."""
        return Row(self.version, self.write_id, self.body)


class Problem(StrEnum):
    """Why a stored value is not a session."""

    CORRUPT = "corrupt"
    WRONG_TYPE = "wrong type"
    TOO_LARGE = "too large"
    UNREACHABLE = "unreachable"
    """Whether there is one, nobody can say now: the one server of a cluster that would have it is away."""


class Sighting(msgspec.Struct, frozen=True):
    """One session as operators see it; of an unreadable value, ``problem`` and ``detail`` say why.

    ``expires_at`` is the real expiry of its tier in milliseconds (``None``: no end), ``size`` is in bytes.
    """

    checkout_id: str
    tier: TierName
    session: Session | None
    expires_at: int | None
    size: int
    problem: Problem | None = None
    detail: str = ""

    def has_expired(self, now: int) -> bool:
        """Whether it is the row of a session that has ended; ``now`` is in milliseconds."""
        return self.tier is TierName.DATABASE and self.expires_at is not None and self.expires_at <= now


class Count(msgspec.Struct, frozen=True):
    """The number of living sessions, by which tier; ``exact`` is false where counting was cut short."""

    number: int
    tier: TierName
    exact: bool = True


class Totals(msgspec.Struct, frozen=True):
    """How many sessions were ever created, completed and failed, exactly, by the database."""

    created: int
    completed: int
    failed: int


class Epoch(NamedTuple):
    """A primary and its shard (empty without a cluster)."""

    shard: str
    identity: bytes

    @property
    def stamp(self) -> str:
        """Its name in the database's table."""
        return f"{self.shard} {self.identity.decode()}" if self.shard else self.identity.decode()
