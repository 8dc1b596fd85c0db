"""Every way in which a server does not answer is told apart, within one time-out, with a fitting next step."""

from __future__ import annotations

import dataclasses
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from checkout_cli.commands.ping.ping import Ping
from checkout_cli.commands.ping.summary import Connected, Failure, PingSummary, RoundTrip, Stage, percentile
from checkout_cli.config.settings import Settings
from checkout_cli.errors import AccessDenied, ExitCode, RedisUnavailable
from checkout_cli.store.resolver import Deadline
from tests.support.ports import free_port
from tests.support.servers import ValkeyServer

TIMEOUT = 0.5
SLACK = 0.5
"""What a busy machine may add to a time-out."""

StartServer = Callable[..., ValkeyServer]


def no_sleep(_: float) -> None:
    """Tests do not wait."""


def pinged(settings: Settings, **options: object) -> PingSummary:
    pinging = Ping(settings, **{"sleep": no_sleep, "count": 1, **options})  # type: ignore[arg-type]
    for _ in pinging.events():
        pass
    return pinging.summary


def failure_of(settings: Settings) -> Failure:
    failure = pinged(settings).failure
    assert failure is not None
    return failure


@contextmanager
def impostor(handle: Callable[[socket.socket], None]) -> Iterator[Settings]:
    """Something that accepts connections and is not Redis; ``handle`` speaks for it."""
    stopping = threading.Event()

    def serve() -> None:
        while not stopping.is_set():
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                try:
                    handle(peer)
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        thread = threading.Thread(target=lambda: _until(stopping, serve), daemon=True)
        thread.start()
        try:
            yield Settings(redis_host="127.0.0.1", redis_port=listener.getsockname()[1], timeout=TIMEOUT)
        finally:
            stopping.set()
            thread.join(5)


def _until(stopping: threading.Event, serve: Callable[[], None]) -> None:
    while not stopping.is_set():
        serve()


def test_each_answer_is_handed_out_as_it_comes(settings: Settings) -> None:
    waits: list[float] = []
    pinging = Ping(settings, count=3, interval=0.7, sleep=waits.append)
    events = list(pinging.events())

    assert isinstance(events[0], Connected)
    assert list(events[0].stages) == [Stage.DNS, Stage.TCP]
    assert [event.sequence for event in events[1:] if isinstance(event, RoundTrip)] == [1, 2, 3]
    assert waits == [0.7, 0.7]
    assert pinging.summary.answered == pinging.summary.sent == 3
    assert pinging.summary.failure is None


def test_count_zero_goes_on_until_the_caller_stops(settings: Settings) -> None:
    pinging = Ping(settings, count=0, sleep=no_sleep)
    events = pinging.events()
    for _ in range(20):
        next(events)
    events.close()  # type: ignore[attr-defined]
    assert pinging.summary.answered == 19


def test_a_percentile_is_always_a_sample() -> None:
    samples = [0.4, 0.1, 0.3, 0.2]
    assert [percentile(samples, percent) for percent in (0, 50, 99, 100)] == [0.1, 0.2, 0.4, 0.4]
    assert percentile([], 50) is None


def test_a_deadline_ends_for_all_who_share_it() -> None:
    now = [10.0]
    deadline = Deadline(2.0, lambda: now[0])
    assert deadline.remaining() == 2.0
    now[0] = 12.0
    with pytest.raises(TimeoutError):
        deadline.remaining()


def test_a_name_without_an_address_is_a_dns_failure() -> None:
    failure = failure_of(Settings(redis_host="redis.invalid", timeout=5))
    assert failure.stage is Stage.DNS
    assert failure.error.exit_code is ExitCode.UNAVAILABLE
    assert failure.error.hint == "getent hosts redis.invalid"


@pytest.mark.parametrize("name", ["a" * 64 + ".example", ".."])
def test_a_name_that_cannot_be_a_name_is_a_dns_failure(name: str) -> None:
    assert failure_of(Settings().unchecked(redis_host=name, timeout=5)).stage is Stage.DNS


def test_a_resolver_that_hangs_costs_one_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(30) and [])
    began = time.monotonic()
    failure = failure_of(Settings(redis_host="redis.example", timeout=0.1))
    assert time.monotonic() - began < 0.1 + SLACK
    released.set()
    assert failure.stage is Stage.DNS
    assert "was not resolved" in str(failure.error)


def test_a_refused_port_is_a_tcp_failure_that_calls_the_doctor() -> None:
    failure = failure_of(Settings(redis_host="127.0.0.1", redis_port=free_port(), timeout=TIMEOUT))
    assert failure.stage is Stage.TCP
    assert isinstance(failure.error, RedisUnavailable)
    assert failure.error.hint == "checkoutctl doctor"


