"""Bringing to the database what it lacks: dirty writes, and those of external writers.

A value is *settled* when the database has accounted for all of it: it is clean, or these very bytes were flushed or are
in the conflict log. Only then may a publish replace it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec

from checkout_cli.clock import Clock
from checkout_cli.errors import SessionCorrupt
from checkout_cli.keys import is_accepted_id
from checkout_cli.privacy.personal_ids import id_beginning
from checkout_cli.session import decode, milliseconds_of
from checkout_cli.store.bookkeeping import Bookkeeping
from checkout_cli.store.database.flush_log import Dirty, Flushed, FlushLog, Source
from checkout_cli.store.database.tier import DatabaseTier
from checkout_cli.store.lease import Lease
from checkout_cli.store.own_writes import OwnWrites
from checkout_cli.store.protocol.ids import contains
from checkout_cli.store.protocol.value import Kind, Value, digest_of, encode_value
from checkout_cli.store.protocol.writing import taken_in
from checkout_cli.store.redis.opened import Opened, Replaced
from checkout_cli.store.redis.pending import RedisPending
from checkout_cli.store.redis.tier import RedisTier
from checkout_cli.store.versions import Versions

ATTEMPTS = 3
"""How often an external value is taken in while its writer goes on writing."""

_log = logging.getLogger("checkout_cli.store")


class Settled(msgspec.Struct, frozen=True):
    """The value at a key, and those of its bytes that the database has accounted for, with their flush's result."""

    opened: Opened
    accounted: bytes | None = None
    flushed: Flushed | None = None


@dataclass(eq=False)
class Flusher:
    """Flushes for one store, and counts the commits. Thread-safe."""

    redis: RedisTier
    database: DatabaseTier
    flush_log: FlushLog
    lease: Lease
    bookkeeping: Bookkeeping
    versions: Versions
    clock: Clock
    new_token: Callable[[], str]
    own: OwnWrites

    @cached_property
    def pending(self) -> RedisPending:
        """The entries of dirty sessions in Redis."""
        return RedisPending(self.redis)

    def settle(self, checkout_id: str, opened: Opened, *, ends_at: int | None = None, adopt: bool = True) -> Settled:
        """Bring the value at a key, which ends at ``ends_at`` (ms), to the database, or return it as it is.

        Without ``adopt``, an external session that has no row is left alone.
        """
        for _ in range(ATTEMPTS):
            if opened.value is None or opened.raw is None or opened.is_settled or not is_accepted_id(checkout_id):
                return Settled(opened)
            if opened.value.kind is Kind.UNREADABLE:
                row = self.database.read(checkout_id)
                if row is None:
                    return Settled(opened)
                kept = self.flush_log.keep_unreadable(checkout_id, opened.raw, row, self.clock.wall())
                _log.warning(
                    "session %s in Redis was no session: checkoutctl sync --conflicts", id_beginning(checkout_id)
                )
                return Settled(opened, opened.raw, kept)
            if opened.value.kind is Kind.UNSTAMPED and not adopt and self.database.read(checkout_id) is None:
                return Settled(opened)
            if opened.value.is_external:
                taken = encode_value(taken_in(opened.value, digest_of(opened.raw), opened.identity, self.new_token()))
                replaced = self.put(checkout_id, opened, taken, self._end_of(opened.value, ends_at))
                opened = opened.now_with(taken if replaced.done else replaced.present)
                if not replaced.done:
                    continue
            assert opened.value is not None  # noqa: S101  (it is what was taken in, or was dirty)
            self.flush_own(checkout_id, besides=opened.value.ids)
            flushed = self.flush(checkout_id, opened.value, ends_at=ends_at)
            return Settled(opened, opened.raw, flushed)
        return Settled(opened)

    def flush(self, checkout_id: str, value: Value, *, ends_at: int | None = None) -> Flushed:
        """Bring one dirty value of Redis to the database."""
        created_at = _created_at(value) or self.clock.wall()
        dirty = Dirty(checkout_id, value, created_at, self._end_of(value, ends_at), Source.REDIS)
        flushed = self.flush_log.apply(dirty, self.clock.wall(), committing=self.lease.note_unpublished)
        self.bookkeeping.flushed(1)
        self._count(checkout_id, flushed)
        self.own.accounted(checkout_id, value.ids)
        return flushed

    def flush_all(self, some: Sequence[tuple[str, Value, int]]) -> dict[str, Flushed]:
        """Bring dirty values of several sessions, with their ends (ms), to the database in one transaction."""
        now = self.clock.wall()
        dirty = [Dirty(name, value, _created_at(value) or now, ends_at, Source.REDIS) for name, value, ends_at in some]
        done = self.flush_log.apply_all(dirty, now, committing=self.lease.note_unpublished)
        self.bookkeeping.flushed(len(done))
        for name, value, _ in some:
            self._count(name, done[name])
            self.own.accounted(name, value.ids)
        return done

    def flush_own(self, checkout_id: str, besides: Sequence[str] = ()) -> None:
        """Bring this process' own writes of a session to the database, but those in a value with these ids.

        Nothing is published here: who calls this is about to ask the database, and publishes what it says.
        """
        for own in self.own.of(checkout_id):
            if not contains(besides, own.ids[-1]):
                self.flush(checkout_id, own.value, ends_at=own.expires_at)

    def _count(self, checkout_id: str, flushed: Flushed) -> None:
        record = flushed.record
        if flushed.wrote and record is not None and record.body is not None:
            before = flushed.before or (b"{}" if flushed.external else None)
            seen = None if before is None else msgspec.structs.replace(record, body=before)
            self.bookkeeping.count(seen, decode(record.body))
        if flushed.conflict:
            text = "a write of session %s could not stand as it was: see checkoutctl sync --conflicts"
            _log.warning(text, id_beginning(checkout_id))

    def put(self, checkout_id: str, opened: Opened, raw: bytes, expires_at: int) -> Replaced:
        """Put a dirty value in the place of ``opened``, with its id in ``checkout:pending``.

        A session that was there already is in the index; its later end is entered there when it is flushed, soon.
        """
        enters = opened.raw is None or opened.is_external or self.database.breaker.is_open
        if self.redis.is_cluster:
            with self.pending.entered(checkout_id):
                return self._put(checkout_id, opened, raw, expires_at, enters=enters)
        return self._put(checkout_id, opened, raw, expires_at, enters=enters)

    def _put(self, checkout_id: str, opened: Opened, raw: bytes, expires_at: int, *, enters: bool) -> Replaced:
        now, value = self.clock.wall(), opened.value
        # In place of a write of our own that the database still lacks, the id is among the pending already.
        is_new = value is None or not value.ids or value.ids[-1] not in self.own.ids(checkout_id)
        return self.redis.swap(checkout_id, opened, raw, now=now, expires_at=expires_at, dirty=is_new, enters=enters)

    def _end_of(self, value: Value, ends_at: int | None) -> int:
        if ends_at is not None:
            return ends_at
        return max(self.versions.expiry(_created_at(value) or self.clock.wall()), self.clock.wall() + 1)


def _created_at(value: Value) -> int | None:
    try:
        return milliseconds_of(decode(value.body).get("createdAt"))
    except SessionCorrupt:
        return None
