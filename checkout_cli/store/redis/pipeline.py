"""Many commands over one connection, the next ones sent while the last replies are still read.

For a few questions about each of a million keys, several times as fast as one command at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis

from checkout_cli.store.redis.commands import Command


def one_key(*words: bytes) -> bytes:
    """A command and its key, packed but for ``(length of the key, key)``: filling in with ``%`` is much faster."""
    beginning = b"".join(b"$%d\r\n%b\r\n" % (len(word), word.replace(b"%", b"%%")) for word in words)
    return b"*%d\r\n%b$%%d\r\n%%b\r\n" % (len(words) + 1, beginning)


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

    def replies(self, number: int) -> list[Any]:
        """The next replies, errors among them as ``CheckoutError``; raises ``RedisUnavailable`` if one is late."""
        found: list[Any] = []
        read = self._connection.read_response
        while len(found) < number:
            try:
                while len(found) < number:
                    found.append(read())
            except redis.ResponseError as refusal:  # the answer to this command only; the others still come
                found.append(self._judged(refusal))
            except (redis.RedisError, OSError) as error:
                raise self._failed(error) from error
        self.outstanding -= number
        self.answered += number
        return found

    def ask(self, *commands: Command) -> list[Any]:
        """Send commands and read their replies, where nothing else is under way."""
        self.say(*commands)
        return self.replies(len(commands))
