"""The shape of each command's reply: the one border that checks what a server says before anything uses it.

A proxy that mixes up its clients, a server of another protocol version, or one that lies, answers with other types.
Such a reply is no answer: it counts as an unavailable server, and the next tier serves. Shapes are those of the Redis
documentation, by command; those of our scripts are named where a script is registered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Shape = Callable[[Any], bool]
"""Whether a reply has the shape; error replies are never asked."""

SLOTS = 16_384
PORTS = range(1, 65_536)

MALFORMED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError, RecursionError)
"""What the driver's own parsers raise on a reply that is none: a redirection without an address, an array of 4·10⁹."""


def anything(_: Any) -> bool:
    """Any reply."""
    return True


def integer(reply: Any) -> bool:
    """A whole number."""
    return type(reply) is int


def text(reply: Any) -> bool:
    """A string, simple or bulk."""
    return type(reply) is bytes


def type_name(raw: bytes) -> str:
    """The name of a key's type, which a server of any kind tells, and a module may have made."""
    return raw.decode() if re.fullmatch(rb"[A-Za-z][A-Za-z0-9_-]{0,15}", raw) else "value of an unknown type"


def nothing(reply: Any) -> bool:
    """A null."""
    return reply is None


def integer_or_nothing(reply: Any) -> bool:
    """A whole number or a null; asked of a million keys, so without :func:`either`."""
    return type(reply) is int or reply is None


def text_or_nothing(reply: Any) -> bool:
    """A string or a null, as most commands of the shop return."""
    return type(reply) is bytes or reply is None


def decimal(reply: Any) -> bool:
    """A string of digits."""
    return type(reply) is bytes and reply.isdigit() and len(reply) <= 20


def score(reply: Any) -> bool:
    """A string that is a number, as sorted sets have it."""
    if type(reply) is not bytes:
        return False
    try:
        float(reply)
    except ValueError:
        return False
    return True


def replaced(reply: Any) -> bool:
    """A flag, and after it perhaps a string, as the script returns that each write of a session sends."""
    if type(reply) is not list or not 1 <= len(reply) <= 2 or type(reply[0]) is not int:
        return False
    return len(reply) == 1 or type(reply[1]) is bytes


def either(*shapes: Shape) -> Shape:
    """One of several shapes."""
    return lambda reply: any(shape(reply) for shape in shapes)


def some(shape: Shape) -> Shape:
    """An array whose members all have a shape."""
    return lambda reply: type(reply) is list and all(map(shape, reply))


def pairs(first: Shape, second: Shape) -> Shape:
    """An array of names and values in turn."""
    return lambda reply: (
        type(reply) is list and len(reply) % 2 == 0 and all(map(first, reply[::2])) and all(map(second, reply[1::2]))
    )


def array(*members: Shape, more: bool = False) -> Shape:
    """An array of exactly these members; with ``more``, others may follow."""
    return lambda reply: (
        type(reply) is list
        and (len(reply) >= len(members) if more else len(reply) == len(members))
        and all(shape(member) for shape, member in zip(members, reply, strict=False))
    )


_slot_node = array(text_or_nothing, lambda port: type(port) is int and port in PORTS, more=True)


def _slot_range(reply: Any) -> bool:
    """``[first, last, [address, port, …], …]`` (Redis documentation, "CLUSTER SLOTS")."""
    return array(integer, integer, _slot_node, more=True)(reply) and 0 <= reply[0] <= reply[1] < SLOTS


texts = some(text)
PAGE_OF_TEXTS = array(decimal, texts)
_page_of_scores = array(decimal, pairs(text, score))
_slow_command = array(integer, integer, integer, some(either(text, integer, nothing)), more=True)
_latency_event = array(text, integer, integer, integer, more=True)
SHAPES: dict[str, Shape] = {
    "PING": text,
    "TIME": array(decimal, decimal),
    "INFO": text,
    "DBSIZE": integer,
    "TYPE": text,
    "RANDOMKEY": text_or_nothing,
    "SCAN": PAGE_OF_TEXTS,
    **dict.fromkeys(("EXISTS", "DEL", "PTTL", "TTL", "STRLEN", "PEXPIRE", "EXPIRE", "HINCRBY"), integer),
    **dict.fromkeys(("GET", "GETEX", "SET"), text_or_nothing),
    "GETRANGE": text,
    "MGET": some(text_or_nothing),
    **dict.fromkeys(("SADD", "SREM", "SCARD"), integer),
    "SMISMEMBER": some(integer),
    "SRANDMEMBER": texts,
    "SSCAN": PAGE_OF_TEXTS,
    **dict.fromkeys(("ZADD", "ZREM", "ZCARD", "ZCOUNT"), integer),
    "ZRANGE WITHSCORES": pairs(text, score),
    "ZREVRANK": either(integer, nothing),
    "ZSCORE": either(score, nothing),
    "ZMSCORE": some(either(score, nothing)),
    "ZRANDMEMBER WITHSCORES": pairs(text, score),
    "ZSCAN": _page_of_scores,
    "HGETALL": pairs(text, text),
    "HMGET": some(text_or_nothing),
    "HLEN": integer,
    "HKEYS": texts,
    "OBJECT": either(integer, text, nothing),
    "MEMORY USAGE": either(integer, nothing),
    "MEMORY STATS": pairs(text, anything),
    "SLOWLOG GET": some(_slow_command),
    "SLOWLOG LEN": integer,
    "SLOWLOG RESET": text,
    "LATENCY LATEST": some(_latency_event),
    "LATENCY HISTORY": some(array(integer, integer)),
    "LATENCY DOCTOR": text,
    "CONFIG GET": pairs(text, text),
    "CONFIG SET": text,
    "CONFIG REWRITE": text,
    "CLIENT LIST": text,
    "CLIENT NO-TOUCH": text,
    "ACL LIST": texts,
    "MULTI": text,
    "DISCARD": text,
    "CLUSTER INFO": text,
    "CLUSTER MYSHARDID": text,
    "CLUSTER SLOTS": some(_slot_range),
}
"""By the command, or by it and its second word, or its last."""
