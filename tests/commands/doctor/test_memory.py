from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from checkout_cli.checks import Status
from checkout_cli.commands.doctor.memory import (
    eviction_policy,
    expiry_lag,
    fragmentation,
    memory_headroom,
    memory_limit,
    memory_overheads,
)
from checkout_cli.config.settings import Settings
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.doctoring import Told, finding
from tests.support.odd_servers import OddServer
from tests.support.servers import ValkeyServer
from tests.support.stores import make_tables

MIB = 1 << 20


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"maxmemory": 0, "used_memory": MIB, "total_system_memory": 1024 * MIB}, Status.WARN),
        ({"maxmemory": 0, "used_memory": MIB}, Status.WARN),
        ({"maxmemory": 100 * MIB, "used_memory": MIB, "total_system_memory": 1024 * MIB}, Status.OK),
        ({"maxmemory": 2048 * MIB, "used_memory": MIB, "total_system_memory": 1024 * MIB}, Status.WARN),
    ],
)
def test_a_limit_is_there_and_fits_the_machine(fields: dict[str, int], status: Status) -> None:
    assert memory_limit(None, Told(**fields)).status is status  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("used", "buffers", "status"),
    [(79, 0, Status.OK), (80, 0, Status.WARN), (94, 0, Status.WARN), (95, 0, Status.CRIT), (95, 20, Status.OK)],
)
def test_headroom_counts_what_redis_counts(used: int, buffers: int, status: Status) -> None:
    told = Told(maxmemory=100, used_memory=used, mem_not_counted_for_evict=buffers)
    assert memory_headroom(None, told).status is status  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "used", "sessions", "status"),
    [
        ("noeviction", 99, 5, Status.OK),
        ("volatile-ttl", 10, 5, Status.WARN),
        ("volatile-ttl", 80, 5, Status.CRIT),
        ("volatile-lru", 10, 0, Status.OK),
        ("allkeys-lru", 10, 5, Status.CRIT),
        ("allkeys-random", 10, 0, Status.CRIT),
    ],
)
def test_a_policy_is_judged_by_what_it_would_evict(policy: str, used: int, sessions: int, status: Status) -> None:
    told = Told(sessions, maxmemory=100, used_memory=used, maxmemory_policy=policy)
    in_database_mode = SimpleNamespace(settings=Settings())
    assert eviction_policy(in_database_mode, told).status is status  # type: ignore[arg-type]
    writes_behind = SimpleNamespace(settings=Settings(durability="redis"))
    expected = Status.OK if policy == "noeviction" else Status.CRIT
    assert eviction_policy(writes_behind, told).status is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ratio", "lost", "status"),
    [
        (5.0, 5 * MIB, Status.OK),
        (1.5, 11 * MIB, Status.WARN),
        (1.3, 11 * MIB, Status.OK),
        (0.9, -11 * MIB, Status.WARN),
    ],
)
def test_a_ratio_counts_only_where_bytes_are_at_stake(ratio: float, lost: int, status: Status) -> None:
    told = Told(mem_fragmentation_ratio=ratio, mem_fragmentation_bytes=lost)
    assert fragmentation(None, told).status is status  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"used_memory_peak": 200 * MIB}, "peak"),
        ({"mem_clients_normal": 3 * MIB, "connected_clients": 2}, "per client"),
        ({"mem_clients_slaves": 30 * MIB, "connected_slaves": 1}, "per replica"),
        ({"number_of_cached_scripts": 1001}, "scripts"),
    ],
)
def test_each_overhead_is_named(fields: dict[str, int], word: str) -> None:
    found = memory_overheads(None, Told(used_memory=100 * MIB, **fields))  # type: ignore[arg-type]
    assert found.status is Status.WARN
    assert word in found.evidence
    assert memory_overheads(None, Told(used_memory=100 * MIB)).status is Status.OK  # type: ignore[arg-type]


def test_dead_keys_that_pile_up_are_a_warning() -> None:
    assert expiry_lag(None, Told(expired_stale_perc="10.50")).status is Status.WARN  # type: ignore[arg-type]
    assert expiry_lag(None, Told(expired_stale_perc="9.50")).status is Status.OK  # type: ignore[arg-type]


@pytest.mark.parametrize("odd", ["full, allkeys-lru"], indirect=True)
def test_evictions_are_critical_and_counted_since_the_last_run(odd: OddServer, tmp_path: Path) -> None:
    first = finding(odd.settings(), "evictions", tmp_path)
    assert first.status is Status.CRIT
    assert first.numbers["evicted"] > 0
    again = finding(odd.settings(), "evictions", tmp_path)
    assert (again.status, again.numbers) == (Status.CRIT, first.numbers)  # for an hour
    assert "keys were evicted until 0 s ago" in again.evidence
    assert finding(odd.settings(), "eviction-policy", tmp_path).status is Status.CRIT


def test_sessions_are_counted_for_the_evidence(valkey_server: Callable[..., ValkeyServer], tmp_path: Path) -> None:
    server = valkey_server("--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru")
    settings = Settings(
        redis_host="127.0.0.1", redis_port=server.port, database_url=f"sqlite:///{tmp_path / 'checkout.db'}"
    )
    with CheckoutStore.open(settings) as store:
        make_tables(store.database)
        assert finding(settings, "eviction-policy", tmp_path).status is Status.OK
        behind = replace(settings, durability="redis")
        assert finding(behind, "eviction-policy", tmp_path).status is Status.CRIT, "what is dirty could be evicted"
        store.create({})
    found = finding(settings, "eviction-policy", tmp_path)
    assert (found.status, found.numbers) == (Status.WARN, {"sessions": 1})
