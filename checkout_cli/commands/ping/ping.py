"""Ping stage by stage: which step on the way to an answer fails, and what to do about it.

Where Sentinels are set, they are asked first, and the primary that they name is pinged.

One connection, no retries. All stages up to the first answer share one time-out, and each later round trip has one of
its own, so that a server that accepts and never answers costs a single time-out. This module loads nothing but redis:
a ping must be quick.
"""

from __future__ import annotations

import errno
import itertools
import logging
import math
import re
import shlex
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from checkout_cli.config.addresses import address_text
from checkout_cli.errors import AccessDenied, CheckoutError, ConfigurationError, ExitCode, RedisUnavailable, causes
from checkout_cli.store.redis.connection import primary_address, translated
from checkout_cli.store.redis.tls import (
    HANDSHAKE_SHARE,
    SpokenInPlain,
    Tls,
    answers_in_plain,
    explained_tls,
    might_be_plain,
    refusal_after_handshake,
    sentinel_place,
    speaks_tls,
    tls_cause,
    wants_tls,
)

if TYPE_CHECKING:
    from checkout_cli.config.settings import Settings

_log = logging.getLogger("checkout_cli.redis")

_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")
"""How a TLS server's alert or handshake begins."""
_REDIS_REPLIES = b"+-:$*"
_FIRST_BYTES = 16
PERCENTILES = (("min", 0), ("median", 50), ("p99", 99), ("max", 100))
_LEAST = 0.05
"""Seconds that a second look may take where the time-out is over."""


class Stage(StrEnum):
    """The steps to an answer, in their order."""

    SENTINEL = "Sentinel"
    SOCKET = "socket"
    DNS = "DNS"
    TCP = "TCP"
    TLS = "TLS"
    AUTHENTICATION = "authentication"
    COMMAND = "command"


_CONNECTING = {Stage.SOCKET, Stage.TCP, Stage.TLS}


class NotRedis(ConfigurationError):
    """Something else than Redis answers at its address."""


_LOOK_AND_RESTART = "look at its log, and restart it if it does not recover"
_IS_IT_RIGHT = "checkoutctl config show; is REDIS_HOST right, and does a firewall let us through?"
_REFUSALS: tuple[tuple[Stage, type[OSError], type[CheckoutError], str, str], ...] = (
    (
        Stage.SOCKET,
        FileNotFoundError,
        RedisUnavailable,
        "there is no socket {}: the server is down, or has another unixsocket",
        "ls -l {}; checkoutctl config show; redis-cli CONFIG GET unixsocket",
    ),
    (
        Stage.SOCKET,
        ConnectionRefusedError,
        RedisUnavailable,
        "no server listens on the socket {}: it was left behind, or is a plain file",
        "start the server; checkoutctl setup --check shows how on this system",
    ),
    (
        Stage.SOCKET,
        PermissionError,
        AccessDenied,
        "we may not use the socket {}",
        "ls -l {}; join the server's group, or set unixsocketperm 770 in its configuration",
    ),
    (
        Stage.TCP,
        ConnectionRefusedError,
        RedisUnavailable,
        "{} refuses the connection: no server listens there",
        "checkoutctl setup --check shows how to start one on this system",
    ),
)
"""What refuses a connection, at which stage: what it means, and what to type; ``{}`` is the place."""


@dataclass(frozen=True)
class Connected:
    """We are in. ``address`` is the one that answered; ``stages`` says how many seconds each stage took."""

    address: str
    stages: tuple[tuple[Stage, float], ...]

    @property
    def times(self) -> dict[Stage, float]:
        """The seconds of each stage."""
        return dict(self.stages)


@dataclass(frozen=True)
class RoundTrip:
    """One answered PING; ``sequence`` counts from 1."""

    sequence: int
    seconds: float


@dataclass(frozen=True)
class Failure:
    """The stage at which it ended, and the error, which knows the exit code and what to type next."""

    JSON_KEYS = "stage error hint=error.hint"

    stage: Stage
    error: CheckoutError


