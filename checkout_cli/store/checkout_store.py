"""The store: checkout sessions in Redis, falling back to the database, then to memory.

A read asks Redis, and believes it only where it is known to be current; else it asks the database; and only when
neither can be reached does memory answer. A write is the database's commit, published to Redis afterwards.
What an acknowledgement is worth is written in the README, under "What an acknowledgement is worth".
"""

from __future__ import annotations

import logging
import random
import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec

from checkout_cli.clock import Clock
from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    DatabaseUnavailable,
    RedisUnavailable,
    SessionDeleted,
    SessionExists,
    SessionExpired,
    SessionNotFound,
    SlotMoving,
    WriteConflict,
    WrongKeyType,
)
from checkout_cli.keys import accepted_id, is_accepted_id
from checkout_cli.session import (
    Acknowledgement,
    Durability,
    PaymentStatus,
    Session,
    TierName,
    decode,
    milliseconds_of,
    with_expiry,
)
from checkout_cli.store.bookkeeping import Bookkeeping, measured
from checkout_cli.store.database.external_writers import ExternalWriters
from checkout_cli.store.database.flush_log import FlushLog
from checkout_cli.store.database.tier import DatabaseTier
from checkout_cli.store.deletion import Deletion
from checkout_cli.store.expiry import ExpiryField
from checkout_cli.store.flusher import Flusher, Settled
from checkout_cli.store.hand_over import Before, HandOver
from checkout_cli.store.last_resort import LastResort
from checkout_cli.store.memory_tier import MemoryTier
from checkout_cli.store.protocol.ids import first_of, writes
from checkout_cli.store.protocol.value import digest_of
from checkout_cli.store.publisher import Publisher
from checkout_cli.store.records import Count, Record, Sighting, Totals
from checkout_cli.store.redis.index import RedisIndex
from checkout_cli.store.redis.tier import Opened, RedisTier
from checkout_cli.store.redis_alone import RedisAlone
from checkout_cli.store.sightings import Sightings
from checkout_cli.store.versions import Changes, Versions
from checkout_cli.store.without_database import WithoutDatabase

WRITE_ATTEMPTS = 20
"""How often a write is tried again on fresh data when other writers were faster."""

PATIENCE = 0.002
"""Seconds that a write waits at most before its next attempt, times the attempts it has made."""

REFRESHES = 3
"""How often a write that Redis alone may acknowledge asks the database first, to have something to build upon."""

_log = logging.getLogger("checkout_cli.store")


