"""What all checks look at; whatever several of them need is asked for once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from checkout_cli.checks import Skip
from checkout_cli.commands.ping.explain import Attempt
from checkout_cli.commands.ping.ping import Failure, PingSummary
from checkout_cli.config.addresses import split_address
from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, CommandDenied, RedisLoading, RedisRefusing
from checkout_cli.files.last_look import LastLook, Reading
from checkout_cli.servers.inspection import Inspector, missing_grant
from checkout_cli.servers.machine import Machine, Process
from checkout_cli.store.checkout_store import CheckoutStore

COMMAND = "doctor"
PINGS = 20
"""Round trips to judge the latency by; at a fraction of a millisecond each they cost nothing."""

_T = TypeVar("_T")


class Patient:
    """The servers, settings and files that are examined."""

    def __init__(
        self,
        store: CheckoutStore,
        directory: Path,
        environ: Mapping[str, str],
        *,
        last_look: LastLook,
        machine: Machine | None = None,
    ) -> None:
        """``directory`` is where ``.env.local`` is looked for, ``machine`` the one we run on. Asks nothing yet."""
        self.store = store
        self.directory = directory
        self.environ = environ
        self.last_look = last_look
        self.machine = machine or Machine()
        self.readings: dict[str, Reading] = {}
        """What checks have counted, by what it is of, beside the servers' counters: for the next examination."""
        self._kept: dict[str, object] = {}

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self.store.settings

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return self.store.clock.wall()

    def kept(self, name: str, make: Callable[[], _T]) -> _T:
        """What ``make`` answers, made once for all checks; its error too, raised each time."""
        if name not in self._kept:
            try:
                self._kept[name] = make()
            except CheckoutError as error:
                self._kept[name] = error
        found = self._kept[name]
        if isinstance(found, CheckoutError):
            raise found
        return found  # type: ignore[return-value]  # what ``make`` of that name has made

    # Redis

    @cached_property
    def attempt(self) -> Attempt:
        """Some round trips to Redis."""
        return Attempt.made(self.settings, self.machine, PINGS)

    @property
    def connection(self) -> PingSummary:
        """What came of them, stage by stage."""
        return self.attempt.summary

    @property
    def servers(self) -> list[Inspector]:
        """The Redis servers that answer: one, or a cluster's primaries, without those that are away.

        Raises:
            Skip: Redis does not answer.
        """
        failure = self.connection.failure
        if failure is not None and not still_answers(failure) and not self.settings.is_cluster:
            raise Skip("Redis does not answer")
        return self.kept("servers", self._inspectors)

    def _inspectors(self) -> list[Inspector]:
        servers = [Inspector(server) for server in self.store.redis.servers()]
        for server in servers:
            with suppress(CheckoutError):  # each check that needs it will say so
                server.info()  # first of all: what we probe and are denied later is not to be counted as found
        away = self.store.redis.missing_servers()
        return [server for server in servers if server.place not in away]

    def earlier(self, server: Inspector) -> Reading | None:
        """What was counted at the last examination of a server."""
        return self.last_look.previous(COMMAND, server.place)

    def reading(self, server: Inspector) -> Reading:
        """What its counters say now: every number of INFO's statistics, error statistics and memory.

        Raises:
            CommandDenied, CommandUnknown: INFO is.
        """
        info = server.info()
        counters = {
            name: float(value)
            for title in ("stats", "memory")
            for name, value in info.sections.get(title, {}).items()
            if value.isdigit()
        }
        for name in info.names("errorstat_"):
            counters[name] = float(info.parts(name).get("count", "0"))
        for name in info.names("cmdstat_"):
            counters[name] = float(info.parts(name).get("calls", "0"))
        return Reading(self.now(), info.text("run_id") or "", counters)

    def grown(self, server: Inspector, counter: str) -> tuple[float, str]:
        """How much a counter has grown, and since when in words: since the last examination, or the server's start.

        Raises:
            Skip: this server does not count that.
            CommandDenied, CommandUnknown: INFO is.
        """
        earlier, reading = self.earlier(server), self.reading(server)
        if counter not in reading.counters:
            raise Skip(f"this server does not count {counter}")
        since = reading.since(earlier, counter)
        if earlier is None or since is None:
            return reading.counters[counter], "since the server started (first look)"
        return since, f"since the last run {ago(reading.seconds_since(earlier))} ago"

    def address(self, server: Inspector) -> tuple[str, int]:
        """The host and the port that a server was reached at."""
        if self.settings.is_cluster:
            return split_address(server.place)
        return self.connection.host, self.connection.port  # also where Sentinels told them

    @property
    def socket(self) -> str:
        """The path of the Unix socket that Redis is reached over; empty where it is a host and a port."""
        return self.connection.socket

    def process(self, server: Inspector) -> Process:
        """The server's own process, where it provably runs on this machine.

        Raises:
            Skip: that cannot be proven.
        """
        return self.kept(f"process of {server.place}", lambda: local_process(self, server))

    # The database

    def with_database(self) -> None:
        """Do nothing where the database answers.

        Raises:
            Skip: it does not.
        """
        try:
            self.kept("database", self.store.database.ping)
        except CheckoutError as error:
            raise Skip(f"the database does not answer: {error}") from error


def still_answers(failure: Failure) -> bool:
    """Whether a server that refuses a PING answers other questions.

    One whose saves fail refuses PING too (MISCONF), and one that loads its data or may not be pinged answers INFO.
    """
    return isinstance(failure.error, (RedisLoading, RedisRefusing, CommandDenied))


_ELSEWHERE = "not provable that the server runs on this machine"


def local_process(patient: Patient, server: Inspector) -> Process:
    """The process of this machine that is a server: a host name alone proves nothing, for it may be forwarded.

    A container or a tunnel has process ids of its own, so the process must be a Redis and hold the very port too.

    Raises:
        Skip: that cannot be proven.
    """
    machine, host, port = patient.machine, *patient.address(server)
    if not patient.socket and not machine.is_here(host):
        raise Skip(f"{_ELSEWHERE}: {host} is another one")
    try:
        pid = server.info().integer("process_id")
    except CheckoutError as refusal:
        raise Skip(f"{_ELSEWHERE}: {missing_grant(refusal) or refusal}") from refusal
    process = machine.process(pid) if pid else None
    if process is not None and process.is_server:
        if not patient.socket and port in machine.ports_of([process]):
            return process
        # The kernel says who listens on a Unix socket: another one, where it is a container's or was forwarded.
        if patient.socket and machine.listener_of_socket(patient.socket, patient.settings.timeout) == pid:
            return process
    where = patient.socket or f"port {port}"
    raise Skip(f"{_ELSEWHERE}: no Redis process {pid} listens on {where} here")


def ago(seconds: float) -> str:
    """A span of time in its largest unit of which there are two."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
