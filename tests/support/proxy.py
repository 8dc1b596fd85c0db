"""A TCP proxy in the test's hands: it cuts, refuses, delays, swallows, and loses replies to requests that arrived."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from checkout_cli.servers.embedded import HOST

Address = tuple[str, int] | Path
"""Where the real server listens: a host and a port, or a Unix socket."""

_CHUNK = 65536


class _Link:
    """One client's connection and its counterpart to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.loses_reply = threading.Event()

    def close(self) -> None:
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """Relays connections to one server; a context manager. Faults begin and end with method calls, never by chance."""

    def __init__(self, server: Address) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._links: list[_Link] = []
        self._passing = threading.Event()
        self._passing.set()
        self._closed = False
        self._lost: bytes | None = None
        self._reply_lost = threading.Event()
        self.accepted = 0
        """Connections so far."""
        self.request_delay = 0.0
        """Seconds that each piece of a request waits."""
        self.reply_delay = 0.0
        """Seconds that each piece of a reply waits."""
        self._listener: socket.socket | None = self._listen(0)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._passing.set()
        self.refuse()

    # Faults

    def cut(self) -> None:
        """Close every connection; new ones are accepted again."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.close()

    def refuse(self) -> None:
        """Close every connection and refuse new ones."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()
        self.cut()

    def lead_to(self, server: Address) -> None:
        """Relay new connections to another server, as a name does that was moved; those there are go on as they are."""
        self._server = server

    def black_hole(self) -> None:
        """Accept everything and pass on nothing, in either direction."""
        self._passing.clear()

    def lose_reply_to(self, request: bytes) -> threading.Event:
        """Pass on the next request that contains these bytes, and cut when the server has answered it.

        So the server has done what was asked, for certain. Returns an event that is set when that has happened.
        """
        self._reply_lost = threading.Event()
        self._lost = request
        return self._reply_lost

    def restore(self) -> None:
        """End every fault. What was swallowed meanwhile arrives late, unless its connection is gone."""
        self.request_delay = self.reply_delay = 0.0
        self._lost = None
        self._passing.set()
        with self._lock:
            if self._listener is None:
                self._listener = self._listen(self.port)

    # Relaying

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server((HOST, port))
        _in_background(lambda: self._accept(listener))
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            link = _Link(client, server)
            with self._lock:
                if self._listener is not listener:
                    link.close()
                    return
                self._links.append(link)
            _in_background(lambda link=link: self._relay(link, self._request))  # type: ignore[misc]
            _in_background(lambda link=link: self._relay(link, self._reply))  # type: ignore[misc]

    def _connect(self) -> socket.socket:
        if isinstance(self._server, Path):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(self._server))
            return connection
        return socket.create_connection(self._server, timeout=None)

    def _relay(self, link: _Link, pass_on: Callable[[_Link], bool]) -> None:
        with contextlib.suppress(OSError):
            while pass_on(link):
                pass
        link.close()

    def _request(self, link: _Link) -> bool:
        piece = link.client.recv(_CHUNK)
        _wait(self.request_delay)
        self._passing.wait()
        if self._lost is not None and self._lost in piece:
            self._lost = None
            link.loses_reply.set()
        link.server.sendall(piece)
        return bool(piece) and not self._closed

    def _reply(self, link: _Link) -> bool:
        piece = link.server.recv(_CHUNK)
        if link.loses_reply.is_set():
            self._reply_lost.set()
            return False
        _wait(self.reply_delay)
        self._passing.wait()
        link.client.sendall(piece)
        return bool(piece) and not self._closed


def _wait(seconds: float) -> None:
    if seconds:
        time.sleep(seconds)


def _in_background(work: Callable[[], object]) -> None:
    threading.Thread(target=work, daemon=True).start()


@dataclass
class ProxiedPostgres:
    """A PostgreSQL database, reached directly and through a proxy."""

    url: str
    proxy: Proxy
    proxied_url: str


@contextmanager
def proxied(url: str, kind: type[Proxy] = Proxy) -> Iterator[ProxiedPostgres]:
    """A proxy of a kind before the PostgreSQL of a URL with a Unix socket."""
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    directory = Path(str(parsed.query["host"]))
    (socket,) = [path for path in directory.glob(".s.PGSQL.*") if path.suffix != ".lock"]
    with kind(socket) as proxy:
        through = f"postgresql://{parsed.username}@{HOST}:{proxy.port}/{parsed.database}?sslmode=disable"
        yield ProxiedPostgres(url, proxy, through)
