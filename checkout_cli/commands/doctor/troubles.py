"""Which trouble keeps us from Redis, what shows it, and what to type against it."""

from __future__ import annotations

import errno
import shlex
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from checkout_cli.commands.doctor.patient import Patient
from checkout_cli.commands.ping.ping import ClosedUnanswered, Failure, NotRedis, PingSummary, Stage
from checkout_cli.errors import AccessDenied, CheckoutError, CommandDenied, RedisLoading, RedisRefusing
from checkout_cli.servers.installation import SERVERS, has_service_manager, is_root, start_command, this_system
from checkout_cli.servers.machine import Listener, Process
from checkout_cli.store.redis.tls import (
    CertificateOutOfTime,
    CertificateRefused,
    ClientCertificateRefused,
    TlsFileError,
    TlsMismatch,
    wants_tls,
)

_USUAL_PORTS = (6379, 6380)
_PATIENCE = 0.1
"""How long a server on this machine may take to show that it is one, in seconds."""
_REDIS_ANSWERS = (b"+PONG", b"-NOAUTH", b"-DENIED", b"-LOADING")


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


def trouble_of(patient: Patient, failure: Failure) -> Trouble:
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
        return _wrong_port(patient)
    if failure.stage is Stage.SOCKET:
        return _without_socket(patient, cause)
    if failure.stage is Stage.TCP:
        return _unconnected(patient, cause)
    if timed_out(error):
        return _hung(patient)
    if isinstance(failure.error, RedisLoading):
        return Trouble(Kind.LOADING, fix="wait until it has read its data; checkoutctl ping says when")
    if isinstance(error, RedisRefusing) and "MISCONF" in str(error):
        return Trouble(
            Kind.SAVES_FAIL, "until a save succeeds", "checkoutctl doctor --only data-directory says why it cannot save"
        )
    if isinstance(error, ClosedUnanswered) and _wants_tls(patient):
        return Trouble(
            Kind.TLS_MISMATCH,
            "it answers a TLS handshake, and REDIS_TLS is off",
            "set REDIS_TLS=true, or REDIS_PORT to a plain port",
        )
    return Trouble(Kind.OTHER)


def timed_out(error: CheckoutError) -> bool:
    """Whether a server accepted the connection and did not answer in time."""
    cause: BaseException | None = error.__cause__
    while cause is not None and type(cause).__name__ != "TimeoutError":  # Python's, or redis-py's own
        cause = cause.__cause__
    return cause is not None


def holders(patient: Patient) -> list[Listener]:
    """Who listens where Redis should answer, on this machine; nobody, where it is another one's address."""
    summary = patient.connection
    if summary.socket:
        return []
    addresses = patient.machine.addresses_of(summary.host)
    return [found for found in patient.machine.listeners(summary.port) if found.answers_for(addresses)]


def is_here(patient: Patient) -> bool:
    """Whether Redis is looked for on this very machine."""
    return bool(patient.connection.socket) or patient.machine.is_here(patient.connection.host)


# Nothing answers the connection


def _unconnected(patient: Patient, cause: BaseException | None) -> Trouble:
    here, summary = is_here(patient), patient.connection
    if isinstance(cause, ConnectionRefusedError):
        return _refused_here(patient) if here else _refused_there(summary)
    if isinstance(cause, TimeoutError):
        return _hung(patient) if here else _firewalled(summary)
    number = getattr(cause, "errno", None)
    if number in {errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.EACCES, errno.EPERM}:
        return _firewalled(summary)
    if number == errno.ENETUNREACH:
        return Trouble(Kind.UNREACHABLE, fix=f"ip route get {shlex.quote(summary.host)}; check REDIS_HOST")
    return Trouble(Kind.OTHER)


def _without_socket(patient: Patient, cause: BaseException | None) -> Trouble:
    if isinstance(cause, TimeoutError):
        return Trouble(Kind.HUNG)
    if not isinstance(cause, (FileNotFoundError, ConnectionRefusedError)):
        return Trouble(Kind.OTHER)
    if patient.machine.servers:
        running = patient.machine.servers[0]
        return Trouble(
            Kind.WRONG_ADDRESS,
            f"{running} runs here",
            "redis-cli CONFIG GET unixsocket names its socket: set REDIS_SOCKET to it, or unixsocket in its settings",
        )
    trouble = _not_running(patient)
    return replace(trouble, fix=f"{trouble.fix}; with unixsocket {patient.connection.socket} in its configuration")


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