def test_a_server_that_accepts_and_never_answers_costs_one_time_out(valkey_server: StartServer) -> None:
    server = valkey_server("--requirepass", "secret")
    server.pause()
    began = time.monotonic()
    failure = failure_of(
        Settings(redis_host="127.0.0.1", redis_port=server.port, redis_password="secret", redis_db=1, timeout=TIMEOUT)
    )
    assert TIMEOUT <= time.monotonic() - began < TIMEOUT + SLACK
    assert failure.stage is Stage.AUTHENTICATION
    assert failure.error.exit_code is ExitCode.UNAVAILABLE
    assert "did not answer within 0.5 s" in str(failure.error)


def test_a_server_that_drips_its_answer_costs_one_time_out() -> None:
    def drip(peer: socket.socket) -> None:
        peer.recv(100)
        peer.sendall(b"+")
        while True:
            peer.sendall(b"P")
            time.sleep(0.05)

    with impostor(drip) as settings:
        began = time.monotonic()
        failure = failure_of(settings)
        assert time.monotonic() - began < TIMEOUT + SLACK
        assert failure.error.exit_code is ExitCode.UNAVAILABLE


def test_a_server_that_stops_answering_ends_the_pinging_with_what_was_measured(valkey_server: StartServer) -> None:
    server = valkey_server()
    settings = Settings(redis_host="127.0.0.1", redis_port=server.port, timeout=TIMEOUT)
    summary = pinged(settings, count=5, sleep=lambda _: server.pause())
    assert (summary.sent, summary.answered) == (2, 1)
    assert summary.failure is not None
    assert summary.failure.stage is Stage.COMMAND


def test_a_server_that_dies_meanwhile_is_unavailable(valkey_server: StartServer) -> None:
    server = valkey_server()
    summary = pinged(
        Settings(redis_host="127.0.0.1", redis_port=server.port, timeout=TIMEOUT),
        count=2,
        sleep=lambda _: server.kill(),
    )
    assert summary.answered == 1
    assert summary.failure is not None
    assert summary.failure.error.exit_code is ExitCode.UNAVAILABLE


@pytest.mark.parametrize("password", ["", "wrong"])
def test_credentials_that_are_refused_are_an_authentication_failure(valkey_server: StartServer, password: str) -> None:
    server = valkey_server("--requirepass", "secret")
    settings = Settings(redis_host="127.0.0.1", redis_port=server.port, redis_password=password, timeout=TIMEOUT)
    failure = failure_of(settings)
    assert failure.stage is Stage.AUTHENTICATION
    assert isinstance(failure.error, AccessDenied)
    assert failure.error.hint == "checkoutctl config set REDIS_PASSWORD"
    assert "wrong" not in str(failure.error)
    assert pinged(dataclasses.replace(settings, redis_password="secret")).answered == 1


def test_a_password_for_a_server_without_one_says_so(settings: Settings) -> None:
    failure = failure_of(dataclasses.replace(settings, redis_password="superfluous"))
    assert failure.stage is Stage.AUTHENTICATION
    assert failure.error.exit_code is ExitCode.DENIED
    assert failure.error.hint == "checkoutctl config unset REDIS_PASSWORD REDIS_PASSWORD_FILE"


def test_an_acl_user_without_ping_is_sent_to_the_check_of_grants(valkey_server: StartServer) -> None:
    server = valkey_server()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "-@all", "+get")
    failure = failure_of(
        Settings(
            redis_host="127.0.0.1",
            redis_port=server.port,
            redis_username="reader",
            redis_password="secret",
            timeout=TIMEOUT,
        )
    )
    assert failure.stage is Stage.COMMAND
    assert failure.error.exit_code is ExitCode.DENIED
    assert failure.error.hint == "checkoutctl acl check"


def test_a_database_number_that_is_not_there_is_a_configuration_error(settings: Settings) -> None:
    failure = failure_of(dataclasses.replace(settings, redis_db=999))
    assert failure.stage is Stage.COMMAND
    assert failure.error.exit_code is ExitCode.CONFIGURATION
    assert pinged(dataclasses.replace(settings, redis_db=1)).answered == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "an HTTP server"),
        (b"<!DOCTYPE HTML>\n<html>", "an HTTP server"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "something else"),
        (b"+OK\r\n", "something else"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "wants TLS"),
    ],
    ids=["HTTP", "old HTTP", "SSH", "another answer", "TLS alert"],
)
def test_what_is_not_redis_is_a_configuration_error_that_names_it(answer: bytes, words: str) -> None:
    def speak(peer: socket.socket) -> None:
        peer.recv(100)
        peer.sendall(answer)

    with impostor(speak) as settings:
        failure = failure_of(settings)
        assert failure.error.exit_code is ExitCode.CONFIGURATION
        assert words in str(failure.error)


