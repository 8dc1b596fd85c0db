"""What the store and its tiers hand to each other and to operators."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from checkout_cli.session import Session, TierName
from checkout_cli.store.protocol.row import Row


class Record(msgspec.Struct, frozen=True):
    """One version of a session, as a tier keeps it.

    ``body`` is the session's JSON without the store's own fields, or ``None`` in a tombstone. ``version`` is 0 where
    no database row stands behind it (an external writer's session). ``created_at`` and ``expires_at`` are milliseconds
    since the epoch. ``write_id`` names the write that made it, where that is known.
    """

    checkout_id: str
    version: int
    body: bytes | None
    created_at: int
    expires_at: int
    write_id: str = ""

    @property
    def row(self) -> Row:
        """What the protocol needs to know of it."""
        return Row(self.version, self.write_id, self.body)


class Problem(StrEnum):
    """Why a stored value is no session."""

    CORRUPT = "corrupt"
    WRONG_TYPE = "wrong type"
    TOO_LARGE = "too large"
    UNREACHABLE = "unreachable"
    """Whether there is one, nobody can say now: the one server of a cluster that would have it is away."""


class Sighting(msgspec.Struct, frozen=True):
    """What an operator sees when looking at one id, without extending its life.

    ``session`` is ``None`` where the value is no session; ``problem`` then says why and ``detail`` more (never the
    value itself). ``expires_at`` is the real expiry in milliseconds since the epoch (the key's TTL in Redis, the row's
    expiry in the database), ``None`` where the key has none. ``size`` is in bytes.
    """

    checkout_id: str
    tier: TierName
    session: Session | None
    expires_at: int | None
    size: int
    problem: Problem | None = None
    detail: str = ""


class Count(msgspec.Struct, frozen=True):
    """How many sessions are alive, according to which tier; ``exact`` is false where counting was cut short."""

    number: int
    tier: TierName
    exact: bool = True


class Totals(msgspec.Struct, frozen=True):
    """How many sessions were ever created, completed and failed, exactly, according to the database."""

    created: int
    completed: int
    failed: int


class Epoch(NamedTuple):
    """A primary, and the shard that it is the primary of (empty where there is but one)."""

    shard: str
    identity: bytes

    @property
    def stamp(self) -> str:
        """As it is registered."""
        return f"{self.shard} {self.identity.decode()}" if self.shard else self.identity.decode()
