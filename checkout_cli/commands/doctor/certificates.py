"""The check of the TLS certificates of all servers that are spoken to with TLS: Redis, cluster nodes, Sentinels."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from checkout_cli.checks import Finding, Skip, crit, warn_if
from checkout_cli.commands.doctor.check import Group, Need, check
from checkout_cli.commands.doctor.context import DoctorContext
from checkout_cli.config.addresses import address_text, split_address
from checkout_cli.errors import CheckoutError
from checkout_cli.store.redis.tls import Tls, explained_tls, sentinel_place, tls_cause
from checkout_cli.typed import typed

RENEW_SOON, RENEW_NOW = 30, 7
"""Days before a certificate's end: a month is enough for any process, a week only for a quick one."""
_MOST_NAMES = 3
_ANSWER = 64
"""Bytes; to PING, and be it a refusal."""


@dataclass(frozen=True)
class _Certificate:
    """A server's certificate: its end in seconds since the epoch, or the problem with it."""

    who: str
    address: str
    end: float = 0.0
    names: tuple[str, ...] = ()
    problem: CheckoutError | None = None


@check("certificate", Group.CONNECTION, Need.REDIS)
def certificate(context: DoctorContext) -> Finding:
    """The TLS certificates of Redis, of every cluster node and of every Sentinel stay valid for a while.

    Each is looked at as a client does it: the CA, the host's name and the days that are left. What keeps us from Redis
    itself (an expired one, an unknown CA, another name) is what the connection check reports; of a Sentinel or another
    node, this one does.
    """
    if not context.settings.uses_tls:
        raise Skip("REDIS_TLS is off")
    found = list(_certificates(context))
    if not found:
        raise Skip("no server could be asked for its certificate")
    problems = {item.address: item.problem for item in found if item.problem is not None}
    if problems:
        problem = next(iter(problems.values()))
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return crit(f"{problem}{more}", problem.hint, servers=list(problems))
    first = min(found, key=lambda item: item.end)
    days = (first.end - context.now() / 1000) / 86_400
    until = f"valid for {days:.0f} more days, until {datetime.fromtimestamp(first.end, UTC):%Y-%m-%d %H:%M} UTC"
    names = ", ".join(first.names[:_MOST_NAMES]) + (", …" if len(first.names) > _MOST_NAMES else "")
    which = f"{first.who} is " if len(found) == 1 else f"of {len(found)} certificates, that of {first.who} ends first: "
    evidence = f"{which}{until}; for {names}"
    numbers: dict[str, Any] = {"days": int(days), "certificates": len(found), "names": list(first.names)}
    fix = typed("renew it: echo | openssl s_client -connect {} | openssl x509 -noout -text", first.address)
    if days < RENEW_NOW:
        return crit(evidence, fix, **numbers)
    return warn_if(days < RENEW_SOON, evidence, fix, **numbers)


def _certificates(context: DoctorContext) -> Iterator[_Certificate]:
    settings = context.settings
    tls = Tls(settings)
    targets: list[tuple[str, str, int]] = []
    if settings.redis_tls and settings.is_cluster:
        targets += [("", *split_address(server.place)) for server in context.servers]
    elif settings.redis_tls:
        targets.append(("", context.connection.host, context.connection.port))
    if settings.redis_sentinels and settings.sentinel_tls:
        targets += [(sentinel_place(host, port), host, port) for host, port in settings.sentinels()]
    for sentinel, host, port in targets:
        found = _seen(context, tls, sentinel, host, port)
        if found is not None:
            yield found


def _seen(context: DoctorContext, tls: Tls, sentinel: str, host: str, port: int) -> _Certificate | None:
    """The certificate of one server, or of a Sentinel; ``None`` without an answer, which other checks report."""
    address = address_text(host, port)
    try:
        with (
            socket.create_connection((host, port), timeout=context.settings.timeout) as plain,
            tls.wrap(plain, host) as secured,
        ):
            peer: dict[str, Any] = dict(secured.getpeercert() or {})
            # To hang up before the server has done its part would be counted by it as a connection refused.
            secured.sendall(b"PING\r\n")
            secured.recv(_ANSWER)
    except OSError as error:
        cause = tls_cause(error)
        if cause is None or isinstance(cause, ssl.SSLEOFError):
            return None
        problem = explained_tls(cause, context.settings, sentinel or f"Redis at {address}")
        return _Certificate(sentinel, address, problem=problem)
    names = tuple(str(name) for _, name in peer.get("subjectAltName", ()))
    return _Certificate(sentinel or address, address, ssl.cert_time_to_seconds(str(peer["notAfter"])), names)
