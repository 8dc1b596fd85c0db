"""The store: checkout sessions in Redis, falling back to the database, then to memory.

A read asks Redis, and believes it only where it is known to be current. A write is the database's commit, published to
Redis afterwards.
"""

from __future__ import annotations

import functools
import random
import secrets
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self

import msgspec

from checkout_cli.clock import Clock
from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    DatabaseNotReady,
    DatabaseUnavailable,
    DurabilityUnavailable,
    SessionDeleted,
    SessionExists,
    SessionExpired,
    WriteConflict,
)
from checkout_cli.keys import accepted_id, possible_id
from checkout_cli.privacy.personal_ids import named
from checkout_cli.session import Acknowledgement, Durability, PaymentStatus, Session, TierName, decode
from checkout_cli.store import processes
from checkout_cli.store.admin import Admin
from checkout_cli.store.bookkeeping import Bookkeeping
from checkout_cli.store.database.admin import DatabaseAdmin
from checkout_cli.store.database.external_writers import ExternalWriters
from checkout_cli.store.database.flush_log import FlushLog
from checkout_cli.store.deletion import Deletion
from checkout_cli.store.expiry import ExpiryField
from checkout_cli.store.flusher import Flusher, Settled
from checkout_cli.store.held_copies import HeldCopies
from checkout_cli.store.lease import Lease
from checkout_cli.store.memory_alone import MemoryAlone
from checkout_cli.store.memory_tier import MemoryTier
from checkout_cli.store.notes import Notes
from checkout_cli.store.own_writes import OwnWrites
from checkout_cli.store.protocol.ids import first_of
from checkout_cli.store.publisher import Publisher
from checkout_cli.store.reading import Reading
from checkout_cli.store.records import Record
from checkout_cli.store.redis.admin import RedisAdmin
from checkout_cli.store.redis.index import RedisIndex
from checkout_cli.store.redis.index_moves import IndexMoves
from checkout_cli.store.redis_alone import RedisAlone, insist
from checkout_cli.store.redis_first import RedisFirst
from checkout_cli.store.versions import Changes, Versions
from checkout_cli.store.write_behind import WriteBehind

WRITE_ATTEMPTS = 20
"""How often a write is tried again on fresh data when other writers were faster."""

PATIENCE = 0.002
"""Seconds that a write waits at most before its next attempt, times the attempts it has made."""
_MEMORY_ALONE = "neither Redis nor the database can be reached, and memory does not last: {}"


_Arguments = ParamSpec("_Arguments")


def _measured(
    call: Callable[Concatenate[CheckoutStore, _Arguments], Acknowledgement],
) -> Callable[Concatenate[CheckoutStore, _Arguments], Acknowledgement]:
    """Note the duration of each call that succeeds, and its acknowledgement."""

    @functools.wraps(call)
    def timed(store: CheckoutStore, /, *arguments: _Arguments.args, **options: _Arguments.kwargs) -> Acknowledgement:
        started = store.clock.elapsed()
        answer = call(store, *arguments, **options)
        store.bookkeeping.tiers.wrote(answer)
        store.bookkeeping.took(call.__name__, store.clock.elapsed() - started)
        return answer

    return timed


