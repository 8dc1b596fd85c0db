"""Many commands over one connection, the next ones sent while the last replies are still read.

For a few questions about each of a million keys, several times as fast as one command at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import redis
from hiredis import pack_command

from checkout_cli.errors import CheckoutError
from checkout_cli.store.redis.commands import Command, misshapen
from checkout_cli.store.redis.replies import MALFORMED, Shape, anything


def one_key(*words: bytes) -> bytes:
    """A command and its key, packed but for ``(length of the key, key)``: filling in with ``%`` is much faster."""
    beginning = b"".join(b"$%d\r\n%b\r\n" % (len(word), word.replace(b"%", b"%%")) for word in words)
    return b"*%d\r\n%b$%%d\r\n%%b\r\n" % (len(words) + 1, beginning)


def packed(commands: Sequence[Command]) -> bytes:
    """Commands as they are sent."""
    if len(commands) == 1:
        return bytes(pack_command(commands[0]))  # type: ignore[arg-type]
    return b"".join(map(pack_command, commands))  # type: ignore[arg-type]


def read_reply(connection: Any) -> Any:
    """The next reply over a connection.

    Raises:
        redis.InvalidResponse: it is none; the driver's parsers end in many ways on what a stranger sends.
    """
    try:
        return connection.read_response()
    except MALFORMED as error:
        connection.disconnect()
        raise redis.InvalidResponse(f"{type(error).__name__} while a reply was read") from error


def check_shapes(commands: Sequence[Command], replies: Sequence[Any]) -> None:
    """Compare each reply with its command.

    Raises:
        redis.InvalidResponse: one has another shape, so whose it is cannot be known.
    """
    name = misshapen(commands, replies)
    if name is not None:
        raise redis.InvalidResponse(f"the reply to {name} has another shape than {name}'s")


class Conversation:
    """A pipeline of one server; ``judged`` translates an error reply, ``failed`` a missing one."""

    def __init__(
        self, connection: Any, judged: Callable[[Any], Any], failed: Callable[[redis.RedisError | OSError], Exception]
    ) -> None:
        self._connection = connection
        self._judged = judged
        self._failed = failed
        self.outstanding = 0  # replies that are still to come
        self.answered = 0  # replies that have been read

    def send(self, packed: bytes, replies: int) -> None:
        """Send packed commands that get ``replies`` replies; raises ``RedisUnavailable``."""
        self.outstanding += replies
        try:
            self._connection.send_packed_command([packed], check_health=False)
        except (redis.RedisError, OSError) as error:
            raise self._failed(error) from error

    def say(self, *commands: Command) -> None:
        """Send commands that are not packed yet."""
        self.send(b"".join(self._connection.pack_commands(commands)), len(commands))

    def replies(self, number: int, shape: Shape = anything) -> list[Any]:
        """The next replies, all of one shape, errors among them as ``CheckoutError``.

        Raises:
            RedisUnavailable: one is late, or has another shape.
        """
        found: list[Any] = []
        try:
            while len(found) < number:
                self._read(found, number)
            if shape is not anything and not all(isinstance(one, CheckoutError) or shape(one) for one in found):
                raise redis.InvalidResponse("a reply has another shape than its command's")
        except (redis.RedisError, OSError) as error:
            raise self._failed(error) from error
        self.outstanding -= number
        self.answered += number
        return found

    def _read(self, found: list[Any], number: int) -> None:
        read = self._connection.read_response
        try:
            while len(found) < number:
                found.append(read())
        except redis.ResponseError as refusal:  # the answer to this command only; the others still come
            found.append(self._judged(refusal))
        except MALFORMED as error:
            raise redis.InvalidResponse(f"{type(error).__name__} while a reply was read") from error

    def ask(self, *commands: Command) -> list[Any]:
        """Send commands and read their replies, where nothing else is under way."""
        self.say(*commands)
        replies = self.replies(len(commands))
        try:
            check_shapes(commands, replies)
        except redis.RedisError as error:
            raise self._failed(error) from error
        return replies
