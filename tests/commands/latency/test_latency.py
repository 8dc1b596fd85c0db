from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from checkout_cli.commands.latency.latency import Pause, measure_latency
from checkout_cli.errors import RedisUnavailable
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.odd_servers import OddServer
from tests.support.servers import ValkeyServer


def test_round_trips_are_measured_by_the_clock(store: CheckoutStore) -> None:
    ticks = itertools.count()
    (server,) = measure_latency(store.redis, 5, elapsed=lambda: float(next(ticks))).servers
    assert server.samples == (1.0,) * 5
    assert server.percentiles["p99Ms"] == 1.0


def test_commands_are_told_with_their_times_those_that_cost_most_first(
    any_redis_server: ValkeyServer, store: CheckoutStore
) -> None:
    with CheckoutStore.open(replace(store.settings, redis_port=any_redis_server.port)) as mine:
        with any_redis_server.client() as client:
            client.config_resetstat()
            client.execute_command("DEBUG", "SLEEP", "0.01")
            for _ in range(3):
                client.get("x")
        (server,) = measure_latency(mine.redis, 1).servers
    first = server.commands[0]
    assert (first.name, first.calls) == ("DEBUG", 1)
    assert first.mean >= 0.01
    get = next(command for command in server.commands if command.name == "GET")
    assert get.calls == 3
    assert get.p50 is not None
    assert get.p99 is not None
    assert get.p50 <= get.p99


def test_pauses_are_told_where_the_server_measures_them(
    valkey_server: Callable[..., ValkeyServer], store: CheckoutStore
) -> None:
    server = valkey_server("--latency-monitor-threshold", "20")
    with server.client(socket_timeout=5) as client:
        client.execute_command("DEBUG", "SLEEP", "0.03")
    with CheckoutStore.open(replace(store.settings, redis_port=server.port)) as mine:
        (found,) = measure_latency(mine.redis, 1).servers
    assert found.threshold == 20
    assert [(event.name, event.longest >= 30) for event in found.events] == [("command", True)]
    assert found.events[0].history == (Pause(found.events[0].latest_at, found.events[0].latest),)
    assert found.advice


def test_a_fork_is_told_by_gibibyte(valkey_server: Callable[..., ValkeyServer], store: CheckoutStore) -> None:
    server = valkey_server()
    with server.client(socket_timeout=5) as client:
        client.bgsave()
        while client.info("persistence")["rdb_bgsave_in_progress"]:
            pass
    with CheckoutStore.open(replace(store.settings, redis_port=server.port)) as mine:
        (found,) = measure_latency(mine.redis, 1).servers
    assert found.fork is not None
    assert found.fork_per_gibibyte is not None
    assert 0 < found.fork < found.fork_per_gibibyte


@pytest.mark.parametrize("odd", ["denied INFO", "no INFO", "denied CONFIG", "no CONFIG"], indirect=True)
def test_a_part_that_is_refused_says_so_and_the_others_answer(odd: OddServer) -> None:
    with CheckoutStore.open(odd.settings()) as store:
        (server,) = measure_latency(store.redis, 2).servers
    part = "commands" if odd.name.endswith("INFO") else "threshold"
    assert list(server.unknown) == [part]
    assert len(server.samples) == 2
    assert (server.threshold is None) == (part == "threshold")
    assert bool(server.commands) == (part != "commands")


@pytest.mark.parametrize("odd", ["hung", "loading"], indirect=True)
def test_a_server_that_does_not_serve_has_no_latency(odd: OddServer) -> None:
    with CheckoutStore.open(odd.settings()) as store, pytest.raises(RedisUnavailable):
        measure_latency(store.redis, 2)
