"""The demonstration: the real commands on a real server that is then killed, and a count of what that has cost.

Everything lives in one temporary directory and in processes of our own, and all of it goes away with the
:class:`Demonstration`, whatever ends it.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import itertools
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Self

from checkout_cli.commands.demo.data import (
    EXPIRED_LIFE,
    LIFE,
    Fate,
    Invented,
    invented_sessions,
    legacy_session,
    order_id,
)
from checkout_cli.config.settings import VARIABLES, Settings
from checkout_cli.errors import ExitCode, SessionNotFound
from checkout_cli.keys import INDEX, session_key
from checkout_cli.servers.embedded import DURABLE, HOST, STOP_SIGNALS, EmbeddedServer, uninterrupted
from checkout_cli.session import Acknowledgement, PaymentStatus, Session
from checkout_cli.store.checkout_store import CheckoutStore

NUMBERS = {
    Fate.BROWSING: 150,
    Fate.PAYING: 15,
    Fate.PAID: 60,
    Fate.FAILED: 15,
    Fate.CANCELLED: 8,
    Fate.ENDING: 12,
    Fate.EXPIRED: 40,
}
"""How many sessions of each fate are written."""
TAKEN_IN = 1
"""The version that an external writer's session gets before our first write becomes the next one."""
SHOW_TIME = 15.0
"""After so many seconds pauses are left out, so that a slow machine is not made slower."""
COMMAND_TIMEOUT = 20.0
"""How long one command may take before it is killed, in seconds."""
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
    """The shop has sessions now: how many of each fate, and of what older programs and accidents have left."""

    numbers: Mapping[Fate, int]
    corrupt: int
    legacy: int
    seconds: float


@dataclass(frozen=True)
class CommandStarted:
    """The arguments of a command line that runs next; its output goes straight to stdout."""

    arguments: tuple[str, ...]


@dataclass(frozen=True)
class CommandEnded:
    """How it ended, and how it should have."""

    arguments: tuple[str, ...]
    exit_code: int
    expected: ExitCode


@dataclass(frozen=True)
class ServerKilled:
    """The server got SIGKILL and is gone."""

    pid: int


@dataclass(frozen=True)
class ChangedMeanwhile:
    """The library changed so many sessions with the server away."""

    number: int


@dataclass(frozen=True)
class Verdict:
    """What became of every write that was acknowledged, and of the commands.

    ``lost`` names the sessions that are gone, or not what was acknowledged; ``risen`` those that had expired and are
    back; ``unexpected`` the commands with another exit code than they should have.
    """

    acknowledged: int
    sessions: int
    lost: tuple[str, ...]
    expired: int
    risen: tuple[str, ...]
    unexpected: tuple[CommandEnded, ...]

    @property
    def passed(self) -> bool:
        return not (self.lost or self.risen or self.unexpected)


@dataclass(frozen=True)
class ServersKept:
    """Everything stays up until the process is interrupted; ``environment`` is what other commands need."""

    environment: Mapping[str, str]


Event = (
    ServerStarted
    | SessionsWritten
    | CommandStarted
    | CommandEnded
    | ServerKilled
    | ChangedMeanwhile
    | Verdict
    | ServersKept
)