def _refused_here(patient: Patient) -> Trouble:
    machine, port = patient.machine, patient.connection.port
    elsewhere = next((item for item in machine.listeners(port) if item.process and item.process.is_server), None)
    if elsewhere is not None:
        return Trouble(
            Kind.WRONG_ADDRESS,
            f"{elsewhere.process} listens on that port, and on {elsewhere.address} only",
            f"REDIS_HOST={elsewhere.address} checkoutctl ping, or add the address to bind in the server's settings",
        )
    other = next(_other_ports(patient), None)
    if other is not None:
        return _other_port(other)
    return _not_running(patient)


def _not_running(patient: Patient) -> Trouble:
    programs = patient.machine.programs()
    installed = next((program for program in programs if program.name in SERVERS), None)
    if installed is None:
        return Trouble(
            Kind.NOT_INSTALLED,
            f"neither {' nor '.join(SERVERS)} is on PATH",
            "checkoutctl setup --check shows how to install one on this system",
        )
    command = start_command(this_system(), programs, root=is_root(), service_manager=has_service_manager())
    return Trouble(Kind.NOT_RUNNING, f"{installed.path} is installed", command)


def _other_port(port: int) -> Trouble:
    return Trouble(
        Kind.WRONG_PORT,
        f"a Redis answers on port {port} of this machine",
        f"REDIS_PORT={port} checkoutctl ping, and set REDIS_PORT={port} if that is the one",
    )


def _other_ports(patient: Patient) -> Iterator[int]:
    """Other ports of this machine on which a Redis or Valkey answers."""
    ours = patient.connection.port
    candidates = {*_USUAL_PORTS, *patient.machine.ports_of(patient.machine.servers)} - {ours}
    for port in sorted(candidates):
        if _is_redis(patient.connection.host, port):
            yield port


def _is_redis(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_PATIENCE) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(_REDIS_ANSWERS)
    except OSError:
        return False


# Something accepts the connection


def _wants_tls(patient: Patient) -> bool:
    """Whether the server speaks TLS, and we do not."""
    summary, settings = patient.connection, patient.settings
    return not settings.redis_tls and not summary.socket and wants_tls(summary.host, summary.port, settings.timeout)


def _wrong_port(patient: Patient) -> Trouble:
    if not is_here(patient):
        return Trouble(Kind.WRONG_PORT)
    other = next(_other_ports(patient), None)
    if other is not None:
        return _other_port(other)
    return Trouble(Kind.WRONG_PORT, fix="checkoutctl doctor --only port-in-use says who holds the port")


def _hung(patient: Patient) -> Trouble:
    if not is_here(patient):
        return Trouble(Kind.HUNG)
    found = [process for process in _candidates(patient) if process is not None]
    foreign = next((process for process in found if not process.is_server), None)
    if foreign is not None:
        return Trouble(
            Kind.WRONG_PORT, f"{foreign} listens there, and is not Redis", "checkoutctl doctor --only port-in-use"
        )
    return _hung_server(found[0]) if found else Trouble(Kind.HUNG)


def _candidates(patient: Patient) -> list[Process | None]:
    """The processes that may be the one that does not answer."""
    if not patient.connection.socket:
        return [listener.process for listener in holders(patient)]
    pid = patient.machine.listener_of_socket(patient.connection.socket, _PATIENCE)
    return [patient.machine.process(pid) if pid is not None else None]


def _hung_server(process: Process) -> Trouble:
    if process.state in {"stopped", "tracing-stop"}:
        return Trouble(Kind.HUNG, f"{process} is stopped, as by SIGSTOP or a debugger", f"kill -CONT {process.pid}")
    state = {"disk-sleep": "waits for its disk", "running": "is computing"}.get(process.state, "is asleep")
    return Trouble(
        Kind.HUNG, f"{process} {state}", "look at its log for a slow command or a full disk, before any restart"
    )
