"""External writers: other programs that write sessions on the same Redis, as far as the database knows them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import msgspec
from sqlalchemy import case, delete, select
from sqlalchemy.engine import Connection

from checkout_cli.store.database.engine import insert_of
from checkout_cli.store.database.schema import external

DAY = 24 * 3600 * 1000
"""Milliseconds after the last of its writes for which an external writer counts as there."""
_SEEN_AT = "seen_at"


class Database(Protocol):
    """What is needed of the tier."""

    def transaction(self) -> AbstractContextManager[Connection]: ...


class ExternalWrites(msgspec.Struct, frozen=True):
    """Writes that were taken in, conflicts among them, missing keys that were refilled or proven to be deleted,
    and when the last write was seen (ms; 0: never)."""

    JSON_KEYS = "takenIn conflicts refilled deleted lastSeen@?=seen_at"

    taken_in: int = 0
    conflicts: int = 0
    refilled: int = 0
    deleted: int = 0
    seen_at: int = 0

    def are_recent(self, now: int) -> bool:
        """Whether one was seen within a day."""
        return self.seen_at > 0 and now - self.seen_at < DAY


class ExternalWriters:
    """External writers as one database knows them. Every method may raise ``DatabaseUnavailable``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def writes(self) -> ExternalWrites:
        """The counts so far."""
        with self._database.transaction() as connection:
            return read_writes(connection)

    def seen_lately(self, now: int) -> int | None:
        """When their last write was seen (ms), if within a day before ``now``; else ``None``."""
        writes = self.writes()
        return writes.seen_at if writes.are_recent(now) else None

    def forget_seen(self) -> None:
        """Act as if none had been seen, until one is seen again."""
        with self._database.transaction() as connection:
            connection.execute(delete(external).where(external.c.name == _SEEN_AT))

    def note(self, connection: Connection, now: int, **counted: int) -> None:
        """Count writes seen ``now`` (ms), in the transaction that takes them in."""
        add_writes(connection, seen_at=now, **counted)


def add_writes(connection: Connection, **numbers: int) -> None:
    """Add to the counts, within another transaction; of ``seen_at`` (ms), the latest stays."""
    statement = insert_of(connection, external)
    larger = case((external.c.number > statement.excluded.number, external.c.number), else_=statement.excluded.number)
    added = external.c.number + statement.excluded.number
    upsert = statement.on_conflict_do_update(
        index_elements=[external.c.name], set_={"number": case((external.c.name == _SEEN_AT, larger), else_=added)}
    )
    connection.execute(upsert, [{"name": name, "number": numbers[name]} for name in sorted(numbers)])


def read_writes(connection: Connection) -> ExternalWrites:
    """The counts so far, within another transaction."""
    rows = {row.name: row.number for row in connection.execute(select(external))}
    return ExternalWrites(*(int(rows.get(name, 0)) for name in ExternalWrites.__struct_fields__))
