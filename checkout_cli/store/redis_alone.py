"""Writes that Redis alone acknowledges: while the database is unavailable, or in write-behind mode.

The write replaces exactly the bytes that were read, keeps the version of the row that the session grew from, and is
named in the value's header and in ``checkout:pending`` (ARCHITECTURE.md, points 8 and 9). Its writer keeps a copy until
the database has it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from checkout_cli.errors import (
    CommandDenied,
    CommandUnknown,
    DurabilityUnavailable,
    RedisInsufficient,
    SlotMoved,
    SlotMoving,
    WriteConflict,
)
from checkout_cli.privacy.personal_ids import named
from checkout_cli.session import Acknowledgement, Durability, Session, TierName, at_least, decode
from checkout_cli.store.flusher import Flusher
from checkout_cli.store.own_writes import OwnWrite
from checkout_cli.store.protocol.ids import MOST_IDS
from checkout_cli.store.protocol.value import Kind, Value, digest_of, encode_value
from checkout_cli.store.protocol.writing import written
from checkout_cli.store.records import Record
from checkout_cli.store.redis.opened import Opened
from checkout_cli.store.redis.tier import RedisTier
from checkout_cli.store.versions import Changes, Versions

ATTEMPTS = 20
"""How often a write is tried again on fresh bytes when other writers were faster."""
NOTHING_WRITTEN = (SlotMoving, CommandDenied, CommandUnknown)
"""Errors before anything was written: the database can take the write."""
REMEMBERED = 10_000
"""Sessions of which this process remembers the last id that it gave out: with it, the header stays short."""


class Written(msgspec.Struct, frozen=True):
    """A write that Redis has: what lies there since, and the session's end (ms)."""

    checkout_id: str
    opened: Opened
    value: Value
    expires_at: int
    before: bytes = b"{}"
    """The body that it grew from."""
    grew_from: tuple[str, ...] = ()
    """The ids of that value."""

    @property
    def own(self) -> OwnWrite:
        """What its writer keeps of it."""
        assert self.opened.raw is not None  # noqa: S101  (it was written)
        return OwnWrite(self.opened.raw, self.opened.identity, self.value.ids, self.expires_at)

    def acknowledgement(self) -> Acknowledgement:
        """What the caller is told."""
        value = self.value
        session = Session(self.checkout_id, decode(value.body), value.version, TierName.REDIS, verified=False)
        return Acknowledgement(session, Durability.REDIS, published=True)


class RedisAlone:
    """Writes to Redis alone. Thread-safe. ``new_token`` gives unused names."""

    def __init__(self, redis: RedisTier, flusher: Flusher, versions: Versions, new_token: Callable[[], str]) -> None:
        self._redis = redis
        self._flusher = flusher
        self._versions = versions
        self._new_token = new_token
        self._issued: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def create(
        self, record: Record, opened: Opened, require: Durability | None, *, questionable: bool
    ) -> Written | None:
        """Create a session in Redis; ``None`` without a valid claim, or where a command or its slot is refused.

        ``questionable``: nobody knows whether the id is free; if not, the flush is a conflict. Raises
        ``DurabilityUnavailable``.
        """
        insist(require, Durability.REDIS, f"the database is away, and the write must last as long as {require}")
        if not opened.token:
            return None
        assert record.body is not None  # noqa: S101  (it is no tombstone)
        value = Value(0, opened.identity or b"-", record.body, (record.write_id,), questionable=questionable)
        try:
            done = self._write(record, value, opened)
        except NOTHING_WRITTEN:
            return None
        return done if isinstance(done, Written) else None

    def update(
        self,
        checkout_id: str,
        changes: Changes,
        opened: Opened,
        require: Durability | None,
        *,
        attempted: str | None = None,
    ) -> Written | None:
        """Change a session in Redis; ``None`` where the value there cannot be built upon, or as :meth:`create`.

        ``attempted`` names this very write where the database may have it already. Raises as
        :meth:`CheckoutStore.update`.
        """
        insist(require, Durability.REDIS, f"the database is away, and the write must last as long as {require}")
        grew_from = None if opened.value is None else opened.value.base
        for _ in range(ATTEMPTS):
            value = opened.value
            if value is None or value.kind is Kind.UNREADABLE:
                return None
            if attempted is not None and (value.is_external or value.base != grew_from):
                return None  # that version may contain this very write
            try:
                done = self.try_update(checkout_id, changes, opened, value, attempted=attempted)
                if isinstance(done, Written):
                    return done
                opened = self._redis.open(checkout_id)
            except (*NOTHING_WRITTEN, RedisInsufficient):
                return None
        raise WriteConflict(f"session {named(checkout_id)} was changed by others {ATTEMPTS} times in a row")

    def try_update(
        self, checkout_id: str, changes: Changes, opened: Opened, value: Value, *, attempted: str | None = None
    ) -> Written | Opened:
        """Change a session in Redis if exactly these bytes lie there; else what lies there instead."""
        if len(value.ids) >= MOST_IDS - 1:
            raise WriteConflict(f"session {named(checkout_id)} has too many writes that wait for the database")
        fields = decode(value.body)
        seen = self._versions.seen(checkout_id, value.version, value.body, fields)
        record = self._versions.next(seen, changes, present=fields)
        return self._write(record, self._following(checkout_id, record, opened, attempted), opened)

    def _following(self, checkout_id: str, record: Record, opened: Opened, attempted: str | None) -> Value:
        value = opened.value
        assert value is not None  # noqa: S101  (the caller has seen it)
        assert record.body is not None  # noqa: S101  (it is no tombstone)
        if attempted is not None:  # this very write, as the database may have it
            other = value.questionable or value.identity != opened.identity
            return Value(value.base, opened.identity or b"-", record.body, (*value.ids, attempted), other)
        with self._lock:
            issued = self._issued.get(checkout_id)
        digest = digest_of(opened.raw) if value.is_external and opened.raw is not None else ""
        goes_on = issued is not None and value.ids[-1:] == (issued,) and value.identity == opened.identity
        token = "" if goes_on and not value.is_external else self._new_token()
        return written(value, record.body, opened.identity, issued=issued, token=token, digest=digest)

    def _write(self, record: Record, value: Value, opened: Opened) -> Written | Opened:
        checkout_id = record.checkout_id
        with self._lock:  # a write that fails, or is not heard of, ends its token
            self._issued.pop(checkout_id, None)
        raw = encode_value(value)
        try:
            replaced = self._flusher.put(checkout_id, opened, raw, record.expires_at)
        except SlotMoved:  # nothing was written: there is a server to look at again
            return opened
        if not replaced.done:
            return opened.now_with(replaced.present)
        with self._lock:
            self._issued[checkout_id] = value.ids[-1]
            if len(self._issued) > REMEMBERED:
                self._issued.popitem(last=False)
        before, ids = (b"{}", ()) if opened.value is None else (opened.value.body, opened.value.ids)
        return Written(checkout_id, Opened(raw, opened.identity, value=value), value, record.expires_at, before, ids)


def insist(require: Durability | None, offered: Durability, refusal: str) -> None:
    """Raise ``DurabilityUnavailable`` where the caller requires more than is offered."""
    if require is not None and not at_least(offered, require):
        raise DurabilityUnavailable(refusal)
