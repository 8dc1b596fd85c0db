"""The entries of a cache for operators: whether each would be served, and if not, why."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class Problem(StrEnum):
    """Why an entry or an answer is not served."""

    INVALIDATED = "invalidated"
    OTHER_SERVER = "from another server, or from before a restart"
    LOST = "the generation was lost"
    UNTOLD = "its generation cannot be read now"
    EXPIRED = "expired"
    CORRUPT = "corrupt, or another program's"
    WRONG_TYPE = "wrong type"
    TOO_LARGE = "too large"


class Answer(msgspec.Struct, frozen=True):
    """One cached value with its moments (ms since the epoch); ``context`` is the digest of a coupon's context."""

    value: Any
    written_at: int | None = None
    expires_at: int | None = None
    context: str | None = None
    problem: Problem | None = None


class CacheEntry(msgspec.Struct, frozen=True):
    """The value of one key.

    ``names`` are the parts of the key: distance and order value, or a code. ``ttl`` is in milliseconds, ``None`` for a
    key without an end; ``size`` in bytes. ``problem`` is set where no answer can be read at all.
    """

    cache: str
    key: str
    names: tuple[str, ...]
    ttl: int | None
    size: int
    answers: tuple[Answer, ...] = ()
    problem: Problem | None = None