@dataclass(frozen=True)
class PingSummary:
    """What came of it. Samples are in seconds, in the order in which they were taken.

    ``socket`` is the path of the Unix socket where there is one; host and port then mean nothing.
    """

    JSON_KEYS = (
        "*target socket? address=connected.address stagesMs=connected.times sent answered *percentiles "
        "samplesMs=samples failure"
    )

    host: str
    port: int
    connected: Connected | None
    sent: int
    samples: tuple[float, ...]
    failure: Failure | None
    socket: str = ""
    interrupted: bool = False

    @property
    def exit_code(self) -> ExitCode:
        """130 after Ctrl-C; else that of the failure, if there was one."""
        if self.interrupted:
            return ExitCode.INTERRUPTED
        return ExitCode.OK if self.failure is None else self.failure.error.exit_code

    @property
    def place(self) -> str:
        """Where it went, as it can be typed again."""
        return self.socket or address_text(self.host, self.port)

    @property
    def target(self) -> dict[str, str | int | None]:
        """The host and port, where there are any."""
        return {"host": None if self.socket else self.host, "port": None if self.socket else self.port}

    @property
    def answered(self) -> int:
        """How many PINGs were answered."""
        return len(self.samples)

    def percentile(self, percent: float) -> float | None:
        """The smallest sample that at least ``percent`` of all do not exceed; ``None`` without samples."""
        return percentile(self.samples, percent)

    @property
    def percentiles(self) -> dict[str, float | None]:
        """What is told of the samples, in seconds."""
        return {f"{name}Ms": self.percentile(percent) for name, percent in PERCENTILES}


def percentile(samples: Sequence[float], percent: float) -> float | None:
    """The nearest-rank percentile: always a sample that was measured."""
    if not samples:
        return None
    return sorted(samples)[max(math.ceil(len(samples) * percent / 100), 1) - 1]


class Deadline:
    """A span of seconds that several waits share."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        """``clock`` counts seconds and never goes back."""
        self._clock = clock
        self._end = clock() + seconds

    def remaining(self) -> float:
        """Seconds that are left.

        Raises:
            TimeoutError: none are.
        """
        left = self._end - self._clock()
        if left <= 0:
            raise TimeoutError
        return left


class _BoundedSocket:
    """A socket whose reads and writes all end by one deadline, however slowly the other side drips its bytes.

    It keeps the first bytes that came, for they tell what is listening where Redis should be.
    """

    def __init__(self, wrapped: socket.socket, deadline: Deadline) -> None:
        self._wrapped = wrapped
        self.deadline = deadline
        self.first_bytes = b""

    def sendall(self, data: bytes) -> None:
        self._wrapped.settimeout(self.deadline.remaining())
        self._wrapped.sendall(data)

    def recv_into(self, buffer: bytearray) -> int:
        self._wrapped.settimeout(self.deadline.remaining())
        received = self._wrapped.recv_into(buffer)
        self._keep(bytes(buffer[: min(received, _FIRST_BYTES)]))
        return received

    def recv(self, size: int) -> bytes:
        self._wrapped.settimeout(self.deadline.remaining())
        received = self._wrapped.recv(size)
        self._keep(received[:_FIRST_BYTES])
        return received

    def _keep(self, received: bytes) -> None:
        if len(self.first_bytes) < _FIRST_BYTES:
            self.first_bytes += received

    def settimeout(self, _: float | None) -> None:
        """The deadline is what counts."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


