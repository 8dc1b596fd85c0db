from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl
from tests.support.servers import ValkeyServer
from tests.support.stores import wait_until


@contextmanager
def traffic(server: ValkeyServer) -> Iterator[None]:
    """A shopper who writes all the time."""
    over = threading.Event()

    def write() -> None:
        with server.client(socket_timeout=5) as client:
            while not over.is_set():
                client.set("checkout:session:4645c59d-c428-4017", "canary@shop.example")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


def watchers(server: ValkeyServer) -> int:
    with server.client() as client:
        return sum("O" in found["flags"] for found in client.client_list())


def test_it_ends_by_itself_and_shows_no_value(valkey: ValkeyServer, checkoutctl: Checkoutctl) -> None:
    with traffic(valkey):
        run = checkoutctl("monitor", "--seconds", "0.3", "--count", "20")
    assert run.returncode == 0
    assert "SET checkout:session:4645c59d… +1" in run.stdout
    assert "sessions" in run.stdout
    assert "canary" not in run.stdout + run.stderr
    assert "c428" not in run.stdout + run.stderr
    assert run.stderr.startswith("warning: MONITOR slows the server down")
    assert watchers(valkey) == 0


def test_json_is_a_stream_with_the_summary_last(valkey: ValkeyServer, checkoutctl: Checkoutctl) -> None:
    with traffic(valkey):
        run = checkoutctl("monitor", "--count", "5", "--command", "set", "--json")
    *events, last = [json.loads(line) for line in run.stdout.splitlines()]
    assert [event["command"] for event in events] == ["SET"] * 5
    assert last["summary"]["matched"] == 5
    assert last["summary"]["stopped"] == "enough commands"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_a_signal_leaves_no_monitor_behind(
    valkey: ValkeyServer, checkoutctl: Checkoutctl, number: signal.Signals, code: int
) -> None:
    process = checkoutctl.start("monitor", "--seconds", "60", "--json")
    wait_until(lambda: watchers(valkey) == 1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == code
    assert "Traceback" not in errors
    wait_until(lambda: watchers(valkey) == 0)


def test_bad_options_are_usage_errors(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    for arguments in (["--seconds", "0"], ["--seconds", "nan"], ["--count", "0"], ["--family", "session"]):
        assert checkoutctl("monitor", *arguments).returncode == 2
