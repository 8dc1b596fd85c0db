"""How much memory keys take and when they end: asked page by page, without disturbing what it looks at.

MEMORY USAGE and PTTL touch no key; STRLEN, which stands in for the first where that is denied, would count as a use
of it (and so would spoil LRU and LFU) but for CLIENT NO-TOUCH (Redis 7.2, Valkey 7.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from checkout_cli.errors import CheckoutError, CommandDenied, CommandUnknown, ConfigurationError
from checkout_cli.keys import INDEX
from checkout_cli.servers.inspection import missing_grant
from checkout_cli.store.redis.commands import Command
from checkout_cli.store.redis.pipeline import Conversation, one_key
from checkout_cli.store.redis.replies import PAGE_OF_TEXTS, integer_or_nothing
from checkout_cli.store.redis.server import RedisServer

PAGE = 100
"""Keys that SCAN is asked for at a time. Redis answers all that a client has sent before it turns to the next one: two
commands for each of these take a fifth of a millisecond, for which a shopper may wait."""
NO_TTL, GONE = -1, -2
"""What PTTL answers for a key that never ends, and for one that has ended."""
ESTIMATED_OVERHEAD = 80
"""Bytes that Redis adds to a string's key and value; measured, 37 to 70 on Valkey 9 and 53 to 175 on Redis 7.0."""

_SIZE_BY_MEMORY, _SIZE_BY_LENGTH = one_key(b"MEMORY", b"USAGE"), one_key(b"STRLEN")
_TTL = one_key(b"PTTL")


class Method(StrEnum):
    """How sizes are known: as Redis tells, guessed from the lengths of strings, or not at all."""

    MEMORY_USAGE = "memoryUsage"
    STRLEN = "strlen"
    NONE = "none"


@dataclass(frozen=True)
class Ways:
    """What may be asked on a server, and, in ``notes``, what is missing and why. ``total`` is DBSIZE."""

    method: Method
    ttl: bool
    no_touch: bool
    total: int | None
    notes: tuple[str, ...] = ()

    @property
    def template(self) -> bytes:
        """The commands for one key, but for the key."""
        size = {Method.MEMORY_USAGE: _SIZE_BY_MEMORY, Method.STRLEN: _SIZE_BY_LENGTH, Method.NONE: b""}
        return size[self.method] + (_TTL if self.ttl else b"")

    @property
    def per_key(self) -> int:
        """How many they are."""
        return (self.method is not Method.NONE) + self.ttl


@dataclass(frozen=True)
class Page:
    """Some keys with their sizes in bytes (``None``: not known) and times to live in ms (``None``: not known).

    Keys that had gone by the time they were measured are left out. ``following`` is the cursor of the next page.
    """

    keys: list[bytes]
    sizes: list[int | None]
    ttls: list[int | None]
    following: int = 0

    def rows(self) -> Iterator[tuple[bytes, int | None, int | None]]:
        """Each key with its size and time to live."""
        return zip(self.keys, self.sizes, self.ttls, strict=True)


def ways_of(talk: Conversation) -> Ways:
    """Find out what may be asked here, each command once; leaves NO-TOUCH on where that is possible.

    Raises:
        RedisUnavailable: nothing answers.
    """
    no_touch, memory, length, ttl, total = talk.ask(
        ("CLIENT", "NO-TOUCH", "ON"), ("MEMORY", "USAGE", INDEX), ("STRLEN", INDEX), ("PTTL", INDEX), ("DBSIZE",)
    )
    notes = []
    method = Method.MEMORY_USAGE
    if refusal := _refusal(memory):
        method = Method.STRLEN if _refusal(length) is None else Method.NONE
        stand_in = "sizes are estimates from the lengths of strings" if method is Method.STRLEN else "sizes are unknown"
        notes.append(f"{stand_in}: MEMORY USAGE {refusal}")
    if refusal := _refusal(ttl):
        notes.append(f"times to live are unknown: PTTL {refusal}")
    touched = isinstance(no_touch, CheckoutError)
    if touched and method is Method.STRLEN:
        notes.append("looking at a string counts as a use of it: this server or user has no CLIENT NO-TOUCH")
    count = total if isinstance(total, int) else None
    return Ways(method, _refusal(ttl) is None, not touched, count, tuple(notes))


def _refusal(reply: Any) -> str | None:
    """Why a command does not work here at all; a key that this user may not see is no reason."""
    if isinstance(reply, CommandUnknown):
        return "is unknown to this server"
    if isinstance(reply, CommandDenied) and reply.grant:
        return missing_grant(reply)
    return None


@dataclass(frozen=True)
class Throttle:
    """Rests after each page, so that Redis works for us for no more than ``load`` (0 to 1) of the time."""

    load: float
    elapsed: Callable[[], float]
    pause: Callable[[float], None]

    def rest(self, took: float) -> None:
        """Rest after having been served for ``took`` seconds."""
        self.pause(took * (1 / self.load - 1))


