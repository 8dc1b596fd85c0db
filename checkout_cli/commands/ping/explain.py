"""Why Redis does not answer: the trouble, the evidence for it, and what to type."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import StrEnum

from checkout_cli.checks import Finding, crit, ok
from checkout_cli.commands.ping.clients import Clients, clients_within, redis_cli
from checkout_cli.commands.ping.ping import Ping
from checkout_cli.commands.ping.summary import Failure, PingSummary, Stage
from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    AccessDenied,
    CheckoutError,
    CommandDenied,
    RedisLoading,
    RedisRefusing,
    TooManyClients,
    WrongServer,
    causes,
)
from checkout_cli.servers.installation import SERVERS
from checkout_cli.servers.machine import Machine, Process
from checkout_cli.store.redis.tls import (
    CertificateOutOfTime,
    CertificateRefused,
    ClientCertificateRefused,
    TlsFileError,
    TlsMismatch,
    answers_in_plain,
)
from checkout_cli.typed import typed

_USUAL_PORT = 6379
_USUAL_PORTS = (_USUAL_PORT, 6380)
_PATIENCE = 0.1
"""How long a server on this machine may take to show that it is one, in seconds."""
_CERTIFICATES = (CertificateRefused, CertificateOutOfTime, ClientCertificateRefused, TlsFileError)
_BLOCKED = {errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.EACCES, errno.EPERM}


class Kind(StrEnum):
    """The troubles by their names."""

    NOT_INSTALLED = "not installed"
    NOT_RUNNING = "not running"
    WRONG_PORT = "wrong port"
    WRONG_ADDRESS = "wrong address"
    FIREWALLED = "firewalled"
    UNREACHABLE = "no route"
    HUNG = "hung"
    TLS_MISMATCH = "TLS mismatch"
    CERTIFICATE = "certificate"
    PASSWORD = "password"  # noqa: S105  (the name of a trouble)
    PERMISSION = "permission"
    NAME = "unknown name"
    SENTINEL = "no primary"
    LOADING = "loading"
    SAVES_FAIL = "saves fail"
    FULL = "too many clients"
    OTHER = "other"


@dataclass(frozen=True)
class Trouble:
    """``detail`` is the evidence beside the error itself; ``fix`` can be typed in place of its hint."""

    kind: Kind
    detail: str = ""
    fix: str = ""


@dataclass(frozen=True)
class Attempt:
    """A ping, its settings, and the machine that it came from."""

    settings: Settings
    summary: PingSummary
    machine: Machine

    @classmethod
    def made(cls, settings: Settings, machine: Machine, pings: int) -> Attempt:
        """Ping that often."""
        return cls(settings, Ping(settings, count=pings, interval=0.0).run(), machine)

    @property
    def is_here(self) -> bool:
        """Whether the address is this very machine's."""
        return bool(self.summary.socket) or self.machine.is_here(self.summary.host)

    def holders(self) -> list[Process]:
        """The processes of this machine that listen at the address or socket of Redis, as far as we may see them."""
        machine, summary = self.machine, self.summary
        if summary.socket:
            pid = machine.listener_of_socket(summary.socket, _PATIENCE)
            found = [machine.process(pid) if pid is not None else None]
        else:
            addresses = machine.addresses_of(summary.host)
            found = [each.process for each in machine.listeners(summary.port) if each.answers_for(addresses)]
        return [process for process in found if process is not None]

    def finding(self) -> Finding:
        """Whether Redis answers, stage by stage; if it does not, why, and what to do."""
        summary, failure = self.summary, self.summary.failure
        if failure is not None:
            trouble = explain(self, failure)
            name = "" if trouble.kind is Kind.OTHER else f" ({trouble.kind})"
            detail = f"; {trouble.detail}" if trouble.detail else ""
            return crit(
                f"{failure.stage} failed{name}: {failure.error}{detail}",
                trouble.fix or failure.error.hint,
                stage=str(failure.stage),
                trouble=str(trouble.kind),
            )
        assert summary.connected is not None  # noqa: S101  (a ping without a failure is)
        spent = {str(stage): seconds * 1000 for stage, seconds in summary.connected.stages.items()}
        trip = summary.percentile(50) * 1000
        where = summary.socket or f"{summary.connected.address} port {summary.port}"
        stages = ", ".join(f"{stage} {milliseconds:.1f} ms" for stage, milliseconds in spent.items())
        return ok(
            f"{where} answers: {stages}; PING p50 {trip:.2f} ms",
            stagesMs={stage: round(milliseconds, 3) for stage, milliseconds in spent.items()},
            pingP50Ms=round(trip, 3),
        )


