"""What a driver's error means: an outage, a refusal of one statement, or something that is set up wrongly."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy.engine import Engine

from checkout_cli.errors import (
    CheckoutError,
    ConfigurationError,
    ConnectionLost,
    DatabaseBusy,
    DatabaseDenied,
    DatabaseNotReady,
    DatabasePoolExhausted,
    DatabaseUnavailable,
    NotStorable,
    StatementRefused,
)
from checkout_cli.store.database.lock_holders import holders
from checkout_cli.store.database.places import (
    is_homeless,
    is_missing,
    named_schema,
    place_of,
    role_of,
    schema_of,
    sqlite_path,
)
from checkout_cli.typed import typed

_WRONG_TLS = ("does not support ssl", "sslmode", "sslrootcert", "certificate")
"""Words of libpq where TLS cannot be had with these settings."""
_NOT_READY = ("no such table", "no such column", "undefinedtable", "undefinedcolumn")

_BUSY_STATES = {"57014", "55P03", "40001", "40P01", "53300", "25P03"}
"""SQLSTATEs: cancelled by a time-out, a lock that was not had, two that must not go on at once, too many clients."""
_BUSY_TEXTS = (
    "database is locked",
    "database table is locked",
    "database schema is locked",
    "too many clients",
    "too many connections",
    "remaining connection slots are reserved",
    "no more connections allowed",
    "query_wait_timeout",
)
"""The same in words, as SQLite, a server that refuses a connection, and PgBouncer say it."""
LATE = "it did not answer in time"
"""What is said of a server that hangs."""


def translated(error: Exception, engine: Engine, *, begun: bool = True) -> CheckoutError:
    """The meaning of a driver's error, in a transaction that had ``begun`` or not; raise it ``from`` the original."""
    place = place_of(engine)
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        return DatabasePoolExhausted(f"all connections of this process to the database {place} are in use")
    cause: Any = getattr(error, "orig", None) or error
    text = str(cause).strip().split("\n", 1)[0]
    kind = type(cause).__name__.lower()
    if is_not_storable(error):
        return NotStorable(f"the database {place} cannot hold this, or return it: {text}")
    if any(sign in text.lower() or sign in kind for sign in _NOT_READY):
        return no_tables(engine)
    path = sqlite_path(engine)
    if path is not None and is_missing(path):
        if is_homeless(path):
            return no_home(path)
        return DatabaseNotReady(f"there is no database {path} yet")
    if isinstance(cause, sqlite3.DatabaseError) and "not a database" in text:
        return ConfigurationError(f"{path} is not an SQLite database", hint="check DATABASE_URL")
    if getattr(cause, "sqlstate", None) in _BUSY_STATES or any(sign in text.lower() for sign in _BUSY_TEXTS):
        held = holders(path) if path is not None and "locked" in text else []
        return DatabaseBusy(f"the database {place}: {text}{', by ' if held else ''}{', '.join(held)}")
    if path is None and (refusal := _refused(text, engine)) is not None:
        return refusal
    if begun and is_lost(error):
        return ConnectionLost(f"the database {place}: {text}")
    if begun and isinstance(error, sqlalchemy.exc.ProgrammingError):
        return StatementRefused(f"the database {place}: {text}")
    return DatabaseUnavailable(f"the database {place}: {text}")


def is_lost(error: Exception) -> bool:
    """Whether the connection was closed by somebody else; not where we gave up waiting for an answer."""
    return isinstance(error, sqlalchemy.exc.DBAPIError) and error.connection_invalidated and LATE not in str(error.orig)


def is_read_only(error: Exception) -> bool:
    """Whether the server is a standby, or has become one."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) == "25006"


def is_not_storable(error: Exception) -> bool:
    """Whether it is about the very value: a NUL, half of a surrogate pair, what the encoding lacks, too long a text."""
    return isinstance(error, (sqlalchemy.exc.DataError, *UNSTORABLE)) or "Could not decode to UTF-8" in str(error)


UNSTORABLE = (UnicodeError, OverflowError)
"""What drivers raise, beside their own errors, for values that they cannot send or read."""


def no_home(path: Path) -> DatabaseUnavailable:
    """The error where the file would be in a home directory that there is not."""
    hint = "set DATABASE_URL to a place that you can write to, as sqlite:////var/lib/shop/checkout.db, or set HOME"
    return DatabaseUnavailable(f"this user has no home directory, so there is no database {path}", hint=hint)


def no_tables(engine: Engine) -> DatabaseNotReady:
    """The error where none of our tables is there."""
    schema = schema_of(engine)
    where = f" in the schema {schema}" if schema else ""
    return DatabaseNotReady(f"the database {place_of(engine)} has no checkout tables yet{where}")


def _refused(text: str, engine: Engine) -> CheckoutError | None:
    place, low = place_of(engine), text.lower()
    reason = text.rpartition("FATAL:")[2].strip() or text  # without the addresses that libpq puts before it
    if "password authentication failed" in low or "no password supplied" in low:
        return DatabaseDenied(f"the database {place} refuses the user or password")
    if "permission denied" in low or "must be owner" in low:
        return DatabaseDenied(f"the database {place}: {text}", hint=_grant(text, engine))
    if "pg_hba.conf" in low:
        return DatabaseDenied(f"the database {place}: {reason}", hint="see the server's pg_hba.conf")
    if "unsupported startup parameter" in low:
        hint = "take that option out of DATABASE_URL: a pooler such as PgBouncer refuses it"
    elif any(sign in low for sign in _WRONG_TLS):
        hint = "check sslmode and the certificates in DATABASE_URL"
    elif "does not exist" in low and "database" in low:
        hint = f"{typed('createdb {}', engine.url.database)}; or check DATABASE_URL"
    elif ("does not exist" in low and "role" in low) or "invalid connection option" in low:
        hint = "check DATABASE_URL"
    elif "read-only transaction" in low:
        return DatabaseUnavailable(f"the database {place} is read-only, as a standby is: {text}")
    else:
        return None
    return ConfigurationError(f"the database {place}: {reason}", hint=hint)


def _grant(text: str, engine: Engine) -> str:
    role, quote = role_of(engine), engine.dialect.identifier_preparer.quote
    schema = quote(named_schema(engine))
    if " for schema " in text:
        return f"GRANT USAGE, CREATE ON SCHEMA {quote(text.rpartition(' for schema ')[2])} TO {role}"
    if " for database " in text:
        return f"GRANT CONNECT ON DATABASE {quote(engine.url.database or '')} TO {role}"
    if " for sequence " in text:
        return f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
    if "must be owner" in text:
        return "checkoutctl setup, as the role that owns the tables"
    return f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}"


def schema_statements(engine: Engine) -> str:
    """The statements by which an administrator makes the schema of our tables for our role."""
    schema = engine.dialect.identifier_preparer.quote(schema_of(engine))
    return f"CREATE SCHEMA {schema}; GRANT USAGE, CREATE ON SCHEMA {schema} TO {role_of(engine)}"
