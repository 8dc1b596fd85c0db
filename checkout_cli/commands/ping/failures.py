"""What a failed ping means: the error in words that fit its stage, with a hint that fits its cause.

What a driver's error or a failed handshake means anywhere is the store's to say (``store/redis/connection.py`` and
``tls.py``); here is what only the stage, the first bytes or a second try can tell.
"""

from __future__ import annotations

import errno
import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis

from checkout_cli.commands.ping.summary import Stage
from checkout_cli.errors import (
    AccessDenied,
    CheckoutError,
    CommandDenied,
    RedisUnavailable,
    TooManyClients,
    WrongServer,
    causes,
)
from checkout_cli.store.redis.connection import translated
from checkout_cli.store.redis.tls import explained_tls, refusal_after_handshake, speaks_tls, tls_cause, wants_tls
from checkout_cli.typed import typed

if TYPE_CHECKING:
    from checkout_cli.config.settings import Settings
    from checkout_cli.store.resolver import Deadline

_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")
"""How a TLS server's alert or handshake begins."""
_REDIS_REPLIES = b"+-:$*"
_LEAST = 0.05
"""Seconds for a second try where the time-out is over."""
_HUNG_UP = re.compile(r"(?i)closed|reset by peer|broken pipe|EOF occurred")
_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH}
_LOOK = "checkoutctl doctor"
"""Which looks at the processes of this machine too, and so knows what to do: a restart would lose what a server has."""
_REFUSALS: dict[tuple[Stage, type[OSError]], tuple[str, str]] = {
    (Stage.SOCKET, FileNotFoundError): (
        "there is no socket {place}: the server is down, or has another unixsocket",
        _LOOK,
    ),
    (Stage.SOCKET, ConnectionRefusedError): (
        "no server listens on the socket {place}: it was left behind, or is a plain file",
        _LOOK,
    ),
    (Stage.SOCKET, PermissionError): (
        "we may not use the socket {place}",
        "ls -l {}",
    ),
    (Stage.SOCKET, TimeoutError): ("{place} did not accept a connection within {timeout:g} s", _LOOK),
    (Stage.SOCKET, OSError): ("{place}: {reason}", "ls -l {}"),
    (Stage.TCP, ConnectionRefusedError): ("{place} refuses the connection: no server listens there", _LOOK),
    (Stage.TCP, TimeoutError): (
        "{place} did not accept a connection within {timeout:g} s",
        _LOOK,
    ),
    (Stage.TCP, OSError): ("{place}: {reason}", _LOOK),
    (Stage.TLS, TimeoutError): (
        "{place} accepts connections and did not answer the TLS handshake within {timeout:g} s",
        _LOOK,
    ),
    (Stage.TLS, OSError): (
        "{place} hung up during the TLS handshake, as it does at its limit of clients (maxclients): {reason}",
        _LOOK,
    ),
}
"""What an operating system's error means at a stage, and what to type; the first that fits counts."""


@dataclass(frozen=True)
class Failed:
    """A ping that failed on the way to ``place``; ``settings`` are, behind Sentinels, those of the primary."""

    settings: Settings
    place: str
    stage: Stage
    deadline: Deadline
    first_bytes: bytes = b""
    has_answered: bool = False

    def explained(self, error: redis.RedisError | OSError) -> CheckoutError:
        """The error to show, caused by the driver's or the operating system's."""
        if isinstance(error, OSError) and self.stage in {Stage.SOCKET, Stage.TCP, Stage.TLS}:
            explained = self._connecting(error)
        else:
            explained = self._answering(error)
        explained.__cause__ = error
        return explained

    def _connecting(self, error: OSError) -> CheckoutError:
        failed = tls_cause(error) if self.stage is Stage.TLS else None
        if failed is not None:
            return explained_tls(failed, self.settings, self.place)
        reason = error.strerror or str(error)
        if self.stage is Stage.TLS:
            reason = reason.lower()
        if self.stage is Stage.TCP and error.errno in _UNREACHABLE:
            return RedisUnavailable(f"{self.place} cannot be reached: {reason}", hint=_LOOK)
        refusals = ((texts, kind) for (stage, kind), texts in _REFUSALS.items() if stage is self.stage)
        (words, hint), kind = next(found for found in refusals if isinstance(error, found[1]))
        explained = AccessDenied if kind is PermissionError else RedisUnavailable
        problem = words.format(place=self.place, timeout=self.settings.timeout, reason=reason)
        return explained(problem, hint=typed(hint, *[self.place] * hint.count("{}")))

    def _answering(self, error: redis.RedisError | OSError) -> CheckoutError:
        failed = tls_cause(error)
        if failed is None or isinstance(failed, ssl.SSLEOFError):
            failed = self._refusal_unheard(error) or failed
        if failed is not None:
            return explained_tls(failed, self.settings, self.place)
        if self.first_bytes.startswith(_TLS_RECORDS):
            return speaks_tls(self.place)
        if self.first_bytes and self.first_bytes[:1] not in _REDIS_REPLIES:
            return self.not_redis()
        if isinstance(error, (redis.TimeoutError, TimeoutError)):
            return RedisUnavailable(
                f"{self.place} accepts connections and did not answer within {self.settings.timeout:g} s",
                hint=_LOOK,
            )
        explained = translated(error, self.settings)
        if isinstance(explained, CommandDenied):
            explained.hint = "checkoutctl acl check"
        elif isinstance(explained, RedisUnavailable) and not isinstance(explained, TooManyClients):
            if "closed" in str(error).lower() or isinstance(error.__context__, OSError):
                return self._closed()
            explained.hint = _LOOK
        return explained

    def _refusal_unheard(self, error: BaseException) -> ssl.SSLError | None:
        """The server's objection to our certificate, where it hung up before we had heard all of it."""
        heard = (redis.TimeoutError, TimeoutError, redis.ResponseError, redis.AuthenticationError)
        if not self.settings.redis_tls or self.has_answered or isinstance(error, heard):
            return None
        host, port = self.settings.redis_host, self.settings.redis_port
        return refusal_after_handshake(self.settings, host, port, self._time_left())

    def _time_left(self) -> float:
        try:
            return self.deadline.remaining()
        except TimeoutError:
            return _LEAST

    def _closed(self) -> CheckoutError:
        settings, place = self.settings, self.place
        if self.has_answered:
            return RedisUnavailable(f"{place} closed the connection", hint=_LOOK)
        may_want_tls = not settings.redis_tls and not settings.redis_socket
        if may_want_tls and wants_tls(settings.redis_host, settings.redis_port, self._time_left()):
            return speaks_tls(place)
        return RedisUnavailable(
            f"{place} closed the connection without an answer, as a port that wants TLS (REDIS_TLS) may",
            hint=_LOOK,
        )

    def not_redis(self) -> WrongServer:
        """The error of something else that answered, named by its first bytes."""
        is_http = self.first_bytes[:5].upper() in {b"HTTP/", b"<!DOC", b"<HTML"}
        return WrongServer(
            f"what listens at {self.place} is not Redis but {'an HTTP server' if is_http else 'something else'}",
            hint=_LOOK,
        )


def hung_up(error: BaseException) -> bool:
    """Whether the other side ended the connection, as far as the error and its causes say."""
    return _HUNG_UP.search(" ".join(map(str, causes(error)))) is not None
