from __future__ import annotations

import pytest

from checkout_cli.commands.memory.limits import (
    POLICIES,
    Evicts,
    Limits,
    as_written,
    evicts,
    known_policy,
    size_in_bytes,
)
from checkout_cli.errors import InvalidInput
from tests.support.servers import ValkeyServer

SIZES = ("0", "1048576", "100b", "1k", "1kb", "3m", "3MB", "2g", "2gb")


@pytest.mark.parametrize("text", SIZES)
def test_a_size_means_what_the_server_takes_it_for(text: str, any_redis_server: ValkeyServer) -> None:
    with any_redis_server.client() as client:
        try:
            client.config_set("maxmemory", text)
            assert int(client.config_get("maxmemory")["maxmemory"]) == size_in_bytes(text)
        finally:
            client.config_set("maxmemory", "0")


@pytest.mark.parametrize("text", ["", "-1", "1.5gb", "10%", "256 mb", "1tb", "mb", "٣mb", "1e9", "9" * 30, "1mb\n"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        size_in_bytes(text)
    assert "256mb" in refused.value.hint


def test_the_policies_are_those_of_the_server(any_redis_server: ValkeyServer) -> None:
    with any_redis_server.client() as client:
        before = client.config_get("maxmemory-policy")["maxmemory-policy"]
        try:
            for policy in POLICIES:
                client.config_set("maxmemory-policy", known_policy(policy.upper()))
                assert client.config_get("maxmemory-policy")["maxmemory-policy"] == policy
        finally:
            client.config_set("maxmemory-policy", before)
    with pytest.raises(InvalidInput) as refused:
        known_policy("volatile")
    assert all(policy in refused.value.hint for policy in POLICIES)


@pytest.mark.parametrize("size", [0, 1, 1000, 1 << 10, 256 << 20, 3 << 30, (1 << 30) + 1])
def test_a_size_is_written_so_that_it_reads_back_exactly(size: int) -> None:
    assert size_in_bytes(as_written(size)) == size


def test_what_a_policy_evicts() -> None:
    assert evicts("noeviction") is Evicts.NOTHING
    assert evicts("volatile-ttl") is Evicts.KEYS_WITH_TTL
    assert evicts("allkeys-lfu") is Evicts.EVERY_KEY


def test_limits_are_merged_and_compared_by_what_they_say() -> None:
    today = Limits(100, "noeviction", 5)
    assert today.with_(Limits(policy="volatile-ttl")) == Limits(100, "volatile-ttl", 5)
    assert today.agrees_with(Limits(maxmemory=100))
    assert not today.agrees_with(Limits(maxmemory=0))
    assert today.only(Limits(samples=9)) == Limits(samples=5)
    assert Limits().is_empty
    assert not Limits(maxmemory=0).is_empty
