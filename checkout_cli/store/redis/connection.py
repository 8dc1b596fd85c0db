"""Connections to Redis: bounded waits, no hidden retries, and the identity of each connection's server.

redis-py would retry each command ten times: a retried increment counts twice, and the store decides what to do next.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import redis
import redis.sentinel
from redis.backoff import NoBackoff
from redis.retry import Retry

from checkout_cli.config.variables import has_quotes
from checkout_cli.errors import (
    AccessDenied,
    CheckoutError,
    CommandDenied,
    CommandUnknown,
    ConfigurationError,
    RedisLoading,
    RedisPoolExhausted,
    RedisRefusing,
    RedisUnavailable,
    ReplyTooLarge,
    SlotMoving,
    TooManyClients,
    WrongKeyType,
    WrongServer,
)
from checkout_cli.store.redis.bounded import (
    LARGEST_EXCHANGE,
    UNNAMED,
    BoundedConnection,
    BoundedSentinelConnection,
    BoundedUnixConnection,
    ExchangeTooLarge,
)
from checkout_cli.store.redis.pipeline import read_reply
from checkout_cli.store.redis.replies import MALFORMED, PORTS, SLOTS
from checkout_cli.store.redis.tls import (
    SentinelManagedTlsConnection,
    SpokenInPlain,
    Tls,
    TlsConnection,
    explained_tls,
    sentinel_place,
    tls_cause,
)
from checkout_cli.typed import typed

if TYPE_CHECKING:
    from checkout_cli.config.settings import Settings

_IDENTITY = re.compile(rb"[!#-\[\]-~]{1,63}:[!#-\[\]-~]{1,63}")
"""What can stand in a value's header as it is; a server that says something else does not tell who it is."""
_REFUSING = ("OOM", "MISCONF", "NOREPLICAS", "READONLY")
_DENIED_COMMAND = re.compile(r"run the '([a-z0-9_.|-]+)' command")
_DENIED_IN_SCRIPT = ("ACL failure in script:", "The user executing the script can't")
"""How Redis, newer and 7.0, begins an error that is a denial all the same: the script was allowed, its command not."""
_FULL = "max number of clients"
"""How a server says that it takes no more, in a cluster with more words behind it."""
_UNKNOWN_IN_SCRIPT = re.compile(r"unknown (?:redis )?command called from|command is not allowed from script", re.I)
_UNKNOWN_COMMAND = re.compile(r"unknown (?:sub)?command [`']?([A-Za-z0-9_.|-]{1,64})")
_AWAY = ("BUSY", "MASTERDOWN", "CLUSTERDOWN", "UNKILLABLE")


def connection_pool(
    settings: Settings,
    *,
    address: tuple[str, int] | None = None,
    let_in: Callable[[], object] = lambda: None,
) -> redis.ConnectionPool:
    """A pool of connections to ``address``, or else where the settings say; ``ConfigurationError`` for a wrong file.

    ``let_in`` is called whenever the server has accepted a new one.
    """
    options: dict[str, Any] = {
        "db": settings.redis_db,
        "username": settings.redis_username or None,
        "password": settings.password(),
        "redis_connect_func": partial(_connected, let_in),
        **_bounded(settings.timeout),
    }
    uses_sentinels = bool(settings.redis_sentinels) and address is None
    if settings.redis_tls:
        options["tls"] = Tls(settings)
        options["connection_class"] = SentinelManagedTlsConnection if uses_sentinels else TlsConnection
    else:
        options["connection_class"] = BoundedSentinelConnection if uses_sentinels else BoundedConnection
    if uses_sentinels:  # to the primary that they name at the moment of connecting
        pool: redis.ConnectionPool = redis.sentinel.SentinelConnectionPool(  # type: ignore[no-untyped-call]
            settings.redis_sentinel_service, _sentinels(settings, settings.timeout), **options
        )
        return pool
    if settings.redis_socket and address is None:
        options["connection_class"] = BoundedUnixConnection
        return redis.ConnectionPool(path=settings.redis_socket, **options)
    host, port = address or (settings.redis_host, settings.redis_port)
    return redis.ConnectionPool(host=host, port=port, **options)


