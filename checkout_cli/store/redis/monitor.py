"""The stream of MONITOR: every command that a server runs, as it runs it, over a connection of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import redis

from checkout_cli.config.settings import Settings
from checkout_cli.store.redis.clients import client_address, name_shown
from checkout_cli.store.redis.clients import parsed as parsed_clients
from checkout_cli.store.redis.connection import connection_pool, translated
from checkout_cli.store.redis.pipeline import read_reply

AT_ONCE = 1000
"""Lines that are handed out before the caller may look at its clock again."""

_LINE = re.compile(rb"([0-9]{1,12})\.([0-9]{6}) \[[0-9]+ ([^\]]*)\] (.*)", re.DOTALL)
_ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_SPELLED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}


class Line(NamedTuple):
    """One command: when the server ran it (microseconds since the epoch), for whom, and as it was sent."""

    at: int
    client: str
    arguments: list[bytes]


class MonitorStream:
    """One server's stream; use it in a ``with``: a connection that is left open slows the server down."""

    def __init__(self, settings: Settings, address: tuple[str, int] | None, place: str) -> None:
        self._settings = settings
        self._pool = connection_pool(settings, address=address)
        self._connection: Any = None
        self.place = place
        self.names: dict[str, str] = {}
        """The names of clients by their addresses: of those that were there, and of those that say theirs since."""

    def __enter__(self) -> Self:
        """Begin; raises ``CommandDenied``, ``CommandUnknown`` or ``RedisUnavailable``."""
        try:
            self._connection = self._pool.get_connection()
            self._learn_names()
            self._connection.send_command("MONITOR", check_health=False)
            read_reply(self._connection)
        except BaseException as error:
            self.close()
            if isinstance(error, (redis.RedisError, OSError)):
                raise translated(error, self._settings, self.place) from error
            raise
        return self

    def _learn_names(self) -> None:
        self._connection.send_command("CLIENT", "LIST", check_health=False)
        try:
            listed = parsed_clients(read_reply(self._connection))
        except redis.ResponseError:  # denied, or renamed away: then nobody has a name
            return
        self.names = {client.address: client.name for client in listed if client.name}

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect: the server then stops sending at once."""
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = None
        self._pool.disconnect()

    def fileno(self) -> int:
        """For ``select``."""
        number: int = self._connection._sock.fileno()
        return number

    def lines(self) -> Iterator[Line]:
        """The lines that have arrived, without waiting; raises ``RedisUnavailable`` if the connection is broken."""
        self._connection.begin_exchange()
        for _ in range(AT_ONCE):
            try:
                if not self._connection.can_read(timeout=0):
                    return
                raw = read_reply(self._connection)
            except (redis.RedisError, OSError) as error:
                raise translated(error, self._settings, self.place) from error
            line = parsed(raw)
            if line is not None:
                if name := _name_in(line.arguments):
                    self.names[line.client] = name
                yield line


def _name_in(arguments: list[bytes]) -> str:
    """The name that a client gives itself: CLIENT SETNAME, or HELLO with SETNAME; empty for any other command."""
    words = [argument.upper() for argument in arguments[:6]]
    if words[:1] not in ([b"CLIENT"], [b"HELLO"]) or b"SETNAME" not in words[1:]:
        return ""
    place = words.index(b"SETNAME", 1) + 1
    return name_shown(arguments[place].decode("utf-8", "replace")) if place < len(arguments) else ""


def parsed(raw: object) -> Line | None:
    """A line as the server writes it (Redis documentation, "MONITOR"); ``None`` for anything else."""
    found = _LINE.fullmatch(raw) if isinstance(raw, bytes) else None
    if found is None:
        return None
    arguments = [_ESCAPE.sub(_meant, argument) for argument in _ARGUMENT.findall(found[4])]
    return Line(int(found[1]) * 1_000_000 + int(found[2]), client_address(found[3]), arguments)


def _meant(escape: re.Match[bytes]) -> bytes:
    what = escape[1]
    if len(what) == 3:
        return bytes([int(what[1:], 16)])
    return _SPELLED.get(what, what)


def is_script(line: Line) -> bool:
    """Whether a script ran the command."""
    return line.client == "lua"
