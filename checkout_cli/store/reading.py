"""Reading a session: from Redis where it can be trusted, else from the database, else from what is left."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from checkout_cli.clock import Clock
from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    CommandDenied,
    RedisUnavailable,
    SessionDeleted,
    SessionExpired,
    SessionNotFound,
    SlotMoving,
    WrongKeyType,
)
from checkout_cli.keys import is_accepted_id
from checkout_cli.privacy.personal_ids import named
from checkout_cli.session import Session, TierName, decode, milliseconds_of, with_expiry
from checkout_cli.store.bookkeeping import Bookkeeping
from checkout_cli.store.database.tier import DatabaseTier
from checkout_cli.store.deletion import Deletion
from checkout_cli.store.expiry import ExpiryField
from checkout_cli.store.flusher import Flusher, Settled
from checkout_cli.store.lease import Before, Lease
from checkout_cli.store.memory_alone import MemoryAlone
from checkout_cli.store.notes import Notes
from checkout_cli.store.protocol.ids import writes
from checkout_cli.store.publisher import Publisher
from checkout_cli.store.records import Record
from checkout_cli.store.redis.opened import Opened
from checkout_cli.store.redis.tier import RedisTier
from checkout_cli.store.versions import Versions
from checkout_cli.store.write_behind import WriteBehind


@dataclass(eq=False)
class Reading:
    """Reads for one store. Thread-safe. ``expiry`` keeps ``expiresAt`` true while external writers are there."""

    settings: Settings
    redis: RedisTier
    database: DatabaseTier
    lease: Lease
    notes: Notes
    flusher: Flusher
    publisher: Publisher
    deletion: Deletion
    memory_alone: MemoryAlone
    expiry: ExpiryField
    versions: Versions
    bookkeeping: Bookkeeping
    behind: WriteBehind
    clock: Clock

    def look_around(self) -> None:
        """Renew the lease if it has run out, and publish what was found to be pending."""
        if self.behind.is_at_work and self.database.breaker.is_open:
            return  # the flusher finds out when it is back
        due = self.lease.renew()
        if due is not None:
            if not self.behind.is_at_work:  # else that is its work, and a shopper need not wait for it
                self.publisher.look_around(due)
            self.bookkeeping.send_due()
        elif self.redis.breaker.is_open:
            self.bookkeeping.send_due()  # nothing is sent, and each minute's reads are put aside

    def open(self, checkout_id: str, *, expect_missing: bool = False) -> Opened | None:
        """The first step of every operation: the value in Redis; ``None`` if that is unavailable or switched off."""
        if not self.settings.enable_checkout_sessions:
            return None
        if self.lease.is_fenced:
            self.look_around()
        try:
            return self.redis.claim(checkout_id) if expect_missing else self.redis.open(checkout_id)
        except SlotMoving:  # for this session, and nothing is wrong with the server
            return None
        except RedisUnavailable:
            self.lease.invalidate(checkout_id)
            return None

    def settled(self, checkout_id: str, opened: Opened | None, *, adopt: bool = True) -> Settled | None:
        """The opened value, once the database has accounted for it; ``None`` without Redis."""
        if opened is None or opened.is_settled:
            return None if opened is None else Settled(opened)
        try:
            settled = self.flusher.settle(checkout_id, opened, adopt=adopt)
        except SlotMoving:  # it stays where it is until a later read or write of the session
            return None
        except (RedisUnavailable, CommandDenied) as error:
            self.publisher.note_refusal(checkout_id, error)
            self.lease.invalidate(checkout_id)
            return None
        if settled.flushed is not None and settled.flushed.record is None:
            self.publisher.publish_settled(checkout_id, settled)  # only the conflict log has it: Redis must not
        return settled

    def trusted(self, checkout_id: str, opened: Opened | None, before: Before) -> Session | None:
        """The session as Redis has it, if that is known to be current."""
        if opened is None or opened.value is None:
            return None
        value = opened.value
        if self.lease.doubt(checkout_id, value, opened.identity, before) is not None:
            return None
        fields = decode(value.body)
        self.versions.check_age(checkout_id, milliseconds_of(fields.get("createdAt")))
        self.notes.expiry(checkout_id, self.clock.wall() + self.versions.ttl)
        if self.lease.sees_external_writers:
            fields = self.expiry.renewed(checkout_id, opened, fields)
        if value.ids:
            return Session(checkout_id, fields, value.version, TierName.REDIS, dirty=writes(value.ids))
        return Session(checkout_id, fields, value.base, TierName.REDIS)

    def from_database(self, checkout_id: str, settled: Settled | None) -> Session:
        """The session as the database has it; Redis is brought up to date."""
        record = self.row_of(checkout_id, settled)
        opened = None if settled is None else settled.opened
        if record is None:
            return self.without_row(checkout_id, opened)
        body = self._living(record, settled)
        expires_at = self.versions.expiry(record.created_at)
        if self.lease.sees_external_writers:
            body = with_expiry(body, expires_at)
        self.publisher.publish(msgspec.structs.replace(record, body=body, expires_at=expires_at), settled)
        self.notes.expiry(checkout_id, expires_at, at_once=opened is None)
        return Session(checkout_id, decode(body), record.version, TierName.DATABASE)

    def unverified(self, checkout_id: str, opened: Opened | None) -> Session | None:
        """Without the database: Redis' copy, or memory's; ``None``: neither has it."""
        if opened is None or opened.value is None:
            self.publisher.release_claim(checkout_id, opened)
            return self.memory_alone.get(checkout_id)
        value = opened.value
        fields, dirty = decode(value.body), writes(value.ids)
        return Session(
            checkout_id, fields, value.version, TierName.REDIS, verified=False, dirty=dirty, external=value.is_external
        )

    # What a write begins from

    def standing(self, checkout_id: str, settled: Settled | None) -> Record | None:
        """What a write may begin from without asking the database: a clean copy, or a row that was just flushed."""
        if settled is None:
            return None
        if settled.flushed is not None:
            return settled.flushed.record if settled.flushed.wrote else None
        copy = settled.opened.standing
        return None if copy is None else self.versions.seen(checkout_id, copy.version, copy.body)

    def row_to_write(self, checkout_id: str, settled: Settled | None) -> Record | None:
        """The living row that a write begins from; ``None``: its external writer is too fast to take it in."""
        record = self.row(checkout_id)
        if record is not None:
            self._living(record, settled)
        else:
            self.without_row(checkout_id, None if settled is None else settled.opened)
        return record

    def row_of(self, checkout_id: str, settled: Settled | None) -> Record | None:
        """The row, as a flush has just left it, or as it is."""
        flushed = None if settled is None else settled.flushed
        return flushed.record if flushed is not None and flushed.wrote else self.row(checkout_id)

    def row(self, checkout_id: str) -> Record | None:
        """The row, after flushing what only memory has."""
        if not is_accepted_id(checkout_id):
            return None  # never written by us, and perhaps nothing that a database can hold
        self.memory_alone.flush(checkout_id)
        self.flusher.flush_own(checkout_id)
        return self.database.read(checkout_id)

    def _living(self, record: Record, settled: Settled | None) -> bytes:
        opened = None if settled is None else settled.opened
        if record.body is None:
            self.publisher.publish(record, settled)
            raise SessionDeleted(f"session {named(record.checkout_id)} was deleted")
        self.versions.check_age(record.checkout_id, record.created_at)
        if record.expires_at <= self.clock.wall() and (opened is None or opened.raw is None):
            self.publisher.release_claim(record.checkout_id, opened)
            raise SessionExpired(f"session {named(record.checkout_id)} has expired")
        if opened is not None and opened.raw is None and opened.problem is None:
            if self.deletion.honour(record, opened):
                raise SessionDeleted(f"session {named(record.checkout_id)} was deleted by an external writer")
            if self.lease.sees_external_writers:
                self.notes.refilled()
        return record.body

    def without_row(self, checkout_id: str, opened: Opened | None) -> Session:
        """The session without a row: an external writer's, or none."""
        if opened is not None and opened.problem is not None:
            raise WrongKeyType(
                f"something that is not a session lies at the key of {named(checkout_id)!r}: {opened.problem}"
            )
        if opened is None or opened.raw is None or opened.value is None:
            self.publisher.release_claim(checkout_id, opened)
            raise SessionNotFound(f"no session {named(checkout_id)!r}")
        if opened.value.base or not opened.value.is_external:
            raise SessionExpired(f"session {named(checkout_id)} has ended: the database no longer has it")
        fields = decode(opened.value.body)
        self.versions.check_age(checkout_id, milliseconds_of(fields.get("createdAt")))
        return Session(checkout_id, fields, 0, TierName.REDIS, external=True)
