"""The database's tables, as this program makes them.

Their names are like nobody else's; the record (``own_tables``) makes them ours, and ``migrations`` upgrades older ones.
A session is one row: its body, its version, and the version that Redis is known to have. A deleted session's row stays
as a tombstone (``body`` is NULL) until a clean-up finds it old enough, so that no late copy brings it back. Times are
milliseconds since the epoch.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text, text

VERSION = 1
"""The version of all these tables. A column that comes later has ``info={"since": 2}``."""

PROGRAM = "checkoutctl"
"""What our record says of whose tables these are."""

metadata = MetaData()

versions = Table(
    "checkoutctl_schema",
    metadata,
    Column("program", String(32), primary_key=True),
    Column("version", Integer, nullable=False),
)
"""Our record, of one row: that these tables are ours, and their version."""

sessions = Table(
    "checkoutctl_sessions",
    metadata,
    Column("checkout_id", String(128), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("body", Text),
    Column("status", String(32), nullable=False),
    Column("completed", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("published_version", BigInteger, nullable=False),
    Column("write_id", String(64), nullable=False),
    Column("previous_version", BigInteger),
    Column("previous_body", Text),
    Column("proof", String(512)),
)

_PENDING = text("published_version < version")

# With status and completed in it, counting and the totals read this index alone and never the bodies.
expiry_index = Index(
    "checkoutctl_sessions_expiry",
    sessions.c.expires_at,
    sessions.c.checkout_id,
    sessions.c.status,
    sessions.c.completed,
)
Index("checkoutctl_sessions_pending", sessions.c.checkout_id, sqlite_where=_PENDING, postgresql_where=_PENDING)
_BURIED = text("body IS NULL")

# A clean-up takes old tombstones in batches, and each batch would read all rows without it.
Index("checkoutctl_sessions_buried", sessions.c.updated_at, sqlite_where=_BURIED, postgresql_where=_BURIED)

totals = Table(
    "checkoutctl_totals",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("number", BigInteger, nullable=False),
)
"""What clean-ups have removed from ``checkoutctl_sessions``, so that the totals stay exact."""

locks = Table(
    "checkoutctl_locks",
    metadata,
    Column("job", String(64), primary_key=True),
    Column("owner", String(256), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

flushes = Table(
    "checkoutctl_flushes",
    metadata,
    Column("token", String(64), primary_key=True),
    Column("checkout_id", String(128), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("result", String(16), nullable=False),
    Column("flushed_at", BigInteger, nullable=False),
)
"""What became of writes that Redis, memory or an external writer had before the database, so that none counts twice.

A token stands for consecutive writes of one process, up to the one of ``number``; the hash of an external writer's
bytes is a token too."""

Index("checkoutctl_flushes_age", flushes.c.flushed_at)

conflicts = Table(
    "checkoutctl_conflicts",
    metadata,
    Column("write_id", String(64), primary_key=True),
    Column("checkout_id", String(128), nullable=False),
    Column("source", String(16), nullable=False),
    Column("result", String(16), nullable=False),
    Column("base_version", BigInteger, nullable=False),
    Column("found_version", BigInteger),
    Column("written", LargeBinary, nullable=False),
    Column("found_body", Text),
    Column("detected_at", BigInteger, nullable=False),
)
"""Writes that could not stand as they were, with both contents: ``written``, and what the database had by then.

``result`` says what of it was applied nevertheless. What is written is bytes: an external writer's may be no JSON."""

Index("checkoutctl_conflicts_session", conflicts.c.checkout_id)

external = Table(
    "checkoutctl_external",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("number", BigInteger, nullable=False),
)
"""How many writes of external writers were taken in, and when the last one was seen (ms)."""

epochs = Table(
    "checkoutctl_reigns",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("stamp", String(128), nullable=False, unique=True),
    Column("began_at", BigInteger, nullable=False),
)
"""Behind Sentinel and in a cluster, each primary that was ever used, in order: only the latest is trusted.

In a cluster, that is the latest of its shard, and the stamp is the shard's name, a space, and the identity."""
