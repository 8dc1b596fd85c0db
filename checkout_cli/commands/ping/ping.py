"""Ping stage by stage: which step on the way to an answer fails.

Where Sentinels are set, they are asked first, and the primary that they name is pinged.

One connection, no retries. All stages up to the first answer share one time-out, and each later round trip has one of
its own, so that a server that accepts and never answers costs a single time-out. This module loads nothing but redis:
a ping must be quick.
"""

from __future__ import annotations

import itertools
import logging
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import redis

from checkout_cli.commands.ping.failures import Failed, hung_up
from checkout_cli.commands.ping.summary import Connected, Failure, PingSummary, RoundTrip, Stage
from checkout_cli.commands.ping.wire import Connection, ListeningSocket
from checkout_cli.config.addresses import address_text
from checkout_cli.errors import (
    AccessDenied,
    CheckoutError,
    ConfigurationError,
    RedisUnavailable,
    TooManyClients,
    WrongServer,
)
from checkout_cli.store.redis.bounded import dialled, unix_address
from checkout_cli.store.redis.connection import primary_address
from checkout_cli.store.redis.tls import (
    HANDSHAKE_SHARE,
    SpokenInPlain,
    Tls,
    answers_in_plain,
    is_silent_handshake,
    might_be_plain,
    sentinel_place,
    speaks_plain,
    speaks_tls,
    wants_tls,
)
from checkout_cli.store.resolver import AddressInfo, Deadline, resolved
from checkout_cli.typed import typed

if TYPE_CHECKING:
    from checkout_cli.config.settings import Settings

_log = logging.getLogger("checkout_cli.redis")

_AT_ONCE = 0.2
"""Seconds for an answer that takes a server no time."""


