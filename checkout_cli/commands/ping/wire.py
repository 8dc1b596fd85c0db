"""A connection to Redis whose waits all share one deadline, without retries or a handshake of the library's own."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_FIRST_BYTES = 16


class Deadline:
    """A span of seconds that several waits share."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        """Begin it; ``clock`` counts seconds and never goes back."""
        self._seconds = seconds
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Begin the span anew."""
        self._end = self._clock() + self._seconds

    def remaining(self) -> float:
        """Seconds that are left; raises ``TimeoutError`` where none are."""
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError
        return left


class BoundedSocket:
    """A socket whose reads and writes all end by one deadline; the first bytes show what listens in Redis' place."""

    def __init__(self, wrapped: socket.socket, deadline: Deadline) -> None:
        self._wrapped = wrapped
        self._deadline = deadline
        self.first_bytes = b""

    def _in_time(self) -> socket.socket:
        self._wrapped.settimeout(self._deadline.remaining())
        return self._wrapped

    def sendall(self, data: bytes) -> None:
        self._in_time().sendall(data)

    def recv_into(self, buffer: bytearray) -> int:
        received = self._in_time().recv_into(buffer)
        self._keep(bytes(buffer[: min(received, _FIRST_BYTES)]))
        return received

    def recv(self, size: int) -> bytes:
        received = self._in_time().recv(size)
        self._keep(received[:_FIRST_BYTES])
        return received

    def _keep(self, received: bytes) -> None:
        if len(self.first_bytes) < _FIRST_BYTES:
            self.first_bytes += received

    def settimeout(self, _: float | None) -> None:
        """The deadline is what counts."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


class Connection(redis.Connection):
    """redis-py's protocol over a socket that we have connected ourselves."""

    def __init__(self) -> None:
        super().__init__(protocol=2, retry=Retry(NoBackoff(), 0))  # type: ignore[no-untyped-call]
        # Telling the server the name and version of the library would cost two round trips. These are the attributes
        # of redis-py up to 7 and from 8 on; as arguments, each would be refused by the other.
        self.lib_name = self.lib_version = self.driver_info = None
        self._dialled: BoundedSocket | None = None

    def _connect(self) -> Any:
        return self._dialled

    def use(self, dialled: BoundedSocket) -> None:
        """Speak over this socket from now on."""
        self._dialled = dialled
        self.connect()  # type: ignore[no-untyped-call]

    def ask(self, *command: str) -> Any:
        """One round trip."""
        self.send_command(*command, check_health=False)  # type: ignore[no-untyped-call]
        return self.read_response()

    def close(self) -> None:
        """Close the socket."""
        self.disconnect()  # type: ignore[no-untyped-call]
