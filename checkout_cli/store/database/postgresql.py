"""PostgreSQL as servers and poolers have it: bounded waits, and transactions that depend on nothing before them.

Behind a pooler such as PgBouncer, each transaction may be of another server connection: no setting of a session and no
prepared statement outlives it, and the start-up parameter ``options`` is refused. So each transaction begins with its
own time-outs, in the same round trip. As a server that hangs keeps none of them, every wait ends on our side too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from typing import Any

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.engine import URL, Engine

from checkout_cli.errors import ConfigurationError
from checkout_cli.store.database.failures import LATE
from checkout_cli.store.resolver import Deadline, resolved

GRACE = 0.25
"""Seconds that a server has to tell that its own time-out is over, before we stop waiting for it."""
POLL = 0.1
"""Seconds between two looks at the clock while a server is waited for."""
KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""By which an idle connection is known to be dead within a minute, where a firewall has forgotten it without a word."""
ENCODING = "utf8"
"""Of what we send and receive, whatever the server, the locale or PGCLIENTENCODING say."""


def postgresql_engine(url: URL, timeout: float, **options: Any) -> Engine:
    """An engine that is not connected yet; raises ``ConfigurationError`` where the driver is missing."""
    arguments = {
        **{name: value for name, value in KEEPALIVE.items() if name not in url.query},
        "connect_timeout": max(2, math.ceil(timeout)),  # libpq takes whole seconds, and no fewer than two
        "application_name": url.query.get("application_name", "checkoutctl"),
        "client_encoding": ENCODING,
        "prepare_threshold": None,  # never: one by the same name may be at the other end of a pooler
        "autocommit": True,  # the transaction is begun below
    }
    try:
        engine = sqlalchemy.create_engine(
            url.set(drivername="postgresql+psycopg"), connect_args=arguments, use_native_hstore=False, **options
        )
    except ModuleNotFoundError as error:
        problem = "DATABASE_URL needs the PostgreSQL driver"
        raise ConfigurationError(problem, hint="pip install 'checkoutctl[postgres]'") from error
    connect = _bounded_connect(timeout + GRACE)

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: object, _record: object, arguments: Any, options: Any) -> Any:
        return connect(*arguments, **options)

    # The driver sends its own BEGIN with the first statement; this one takes the time-outs along.
    engine.dialect.do_begin = _executing(_beginning(timeout))  # type: ignore[assignment, method-assign]
    return engine


def _beginning(timeout: float) -> bytes:
    milliseconds = math.ceil(timeout * 1000)
    own = (f"SET LOCAL {name} = {milliseconds}" for name in ("statement_timeout", "lock_timeout"))
    return "; ".join(("BEGIN", *own)).encode()


def _executing(statement: bytes) -> Callable[[Any], None]:
    def execute(connection: Any) -> None:
        connection.execute(statement)

    return execute


def _bounded_connect(limit: float) -> Any:
    import psycopg

    class BoundedConnection(psycopg.Connection[Any]):
        def wait(self, gen: Any, *_: Any, **__: Any) -> Any:
            # Past psycopg's own, which after Ctrl-C waits again, and longer, for a server to cancel the statement.
            late = psycopg.OperationalError(LATE)
            bounded = _until(gen, time.monotonic() + limit, late, self.pgconn.finish)
            try:
                return psycopg.waiting.wait(bounded, self.pgconn.socket, interval=POLL)
            except KeyboardInterrupt:
                self.pgconn.finish()
                raise

    def connect(*arguments: Any, **options: Any) -> Any:
        host = options.get("host")
        if isinstance(host, str) and host and "," not in host and not host.startswith(("/", "@")):
            _insist_on_name(host, limit)
        return BoundedConnection.connect(*arguments, **options)

    return connect


def _insist_on_name(host: str, limit: float) -> None:
    """Raise ``OperationalError`` for a name without an address: libpq asks again, and cannot be interrupted then."""
    import psycopg

    try:
        resolved(host, 0, Deadline(limit))
    except OSError as error:
        raise psycopg.OperationalError(f"could not translate host name {host!r} to an address: {error}") from error


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