def _bounded(wait: float) -> dict[str, Any]:
    return {
        "socket_timeout": wait,
        "socket_connect_timeout": wait,
        "retry": Retry(NoBackoff(), 0),
        **UNNAMED,
        "protocol": 2,  # plain AUTH and SELECT: HELLO is denied to many restricted users
    }


class _SentinelClient(redis.Redis):
    """One Sentinel, and why it could not be asked, which redis-py only writes into a text."""

    def __init__(self, place: str, **options: Any) -> None:
        super().__init__(connection_pool=redis.ConnectionPool(**options))
        self.auto_close_connection_pool = True
        self.place = place
        self.failure: BaseException | None = None

    def sentinel_masters(self, *arguments: Any, **options: Any) -> Any:
        self.failure = None
        try:
            return _credible(super().sentinel_masters(*arguments, **options))
        except (redis.RedisError, OSError) as error:
            self.failure = error
            raise
        except MALFORMED as error:
            self.failure = redis.ConnectionError(f"{self.place} does not answer as a Sentinel does")
            raise self.failure from error


def insist_on_allowed(settings: Settings, host: str) -> None:
    """Go on to a host that a server has named, and to which our password would go, only where that is allowed.

    Raises:
        RedisUnavailable: REDIS_ALLOWED_HOSTS does not name it.
    """
    if not settings.allows(host):
        raise RedisUnavailable(
            f"Redis at {settings.redis_place} sends us to {host!r}, which REDIS_ALLOWED_HOSTS does not name",
            hint="checkoutctl config show; is that host yours?",
        )


class SentinelTlsFailed(redis.sentinel.MasterNotFoundError):
    """No Sentinel named the primary, and TLS failed with one of them: its ``cause``, at ``place``."""

    def __init__(self, cause: ssl.SSLError | SpokenInPlain, place: str) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.place = place


def _credible(primaries: Any) -> Any:
    """What a Sentinel says, if each primary has an address that can be one.

    Raises:
        ValueError: one has not.
    """
    for primary in primaries.values():
        if not isinstance(primary["ip"], str) or primary["port"] not in PORTS:
            raise ValueError("a primary without an address")
    return primaries


class _Sentinels(redis.sentinel.Sentinel):
    """The Sentinels, each a :class:`_SentinelClient`."""

    def __init__(self, settings: Settings, clients: list[_SentinelClient]) -> None:
        super().__init__([], sentinel_kwargs={})  # type: ignore[no-untyped-call]
        self._settings = settings
        self._clients = clients
        self.sentinels = list[redis.Redis](clients)

    def discover_master(self, service_name: str) -> Any:
        try:
            host, port = super().discover_master(service_name)  # type: ignore[no-untyped-call]
        except redis.sentinel.MasterNotFoundError as error:
            failed = [(client.failure, client.place) for client in self._clients if client.failure is not None]
            for failure, place in failed:
                cause = tls_cause(failure)
                if cause is not None:
                    raise SentinelTlsFailed(cause, place) from error
            if failed:  # one that is there, and hung up, says more than one that is not
                failed.sort(key=lambda one: isinstance(one[0].__context__, ConnectionRefusedError))
                raise error from failed[0][0]
            raise
        insist_on_allowed(self._settings, host)
        return host, port


def _sentinels(settings: Settings, wait: float) -> _Sentinels:
    options: dict[str, Any] = {
        "username": settings.redis_sentinel_username or None,
        "password": settings.sentinel_password(),
        **_bounded(wait),
    }
    options["connection_class"] = TlsConnection if settings.sentinel_tls else BoundedConnection
    if settings.sentinel_tls:
        options["tls"] = Tls(settings)
    addresses = settings.sentinels()
    clients = [_SentinelClient(sentinel_place(*at), host=at[0], port=at[1], **options) for at in addresses]
    return _Sentinels(settings, clients)


