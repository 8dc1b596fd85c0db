"""The way to Redis for one measurement, which can be cut and mended half-way.

The user's own server is never stopped: a relay in this process carries every byte, and cutting it does to the store
what the death of the server would do. A server of our own is really killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any, Self

from checkout_cli.config.settings import Settings
from checkout_cli.servers.embedded import HOST, EmbeddedServer

_CHUNK = 65_536


@dataclass(frozen=True)
class KilledServer:
    """A server of our own, killed with SIGKILL and started again on its files; ``settings`` lead to it."""

    server: EmbeddedServer
    settings: Settings
    how: str = "killed (SIGKILL) and started again"

    def cut(self) -> None:
        """Make it unavailable; returns when it is."""
        self.server.kill()

    def mend(self) -> None:
        """Make it available again."""
        self.server.start()


class Relay:
    """A local port that leads to the user's Redis until it is cut; a context manager."""

    def __init__(self, settings: Settings) -> None:
        """``settings`` lead to one server, not to a cluster or to Sentinels, which tell clients other addresses."""
        self.how = "cut off: its connections were closed, and new ones refused"
        self._upstream = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._door = _bound(0)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.settings = replace(
            settings,
            redis_host=HOST,
            redis_port=self._door.getsockname()[1],
            redis_socket="",
            # Certificates are still those of the server behind.
            redis_tls_server_name=settings.redis_tls_server_name or settings.redis_host,
        )

    def __enter__(self) -> Self:
        self._thread.start()
        self.mend()
        return self

    def __exit__(self, *_: object) -> None:
        self._ask(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._door.close()

    def mend(self) -> None:
        self._ask(self._listen())

    def cut(self) -> None:
        """End all connections and refuse new ones; the port stays ours."""
        port = self._door.getsockname()[1]
        self._ask(self._close())
        self._door = _bound(port)

    def _ask(self, task: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(task, self._loop).result()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._carry, sock=self._door)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._open:
            writer.transport.abort()

    async def _end(self) -> None:
        await self._close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            with contextlib.suppress(OSError):  # one end has hung up, or there is no server: then so do we
                there, back = await self._connect()
                self._open.add(back)
                try:
                    await asyncio.gather(_pump(reader, back), _pump(there, writer))
                finally:
                    self._open.discard(back)
                    back.transport.abort()
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        upstream = self._upstream
        if upstream.redis_socket:
            return await asyncio.open_unix_connection(upstream.redis_socket)
        return await asyncio.open_connection(upstream.redis_host, upstream.redis_port)


def _bound(port: int) -> socket.socket:
    """A port that is ours; it refuses connections until somebody listens."""
    door = socket.socket()
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.bind((HOST, port))
    return door


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    writer.transport.abort()
