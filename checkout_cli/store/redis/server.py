"""One Redis server: every exchange is bounded, logged, and counted by the server's own breaker."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import redis
from redis.exceptions import AskError, NoScriptError, ReadOnlyError

from checkout_cli.config.addresses import address_text
from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    AccessDenied,
    CheckoutError,
    CommandDenied,
    ConfigurationError,
    RedisPoolExhausted,
    RedisRefusing,
    RedisUnavailable,
    ReplyTooLarge,
)
from checkout_cli.keys import CLAIM_PREFIX, SESSION_PREFIX, USER_PREFIX, Family, family_of, is_accepted_id
from checkout_cli.privacy.personal_ids import is_personal
from checkout_cli.session import TierName
from checkout_cli.store.breaker import FIRST_WAIT, Breaker
from checkout_cli.store.late_refusals import LateRefusals
from checkout_cli.store.redis.commands import SCRIPTS, Command, checked, decoded, key_of, pairs
from checkout_cli.store.redis.connection import connection_pool, identity_over, translated
from checkout_cli.store.redis.idle import IdleConnections
from checkout_cli.store.redis.pipeline import Conversation, check_shapes, packed, read_reply
from checkout_cli.store.redis.replies import MALFORMED

_log = logging.getLogger("checkout_cli.redis")


class RedisServer:
    """One server, at ``address`` or where the settings say. Thread-safe; connected when first used."""

    def __init__(
        self,
        settings: Settings,
        *,
        elapsed: Callable[[], float],
        jitter: Callable[[], float],
        address: tuple[str, int] | None = None,
        refusals: LateRefusals | None = None,
    ) -> None:
        self._settings = settings
        self.is_cluster = settings.is_cluster
        self._refusals = refusals or LateRefusals("Redis")
        self._pool = connection_pool(settings, address=address, let_in=self._refusals.connected)
        self._is_plain = address is not None or not settings.redis_sentinels
        self._idle = IdleConnections(self._pool, keeps=self._is_plain)
        self._elapsed = elapsed
        self._looked_elsewhere_at = float("-inf")
        self.host = settings.redis_host if address is None else address[0]
        self.place = settings.redis_place if address is None else address_text(*address)
        self.identity: bytes | None = None  # of the last answer
        # A connect, its handshake and an answer, each as long as a hanging server can make them.
        self.breaker = Breaker(elapsed, jitter, longest_try=3 * settings.timeout)

    def close(self) -> None:
        """Close all connections, those to Sentinels too, also where one cannot be closed."""
        with ExitStack() as closing:
            for sentinel in getattr(getattr(self._pool, "sentinel_manager", None), "sentinels", ()):
                closing.callback(sentinel.close)
            closing.callback(self._pool.disconnect)

    def members(self) -> list[RedisServer]:
        """This one; a cluster has more."""
        return [self]

    def server_of(self, key: bytes) -> RedisServer:  # noqa: ARG002  (a cluster's depends on the key)
        """The server that has a key."""
        return self

    def ask(self, command: Command) -> Any:
        """One command's reply; raises its error."""
        _, (reply,) = self.exchange([command])
        return checked(reply)

    def identify(self) -> bytes | None:
        """The server's identity now; ``None`` where it does not tell."""
        return self.exchange([("PING",)])[0]

    def config(self, pattern: str) -> dict[str, str]:
        """The server's settings whose names match."""
        return dict(pairs([decoded(part) for part in self.ask(("CONFIG", "GET", pattern))]))

    def configure(self, settings: Mapping[str, str]) -> None:
        """Change settings of the running server; before Redis 7.0, only one."""
        self.ask(("CONFIG", "SET", *(word for pair in settings.items() for word in pair)))

    def rewrite_config(self) -> None:
        """Let the server write its settings to its configuration file."""
        self.ask(("CONFIG", "REWRITE"))

    def exchange(
        self, commands: Sequence[Command], identity: bytes | None = None, *, bound: bool = False
    ) -> tuple[bytes | None, list[Any]]:
        """Send commands in one round trip over one connection; returns its server's identity and the replies.

        Errors stay among the replies, translated. ``bound`` insists on the server of ``identity``.
        """
        who, replies = self.send(commands, identity, bound=bound)
        return who, [self.judged(reply) if isinstance(reply, redis.RedisError) else reply for reply in replies]

    def send(
        self, commands: Sequence[Command], identity: bytes | None = None, *, bound: bool = False, asking: bool = False
    ) -> tuple[bytes | None, list[Any]]:
        """:meth:`exchange`, with the driver's errors; ``asking`` is Redis Cluster's ASKING, for a slot under way."""
        self.breaker.check()
        started = time.perf_counter()
        try:
            who, replies = self._send(commands, identity, bound, asking)
        except (redis.RedisError, OSError) as error:
            failure = self._failed(error)
            if isinstance(failure, RedisUnavailable):
                failure.is_certain = getattr(error, "is_unsent", False)
            self._trace(commands, started, type(failure).__name__)
            raise failure from error
        self.identity = who
        self.breaker.succeeded()
        self._trace(commands, started, "ok")
        return who, replies

    def judged(self, reply: Any) -> Any:
        """A reply with its error translated; an error that says that nothing works here opens the breaker."""
        if not isinstance(reply, redis.RedisError):
            return reply
        failure = self._failed(reply)
        failure.__cause__ = reply
        if isinstance(failure, RedisUnavailable):
            failure.is_certain = True
        return failure

    def explained(self, reply: Any) -> Any:
        """A reply with its error translated, which tells nothing of whether this server works."""
        return translated(reply, self._settings, self.place) if isinstance(reply, redis.RedisError) else reply

    def look_again(self) -> bytes | None:
        """The primary's identity, ``None`` for a replica: it may have changed under its connections, then remade."""
        self.breaker.check()
        try:
            connection: Any = self._idle.take()
            try:
                known, now = connection.identity, identity_over(connection)
                is_replica = connection.is_replica
            except BaseException:
                connection.disconnect()
                raise
            finally:
                self._idle.give_back(connection)
        except (redis.RedisError, OSError) as error:
            raise self._failed(error) from error
        self.breaker.succeeded()
        self._idle.drop(but=now)
        if now != known:
            self._pool.disconnect(inuse_connections=False)
        self.identity = now
        return None if is_replica else now

    @contextmanager
    def conversation(self) -> Iterator[Conversation]:
        """One connection for many commands; closed unless every reply was read. Raises ``RedisUnavailable``."""
        self.breaker.check()
        try:
            connection: Any = self._idle.take()
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
            self._idle.give_back(connection)
            self._log((f"{talk.answered} commands",), (time.perf_counter() - started) * 1000, outcome)

    def _failed(self, error: redis.RedisError | OSError) -> CheckoutError:
        failure = translated(error, self._settings, self.place)
        shut_out = isinstance(failure, (AccessDenied, ConfigurationError)) and not isinstance(failure, CommandDenied)
        if shut_out and not isinstance(error, AskError) and self._refusals.is_late(failure):
            failure = RedisUnavailable(str(failure), hint=failure.hint)
        if not isinstance(failure, RedisUnavailable):
            self.breaker.succeeded()  # a refusal is an answer
        elif not isinstance(failure, (RedisRefusing, RedisPoolExhausted, ReplyTooLarge)):
            self.breaker.failed(failure)
        return failure

    def _send(
        self, commands: Sequence[Command], identity: bytes | None, bound: bool, asking: bool
    ) -> tuple[bytes | None, list[Any]]:
        who, replies = self._sent_once(commands, identity, bound, asking)
        refused = [place for place, reply in enumerate(replies) if _is_read_only(reply)]
        if refused and self._may_look_elsewhere():
            # The primary became a replica under its connections. Who has its address now may be another server.
            self._idle.drop()
            self._pool.disconnect(inuse_connections=False)
            now, again = self._sent_once([commands[place] for place in refused], identity, bound, asking)
            for place, reply in zip(refused, again, strict=True):
                replies[place] = reply
            who = now if refused[0] == 0 else who
        return who, replies

    def _may_look_elsewhere(self) -> bool:
        """Whether a moment has passed since the last time: where nobody is promoted, new connections do not help."""
        if self._elapsed() - self._looked_elsewhere_at < FIRST_WAIT:
            return False
        self._looked_elsewhere_at = self._elapsed()
        return True

    def _sent_once(
        self, commands: Sequence[Command], identity: bytes | None, bound: bool, asking: bool
    ) -> tuple[bytes | None, list[Any]]:
        try:
            connection: Any = self._idle.take()
        except (redis.RedisError, OSError) as error:
            error.is_unsent = True  # type: ignore[union-attr]
            raise
        try:
            if bound:
                _insist(connection, identity)
            replies = self._sent(connection, commands, asking=asking)
            self._run_unknown_scripts(connection, commands, replies, asking=asking)
            check_shapes(commands, replies)
            if not connection.is_replica and any(map(_is_read_only, replies)):
                connection.disconnect()  # it is one now, and nobody else's use of this connection would succeed
            server: bytes | None = connection.identity  # now: once released, another thread may reconnect it
        except RedisUnavailable:
            raise
        except BaseException:
            connection.disconnect()  # a reply may still be under way; nobody must take it for theirs
            raise
        finally:
            self._idle.give_back(connection)
        return server, replies

    def _run_unknown_scripts(
        self, connection: Any, commands: Sequence[Command], replies: list[Any], *, asking: bool
    ) -> None:
        """Load the scripts that the server does not know, and put their replies in place of those errors.

        Those alone are sent again: the other commands have been carried out, and a count would count twice. A script
        that may not be loaded has that refusal for its reply.
        """
        unknown: dict[str, list[int]] = {}
        for place, reply in enumerate(replies):
            if isinstance(reply, NoScriptError):
                unknown.setdefault(str(commands[place][1]), []).append(place)
        again: list[int] = []
        for digest, places in unknown.items():
            (loaded,) = self._sent(connection, [("SCRIPT", "LOAD", SCRIPTS[digest].text)], asking=False)
            if isinstance(loaded, redis.ResponseError):
                replies[:] = [loaded if place in places else reply for place, reply in enumerate(replies)]
            else:
                again += places
        if again:
            answers = self._sent(connection, [commands[each] for each in again], asking=asking)
            for place, reply in zip(again, answers, strict=True):
                replies[place] = reply

    def _sent(self, connection: Any, commands: Sequence[Command], *, asking: bool) -> list[Any]:
        if asking:
            commands = [part for command in commands for part in (("ASKING",), command)]
        replies: list[Any]
        if self._is_plain:
            try:
                replies = connection.exchange(packed(commands), len(commands))
            except MALFORMED as error:
                raise redis.InvalidResponse(f"{type(error).__name__} while a reply was read") from error
        else:
            connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            replies = [_reply(connection) for _ in commands]
        return replies[1::2] if asking else replies

    def _trace(self, commands: Sequence[Command], started: float, outcome: str) -> None:
        if not _log.isEnabledFor(logging.DEBUG):
            return
        duration = (time.perf_counter() - started) * 1000
        for command in commands:
            self._log(command, duration, outcome)

    @staticmethod
    def _log(command: Command, duration: float, outcome: str) -> None:
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
        other = RedisUnavailable("another server answers at Redis' address than when this write began")
        other.is_certain = True
        raise other


