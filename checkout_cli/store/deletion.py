"""Deleting and restoring sessions: the tombstone is in the database first, then the key goes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from checkout_cli.clock import Clock
from checkout_cli.errors import SessionDeleted, SessionNotFound, WriteConflict
from checkout_cli.keys import is_accepted_id
from checkout_cli.privacy.personal_ids import id_beginning, named
from checkout_cli.store.database.tier import DatabaseTier
from checkout_cli.store.flusher import Settled
from checkout_cli.store.lease import Lease
from checkout_cli.store.protocol.deleting import is_proven
from checkout_cli.store.protocol.ids import first_of
from checkout_cli.store.protocol.value import digest_of
from checkout_cli.store.publisher import Publisher
from checkout_cli.store.records import Record
from checkout_cli.store.redis.opened import Opened
from checkout_cli.store.redis.tier import RedisTier

_log = logging.getLogger("checkout_cli.store")


@dataclass(eq=False)
class Deletion:
    """Deletes for one store. Thread-safe. Its methods may raise ``DatabaseUnavailable``."""

    redis: RedisTier
    database: DatabaseTier
    lease: Lease
    publisher: Publisher
    clock: Clock
    new_token: Callable[[], str]

    def delete(
        self,
        checkout_id: str,
        row: Record | None,
        settled: Settled | None,
        write_id: str,
        *,
        seen: int | None = None,
        digest: str | None = None,
    ) -> bool:
        """Delete a session, with its row if it has one; false where the row has changed meanwhile."""
        opened = None if settled is None else settled.opened
        if row is not None and row.body is None:
            self.publisher.publish(row, settled)
            raise SessionDeleted(f"session {named(checkout_id)} was deleted already")
        if seen is not None and not _is_as_seen(row, opened, seen, digest):
            self.publisher.release_claim(checkout_id, opened)
            raise WriteConflict(f"session {named(checkout_id)} has changed since it was looked at")
        if row is None:
            return self._external(checkout_id, opened, write_id)
        return self._row(row, settled, write_id)

    def _row(self, row: Record, settled: Settled | None, write_id: str, *, by_external_writer: bool = False) -> bool:
        tombstone = msgspec.structs.replace(row, version=row.version + 1, body=None, write_id=write_id)
        self.lease.note_unpublished(tombstone)
        is_deleted = self.database.delete(
            row.checkout_id,
            seen=row.version,
            now=self.clock.wall(),
            write_id=write_id,
            by_external_writer=by_external_writer,
        )
        if is_deleted:
            self.publisher.publish(tombstone, settled)
        return is_deleted

    def _external(self, checkout_id: str, opened: Opened | None, write_id: str) -> bool:
        if opened is None or not opened.found_something:
            self.publisher.release_claim(checkout_id, opened)
            raise SessionNotFound(f"no session {named(checkout_id)!r}")
        now = self.clock.wall()
        is_ours = is_accepted_id(checkout_id)  # no other can be adopted, so that only its own program can bring it back
        if is_ours and not self.database.insert_tombstone(checkout_id, now=now, write_id=write_id):
            return False
        if opened.raw is None:
            self.redis.remove(checkout_id)
            if is_ours:
                self.lease.note_published(checkout_id, 1, opened.identity)
        elif is_ours:  # these bytes are what is deleted; others that came meanwhile go to the conflict log first
            tombstone = Record(checkout_id, 1, None, now, now, write_id)
            self.publisher.publish(tombstone, Settled(opened, accounted=opened.raw))
        else:
            self.redis.discard(checkout_id, opened.raw)
        return True

    def honour(self, record: Record, opened: Opened | None) -> bool:
        """Treat a missing key as an external deletion, if chosen and proven; the tombstone keeps the body."""
        if not self.publisher.honours_deletes or opened is None or opened.raw is not None or not opened.token:
            return False
        present = self.redis.proof(record.checkout_id, opened.identity)  # after the key was found missing
        noted = self.database.proof(record.checkout_id) if present else ""
        proven = is_proven(record.version, record.expires_at, noted, present, self.clock.wall())
        if not proven or self.lease.is_fenced_off(opened.identity):
            return False
        is_deleted = self._row(record, Settled(opened), first_of(self.new_token()), by_external_writer=True)
        if is_deleted:
            _log.info("session %s was deleted by an external writer", id_beginning(record.checkout_id))
        return is_deleted

    def restore(self, record: Record, opened: Opened | None, deletion: str) -> bool:
        """Put a session in place of one deletion's tombstone, with the version after it; false where that is gone."""
        now, write_id = self.clock.wall(), first_of(self.new_token())
        record = msgspec.structs.replace(record, write_id=write_id)
        self.lease.note_unpublished(record)
        if not self.database.restore(record, deletion=deletion, now=now, write_id=write_id):
            return False
        self.publisher.publish(record, None if opened is None else Settled(opened))
        return True


def _is_as_seen(row: Record | None, opened: Opened | None, seen: int, digest: str | None) -> bool:
    if row is not None:
        return row.version == seen
    raw = None if opened is None else opened.raw
    return seen == 0 and (digest is None or raw is None or digest_of(raw) == digest)