def explain(attempt: Attempt, failure: Failure) -> Trouble:
    """Tell the troubles apart by the stage that failed, the error, and what runs on this machine."""
    error, stage, cause = failure.error, failure.stage, failure.error.__cause__
    if isinstance(error, TooManyClients):
        return _full(attempt)
    by_error_alone = {
        Kind.CERTIFICATE: isinstance(error, _CERTIFICATES),
        Kind.TLS_MISMATCH: isinstance(error, TlsMismatch),
        Kind.SENTINEL: stage is Stage.SENTINEL and not isinstance(error, AccessDenied),
        Kind.NAME: stage is Stage.DNS,
        Kind.PERMISSION: isinstance(error, CommandDenied if stage is not Stage.SOCKET else AccessDenied),
        Kind.PASSWORD: isinstance(error, AccessDenied),
    }
    for kind, applies in by_error_alone.items():
        if applies:
            return Trouble(kind)
    if isinstance(error, WrongServer):
        return _wrong_port(attempt)
    if stage is Stage.SOCKET:
        return _without_socket(attempt, cause)
    if stage is Stage.TCP:
        return _unconnected(attempt, cause)
    if timed_out(error):
        return _hung(attempt)
    if isinstance(error, RedisLoading):
        return Trouble(Kind.LOADING, fix="wait until it has read its data; checkoutctl ping says when")
    if isinstance(error, RedisRefusing) and "MISCONF" in str(error):
        fix = "checkoutctl doctor --only data-directory says why it cannot save"
        return Trouble(Kind.SAVES_FAIL, "until a save succeeds", fix)
    return Trouble(Kind.OTHER)


def timed_out(error: CheckoutError) -> bool:
    """Whether a server accepted the connection and did not answer in time."""
    return any(type(cause).__name__ == "TimeoutError" for cause in causes(error))  # Python's, or redis-py's own


# Nothing answers the connection


def _unconnected(attempt: Attempt, cause: BaseException | None) -> Trouble:
    host, port = attempt.summary.host, attempt.summary.port
    knock = typed("nc -vz -w 2 {} {}", host, port)
    number = getattr(cause, "errno", None)
    if isinstance(cause, ConnectionRefusedError):
        if attempt.is_here:
            return _refused_here(attempt)
        detail = "it is not running there, or on another port, or a firewall rejects us"
        there = "on {}: sudo ss -ltnp | grep -E 'redis|valkey'; from here: nc -vz -w 2 {} {}"
        fix = typed(there, host, host, port)
        return Trouble(Kind.NOT_RUNNING, detail, fix)
    if isinstance(cause, TimeoutError) and attempt.is_here:
        return _hung(attempt)
    if isinstance(cause, TimeoutError) or number in _BLOCKED:
        return Trouble(
            Kind.FIREWALLED,
            "a refusal would come at once: a firewall drops what we send, or the machine is down",
            f"{knock}; let port {port} of {attempt.summary.host} through, or correct REDIS_HOST",
        )
    if number == errno.ENETUNREACH:
        return Trouble(Kind.UNREACHABLE, fix=f"ip route get {host}; check REDIS_HOST")
    return Trouble(Kind.OTHER)


def _without_socket(attempt: Attempt, cause: BaseException | None) -> Trouble:
    if isinstance(cause, TimeoutError):
        return Trouble(Kind.HUNG)
    if not isinstance(cause, (FileNotFoundError, ConnectionRefusedError)):
        return Trouble(Kind.OTHER)
    if attempt.machine.servers:
        fix = "redis-cli CONFIG GET unixsocket names its socket: set REDIS_SOCKET to it, or unixsocket in its settings"
        return Trouble(Kind.WRONG_ADDRESS, f"{attempt.machine.servers[0]} runs here", fix)
    return _not_running(attempt, f"with unixsocket {attempt.summary.socket}", "REDIS_SOCKET")


