"""Why Redis does not answer: the trouble, the evidence for it, and what to type."""

from __future__ import annotations

import errno
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from checkout_cli.checks import Finding, crit, ok
from checkout_cli.clock import Clock
from checkout_cli.commands.ping.clients import Clients, clients_within
from checkout_cli.commands.ping.ping import Ping
from checkout_cli.commands.ping.start_again import FIND_DATA, way_back
from checkout_cli.commands.ping.summary import Failure, PingSummary, Stage
from checkout_cli.config.addresses import address_text
from checkout_cli.config.fixes import setting, with_address
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
from checkout_cli.files.answered import Answered, AnswersFile
from checkout_cli.servers.installation import SERVERS
from checkout_cli.servers.machine import Machine, Process
from checkout_cli.store.redis.tls import (
    CertificateOutOfTime,
    CertificateRefused,
    ClientCertificateRefused,
    TlsFileError,
    TlsMismatch,
    holds_key,
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
    answers: AnswersFile = field(default_factory=AnswersFile)
    now: int = field(default_factory=lambda: Clock().wall())
    our_sessions: Callable[[], Sequence[str]] = tuple
    """Keys of sessions that the database has: a server with one of them is this shop's."""

    @classmethod
    def made(cls, settings: Settings, machine: Machine, pings: int) -> Attempt:
        """Ping that often."""
        return cls(settings, Ping(settings, count=pings, interval=0.0).run(), machine)

    def remembered(self) -> Answered | None:
        """What has answered at this address before, as far as this user has seen."""
        return self.answers.last(self.summary.place)

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
                trouble.fix or self._hint_of(failure.error),
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

    def _hint_of(self, error: CheckoutError) -> str:
        """Its hint; where that would call whoever asks, a look at the server's own machine."""
        if error.hint != CheckoutError.last_resort:
            return error.hint
        if self.is_here:
            return "checkoutctl config show"
        return typed("ssh {} ps -C redis-server,valkey-server -o pid,stat,etime,time,args", self.summary.host)


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
        return Trouble(Kind.LOADING, "it reads its data", "checkoutctl doctor --only loading")
    if isinstance(error, RedisRefusing) and "MISCONF" in str(error):
        return Trouble(Kind.SAVES_FAIL, "until a save succeeds", "checkoutctl doctor --only data-directory")
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
        remembered = attempt.remembered()
        if remembered is not None:
            detail = f"{detail}; {remembered.in_words(attempt.now)}"
        return Trouble(Kind.NOT_RUNNING, detail, knock)
    if isinstance(cause, TimeoutError) and attempt.is_here:
        return _hung(attempt)
    if isinstance(cause, TimeoutError) or number in _BLOCKED:
        return Trouble(
            Kind.FIREWALLED,
            "a refusal would come at once: a firewall drops what we send, or the machine is down",
            knock,
        )
    if number == errno.ENETUNREACH:
        return Trouble(Kind.UNREACHABLE, fix=typed("ip route get {}", host))
    return Trouble(Kind.OTHER)


def _without_socket(attempt: Attempt, cause: BaseException | None) -> Trouble:
    if isinstance(cause, TimeoutError):
        return Trouble(Kind.HUNG)
    if not isinstance(cause, (FileNotFoundError, ConnectionRefusedError)):
        return Trouble(Kind.OTHER)
    if attempt.machine.servers:
        detail = f"{attempt.machine.servers[0]} runs here, perhaps with another unixsocket"
        return Trouble(Kind.WRONG_ADDRESS, detail, "redis-cli CONFIG GET unixsocket")
    return _not_running(attempt, shlex.join(["--unixsocket", attempt.summary.socket]))


def _refused_here(attempt: Attempt) -> Trouble:
    machine, port = attempt.machine, attempt.summary.port
    elsewhere = next((item for item in machine.listeners(port) if item.process and item.process.is_server), None)
    if elsewhere is not None:
        return Trouble(
            Kind.WRONG_ADDRESS,
            f"{elsewhere.process} listens on that port, and on {elsewhere.address} only",
            setting(REDIS_HOST=elsewhere.address),
        )
    unusual = "" if port == _USUAL_PORT else f"--port {port}"
    return _other_port(attempt) or _not_running(attempt, unusual)


def _not_running(attempt: Attempt, unusual: str) -> Trouble:
    """``unusual`` are the options by which a server must differ from the usual one."""
    here, remembered = attempt.machine.installation, attempt.remembered()
    if remembered is not None:
        evidence, way = remembered.in_words(attempt.now), way_back(remembered, here)
        if way == FIND_DATA:
            evidence += "; an empty one in its place would hide the loss: find its files, and start it with them"
        return Trouble(Kind.NOT_RUNNING, evidence, way)
    if here.server is None:
        fix = here.install_command if unusual else here.way_to_a_server
        return Trouble(Kind.NOT_INSTALLED, f"neither {' nor '.join(SERVERS)} is on PATH", fix)
    fix = f"{here.server.name} {unusual} --daemonize yes" if unusual else here.start_command
    return Trouble(Kind.NOT_RUNNING, f"{here.server.path} is installed", fix)


def _other_port(attempt: Attempt) -> Trouble | None:
    """Another port of this machine whose Redis holds sessions of our database; any other is a stranger's.

    Where a server has answered at our own address, that one is to come back, whoever else is there.
    """
    if attempt.remembered() is not None or not (keys := attempt.our_sessions()):
        return None
    ports = {*_USUAL_PORTS, *attempt.machine.ports_of(attempt.machine.servers)} - {attempt.summary.port}
    for port in sorted(ports):
        if holds_key(attempt.summary.host, port, keys, _PATIENCE):
            detail = f"the Redis on port {port} of this machine has sessions of this database"
            return Trouble(Kind.WRONG_PORT, detail, setting(REDIS_PORT=port))
    return None


# Something accepts the connection


def _wrong_port(attempt: Attempt) -> Trouble:
    if not attempt.is_here:
        return Trouble(Kind.WRONG_PORT)
    return _other_port(attempt) or Trouble(Kind.WRONG_PORT, fix="checkoutctl doctor --only port-in-use")


def _full(attempt: Attempt) -> Trouble:
    """Whose the connections are: by the server where one gets in, by this machine's sockets where it runs here."""
    summary = attempt.summary
    place = address_text(summary.host, summary.port)
    seen = clients_within(attempt.settings, None if summary.socket else (summary.host, summary.port))
    if seen is not None:
        return Trouble(Kind.FULL, f"{seen}: {seen.advice}", with_address(seen.way_out, attempt.settings, place))
    if not summary.socket and attempt.is_here:
        seen = Clients.of(attempt.machine.peers(summary.port))
        if seen.number:
            fix = with_address(seen.way_out, attempt.settings, place)
            return Trouble(Kind.FULL, f"{seen}; a client that is ended makes room for a command", fix)
    fix = typed("ssh {} ss -Htn {}", summary.host, f"sport = :{summary.port}")
    if summary.socket:
        fix = with_address("redis-cli CLIENT LIST", attempt.settings)
    return Trouble(Kind.FULL, "no connection got in to ask whose they are: end one of them", fix)


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
    remembered = attempt.remembered()
    detail = f"{server} {state}: its log says more, and a restart may lose what it has"
    if remembered is not None:
        detail = f"{detail}; {remembered.in_words(attempt.now)}"
    return Trouble(Kind.HUNG, detail, f"ps -o pid,stat,wchan,etime,time,args -p {server.pid}")
