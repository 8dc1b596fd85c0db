"""Writes that were acknowledged while the database was away, brought to it exactly once (ARCHITECTURE.md, point 9).

Each such write has an id. A chain of them that grew from one row is applied in one transaction, which also logs their
ids; a chain that finds another version than it grew from loses, and both contents are kept for a person to decide.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import delete, func, select, update
from sqlalchemy.engine import Connection

from checkout_cli.session import TierName
from checkout_cli.store.database_tier import DatabaseTier
from checkout_cli.store.records import Record
from checkout_cli.store.schema import conflicts, drains, quarantine, sessions


class Undrained(msgspec.Struct, frozen=True):
    """A session as a tier has it while the database does not.

    ``record.version`` is the row's that it grew from (0: none); ``write_ids`` are its writes since then, oldest first.
    """

    record: Record
    write_ids: tuple[str, ...]
    tier: TierName


class Drained(StrEnum):
    """What became of it; gone: Redis no longer had it, so that nothing could be brought."""

    APPLIED = "applied"
    ALREADY = "already there"
    CONFLICT = "conflict"
    GONE = "gone"


class Conflict(msgspec.Struct, frozen=True):
    """A chain that lost: what it wanted, and what the database had by then (``None``: no such session, or deleted)."""

    write_id: str
    checkout_id: str
    tier: str
    base_version: int
    found_version: int | None
    drained_body: bytes
    found_body: bytes | None
    detected_at: int


class Quarantined(msgspec.Struct, frozen=True):
    """A value in Redis that was no session and was replaced: the SHA-256 of its bytes, their number, and when (ms)."""

    checkout_id: str
    digest: str
    size: int
    seen_at: int


class DrainLog:
    """The log of one database. Every method may raise ``DatabaseUnavailable``."""

    def __init__(self, database: DatabaseTier) -> None:
        """``database`` gives the transactions."""
        self._database = database

    def apply(self, undrained: Undrained, now: int) -> Drained:
        """Apply a chain in one transaction, or find that this was done, or keep it as a conflict."""
        with self._database.transaction() as connection:
            if not self._log(connection, undrained, undrained.write_ids[-1], now):
                return Drained.ALREADY
            version = self._write(connection, undrained, now)
            for write_id in undrained.write_ids[:-1]:
                self._log(connection, undrained, write_id, now)
            if version is None:
                self._keep_conflict(connection, undrained, now)
                return Drained.CONFLICT
            written = update(drains).where(drains.c.write_id.in_(undrained.write_ids), drains.c.version_after.is_(None))
            connection.execute(written.values(version_after=version))
            return Drained.APPLIED

    def _log(self, connection: Connection, undrained: Undrained, write_id: str, now: int) -> bool:
        """Log one write; false where it is there. The last of a chain comes first, so that two drainers queue up."""
        values = {"write_id": write_id, "checkout_id": undrained.record.checkout_id, "drained_at": now}
        return self._database.insert_once(connection, drains, values)

    def _write(self, connection: Connection, undrained: Undrained, now: int) -> int | None:
        """The version that the chain became, or ``None`` where the row is not what it grew from."""
        record = undrained.record
        own = select(drains.c.version_after).where(
            drains.c.write_id.in_(undrained.write_ids), drains.c.version_after.is_not(None)
        )
        grown_from = {record.version, *connection.scalars(own)}
        values = self._database.columns_of(record) | {"updated_at": now, "write_id": undrained.write_ids[-1]}
        if grown_from == {0}:
            first = {"version": 1, "created_at": record.created_at, "published_version": 0}
            new = values | first | {"checkout_id": record.checkout_id}
            if self._database.insert_once(connection, sessions, new):
                return 1
        # A row that one of these writes made is what they grew from too: its COMMIT's answer was lost. But only if it
        # made it of what they grew from, because else there is somebody's write in between that they do not contain.
        own_row = sessions.c.write_id.in_(undrained.write_ids) & (sessions.c.version - 1).in_(grown_from)
        ancestor = sessions.c.version.in_(grown_from) | own_row
        statement = (
            update(sessions)
            .where(sessions.c.checkout_id == record.checkout_id, ancestor, sessions.c.body.is_not(None))
            .values(values | {"version": sessions.c.version + 1})
            .returning(sessions.c.version)
        )
        return connection.execute(statement).scalar()

    def _keep_conflict(self, connection: Connection, undrained: Undrained, now: int) -> None:
        record = undrained.record
        assert record.body is not None  # noqa: S101  (deletions need the database)
        found = connection.execute(
            select(sessions.c.version, sessions.c.body).where(sessions.c.checkout_id == record.checkout_id)
        ).first()
        values = {
            "write_id": undrained.write_ids[-1],
            "checkout_id": record.checkout_id,
            "tier": str(undrained.tier),
            "base_version": record.version,
            "found_version": found.version if found else None,
            "drained_body": record.body.decode(),
            "found_body": found.body if found else None,
            "detected_at": now,
        }
        self._database.insert_once(connection, conflicts, values)

    # What operators see

    def conflicts(self, limit: int) -> list[Conflict]:
        """The newest conflicts."""
        with self._database.transaction() as connection:
            rows = connection.execute(select(conflicts).order_by(conflicts.c.detected_at.desc()).limit(limit))
            return [_conflict(row) for row in rows]

    def conflicts_named(self, beginning: str, limit: int = 2) -> list[Conflict]:
        """Conflicts whose write id begins so."""
        named = conflicts.c.write_id.startswith(beginning, autoescape=True)
        with self._database.transaction() as connection:
            return [_conflict(row) for row in connection.execute(select(conflicts).where(named).limit(limit))]

    def settled(self, write_id: str) -> bool:
        """Forget a conflict that a person has decided; false where it was forgotten already."""
        with self._database.transaction() as connection:
            return connection.execute(delete(conflicts).where(conflicts.c.write_id == write_id)).rowcount == 1

    def conflict_count(self) -> int:
        """How many conflicts wait for a person."""
        with self._database.transaction() as connection:
            return connection.execute(select(func.count()).select_from(conflicts)).scalar_one()

    def count(self, cutoff: int) -> int:
        """How many writes were drained at or before ``cutoff`` (ms)."""
        old = select(func.count()).select_from(drains).where(drains.c.drained_at <= cutoff)
        with self._database.transaction() as connection:
            return connection.execute(old).scalar_one()

    def purge(self, cutoff: int, limit: int) -> int:
        """Forget writes that were drained at or before ``cutoff`` (ms), when no old copy can bring them back.

        At most ``limit`` at once; returns how many.
        """
        batch = select(drains.c.write_id).where(drains.c.drained_at <= cutoff).limit(limit)
        with self._database.transaction() as connection:
            return connection.execute(delete(drains).where(drains.c.write_id.in_(batch))).rowcount

    def quarantine(self, checkout_id: str, digest: str, size: int, now: int) -> None:
        """Note that a value in Redis was no session: a digest of its bytes, never the bytes."""
        values = {"digest": digest, "checkout_id": checkout_id, "size": size, "seen_at": now}
        with self._database.transaction() as connection:
            self._database.insert_once(connection, quarantine, values)

    def quarantined(self, since: int, limit: int) -> list[Quarantined]:
        """The newest of such values that were found at or after a moment (ms)."""
        newest = select(quarantine).where(quarantine.c.seen_at >= since).order_by(quarantine.c.seen_at.desc())
        with self._database.transaction() as connection:
            rows = connection.execute(newest.limit(limit))
            return [Quarantined(row.checkout_id, row.digest, row.size, row.seen_at) for row in rows]


def _conflict(row: Any) -> Conflict:
    return Conflict(
        row.write_id,
        row.checkout_id,
        row.tier,
        row.base_version,
        row.found_version,
        row.drained_body.encode(),
        None if row.found_body is None else row.found_body.encode(),
        row.detected_at,
    )
