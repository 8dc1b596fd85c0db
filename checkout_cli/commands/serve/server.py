"""Serving: the socket, time-outs for slow and idle connections, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from checkout_cli.commands.serve.guard import LARGEST_HEADERS
from checkout_cli.config.addresses import address_text
from checkout_cli.errors import AccessDenied, CheckoutError, ConfigurationError, ExitCode

REQUEST_TIMEOUT = 10.0
"""Seconds for a request's headers, on a new connection as on one that is kept."""
KEEP_ALIVE = 5
"""Seconds for which a connection without a request is kept."""
GRACE = 25
"""Seconds for requests to end after SIGTERM; more than the longest clean-up takes."""
MOST_CONNECTIONS = 500
"""Beyond it, the one that has been idle for longest gives way to a new one; 1,024 is a process's usual limit."""

AT_ONCE = 128
"""Connections that are taken in one turn of the loop, before idle ones give way; more could use up all files."""


class PortTaken(CheckoutError):
    """Another program listens at this address."""

    exit_code = ExitCode.UNAVAILABLE
    default_hint = "checkoutctl serve --port 8643"


def listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections.

    Raises:
        PortTaken: another program has the port.
        AccessDenied: the port is for root alone.
        ConfigurationError: the address does not belong to this machine.
    """
    place = address_text(host, port)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"cannot listen at {place}: {reason}", hint="--host 127.0.0.1") from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(1024)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"another program listens at {place}") from error
        if error.errno in {errno.EACCES, errno.EPERM}:
            raise AccessDenied(f"cannot listen at {place}: {error.strerror}", hint="--port 8642") from error
        raise ConfigurationError(f"cannot listen at {place}: {error.strerror}", hint="--host 127.0.0.1") from error
    return found


class BoundedProtocol(H11Protocol):
    """uvicorn's protocol, with a time-out for the headers of a request, which ends the connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._late: asyncio.TimerHandle | None = None
        self._slow: asyncio.TimerHandle | None = None
        self._since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()
        self._expect()
        if len(self.connections) > MOST_CONNECTIONS:
            others: set[Any] = self.connections - {self}  # of this class, whatever uvicorn says
            idle = [each for each in others if not each._is_answering()]
            if idle:
                oldest = min(idle, key=lambda each: each._since)
                self.connections.discard(oldest)  # which the loop's next turn would do, and others may come in this one
                oldest.transport.abort()

    def pause_writing(self) -> None:
        """The reader is slower than we are: it has as long as a request may take to come."""
        super().pause_writing()
        self._slow = self.loop.call_later(REQUEST_TIMEOUT, self.transport.abort)

    def resume_writing(self) -> None:
        """The reader has caught up."""
        super().resume_writing()
        if self._slow is not None:
            self._slow.cancel()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, also where its client never reads what is left to send."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(REQUEST_TIMEOUT, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        if self._late is None and not self._is_answering():
            self._expect()  # the next request on a connection that was kept
        super().data_received(data)
        if self._is_answering():
            self._came()

    def connection_lost(self, exc: Exception | None) -> None:
        self._came()
        if self._slow is not None:
            self._slow.cancel()
        super().connection_lost(exc)

    def _is_answering(self) -> bool:
        cycle: Any = self.cycle  # none before the first request, whatever its type says
        return cycle is not None and not cycle.response_complete

    def _expect(self) -> None:
        self._late = self.loop.call_later(REQUEST_TIMEOUT, self.transport.abort)

    def _came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class Answered:
    """An application that raises nothing: it has answered and logged its errors, and Starlette raises them again."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with contextlib.suppress(Exception):
            await self._app(scope, receive, send)


def serve(app: Starlette, found: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, which end it in order; SIGINT then raises ``KeyboardInterrupt``."""
    silence = logging.getLogger("uvicorn")  # its tracebacks would go past LOG_FILE, and may hold what a client sent
    silence.addHandler(logging.NullHandler())
    silence.propagate = False
    config = uvicorn.Config(
        Answered(app),
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
        limit_concurrency=2 * MOST_CONNECTIONS,
        backlog=AT_ONCE,
        h11_max_incomplete_event_size=LARGEST_HEADERS,
    )
    before = signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn sends it to us again when it has ended
    try:
        uvicorn.Server(config).run(sockets=[found])
    finally:
        signal.signal(signal.SIGTERM, before)
