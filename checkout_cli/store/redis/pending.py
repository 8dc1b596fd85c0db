"""``checkout:pending``: the SET of ids of dirty sessions.

In a cluster, no script changes both keys: the entry is made before the value is written, and again after, as a flush in
between removes the id of a session that is not dirty.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from checkout_cli.errors import CheckoutError, CommandDenied, RedisUnavailable, SessionCorrupt
from checkout_cli.keys import PENDING, session_key
from checkout_cli.session import decode, milliseconds_of
from checkout_cli.store.protocol.value import Value
from checkout_cli.store.records import Problem
from checkout_cli.store.redis.admin import next_cursor, pages
from checkout_cli.store.redis.commands import Script, decoded, encoded, register
from checkout_cli.store.redis.opened import Look, Opened
from checkout_cli.store.redis.tier import RedisTier

_FORGET = register(Script("forget"))

_log = logging.getLogger("checkout_cli.store")


class RedisPending:
    """The entries of one Redis. Every method may raise ``RedisUnavailable`` or ``AccessDenied``."""

    def __init__(self, redis: RedisTier) -> None:
        self._redis = redis
        self._in_one_place = not redis.is_cluster

    @contextmanager
    def entered(self, checkout_id: str) -> Iterator[None]:
        """While a dirty value is written whose script cannot make the entry."""
        if self._in_one_place:
            yield
            return
        self._redis.ask(("SADD", PENDING, encoded(checkout_id)))
        yield
        self._enter_again(checkout_id)

    def forget(self, checkout_id: str, opened: Opened) -> bool:
        """Remove an id whose opened value is not dirty; a write at this very moment keeps its entry."""
        member = encoded(checkout_id)
        if not self._in_one_place:
            return self._forget_in_cluster(checkout_id)
        what = b"missing" if opened.raw is None else b"value"
        script = _FORGET.call_on((session_key(checkout_id), PENDING), what, opened.raw or b"", member)
        return bool(self._redis.ask(script))

    def _forget_in_cluster(self, checkout_id: str) -> bool:
        # Taken out before the look: a write that comes after the look makes the entry again by itself.
        try:
            taken_out = bool(self._redis.ask(("SREM", PENDING, encoded(checkout_id))))
            (look,) = self._redis.look([checkout_id])
        except CheckoutError:  # it may have been taken out, and nobody has looked
            self._enter_again(checkout_id)
            raise
        if look.problem is Problem.UNREACHABLE or is_dirty(look):
            self._enter_again(checkout_id)
            return False
        return taken_out

    def _enter_again(self, checkout_id: str) -> None:
        try:
            self._redis.ask(("SADD", PENDING, encoded(checkout_id)))
        except (RedisUnavailable, CommandDenied) as error:
            _log.warning("a session that waits for the database may have lost its entry among the pending: %s", error)

    def some_ids(self, limit: int) -> list[str]:
        """Some ids of dirty sessions."""
        return [decoded(member) for member in self._redis.ask(("SRANDMEMBER", PENDING, limit))]

    def ids(self, at_once: int) -> Iterator[list[str]]:
        """All their ids, in pages of about that many; one may come twice."""
        for ids in pages(lambda cursor: self.ids_step(cursor, at_once)):
            yield from (ids[start : start + at_once] for start in range(0, len(ids), at_once))

    def ids_step(self, cursor: str, at_once: int) -> tuple[list[str], str | None]:
        """One page of :meth:`ids`, and the next cursor (``None``: the end)."""
        following, members = self._redis.ask(("SSCAN", PENDING, cursor, "COUNT", at_once))
        return list(map(decoded, members)), next_cursor(following)

    def count(self) -> int:
        """The number of dirty sessions."""
        return int(self._redis.ask(("SCARD", PENDING)))


def written_at(value: Value, session_ttl: int) -> int | None:
    """When a session was last written (ms): each write notes the end of the full TTL (ms) in ``expiresAt``."""
    try:
        expires_at = milliseconds_of(decode(value.body).get("expiresAt"))
    except SessionCorrupt:
        return None
    return None if expires_at is None else expires_at - session_ttl


def is_dirty(look: Look) -> bool:
    """Whether an inspected value holds writes of ours that the database may lack."""
    return look.copy is not None and not look.copy.is_external and look.copy.is_dirty
