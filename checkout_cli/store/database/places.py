"""Where an engine's database is: its file or its host, and the schema of our tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sqlalchemy.engine import Engine


def sqlite_path(engine: Engine) -> Path | None:
    """The file of an SQLite database; ``None`` for any other."""
    path: Path | None = getattr(engine, "sqlite_path", None)
    return path


def is_missing(path: Path) -> bool:
    """Whether there is surely no such file; where we may not look, SQLite's own error says what is wrong."""
    try:
        return not path.exists()
    except OSError:
        return False


def is_homeless(path: Path) -> bool:
    """Whether the path begins with a home directory that there is not."""
    return path.parts[0].startswith("~")


def schema_of(engine: Engine) -> str:
    """The schema of our tables; empty where the search path chooses it."""
    names: Mapping[str | None, str] = engine.get_execution_options().get("schema_translate_map", {})
    return names.get(None, "")


def named_schema(engine: Engine) -> str:
    """The schema, also where the search path chooses it; empty only for SQLite, which has none."""
    if engine.dialect.name == "sqlite":
        return ""
    return schema_of(engine) or engine.dialect.default_schema_name or "public"


def place_of(engine: Engine) -> str:
    """The name of a database, without a password."""
    return str(sqlite_path(engine) or f"{engine.url.host or 'localhost'}/{engine.url.database}")


def qualified(engine: Engine, table: str) -> str:
    """A table's name with its schema, quoted; without one where the search path chooses it."""
    quote, schema = engine.dialect.identifier_preparer.quote, schema_of(engine)
    return f"{quote(schema)}.{quote(table)}" if schema else quote(table)


def role_of(engine: Engine) -> str:
    """Our role, quoted for SQL."""
    name = engine.url.username
    return engine.dialect.identifier_preparer.quote(name) if name else "the role of DATABASE_URL"
