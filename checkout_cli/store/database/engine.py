"""The SQLAlchemy engine: bounded waits, durable commits, drivers' errors translated.

SQLite files that we create are in WAL mode; every commit is on disk before it is acknowledged, and waits for a lock
only as long as the setting says. PostgreSQL gets connect, lock and statement time-outs; since a server that hangs keeps
none of them, every wait for it ends on our side too.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, Engine, make_url

from checkout_cli.config.trusted_file import at_home
from checkout_cli.errors import CheckoutError, ConfigurationError, DatabaseDenied, DatabaseNotReady, DatabaseUnavailable
from checkout_cli.store.database.lock_holders import holders
from checkout_cli.typed import typed

if TYPE_CHECKING:
    from checkout_cli.config.settings import Settings

GRACE = 0.25
"""Seconds that a PostgreSQL server has to tell that its own time-out is over, before we stop waiting for it."""

SYNCHRONOUS = "FULL"
"""SQLite's pragma: an acknowledged commit survives a power cut."""

_WRONG_TLS = ("does not support ssl", "sslmode", "sslrootcert", "certificate")
"""Words of libpq where TLS cannot be had with these settings."""
_NOT_READY = ("no such table", "no such column", "undefinedtable", "undefinedcolumn")


def make_engine(settings: Settings) -> Engine:
    """An engine for ``DATABASE_URL``, not connected yet; raises ``ConfigurationError``."""
    url = _parsed(settings.database_url)
    timeout = settings.database_timeout
    if url.get_backend_name() == "sqlite":
        if settings.database_schema:
            raise ConfigurationError("SQLite has no schemas", hint="leave CHECKOUT_DATABASE_SCHEMA empty")
        return _sqlite_engine(url, timeout)
    url = url.set(drivername="postgresql+psycopg")
    milliseconds = math.ceil(timeout * 1000)
    own = f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}"
    arguments = {
        "connect_timeout": max(2, math.ceil(timeout)),  # libpq takes whole seconds, and no fewer than two
        "options": " ".join([*url.normalized_query.get("options", ()), own]),  # theirs may name a search_path
        "application_name": "checkoutctl",
    }
    try:
        options = _in_schema(settings.database_schema)
        engine = sqlalchemy.create_engine(url, connect_args=arguments, execution_options=options, **_pool(timeout))
    except ModuleNotFoundError as error:
        problem = "DATABASE_URL needs the PostgreSQL driver"
        raise ConfigurationError(problem, hint="pip install 'checkoutctl[postgres]'") from error
    connect = _bounded_connect(timeout + GRACE)

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: object, _record: object, arguments: Any, options: Any) -> Any:
        return connect(*arguments, **options)

    return engine


def _pool(timeout: float) -> dict[str, Any]:
    return {"pool_timeout": timeout, "pool_size": 10, "max_overflow": 10, "hide_parameters": True}


def _in_schema(schema: str) -> dict[str, Any]:
    """Options by which every statement names the schema: a search path would be lost behind a connection pooler."""
    return {"schema_translate_map": {None: schema}} if schema else {}


def _bounded_connect(limit: float) -> Any:
    import psycopg

    class BoundedConnection(psycopg.Connection[Any]):
        def wait(self, gen: Any, *more: Any, **options: Any) -> Any:
            late = psycopg.OperationalError("it did not answer in time")
            return super().wait(_until(gen, time.monotonic() + limit, late, self.pgconn.finish), *more, **options)

    return BoundedConnection.connect


def _until(
    generator: Generator[Any, Any, Any], deadline: float, late: Exception, hang_up: Callable[[], None]
) -> Generator[Any, Any, Any]:
    """The same generator, ended after the deadline; its connection is useless then, with an answer under way."""
    try:
        wanted = next(generator)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= deadline:  # psycopg looks here at intervals, with nothing ready
                hang_up()
                raise late
            wanted = generator.send(ready)
    except StopIteration as end:
        return end.value


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
        return sqlite3.connect(uri, uri=True, timeout=timeout, check_same_thread=False)

    engine = sqlalchemy.create_engine("sqlite://", creator=connect, poolclass=sqlalchemy.QueuePool, **_pool(timeout))
    engine.sqlite_path = path  # type: ignore[attr-defined]

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.execute(f"PRAGMA synchronous={SYNCHRONOUS}")
        # 32 MiB at most, taken as needed; SQLite's own 2 MB make a clean-up's large steps read and write pages twice.
        connection.execute("PRAGMA cache_size=-32768")

    return engine


