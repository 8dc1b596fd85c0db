"""Sizes and times to live of keys, asked page by page without touching the keys.

MEMORY USAGE and PTTL touch no key. STRLEN, which stands in where MEMORY USAGE is denied, would count as a use of the
key and spoil LRU and LFU, but for CLIENT NO-TOUCH (Redis 7.2, Valkey 7.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from checkout_cli.clock import Clock
from checkout_cli.errors import CheckoutError, CommandDenied, CommandUnknown, ConfigurationError
from checkout_cli.keys import INDEX
from checkout_cli.servers.inspection import missing_grant
from checkout_cli.store.redis.commands import Command
from checkout_cli.store.redis.pipeline import Conversation, one_key
from checkout_cli.store.redis.replies import PAGE_OF_TEXTS, integer_or_nothing
from checkout_cli.store.redis.server import RedisServer

PAGE = 100
"""Keys that SCAN is asked for at a time. Redis answers all commands of a client before it turns to the next one: two
commands for each of these keys take a fifth of a millisecond, which a shopper may wait."""
NO_TTL, GONE = -1, -2
"""PTTL's answers for a key without expiry, and for a missing key."""
ESTIMATED_OVERHEAD = 80
"""Bytes that Redis adds to a string's key and value; measured, 37 to 70 on Valkey 9 and 53 to 175 on Redis 7.0."""

_TTL = one_key(b"PTTL")


class Method(StrEnum):
    """The source of sizes: Redis, a guess from the lengths of strings, or none."""

    MEMORY_USAGE = "memoryUsage"
    STRLEN = "strlen"
    NONE = "none"


_SIZE = {Method.MEMORY_USAGE: one_key(b"MEMORY", b"USAGE"), Method.STRLEN: one_key(b"STRLEN"), Method.NONE: b""}


@dataclass(frozen=True)
class Allowed:
    """The commands that a server allows; ``notes`` say what is missing and why. ``total`` is DBSIZE."""

    method: Method
    ttl: bool
    no_touch: bool
    total: int | None
    notes: tuple[str, ...] = ()

    @property
    def template(self) -> bytes:
        return _SIZE[self.method] + (_TTL if self.ttl else b"")

    @property
    def per_key(self) -> int:
        return (self.method is not Method.NONE) + self.ttl


@dataclass(frozen=True)
class Page:
    """Keys with sizes in bytes and times to live in ms (``None``: unknown), without those that ended meanwhile.

    ``following`` is the cursor of the next page.
    """

    keys: list[bytes]
    sizes: list[int | None]
    ttls: list[int | None]
    following: int = 0

    def rows(self) -> Iterator[tuple[bytes, int | None, int | None]]:
        return zip(self.keys, self.sizes, self.ttls, strict=True)


def allowed_on(talk: Conversation) -> Allowed:
    """Try each command once, and leave NO-TOUCH on where possible."""
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
    return Allowed(method, _refusal(ttl) is None, not touched, count, tuple(notes))


def _refusal(reply: Any) -> str | None:
    """Why a command does not work at all; one key that this user may not see is no reason."""
    if isinstance(reply, CommandUnknown):
        return "is unknown to this server"
    if isinstance(reply, CommandDenied) and reply.grant:
        return missing_grant(reply)
    return None


@contextmanager
def measuring(server: RedisServer, *, sizes: bool = True) -> Iterator[tuple[Conversation, Allowed]]:
    """A pipeline that measures keys, or without ``sizes`` only lists them; NO-TOUCH is off again afterwards."""
    with server.conversation() as talk:
        allowed = allowed_on(talk) if sizes else Allowed(Method.NONE, ttl=False, no_touch=False, total=None)
        yield talk, allowed
        if allowed.no_touch and not talk.outstanding:  # a connection with replies to come is closed anyway
            talk.ask(("CLIENT", "NO-TOUCH", "OFF"))


