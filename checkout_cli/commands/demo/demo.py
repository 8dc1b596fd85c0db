"""The demonstration: the real commands on a real server that is then killed, and a count of the damage.

Everything lives in one temporary directory and in processes of our own, and all of it goes away with the
:class:`Demonstration`, whatever ends it.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from checkout_cli.commands.demo.data import (
    EXPIRED_LIFE,
    LIFE,
    Invented,
    Outcome,
    invented_sessions,
    legacy_session,
    order_id,
)
from checkout_cli.config.settings import VARIABLES, Settings
from checkout_cli.errors import ExitCode, SessionNotFound
from checkout_cli.keys import INDEX, session_key
from checkout_cli.servers.embedded import DURABLE, HOST, EmbeddedServer, uninterrupted
from checkout_cli.session import Acknowledgement, PaymentStatus, Session
from checkout_cli.store.checkout_store import CheckoutStore

NUMBERS = {
    Outcome.BROWSING: 150,
    Outcome.PAYING: 15,
    Outcome.PAID: 60,
    Outcome.FAILED: 15,
    Outcome.CANCELLED: 8,
    Outcome.ENDING: 12,
    Outcome.EXPIRED: 40,
}
"""How many sessions of each outcome are written."""
TAKEN_IN = 1
"""The version that an external writer's session gets before our first write becomes the next one."""
SHOW_TIME = 15.0
"""After so many seconds there are no more pauses, so that a slow machine is not made slower."""
COMMAND_TIMEOUT = 20.0
"""How long one command may take before it is killed, in seconds."""
_POLL = 0.02
WRITTEN_MEANWHILE = 25
"""How many sessions the library changes while the server is down."""


@dataclass(frozen=True)
class ServerStarted:
    """The server answers; ``again`` where it had been killed before."""

    pid: int
    port: int
    directory: Path
    again: bool = False


@dataclass(frozen=True)
class SessionsWritten:
    """The shop has sessions now: so many of each outcome, and those that older programs and accidents have left."""

    numbers: Mapping[Outcome, int]
    corrupt: int
    legacy: int
    seconds: float


@dataclass(frozen=True)
class CommandStarted:
    """The arguments of a command line that runs next; its output goes straight to stdout."""

    arguments: tuple[str, ...]


@dataclass(frozen=True)
class CommandEnded:
    """A command has ended."""

    arguments: tuple[str, ...]
    exit_code: int
    expected: ExitCode


@dataclass(frozen=True)
class ServerKilled:
    """The server got SIGKILL and is gone."""

    pid: int


@dataclass(frozen=True)
class ChangedMeanwhile:
    """The library changed so many sessions without the server."""

    number: int


@dataclass(frozen=True)
class Verdict:
    """The outcome of every acknowledged write, and of the commands.

    ``lost`` names the sessions that are gone or not as acknowledged, ``risen`` those that had expired and are back,
    ``unexpected`` the commands with a wrong exit code. Where everything stays up, ``environment`` is what other
    commands need.
    """

    JSON_KEYS = "passed acknowledged sessions lost expired risen unexpected environment"

    acknowledged: int
    sessions: int
    lost: tuple[str, ...]
    expired: int
    risen: tuple[str, ...]
    unexpected: tuple[CommandEnded, ...]
    environment: Mapping[str, str] | None = None

    @property
    def passed(self) -> bool:
        return not (self.lost or self.risen or self.unexpected)


Event = ServerStarted | SessionsWritten | CommandStarted | CommandEnded | ServerKilled | ChangedMeanwhile | Verdict


@dataclass
class _Promise:
    """The acknowledged state of one session; ``version`` is ``None`` where an external writer wrote it."""

    version: int | None
    fields: dict[str, Any]

    @property
    def is_open(self) -> bool:
        return self.version is not None and self.fields.get("paymentStatus") == PaymentStatus.PENDING

    def kept_by(self, session: Session) -> bool:
        right_version = self.version is None or session.version == self.version
        return right_version and all(session.fields.get(name) == value for name, value in self.fields.items())


