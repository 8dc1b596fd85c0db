from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from checkout_cli.checks import Status
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.cluster import Cluster
from tests.support.doctoring import at, examined, finding
from tests.support.odd_servers import OddServer
from tests.support.servers import ValkeyServer

HEALTHY = ["topology", "loading", "write", "persistence", "replication", "clients", "refused-commands"]


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_primary_is_ok(name: str, valkey_server: Callable[..., ValkeyServer], tmp_path: Path) -> None:
    settings = at(valkey_server().port, timeout=2)
    assert finding(settings, name, tmp_path).status is Status.OK


def test_the_write_check_leaves_no_key(store: CheckoutStore, tmp_path: Path) -> None:
    assert finding(store.settings, "write", tmp_path).status is Status.OK
    assert store.redis.ask(("DBSIZE",)) == 0


@pytest.mark.parametrize("odd", ["replica"], indirect=True)
def test_a_replica_is_named_with_its_primary(odd: OddServer, tmp_path: Path) -> None:
    topology = finding(odd.settings(), "topology", tmp_path)
    assert topology.status is Status.CRIT
    assert "a replica of 127.0.0.1:" in topology.evidence
    assert topology.fix.startswith("checkoutctl config set REDIS_HOST=127.0.0.1 REDIS_PORT=")
    write = finding(odd.settings(), "write", tmp_path)
    assert (write.status, write.fix) == (Status.CRIT, "checkoutctl doctor --only topology")
    assert finding(odd.settings(), "replication", tmp_path).evidence == "a replica that follows its primary"


@pytest.mark.parametrize("odd", ["loading"], indirect=True)
def test_a_server_that_still_loads_says_how_long(odd: OddServer, tmp_path: Path) -> None:
    report = {result.check.id: result.finding for result in examined(odd.settings(2), tmp_path, "serving").results}
    assert report["loading"].status is Status.CRIT
    assert " s to go" in report["loading"].evidence
    assert report["write"].status is Status.SKIPPED
    assert report["topology"].status is Status.OK


@pytest.mark.parametrize("odd", ["full, noeviction"], indirect=True)
def test_a_full_server_is_told_by_its_own_word(odd: OddServer, tmp_path: Path) -> None:
    write = finding(odd.settings(), "write", tmp_path)
    assert (write.status, write.fix) == (Status.CRIT, "checkoutctl memory tune --advise")
    assert "OOM" in write.evidence
    assert finding(odd.settings(), "refused-commands", tmp_path / "first-look").numbers["OOM"] >= 1


def test_a_failed_save_is_critical(valkey_server: Callable[..., ValkeyServer], tmp_path: Path) -> None:
    server = valkey_server()
    settings = at(server.port, timeout=2)
    with server.client(socket_timeout=5) as client:
        client.set("x", "1")
        (server.directory / "dump.rdb").mkdir(exist_ok=True)  # a snapshot cannot take a directory's place
        (server.directory / "dump.rdb" / "x").write_text("")
        client.bgsave()
        while client.info("persistence")["rdb_bgsave_in_progress"]:
            pass
    found = finding(settings, "persistence", tmp_path)
    assert found.status is Status.CRIT
    assert "rdb_last_bgsave_status" in found.evidence


def test_durability_redis_without_an_append_only_file_is_a_warning(store: CheckoutStore, tmp_path: Path) -> None:
    careless = replace(store.settings, durability="redis")
    assert finding(careless, "persistence", tmp_path).status is Status.WARN
    assert finding(store.settings, "persistence", tmp_path).status is Status.OK


@pytest.mark.parametrize(
    ("how", "status", "loses"),
    [
        ("always", Status.OK, "no acknowledged write"),
        ("everysec", Status.OK, "last second"),
        ("no", Status.WARN, "30 s"),
    ],
)
def test_what_a_crash_can_take_of_dirty_sessions_is_told_by_appendfsync(
    valkey_server: Callable[..., ValkeyServer], tmp_path: Path, how: str, status: Status, loses: str
) -> None:
    server = valkey_server("--appendonly", "yes", "--appendfsync", how)
    found = finding(replace(at(server.port, timeout=2), durability="redis"), "persistence", tmp_path)
    assert (found.status, loses in found.evidence) == (status, True)
    assert "appendfsync" not in finding(at(server.port, timeout=2), "persistence", tmp_path).evidence


def test_connections_that_were_refused_are_critical(valkey_server: Callable[..., ValkeyServer], tmp_path: Path) -> None:
    server = valkey_server("--maxclients", "8")
    settings = at(server.port, timeout=2)
    assert finding(settings, "clients", tmp_path).status is Status.OK
    clients = [server.client() for _ in range(9)]
    for client in clients[:8]:
        client.ping()
    with pytest.raises(redis.ConnectionError, match="max number of clients"):
        clients[8].ping()
    for client in clients:
        client.close()
    refused = finding(settings, "clients", tmp_path)
    assert (refused.status, refused.numbers["rejected"]) == (Status.CRIT, 1)
    assert finding(settings, "clients", tmp_path).numbers["rejected"] == 1  # for an hour


def test_a_cluster_is_told_from_a_single_server(store: CheckoutStore, tmp_path: Path) -> None:
    with Cluster(tmp_path / "cluster") as cluster:
        as_one = replace(store.settings, redis_port=cluster.primaries[0].port)
        assert finding(as_one, "topology", tmp_path).fix == "checkoutctl config set REDIS_MODE=cluster"
        right = finding(replace(as_one, redis_mode="cluster"), "topology", tmp_path)
        assert right.status is Status.OK
        assert "all 16,384 slots served" in right.evidence
        cluster.primaries[2].kill()
        others = finding(replace(as_one, redis_mode="cluster"), "topology", tmp_path)
        assert (others.status, others.numbers["servers"]) == (Status.OK, 2)
        dead = finding(replace(as_one, redis_mode="cluster"), "connect", tmp_path)
        assert dead.status is Status.CRIT
        assert dead.numbers["missingServers"] == [f"127.0.0.1:{cluster.primaries[2].port}"]
    wrong = finding(replace(store.settings, redis_mode="cluster"), "topology", tmp_path)
    assert wrong.status is Status.CRIT
