"""One Redis server: every exchange with it is bounded, logged and counted by the server's own breaker."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.exceptions import NoScriptError

from checkout_cli.config.addresses import address_text
from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, RedisPoolExhausted, RedisRefusing, RedisUnavailable, ReplyTooLarge
from checkout_cli.keys import family_of
from checkout_cli.session import TierName
from checkout_cli.store.breaker import Breaker
from checkout_cli.store.redis.commands import SCRIPTS, Command, decoded, key_of
from checkout_cli.store.redis.connection import connection_pool, identity_over, translated
from checkout_cli.store.redis.pipeline import Conversation, check_shapes, read_reply

_log = logging.getLogger("checkout_cli.redis")


class RedisServer:
    """One server, or what stands at one address. Thread-safe; it is connected to when first asked."""

    def __init__(
        self,
        settings: Settings,
        *,
        elapsed: Callable[[], float],
        jitter: Callable[[], float],
        address: tuple[str, int] | None = None,
    ) -> None:
        """``address`` is another one than the settings', where there are several servers."""
        self._settings = settings
        self._pool = connection_pool(settings, address=address)
        self.host = settings.redis_host if address is None else address[0]
        self.place = settings.redis_place if address is None else address_text(*address)
        self.identity: bytes | None = None
        """Who answered last."""
        # A connect, its handshake and an answer, each as long as a hanging server can make them.
        self.breaker = Breaker(elapsed, jitter, longest_try=3 * settings.timeout)

    def close(self) -> None:
        """Close all connections."""
        self._pool.disconnect()

    def members(self) -> list[RedisServer]:
        """This one; a cluster has more."""
        return [self]

    def server_of(self, key: bytes) -> RedisServer:  # noqa: ARG002  (a cluster's depends on the key)
        """The server that has a key."""
        return self

    def ask(self, command: Command) -> Any:
        """One command's reply, its error raised."""
        _, (reply,) = self.exchange([command])
        if isinstance(reply, CheckoutError):
            raise reply
        return reply

    def identify(self) -> bytes | None:
        """Who the server is now; ``None`` where it does not tell."""
        return self.exchange([("PING",)])[0]

    def config(self, pattern: str) -> dict[str, str]:
        """The server's settings whose names match."""
        raw = [decoded(part) for part in self.ask(("CONFIG", "GET", pattern))]
        return dict(zip(raw[::2], raw[1::2], strict=True))

    def configure(self, settings: Mapping[str, str]) -> None:
        """Change settings of the server at once, until it is restarted; before 7.0, only one."""
        self.ask(("CONFIG", "SET", *(word for pair in settings.items() for word in pair)))

    def rewrite_config(self) -> None:
        """Let the server write its settings to its configuration file."""
        self.ask(("CONFIG", "REWRITE"))

    def exchange(
        self, commands: Sequence[Command], identity: bytes | None = None, *, bound: bool = False
    ) -> tuple[bytes | None, list[Any]]:
        """Send commands in one round trip over one connection.

        Returns the identity of the server behind it, and the replies, the errors among them translated. ``bound``
        insists on the server of ``identity``.

        Raises:
            RedisUnavailable: the breaker is open, nothing answered in time, or another server answers there now.
        """
        who, replies = self.send(commands, identity, bound=bound)
        return who, [self.judged(reply) if isinstance(reply, redis.RedisError) else reply for reply in replies]

    def send(
        self, commands: Sequence[Command], identity: bytes | None = None, *, bound: bool = False, asking: bool = False
    ) -> tuple[bytes | None, list[Any]]:
        """As :meth:`exchange`, with the errors among the replies as the driver has them.

        ``asking`` is for a slot that this server is about to get from another one (Redis Cluster specification, "ASK
        redirection").
        """
        self.breaker.check()
        started = time.perf_counter()
        try:
            who, replies = self._send(commands, identity, bound, asking)
        except (redis.RedisError, OSError) as error:
            failure = translated(error, self._settings, self.place)
            self._trace(commands, started, type(failure).__name__)
            self._note(failure)
            raise failure from error
        self.identity = who
        self.breaker.succeeded()
        self._trace(commands, started, "ok")
        return who, replies

    def judged(self, reply: Any) -> Any:
        """A reply, or what its error means for us; an error that says that nothing works here opens the breaker."""
        if not isinstance(reply, redis.RedisError):
            return reply
        failure = translated(reply, self._settings, self.place)
        failure.__cause__ = reply
        self._note(failure)
        return failure

    def look_again(self) -> bytes | None:
        """Which primary the server is now, ``None`` for a replica: each becomes the other under its open connections.

        Where that has happened, the connections are made anew, since each knows only who its server was.
        """
        self.breaker.check()
        try:
            connection: Any = self._pool.get_connection()
            try:
                known, now = connection.identity, identity_over(connection)
                is_replica = connection.is_replica
            except BaseException:
                connection.disconnect()
                raise
            finally:
                self._pool.release(connection)
        except (redis.RedisError, OSError) as error:
            failure = translated(error, self._settings, self.place)
            self._note(failure)
            raise failure from error
        self.breaker.succeeded()
        if now != known:
            self._pool.disconnect(inuse_connections=False)
        self.identity = now
        return None if is_replica else now

    @contextmanager
    def conversation(self) -> Iterator[Conversation]:
        """One connection for many commands in a row; it is closed unless every reply has been read.

        Raises:
            RedisUnavailable: the breaker is open, or nothing answers.
        """
        self.breaker.check()
        try:
            connection: Any = self._pool.get_connection()
        except (redis.RedisError, OSError) as error:
            raise self._failed(error) from error
        talk, started, outcome = Conversation(connection, self.judged, self._failed), time.perf_counter(), "ok"
        try:
            yield talk
            self.breaker.succeeded()
        except BaseException as error:
            outcome = type(error).__name__
            connection.disconnect()  # a reply may still be under way; nobody must take it for theirs
            raise
        finally:
            if talk.outstanding:
                connection.disconnect()
            self._pool.release(connection)
            self._log((f"{talk.answered} commands",), (time.perf_counter() - started) * 1000, outcome)

    def _failed(self, error: redis.RedisError | OSError) -> CheckoutError:
        """What it means that the server cannot be talked to; the breaker has been told."""
        failure = translated(error, self._settings, self.place)
        self._note(failure)
        return failure

    def _send(
        self, commands: Sequence[Command], identity: bytes | None, bound: bool, asking: bool
    ) -> tuple[bytes | None, list[Any]]:
        connection: Any = self._pool.get_connection()
        try:
            if bound:
                _insist(connection, identity)
            replies = _sent(connection, commands, asking=asking)
            unknown = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if unknown:
                self._teach(connection, {str(commands[place][1]) for place in unknown})
                # Those alone: the other commands have been carried out, and a count would count twice.
                again = _sent(connection, [commands[place] for place in unknown], asking=asking)
                for place, reply in zip(unknown, again, strict=True):
                    replies[place] = reply
            check_shapes(commands, replies)
            server: bytes | None = connection.identity  # now: once released, another thread may reconnect it
        except RedisUnavailable:
            raise
        except BaseException:
            connection.disconnect()  # a reply may still be under way; nobody must take it for theirs
            raise
        finally:
            self._pool.release(connection)
        return server, replies

    @staticmethod
    def _teach(connection: Any, digests: set[str]) -> None:
        """The server does not know some scripts: it is new, or was restarted."""
        for digest in digests:
            connection.send_command("SCRIPT", "LOAD", SCRIPTS[digest].text)
            read_reply(connection)

    def _note(self, failure: CheckoutError) -> None:
        if not isinstance(failure, RedisUnavailable):
            self.breaker.succeeded()  # a refusal is an answer
        elif not isinstance(failure, (RedisRefusing, RedisPoolExhausted, ReplyTooLarge)):
            self.breaker.failed(failure)

    def _trace(self, commands: Sequence[Command], started: float, outcome: str) -> None:
        if not _log.isEnabledFor(logging.DEBUG):
            return
        duration = (time.perf_counter() - started) * 1000
        for command in commands:
            self._log(command, duration, outcome)

    @staticmethod
    def _log(command: Command, duration: float, outcome: str) -> None:
        """One operation; ``duration`` is in milliseconds."""
        key = key_of(command)
        operation = {
            "command": str(command[0]),
            "key": _shortened(command),
            "family": "" if key is None else str(family_of(key)),
            "duration_ms": round(duration, 3),
            "outcome": outcome,
            "tier": str(TierName.REDIS),
        }
        _log.debug("%(command)s %(key)s %(duration_ms)s ms %(outcome)s", operation, extra={"operation": operation})


def _insist(connection: Any, identity: bytes | None) -> None:
    if connection.identity != identity:
        raise RedisUnavailable("another server answers at Redis' address than when this write began")


def _sent(connection: Any, commands: Sequence[Command], *, asking: bool) -> list[Any]:
    """The replies to commands that go out together, errors as they are."""
    if asking:
        commands = [part for command in commands for part in (("ASKING",), command)]
    connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    replies = [_reply(connection) for _ in commands]
    return replies[1::2] if asking else replies


def _reply(connection: Any) -> Any:
    try:
        return read_reply(connection)
    except redis.ResponseError as error:  # the answer to this command only; the others still come
        return error


def _shortened(command: Command) -> str:
    """The key of a command with all but the start of an id left out: whoever knows an id can use the session."""
    key = key_of(command)
    if key is None:
        return ""
    text = decoded(key)
    prefix, colon, name = text.rpartition(":")
    return f"{prefix}{colon}{name[:8]}…" if len(name) > 8 else text
