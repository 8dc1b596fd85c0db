from __future__ import annotations

import json
from dataclasses import replace

import pytest

from checkout_cli.commands.latency import view as latency_view
from checkout_cli.commands.latency.latency import CommandTimes, Event, ServerLatency
from checkout_cli.commands.latency.view import show_latency
from checkout_cli.servers.per_server import PerServer

SERVER = ServerLatency(
    "shop:6379",
    tuple(number / 10_000 for number in range(1, 101)),
    100,
    (Event("fork\x1b[2J", 1_763_900_000_000, 120, 300, ((1_763_900_000_000, 120),)),),
    "Look at \x1b[31mthis",
    0.02,
    0.01,
    tuple(CommandTimes(f"COMMAND{number}", 10, 0.5 / (number + 1), 0, number, 0.001, None) for number in range(12)),
    {"threshold": "needs +config|get"},
)


def told(server: ServerLatency, capsys: pytest.CaptureFixture[str]) -> str:
    show_latency(PerServer(0, (server,)), as_json=False)
    return capsys.readouterr().out


def test_round_trips_commands_pauses_and_what_is_unknown_are_all_there(capsys: pytest.CaptureFixture[str]) -> None:
    out = told(SERVER, capsys)
    assert out.startswith("100 round trips: min 0.100 ms, median 5.000 ms, p95 9.500 ms, p99 9.900 ms, max 10.000 ms\n")
    assert "COMMAND9" in out
    assert "and 2 more commands" in out
    assert "fork\\x1b[2J" in out
    assert "last fork: 20.000 ms (10.000 ms per GiB)" in out
    assert "LATENCY DOCTOR: Look at \\x1b[31mthis" in out
    assert "threshold unknown: needs +config|get" in out
    assert "\x1b" not in out


def test_a_monitor_that_is_off_says_how_to_switch_it_on(capsys: pytest.CaptureFixture[str]) -> None:
    for off in (replace(SERVER, threshold=0), replace(SERVER, threshold=None, advice="… monitoring is disabled …")):
        out = told(off, capsys)
        assert "next: redis-cli CONFIG SET latency-monitor-threshold 100" in out
        assert "LATENCY DOCTOR" not in out


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    show_latency(PerServer(0, (SERVER,)), as_json=True)
    (server,) = json.loads(capsys.readouterr().out)["servers"]
    assert len(server["commands"]) == 12
    assert len(server["samplesMs"]) == 100
    assert server["p99Ms"] == 9.9
    assert server["events"][0]["longestMs"] == 300


@pytest.mark.parametrize("samples", [(), (0.001,), (0.001,) * 50, (0.0, 0.1) * 8])
def test_a_distribution_of_too_little_has_no_bars(samples: tuple[float, ...]) -> None:
    assert latency_view._histogram(samples) == []


def test_the_bars_count_every_sample() -> None:
    lines = latency_view._histogram(SERVER.samples)
    assert sum(int(line.split()[-1]) for line in lines) == 100
