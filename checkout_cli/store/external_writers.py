"""External writers: other programs that write sessions on the same Redis. What the database remembers of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import case, select
from sqlalchemy.engine import Connection

from checkout_cli.store.schema import external

if TYPE_CHECKING:
    from checkout_cli.store.database_tier import DatabaseTier

DAY = 24 * 3600 * 1000
"""Milliseconds after the last of its writes for which an external writer counts as there."""
_SEEN_AT = "seen_at"


class ExternalWrites(NamedTuple):
    """How many of their writes were taken in, how many of these were conflicts, and when the last was seen (ms; 0:
    never)."""

    taken_in: int = 0
    conflicts: int = 0
    seen_at: int = 0

    def are_recent(self, now: int) -> bool:
        """Whether one was seen within a day."""
        return self.seen_at > 0 and now - self.seen_at < DAY


class ExternalWriters:
    """What one database remembers. Every method may raise ``DatabaseUnavailable``."""

    def __init__(self, database: DatabaseTier) -> None:
        """``database`` gives the transactions."""
        self._database = database

    def writes(self) -> ExternalWrites:
        """What was counted so far."""
        with self._database.transaction() as connection:
            return read_writes(connection)

    def note(self, connection: Connection, now: int, *, taken_in: int = 0, conflicts: int = 0) -> None:
        """Count, in the transaction that takes the write in."""
        numbers = {"taken_in": taken_in, "conflicts": conflicts, _SEEN_AT: now}
        statement = self._database.insert_of(external)
        larger = case(
            (external.c.number > statement.excluded.number, external.c.number), else_=statement.excluded.number
        )
        added = external.c.number + statement.excluded.number
        upsert = statement.on_conflict_do_update(
            index_elements=[external.c.name],
            set_={"number": case((external.c.name == _SEEN_AT, larger), else_=added)},
        )
        connection.execute(upsert, [{"name": name, "number": numbers[name]} for name in sorted(numbers)])

    def note_seen(self, now: int) -> None:
        """An external writer's session was met (ms), and nothing of it was to be taken in."""
        with self._database.transaction() as connection:
            self.note(connection, now)


def read_writes(connection: Connection) -> ExternalWrites:
    """What was counted so far, within another transaction."""
    rows = {row.name: row.number for row in connection.execute(select(external))}
    return ExternalWrites(*(int(rows.get(name, 0)) for name in ExternalWrites._fields))
