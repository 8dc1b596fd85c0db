"""Tracked users for operators: when each was seen, and how the checkouts went.

Only the fields of ``USER_FIELDS`` are read. Values of other programs at these keys are named as such, and never shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

from checkout_cli.errors import RedisUnavailable, WrongKeyType, value_of
from checkout_cli.keys import USER_PREFIX, pattern_of, user_key
from checkout_cli.session import PaymentStatus, iso, milliseconds_of
from checkout_cli.store.bookkeeping import USER_FIELDS
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.admin import FIRST_CURSOR, KEYS_AT_ONCE
from checkout_cli.store.redis.commands import decoded, encoded
from checkout_cli.store.redis.replies import type_name

LARGEST_STEP = KEYS_AT_ONCE

_COUNT = re.compile(rb"[0-9]{1,18}")
_STATUSES = {status.value: status for status in PaymentStatus}


class Oddity(StrEnum):
    """Why the value of a user's key is not, or not only, ours."""

    WRONG_TYPE = "wrong type"
    FOREIGN = "foreign"
    UNREADABLE = "unreadable"


class User(msgspec.Struct, frozen=True):
    """A tracked user; moments are ISO 8601 texts, ``expires_in`` milliseconds, ``None`` missing or unreadable."""

    user_id: str
    first_seen: str | None = None
    last_seen: str | None = None
    checkouts_started: int | None = None
    checkouts_completed: int | None = None
    checkouts_failed: int | None = None
    last_status: PaymentStatus | None = None
    expires_in: int | None = None
    problem: Oddity | None = None
    detail: str = ""


class Page(msgspec.Struct, frozen=True):
    """Some users, in no order, and the cursor for more, if there are more."""

    users: tuple[User, ...]
    cursor: str | None


class Users:
    """Tracked users, which only Redis knows: every method may raise ``RedisUnavailable`` or ``AccessDenied``."""

    def __init__(self, store: CheckoutStore) -> None:
        self._redis = store.redis

    def get(self, user_id: str) -> User | None:
        """One user by the whole id, if tracked."""
        users = self._read([user_id])
        return users[0] if users else None

    def page(self, cursor: str = FIRST_CURSOR, step: int = LARGEST_STEP) -> Page:
        """The users among about ``step`` keys; a user may come twice in pages of a changing Redis."""
        names, following = self._ids(cursor, "", step)
        return Page(tuple(self._read(names, partly=self._redis.is_cluster)), following)

    def matching(self, beginning: str, limit: int, steps: int) -> tuple[list[str], bool]:
        """At most ``limit`` ids that begin so, and whether those are all; looks at ``steps`` thousand keys."""
        found: dict[str, None] = {}
        cursor: str | None = FIRST_CURSOR
        while cursor is not None and len(found) < limit and steps > 0:
            names, cursor = self._ids(cursor, beginning, LARGEST_STEP)
            found.update(dict.fromkeys(names))
            steps -= 1
        return list(found)[:limit], cursor is None and len(found) <= limit

    def _ids(self, cursor: str, beginning: str, step: int) -> tuple[list[str], str | None]:
        prefix = encoded(user_key(beginning))
        keys, following = self._redis.scan_step(pattern_of(user_key(beginning)), cursor, step)
        names = {decoded(key).removeprefix(USER_PREFIX) for key in keys if key.startswith(prefix)}
        return sorted(names), following

    def _read(self, user_ids: Sequence[str], *, partly: bool = False) -> list[User]:
        """The value of each id's key, missing ones left out, in two round trips a thousand.

        ``partly`` leaves out those of a cluster's unavailable servers too: a slot may just be moving.
        """
        users: list[User] = []
        absent = (RedisUnavailable,) if partly else ()
        for start in range(0, len(user_ids), KEYS_AT_ONCE):
            part = user_ids[start : start + KEYS_AT_ONCE]
            keys = [encoded(user_key(user_id)) for user_id in part]
            facts = [(value_of(kind, *absent), value_of(ttl, *absent)) for kind, ttl in self._redis.kinds(keys)]
            values = iter(self._hashes([key for key, (kind, _) in zip(keys, facts, strict=True) if kind == b"hash"]))
            for user_id, (kind, ttl) in zip(part, facts, strict=True):
                if kind is None or ttl is None:
                    continue
                expires_in = int(ttl) if ttl >= 0 else None
                if kind == b"hash":
                    users.append(_tracked(user_id, next(values), expires_in))
                elif kind != b"none":
                    users.append(_wrong(user_id, f"a {type_name(kind)}, not a hash", expires_in))
        return users

    def _hashes(self, keys: Sequence[bytes]) -> list[Any]:
        """The fields of each key; ``None`` where it is no hash any more."""
        return [value_of(reply, WrongKeyType) for reply in self._redis.fields(keys, USER_FIELDS)]


def _wrong(user_id: str, detail: str, expires_in: int | None) -> User:
    return User(user_id, expires_in=expires_in, problem=Oddity.WRONG_TYPE, detail=detail)


def _tracked(user_id: str, values: Sequence[bytes | None] | None, expires_in: int | None) -> User:
    if values is None:
        return _wrong(user_id, "not a hash", expires_in)
    if not any(value is not None for value in values):
        return User(user_id, expires_in=expires_in, problem=Oddity.FOREIGN, detail="another program's hash")
    first_seen, last_seen, started, completed, failed, status = values
    user = User(
        user_id,
        first_seen=_moment(first_seen),
        last_seen=_moment(last_seen),
        checkouts_started=_counter(started),
        checkouts_completed=_counter(completed),
        checkouts_failed=_counter(failed),
        last_status=None if status is None else _STATUSES.get(decoded(status)),
        expires_in=expires_in,
    )
    read = msgspec.structs.astuple(user)[1:7]
    odd = [
        name for name, raw, value in zip(USER_FIELDS, values, read, strict=True) if raw is not None and value is None
    ]
    if not odd:
        return user
    return msgspec.structs.replace(user, problem=Oddity.UNREADABLE, detail=", ".join(odd))


def _moment(raw: bytes | None) -> str | None:
    """A moment in our own form, whoever wrote it."""
    moment = None if raw is None else milliseconds_of(decoded(raw))
    return None if moment is None else iso(moment)


def _counter(raw: bytes | None) -> int | None:
    """The number, 0 where it is missing: a counter begins to exist when it is first raised."""
    if raw is None:
        return 0
    return int(raw) if _COUNT.fullmatch(raw) else None
