"""A connection to Redis without retries or a handshake of the library's own, which keeps the first bytes that come."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from checkout_cli.store.redis.bounded import UNNAMED, BoundedSocket
from checkout_cli.store.redis.pipeline import read_reply

_FIRST_BYTES = 16


class ListeningSocket(BoundedSocket):
    """A bounded socket whose first bytes show what listens in Redis' place."""

    first_bytes = b""

    def recv_into(self, buffer: bytearray) -> int:
        """As a socket's."""
        received = super().recv_into(buffer)
        if len(self.first_bytes) < _FIRST_BYTES:
            self.first_bytes += bytes(buffer[: min(received, _FIRST_BYTES)])
        return received


class Connection(redis.Connection):
    """redis-py's protocol over a socket that we have connected ourselves."""

    def __init__(self) -> None:
        super().__init__(protocol=2, retry=Retry(NoBackoff(), 0), **UNNAMED)  # type: ignore[no-untyped-call]
        self._dialled: ListeningSocket | None = None

    def _connect(self) -> Any:
        return self._dialled

    def use(self, dialled: ListeningSocket) -> None:
        """Speak over this socket from now on."""
        self._dialled = dialled
        self.connect()  # type: ignore[no-untyped-call]

    def ask(self, *command: str) -> Any:
        """One round trip."""
        self.send_command(*command, check_health=False)  # type: ignore[no-untyped-call]
        return read_reply(self)

    def close(self) -> None:
        """Close the socket."""
        self.disconnect()  # type: ignore[no-untyped-call]