@contextmanager
def measuring(server: RedisServer) -> Iterator[tuple[Conversation, Ways]]:
    """A conversation in which keys can be measured, and how; NO-TOUCH is off again afterwards.

    Raises:
        RedisUnavailable: nothing answers.
    """
    with server.conversation() as talk:
        ways = ways_of(talk)
        yield talk, ways
        if ways.no_touch and not talk.outstanding:  # a connection with replies to come is closed anyway
            talk.ask(("CLIENT", "NO-TOUCH", "OFF"))


@contextmanager
def listing(server: RedisServer) -> Iterator[tuple[Conversation, Ways]]:
    """A conversation in which keys are listed, and nothing else is asked of them."""
    with server.conversation() as talk:
        yield talk, Ways(Method.NONE, ttl=False, no_touch=False, total=None)


def all_pages(talk: Conversation, ways: Ways, cursor: int = 0, throttle: Throttle | None = None) -> Iterator[Page]:
    """Every key from a cursor on, measured; ``following`` is 0 in the last page.

    While this process counts one page the server measures the next one; not so with a throttle.

    SCAN may return a key twice while Redis shrinks or grows its table of keys. It is counted twice then: to know, all
    keys would have to be remembered. What DBSIZE says before and after shows how far off that can be.

    Raises:
        CommandDenied, CommandUnknown: SCAN is.
        RedisUnavailable: nothing answers any more.
    """
    talk.say(scan_command(cursor, PAGE))
    following, keys = _scanned(talk)
    started = _send(talk, ways, keys, following, throttle)
    while True:
        upcoming = _scanned(talk) if following else None
        if upcoming and throttle is None:
            _send(talk, ways, upcoming[1], upcoming[0], throttle)
        page = measured(talk, ways, keys, following)
        if throttle is not None:
            throttle.rest(throttle.elapsed() - started)
        yield page
        if upcoming is None:
            return
        following, keys = upcoming
        if throttle is not None:
            started = _send(talk, ways, keys, following, throttle)


def _send(talk: Conversation, ways: Ways, keys: list[bytes], following: int, throttle: Throttle | None) -> float:
    """Ask for the page after a page, and then for the sizes of this one; returns when that was."""
    if following:
        talk.say(scan_command(following, PAGE))
    ask_sizes(talk, ways, keys)
    return 0.0 if throttle is None else throttle.elapsed()


def scan_command(cursor: int, count: int) -> Command:
    """The command for the page at a cursor."""
    return ("SCAN", str(cursor), "COUNT", count)


def _scanned(talk: Conversation) -> tuple[int, list[bytes]]:
    return scanned(talk.replies(1, PAGE_OF_TEXTS)[0])


def scanned(reply: Any) -> tuple[int, list[bytes]]:
    """SCAN's reply: the next cursor, and keys.

    Raises:
        CheckoutError: SCAN was refused.
    """
    if isinstance(reply, CheckoutError):
        raise reply
    following, keys = reply
    return int(following), keys


def ask_sizes(talk: Conversation, ways: Ways, keys: list[bytes]) -> None:
    """Ask for the sizes and times to live of keys."""
    template = ways.template
    if ways.per_key == 2:
        talk.send(b"".join([template % (len(key), key, len(key), key) for key in keys]), 2 * len(keys))
    elif ways.per_key == 1:
        talk.send(b"".join([template % (len(key), key) for key in keys]), len(keys))


def measured(talk: Conversation, ways: Ways, keys: list[bytes], following: int) -> Page:
    """What :func:`ask_sizes` has asked for."""
    replies = talk.replies(ways.per_key * len(keys), integer_or_nothing)
    nothing: list[Any] = [None] * len(keys)
    sizes = replies[:: ways.per_key] if ways.method is not Method.NONE else nothing
    ttls = replies[ways.per_key - 1 :: ways.per_key] if ways.ttl else nothing
    if ways.method is Method.MEMORY_USAGE and ways.ttl and set(map(type, replies)) <= {int} and GONE not in ttls:
        return Page(keys, sizes, ttls, following)  # the usual case, which a million keys are hurried through
    page = Page([], [], [], following)
    for key, size, ttl in zip(keys, sizes, ttls, strict=True):
        elsewhere = isinstance(size, ConfigurationError) or isinstance(ttl, ConfigurationError)  # MOVED, in a cluster
        if ttl != GONE and not elsewhere and not (size is None and ways.method is Method.MEMORY_USAGE):
            page.keys.append(key)
            page.sizes.append(_size(ways.method, key, size))
            page.ttls.append(ttl if isinstance(ttl, int) else None)
    return page


def _size(method: Method, key: bytes, reply: Any) -> int | None:
    if not isinstance(reply, int):
        return None  # not a string, not for this user, or with another server of the cluster by now
    return reply if method is Method.MEMORY_USAGE else reply + len(key) + ESTIMATED_OVERHEAD
