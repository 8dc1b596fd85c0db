"""Copying values from one Redis to another; nothing there is overwritten unseen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from checkout_cli.errors import WrongKeyType
from checkout_cli.store.redis.admin import RedisAdmin
from checkout_cli.store.redis.commands import Script, checked, register

_ADOPT_HASH = register(Script("adopt_hash"))


class SessionCopy(NamedTuple):
    """A session's value and TTL (ms; ``None``: no end), to be put in the place of ``seen``."""

    checkout_id: str
    value: bytes
    ttl: int | None
    seen: bytes | None = None


class Hash(NamedTuple):
    """A hash: its key, names and values in turn, and TTL (ms; 0: no end)."""

    key: bytes
    content: list[bytes]
    ttl: int


def put_sessions(redis: RedisAdmin, copies: Sequence[SessionCopy]) -> list[bool]:
    """Put each in its place; false where something else was there by then. On an error, some may be put."""
    scripts = [redis.copying(copy.checkout_id, copy.seen, copy.value, copy.ttl or 0) for copy in copies]
    return [bool(done) for done, *_ in redis.ask_all(*scripts)] if copies else []


def extend_ttls(redis: RedisAdmin, lives: Sequence[tuple[str, int]]) -> None:
    """Let sessions live at least so long (ms); never shorter than they would."""
    for checkout_id, life in lives:
        redis.extend_ttl(checkout_id, life)


def read_hashes(redis: RedisAdmin, keys: Sequence[bytes]) -> list[Hash]:
    """The hashes among the keys, but those larger than any of ours; raises ``RedisUnavailable``, ``CommandDenied``."""
    return [
        Hash(key, content, max(checked(ttl), 0))
        for key, content, ttl in zip(keys, redis.hashes(keys), redis.ttls(keys), strict=True)
        if not isinstance(content, WrongKeyType) and checked(content)
    ]


def put_hashes(redis: RedisAdmin, hashes: Sequence[Hash]) -> int:
    """Put those whose keys are not there; returns how many. On an error, some may be put."""
    calls = [_ADOPT_HASH.call(each.key, each.ttl, *each.content) for each in hashes]
    return sum(map(bool, redis.ask_all(*calls))) if calls else 0