class Ping:
    """Pings a server as the settings name it: iterate over :meth:`events`, then read ``summary``."""

    def __init__(
        self,
        settings: Settings,
        *,
        count: int = 4,
        interval: float = 1.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``count`` 0 goes on until interrupted; ``interval`` is in seconds.

        Raises ``ConfigurationError`` where the password file cannot be read.
        """
        self.summary = PingSummary(settings.redis_host, settings.redis_port, settings.redis_socket, count)
        self._settings = settings
        self._password = settings.password()
        self._place = settings.redis_place
        self._count = count
        self._interval = interval
        self._sleep = sleep
        self._stage = Stage.SENTINEL if settings.redis_sentinels else self._first_stage
        self._stage_began = 0.0
        self._stages: dict[Stage, float] = {}
        self._socket: ListeningSocket | None = None

    @property
    def _first_stage(self) -> Stage:
        return Stage.SOCKET if self._settings.redis_socket else Stage.DNS

    def run(self) -> PingSummary:
        """Ping to the end, and return the result."""
        for _ in self.events():
            pass
        return self.summary

    def events(self) -> Iterator[Connected | RoundTrip]:
        """Connect and ping; ends early at the first failure, which the summary then has."""
        connection = Connection()
        try:
            self._find_primary()
            self._deadline = Deadline(self._settings.timeout)
            connected = self._connect(connection)
            address = self._settings.redis_socket or connected.getpeername()[0]
            for sequence in itertools.count(1) if self._count == 0 else range(1, self._count + 1):
                if sequence > 1:
                    self._sleep(self._interval)
                    self._deadline = Deadline(self._settings.timeout)
                    connected.begin(self._settings.timeout)
                trip = RoundTrip(sequence, self._round_trip(connection))
                if self.summary.connected is None:
                    self.summary.connected = Connected(address, self._stages)
                    yield self.summary.connected
                self.summary.samples.append(trip.seconds)
                yield trip
        except CheckoutError as error:
            self.summary.failure = Failure(self._stage, error)
        except (redis.RedisError, OSError) as error:
            explained, stage = self._failed().explained(error), self._stage
            if isinstance(error, redis.AuthenticationError):  # also where the first to complain is the PING
                stage = Stage.AUTHENTICATION
            elif isinstance(explained, TooManyClients):  # it turns the connection away, whatever comes over it
                stage = Stage.SOCKET if self._settings.redis_socket else Stage.TCP
            self.summary.failure = Failure(stage, explained)
        finally:
            connection.close()

    def _failed(self) -> Failed:
        return Failed(
            self._settings,
            self._place,
            self._stage,
            self._deadline,
            first_bytes=self._socket.first_bytes if self._socket is not None else b"",
            has_answered=bool(self.summary.samples),
        )

    # The stages

    def _find_primary(self) -> None:
        """Ping the server that the Sentinels name, if there are any; they share one time-out of their own."""
        sentinels = self._settings.sentinels()
        if not sentinels:
            return
        self._stage_began = time.perf_counter()
        wait = self._settings.timeout / len(sentinels)
        try:
            host, port = primary_address(self._settings, wait)
        except RedisUnavailable as error:
            if not self._settings.sentinel_tls and hung_up(error):
                for host, port in sentinels:
                    if wants_tls(host, port, wait):
                        raise speaks_tls(sentinel_place(host, port), sentinel=True) from error
            if self._settings.sentinel_tls and is_silent_handshake(error):
                for host, port in sentinels:
                    if answers_in_plain(host, port, wait):
                        raise speaks_plain(sentinel_place(host, port), sentinel=True) from error
            raise
        self._settings = replace(self._settings, redis_sentinels="", redis_host=host, redis_port=port)
        self.summary.host, self.summary.port = host, port
        self._place = f"{address_text(host, port)} (the primary, by the Sentinels)"

    def _connect(self, connection: Connection) -> ListeningSocket:
        self._enter(self._first_stage)
        if self._settings.redis_socket:
            plain = dialled(unix_address(self._settings.redis_socket), self._deadline)
        else:
            addresses = self._resolve()
            self._enter(Stage.TCP)
            plain = dialled(addresses, self._deadline)
            if self._settings.redis_tls:
                self._enter(Stage.TLS)
                plain = self._secure(plain)
        self._socket = ListeningSocket(plain, self._deadline.remaining())
        connection.use(self._socket)
        user = [self._settings.redis_username] if self._settings.redis_username else []
        if user or self._password:
            self._enter(Stage.AUTHENTICATION)
            connection.ask("AUTH", *user, self._password or "")
        self._enter(Stage.COMMAND)
        if self._settings.redis_db:
            connection.ask("SELECT", str(self._settings.redis_db))
        return self._socket

    def _enter(self, stage: Stage) -> None:
        now = time.perf_counter()
        if self._stage is not stage:
            self._stages[self._stage] = now - self._stage_began
        self._stage, self._stage_began = stage, now

    def _resolve(self) -> Sequence[AddressInfo]:
        """The server's addresses."""
        host = self._settings.redis_host
        try:
            return resolved(host, self._settings.redis_port, self._deadline)
        except TimeoutError as error:
            raise RedisUnavailable(
                f"the name {host!r} was not resolved within {self._settings.timeout:g} s",
                hint=typed("getent hosts {}", host),
            ) from error
        except OSError as error:
            hint = typed("getent hosts {}", host)
            reason = error.strerror or str(error)
            raise RedisUnavailable(f"the name {host!r} has no address: {reason}", hint=hint) from error

    def _secure(self, plain: socket.socket) -> socket.socket:
        host, port = plain.getpeername()[:2]
        try:
            tls = Tls(self._settings)
            plain.settimeout(self._deadline.remaining() * HANDSHAKE_SHARE)
            return tls.wrap(plain, self._settings.redis_host)
        except BaseException as error:
            plain.close()
            if might_be_plain(error) and answers_in_plain(host, port, self._deadline.remaining()):
                raise SpokenInPlain from error
            raise

    def _round_trip(self, connection: Connection) -> float:
        self.summary.sent += 1
        began = time.perf_counter()
        answer = connection.ask("PING")
        seconds = time.perf_counter() - began
        if answer != b"PONG":
            raise replace(self._failed(), first_bytes=b"").not_redis()
        spent = round(seconds * 1000, 3)
        operation = {"command": "PING", "key": "", "duration_ms": spent, "outcome": "ok", "tier": "redis"}
        _log.debug("PING %s ms ok", spent, extra={"operation": operation})
        return seconds


def told_more(error: CheckoutError, settings: Settings) -> CheckoutError:
    """A ping's explanation of a Redis that hung up on the store, or the error itself where it knows no better.

    A server that wants TLS, or a certificate of ours, may hang up without a word that reaches us; a ping tries again.
    One that lets a handshake time out may wait for commands in plain text, which it answers at once. Any other error
    that has cost a time-out is not tried a second time.
    """
    if is_silent_handshake(error) and not settings.redis_sentinels:
        in_plain = answers_in_plain(settings.redis_host, settings.redis_port, _AT_ONCE)
        return speaks_plain(settings.redis_place) if in_plain else error
    if not isinstance(error, RedisUnavailable) or not hung_up(error):
        return error
    failure = Ping(settings, count=1).run().failure
    if failure is None or not isinstance(failure.error, (AccessDenied, ConfigurationError, WrongServer)):
        return error
    return failure.error
