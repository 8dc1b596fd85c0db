"""The value at a session's key, as *open* or an inspection returns it."""

from __future__ import annotations

import msgspec

from checkout_cli.session import MAX_BODY_BYTES
from checkout_cli.store.protocol import value as values
from checkout_cli.store.protocol.publishing import Found
from checkout_cli.store.protocol.value import Kind, Value
from checkout_cli.store.records import Problem

LARGEST_VALUE = 1024 * 1024
"""The largest value that is read as a session, in bytes; our own end at a quarter of it."""


class Opened(msgspec.Struct, frozen=True):
    """The result of *open*: exact bytes and value, if any, the server, and our fill claim if the key is missing."""

    raw: bytes | None
    identity: bytes | None
    token: bytes = b""
    problem: Problem | None = None
    value: Value | None = None

    @property
    def found_something(self) -> bool:
        """Whether anything lies at the key."""
        return self.raw is not None or self.problem is not None

    @property
    def is_external(self) -> bool:
        """Whether an external writer wrote it last."""
        return self.value is not None and self.value.is_external

    @property
    def is_settled(self) -> bool:
        """Whether the database has all that lies there: it is missing, or a clean value of ours."""
        return self.value is None or not (self.value.is_external or self.value.is_dirty)

    @property
    def standing(self) -> Value | None:
        """A clean value that was published to this very server and not changed since."""
        value = self.value
        usable = value is not None and self.is_settled and not value.questionable and value.identity == self.identity
        return value if usable else None

    @property
    def found(self) -> Found | None:
        """The bytes and their value, for the protocol."""
        return None if self.raw is None or self.value is None else Found(self.raw, self.value)

    def now_with(self, raw: bytes | None) -> Opened:
        """The same key, now that other bytes are known to lie there."""
        return opened_with(raw, self.identity)


def opened_with(raw: bytes | None, identity: bytes | None, token: bytes = b"") -> Opened:
    if raw is None:
        return Opened(None, identity, token)
    if len(raw) > LARGEST_VALUE:
        return Opened(None, identity, problem=Problem.TOO_LARGE)
    value = values.decode(raw)
    if value.kind is Kind.UNREADABLE and len(raw) > MAX_BODY_BYTES:  # it could not be kept whole: it stays where it is
        return Opened(None, identity, problem=Problem.TOO_LARGE)
    return Opened(raw, identity, value=value)


class Replaced(msgspec.Struct, frozen=True):
    """Whether the expected bytes were replaced; if not, what lies there (``None``: nothing)."""

    done: bool
    present: bytes | None = None


class Look(msgspec.Struct, frozen=True):
    """The exact bytes at a session's key, and their meaning. ``ttl`` is in milliseconds; ``None``: no end."""

    value: bytes | None
    ttl: int | None
    size: int
    problem: Problem | None = None
    detail: str = ""
    copy: Value | None = None
