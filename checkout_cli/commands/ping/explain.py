"""Why Redis does not answer: which trouble keeps us from it, what shows it, and what to type against it."""

from __future__ import annotations

import errno
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from checkout_cli.checks import Finding, crit, ok
from checkout_cli.commands.ping.ping import Failure, NotRedis, Ping, PingSummary, Stage
from checkout_cli.config.settings import Settings
from checkout_cli.errors import AccessDenied, CheckoutError, CommandDenied, RedisLoading, RedisRefusing, causes
from checkout_cli.servers.installation import SERVERS
from checkout_cli.servers.machine import Listener, Machine, Process
from checkout_cli.store.redis.tls import (
    CertificateOutOfTime,
    CertificateRefused,
    ClientCertificateRefused,
    TlsFileError,
    TlsMismatch,
    answers_in_plain,
)

_USUAL_PORT = 6379
_USUAL_PORTS = (_USUAL_PORT, 6380)
_PATIENCE = 0.1
"""How long a server on this machine may take to show that it is one, in seconds."""


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
    OTHER = "other"


@dataclass(frozen=True)
class Trouble:
    """``detail`` is what shows it, beside the error itself; ``fix`` can be typed."""

    kind: Kind
    detail: str = ""
    fix: str = ""


@dataclass(frozen=True)
class Attempt:
    """What a ping came to, where it was to go, and the machine that it came from."""

    settings: Settings
    summary: PingSummary
    machine: Machine

    @classmethod
    def made(cls, settings: Settings, machine: Machine, pings: int) -> Attempt:
        """Try so many times."""
        return cls(settings, Ping(settings, count=pings, interval=0.0).run(), machine)

    def finding(self) -> Finding:
        """Whether Redis answers, stage by stage; if it does not, why, and what to do."""
        summary = self.summary
        if summary.failure is None and summary.connected is not None:
            stages = ", ".join(f"{stage} {seconds * 1000:.1f} ms" for stage, seconds in summary.connected.stages)
            trip = (summary.percentile(50) or 0.0) * 1000
            where = summary.socket or f"{summary.connected.address} port {summary.port}"
            return ok(
                f"{where} answers: {stages}; PING p50 {trip:.2f} ms",
                stagesMs={str(stage): round(seconds * 1000, 3) for stage, seconds in summary.connected.stages},
                pingP50Ms=round(trip, 3),
            )
        assert summary.failure is not None  # noqa: S101  (a ping without an answer has one)
        failure, trouble = summary.failure, explain(self, summary.failure)
        name = "" if trouble.kind is Kind.OTHER else f" ({trouble.kind})"
        detail = f"; {trouble.detail}" if trouble.detail else ""
        return crit(
            f"{failure.stage} failed{name}: {failure.error}{detail}",
            trouble.fix or failure.error.hint,
            stage=str(failure.stage),
            trouble=str(trouble.kind),
        )


def explain(attempt: Attempt, failure: Failure) -> Trouble:
    """Tell the troubles apart by the stage that failed, the error, and what runs on this machine."""
    error, cause = failure.error, failure.error.__cause__
    if isinstance(error, (CertificateRefused, CertificateOutOfTime, ClientCertificateRefused, TlsFileError)):
        return Trouble(Kind.CERTIFICATE)
    if isinstance(error, TlsMismatch):
        return Trouble(Kind.TLS_MISMATCH)
    if failure.stage is Stage.SENTINEL:
        return Trouble(Kind.PASSWORD if isinstance(error, AccessDenied) else Kind.SENTINEL)
    if failure.stage is Stage.DNS:
        return Trouble(Kind.NAME)
    if isinstance(error, CommandDenied):
        return Trouble(Kind.PERMISSION)
    if isinstance(error, AccessDenied):
        return Trouble(Kind.PERMISSION if failure.stage is Stage.SOCKET else Kind.PASSWORD)
    if isinstance(error, NotRedis):
        return _wrong_port(attempt)
    if failure.stage is Stage.SOCKET:
        return _without_socket(attempt, cause)
    if failure.stage is Stage.TCP:
        return _unconnected(attempt, cause)
    if timed_out(error):
        return _hung(attempt)
    if isinstance(failure.error, RedisLoading):
        return Trouble(Kind.LOADING, fix="wait until it has read its data; checkoutctl ping says when")
    if isinstance(error, RedisRefusing) and "MISCONF" in str(error):
        return Trouble(
            Kind.SAVES_FAIL, "until a save succeeds", "checkoutctl doctor --only data-directory says why it cannot save"
        )
    return Trouble(Kind.OTHER)


def timed_out(error: CheckoutError) -> bool:
    """Whether a server accepted the connection and did not answer in time."""
    return any(type(cause).__name__ == "TimeoutError" for cause in causes(error))  # Python's, or redis-py's own


def holders(attempt: Attempt) -> list[Listener]:
    """Who listens where Redis should answer, on this machine; nobody, where it is another one's address."""
    summary = attempt.summary
    if summary.socket:
        return []
    addresses = attempt.machine.addresses_of(summary.host)
    return [found for found in attempt.machine.listeners(summary.port) if found.answers_for(addresses)]


def is_here(attempt: Attempt) -> bool:
    """Whether Redis is looked for on this very machine."""
    return bool(attempt.summary.socket) or attempt.machine.is_here(attempt.summary.host)


# Nothing answers the connection