@dataclass
class _Promise:
    """What the store has acknowledged of one session; ``version`` is ``None`` where a foreign program wrote it."""

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

    Leaving the ``with``, also by SIGINT, SIGTERM or SIGHUP (which all raise ``KeyboardInterrupt`` inside it), ends
    every process and removes every file.
    """

    def __init__(
        self,
        *,
        fast: bool = False,
        keep: bool = False,
        chance: random.Random | None = None,
        numbers: Mapping[Fate, int] = NUMBERS,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fast = fast
        self._keep = keep
        self._chance = chance or random.Random()  # noqa: S311  (of a demonstration, not of a key)
        self._numbers = dict(numbers)
        self._sleep = sleep
        self._clock = clock
        self._started = clock()
        self._directory: Path | None = None
        self._server: EmbeddedServer | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._handlers: dict[int, Any] = {}
        self._environment: dict[str, str] = {}
        self._promises: dict[str, _Promise] = {}
        self._acknowledged = 0
        self._expired: list[str] = []
        self._unexpected: list[CommandEnded] = []
        self.verdict: Verdict | None = None

    def __enter__(self) -> Self:
        atexit.register(self.close)  # should an interrupt come before __exit__ has begun
        # Interrupted in the middle of closing a connection, SQLAlchemy would log that with a traceback.
        logging.getLogger("sqlalchemy").addHandler(logging.NullHandler())
        try:
            self._handlers = _interrupt_once()
            with uninterrupted():
                self._directory = Path(tempfile.mkdtemp(prefix="checkoutctl-demo-"))
                server_directory = self._directory / "server"
                server_directory.mkdir()
                self._server = EmbeddedServer(server_directory, *DURABLE)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process and remove every file; an interrupt waits until that is done."""
        try:
            with uninterrupted():
                if self._child is not None:
                    _end(self._child)
                    self._child = None
                if self._server is not None:
                    self._server.kill()
                    self._server = None
                if self._directory is not None:
                    shutil.rmtree(self._directory)
                    self._directory = None
                atexit.unregister(self.close)
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            self._handlers = {}

    def events(self) -> Iterator[Event]:
        """The demonstration, step by step; each event is yielded when it has happened, or is about to."""
        server = self._server
        assert server is not None, "use it in a with"  # noqa: S101  (a mistake of the caller)
        server.start()
        settings = self._settings(server.port)
        self._environment = _environment(settings)
        yield ServerStarted(server.pid or 0, server.port, self._place)
        yield self._write_sessions(settings)
        yield from self._run("health")
        yield from self._run("sessions", "list", "--limit", "8")
        yield from self._run("cleanup", "--expired")

        killed = server.pid or 0
        server.kill()
        yield ServerKilled(killed)
        chosen = self._chosen()
        yield from self._run("sessions", "show", chosen[:8])
        yield from self._update(chosen, "notes", "Ring the bell, please")
        yield self._change_meanwhile(settings)
        yield from self._run("health", expected=ExitCode.FINDING)

        server.start()
        yield ServerStarted(server.pid or 0, server.port, self._place, again=True)
        yield from self._run("health")
        self.verdict = self._compare(settings)
        yield self.verdict
        if self._keep:
            yield ServersKept(_addresses(settings))
            _until_interrupted()

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.OK if self.verdict is not None and self.verdict.passed else ExitCode.FINDING

    @property
    def _place(self) -> Path:
        assert self._directory is not None, "use it in a with"  # noqa: S101  (a mistake of the caller)
        return self._directory

    def _settings(self, port: int) -> Settings:
        return Settings(
            redis_host=HOST,
            redis_port=port,
            database_url=f"sqlite:///{self._place / 'checkout.db'}",
            timeout=2.0,
        )

    def _write_sessions(self, settings: Settings) -> SessionsWritten:
        over = started = self._clock()
        invented = invented_sessions(self._numbers, self._chance, int(started * 1000))
        for life, sessions in itertools.groupby(invented, key=lambda session: session.life):
            with CheckoutStore.open(dataclasses.replace(settings, session_ttl=life)) as store:
                store.database.create_schema()
                for session in sessions:
                    self._write(store, session)
            if life == EXPIRED_LIFE:  # they are the oldest, and so the first
                over = self._clock() + EXPIRED_LIFE
        self._write_foreign(settings)
        time.sleep(max(0.0, over - self._clock()))
        return SessionsWritten(self._numbers, corrupt=1, legacy=1, seconds=self._clock() - started)

    def _write(self, store: CheckoutStore, session: Invented) -> None:
        acknowledgement = store.create(session.fields, checkout_id=session.checkout_id)
        if session.fate is Fate.EXPIRED:
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
        """What the shop's older programs leave: a value without our header, and half of one."""
        import msgspec
        import redis

        now = int(self._clock() * 1000)
        whole, fields = legacy_session(self._chance, now)
        half, broken = legacy_session(self._chance, now)
        body = msgspec.json.encode(broken)
        with redis.Redis(host=settings.redis_host, port=settings.redis_port, socket_timeout=settings.timeout) as client:
            client.set(session_key(whole), msgspec.json.encode(fields), ex=LIFE)
            client.set(session_key(half), body[: len(body) // 2], ex=LIFE)
            client.zadd(INDEX, dict.fromkeys((whole, half), now + LIFE * 1000))
        self._acknowledged += 1
        self._promises[whole] = _Promise(None, fields)

    def _chosen(self) -> str:
        return [checkout_id for checkout_id, promise in self._promises.items() if promise.is_open][-1]

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
        changed = 0
        with CheckoutStore.open(settings) as store:
            for checkout_id, promise in list(self._promises.items()):
                if changed < WRITTEN_MEANWHILE and promise.is_open:
                    self._promise(store.update(checkout_id, {"notes": f"changed while Redis was away ({changed})"}))
                    changed += 1
        return ChangedMeanwhile(changed)

    def _compare(self, settings: Settings) -> Verdict:
        lost, risen = [], []
        with CheckoutStore.open(settings) as store:
            for checkout_id, promise in self._promises.items():
                try:
                    kept = promise.kept_by(store.get(checkout_id))
                except SessionNotFound:
                    kept = False
                if not kept:
                    lost.append(checkout_id)
            for checkout_id in self._expired:
                with contextlib.suppress(SessionNotFound):
                    store.get(checkout_id)
                    risen.append(checkout_id)
        return Verdict(
            self._acknowledged,
            len(self._promises),
            tuple(lost),
            len(self._expired),
            tuple(risen),
            tuple(self._unexpected),
        )

    def _run(self, *arguments: str, expected: ExitCode = ExitCode.OK) -> Iterator[Event]:
        yield CommandStarted(arguments)
        with uninterrupted():
            self._child = subprocess.Popen(
                [sys.executable, "-m", "checkout_cli", *arguments],
                cwd=self._place,  # where no .env.local of the user's is
                env=self._environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches us alone, and we end the command in our own order
            )
        try:
            exit_code = self._child.wait(COMMAND_TIMEOUT)
        except subprocess.TimeoutExpired:
            _end(self._child)
            exit_code = self._child.returncode
        self._child = None
        ended = CommandEnded(arguments, exit_code, expected)
        if exit_code != expected:
            self._unexpected.append(ended)
        yield ended
        if not self._fast and self._clock() - self._started < SHOW_TIME:
            self._sleep(1.0)


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


def _interrupt_once() -> dict[int, Any]:
    """Let SIGTERM and SIGHUP do what Ctrl-C does, and nothing interrupt twice: the first one is clearing up.

    A signal that is ignored (``nohup``) stays so. Returns the handlers to restore.
    """
    interrupted = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        return {}
    return {
        number: signal.signal(number, interrupt)
        for number in STOP_SIGNALS
        if signal.getsignal(number) != signal.SIG_IGN
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(1.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _until_interrupted() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
