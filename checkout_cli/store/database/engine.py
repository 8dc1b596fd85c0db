"""The SQLAlchemy engine: durable commits, bounded waits, and transactions whose errors are translated.

SQLite files that we create are in WAL mode; every commit is on disk before it is acknowledged, and waits for a lock
only as long as the setting says.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, Engine, Transaction, make_url

from checkout_cli.config.trusted_file import at_home
from checkout_cli.errors import ConfigurationError
from checkout_cli.store.after_fork import in_each_child
from checkout_cli.store.database.failures import UNSTORABLE, is_lost, is_read_only, no_home, translated
from checkout_cli.store.database.places import is_homeless, is_missing, named_schema, schema_of, sqlite_path
from checkout_cli.typed import typed

if TYPE_CHECKING:
    from checkout_cli.config.settings import Settings

LONGEST_LOCK = 20.0
"""Seconds that SQLite waits for a lock, which no signal interrupts: a command must end within 30."""
SYNCHRONOUS = "FULL"
"""SQLite's pragma: an acknowledged commit survives a power cut."""


def make_engine(settings: Settings, *, timeout: float | None = None) -> Engine:
    """An engine for ``DATABASE_URL``, not connected yet; raises ``ConfigurationError``.

    ``timeout`` is another one than the settings', in seconds.
    """
    url = _parsed(settings.database_url)
    wait = settings.database_timeout if timeout is None else timeout
    if url.get_backend_name() == "sqlite":
        if settings.database_schema:
            raise ConfigurationError("SQLite has no schemas", hint="leave CHECKOUT_DATABASE_SCHEMA empty")
        engine = _sqlite_engine(url, wait)
    else:
        from checkout_cli.store.database.postgresql import postgresql_engine

        engine = postgresql_engine(url, wait, execution_options=_in_schema(settings.database_schema), **_pool(wait))
    in_each_child(engine, _begin_anew)
    return engine


_INHERITED: list[sqlalchemy.Pool] = []
"""The pools of a parent process, kept so that nothing closes its connections under it."""


def _begin_anew(engine: Engine) -> None:
    _INHERITED.append(engine.pool)
    engine.dispose(close=False)


def _pool(timeout: float) -> dict[str, Any]:
    return {"pool_timeout": timeout, "pool_size": 10, "max_overflow": 10, "hide_parameters": True}


def _in_schema(schema: str) -> dict[str, Any]:
    """Options by which every statement names the schema: a search path would be lost behind a connection pooler."""
    return {"schema_translate_map": {None: schema}} if schema else {}


def _parsed(text: str) -> URL:
    if text.startswith("postgres://"):  # the name that hosting services hand out
        text = text.replace("postgres://", "postgresql://", 1)
    try:
        return make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ConfigurationError("DATABASE_URL is not a database URL") from None  # the error repeats it


def _sqlite_engine(url: URL, timeout: float) -> Engine:
    if not url.database or url.database == ":memory:":
        hint = "a database in memory would lose sessions: sqlite:////var/lib/…/checkout.db"
        raise ConfigurationError("DATABASE_URL names no file", hint=hint)
    path = at_home(url.database)
    if _is_directory(path):
        raise ConfigurationError(
            f"DATABASE_URL names a directory: {path}",
            hint=typed("DATABASE_URL={} checkoutctl setup", f"sqlite:///{path / 'checkout.db'}"),
        )

    def connect() -> sqlite3.Connection:
        # "rw" does not create the file: a mistyped path must not become an empty database.
        uri = f"{path.absolute().as_uri()}?mode=rw"
        return sqlite3.connect(uri, uri=True, timeout=min(timeout, LONGEST_LOCK), check_same_thread=False)

    engine = sqlalchemy.create_engine("sqlite://", creator=connect, poolclass=sqlalchemy.QueuePool, **_pool(timeout))
    engine.sqlite_path = path  # type: ignore[attr-defined]

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.execute(f"PRAGMA synchronous={SYNCHRONOUS}")
        # 32 MiB at most, taken as needed; SQLite's own 2 MB make a clean-up's large steps read and write pages twice.
        connection.execute("PRAGMA cache_size=-32768")

    return engine


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def create_file(engine: Engine) -> None:
    """Create an SQLite database's file in WAL mode, and its directory, readable by nobody else, if it is missing."""
    path = sqlite_path(engine)
    if path is None or not is_missing(path):
        return
    if is_homeless(path):
        raise no_home(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as directory:
            new = Path(directory) / path.name
            new.touch(mode=0o600)
            with closing(sqlite3.connect(new)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            # At once, as others may be here too: changing the mode of a file that somebody has open fails.
            with contextlib.suppress(FileExistsError):
                os.link(new, path)
    except OSError as error:
        problem = f"cannot create the database {path}: {error.strerror}"
        raise ConfigurationError(problem, hint="set DATABASE_URL to a place you can write to") from error
    except sqlite3.Error as error:
        raise translated(error, engine) from error


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction, rolled back on any error; drivers' errors are translated.

    A connection that was closed while it waited in the pool is replaced: that is found before anything is done over it.
    """
    begun = False
    try:
        connection, under_way = _begun(engine)
        with connection, under_way:
            begun = True
            yield connection
    except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, *UNSTORABLE) as error:
        if is_read_only(error):  # after a failover, whoever has the address now may be another server
            engine.dispose()
        raise translated(error, engine, begun=begun) from error


def _begun(engine: Engine) -> tuple[Connection, Transaction]:
    connection = engine.connect()
    try:
        return connection, connection.begin()
    except BaseException as error:
        connection.close()
        if not isinstance(error, sqlalchemy.exc.DBAPIError) or not is_lost(error):
            raise
    connection = engine.connect()  # a new one: what was in the pool is as old as the one that was closed
    try:
        return connection, connection.begin()
    except BaseException:
        connection.close()
        raise


def insert_of(connection: Connection, table: sqlalchemy.Table) -> Any:
    """An INSERT of this database's dialect, which knows ``ON CONFLICT``."""
    return {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[connection.dialect.name](table)


def executed_for_all(
    connection: Connection, insert: Any, key: sqlalchemy.Column[Any], rows: Sequence[Mapping[str, Any]]
) -> list[Any]:
    """Insert rows, of several in one statement where the database can return them; the keys of those written."""
    if len(rows) > 1 and connection.dialect.insert_executemany_returning:
        return list(connection.execute(insert.returning(key), rows).scalars())
    counted = insert.execution_options(preserve_rowcount=True)
    return [row[key.name] for row in rows if connection.execute(counted, row).rowcount == 1]


def to_type(engine: Engine, statement: sqlalchemy.Executable) -> str:
    """A statement as a person types it, with the schema of its tables."""
    return str(_compiled(engine, statement, named_schema(engine)))


def _compiled(engine: Engine, statement: sqlalchemy.Executable, schema: str) -> Any:
    options = {**_in_schema(schema), "render_schema_translate": True} if schema else {}
    return statement.compile(dialect=engine.dialect, **options)  # type: ignore[attr-defined]


class Prepared:
    """A statement compiled once, as that takes long, with a placeholder of the driver's own type for each value."""

    def __init__(self, statement: sqlalchemy.Update, engine: Engine) -> None:
        compiled = _compiled(engine, statement, schema_of(engine))
        self._text = str(compiled)
        self._order: list[str] | None = compiled.positiontup

    def changed(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Execute it; returns how many rows it changed."""
        parameters = values if self._order is None else tuple(values[name] for name in self._order)
        return connection.exec_driver_sql(self._text, parameters).rowcount