class Demonstration:
    """One run of ``checkoutctl demo``; use it in a ``with`` and iterate over :meth:`events`.

    Leaving the ``with`` ends every process and removes every file. SIGINT, SIGTERM and SIGHUP raise
    ``KeyboardInterrupt`` between two steps, and never in the middle of clearing up.
    """

    def __init__(
        self,
        *,
        fast: bool = False,
        keep: bool = False,
        quiet: bool = False,
        chance: random.Random | None = None,
        numbers: Mapping[Outcome, int] = NUMBERS,
    ) -> None:
        """Starts nothing yet; ``keep`` leaves all running at the end, ``quiet`` hides the commands' output."""
        self._fast = fast
        self._keep = keep
        self._output = subprocess.DEVNULL if quiet else None
        self._chance = chance or random.Random()  # noqa: S311  (of a demonstration, not of a key)
        self._numbers = dict(numbers)
        self._started = time.monotonic()
        self._environment: dict[str, str] = {}
        self._promises: dict[str, _Promise] = {}
        self._acknowledged = 0
        self._expired: list[str] = []
        self._unexpected: list[CommandEnded] = []
        self.verdict: Verdict | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._pause = stack.enter_context(uninterrupted())
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="checkoutctl-demo-"))
            self._directory = Path(name)
            server_directory = self._directory / "server"
            server_directory.mkdir()
            self._server = EmbeddedServer(server_directory, *DURABLE)
            stack.callback(self._server.kill)
            self._ending = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def events(self) -> Iterator[Event]:
        """The demonstration, step by step; each event is yielded when it has happened, or is about to."""
        server = self._server
        server.start()
        settings = self._settings(server.port)
        self._environment = _environment(settings)
        yield ServerStarted(server.pid or 0, server.port, self._directory)
        yield self._write_sessions(settings)
        yield from self._run("health")
        yield from self._run("sessions", "list", "--limit", "8")
        yield from self._run("cleanup", "--expired")

        killed = server.pid or 0
        server.kill()
        yield ServerKilled(killed)
        # The story follows the last session that is still to be paid.
        chosen = [checkout_id for checkout_id, promise in self._promises.items() if promise.is_open][-1]
        yield from self._run("sessions", "show", chosen[:8])
        yield from self._update(chosen, "notes", "Ring the bell, please")
        yield self._change_meanwhile(settings)
        yield from self._run("health", expected=ExitCode.FINDING)

        server.start()
        yield ServerStarted(server.pid or 0, server.port, self._directory, again=True)
        yield from self._run("health")
        self.verdict = self._compare(settings)
        yield self.verdict
        if self._keep:
            with suppress(KeyboardInterrupt):
                self._pause(math.inf)

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.OK if self.verdict is not None and self.verdict.passed else ExitCode.FINDING

    @property
    def next_step(self) -> str:
        return "checkoutctl setup --check"

    def _settings(self, port: int) -> Settings:
        url = f"sqlite:///{self._directory / 'checkout.db'}"
        return Settings(redis_host=HOST, redis_port=port, database_url=url, timeout=2.0)

    def _write_sessions(self, settings: Settings) -> SessionsWritten:
        started = time.time()
        over = started
        invented = invented_sessions(self._numbers, self._chance, int(started * 1000))
        for life, sessions in itertools.groupby(invented, key=lambda session: session.life):
            with CheckoutStore.open(settings.unchecked(session_ttl=life)) as store:
                store.database.create_schema()
                for session in sessions:
                    self._pause(0)
                    self._write(store, session)
            if life == EXPIRED_LIFE:  # they are the oldest, and so the first
                over = time.time() + EXPIRED_LIFE
        self._write_foreign(settings)
        self._pause(over - time.time())
        return SessionsWritten(self._numbers, corrupt=1, legacy=1, seconds=time.time() - started)

    def _write(self, store: CheckoutStore, session: Invented) -> None:
        acknowledgement = store.create(session.fields, checkout_id=session.checkout_id)
        if session.outcome is Outcome.EXPIRED:
            self._expired.append(session.checkout_id)
            return
        self._promise(acknowledgement)
        if session.status is not None:
            order = order_id(self._chance) if session.status is PaymentStatus.PAID else None
            self._promise(store.set_payment_status(session.checkout_id, session.status, order_id=order))

    def _promise(self, acknowledgement: Acknowledgement) -> None:
        session = acknowledgement.session
        self._acknowledged += 1
        self._promises[session.checkout_id] = _Promise(session.version, dict(session.fields))

    def _write_foreign(self, settings: Settings) -> None:
        """Write as the shop's older programs do: a value without our header, and half of one."""
        import msgspec
        import redis

        now = time.time_ns() // 1_000_000
        whole, fields = legacy_session(self._chance, now)
        half, broken = legacy_session(self._chance, now)
        body = msgspec.json.encode(broken)
        with redis.Redis(host=settings.redis_host, port=settings.redis_port, socket_timeout=settings.timeout) as client:
            client.set(session_key(whole), msgspec.json.encode(fields), ex=LIFE)
            client.set(session_key(half), body[: len(body) // 2], ex=LIFE)
            client.zadd(INDEX, dict.fromkeys((whole, half), now + LIFE * 1000))
        self._acknowledged += 1
        self._promises[whole] = _Promise(None, fields)

    def _update(self, checkout_id: str, field: str, value: str) -> Iterator[Event]:
        for event in self._run("sessions", "update", checkout_id, "--set", f"{field}={value}"):
            yield event
            if isinstance(event, CommandEnded) and event.exit_code == ExitCode.OK:
                promise = self._promises[checkout_id]
                fields = promise.fields | {field: value}
                del fields["expiresAt"]  # the write moved it, and only the command knows to when
                self._acknowledged += 1
                self._promises[checkout_id] = _Promise((promise.version or TAKEN_IN) + 1, fields)

    def _change_meanwhile(self, settings: Settings) -> ChangedMeanwhile:
        open_ones = [checkout_id for checkout_id, promise in self._promises.items() if promise.is_open]
        changed = open_ones[:WRITTEN_MEANWHILE]
        with CheckoutStore.open(settings) as store:
            for number, checkout_id in enumerate(changed):
                self._promise(store.update(checkout_id, {"notes": f"changed while Redis was away ({number})"}))
        return ChangedMeanwhile(len(changed))

    def _compare(self, settings: Settings) -> Verdict:
        """Ask the store, as the shop would, for everything that it has ever acknowledged."""
        lost, risen = [], []
        with CheckoutStore.open(settings) as store:
            for checkout_id, promise in self._promises.items():
                self._pause(0)
                try:
                    kept = promise.kept_by(store.get(checkout_id))
                except SessionNotFound:
                    kept = False
                if not kept:
                    lost.append(checkout_id)
            for checkout_id in self._expired:
                with suppress(SessionNotFound):
                    store.get(checkout_id)
                    risen.append(checkout_id)
        return Verdict(
            self._acknowledged,
            len(self._promises),
            tuple(lost),
            len(self._expired),
            tuple(risen),
            tuple(self._unexpected),
            _addresses(settings) if self._keep else None,
        )

    def _run(self, *arguments: str, expected: ExitCode = ExitCode.OK) -> Iterator[Event]:
        """Run one command of this installation."""
        yield CommandStarted(arguments)
        child = subprocess.Popen(
            [sys.executable, "-m", "checkout_cli", *arguments],
            cwd=self._directory,  # where no .env.local of the user's is
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end the command in our own order
        )
        latest = time.monotonic() + COMMAND_TIMEOUT
        try:
            while child.poll() is None and time.monotonic() < latest:
                self._pause(_POLL)
        finally:
            if child.poll() is None:
                _end(child)
        ended = CommandEnded(arguments, child.returncode, expected)
        if child.returncode != expected:
            self._unexpected.append(ended)
        yield ended
        if not self._fast and time.monotonic() - self._started < SHOW_TIME:
            self._pause(1.0)


def _environment(settings: Settings) -> dict[str, str]:
    """Ours, without any setting of the user's: the demonstration must touch nothing but its own server."""
    names = {variable.name for variable in VARIABLES.values()}
    return {name: value for name, value in os.environ.items() if name not in names} | _addresses(settings)


def _addresses(settings: Settings) -> dict[str, str]:
    return {
        "REDIS_HOST": settings.redis_host,
        "REDIS_PORT": str(settings.redis_port),
        "DATABASE_URL": settings.database_url,
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