def _refused_here(attempt: Attempt) -> Trouble:
    machine, port = attempt.machine, attempt.summary.port
    elsewhere = next((item for item in machine.listeners(port) if item.process and item.process.is_server), None)
    if elsewhere is not None:
        return Trouble(
            Kind.WRONG_ADDRESS,
            f"{elsewhere.process} listens on that port, and on {elsewhere.address} only",
            typed("REDIS_HOST={} checkoutctl ping, or add the address to bind in its settings", elsewhere.address),
        )
    usual = "" if port == _USUAL_PORT else f"on port {port}"
    return _other_port(attempt) or _not_running(attempt, usual, "REDIS_PORT")


def _not_running(attempt: Attempt, unusual: str, setting: str) -> Trouble:
    """``unusual`` is how a server must differ from the usual one, by a ``setting``."""
    here = attempt.machine.installation
    fix = f"start a server {unusual}, or correct {setting}; usual: " if unusual else ""
    fix += here.way_to_a_server
    if here.server is None:
        return Trouble(Kind.NOT_INSTALLED, f"neither {' nor '.join(SERVERS)} is on PATH", fix)
    return Trouble(Kind.NOT_RUNNING, f"{here.server.path} is installed", fix)


def _other_port(attempt: Attempt) -> Trouble | None:
    """Another port of this machine on which a Redis or Valkey answers."""
    ports = {*_USUAL_PORTS, *attempt.machine.ports_of(attempt.machine.servers)} - {attempt.summary.port}
    for port in sorted(ports):
        if answers_in_plain(attempt.summary.host, port, _PATIENCE):
            return Trouble(
                Kind.WRONG_PORT,
                f"a Redis answers on port {port} of this machine",
                f"REDIS_PORT={port:d} checkoutctl ping, and set REDIS_PORT={port:d} if that is the one",
            )
    return None


# Something accepts the connection


def _wrong_port(attempt: Attempt) -> Trouble:
    if not attempt.is_here:
        return Trouble(Kind.WRONG_PORT)
    fix = "checkoutctl doctor --only port-in-use says who holds the port"
    return _other_port(attempt) or Trouble(Kind.WRONG_PORT, fix=fix)


def _full(attempt: Attempt) -> Trouble:
    """Whose the connections are: by the server where one gets in, by this machine's sockets where it runs here."""
    summary = attempt.summary
    client = redis_cli(summary.host, summary.port, summary.socket)
    seen = clients_within(attempt.settings, None if summary.socket else (summary.host, summary.port))
    if seen is not None:
        return Trouble(Kind.FULL, str(seen), seen.way_out(client))
    if not summary.socket and attempt.is_here:
        seen = Clients.of(attempt.machine.peers(summary.port))
        if seen.number:
            return Trouble(Kind.FULL, str(seen), seen.way_out(client, is_shut=True))
    look = "" if summary.socket else f"; ss -Htn 'sport = :{summary.port}' on {summary.host} names them"
    fix = f"end one of its clients, then {client} CONFIG SET maxclients with a higher number{look}"
    return Trouble(Kind.FULL, "no connection got in to ask whose they are", fix)


def _hung(attempt: Attempt) -> Trouble:
    found = attempt.holders() if attempt.is_here else []
    foreign = next((process for process in found if not process.is_server), None)
    if foreign is not None:
        detail = f"{foreign} listens there, and is not Redis"
        return Trouble(Kind.WRONG_PORT, detail, "checkoutctl doctor --only port-in-use")
    if not found:
        return Trouble(Kind.HUNG)
    server = found[0]
    if server.state in {"stopped", "tracing-stop"}:
        return Trouble(Kind.HUNG, f"{server} is stopped, as by SIGSTOP or a debugger", f"kill -CONT {server.pid:d}")
    state = {"disk-sleep": "waits for its disk", "running": "is computing"}.get(server.state, "is asleep")
    fix = "look at its log for a slow command or a full disk, before any restart"
    return Trouble(Kind.HUNG, f"{server} {state}", fix)