class CheckoutStore:
    """Checkout sessions. Thread-safe; use it in a ``with``, or close it, so that its notes are written down.

    ``admin`` is for operators: nothing there extends a session's life. ``new_token`` makes unused names for writes.
    """

    def __init__(
        self,
        settings: Settings,
        redis: RedisAdmin,
        database: DatabaseAdmin,
        *,
        clock: Clock | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        new_token: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self.settings = settings
        self.redis = redis
        self.index = RedisIndex(redis)
        self.database = database
        self.memory = MemoryTier()
        self.clock = clock = clock or Clock()
        self._new_token = new_token
        self._versions = versions = Versions(settings, clock, new_id)
        self.external = ExternalWriters(database)
        self.flush_log = flush_log = FlushLog(database, self.external, new_token)
        self.bookkeeping = books = Bookkeeping(settings, redis, clock)
        self.notes = notes = Notes(database, touch_after=versions.tenth_of_ttl)
        self.own = own = OwnWrites(clock.elapsed)
        self.held = HeldCopies()
        self.lease = lease = Lease(settings, redis, database, notes, own, clock)
        self.flusher = flusher = Flusher(redis, database, flush_log, lease, books, versions, clock, new_token, own)
        moves, honours = IndexMoves(redis, self.index), settings.external_deletes == "honour"
        self.publisher = publisher = Publisher(redis, moves, database, lease, notes, flusher, clock, honours)
        self.expiry = expiry = ExpiryField(redis, versions, clock)
        self.redis_alone = RedisAlone(redis, flusher, versions, new_token)
        self.memory_alone = alone = MemoryAlone(self.memory, flush_log, versions, clock)
        self._deletion = deletion = Deletion(redis, database, lease, publisher, clock, new_token)
        self.behind = behind = WriteBehind(
            redis, own, flusher, publisher, lease, notes, clock, settings.flush, settings.trust, versions.ttl
        )
        self.reading = Reading(
            settings,
            redis,
            database,
            lease,
            notes,
            flusher,
            publisher,
            deletion,
            alone,
            expiry,
            versions,
            books,
            behind,
            clock,
        )
        self.admin = Admin(settings, redis, self.index, database, self.memory, flush_log, clock)
        self._writes_behind = settings.durability == Durability.REDIS
        self.redis_first = RedisFirst(
            settings, self.reading, self.redis_alone, lease, notes, flusher, publisher, behind, own, self.held
        )
        processes.add(self)

    @classmethod
    def open(cls, settings: Settings) -> CheckoutStore:
        """A store on the servers of the settings, connected when first used; raises ``ConfigurationError``."""
        return cls(settings, RedisAdmin(settings), DatabaseAdmin(settings))

    def close(self) -> None:
        """Flush what only Redis has, write down notes and counts, and close all connections, whatever of it fails."""
        processes.discard(self)
        with ExitStack() as closing:
            closing.callback(self.database.close)
            closing.callback(self.redis.close)
            closing.callback(self.bookkeeping.flush)
            closing.callback(self.notes.write_down)
            closing.callback(self.behind.close)

    def flush_at_exit(self) -> None:
        """Where the process ends without closing the store: bring what only Redis has to the database."""
        if len(self.own):
            self.behind.close()

    def about_to_fork(self) -> None:
        """Let the flusher end its turn: a lock that it holds now would stay locked in the new process."""
        self.behind.pause()

    def has_forked(self) -> None:
        """In the process that went on: so does the flusher."""
        self.behind.resume()

    def forked(self) -> None:
        """In a process that was forked: nothing that the parent has open is used, and its writes are left to it."""
        self.own.forget_all()
        self.held.drop_all()
        self.behind.forked()
        self.database.forked()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # The shop's calls: each asks Redis first, believes the database, and ends in memory

    def get(self, checkout_id: str) -> Session:
        """A session, for the shop: reading it grants the full TTL again.

        Raises ``SessionNotFound`` (or ``SessionExpired`` or ``SessionDeleted``, its kinds), ``SessionCorrupt`` where no
        tier has a good copy, or ``TierUnavailable`` where it may exist. Without Redis, external sessions are not found.
        """
        session = self._read(checkout_id)
        self.bookkeeping.tiers.reads[session.tier] += 1
        return session

    def _read(self, checkout_id: str) -> Session:
        reading = self.reading
        possible_id(checkout_id)
        if self.settings.enable_checkout_sessions:
            reading.look_around()
        before = self.lease.before(checkout_id)
        opened = reading.open(checkout_id)
        session = reading.trusted(checkout_id, opened, before)
        if session is not None:
            self.redis_first.hold(checkout_id, opened)
            return session
        try:
            return reading.from_database(checkout_id, reading.settled(checkout_id, opened, adopt=False))
        except DatabaseUnavailable:
            session = reading.unverified(checkout_id, opened)
            if session is None:
                raise
            return session

    @_measured
    def create(
        self, fields: Mapping[str, Any], *, checkout_id: str | None = None, require: Durability | None = None
    ) -> Acknowledgement:
        """Create a session, with a new id if none is given. Ids are never reused.

        Raises ``InvalidInput``, ``SessionExists``, ``SessionDeleted``, ``DurabilityUnavailable`` where only less
        durable tiers than ``require`` are left, or ``DatabaseUnavailable`` where nothing is acknowledged.
        """
        first = self._versions.first(fields, checkout_id)
        record = msgspec.structs.replace(first, write_id=first_of(self._new_token()))
        is_chosen = checkout_id is not None or fields.get("checkoutId") is not None
        opened = self.reading.open(record.checkout_id, expect_missing=True)
        if opened is not None and opened.found_something:
            raise SessionExists(f"session {named(record.checkout_id)} exists already")
        if opened is not None and self._prefers_redis(require):
            is_free = not is_chosen or self._is_free(record.checkout_id)
            questionable = is_free is None
            if is_free or questionable:
                done = self.redis_first.create(record, opened, require, questionable=questionable)
                if done is not None:
                    return done
        self.lease.note_unpublished(record)  # from here on Redis may be behind
        try:
            is_new = self.database.insert(record, now=self.clock.wall(), write_id=record.write_id)
        except DatabaseNotReady:  # nobody has set it up: that is to be reported, not to be survived
            self.publisher.release_claim(record.checkout_id, opened)
            raise
        except DatabaseUnavailable as error:
            if opened is None:
                insist(require, Durability.MEMORY, _MEMORY_ALONE.format(error))
                return self.memory_alone.create(record)
            try:
                written = self.redis_alone.create(record, opened, require, questionable=is_chosen)
            except DurabilityUnavailable:
                self.publisher.release_claim(record.checkout_id, opened)
                raise
            if written is None:
                raise
            return self.redis_first.kept(written)
        if not is_new:
            self.publisher.release_claim(record.checkout_id, opened)
            raise self._taken(record.checkout_id)
        return self._acknowledged(record, None if opened is None else Settled(opened), None)

    @_measured
    def update(self, checkout_id: str, changes: Changes, *, require: Durability | None = None) -> Acknowledgement:
        """Set some fields of a session and leave all others untouched; concurrent changes are never lost.

        Raises ``InvalidInput``, ``TransitionRefused``, ``WriteConflict`` where others were faster every time, and as
        :meth:`get` and :meth:`create` do.
        """
        accepted_id(checkout_id)
        if self._may_write_behind and not (require is Durability.DATABASE and self.database.breaker.is_open):
            done = self.redis_first.update(checkout_id, changes, require)
            if done is not None:
                return done
        opened = self.reading.open(checkout_id)
        write_id, is_sent, is_on_copy = first_of(self._new_token()), False, False
        try:
            settled = self.reading.settled(checkout_id, opened)
            seen = self.reading.standing(checkout_id, settled)
            # Not on a row that was flushed just now: Redis still has what that was made of, and one id names one state.
            is_on_copy = seen is not None and (settled is None or settled.flushed is None)
            for attempt in range(WRITE_ATTEMPTS):
                self._let_others_finish(attempt)
                seen = seen or self.reading.row_to_write(checkout_id, settled)
                if seen is None:
                    break
                self.flusher.flush_own(checkout_id)
                record = msgspec.structs.replace(self._versions.next(seen, changes), write_id=write_id)
                self.lease.note_unpublished(record)  # from here on Redis may be behind
                is_sent = True
                if self.database.update(record, seen=seen.version, now=self.clock.wall(), write_id=write_id):
                    return self._acknowledged(record, settled, seen)
                # It was stale: the database refused it, so begin again from the row.
                seen, is_sent, is_on_copy = None, False, False
        except DatabaseNotReady:
            self.publisher.release_claim(checkout_id, opened)
            raise
        except DatabaseUnavailable as error:
            if is_sent and opened is not None and not is_on_copy:
                raise  # whether it is there is not known, and Redis has nothing that it can be built upon
            if opened is None:
                insist(require, Durability.MEMORY, _MEMORY_ALONE.format(error))
                done = self.memory_alone.update(checkout_id, changes, write_id)
            else:
                attempted = write_id if is_sent else None
                written = self.redis_alone.update(checkout_id, changes, opened, require, attempted=attempted)
                done = None if written is None else self.redis_first.kept(written)
            if done is None:
                self.publisher.release_claim(checkout_id, opened)
                raise
            return done
        raise _outrun(checkout_id)

    def set_payment_status(
        self,
        checkout_id: str,
        status: PaymentStatus | str,
        *,
        order_id: str | None = None,
        require: Durability | None = None,
    ) -> Acknowledgement:
        """Move the payment on, with the order's id if there is one; raises as :meth:`update` does."""
        order = {} if order_id is None else {"databaseOrderId": order_id}
        return self.update(checkout_id, {"paymentStatus": str(status)} | order, require=require)

    def delete(
        self, checkout_id: str, *, seen: int | None = None, digest: str | None = None, write_id: str | None = None
    ) -> None:
        """Delete a session for good: its id is never used again. Only the database can promise that.

        ``seen`` deletes only that version; 0 is an external session without a row, whose bytes have this ``digest``.
        ``write_id`` names the deletion for :meth:`restore`. Raises ``SessionNotFound``, ``WriteConflict`` or
        ``DatabaseUnavailable``.
        """
        opened = self.reading.open(possible_id(checkout_id))
        name = write_id or first_of(self._new_token())
        try:
            settled = self.reading.settled(checkout_id, opened, adopt=False)
            for _ in range(WRITE_ATTEMPTS):
                row = self.reading.row(checkout_id)
                if self._deletion.delete(checkout_id, row, settled, name, seen=seen, digest=digest):
                    return
        except DatabaseUnavailable:
            self.publisher.release_claim(checkout_id, opened)
            if opened is not None or not self.memory_alone.delete(checkout_id):
                raise
            return
        raise _outrun(checkout_id)

    def restore(self, record: Record, *, deletion: str) -> bool:
        """Take back the ``deletion`` of that write id; ``record.version`` is one more than the tombstone's.

        Returns false, and changes nothing, where the id was used since. Raises ``SessionExpired`` or
        ``DatabaseUnavailable``.
        """
        self._versions.check_age(record.checkout_id, record.created_at)
        if record.expires_at <= self.clock.wall():
            raise SessionExpired(f"session {named(record.checkout_id)} would have expired meanwhile")
        opened = self.reading.open(record.checkout_id, expect_missing=True)
        if opened is not None and opened.found_something:
            return False
        restored = self._deletion.restore(record, opened, deletion)
        if not restored:
            self.publisher.release_claim(record.checkout_id, opened)
        return restored

    # Writing

    def _prefers_redis(self, require: Durability | None) -> bool:
        return self._may_write_behind and require is not Durability.DATABASE

    @property
    def _may_write_behind(self) -> bool:
        return self._writes_behind and self.redis.requirements.allow_flushes

    def _is_free(self, checkout_id: str) -> bool | None:
        """Whether nobody has had an id; ``None`` if only the database would know."""
        try:
            return self.database.read(checkout_id) is None
        except DatabaseUnavailable:
            return None

    def _taken(self, checkout_id: str) -> SessionExists | SessionDeleted:
        row = self.database.read(checkout_id)
        if row is not None and row.body is None:
            return SessionDeleted(f"session {named(checkout_id)} was deleted; ids are never reused")
        return SessionExists(f"session {named(checkout_id)} exists already")

    def _let_others_finish(self, attempt: int) -> None:
        if attempt > 1:
            self.clock.pause(random.uniform(0, PATIENCE) * attempt)  # noqa: S311  (no secret)

    def _acknowledged(self, record: Record, settled: Settled | None, seen: Record | None) -> Acknowledgement:
        assert record.body is not None  # noqa: S101  (deletions are not acknowledged with a session)
        self.notes.known_expiry(record.checkout_id, record.expires_at)
        fields = decode(record.body)
        self.bookkeeping.count(seen, fields)
        published = self.publisher.publish(record, settled)
        tier = TierName.REDIS if published else TierName.DATABASE
        session = Session(record.checkout_id, fields, record.version, tier)
        return Acknowledgement(session, Durability.DATABASE, published)


def _outrun(checkout_id: str) -> WriteConflict:
    return WriteConflict(f"session {named(checkout_id)} was changed by others {WRITE_ATTEMPTS} times in a row")