def _reply(connection: Any) -> Any:
    try:
        return read_reply(connection)
    except redis.ResponseError as error:  # the answer to this command only; the others still come
        return error


def _is_read_only(reply: Any) -> bool:
    """Whether a replica refused to write; Redis before 7.0 says so of a script within a longer text."""
    return isinstance(reply, ReadOnlyError) or (isinstance(reply, redis.ResponseError) and "-READONLY" in str(reply))


_BEFORE_IDS = (SESSION_PREFIX, USER_PREFIX, f"{CLAIM_PREFIX}{{{SESSION_PREFIX}")


def _shortened(command: Command) -> str:
    """The key of a command with ids cut short: whoever knows an id can use the session."""
    key = key_of(command)
    if key is None:
        return ""
    text = decoded(key)
    prefix = next((each for each in _BEFORE_IDS if text.startswith(each)), "")
    if not prefix and family_of(key) is not Family.OTHER:
        prefix, colon, name = text.rpartition(":")
        if is_personal(text):  # a coupon may be called anything
            return f"{text.partition(':')[0]}:…"
        return f"{prefix}{colon}{name[:8]}…" if len(name) > 8 else text
    prefix = prefix or text.partition(":")[0] + ":"
    name = text[len(prefix) :]
    is_id = is_accepted_id(name.rstrip("}")) and not name.isdigit() and not is_personal(name)
    return f"{prefix}{name[:8] if is_id else ''}…"
