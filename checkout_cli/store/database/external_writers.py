"""External writers: other programs that write sessions on the same Redis. What the database remembers of them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec
from sqlalchemy import case, delete, select
from sqlalchemy.engine import Connection
from sqlalchemy.schema import Table

from checkout_cli.store.database.schema import external

DAY = 24 * 3600 * 1000
"""Milliseconds after the last of its writes for which an external writer counts as there."""
_SEEN_AT = "seen_at"


class Database(Protocol):
    """What is needed of the tier."""

    def transaction(self) -> AbstractContextManager[Connection]:
        """One transaction on our tables."""

    def insert_of(self, table: Table) -> Any:
        """An INSERT of this database's dialect."""


class ExternalWrites(msgspec.Struct, frozen=True):
    """How many of their writes were taken in, and how many of these were conflicts; how many sessions whose keys were
    missing came back from the database, and how many such keys were proven to be deleted; and when the last write was
    seen (ms; 0: never)."""

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
    """What one database remembers. Every method may raise ``DatabaseUnavailable``."""

    def __init__(self, database: Database) -> None:
        """``database`` gives the transactions."""
        self._database = database

    def writes(self) -> ExternalWrites:
        """What was counted so far."""
        with self._database.transaction() as connection:
            return read_writes(connection)

    def seen_lately(self, now: int) -> int | None:
        """When their last write was seen (ms), if that was within a day before ``now``; ``None``: none is known of."""
        writes = self.writes()
        return writes.seen_at if writes.are_recent(now) else None

    def forget_seen(self) -> None:
        """Act as if none had been seen yet, until one is seen again."""
        with self._database.transaction() as connection:
            connection.execute(delete(external).where(external.c.name == _SEEN_AT))

    def note(self, connection: Connection, now: int, **counted: int) -> None:
        """Count writes that were seen ``now`` (ms), in the transaction that takes them in."""
        add_writes(self._database, connection, counted | {_SEEN_AT: now})


def add_writes(database: Database, connection: Connection, numbers: Mapping[str, int]) -> None:
    """Count more, within another transaction; of ``seen_at``, the latest stays."""
    statement = database.insert_of(external)
    larger = case((external.c.number > statement.excluded.number, external.c.number), else_=statement.excluded.number)
    added = external.c.number + statement.excluded.number
    upsert = statement.on_conflict_do_update(
        index_elements=[external.c.name],
        set_={"number": case((external.c.name == _SEEN_AT, larger), else_=added)},
    )
    connection.execute(upsert, [{"name": name, "number": numbers[name]} for name in sorted(numbers)])


def read_writes(connection: Connection) -> ExternalWrites:
    """What was counted so far, within another transaction."""
    rows = {row.name: row.number for row in connection.execute(select(external))}
    return ExternalWrites(*(int(rows.get(name, 0)) for name in ExternalWrites.__struct_fields__))