def test_a_connection_closed_without_a_word_points_to_tls_too() -> None:
    with impostor(lambda _: None) as settings:
        failure = failure_of(settings)
        assert failure.error.exit_code is ExitCode.UNAVAILABLE
        assert "REDIS_TLS" in str(failure.error)


def test_protected_mode_is_a_denial() -> None:
    with impostor(lambda peer: peer.sendall(b"-DENIED Redis is running in protected mode\r\n")) as settings:
        failure = failure_of(settings)
        assert isinstance(failure.error, AccessDenied)
        assert "requirepass" in str(failure.error)


def test_a_server_that_is_loading_is_unavailable() -> None:
    def load(peer: socket.socket) -> None:
        peer.recv(100)
        peer.sendall(b"-LOADING Redis is loading the dataset in memory\r\n")

    with impostor(load) as settings:
        assert failure_of(settings).error.exit_code is ExitCode.UNAVAILABLE


def test_a_ping_sends_nothing_but_what_it_must() -> None:
    received: list[bytes] = []

    def answer(peer: socket.socket) -> None:
        received.append(peer.recv(1000))
        peer.sendall(b"+PONG\r\n")
        received.append(peer.recv(1000))

    with impostor(answer) as settings:
        assert pinged(settings).answered == 1
    assert received[0] == b"*1\r\n$4\r\nPING\r\n"


# TLS


def test_tls_to_a_plain_port_is_a_configuration_error_within_one_time_out(settings: Settings) -> None:
    began = time.monotonic()
    failure = failure_of(dataclasses.replace(settings, redis_tls=True))
    assert time.monotonic() - began < settings.timeout + SLACK
    assert failure.stage is Stage.TLS
    assert failure.error.exit_code is ExitCode.CONFIGURATION
    assert "REDIS_TLS=false" in failure.error.hint


def test_a_server_that_hangs_in_the_handshake_is_unavailable() -> None:
    with impostor(lambda _: time.sleep(TIMEOUT)) as settings:
        failure = failure_of(dataclasses.replace(settings, redis_tls=True))
        assert failure.stage is Stage.TLS
        assert failure.error.exit_code is ExitCode.UNAVAILABLE


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost that nobody trusts, with its key in the same file."""
    path = tmp_path / "server.pem"
    command = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    files = ["-keyout", str(path), "-out", str(tmp_path / "certificate.pem")]
    subprocess.run(["openssl", *command.split(), *files], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (tmp_path / "certificate.pem").read_bytes())
    return path


@contextmanager
def tls_server(certificate: Path) -> Iterator[Settings]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def answer(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True) as secured:
            secured.recv(100)
            secured.sendall(b"+PONG\r\n")

    with impostor(answer) as settings:
        yield dataclasses.replace(settings, redis_host="localhost", redis_tls=True, timeout=2.0)


@pytest.mark.needs("openssl")
def test_a_trusted_certificate_is_accepted(certificate: Path, tmp_path: Path) -> None:
    with tls_server(certificate) as settings:
        trusted = dataclasses.replace(settings, redis_tls_ca_file=str(tmp_path / "certificate.pem"))
        summary = pinged(trusted)
        assert summary.failure is None
        assert summary.connected is not None
        assert Stage.TLS in summary.connected.stages


@pytest.mark.needs("openssl")
def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    with tls_server(certificate) as settings:
        failure = failure_of(settings)
        assert failure.stage is Stage.TLS
        assert failure.error.exit_code is ExitCode.CONFIGURATION
        assert "REDIS_TLS_CA_FILE" in failure.error.hint


@pytest.mark.needs("openssl")
def test_a_certificate_for_another_name_is_refused(certificate: Path, tmp_path: Path) -> None:
    with tls_server(certificate) as settings:
        elsewhere = dataclasses.replace(
            settings, redis_host="127.0.0.1", redis_tls_ca_file=str(tmp_path / "certificate.pem")
        )
        assert failure_of(elsewhere).error.exit_code is ExitCode.CONFIGURATION


@pytest.mark.parametrize("content", [None, b"no certificate"], ids=["missing", "not PEM"])
def test_a_ca_file_that_is_none_is_a_configuration_error(
    settings: Settings, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    failure = failure_of(dataclasses.replace(settings, redis_tls=True, redis_tls_ca_file=str(path)))
    assert failure.error.exit_code is ExitCode.CONFIGURATION
    assert "REDIS_TLS_CA_FILE" in str(failure.error)
