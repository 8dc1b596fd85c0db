"""SIGTERM and Ctrl-C end every command in time, with 130 and without a traceback, whatever hangs."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl
from tests.support.proxy import Proxy, proxied
from tests.support.stores import make_tables, wait_until

COMMANDS = [
    "doctor",
    "health",
    "sessions list",
    "sessions export",
    "sessions why session-0001",
    "cleanup --expired",
    "sync",
    "stats",
    "top --once",
    "info",
    "ping",
]
ENDED = 130
NOISE = ("Traceback", "Exception ignored", "KeyboardInterrupt", "cancellation", "psycopg")


@dataclass
class Silent:
    """A server that accepts and never answers."""

    port: int
    asked: Event = field(default_factory=Event)


@contextmanager
def silent_server() -> Iterator[Silent]:
    with socket.create_server((HOST, 0), backlog=128) as listener:
        found = Silent(listener.getsockname()[1])
        connections = []

        def accept() -> None:
            while True:
                try:
                    connections.append(listener.accept()[0])
                except OSError:
                    return
                found.asked.set()

        Thread(target=accept, daemon=True).start()
        yield found
        for connection in connections:
            connection.close()


def ends(process: subprocess.Popen[str], number: signal.Signals) -> None:
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == ENDED, said
    assert not any(word in said for word in NOISE), said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("words", COMMANDS)
def test_while_redis_never_answers(
    words: str, number: signal.Signals, checkoutctl: Checkoutctl, store: CheckoutStore
) -> None:
    with silent_server() as redis:
        process = checkoutctl.start(*words.split(), "--timeout", "60", env={"REDIS_PORT": str(redis.port)})
        assert redis.asked.wait(20)
        ends(process, number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("words", [words for words in COMMANDS if words not in {"info", "ping", "stats"}])
def test_while_postgresql_never_answers(
    words: str, number: signal.Signals, checkoutctl: Checkoutctl, store: CheckoutStore
) -> None:
    with silent_server() as database:
        url = f"postgresql://shop@{HOST}:{database.port}/shop"
        process = checkoutctl.start(*words.split(), "--timeout", "60", env={"DATABASE_URL": url})
        assert database.asked.wait(20)
        ends(process, number)


class Freezing(Proxy):
    """It passes on nothing any more once a request holds some bytes."""

    at = b""
    frozen = False

    def _request(self, link):  # type: ignore[no-untyped-def]
        if self.at in link.client.recv(65536, socket.MSG_PEEK):
            self.black_hole()
            self.frozen = True
        return super()._request(link)


@pytest.mark.parametrize("words", ["doctor", "sessions list", "cleanup --expired"])
def test_while_postgresql_hangs_in_the_middle_of_a_statement(
    words: str, checkoutctl: Checkoutctl, settings: Settings, postgres_url: str
) -> None:
    with CheckoutStore.open(Settings(database_url=postgres_url, redis_port=settings.redis_port)) as store:
        make_tables(store.database)
        store.create({}, checkout_id="session-0001")
    with proxied(postgres_url, Freezing) as database:
        database.proxy.at = b"checkoutctl_sessions"  # type: ignore[attr-defined]
        process = checkoutctl.start(*words.split(), "--timeout", "60", env={"DATABASE_URL": database.proxied_url})
        wait_until(lambda: database.proxy.frozen, 20)  # type: ignore[attr-defined]
        ends(process, signal.SIGTERM)


BLOCKED_RESOLVER = """
import ctypes, os, socket
def getaddrinfo(*_, **__):
    os.write(2, b"resolving\\n")  # past Python's stream, whose lock a thread must not hold when the process ends
    libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(256)
    libc.pthread_mutex_lock(mutex), libc.pthread_mutex_lock(mutex)  # which no signal interrupts
socket.getaddrinfo = getaddrinfo
"""


@pytest.mark.parametrize("words", ["doctor", "health", "sessions list"])
@pytest.mark.parametrize("what", ["REDIS_HOST", "DATABASE_URL"])
def test_while_a_name_is_not_resolved(
    what: str, words: str, checkoutctl: Checkoutctl, store: CheckoutStore, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCKED_RESOLVER)
    place = {"REDIS_HOST": "shop.example", "DATABASE_URL": "postgresql://shop@shop.example/shop"}[what]
    environment = {what: place, "PYTHONPATH": str(tmp_path)}
    process = checkoutctl.start(*words.split(), "--timeout", "60", env=environment)
    assert process.stderr is not None
    assert process.stderr.readline() == "resolving\n"
    ends(process, signal.SIGTERM)


LOST = """
import signal, time
from checkout_cli.cli.ending import end_when_told
end_when_told(0.1)
signal.signal(signal.SIGTERM, lambda *_: None)
print("goes on", flush=True)
time.sleep(60)
"""


def test_a_command_that_an_interruption_does_not_end_is_ended() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LOST], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "goes on\n"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (ENDED, "error: interrupted, and something still kept it waiting\n")


INTERRUPTED_EXEC = """
import signal, checkout_cli.cli.main as command
def run():
    try:
        exec("signal.raise_signal(signal.SIGTERM)", {"signal": signal})
    except KeyboardInterrupt:
        raise SystemExit(130)
command.main = run
from checkout_cli.__main__ import main
main()
"""


def test_an_interruption_in_generated_code_has_the_same_exit_code() -> None:
    assert subprocess.run([sys.executable, "-c", INTERRUPTED_EXEC], check=False).returncode == ENDED
