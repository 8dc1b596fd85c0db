"""What lies at the keys of a cache, as an operator sees it: whether it would be served, and if not, why."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class Problem(StrEnum):
    """Why what lies at a cache's key is not served."""

    INVALIDATED = "invalidated"
    OTHER_SERVER = "from another server, or from before a restart"
    LOST = "the generation was lost"
    UNTOLD = "its generation cannot be read now"
    EXPIRED = "expired"
    CORRUPT = "corrupt, or another program's"
    WRONG_TYPE = "wrong type"
    TOO_LARGE = "too large"


class Answer(msgspec.Struct, frozen=True):
    """One cached value. Moments are milliseconds since the epoch, ``None`` where they are not known.

    ``context`` is the digest of what a coupon's answer was asked with; a delivery charge has none. ``problem`` is
    ``None`` for what would be served now.
    """

    value: Any
    written_at: int | None = None
    expires_at: int | None = None
    context: str | None = None
    problem: Problem | None = None


class CacheEntry(msgspec.Struct, frozen=True):
    """What lies at one key.

    ``names`` are what the key is made of: distance and order value, or a code. ``ttl`` is in milliseconds, ``None`` for
    a key without an end; ``size`` in bytes. ``problem`` is set where no answer can be read at all.
    """

    cache: str
    key: str
    names: tuple[str, ...]
    ttl: int | None
    size: int
    answers: tuple[Answer, ...] = ()
    problem: Problem | None = None
