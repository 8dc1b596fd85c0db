"""A server between a client and a real one that answers some commands with bytes of a test's choice."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import BinaryIO, Self

from checkout_cli.servers.embedded import HOST

Tell = Callable[[socket.socket, bytes], None]
"""Sends something in place of a reply, which it is given."""


def instead(lie: bytes) -> Tell:
    """Other bytes than the reply's."""
    return lambda client, _: client.sendall(lie)


def dripping(seconds: float) -> Tell:
    """The reply itself, byte by byte, and never its end."""

    def tell(client: socket.socket, reply: bytes) -> None:
        for place in range(len(reply) - 1):
            client.sendall(reply[place : place + 1])
            time.sleep(seconds)
        time.sleep(60)

    return tell


def endless(client: socket.socket, _: bytes) -> None:
    """A line that has no end."""
    while True:
        client.sendall(b"+" + b"a" * 65536)


def without_run_id(client: socket.socket, reply: bytes) -> None:
    """INFO as an engine of another make answers it."""
    client.sendall(reply.replace(b"\nrun_id:", b"\nxun_id:"))


class Liar:
    """Relays command by command; a context manager. ``tell`` is what becomes of the replies to commands of a name."""

    def __init__(self, port: int) -> None:
        """``port`` is the real server's."""
        self._server = (HOST, port)
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.lies: dict[str, Tell] = {}
        """By the command's name, or the name and its second word; ``*`` for all."""
        self.asked: Counter[str] = Counter()
        """How often each command was asked."""
        self.told = 0
        """How many replies were not passed on as they were."""
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError, ValueError, IndexError),
            client,
            client.makefile("rb") as requests,
            socket.create_connection(self._server) as server,
            server.makefile("rb") as replies,
        ):
            while request := whole(requests):
                server.sendall(request)
                reply = whole(replies)
                tell = self._lie_about(request)
                if tell is None:
                    client.sendall(reply)
                else:
                    self.told += 1
                    tell(client, reply)

    def _lie_about(self, request: bytes) -> Tell | None:
        words = request.split(b"\r\n")
        name = words[2].decode().upper()
        pair = f"{name} {words[4].decode('latin-1').upper()}" if len(words) > 5 else name
        self.asked[name if name in _SINGLE else pair] += 1
        return self.lies.get(pair) or self.lies.get(name) or self.lies.get("*")


_SINGLE = {"GET", "SET", "AUTH", "EVALSHA", "TYPE", "SELECT"}


def whole(stream: BinaryIO) -> bytes:
    """The next message of the protocol, a request or a reply, as it is; empty at the end."""
    line = stream.readline()
    kind, rest = line[:1], line[1:-2]
    if kind == b"$" and rest != b"-1":
        return line + stream.read(int(rest) + 2)
    if kind in {b"*", b"%"} and rest != b"-1":
        return line + b"".join(whole(stream) for _ in range(int(rest) * (2 if kind == b"%" else 1)))
    return line
