from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from checkout_cli.checks import Status
from checkout_cli.commands.doctor.speed import fork
from checkout_cli.servers.embedded import HOST
from tests.support.doctoring import Told, at, finding
from tests.support.proxy import Proxy
from tests.support.servers import ValkeyServer


@pytest.mark.parametrize("name", ["round-trip", "blocking-commands", "slow-log", "fork"])
def test_a_server_at_rest_is_ok(name: str, valkey_server: Callable[..., ValkeyServer], tmp_path: Path) -> None:
    found = finding(at(valkey_server().port, timeout=2), name, tmp_path)
    assert found.status is Status.OK or (name == "round-trip" and found.numbers["p99Ms"] > 10)  # of a busy machine


def test_slow_commands_are_counted_and_the_slowest_is_named(
    valkey_server: Callable[..., ValkeyServer], tmp_path: Path
) -> None:
    server = valkey_server()
    with server.client(socket_timeout=5) as client:
        client.execute_command("DEBUG", "SLEEP", "0.02")
    found = finding(at(server.port, timeout=2), "slow-log", tmp_path)
    assert found.status is Status.WARN
    assert "the slowest DEBUG" in found.evidence
    assert found.numbers["slowestMs"] >= 20


def test_a_slow_log_that_is_off_is_a_warning(valkey_server: Callable[..., ValkeyServer], tmp_path: Path) -> None:
    server = valkey_server("--slowlog-log-slower-than", "-1")
    found = finding(at(server.port, timeout=2), "slow-log", tmp_path)
    assert (found.status, found.evidence) == (Status.WARN, "it is off")


def test_long_pauses_are_named_where_the_server_measures_them(
    valkey_server: Callable[..., ValkeyServer], tmp_path: Path
) -> None:
    off = finding(at(valkey_server().port, timeout=2), "latency-events", tmp_path)
    assert off.status is Status.SKIPPED
    server = valkey_server("--latency-monitor-threshold", "50")
    assert finding(at(server.port, timeout=2), "latency-events", tmp_path).status is Status.OK
    with server.client(socket_timeout=5) as client:
        client.execute_command("DEBUG", "SLEEP", "0.12")
    found = finding(at(server.port, timeout=2), "latency-events", tmp_path)
    assert found.status is Status.WARN
    assert "command took" in found.evidence


def test_a_slow_way_is_a_warning(valkey_server: Callable[..., ValkeyServer], tmp_path: Path) -> None:
    server = valkey_server()
    with Proxy((HOST, server.port)) as proxy:
        proxy.reply_delay = 0.02
        far = replace(at(server.port, timeout=2), redis_port=proxy.port)
        found = finding(far, "round-trip", tmp_path)
    assert found.status is Status.WARN
    assert found.numbers["medianMs"] >= 20


@pytest.mark.parametrize(("microseconds", "status"), [(0, Status.OK), (400_000, Status.OK), (600_000, Status.WARN)])
def test_a_fork_that_freezes_is_a_warning(microseconds: int, status: Status) -> None:
    assert fork(None, Told(latest_fork_usec=microseconds)).status is status  # type: ignore[arg-type]