def all_pages(talk: Conversation, allowed: Allowed, cursor: int = 0) -> Iterator[Page]:
    """Every key from a cursor on, measured; ``following`` is 0 in the last page.

    The server measures the next page while this process counts one. SCAN may return a key twice while Redis resizes its
    table; it then counts twice, since only a memory of all keys could tell.

    Raises:
        CommandDenied, CommandUnknown: SCAN is refused.
    """
    talk.say(scan_command(cursor))
    following, keys = scanned(talk.replies(1, PAGE_OF_TEXTS)[0])
    _ask_page(talk, allowed, following, keys)
    while following:
        upcoming = scanned(talk.replies(1, PAGE_OF_TEXTS)[0])
        _ask_page(talk, allowed, *upcoming)
        yield measured(talk, allowed, keys, following)
        following, keys = upcoming
    yield measured(talk, allowed, keys, following)


def _ask_page(talk: Conversation, allowed: Allowed, following: int, keys: list[bytes]) -> None:
    if following:
        talk.say(scan_command(following))
    ask_sizes(talk, allowed, keys)


def throttled_pages(talk: Conversation, allowed: Allowed, cursor: int, load: float, clock: Clock) -> Iterator[Page]:
    """As :func:`all_pages`, one page at a time, with rests so that Redis is busy for ``load`` (0 to 1) of the time."""
    while True:
        begun = clock.elapsed()
        talk.say(scan_command(cursor))
        cursor, keys = scanned(talk.replies(1, PAGE_OF_TEXTS)[0])
        ask_sizes(talk, allowed, keys)
        page = measured(talk, allowed, keys, cursor)
        clock.pause((clock.elapsed() - begun) * (1 / load - 1))
        yield page
        if not cursor:
            return


def scan_command(cursor: int) -> Command:
    """SCAN for the page at a cursor."""
    return ("SCAN", str(cursor), "COUNT", PAGE)


def scanned(reply: Any) -> tuple[int, list[bytes]]:
    """The next cursor and the keys of SCAN's reply; raises it where it is a refusal."""
    if isinstance(reply, CheckoutError):
        raise reply
    following, keys = reply
    return int(following), keys


def ask_sizes(talk: Conversation, allowed: Allowed, keys: list[bytes]) -> None:
    """Send the questions about keys that :func:`measured` reads the replies to."""
    template = allowed.template
    if allowed.per_key == 2:
        talk.send(b"".join([template % (len(key), key, len(key), key) for key in keys]), 2 * len(keys))
    elif allowed.per_key == 1:
        talk.send(b"".join([template % (len(key), key) for key in keys]), len(keys))


def measured(talk: Conversation, allowed: Allowed, keys: list[bytes], following: int) -> Page:
    """The page of keys that :func:`ask_sizes` has asked about."""
    replies = talk.replies(allowed.per_key * len(keys), integer_or_nothing)
    nothing: list[Any] = [None] * len(keys)
    sizes = replies[:: allowed.per_key] if allowed.method is not Method.NONE else nothing
    ttls = replies[allowed.per_key - 1 :: allowed.per_key] if allowed.ttl else nothing
    if allowed.method is Method.MEMORY_USAGE and allowed.ttl and set(map(type, replies)) <= {int} and GONE not in ttls:
        return Page(keys, sizes, ttls, following)  # the usual case, which a million keys are hurried through
    page = Page([], [], [], following)
    for key, size, ttl in zip(keys, sizes, ttls, strict=True):
        elsewhere = isinstance(size, ConfigurationError) or isinstance(ttl, ConfigurationError)  # MOVED, in a cluster
        if ttl != GONE and not elsewhere and not (size is None and allowed.method is Method.MEMORY_USAGE):
            page.keys.append(key)
            page.sizes.append(_size(allowed.method, key, size))
            page.ttls.append(ttl if isinstance(ttl, int) else None)
    return page


def _size(method: Method, key: bytes, reply: Any) -> int | None:
    if not isinstance(reply, int):
        return None  # not a string, not for this user, or with another server of the cluster by now
    return reply if method is Method.MEMORY_USAGE else reply + len(key) + ESTIMATED_OVERHEAD
