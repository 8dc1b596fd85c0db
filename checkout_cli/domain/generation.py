"""What of a cache was invalidated, in one small key beside its entries.

An answer carries the generation that was in force when its computation *began*. Invalidating is one write to the
generation, however many entries there are; and who computes slowly writes an answer that nobody believes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from checkout_cli.domain.entries import Problem
from checkout_cli.store.redis_commands import Command, Script, register

MOST_SCOPES = 64
"""Invalidations of a single coupon or range that are told apart; beyond, the oldest invalidate everything older."""
NO_IDENTITY = "-"
"""Stands for a server that does not tell who it is."""

_BEGIN = register(Script("begin", package="checkout_cli.domain"))
_INVALIDATE = register(Script("invalidate", package="checkout_cli.domain"))
_TEXT = re.compile(rb"([0-9a-f]+) (\d+) (\d+)(?:\n|\Z)")
_SCOPE = re.compile(rb"\n(\d+) \d+ ([^\n]*)")


class Stamp(msgspec.Struct, frozen=True):
    """Under which generation an answer began to be computed, and on which server that lay."""

    token: str
    sequence: int
    identity: str


class Generation(msgspec.Struct, frozen=True):
    """One generation, as it was read. ``scopes`` are the single invalidations with their sequence numbers."""

    stamp: Stamp
    floor: int
    scopes: tuple[tuple[int, str], ...] = ()

    def problem(self, stamp: Stamp, covers: Callable[[str], bool]) -> Problem | None:
        """Why an answer must not be served any more, if so; ``covers`` tells whether a scope is about it.

        That the generation comes from the very server that it was stamped on means that no snapshot and no failover has
        brought an older one back.
        """
        if stamp.token != self.stamp.token:
            return Problem.LOST
        if stamp.identity != self.stamp.identity:
            return Problem.OTHER_SERVER
        if stamp.sequence < self.floor:
            return Problem.INVALIDATED
        later = (scope for sequence, scope in self.scopes if sequence > stamp.sequence)
        return Problem.INVALIDATED if any(map(covers, later)) else None


def parsed(text: object, identity: bytes | None) -> Generation | None:
    """The generation that a reply holds; ``None`` where there is none, or nothing that could be one."""
    head = _TEXT.match(text) if isinstance(text, bytes) else None
    if head is None or not isinstance(text, bytes):
        return None
    scopes = tuple((int(number), scope.decode()) for number, scope in _SCOPE.findall(text, head.end(3)))
    stamp = Stamp(head[1].decode(), int(head[3]), identity.decode() if identity else NO_IDENTITY)
    return Generation(stamp, int(head[2]), scopes)


def begin(key: str, token: str) -> Command:
    """The command that returns the generation's text, made anew with ``token`` where it is missing or broken."""
    return _BEGIN.call(key.encode(), token)


def invalidate(key: str, token: str, scope: str, remembered: int) -> Command:
    """The command that invalidates what ``scope`` covers, or all where it is empty.

    ``remembered`` is in milliseconds; ``token`` is for where the generation is missing.
    """
    return _INVALIDATE.call(key.encode(), token, scope, remembered, MOST_SCOPES)