class _Connection(redis.Connection):
    """redis-py's protocol on a socket that we have connected ourselves; no handshake but ours, and no retries."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host=host, port=port, protocol=2, retry=Retry(NoBackoff(), 0))  # type: ignore[no-untyped-call]
        # Telling the server the name and version of the library would cost two round trips. These are the attributes
        # of redis-py up to 7 and from 8 on; as arguments, each would be refused by the other.
        self.lib_name = self.lib_version = self.driver_info = None
        self.dialled: _BoundedSocket | None = None

    def _connect(self) -> Any:
        return self.dialled

    def use(self, dialled: _BoundedSocket) -> None:
        """Speak over this socket from now on."""
        self.dialled = dialled
        self.connect()  # type: ignore[no-untyped-call]

    def ask(self, *command: str) -> Any:
        """One round trip."""
        self.send_command(*command, check_health=False)  # type: ignore[no-untyped-call]
        return self.read_response()

    def close(self) -> None:
        """Close the socket."""
        self.disconnect()  # type: ignore[no-untyped-call]


class Ping:
    """Pings a server as the settings name it: iterate over :meth:`events`, then take the :meth:`summary`."""

    def __init__(
        self,
        settings: Settings,
        *,
        count: int = 4,
        interval: float = 1.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``count`` 0 goes on until interrupted; ``interval`` is in seconds.

        Raises:
            ConfigurationError: the password file cannot be read.
        """
        self._settings = settings
        self._password = settings.password()
        self._place = settings.redis_place
        self._count = count
        self._interval = interval
        self._sleep = sleep
        self._clock = clock
        self._stage = Stage.SENTINEL if settings.redis_sentinels else self._first_stage
        self._stage_began = 0.0
        self._stages: list[tuple[Stage, float]] = []
        self._connected: Connected | None = None
        self._sent = 0
        self._samples: list[float] = []
        self._failure: Failure | None = None
        self._socket: _BoundedSocket | None = None

    @property
    def _first_stage(self) -> Stage:
        return Stage.SOCKET if self._settings.redis_socket else Stage.DNS

    def summary(self) -> PingSummary:
        """What came of it so far."""
        return PingSummary(
            self._settings.redis_host,
            self._settings.redis_port,
            self._connected,
            self._sent,
            tuple(self._samples),
            self._failure,
            self._settings.redis_socket,
            interrupted=self._failure is None and (self._count == 0 or len(self._samples) < self._count),
        )

    def run(self) -> PingSummary:
        """All of it at once."""
        for _ in self.events():
            pass
        return self.summary()

    def events(self) -> Iterator[Connected | RoundTrip]:
        """Connect and ping; ends early at the first failure, which the summary then has."""
        try:
            self._find_primary()
        except CheckoutError as error:
            self._failure = Failure(self._stage, error)
            return
        connection = _Connection(self._settings.redis_host, self._settings.redis_port)
        try:
            dialled = self._connect(connection)
            address = self._settings.redis_socket or dialled.getpeername()[0]
            for sequence in itertools.count(1) if self._count == 0 else range(1, self._count + 1):
                if sequence > 1:
                    self._sleep(self._interval)
                    dialled.deadline = self._deadline()
                trip = RoundTrip(sequence, self._round_trip(connection))
                if self._connected is None:
                    self._connected = Connected(address, tuple(self._stages))
                    yield self._connected
                self._samples.append(trip.seconds)
                yield trip
        except CheckoutError as error:
            self._failure = Failure(self._stage, error)
        except (redis.RedisError, OSError) as error:
            denied = isinstance(error, redis.AuthenticationError)  # also where the first to complain is the PING
            self._failure = Failure(Stage.AUTHENTICATION if denied else self._stage, self._explained(error))
        finally:
            connection.close()

    # The stages

    def _find_primary(self) -> None:
        """Ping the server that the Sentinels name, if there are any; they share one time-out of their own."""
        sentinels = self._settings.sentinels()
        if not sentinels:
            return
        self._stage_began = self._clock()
        wait = self._settings.timeout / len(sentinels)
        try:
            host, port = primary_address(self._settings, wait)
        except RedisUnavailable as error:
            self._insist_on_plain_sentinels(sentinels, wait, error)
            raise
        self._settings = replace(self._settings, redis_sentinels="", redis_host=host, redis_port=port)
        self._place = f"{address_text(host, port)} (the primary, by the Sentinels)"

    def _insist_on_plain_sentinels(
        self, sentinels: list[tuple[str, int]], wait: float, error: RedisUnavailable
    ) -> None:
        """Raise where one of them hung up on us because it wants TLS."""
        if self._settings.sentinel_tls or not _HUNG_UP.search(_chain_text(error)):
            return
        for host, port in sentinels:
            if wants_tls(host, port, wait):
                raise speaks_tls(sentinel_place(host, port), sentinel=True) from error

    def _connect(self, connection: _Connection) -> _BoundedSocket:
        deadline = self._deadline()
        self._enter(self._first_stage)
        if self._settings.redis_socket:
            plain = self._dial([(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", self._settings.redis_socket)], deadline)
        else:
            addresses = self._resolve(deadline)
            self._enter(Stage.TCP)
            plain = self._dial(addresses, deadline)
            if self._settings.redis_tls:
                self._enter(Stage.TLS)
                plain = self._secure(plain, deadline)
        self._socket = _BoundedSocket(plain, deadline)
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
        now = self._clock()
        if self._stage is not stage:
            self._stages.append((self._stage, now - self._stage_began))
        self._stage, self._stage_began = stage, now

    def _deadline(self) -> Deadline:
        return Deadline(self._settings.timeout, self._clock)

    def _resolve(self, deadline: Deadline) -> list[tuple[Any, ...]]:
        """The server's addresses. The resolver knows no time-out, so it runs in a thread that we may leave behind."""
        found: list[tuple[Any, ...]] = []
        problems: list[Exception] = []

        def look_up() -> None:
            host, port = self._settings.redis_host, self._settings.redis_port
            try:
                found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            except (OSError, UnicodeError) as problem:
                problems.append(problem)

        resolver = threading.Thread(target=look_up, daemon=True)
        resolver.start()
        resolver.join(deadline.remaining())
        if not found and not problems:
            raise RedisUnavailable(
                f"the name {self._settings.redis_host!r} was not resolved within {self._settings.timeout:g} s",
                hint=f"getent hosts {self._settings.redis_host}; the name server may be away",
            )
        if problems:
            reason = getattr(problems[0], "strerror", None) or str(problems[0])
            raise RedisUnavailable(
                f"the name {self._settings.redis_host!r} has no address: {reason}",
                hint="checkoutctl config show; check REDIS_HOST",
            ) from problems[0]
        return found

    def _dial(self, addresses: list[tuple[Any, ...]], deadline: Deadline) -> socket.socket:
        """Connect to the first address that accepts; each gets its share of the time that is left."""
        problem: OSError = TimeoutError()
        for tried, (family, kind, protocol, _, address) in enumerate(addresses):
            candidate = socket.socket(family, kind, protocol)
            try:
                candidate.settimeout(deadline.remaining() / (len(addresses) - tried))
                candidate.connect(address)
                if protocol == socket.IPPROTO_TCP:  # and no Unix socket
                    candidate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                candidate.close()
                problem = error
            except BaseException:
                candidate.close()
                raise
            else:
                return candidate
        raise problem

    def _secure(self, plain: socket.socket, deadline: Deadline) -> socket.socket:
        host, port = plain.getpeername()[:2]
        try:
            tls = Tls(self._settings)
            plain.settimeout(deadline.remaining() * HANDSHAKE_SHARE)
            return tls.wrap(plain, self._settings.redis_host)
        except BaseException as error:
            plain.close()
            if might_be_plain(error) and answers_in_plain(host, port, deadline.remaining()):
                raise SpokenInPlain from error
            raise

    def _round_trip(self, connection: _Connection) -> float:
        self._sent += 1
        began = self._clock()
        answer = connection.ask("PING")
        seconds = self._clock() - began
        if answer != b"PONG":
            raise self._not_redis()
        if _log.isEnabledFor(logging.DEBUG):
            operation = {
                "command": "PING",
                "key": "",
                "duration_ms": round(seconds * 1000, 3),
                "outcome": "ok",
                "tier": "redis",
            }
            _log.debug("PING %s ms ok", operation["duration_ms"], extra={"operation": operation})
        return seconds

    # What a failure means

    def _explained(self, error: redis.RedisError | OSError) -> CheckoutError:
        """The error in words that fit its stage, with a hint that fits its cause."""
        connecting = self._stage in _CONNECTING
        explained = self._explained_connection(error) if connecting else self._explained_answer(error)
        explained.__cause__ = error
        return explained

    def _explained_connection(self, error: Exception) -> CheckoutError:
        place, stage = self._place, self._stage
        failed = tls_cause(error) if stage is Stage.TLS else None
        if failed is not None:
            return explained_tls(failed, self._settings, place)
        for at, kind, refusal, words, hint in _REFUSALS:
            if at is stage and isinstance(error, kind):
                return refusal(words.format(place), hint=hint.format(shlex.quote(place)))
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, TimeoutError):
            what = "did not accept a connection"
            if stage is Stage.TLS:
                what = "accepts connections and did not answer the TLS handshake"
            hint = _IS_IT_RIGHT if stage is Stage.TCP else f"the server hangs; {_LOOK_AND_RESTART}"
            return RedisUnavailable(f"{place} {what} within {self._settings.timeout:g} s", hint=hint)
        if stage is Stage.TLS:
            return RedisUnavailable(
                f"{place} hung up during the TLS handshake: {reason.lower()}", hint="look at the server's log"
            )
        if stage is Stage.SOCKET:
            return RedisUnavailable(f"{place}: {reason}", hint=f"ls -l {shlex.quote(place)}; checkoutctl config show")
        if getattr(error, "errno", None) in {errno.ENETUNREACH, errno.EHOSTUNREACH}:
            return RedisUnavailable(
                f"{place} cannot be reached: {reason}", hint="checkoutctl config show; check REDIS_HOST"
            )
        return RedisUnavailable(f"{place}: {reason}", hint="checkoutctl config show")

    def _explained_answer(self, error: redis.RedisError | OSError) -> CheckoutError:
        failed = tls_cause(error)
        if failed is None or isinstance(failed, ssl.SSLEOFError):
            failed = self._refusal_unheard(error) or failed
        if failed is not None:
            return explained_tls(failed, self._settings, self._place)
        first = self._socket.first_bytes if self._socket is not None else b""
        if first.startswith(_TLS_RECORDS):
            return speaks_tls(self._place)
        if first and first[:1] not in _REDIS_REPLIES:
            return self._not_redis(first)
        if isinstance(error, (redis.TimeoutError, TimeoutError)):
            return RedisUnavailable(
                f"{self._place} accepts connections and did not answer within {self._settings.timeout:g} s",
                hint=f"the server hangs, or it is not Redis; {_LOOK_AND_RESTART}",
            )
        explained = translated(error, self._settings)
        text = str(error)
        if text.startswith("DENIED"):
            return AccessDenied(
                f"Redis at {self._place} is in protected mode and lets only its own host in",
                hint="set a password on the server (requirepass), and REDIS_PASSWORD to it",
            )
        if isinstance(explained, AccessDenied):
            explained.hint = self._credentials_hint(text)
        elif isinstance(explained, RedisUnavailable):
            if "closed" in text.lower() or isinstance(error.__context__, OSError):
                return self._closed()
            explained.hint = "look at the server's log, and ping again"
        return explained

    def _refusal_unheard(self, error: BaseException) -> ssl.SSLError | None:
        """What the server has against our certificate, where it hung up before we had heard all of it."""
        if not self._settings.redis_tls or self._samples or isinstance(error, (redis.TimeoutError, TimeoutError)):
            return None
        if isinstance(error, (redis.ResponseError, redis.AuthenticationError)):
            return None
        return refusal_after_handshake(
            self._settings, self._settings.redis_host, self._settings.redis_port, self._time_left()
        )

    def _is_tls_port(self) -> bool:
        return wants_tls(self._settings.redis_host, self._settings.redis_port, self._time_left())

    def _time_left(self) -> float:
        try:
            return self._socket.deadline.remaining() if self._socket is not None else self._settings.timeout
        except TimeoutError:
            return _LEAST

    def _credentials_hint(self, text: str) -> str:
        if "without any password configured" in text or "no password is set" in text:
            return "the server has no password: remove REDIS_PASSWORD (checkoutctl config show says where it is set)"
        if "permission" in text.lower():
            return "grant it: ACL SETUSER NAME +ping +select"
        if not self._password:
            return "set REDIS_PASSWORD, or REDIS_PASSWORD_FILE to a file that holds it"
        return "check REDIS_USERNAME and REDIS_PASSWORD: checkoutctl config show says where they are set"

    def _closed(self) -> CheckoutError:
        if self._samples:
            return RedisUnavailable(f"{self._place} closed the connection", hint="ping again; look at the server's log")
        settings = self._settings
        if not settings.redis_tls and not settings.redis_socket and self._is_tls_port():
            return speaks_tls(self._place)
        return RedisUnavailable(
            f"{self._place} closed the connection without an answer",
            hint="look at the server's log; if this port wants TLS, set REDIS_TLS=true",
        )

    def _not_redis(self, first: bytes = b"") -> CheckoutError:
        kind = "an HTTP server" if first[:5] in {b"HTTP/", b"<!DOC", b"<html", b"<HTML"} else "something else"
        return NotRedis(
            f"what listens at {self._place} is not Redis but {kind}",
            hint="checkoutctl config show; check REDIS_HOST and REDIS_PORT",
        )


def told_more(error: CheckoutError, settings: Settings) -> CheckoutError:
    """What a ping says of a Redis that hung up on the store, or the error itself where it knows no better.

    A server that wants TLS, or a certificate of ours, may hang up without a word that reaches us; a ping looks again.
    An error that has cost a time-out is not looked at a second time.
    """
    if not isinstance(error, RedisUnavailable) or not _HUNG_UP.search(_chain_text(error)):
        return error
    failure = Ping(settings, count=1).run().failure
    if failure is None or not isinstance(failure.error, (AccessDenied, ConfigurationError)):
        return error
    return failure.error


_HUNG_UP = re.compile(r"(?i)closed|reset by peer|broken pipe|EOF occurred")


def _chain_text(error: BaseException) -> str:
    return " ".join(map(str, causes(error)))
