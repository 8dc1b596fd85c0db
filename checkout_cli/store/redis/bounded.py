"""Connections whose waits and sizes are bounded in total, however slowly a server sends, and however much.

A socket's own time-out starts again with every byte. Here connecting and its handshake end by one deadline, and so does
each exchange; what arrives within one exchange is limited too.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
import redis
from redis.sentinel import SentinelManagedConnection

from checkout_cli.store.resolver import AddressInfo, Deadline, resolved

LARGEST_EXCHANGE = 64 * 2**20
"""Bytes that one exchange may bring. Pages are made so that far fewer are asked for."""

UNNAMED: dict[str, Any] = (
    {"driver_info": None} if int(redis.__version__.partition(".")[0]) >= 8 else {"lib_name": None, "lib_version": None}
)
"""Options of a connection that does not tell the server the library's name: that takes two round trips, which many
restricted users are denied, and reading the library's metadata takes longer than either. redis-py 8 renamed them."""

READ_AT_ONCE = 64 * 2**10
_INCOMPLETE = object()
"""What the reader returns until a reply has come whole."""


class ExchangeTooLarge(redis.ConnectionError):
    """The server sent more than any answer to us can be."""


class BoundedSocket:
    """A socket that ends each exchange after ``wait`` seconds and at most ``largest`` bytes.

    The first bytes of an exchange are waited for by the socket's own time-out, whatever follows by what is left of it:
    the usual exchange, which arrives at once, costs nothing more.
    """

    def __init__(self, wrapped: socket.socket, wait: float, largest: int = LARGEST_EXCHANGE) -> None:
        self._wrapped = wrapped
        self._wait = wait
        self._largest = largest
        self._shortened = True
        self._polls = False
        self.fileno = wrapped.fileno
        self.pending: Callable[[], int] = getattr(wrapped, "pending", int)
        self.is_one_exchange = True
        """While it is, what is sent begins no exchange of its own: a handshake is one."""
        self.begin()

    def begin(self, wait: float | None = None) -> None:
        """Start the next exchange; ``wait`` is another time for it, and for those that follow."""
        if wait is not None:
            self._wait, self._shortened = wait, True
        self._ends = time.monotonic() + self._wait
        self._received = 0
        if self._shortened:
            self._wrapped.settimeout(self._wait)
            self._shortened = False

    def sendall(self, data: bytes) -> None:
        """As a socket's; begins an exchange."""
        if not self.is_one_exchange:
            self.begin()
        self._wrapped.sendall(data)

    def recv_into(self, buffer: bytearray) -> int:
        """As a socket's.

        Raises:
            TimeoutError: the exchange has taken too long.
            ExchangeTooLarge: it has brought too much.
        """
        if self._received and not self._polls:
            self._shorten()
        received = self._wrapped.recv_into(buffer)
        self._received += received
        if self._received > self._largest:
            raise ExchangeTooLarge(f"more than {self._largest} bytes in one exchange")
        return received

    def _shorten(self) -> None:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._wrapped.settimeout(left)
        self._shortened = True

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As a socket's; raises as :meth:`recv_into`. With flags it only peeks at bytes that have arrived."""
        if flags:
            return self._wrapped.recv(size, flags)
        buffer = bytearray(size)
        return bytes(buffer[: self.recv_into(buffer)])

    def settimeout(self, seconds: float | None) -> None:
        """Only 0 counts, by which redis-py before 7 asks whether something has come; else the exchange's end does."""
        self._polls = seconds == 0
        self._wrapped.settimeout(0 if self._polls else self._wait)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


def dialled(addresses: Sequence[AddressInfo], deadline: Deadline) -> socket.socket:
    """A connection to the first address that accepts one; each gets its share of the time that is left."""
    problem: OSError = TimeoutError()
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        candidate = socket.socket(family, kind, protocol)
        try:
            candidate.settimeout(deadline.remaining() / (len(addresses) - tried))
            candidate.connect(address)
            if family != socket.AF_UNIX:
                candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                candidate.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError as error:
            candidate.close()
            problem = error
        except BaseException:
            candidate.close()
            raise
        else:
            return candidate
    raise problem


def unix_address(path: str) -> list[AddressInfo]:
    """The address of a Unix socket, for :func:`dialled`."""
    return [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", path)]


class _Bounded(redis.connection.AbstractConnection):
    """redis-py's connection on a :class:`BoundedSocket`: one exchange for the handshake, and one for each packet."""

    _sock: Any
    _replies: Any
    _received: bytearray
    _asked: Any

    def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        super().connect_check_health(*arguments, **options)
        self._sock.is_one_exchange = False
        self._replies = hiredis.Reader(
            protocolError=redis.InvalidResponse, replyError=self._parser.parse_error, notEnoughData=_INCOMPLETE
        )
        self._received = bytearray(READ_AT_ONCE)
        self._asked = select.poll()
        self._asked.register(self._sock.fileno(), select.POLLIN)

    def is_in_order(self) -> bool:
        """Whether it is connected, and nothing has come since the last exchange, such as its end."""
        sock = self._sock
        return sock is not None and not sock.pending() and not self._asked.poll(0)

    @property
    def is_open(self) -> bool:
        """Whether it has not been disconnected."""
        return self._sock is not None

    def exchange(self, packed: bytes, number: int) -> list[Any]:
        """Send packed commands, and read that many replies, errors among them: the driver's way, without its detours.

        Raises:
            redis.RedisError: there is no reply, or none of Redis; the connection is of no use any more.
        """
        sock, reader, received = self._sock, self._replies, self._received
        try:
            sock.sendall(packed)
            replies: list[Any] = []
            while len(replies) < number:
                reply = reader.gets()
                while reply is _INCOMPLETE:
                    size = sock.recv_into(received)
                    if not size:
                        raise redis.ConnectionError("Connection closed by server.")
                    reader.feed(received, 0, size)
                    reply = reader.gets()
                if isinstance(reply, redis.ConnectionError):  # it serves nothing now, or nobody like us
                    raise reply
                replies.append(reply)
        except TimeoutError as error:
            raise redis.TimeoutError("Timeout reading from socket") from error
        except OSError as error:
            raise redis.ConnectionError(f"Error while reading from socket: {error.args}") from error
        return replies

    def _connect(self) -> BoundedSocket:
        return BoundedSocket(self._dial(Deadline(self.socket_connect_timeout or 0.0)), self.socket_timeout or 0.0)

    def _dial(self, deadline: Deadline) -> socket.socket:
        raise NotImplementedError

    def begin_exchange(self) -> None:
        """Let what comes from now on have an end of its own, though nothing was sent."""
        self._sock.begin()


class BoundedConnection(_Bounded, redis.Connection):
    """To a host and a port."""

    def _dial(self, deadline: Deadline) -> socket.socket:
        return dialled(resolved(self.host, self.port, deadline), deadline)


class BoundedUnixConnection(_Bounded, redis.UnixDomainSocketConnection):
    """To a Unix socket."""

    def _dial(self, deadline: Deadline) -> socket.socket:
        return dialled(unix_address(self.path), deadline)


class BoundedSentinelConnection(SentinelManagedConnection, BoundedConnection):
    """To the primary that the Sentinels name."""