def _missing(path: Path) -> bool:
    """Whether there is surely no such file; where we may not look, SQLite's own error says what is wrong."""
    try:
        return not path.exists()
    except OSError:
        return False


def _is_homeless(path: Path) -> bool:
    """Whether the path begins with a home directory that there is not."""
    return path.parts[0].startswith("~")


def _no_home(path: Path) -> DatabaseUnavailable:
    hint = "set DATABASE_URL to a place that you can write to, as sqlite:////var/lib/shop/checkout.db, or set HOME"
    return DatabaseUnavailable(f"this user has no home directory, so there is no database {path}", hint=hint)


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def create_file(engine: Engine) -> None:
    """Create an SQLite database's file in WAL mode, and its directory, readable by nobody else, if it is missing."""
    path = sqlite_path(engine)
    if path is None or not _missing(path):
        return
    if _is_homeless(path):
        raise _no_home(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    except OSError as error:
        problem = f"cannot create the database {path}: {error.strerror}"
        raise ConfigurationError(problem, hint="set DATABASE_URL to a place you can write to") from error
    except sqlite3.Error as error:
        raise translated(error, engine) from error


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction, rolled back on any error; drivers' errors are translated."""
    try:
        with engine.begin() as connection:
            yield connection
    except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error) as error:
        raise translated(error, engine) from error


def translated(error: Exception, engine: Engine) -> CheckoutError:
    """The meaning of a driver's error; raise it ``from`` the original."""
    place = place_of(engine)
    cause: Any = getattr(error, "orig", None) or error
    text = str(cause).strip().split("\n", 1)[0]
    kind = type(cause).__name__.lower()
    if any(sign in text.lower() or sign in kind for sign in _NOT_READY):
        return no_tables(engine)
    path = sqlite_path(engine)
    if path is not None and _missing(path):
        if _is_homeless(path):
            return _no_home(path)
        return DatabaseNotReady(f"there is no database {path} yet")
    if isinstance(cause, sqlite3.DatabaseError) and "not a database" in text:
        return ConfigurationError(f"{path} is not an SQLite database", hint="check DATABASE_URL")
    if path is None and (refusal := _refused(text, engine)) is not None:
        return refusal
    if path is not None and "is locked" in text and (held := holders(path)):
        text += f", by {', '.join(held)}"
    return DatabaseUnavailable(f"the database {place}: {text}")


def insert_of(connection: Connection, table: sqlalchemy.Table) -> Any:
    """An INSERT of this database's dialect, which knows ``ON CONFLICT``."""
    return {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[connection.dialect.name](table)


def sqlite_path(engine: Engine) -> Path | None:
    """The file of an SQLite database; ``None`` for any other."""
    path: Path | None = getattr(engine, "sqlite_path", None)
    return path


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
    if any(sign in low for sign in _WRONG_TLS):
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
    role, quote = _role(engine), engine.dialect.identifier_preparer.quote
    schema = quote(_named_schema(engine))
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
    return f"CREATE SCHEMA {schema}; GRANT USAGE, CREATE ON SCHEMA {schema} TO {_role(engine)}"


def _role(engine: Engine) -> str:
    name = engine.url.username
    return engine.dialect.identifier_preparer.quote(name) if name else "the role of DATABASE_URL"


def to_type(engine: Engine, statement: sqlalchemy.Executable) -> str:
    """A statement as a person types it, with the schema of its tables."""
    return str(_compiled(engine, statement, _named_schema(engine)))


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


def schema_of(engine: Engine) -> str:
    """The schema of our tables; empty where the search path chooses it."""
    names: Mapping[str | None, str] = engine.get_execution_options().get("schema_translate_map", {})
    return names.get(None, "")


def _named_schema(engine: Engine) -> str:
    """The schema, also where the search path chooses it; empty only for SQLite, which has none."""
    if engine.dialect.name == "sqlite":
        return ""
    return schema_of(engine) or engine.dialect.default_schema_name or "public"


def place_of(engine: Engine) -> str:
    """The name of a database, without a password."""
    return str(sqlite_path(engine) or f"{engine.url.host or 'localhost'}/{engine.url.database}")