def primary_address(settings: Settings, wait: float) -> tuple[str, int]:
    """The primary's host and port, by the first Sentinel that answers within ``wait`` seconds."""
    sentinels = _sentinels(settings, wait)
    try:
        host, port = sentinels.discover_master(settings.redis_sentinel_service)
    except (redis.RedisError, OSError) as error:
        raise translated(error, settings) from error
    finally:
        for sentinel in sentinels.sentinels:
            sentinel.close()
    return str(host), int(port)


def _connected(let_in: Callable[[], object], connection: Any) -> None:
    connection.on_connect()
    connection.identity = identity_over(connection)
    let_in()


def identity_over(connection: Any) -> bytes | None:
    """The identity of the server behind a connection, ``run_id:master_replid``; ``None`` where it does not tell."""
    questions = connection.pack_commands([("INFO", "server"), ("INFO", "replication")])
    connection.send_packed_command(questions, check_health=False)
    sections = []
    for _ in range(2):
        try:
            sections.append(_text(read_reply(connection)))
        except redis.ResponseError as error:
            if str(error).partition(" ")[0] in _AWAY:
                raise  # busy with a script: the connection would never be asked again, and never be trusted
            sections.append(b"")  # INFO is denied here: no identity, and so never any trust
    connection.is_replica = _info_value(sections[1], b"role") == b"slave"
    identity = _info_value(sections[0], b"run_id") + b":" + _info_value(sections[1], b"master_replid")
    return identity if _IDENTITY.fullmatch(identity) else None


def _text(reply: Any) -> bytes:
    if not isinstance(reply, bytes):
        raise redis.InvalidResponse("the reply to INFO is no text")
    return reply


def _info_value(section: bytes, name: bytes) -> bytes:
    _, found, rest = section.partition(b"\n" + name + b":")
    return rest.partition(b"\r")[0].strip() if found else b""


def translated(error: redis.RedisError | OSError, settings: Settings, place: str | None = None) -> CheckoutError:
    """What a driver's error means for us; raise it ``from`` the original. ``place`` is where it came from, in words."""
    place = place or settings.redis_place
    text = str(error)
    if isinstance(error, SentinelTlsFailed):
        return explained_tls(error.cause, settings, error.place, sentinel=True)
    if isinstance(error, redis.sentinel.MasterNotFoundError):
        return _no_primary(settings, text)
    code = (getattr(error, "status_code", None) or text.split(" ", 1)[0]).upper()
    if isinstance(error, redis.exceptions.NoPermissionError) or text.startswith(_DENIED_IN_SCRIPT):
        denied = _DENIED_COMMAND.search(text)
        return CommandDenied(f"Redis at {place} denies access: {text}", grant=f"+{denied[1]}" if denied else "")
    if code == "DENIED":
        problem = f"Redis at {place} is in protected mode: without a password (requirepass) only its own host may in"
        return AccessDenied(problem, hint="checkoutctl config set REDIS_PASSWORD")
    if isinstance(error, (redis.AuthenticationError, redis.exceptions.AuthorizationError)):
        quoted = "; REDIS_PASSWORD has quotes around it, which docker's --env-file does not take away"
        problem = f"Redis at {place} denies access: {text}{quoted if has_quotes(settings.redis_password) else ''}"
        return AccessDenied(problem, hint=_credentials_hint(text.lower(), settings))
    if _FULL in text:
        return TooManyClients(f"Redis at {place} takes no more clients: its limit (maxclients) is reached")
    if isinstance(error, redis.exceptions.MaxConnectionsError):
        return RedisPoolExhausted(f"all connections to Redis at {place} are in use")
    if isinstance(error, redis.exceptions.BusyLoadingError) or code == "LOADING":
        return RedisLoading(f"Redis at {place} cannot serve now: {text}")
    if isinstance(error, redis.exceptions.TryAgainError):
        return SlotMoving(f"a slot of the cluster moves away from or to Redis at {place}")
    if code in _AWAY:
        return RedisUnavailable(f"Redis at {place} cannot serve now: {text}")
    if code in _REFUSING or isinstance(error, (redis.exceptions.OutOfMemoryError, redis.exceptions.ReadOnlyError)):
        hint = "checkoutctl memory tune --advise" if code == "OOM" else None
        return RedisRefusing(f"Redis at {place} refuses writes: {code} {text.removeprefix(code).strip()}", hint=hint)
    if isinstance(error, (redis.TimeoutError, redis.ConnectionError, OSError)):
        return _unreachable(error, settings, place, text)
    if isinstance(error, redis.InvalidResponse):
        return _not_redis(place)
    if isinstance(error, redis.exceptions.AskError):  # a cluster's redirection, where nobody follows it
        if not (error.slot_id in range(SLOTS) and error.port in PORTS):
            return WrongServer(f"Redis at {place} sends us to a slot or a port that there cannot be")
        return ConfigurationError(
            f"Redis at {place} is a node of a cluster", hint="checkoutctl config set REDIS_MODE=cluster"
        )
    if code == "WRONGTYPE":
        return WrongKeyType("the key holds another type than a string")
    if unknown := _UNKNOWN_COMMAND.search(text):
        return CommandUnknown(f"Redis at {place} has no command {unknown[1].upper()}", command=unknown[1].upper())
    if _UNKNOWN_IN_SCRIPT.search(text):
        return CommandUnknown(f"Redis at {place} lacks a command of a script: {text}")
    if "DB index" in text:
        return ConfigurationError(
            f"Redis at {place} has no database {settings.redis_db}", hint="checkoutctl config set REDIS_DB=0"
        )
    return RedisRefusing(f"Redis at {place}: {text}")


