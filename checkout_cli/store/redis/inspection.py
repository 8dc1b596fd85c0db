"""Inspecting everything that Redis has under one session's id."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from checkout_cli.errors import AccessDenied, SessionCorrupt, WrongKeyType
from checkout_cli.keys import PENDING, claim_key, is_accepted_id, session_key
from checkout_cli.session import decode
from checkout_cli.store.protocol.ids import writes
from checkout_cli.store.protocol.value import Kind, Value
from checkout_cli.store.protocol.value import decode as decode_value
from checkout_cli.store.records import Problem
from checkout_cli.store.redis.admin import RedisAdmin
from checkout_cli.store.redis.commands import checked, encoded
from checkout_cli.store.redis.index import RedisIndex
from checkout_cli.store.redis.opened import LARGEST_VALUE


class KeyState(StrEnum):
    """The state of a session's key."""

    MISSING = "missing"
    CLAIMED = "claimed"
    """It is missing, and somebody has just claimed the right to fill it."""
    OURS = "session"
    TAMPERED = "external write"
    """An external writer has written it, on top of the version that our header in it still names."""
    UNSTAMPED = "external session"
    """An external writer has written it, without our header."""
    BROKEN = "no session"


class KeyView(msgspec.Struct, frozen=True):
    """Everything in Redis under one id; ``ttl`` and ``score`` (its moment in the index) in ms, ``size`` in bytes."""

    place: str
    identity: bytes | None
    state: KeyState
    ttl: int | None = None
    size: int = 0
    value: Value | None = None
    raw: bytes | None = None
    fields: dict[str, Any] | None = None
    problem: Problem | None = None
    detail: str = ""
    score: float | None = None
    waits: bool = False

    @property
    def version(self) -> int | None:
        """The version that a reader sees; ``None`` where the value names none."""
        return None if self.value is None or self.value.kind is Kind.UNSTAMPED else self.value.version

    @property
    def dirty(self) -> int:
        """How many writes it holds that the database may lack."""
        return 0 if self.value is None else writes(self.value.ids)

    @property
    def is_copy(self) -> bool:
        """Whether it holds a session, of any writer."""
        return self.fields is not None


def view_key(redis: RedisAdmin, checkout_id: str) -> KeyView:
    """Everything in Redis under an id, in two or three round trips; raises ``RedisUnavailable`` or ``AccessDenied``."""
    key, member = encoded(session_key(checkout_id)), encoded(checkout_id)
    identity, (size, ttl) = redis.exchange(("STRLEN", key), ("PTTL", key), lenient=True)
    checked(size, WrongKeyType)
    checked(ttl)
    try:
        score = RedisIndex(redis).moment(checkout_id)
    except WrongKeyType:  # no index of ours has room there
        score = None
    waits = bool(redis.ask(("SMISMEMBER", PENDING, member))[0])
    lifetime = ttl if ttl >= 0 else None
    place = redis.place_of(checkout_id)
    view = KeyView(place, identity, KeyState.MISSING, lifetime, score=score, waits=waits)
    if ttl == -2:
        return msgspec.structs.replace(view, state=KeyState.CLAIMED) if _is_claimed(redis, checkout_id) else view
    if isinstance(size, WrongKeyType):
        return _broken(view, Problem.WRONG_TYPE, "not a string")
    view = msgspec.structs.replace(view, size=size)
    if size > LARGEST_VALUE:
        return _broken(view, Problem.TOO_LARGE, f"{size:,} bytes")
    return _read(view, redis.ask(("GET", key)))


def _is_claimed(redis: RedisAdmin, checkout_id: str) -> bool:
    """Whether somebody has a fill claim; false for a user who may not read claims."""
    if not is_accepted_id(checkout_id):
        return False
    (claims,) = redis.replies(("EXISTS", encoded(claim_key(checkout_id))))
    return bool(checked(claims, AccessDenied) == 1)


def _read(view: KeyView, value: bytes | None) -> KeyView:
    if value is None:
        return msgspec.structs.replace(view, ttl=None, size=0)
    copy = decode_value(value)
    try:
        fields = decode(copy.body)
    except SessionCorrupt as error:
        return _broken(view, Problem.CORRUPT, str(error))
    states = {Kind.OURS: KeyState.OURS, Kind.TAMPERED: KeyState.TAMPERED}
    state = states.get(copy.kind, KeyState.UNSTAMPED)
    return msgspec.structs.replace(view, state=state, fields=fields, value=copy, raw=value)


def _broken(view: KeyView, problem: Problem, detail: str) -> KeyView:
    return msgspec.structs.replace(view, state=KeyState.BROKEN, problem=problem, detail=detail)
