"""What all checks of doctor share: the store, the machine, and answers that several checks need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from checkout_cli.checks import Skip
from checkout_cli.commands.ping.explain import Attempt
from checkout_cli.commands.ping.ping import Ping
from checkout_cli.commands.ping.start_again import answered
from checkout_cli.commands.ping.summary import PingSummary
from checkout_cli.config.addresses import address_text, split_address
from checkout_cli.config.fixes import REDIS_CLI, with_address
from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    CheckoutError,
    CommandDenied,
    ReadOnlyAccount,
    RedisLoading,
    RedisRefusing,
    TooManyClients,
)
from checkout_cli.files.answered import AnswersFile
from checkout_cli.files.last_look import LASTING, LastLook, Reading
from checkout_cli.files.own_traces import monitors_since
from checkout_cli.keys import is_accepted_id, session_key
from checkout_cli.servers.inspection import Inspector, missing_grant
from checkout_cli.servers.machine import Machine, Process
from checkout_cli.store.checkout_store import CheckoutStore

COMMAND = "doctor"
PINGS = 20
"""Round trips to judge the latency by; at a fraction of a millisecond each they cost nothing."""
_MONITORS = "cmdstat_monitor"
SOME = 100
_ELSEWHERE = "not provable that the server runs on this machine"

_T = TypeVar("_T")


class DoctorContext:
    """The servers, settings and files that are examined."""

    def __init__(
        self, store: CheckoutStore, directory: Path, environ: Mapping[str, str], last_look: LastLook, machine: Machine
    ) -> None:
        """``directory`` is that of ``.env.local``, ``machine`` the one we run on. Sends nothing yet."""
        self.store = store
        self.settings: Settings = store.settings
        self.directory = directory
        self.environ = environ
        self.last_look = last_look
        self.machine = machine
        self.readings: dict[str, Reading] = {}
        """Counters of checks, beside those of the servers, to keep for the next run."""
        self._cache: dict[str, object] = {}

    def now(self) -> int:
        """Milliseconds since the epoch."""
        return self.store.clock.wall()

    def once(self, name: str, make: Callable[[], _T]) -> _T:
        """The result of ``make``, called once for all checks; its error too, raised each time."""
        if name not in self._cache:
            try:
                self._cache[name] = make()
            except CheckoutError as error:
                self._cache[name] = error
        found = self._cache[name]
        if isinstance(found, CheckoutError):
            raise found
        return found  # type: ignore[return-value]  # the result of ``make``, under that name

    # Redis

    @cached_property
    def attempt(self) -> Attempt:
        """Some round trips to Redis."""
        summary = Ping(self.settings, count=PINGS, interval=0.0).run()
        answers = AnswersFile(self.last_look.directory)
        return Attempt(self.settings, summary, self.machine, answers, self.store.clock.wall(), self._some_sessions)

    def _some_sessions(self) -> list[str]:
        """Keys of some sessions that the database has."""
        try:
            page = next(self.store.database.living_ids(self.now()), {})
        except CheckoutError:
            return []
        return [session_key(name) for name in list(page)[:SOME] if is_accepted_id(name)]

    @property
    def connection(self) -> PingSummary:
        """The result of these round trips, stage by stage."""
        return self.attempt.summary

    @property
    def servers(self) -> list[Inspector]:
        """The Redis servers that answer: one, or a cluster's available primaries; raises ``Skip`` where none does."""
        failure = self.connection.failure
        # One whose saves fail refuses PING too (MISCONF); one that is loading, or may not be pinged, answers INFO.
        answers = failure is None or isinstance(failure.error, (RedisLoading, RedisRefusing, CommandDenied))
        if not answers and not self.settings.is_cluster:
            is_full = failure is not None and isinstance(failure.error, TooManyClients)
            raise Skip("Redis takes no more clients" if is_full else "Redis does not answer")
        return self.once("servers", self._inspectors)

    def note_answer(self, server: Inspector) -> None:
        """Remember who answers at this address; raises ``OSError``."""
        has_data = bool(server.info().names("db"))
        if (told := answered(server.info(), self.now(), had_data=has_data)) is not None:
            place = self.connection.socket or address_text(*self.address(server))
            AnswersFile(self.last_look.directory).note(place, told)

    def _inspectors(self) -> list[Inspector]:
        servers = [Inspector(server) for server in self.store.redis.servers()]
        for server in servers:
            with suppress(CheckoutError):  # each check that needs it will say so
                server.info()  # first of all: what we probe and are denied later is not to be counted as found
        missing = self.store.redis.missing_servers()
        return [server for server in servers if server.place not in missing]

    def reading(self, server: Inspector) -> Reading:
        """A server's counters now: every number of INFO's statistics, error statistics, memory and clients."""
        info = server.info()
        fields = {
            name: value
            for part in ("stats", "memory", "clients")
            for name, value in info.sections.get(part, {}).items()
        }
        counters = {name: float(value) for name, value in fields.items() if value.isdigit()}
        for prefix, count in (("errorstat_", "count"), ("cmdstat_", "calls")):
            counters |= {name: float(info.parts(name).get(count, "0")) for name in info.names(prefix)}
        if counters.get(_MONITORS):  # ours are no finding
            started_at = self.now() - (info.integer("uptime_in_seconds") or 0) * 1000 - 1000
            counters[_MONITORS] -= monitors_since(server.place, started_at, self.state)
        return Reading(self.now(), info.text("run_id") or "", counters)

    @property
    def state(self) -> Path | None:
        """Where commands of ours note what they do; ``None`` for the user's state directory."""
        return self.last_look.directory

    def earlier(self, server: Inspector) -> Reading | None:
        """The last run's reading; at the first look, that of a server's start within the hour."""
        uptime, now = server.info().integer("uptime_in_seconds"), self.now()
        young = uptime is not None and uptime * 1000 < LASTING
        start = Reading(now - (uptime or 0) * 1000, server.info().text("run_id") or "", {}) if young else None
        return self.last_look.previous(COMMAND, server.place) or start

    def grown(self, server: Inspector, counter: str, *, all_at_first: bool = False) -> tuple[float, str]:
        """How much a counter has grown, and since when in words; raises ``Skip`` where the server has no such one.

        The first look has nothing to compare with: an old counter has not grown, unless ``all_at_first``.
        """
        reading = self.reading(server)
        if counter not in reading.counters:
            raise Skip(f"this server does not count {counter}")
        earlier = self.earlier(server)
        if self.last_look.previous(COMMAND, server.place) is not None:
            return self.compared(server.place, reading, counter)
        number = reading.counters[counter]
        if earlier is None and number and not all_at_first:
            return 0.0, f"in this first look; {number:,.0f} since the server started"
        return number, "since the server started (first look)"

    def all_grown(self, server: Inspector, counters: Mapping[str, str]) -> tuple[dict[str, int], str]:
        """The counters that have grown, by their names, and since when (:meth:`grown`)."""
        grown, since = {}, ""
        for name, counter in counters.items():
            if server.info().text(counter) is not None:
                number, since = self.grown(server, counter)
                grown[name] = int(number)
        return {name: number for name, number in grown.items() if number}, since

    def compared(self, place: str, reading: Reading, counter: str) -> tuple[float, str]:
        """How much a counter has grown since the last run, or in one within the hour, and since when in words."""
        earlier = self.last_look.previous(COMMAND, place)
        if earlier is None:
            return 0.0, "in this first look"
        last = reading.growths(earlier, (counter,)).get(counter)
        if last is None or last.noticed_at == reading.taken_at:
            return last.number if last else 0.0, f"since the last run {ago(reading.seconds_since(earlier))} ago"
        return last.number, f"until {ago((reading.taken_at - last.noticed_at) / 1000)} ago"

    def address(self, server: Inspector) -> tuple[str, int]:
        """The host and the port that a server was reached at."""
        if self.settings.is_cluster:
            return split_address(server.place)
        return self.connection.host, self.connection.port  # the primary's, behind Sentinels

    def typeable(self, fix: str, server: Inspector | None = None) -> str:
        """A fix in which every redis-cli goes to this server, or to the one that answers."""
        if REDIS_CLI not in fix:
            return fix
        if server is None and self.settings.is_cluster:
            return with_address(fix, self.settings)
        summary = self.connection
        host, port = (summary.host, summary.port) if server is None else self.address(server)
        return with_address(fix, self.settings, address_text(host, port))

    def process(self, server: Inspector) -> Process:
        """The server's own process; raises ``Skip`` where it does not provably run on this machine."""
        return self.once(f"process of {server.place}", lambda: self._process(server))

    def _process(self, server: Inspector) -> Process:
        # A host name alone proves nothing, for it may be forwarded. A container or a tunnel has process ids of its own,
        # so the process must be a Redis and hold the very port too.
        machine, socket = self.machine, self.connection.socket
        host, port = self.address(server)
        if not socket and not machine.is_here(host):
            raise Skip(f"{_ELSEWHERE}: {host} is another one")
        try:
            pid = server.info().integer("process_id")
        except CheckoutError as refusal:
            raise Skip(f"{_ELSEWHERE}: {missing_grant(refusal) or refusal}") from refusal
        process = machine.process(pid) if pid else None
        if process is not None and process.is_server:
            # The kernel says who listens on a Unix socket: not a container's, nor one that was forwarded.
            listens = (
                machine.listener_of_socket(socket, self.settings.timeout) == pid
                if socket
                else port in machine.ports_of([process])
            )
            if listens:
                return process
        raise Skip(f"{_ELSEWHERE}: no Redis process {pid} listens on {socket or f'port {port}'} here")

    # The database

    def prove_write(self) -> None:
        """Write to the database, once for all checks."""
        self.once("database write", self.store.database.prove_write)

    def refused_write(self) -> CheckoutError | None:
        """Why nothing can be written to the database; ``None`` where that was just proven, or is not for us to say."""
        try:
            self.prove_write()
        except ReadOnlyAccount:
            return None
        except CheckoutError as error:
            return error
        return None

    def insist_on_database(self) -> None:
        """Raise ``Skip`` where the database does not answer."""
        try:
            self.once("database", self.store.database.ping)
        except CheckoutError as error:
            raise Skip(f"the database does not answer: {error}") from error


def ago(seconds: float) -> str:
    """A span of time in its largest unit of which there are two."""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