class CheckoutStore:
    """Checkout sessions. Thread-safe; close it, or use it in a ``with``, so that its notes are written down."""

    def __init__(
        self,
        settings: Settings,
        redis: RedisTier,
        database: DatabaseTier,
        *,
        clock: Clock | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        new_token: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        """For callers with tiers of their own; everybody else uses :meth:`open`.

        ``new_id`` names sessions, and ``new_token`` gives names of writes that nobody has used.
        """
        self.settings = settings
        self.redis = redis
        self.index = RedisIndex(redis)
        self.database = database
        self.memory = MemoryTier()
        self.clock = clock or Clock()
        self.external = ExternalWriters(database)
        self.flush_log = FlushLog(database, self.external, new_token)
        self.bookkeeping = Bookkeeping(settings, redis, self.clock)
        self._new_token = new_token
        self._versions = Versions(settings, self.clock, new_id)
        self.hand_over = HandOver(settings, redis, database, self.clock)
        self.flusher = Flusher(redis, database, self.flush_log, self.hand_over, self._versions, self.clock, new_token)
        self.publisher = Publisher(
            redis,
            self.index,
            database,
            self.hand_over,
            self.flusher,
            self.bookkeeping,
            self.clock,
            session_ttl=settings.session_ttl,
        )
        self.redis_alone = RedisAlone(redis, self.flusher, self._versions, new_token)
        self.expiry = ExpiryField(redis, self._versions, self.clock)
        self._deletion = Deletion(redis, database, self.hand_over, self.publisher, self.clock, new_token)
        self._last_resort = LastResort(self.memory, self.flush_log, self._versions, self.clock)
        self._without_database = WithoutDatabase(self.redis_alone, self._last_resort, self.publisher)
        self._sightings = Sightings(redis, self.index, database, self.memory, self.flush_log, self.clock)
        self._ttl = int(settings.session_ttl * 1000)

    @classmethod
    def open(cls, settings: Settings) -> CheckoutStore:
        """A store on the servers of the settings. It connects when first used.

        Raises:
            ConfigurationError: the database's URL or a file that the settings name is wrong.
        """
        return cls(settings, RedisTier(settings), DatabaseTier(settings))

    def close(self) -> None:
        """Write down what was kept for later, and close all connections."""
        self.hand_over.write_down()
        self.bookkeeping.flush()
        self.redis.close()
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The shop's five calls: each asks Redis first, believes the database, and ends in memory

    def get(self, checkout_id: str) -> Session:
        """A session, for the shop: reading it grants it the full TTL again.

        Raises:
            SessionNotFound: there is none; or, as its kinds, ``SessionExpired`` or ``SessionDeleted``.
            SessionCorrupt: what is stored is no session, and no tier has a good copy.
            TierUnavailable: it may exist, and the tiers that would know are away. While only Redis is, the database
                knows all sessions but those that another program wrote and nobody adopted: these are not found.
        """
        if self.settings.enable_checkout_sessions and (due := self.hand_over.renew()) is not None:
            self.publisher.look_around(due)
        before = self.hand_over.before(checkout_id)
        opened = self._open(checkout_id)
        session = self._trusted(checkout_id, opened, before)
        if session is not None:
            return session
        try:
            return self._from_database(checkout_id, self._settled(checkout_id, opened, adopt=False))
        except DatabaseUnavailable as away:
            return self._unverified(checkout_id, opened, away)

    @measured
    def create(
        self, fields: Mapping[str, Any], *, checkout_id: str | None = None, require: Durability | None = None
    ) -> Acknowledgement:
        """Create a session; an id is made where none is given. Ids are never reused.

        Raises:
            InvalidInput: the id or a field cannot be stored.
            SessionExists, SessionDeleted: the id is taken, or was.
            DurabilityUnavailable: what is left is less durable than ``require``.
            DatabaseUnavailable: the database is away; the write is not acknowledged.
        """
        write_id = first_of(self._new_token())
        record = msgspec.structs.replace(self._versions.first(fields, checkout_id), write_id=write_id)
        chosen = checkout_id is not None or fields.get("checkoutId") is not None
        opened = self._open(record.checkout_id, expect_missing=True)
        if opened is not None and opened.found_something:
            raise SessionExists(f"session {record.checkout_id} exists already")
        if opened is not None and self._prefers_redis(require):
            free = self._is_free(record.checkout_id) if chosen else True
            written = None
            if free is not False:
                written = self.redis_alone.create(record, opened, write_id, require, questionable=free is None)
            if written is not None:
                return written
        try:
            created = self._insert(record)
        except DatabaseUnavailable as away:
            return self._without_database.create(record, opened, write_id, require, away, chosen=chosen)
        if not created:
            self.publisher.give_up(record.checkout_id, opened)
            raise self._taken(record.checkout_id)
        return self._acknowledged(record, Settled(opened) if opened is not None else None, None)

    def _is_free(self, checkout_id: str) -> bool | None:
        """Whether nobody has had an id that its caller has chosen; ``None``: only the database knows, and is away."""
        try:
            return self.database.read(checkout_id) is None
        except DatabaseUnavailable:
            return None

    @measured
    def update(self, checkout_id: str, changes: Changes, *, require: Durability | None = None) -> Acknowledgement:
        """Set some fields of a session, every other one untouched; other writers' changes are never lost.

        Raises:
            InvalidInput, TransitionRefused: the changes are not allowed.
            SessionNotFound, SessionExpired, SessionDeleted, SessionCorrupt: as for :meth:`get`.
            WriteConflict: others were faster every time.
            DurabilityUnavailable: what is left is less durable than ``require``.
            DatabaseUnavailable: the database is away; the write is not acknowledged.
        """
        accepted_id(checkout_id)
        if self._prefers_redis(require):
            written = self._update_in_redis(checkout_id, changes, require)
            if written is not None:
                return written
        opened = self._open(checkout_id)
        attempted: str | None = None
        write_id = first_of(self._new_token())
        try:
            settled = self._settled(checkout_id, opened)
            seen = self._standing(checkout_id, settled)
            # Not on a row that was flushed just now: Redis still has what that was made of, and one id names one state.
            on_copy = seen is not None and (settled is None or settled.flushed is None)
            for attempt in range(WRITE_ATTEMPTS):
                self._let_others_finish(attempt)
                seen = seen or self._row_to_write(checkout_id, settled)
                record = msgspec.structs.replace(self._versions.next(seen, changes), write_id=write_id)
                attempted = write_id
                if self._replace(record, seen):
                    return self._acknowledged(record, settled, seen)
                seen, on_copy = None, False  # it was stale: the database refused it, so begin again from the row
                attempted = None
        except DatabaseUnavailable as away:
            if attempted is not None and opened is not None and not on_copy:
                raise  # whether it is there is not known, and Redis has nothing that it can be built upon
            return self._without_database.update(
                checkout_id, changes, opened, write_id, require, away, attempted=attempted is not None
            )
        raise _outrun(checkout_id)

    def _update_in_redis(
        self, checkout_id: str, changes: Changes, require: Durability | None
    ) -> Acknowledgement | None:
        """An update that Redis alone acknowledges, on a value that is known to be current; ``None``: it cannot be."""
        for _ in range(REFRESHES):
            self._look_around()
            before = self.hand_over.before(checkout_id)
            opened = self._open(checkout_id)
            if opened is None or opened.problem is not None:
                return None
            value = opened.value
            try:
                if value is not None and self.hand_over.doubt(checkout_id, value, opened.identity, before) is None:
                    return self.redis_alone.update(checkout_id, changes, opened, require)
                settled = self._settled(checkout_id, opened)
                if not self._refreshed(checkout_id, settled):
                    return None
            except DatabaseUnavailable:
                return self.redis_alone.update(checkout_id, changes, opened, require)
        return None

    def _refreshed(self, checkout_id: str, settled: Settled | None) -> bool:
        """Whether the row was published, so that there is something to build upon."""
        record = self._row_of(checkout_id, settled)
        return record is not None and record.body is not None and self._publish(record, settled)

    def set_payment_status(
        self,
        checkout_id: str,
        status: PaymentStatus | str,
        *,
        order_id: str | None = None,
        require: Durability | None = None,
    ) -> Acknowledgement:
        """Move the payment on, with the order's id where one was made; raises as :meth:`update` does.

        Raises:
            TransitionRefused: the payment may not go there from where it is.
        """
        changes: dict[str, Any] = {"paymentStatus": str(status)}
        if order_id is not None:
            changes["databaseOrderId"] = order_id
        return self.update(checkout_id, changes, require=require)

    def delete(
        self, checkout_id: str, *, seen: int | None = None, digest: str | None = None, write_id: str | None = None
    ) -> None:
        """Delete a session for good: its id stays dead. Only the database can promise that.

        ``seen`` deletes that version only; 0 is an external writer's session without a row, and ``digest`` is of its
        bytes. ``write_id`` names the deletion, so that :meth:`restore` can tell it from any other.

        Raises:
            SessionNotFound: no tier has it.
            WriteConflict: it is another version than ``seen``, or other bytes, or others were faster every time.
            DatabaseUnavailable: the database is away; nothing is acknowledged.
        """
        opened = self._open(checkout_id)
        name = write_id or first_of(self._new_token())
        try:
            settled = self._settled(checkout_id, opened, adopt=False)
            for _ in range(WRITE_ATTEMPTS):
                row = self._row(checkout_id)
                if row is not None and row.body is None:
                    self._publish(row, settled)
                    raise SessionDeleted(f"session {checkout_id} was deleted already")
                if seen is not None and not _is_as_seen(row, opened, seen, digest):
                    self.publisher.give_up(checkout_id, opened)
                    raise WriteConflict(f"session {checkout_id} has changed since it was looked at")
                if row is None:
                    deleted = self._deletion.external(checkout_id, settled, name)
                else:
                    deleted = self._deletion.bury(row, settled, name)
                if deleted:
                    return None
        except DatabaseUnavailable as away:
            self.publisher.give_up(checkout_id, opened)
            if opened is not None:
                raise
            return self._last_resort.delete(checkout_id, away)
        raise _outrun(checkout_id)

    def restore(self, record: Record, *, deletion: str) -> bool:
        """Take one deletion back, by the ``write_id`` that it was given: the session gets a version of its own.

        ``record.version`` is that version: one more than the tombstone's, which is one more than what was deleted.
        Returns false where anything has happened under the id since, so that it is left alone.

        Raises:
            SessionExpired: its time is over.
            DatabaseUnavailable: the database is away; nothing is acknowledged.
        """
        self._versions.check_age(record.checkout_id, record.created_at)
        if record.expires_at <= self.clock.wall():
            raise SessionExpired(f"session {record.checkout_id} would have expired meanwhile")
        opened = self._open(record.checkout_id, expect_missing=True)
        if opened is not None and opened.found_something:
            return False
        restored = self._deletion.take_back(record, opened, deletion)
        if not restored:
            self.publisher.give_up(record.checkout_id, opened)
        return restored

    # Reading: Redis, the database, and what is left without it

    def _open(self, checkout_id: str, *, expect_missing: bool = False) -> Opened | None:
        """The first step of every operation: what Redis has, or ``None`` where it is away or switched off."""
        if not self.settings.enable_checkout_sessions:
            return None
        if self.hand_over.is_fenced:
            self._look_around()
        try:
            return self.redis.claim(checkout_id) if expect_missing else self.redis.open(checkout_id)
        except SlotMoving:  # for this session, and nothing is wrong with the server
            return None
        except RedisUnavailable:
            self.hand_over.void(checkout_id)
            return None

    def _look_around(self) -> None:
        """Renew the lease if it has run out, and bring over what that look has found to be pending."""
        due = self.hand_over.renew()
        if due is not None:
            self.publisher.look_around(due)

    def _settled(self, checkout_id: str, opened: Opened | None, *, adopt: bool = True) -> Settled | None:
        """What was opened, once the database has accounted for it; ``None`` where Redis is away or switched off.

        Raises:
            DatabaseUnavailable: it cannot; nothing was changed but that an external value may have been taken in.
        """
        if opened is None or opened.is_settled:
            return None if opened is None else Settled(opened)
        try:
            settled = self.flusher.settle(checkout_id, opened, adopt=adopt)
        except SlotMoving:  # it stays where it is until a later read or write of the session
            return None
        except RedisUnavailable:
            self.hand_over.void(checkout_id)
            return None
        if settled.flushed is not None and settled.flushed.record is None:
            self.publisher.publish_settled(checkout_id, settled)  # only the conflict log has it: Redis must not
        return settled

    def _publish(self, record: Record, settled: Settled | None) -> bool:
        """Bring Redis up to date with a row, and count what was flushed on the way."""
        if settled is None:
            return False
        also = self.publisher.counts(settled.flushed)
        return self.publisher.publish(record, settled.opened, accounted=settled.accounted, also=also)

    def _trusted(self, checkout_id: str, opened: Opened | None, before: Before) -> Session | None:
        """The session as Redis has it, if that is known to be current."""
        if opened is None or opened.value is None:
            return None
        value = opened.value
        if self.hand_over.doubt(checkout_id, value, opened.identity, before) is not None:
            return None
        fields = decode(value.body)
        self._versions.check_age(checkout_id, milliseconds_of(fields.get("createdAt")))
        self.hand_over.note_expiry(checkout_id, self.clock.wall() + self._ttl)
        if self.hand_over.sees_external_writers:
            fields = self.expiry.renewed(checkout_id, opened, fields)
        if value.ids:
            return Session(checkout_id, fields, value.version, TierName.REDIS, dirty=writes(value.ids))
        return Session(checkout_id, fields, value.base, TierName.REDIS)

    def _from_database(self, checkout_id: str, settled: Settled | None) -> Session:
        """The session as the database has it, and Redis brought up to date."""
        record = self._row_of(checkout_id, settled)
        opened = None if settled is None else settled.opened
        if record is None:
            return self._without_row(checkout_id, opened)
        body = self._living(record, settled)
        expires_at = self._versions.expiry(record.created_at)
        if self.hand_over.sees_external_writers:
            body = with_expiry(body, expires_at)
        self._publish(msgspec.structs.replace(record, body=body, expires_at=expires_at), settled)
        self.hand_over.note_expiry(checkout_id, expires_at, at_once=opened is None)
        return Session(checkout_id, decode(body), record.version, TierName.DATABASE)

    def _row_of(self, checkout_id: str, settled: Settled | None) -> Record | None:
        """The database's row, as a flush has just left it, or as it is."""
        flushed = None if settled is None else settled.flushed
        if flushed is not None and flushed.wrote:
            return flushed.record
        return self._row(checkout_id)

    def _row(self, checkout_id: str) -> Record | None:
        """The database's row, after what only memory has was handed to it."""
        if not is_accepted_id(checkout_id):
            return None  # never written by us, and perhaps nothing that a database can hold
        self._last_resort.hand_over(checkout_id)
        return self.database.read(checkout_id)

    def _living(self, record: Record, settled: Settled | None) -> bytes:
        """The body of a row whose session has not ended."""
        opened = None if settled is None else settled.opened
        if record.body is None:
            self._publish(record, settled)
            raise SessionDeleted(f"session {record.checkout_id} was deleted")
        self._versions.check_age(record.checkout_id, record.created_at)
        if record.expires_at <= self.clock.wall() and (opened is None or opened.raw is None):
            self.publisher.give_up(record.checkout_id, opened)
            raise SessionExpired(f"session {record.checkout_id} has expired")
        if opened is not None and opened.raw is None and opened.problem is None:
            if self._deletion.honour(record, opened):
                raise SessionDeleted(f"session {record.checkout_id} was deleted by an external writer")
            self.hand_over.note_refilled()
        return record.body

    def _without_row(self, checkout_id: str, opened: Opened | None) -> Session:
        """No row stands behind it: an external writer's session, or none."""
        if opened is not None and opened.problem is not None:
            raise WrongKeyType(f"something that is not a session lies at the key of {checkout_id!r}: {opened.problem}")
        if opened is None or opened.raw is None or opened.value is None:
            self.publisher.give_up(checkout_id, opened)
            raise SessionNotFound(f"no session {checkout_id!r}")
        if opened.value.base or not opened.value.is_external:
            raise SessionExpired(f"session {checkout_id} has ended: the database no longer has it")
        fields = decode(opened.value.body)
        self._versions.check_age(checkout_id, milliseconds_of(fields.get("createdAt")))
        return Session(checkout_id, fields, 0, TierName.REDIS, external=True)

    def _unverified(self, checkout_id: str, opened: Opened | None, away: DatabaseUnavailable) -> Session:
        """The database is away: Redis' copy as it is, or memory's."""
        if opened is None or opened.value is None:
            self.publisher.give_up(checkout_id, opened)
            return self._last_resort.get(checkout_id, away)
        value = opened.value
        fields, dirty = decode(value.body), writes(value.ids)
        return Session(
            checkout_id, fields, value.version, TierName.REDIS, verified=False, dirty=dirty, external=value.is_external
        )

    # Writing: the database's commit, then Redis

    def _standing(self, checkout_id: str, settled: Settled | None) -> Record | None:
        """What a write may begin from without asking the database: a clean copy, or a row that was just flushed."""
        if settled is None:
            return None
        if settled.flushed is not None:
            return settled.flushed.record if settled.flushed.wrote else None
        copy = settled.opened.standing
        return None if copy is None else self._versions.seen(checkout_id, copy.version, copy.body)

    def _row_to_write(self, checkout_id: str, settled: Settled | None) -> Record:
        """The row that the write begins from."""
        record = self._row(checkout_id)
        if record is not None:
            self._living(record, settled)
            return record
        self._without_row(checkout_id, None if settled is None else settled.opened)
        raise _outrun(checkout_id)  # an external writer's session could not be taken in: its writer is faster

    def _prefers_redis(self, require: Durability | None) -> bool:
        """Whether the shop chose Redis' durability, and this caller does not insist on more."""
        return self.settings.durability == Durability.REDIS and require is not Durability.DATABASE

    def _let_others_finish(self, attempt: int) -> None:
        """Wait a little before a write is tried again and again, each writer for another time."""
        if attempt > 1:
            self.clock.pause(random.uniform(0, PATIENCE) * attempt)  # noqa: S311  (no secret)

    def _replace(self, record: Record, seen: Record) -> bool:
        """The database's commit: false where the session is no longer what was seen."""
        self.hand_over.note_unpublished(record)  # from here on Redis may be behind
        now = self.clock.wall()
        return self.database.update(record, seen=seen.version, now=now, write_id=record.write_id)

    def _insert(self, record: Record) -> bool:
        self.hand_over.note_unpublished(record)
        return self.database.insert(record, now=self.clock.wall(), write_id=record.write_id)

    def _acknowledged(self, record: Record, settled: Settled | None, seen: Record | None) -> Acknowledgement:
        """The database has it in place of ``seen``; now Redis, or else the row stays pending."""
        assert record.body is not None  # noqa: S101  (deletions are not acknowledged with a session)
        self.hand_over.note_written(record.checkout_id, record.expires_at)
        fields = decode(record.body)
        published = False
        if settled is not None:
            also = [*self.publisher.counts(settled.flushed), *self.bookkeeping.commands(seen, fields)]
            published = self.publisher.publish(record, settled.opened, accounted=settled.accounted, also=also)
        tier = TierName.REDIS if published else TierName.DATABASE
        session = Session(record.checkout_id, fields, record.version, tier)
        return Acknowledgement(session, Durability.DATABASE, published)

    def _taken(self, checkout_id: str) -> SessionExists | SessionDeleted:
        row = self.database.read(checkout_id)
        if row is not None and row.body is None:
            return SessionDeleted(f"session {checkout_id} was deleted; ids are never reused")
        return SessionExists(f"session {checkout_id} exists already")

    # What operators see; nothing here extends a life

    def peek(self, checkout_id: str) -> Sighting:
        """An operator's look at one session; it extends nothing.

        Raises:
            SessionNotFound: there is none; or, as its kinds, ``SessionExpired`` or ``SessionDeleted``.
            TierUnavailable: it may exist, and the tiers that would know are away.
        """
        return self._sightings.of(checkout_id, use_redis=self.settings.enable_checkout_sessions)

    def sightings(self, checkout_ids: Sequence[str]) -> Iterator[Sighting]:
        """An operator's look at several sessions; those that are nowhere alive are left out."""
        return self._sightings.some(checkout_ids)

    def iterate(self, *, tier: TierName | None = None) -> Iterator[Sighting]:
        """All sessions, those that expire last first, page by page; a value that is no session is among them.

        ``tier`` looks only there. Without it, Redis is asked, with the database for what Redis lacks; or the database,
        where Redis is away.
        """
        if tier is None and not self.settings.enable_checkout_sessions:
            tier = TierName.DATABASE
        return self._sightings.all(tier)

    def matching(self, prefix: str, limit: int = 2) -> list[str]:
        """Ids of sessions that begin with ``prefix``, at most ``limit``."""
        return self._sightings.matching(prefix, limit, use_redis=self.settings.enable_checkout_sessions)

    def count(self) -> Count:
        """How many sessions are alive: what the index knows, or the database where that knows of more.

        Redis may have been restarted empty, and the database does not know other programs' sessions.

        Raises:
            TierUnavailable: neither can be reached.
        """
        return self._sightings.count(use_redis=self.settings.enable_checkout_sessions)

    def totals(self) -> Totals:
        """How many sessions were ever created, completed and failed, exactly; needs the database."""
        return self.database.totals()

    def legacy_statistics(self) -> dict[str, int] | None:
        """The counters of the shop's older programs, or ``None`` where they keep none."""
        return self.redis.legacy_statistics()


def _is_as_seen(row: Record | None, opened: Opened | None, seen: int, digest: str | None) -> bool:
    """Whether a session is the version that was seen; without a row, whether its bytes are."""
    if row is not None:
        return row.version == seen
    raw = None if opened is None else opened.raw
    return seen == 0 and (digest is None or raw is None or digest_of(raw) == digest)


def _outrun(checkout_id: str) -> WriteConflict:
    return WriteConflict(f"session {checkout_id} was changed by others {WRITE_ATTEMPTS} times in a row")