def _credentials_hint(text: str, settings: Settings) -> str:
    if "without any password configured" in text or "no password is set" in text:
        return "checkoutctl config unset REDIS_PASSWORD REDIS_PASSWORD_FILE"  # the server has none
    if settings.redis_username:  # which may be the wrong one of the two
        return typed("checkoutctl config set REDIS_USERNAME={} REDIS_PASSWORD", settings.redis_username)
    return "checkoutctl config set REDIS_PASSWORD"


def _no_primary(settings: Settings, text: str) -> CheckoutError:
    sentinels = f"the Sentinels {settings.redis_sentinels}"
    if "AuthenticationError" in text:  # redis-py joins the errors of those that could not be asked to one text
        return AccessDenied(f"{sentinels} deny access", hint="checkoutctl config set REDIS_SENTINEL_PASSWORD")
    silent = ", and not all could be asked" if " : " in text else ""
    service = f"{settings.redis_sentinel_service!r} (REDIS_SENTINEL_SERVICE)"
    known = typed("redis-cli -h {} -p {} SENTINEL masters", *settings.sentinels()[0])
    return RedisUnavailable(f"{sentinels} name no primary of {service}{silent}", hint=known)


def _not_redis(place: str) -> WrongServer:
    return WrongServer(f"what listens at {place} does not answer as Redis does")


def _unreachable(error: BaseException, settings: Settings, place: str, text: str) -> CheckoutError:
    failed = tls_cause(error)
    if failed is not None:
        return explained_tls(failed, settings, f"Redis at {place}")
    if isinstance(error, redis.TimeoutError):
        return RedisUnavailable(f"Redis at {place} did not answer in time")
    if "Protocol Error" in text or "InvalidResponse" in text:
        return _not_redis(place)
    if isinstance(error, ExchangeTooLarge):
        return ReplyTooLarge(f"Redis at {place} sent more than {LARGEST_EXCHANGE >> 20} MB in one exchange")
    return RedisUnavailable(f"Redis at {place} cannot be reached: {_reason(error, text)}")


def _reason(error: BaseException, text: str) -> str:
    cause = error.__cause__ or error.__context__
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return text.rstrip(".")
