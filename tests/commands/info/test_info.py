from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from checkout_cli.commands.info.info import BY_COMMAND, info_diff, server_info
from checkout_cli.errors import CommandDenied, CommandUnknown, InvalidInput
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.cluster import Cluster
from tests.support.odd_servers import OddServer
from tests.support.servers import ValkeyServer


def test_without_a_section_all_but_those_by_command_are_told(store: CheckoutStore) -> None:
    (server,) = server_info(store.redis).servers
    assert {"server", "memory", "stats", "replication"} <= set(server.sections)
    assert not BY_COMMAND & set(server.sections)
    assert "cmdstat_info" in server_info(store.redis, ["all"]).servers[0].sections["commandstats"]


def test_sections_are_told_by_name_whatever_its_case(store: CheckoutStore) -> None:
    (server,) = server_info(store.redis, ["Memory", "stats"]).servers
    assert set(server.sections) == {"memory", "stats"}


def test_an_unknown_section_is_refused_with_the_likeliest_one(store: CheckoutStore) -> None:
    with pytest.raises(InvalidInput, match="'memry'") as refused:
        server_info(store.redis, ["memry"])
    assert refused.value.hint.startswith("did you mean memory? ")


def test_what_changes_between_two_looks_is_told_and_nothing_else(store: CheckoutStore) -> None:
    waits: list[float] = []

    def meanwhile(seconds: float) -> None:
        waits.append(seconds)
        store.redis.ask(("SET", "checkout:lock:x", "1"))

    found = info_diff(store.redis, 7, ["keyspace", "replication"], sleep=meanwhile)
    assert waits == [7]
    assert [(change.name, change.before) for change in found.changes if change.section == "keyspace"] == [("db0", None)]
    assert all(change.before != change.after for change in found.changes)


def test_growth_is_that_of_numbers(store: CheckoutStore) -> None:
    found = info_diff(store.redis, 0, ["stats"], sleep=lambda _: None)
    commands = next(change for change in found.changes if change.name == "total_commands_processed")
    assert commands.growth is not None
    assert commands.growth >= 1
    assert replace(commands, before="ok").growth is None


@pytest.mark.parametrize("odd", ["no INFO", "denied INFO"], indirect=True)
def test_without_info_there_is_an_error_of_its_own_kind(odd: OddServer) -> None:
    with (
        CheckoutStore.open(odd.settings()) as store,
        pytest.raises(CommandUnknown if odd.name == "no INFO" else CommandDenied),
    ):
        server_info(store.redis)


def test_every_primary_of_a_cluster_is_asked_and_a_dead_one_is_missing(store: CheckoutStore, tmp_path: Path) -> None:
    with Cluster(tmp_path / "cluster") as cluster:
        settings = replace(store.settings, redis_port=cluster.primaries[0].port, redis_mode="cluster", timeout=2)
        with CheckoutStore.open(settings) as mine:
            assert len({server.place for server in server_info(mine.redis).servers}) == 3
            cluster.primaries[2].kill()
            report = server_info(mine.redis)
    assert len(report.servers) == 2
    assert report.missing == (f"127.0.0.1:{cluster.primaries[2].port}",)


def test_a_server_that_is_hung_is_unavailable(valkey_server: Callable[..., ValkeyServer], store: CheckoutStore) -> None:
    server = valkey_server()
    server.pause()
    from checkout_cli.errors import RedisUnavailable

    with (
        CheckoutStore.open(replace(store.settings, redis_port=server.port)) as mine,
        pytest.raises(RedisUnavailable, match="in time"),
    ):
        server_info(mine.redis)
