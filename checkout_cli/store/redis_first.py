"""Write-behind: writes that go to Redis first, and to the database soon (ARCHITECTURE.md, point 14).

A write begins from what this process has just read or written, if that would be trusted now; else it reads. One that
must last as long as the database flushes what it wrote, its own bytes, before it is acknowledged.
"""

from __future__ import annotations

from dataclasses import dataclass

from checkout_cli.config.settings import Settings
from checkout_cli.errors import DatabaseUnavailable, DurabilityUnavailable, RedisUnavailable
from checkout_cli.session import Acknowledgement, Durability, Session, TierName, decode
from checkout_cli.store.flusher import Flusher, Settled
from checkout_cli.store.held_copies import HeldCopies
from checkout_cli.store.lease import Before, Lease
from checkout_cli.store.notes import Notes
from checkout_cli.store.own_writes import OwnWrites
from checkout_cli.store.protocol.bodies import SessionBodies
from checkout_cli.store.publisher import Publisher
from checkout_cli.store.reading import Reading
from checkout_cli.store.records import Record
from checkout_cli.store.redis.opened import Opened
from checkout_cli.store.redis_alone import NOTHING_WRITTEN, RedisAlone, Written
from checkout_cli.store.versions import Changes
from checkout_cli.store.write_behind import WriteBehind

REFRESHES = 3
"""How often a write asks the database first, to have something to build upon."""


@dataclass(eq=False)
class RedisFirst:
    """Writes for one store in write-behind mode. Thread-safe. What it cannot do, the database has to: ``None``."""

    settings: Settings
    reading: Reading
    redis_alone: RedisAlone
    lease: Lease
    notes: Notes
    flusher: Flusher
    publisher: Publisher
    behind: WriteBehind
    own: OwnWrites
    held: HeldCopies

    def __post_init__(self) -> None:
        writes_behind = self.settings.durability == Durability.REDIS and self.settings.enable_checkout_sessions
        # In a cluster, slots move: a refusal would not tell what lies where the session is now.
        self._holds = writes_behind and not self.settings.is_cluster

    def hold(self, checkout_id: str, opened: Opened | None) -> None:
        """Hold what was read and trusted: a write may begin there."""
        if self._holds and opened is not None:
            self.held.hold(checkout_id, opened)

    def create(
        self, record: Record, opened: Opened, require: Durability | None, *, questionable: bool
    ) -> Acknowledgement | None:
        """Create a session in Redis."""
        try:
            written = self.redis_alone.create(record, opened, require, questionable=questionable)
        except RedisUnavailable as error:
            if not error.is_certain:
                raise
            return None  # full, or not there any more: the database takes it
        return None if written is None else self.kept(written)

    def update(self, checkout_id: str, changes: Changes, require: Durability | None) -> Acknowledgement | None:
        """Change a session in Redis, and with ``require`` in the database too, before that is acknowledged."""
        written = self._updated(checkout_id, changes, require)
        if written is None or require is not Durability.DATABASE:
            return None if written is None else self.kept(written)
        return self._flushed(written)

    def kept(self, written: Written) -> Acknowledgement:
        """Acknowledge what Redis alone has: its writer keeps it until the database has it, too."""
        self.own.keep(written.checkout_id, written.own, written.grew_from)
        self.behind.start()
        self.hold(written.checkout_id, written.opened)
        return written.acknowledgement()

    def _updated(self, checkout_id: str, changes: Changes, require: Durability | None) -> Written | None:
        """The update in Redis, made of a value known to be current."""
        held = self.held.take(checkout_id)
        for _ in range(REFRESHES):
            self.reading.look_around()
            before = self.lease.before(checkout_id)
            found = None if held is None else self._updated_from(held, checkout_id, changes, before)
            if isinstance(found, Written):
                return found
            opened = self.reading.open(checkout_id) if found is None else found
            held = None
            if opened is None or opened.problem is not None:
                return None
            value = opened.value
            try:
                if value is not None and self._leaves_it_to_the_flusher:
                    return self.redis_alone.update(checkout_id, changes, opened, require)
                if value is not None and self.lease.doubt(checkout_id, value, opened.identity, before) is None:
                    return self.redis_alone.update(checkout_id, changes, opened, None)
                settled = self.reading.settled(checkout_id, opened)
                row = self.reading.row_of(checkout_id, settled)
                if row is None or row.body is None or not self.publisher.publish(row, settled):
                    return None
            except DatabaseUnavailable:
                return self.redis_alone.update(checkout_id, changes, opened, require)
            except RedisUnavailable as error:
                if not error.is_certain:
                    raise
                return None
        return None

    @property
    def _leaves_it_to_the_flusher(self) -> bool:
        """Whether the database is unavailable, and the flusher finds out when it is back: no shopper waits for that."""
        return self.reading.database.breaker.is_open and self.behind.is_at_work

    def _updated_from(
        self, held: Opened, checkout_id: str, changes: Changes, before: Before
    ) -> Written | Opened | None:
        """An update of what this process has just read or written, in one round trip; else what lies there instead.

        ``None``: nobody knows, so that it has to be read.
        """
        if held.value is None or self.lease.doubt(checkout_id, held.value, held.identity, before) is not None:
            return None
        try:
            found = self.redis_alone.try_update(checkout_id, changes, held, held.value)
        except NOTHING_WRITTEN:
            return None
        except RedisUnavailable as error:
            self.lease.invalidate(checkout_id)
            if not error.is_certain:
                raise
            return None
        return found if isinstance(found, Written) or found.raw is not None else None

    def _flushed(self, written: Written) -> Acknowledgement | None:
        """Flush a write at once; ``None``: the row has changed meanwhile, and has to be written upon."""
        checkout_id, value = written.checkout_id, written.value
        try:
            self.flusher.flush_own(checkout_id, besides=value.ids)
            flushed = self.flusher.flush(checkout_id, value, ends_at=written.expires_at)
        except DatabaseUnavailable as error:
            self.kept(written)
            problem = f"the write is in Redis only, where it may still take effect: {error}"
            raise DurabilityUnavailable(problem) from error
        record = flushed.record
        if record is None or record.body is None:
            return None
        if not flushed.whole and not SessionBodies(checkout_id).has_change(written.before, value.body, record.body):
            return None
        self.notes.known_expiry(checkout_id, record.expires_at)
        published = self.publisher.publish(record, Settled(written.opened, written.opened.raw, flushed))
        tier = TierName.REDIS if published else TierName.DATABASE
        return Acknowledgement(
            Session(checkout_id, decode(record.body), record.version, tier), Durability.DATABASE, published
        )
