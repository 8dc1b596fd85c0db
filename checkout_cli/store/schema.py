"""The database's tables.

A session is one row: its body, its version, and the version that Redis is known to have. The row of a deleted session
stays as a tombstone (``body`` is NULL) until a clean-up finds it old enough, so that no late copy brings it back.
Times are milliseconds since the epoch.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, MetaData, String, Table, Text, text

metadata = MetaData()

sessions = Table(
    "checkout_sessions",
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
Index(
    "checkout_sessions_expiry",
    sessions.c.expires_at,
    sessions.c.checkout_id,
    sessions.c.status,
    sessions.c.completed,
)
Index(
    "checkout_sessions_pending",
    sessions.c.checkout_id,
    sqlite_where=_PENDING,
    postgresql_where=_PENDING,
)

totals = Table(
    "checkout_totals",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("number", BigInteger, nullable=False),
)
"""What clean-ups have removed from ``checkout_sessions``, so that the totals stay exact."""

locks = Table(
    "checkout_locks",
    metadata,
    Column("job", String(64), primary_key=True),
    Column("owner", String(256), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)
