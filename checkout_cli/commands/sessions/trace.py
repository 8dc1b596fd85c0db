"""``sessions trace``: one id in every tier side by side, and the differences. Nothing is extended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from checkout_cli.commands.sessions.find import only_match
from checkout_cli.errors import DatabaseUnavailable, RedisUnavailable, SessionCorrupt, SessionNotFound
from checkout_cli.keys import is_accepted_id
from checkout_cli.privacy.personal_ids import named
from checkout_cli.session import decode, milliseconds_of
from checkout_cli.store.admin import EXPECTED
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.inspection import LoggedConflict, RowView, conflicts_of, is_replaced, view_row
from checkout_cli.store.protocol.flushing import Flush
from checkout_cli.store.protocol.trust import Distrust, Doubt, doubt
from checkout_cli.store.protocol.value import Kind, digest_of
from checkout_cli.store.protocol.writing import taken_in
from checkout_cli.store.records import Record
from checkout_cli.store.redis.inspection import KeyState, KeyView, view_key
from checkout_cli.units import span

MISSING = object()
"""Stands for a field that one of the tiers does not have."""


class Trust(StrEnum):
    """Whether the shop may serve Redis' copy without asking the database."""

    TRUSTED = "trusted"
    BEHIND = f"not trusted: {Doubt.BEHIND}"
    EXTERNAL = f"not trusted: {Doubt.EXTERNAL}"
    OTHER_SERVER = f"not trusted: {Doubt.OTHER_SERVER}"
    QUESTIONABLE = f"not trusted: {Doubt.QUESTIONABLE}"
    NO_IDENTITY = f"not trusted: {Doubt.NO_IDENTITY}"
    REPLACED = "not trusted: another primary has taken this one's place"


@dataclass(frozen=True)
class Difference:
    """A top-level field that differs; ``MISSING`` on the side that lacks it."""

    name: str
    in_redis: Any
    in_database: Any


@dataclass(frozen=True)
class Trace:
    """What every tier has of one id at ``now`` (ms).

    ``key`` is ``None`` where Redis was not asked, and ``redis_away`` says why; ``row`` is also ``None`` where there is
    none. ``trust`` judges Redis' copy. ``expected`` is what a flush would do to the row.
    """

    checkout_id: str
    now: int
    key: KeyView | None = None
    redis_away: str = ""
    row: RowView | None = None
    database_away: str = ""
    conflicts: tuple[LoggedConflict, ...] = ()
    trust: Trust | None = None
    expected: Flush | None = None

    @property
    def row_fields(self) -> dict[str, Any] | None:
        if self.row is None or self.row.body is None:
            return None
        try:
            return decode(self.row.body)
        except SessionCorrupt:
            return None

    @property
    def is_anything_known(self) -> bool:
        key = self.key
        in_redis = key is not None and (key.state is not KeyState.MISSING or key.score is not None or key.waits)
        return in_redis or self.row is not None or bool(self.conflicts)

    @property
    def differences(self) -> list[Difference] | None:
        """The fields that differ; ``None`` where there are no two sides to compare."""
        in_redis, in_database = None if self.key is None else self.key.fields, self.row_fields
        if in_redis is None or in_database is None:
            return None
        names = dict.fromkeys([*in_database, *in_redis])
        names.pop("expiresAt", None)  # no part of a version: reads move it
        pairs = (Difference(name, in_redis.get(name, MISSING), in_database.get(name, MISSING)) for name in names)
        return [pair for pair in pairs if pair.in_redis != pair.in_database]

    @property
    def created_at(self) -> int | None:
        """Creation (ms), from the database, else from the session itself."""
        if self.row is not None:
            return self.row.created_at
        fields = None if self.key is None else self.key.fields
        return None if fields is None else milliseconds_of(fields.get("createdAt"))

    def key_expires_at(self) -> int | None:
        """In milliseconds."""
        return None if self.key is None or self.key.ttl is None else self.now + self.key.ttl

    def when(self, moment: int) -> str:
        """A moment (ms) as a span: ``in 5m`` or ``5m ago``."""
        return f"in {span(moment - self.now)}" if moment > self.now else f"{span(self.now - moment)} ago"

    def index_in_words(self) -> str:
        """What the index says; empty where Redis was not asked."""
        if self.key is None:
            return ""
        if self.key.score is None:
            return "not listed"
        if self.key.score == float("inf"):
            return "listed by an older program alone"
        return f"listed, to be looked at {self.when(int(self.key.score))}"


def trace(store: CheckoutStore, given: str) -> Trace:
    """Look up an id, or the only one that begins so; raises InvalidInput, SessionNotFound, TierUnavailable."""
    found = look_everywhere(store, given)
    if found.is_anything_known:
        return found
    try:
        return look_everywhere(store, only_match(store, given, ended=True))
    except SessionNotFound:
        if away := found.redis_away or found.database_away:
            raise SessionNotFound(f"nothing is known of {named(given[:64])!r}, as far as can be told: {away}") from None
        raise


def look_everywhere(store: CheckoutStore, checkout_id: str) -> Trace:
    """Look up exactly this id; raises TierUnavailable where neither tier answers."""
    key, redis_away = None, "sessions are not kept in Redis (REDIS_ENABLE_CHECKOUT_SESSIONS is false)"
    if store.settings.enable_checkout_sessions:
        try:
            key, redis_away = view_key(store.redis, checkout_id), ""
        except RedisUnavailable as away:
            redis_away = str(away)
    row, conflicts, expected, replaced, database_away = None, [], None, False, ""
    try:
        if is_accepted_id(checkout_id):  # else it was never written by us, and may be no text for a database
            row, conflicts = view_row(store.database, checkout_id), conflicts_of(store.database, checkout_id)
            expected = _expected(store, checkout_id, key, row)
        if store.lease.is_fenced and key is not None and key.identity is not None:
            replaced = is_replaced(store.database, key.identity)
    except DatabaseUnavailable as away:
        if key is None:
            raise
        database_away = str(away)
    return Trace(
        checkout_id,
        store.clock.wall(),
        key,
        redis_away,
        row,
        database_away,
        tuple(conflicts),
        None if key is None or not key.is_copy else _trust(key, row, replaced=replaced),
        expected,
    )


def _expected(store: CheckoutStore, checkout_id: str, key: KeyView | None, row: RowView | None) -> Flush | None:
    """By the very rules of the flush; nothing is written."""
    value = None if key is None else key.value
    if key is None or value is None or key.raw is None or (row is None and value.kind is Kind.UNSTAMPED):
        return None
    if value.is_external:
        value = taken_in(value, digest_of(key.raw), key.identity, EXPECTED)
    elif not value.is_dirty:
        return None
    record = None
    if row is not None:
        record = Record(checkout_id, row.version, row.body, row.created_at, row.expires_at, row.write_id)
    return store.flush_log.expected(checkout_id, value, record)


def _trust(key: KeyView, row: RowView | None, *, replaced: bool) -> Trust:
    assert key.value is not None  # noqa: S101  (it is a copy)
    pending = [Distrust(row.version, row.write_id)] if row is not None and row.is_pending else []
    reason = doubt(key.value, key.identity, pending, lease=True)
    if reason is not None:
        return Trust[reason.name]
    return Trust.REPLACED if replaced else Trust.TRUSTED
