"""Bringing Redis up to date with the database's commits, and the database with what lies in the way.

A publish never replaces or deletes what the database has not accounted for: such a value is flushed first, and the row
that results is published.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from checkout_cli.clock import Clock
from checkout_cli.errors import (
    AccessDenied,
    CheckoutError,
    CommandDenied,
    CommandUnknown,
    NotStorable,
    RedisUnavailable,
    SessionCorrupt,
    SlotMoved,
    SlotMoving,
    WrongKeyType,
)
from checkout_cli.privacy.personal_ids import id_beginning, named
from checkout_cli.store.database.flush_log import Flushed
from checkout_cli.store.database.tier import DatabaseTier
from checkout_cli.store.flusher import Flusher, Settled
from checkout_cli.store.lease import Lease
from checkout_cli.store.notes import Notes
from checkout_cli.store.protocol.deleting import note_of
from checkout_cli.store.protocol.publishing import Outcome
from checkout_cli.store.protocol.value import Kind
from checkout_cli.store.records import Problem, Record
from checkout_cli.store.redis.index_moves import IndexMoves
from checkout_cli.store.redis.opened import Look, Opened
from checkout_cli.store.redis.tier import RedisTier

ATTEMPTS = 3
"""How often what lies in the way is flushed while others go on writing."""
AT_ONCE = 20
"""Rows, and dirty values, that one look for pending rows brings over before a read goes on."""

_log = logging.getLogger("checkout_cli.store")


@dataclass(eq=False)
class Publisher:
    """Publishes for one store. Thread-safe."""

    redis: RedisTier
    moves: IndexMoves
    database: DatabaseTier
    lease: Lease
    notes: Notes
    flusher: Flusher
    clock: Clock
    honours_deletes: bool
    """Whether a missing key can be an external writer's deletion: each publish notes what would prove it."""

    def publish(self, record: Record, settled: Settled | None) -> bool:
        """Bring Redis up to date; false where that failed, so that the row stays pending. Raises nothing."""
        if settled is None or settled.opened.problem is not None:
            return False
        try:
            return self.bring(record, settled.opened, accounted=settled.accounted).is_published
        except CheckoutError as error:
            # Committed is committed: whatever goes wrong from here on is no reason to refuse the write.
            _log.info("session %s stays pending: %s", id_beginning(record.checkout_id), error)
            self.note_refusal(record.checkout_id, error)
            if not isinstance(error, SlotMoving):  # which is no reason to believe less of the server that has it
                self.lease.invalidate(record.checkout_id)
            return False

    def note_refusal(self, checkout_id: str, error: CheckoutError) -> None:
        """Where a command was denied or unknown, find out what else the session's server lacks."""
        if not isinstance(error, (CommandDenied, CommandUnknown)):
            return
        try:
            self.redis.requirements.refused(checkout_id)
        except (RedisUnavailable, AccessDenied) as away:
            _log.debug("what Redis lacks stays unknown: %s", away)

    def bring(self, record: Record, opened: Opened, *, accounted: bytes | None = None) -> Outcome:
        """:meth:`publish` with its outcome; raises ``RedisUnavailable``, ``DatabaseUnavailable``, ``SessionCorrupt``"""
        for _ in range(ATTEMPTS):
            try:
                outcome, there = self._put(record, opened, accounted)
            except SlotMoved:  # to a server that has the session since: it is published there as any pending row is
                return self.publish_row(record.checkout_id, opened.token)
            if accounted is not None and outcome.is_published and self.redis.is_cluster:
                self.flusher.pending.forget(record.checkout_id, there)
            if outcome not in {Outcome.EXTERNAL, Outcome.DIRTY}:
                return outcome
            if there.problem is not None:
                raise WrongKeyType(
                    f"something that is not a session lies at the key of {named(record.checkout_id)!r}: {there.problem}"
                )
            settled = self.flusher.settle(record.checkout_id, there, ends_at=record.expires_at)
            row = self._row_of(record.checkout_id, settled)
            if row is None:
                return outcome
            ends_at = max(row.expires_at, record.expires_at)  # the end that was meant
            record = msgspec.structs.replace(row, expires_at=ends_at)
            opened, accounted = settled.opened, settled.accounted
        return Outcome.EXHAUSTED

    def _put(self, record: Record, opened: Opened, accounted: bytes | None) -> tuple[Outcome, Opened]:
        """Publish once, and note it if Redis has nothing older now; returns what lies there then."""
        self._refuse_fenced_off(opened)
        proof = self.redis.proof(record.checkout_id, opened.identity) if self.honours_deletes else ""
        outcome, there = self.redis.publish(record, opened, self.clock.wall(), accounted=accounted)
        self._note(record, outcome, opened)
        if proof and outcome is Outcome.SET:
            self.notes.proof(record.checkout_id, note_of(record.version, proof))
        return outcome, there

    def publish_all(self, some: Sequence[tuple[Record, Opened]], *, accounted: bool = False) -> list[Outcome]:
        """Publish many, once each, those of one server in one round trip, of which some may fail.

        ``accounted``: the database has accounted for the bytes of each.
        """
        outcomes: dict[str, Outcome] = {}
        if self.redis.is_cluster:
            for record, opened in some:
                try:
                    bytes_of = opened.raw if accounted else None
                    outcomes[record.checkout_id], there = self._put(record, opened, bytes_of)
                    if accounted and outcomes[record.checkout_id].is_published:
                        self.flusher.pending.forget(record.checkout_id, there)
                except SessionCorrupt:
                    outcomes[record.checkout_id] = Outcome.EXTERNAL
        for identity in {opened.identity for _, opened in some} if not self.redis.is_cluster else ():
            group = [(record, opened) for record, opened in some if opened.identity == identity]
            self._refuse_fenced_off(group[0][1])
            results = self.redis.publish_all(group, self.clock.wall(), accounted=accounted)
            for (record, opened), (outcome, _) in zip(group, results, strict=True):
                self._note(record, outcome, opened)
                outcomes[record.checkout_id] = outcome
        return [outcomes[record.checkout_id] for record, _ in some]

    def _refuse_fenced_off(self, opened: Opened) -> None:
        if self.lease.is_fenced_off(opened.identity):
            raise RedisUnavailable("this primary is not the one that the database knows as the latest")

    def _note(self, record: Record, outcome: Outcome, opened: Opened) -> None:
        if outcome.is_published:
            self.lease.note_published(record.checkout_id, record.version, opened.identity)

    def _row_of(self, checkout_id: str, settled: Settled) -> Record | None:
        return settled.flushed.record if settled.flushed is not None else self.database.read(checkout_id)

    def publish_row(self, checkout_id: str, token: bytes = b"") -> Outcome:
        """Publish the database's row of one session. ``token`` is our claim to fill its key."""
        identity = self.redis.identity(checkout_id)  # before the row is read: a later restart must void this publish
        record = self.database.read(checkout_id)
        if record is None:
            return Outcome.MISSING
        # The key may live longer than the row says: reads are noted up to a tenth of the TTL late.
        ends_at = max(record.expires_at, self.clock.wall() + self.flusher.versions.tenth_of_ttl)
        return self.bring(msgspec.structs.replace(record, expires_at=ends_at), Opened(None, identity, token))

    def flush_seen(self, checkout_id: str, look: Look) -> Flushed | None:
        """Flush an id of ``checkout:pending``, and publish; ``None`` where nothing is dirty: it is forgotten."""
        if look.problem is Problem.UNREACHABLE:
            return None
        flushed = self.settle_seen(checkout_id, look)
        if flushed is not None:
            return flushed
        if look.copy is not None and look.copy.kind is Kind.UNREADABLE:
            raise SessionCorrupt(f"not a JSON object: {look.size} bytes")
        opened = Opened(look.value, self.redis.last_identity(checkout_id), value=look.copy)
        self.flusher.pending.forget(checkout_id, opened)
        return None

    def settle_seen(self, checkout_id: str, look: Look) -> Flushed | None:
        """Bring a value to the database, unless it is external without a row; ``None`` where nothing was to do."""
        if look.value is None or look.copy is None or not (look.copy.is_external or look.copy.is_dirty):
            return None
        identity = self.redis.identity(checkout_id)
        ends_at = None if look.ttl is None else self.clock.wall() + look.ttl
        opened = Opened(None, identity).now_with(look.value)
        settled = self.flusher.settle(checkout_id, opened, ends_at=ends_at, adopt=False)
        self.publish_settled(checkout_id, settled)
        return settled.flushed

    def publish_settled(self, checkout_id: str, settled: Settled) -> bool:
        """Put the row in the place of a settled value; without a row, only the conflict log keeps it."""
        if settled.accounted is None:
            return False
        record = self._row_of(checkout_id, settled)
        if record is not None:
            return self.publish(record, settled)
        now = self.clock.wall()
        gone = Record(checkout_id, 0, None, 0, now)
        outcome, _ = self.redis.publish(gone, settled.opened, now, accounted=settled.accounted)
        return outcome.is_published

    def look_around(self, due: Sequence[str]) -> None:
        """Publish old pending rows and flush dirty sessions, a few of each; begin a SET for an external writer."""
        try:
            if self.lease.sees_external_writers and self.moves.is_in_the_way():
                next(self.moves.make_room())
        except (RedisUnavailable, AccessDenied, WrongKeyType) as error:
            _log.info("the index stays where it is: %s", error)
        if not self.publish_due(due):
            return
        try:
            self._flush_some()
        except CheckoutError as error:
            _log.debug("dirty sessions stay dirty: %s", error)

    def publish_due(self, due: Sequence[str]) -> bool:
        """Publish a few pending rows; false where the database is unavailable. Raises nothing."""
        for checkout_id in due[:AT_ONCE]:
            try:
                self.redis.requirements.insist(checkout_id)
                self.publish_row(checkout_id)
            except (SessionCorrupt, NotStorable) as error:  # this one only: it stays distrusted
                _log.warning("a session cannot be published: %s", error)
            except (RedisUnavailable, CommandDenied) as error:  # in a cluster, another server may have the next one
                self.note_refusal(checkout_id, error)
                _log.debug("a pending row stays pending: %s", error)
            except CheckoutError as error:  # unavailable, or denied: it is not what the reader has asked for
                _log.debug("pending rows stay pending: %s", error)
                return False
        return True

    def _flush_some(self) -> None:
        checkout_ids = self.flusher.pending.some_ids(AT_ONCE)
        for checkout_id, look in zip(checkout_ids, self.redis.look(checkout_ids), strict=True):
            try:
                self.flush_seen(checkout_id, look)
            except (SessionCorrupt, SlotMoving, NotStorable) as error:  # one must not keep the others, nor a reader
                _log.warning("session %s cannot be brought to the database: %s", id_beginning(checkout_id), error)

    def release_claim(self, checkout_id: str, opened: Opened | None) -> None:
        """Release our fill claim, if any, so that misses leave nothing behind."""
        if opened is None or not opened.token:
            return
        try:
            self.redis.release(checkout_id, opened)
        except (RedisUnavailable, AccessDenied, WrongKeyType) as error:
            _log.debug("a claim ends by itself: %s", error)