def _unconnected(attempt: Attempt, cause: BaseException | None) -> Trouble:
    here, summary = is_here(attempt), attempt.summary
    if isinstance(cause, ConnectionRefusedError):
        return _refused_here(attempt) if here else _refused_there(summary)
    if isinstance(cause, TimeoutError):
        return _hung(attempt) if here else _firewalled(summary)
    number = getattr(cause, "errno", None)
    if number in {errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.EACCES, errno.EPERM}:
        return _firewalled(summary)
    if number == errno.ENETUNREACH:
        return Trouble(Kind.UNREACHABLE, fix=f"ip route get {shlex.quote(summary.host)}; check REDIS_HOST")
    return Trouble(Kind.OTHER)


def _without_socket(attempt: Attempt, cause: BaseException | None) -> Trouble:
    if isinstance(cause, TimeoutError):
        return Trouble(Kind.HUNG)
    if not isinstance(cause, (FileNotFoundError, ConnectionRefusedError)):
        return Trouble(Kind.OTHER)
    if attempt.machine.servers:
        running = attempt.machine.servers[0]
        return Trouble(
            Kind.WRONG_ADDRESS,
            f"{running} runs here",
            "redis-cli CONFIG GET unixsocket names its socket: set REDIS_SOCKET to it, or unixsocket in its settings",
        )
    return _not_running(attempt, f"with unixsocket {attempt.summary.socket}", "REDIS_SOCKET")


def _refused_there(summary: PingSummary) -> Trouble:
    return Trouble(
        Kind.NOT_RUNNING,
        "it is not running there, or on another port, or a firewall rejects us",
        f"on {summary.host}: sudo ss -ltnp | grep -E 'redis|valkey'; from here: {_knock(summary)}",
    )


def _firewalled(summary: PingSummary) -> Trouble:
    return Trouble(
        Kind.FIREWALLED,
        "a refusal would come at once: a firewall drops what we send, or the machine is down",
        f"{_knock(summary)}; let port {summary.port} of {summary.host} through, or correct REDIS_HOST",
    )


def _knock(summary: PingSummary) -> str:
    return f"nc -vz -w 2 {shlex.quote(summary.host)} {summary.port}"


def _refused_here(attempt: Attempt) -> Trouble:
    machine, port = attempt.machine, attempt.summary.port
    elsewhere = next((item for item in machine.listeners(port) if item.process and item.process.is_server), None)
    if elsewhere is not None:
        return Trouble(
            Kind.WRONG_ADDRESS,
            f"{elsewhere.process} listens on that port, and on {elsewhere.address} only",
            f"REDIS_HOST={elsewhere.address} checkoutctl ping, or add the address to bind in the server's settings",
        )
    other = next(_other_ports(attempt), None)
    if other is not None:
        return _other_port(other)
    return _not_running(attempt, "" if port == _USUAL_PORT else f"on port {port}", "REDIS_PORT")


def _not_running(attempt: Attempt, unusual: str, setting: str) -> Trouble:
    """``unusual`` is how another server than the usual one would be needed, by a ``setting``."""
    here = attempt.machine.installation
    fix = f"start a server {unusual}, or correct {setting}; usual: " if unusual else ""
    if here.server is None:
        return Trouble(
            Kind.NOT_INSTALLED, f"neither {' nor '.join(SERVERS)} is on PATH", f"{fix}{here.way_to_a_server}"
        )
    return Trouble(Kind.NOT_RUNNING, f"{here.server.path} is installed", f"{fix}{here.way_to_a_server}")


def _other_port(port: int) -> Trouble:
    return Trouble(
        Kind.WRONG_PORT,
        f"a Redis answers on port {port} of this machine",
        f"REDIS_PORT={port} checkoutctl ping, and set REDIS_PORT={port} if that is the one",
    )


def _other_ports(attempt: Attempt) -> Iterator[int]:
    """Other ports of this machine on which a Redis or Valkey answers."""
    ours = attempt.summary.port
    candidates = {*_USUAL_PORTS, *attempt.machine.ports_of(attempt.machine.servers)} - {ours}
    for port in sorted(candidates):
        if answers_in_plain(attempt.summary.host, port, _PATIENCE):
            yield port


# Something accepts the connection


def _wrong_port(attempt: Attempt) -> Trouble:
    if not is_here(attempt):
        return Trouble(Kind.WRONG_PORT)
    other = next(_other_ports(attempt), None)
    if other is not None:
        return _other_port(other)
    return Trouble(Kind.WRONG_PORT, fix="checkoutctl doctor --only port-in-use says who holds the port")


def _hung(attempt: Attempt) -> Trouble:
    if not is_here(attempt):
        return Trouble(Kind.HUNG)
    found = [process for process in _candidates(attempt) if process is not None]
    foreign = next((process for process in found if not process.is_server), None)
    if foreign is not None:
        return Trouble(
            Kind.WRONG_PORT, f"{foreign} listens there, and is not Redis", "checkoutctl doctor --only port-in-use"
        )
    return _hung_server(found[0]) if found else Trouble(Kind.HUNG)


def _candidates(attempt: Attempt) -> list[Process | None]:
    """The processes that may be the one that does not answer."""
    if not attempt.summary.socket:
        return [listener.process for listener in holders(attempt)]
    pid = attempt.machine.listener_of_socket(attempt.summary.socket, _PATIENCE)
    return [attempt.machine.process(pid) if pid is not None else None]


def _hung_server(process: Process) -> Trouble:
    if process.state in {"stopped", "tracing-stop"}:
        return Trouble(Kind.HUNG, f"{process} is stopped, as by SIGSTOP or a debugger", f"kill -CONT {process.pid}")
    state = {"disk-sleep": "waits for its disk", "running": "is computing"}.get(process.state, "is asleep")
    return Trouble(
        Kind.HUNG, f"{process} {state}", "look at its log for a slow command or a full disk, before any restart"
    )
