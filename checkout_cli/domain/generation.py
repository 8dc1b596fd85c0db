"""The invalidations of a cache, in one small key beside its entries.

An answer carries the generation in which its computation *began*. Invalidating is one write to the generation, however
many entries there are; a slow computation writes an answer that nobody believes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from checkout_cli.domain.entries import Problem
from checkout_cli.store.redis.commands import Command, Script, register
from checkout_cli.store.redis.replies import text

MOST_SCOPES = 64
"""Single invalidations (of a coupon, a range) that are kept; beyond, the oldest invalidate everything older."""
NO_IDENTITY = "-"
"""The identity of a server that does not tell its own."""

_BEGIN = register(Script("begin", package="checkout_cli.domain", reply=text))
_INVALIDATE = register(Script("invalidate", package="checkout_cli.domain"))
_HEAD = re.compile(r"([0-9a-f]{1,64}) ([0-9]{1,15}) ([0-9]{1,15})")
_SCOPE = re.compile(r"([0-9]{1,15}) [0-9]{1,15} (.+)")


class Stamp(msgspec.Struct, frozen=True):
    """The generation in which an answer's computation began, and the server that it was on."""

    token: str
    sequence: int
    identity: str


class Generation(msgspec.Struct, frozen=True):
    """One generation as read; ``scopes`` are the single invalidations with their sequence numbers."""

    stamp: Stamp
    floor: int
    scopes: tuple[tuple[int, str], ...] = ()

    def problem(self, stamp: Stamp, covers: Callable[[str], bool]) -> Problem | None:
        """Why an answer must not be served any more, if so; ``covers`` tells whether a scope is about it.

        The same server as in the stamp means that no snapshot and no failover has brought an older generation back.
        """
        if stamp.token != self.stamp.token:
            return Problem.LOST
        if stamp.identity != self.stamp.identity:
            return Problem.OTHER_SERVER
        if stamp.sequence > self.stamp.sequence:
            return Problem.LOST  # an older generation has come back
        if stamp.sequence < self.floor:
            return Problem.INVALIDATED
        later = (scope for sequence, scope in self.scopes if sequence > stamp.sequence)
        return Problem.INVALIDATED if any(map(covers, later)) else None


def parsed(text: object, identity: bytes | None) -> Generation | None:
    """The generation in a reply, if it is one."""
    try:
        lines = text.decode().split("\n") if isinstance(text, bytes) else []
    except UnicodeDecodeError:
        return None
    head = _HEAD.fullmatch(lines[0]) if lines else None
    scopes = [_SCOPE.fullmatch(line) for line in lines[1:]]
    if head is None or int(head[2]) > int(head[3]):
        return None
    known = tuple((int(scope[1]), scope[2]) for scope in scopes if scope is not None)
    if len(known) < len(scopes):
        return None
    stamp = Stamp(head[1], int(head[3]), identity.decode() if identity else NO_IDENTITY)
    return Generation(stamp, int(head[2]), known)


def begin(key: str, token: str, refused: object) -> Command:
    """The command that returns the generation's text, made anew with ``token`` where it is missing or ``refused``."""
    return _BEGIN.call(key.encode(), token, refused if isinstance(refused, bytes) else b"")


def invalidate(key: str, token: str, scope: str, remembered: int) -> Command:
    """The command that invalidates ``scope``, or all if it is empty, ``remembered`` for so many milliseconds."""
    return _INVALIDATE.call(key.encode(), token, scope, remembered, MOST_SCOPES)
