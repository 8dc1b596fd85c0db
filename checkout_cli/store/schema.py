"""The database's tables, as this program makes them.

Their names are like nobody else's; what makes them ours is the record of ``own_tables``. The tables of an older program
are brought up to these by ``schema_version``.

A session is one row: its body, its version, and the version that Redis is known to have. The row of a deleted session
stays as a tombstone (``body`` is NULL) until a clean-up finds it old enough, so that no late copy brings it back.
Times are milliseconds since the epoch.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text, text

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
    Column("write_id", String(36), nullable=False),
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
Index(
    "checkoutctl_sessions_pending",
    sessions.c.checkout_id,
    sqlite_where=_PENDING,
    postgresql_where=_PENDING,
)
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

drains = Table(
    "checkoutctl_drains",
    metadata,
    Column("write_id", String(36), primary_key=True),
    Column("checkout_id", String(128), nullable=False),
    Column("version_after", BigInteger),
    Column("drained_at", BigInteger, nullable=False),
)
"""Each write that was acknowledged while the database was away, once it is here: so that none is applied twice.

``version_after`` is the version that it became, or NULL where it lost to another write (see ``conflicts``)."""

Index("checkoutctl_drains_age", drains.c.drained_at)

conflicts = Table(
    "checkoutctl_conflicts",
    metadata,
    Column("write_id", String(36), primary_key=True),
    Column("checkout_id", String(128), nullable=False),
    Column("tier", String(16), nullable=False),
    Column("base_version", BigInteger, nullable=False),
    Column("found_version", BigInteger),
    Column("drained_body", Text, nullable=False),
    Column("found_body", Text),
    Column("detected_at", BigInteger, nullable=False),
)
"""Writes that lost, with both contents: what was to be written, and what the database had by then."""

reigns = Table(
    "checkoutctl_reigns",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("stamp", String(128), nullable=False, unique=True),
    Column("began_at", BigInteger, nullable=False),
)
"""Behind Sentinel and in a cluster, each primary that was ever used, in order: only the latest is trusted.

In a cluster, that is the latest of its shard, and the stamp is the shard's name, a space, and the identity."""

quarantine = Table(
    "checkoutctl_quarantine",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("checkout_id", String(128), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)
"""Values in Redis that were no sessions and were replaced: a SHA-256 of their bytes, never the bytes."""
