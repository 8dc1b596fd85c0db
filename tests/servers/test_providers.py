from __future__ import annotations

import pytest

from checkout_cli.servers.inspection import Info
from checkout_cli.servers.providers import provider_of

HOSTS = {
    "shop.abc123.0001.euc1.cache.amazonaws.com": "Amazon ElastiCache",
    "master.shop.abc123.euc1.cache.amazonaws.com.": "Amazon ElastiCache",
    "clustercfg.shop.abc123.memorydb.eu-central-1.amazonaws.com": "Amazon MemoryDB",
    "shop.redis.cache.windows.net": "Azure Cache for Redis",
    "Shop.WestEurope.Redis.Azure.net": "Azure Managed Redis",
    "redis-12345.c1.eu-west-1-3.ec2.redislabs.com": "Redis Cloud",
    "redis-12345.c1.eu-west-1-3.ec2.redns.redis-cloud.com": "Redis Cloud",
    "db-redis-fra1-1-do-user-1-0.b.db.ondigitalocean.com": "DigitalOcean",
    "shop-project.a.aivencloud.com": "Aiven",
    "eu1-fine-fish-1.upstash.io": "Upstash",
}
UNKNOWN = (
    "10.0.0.3",  # a Memorystore's address looks like any private one
    "ec2-1-2-3-4.compute-1.amazonaws.com",  # Heroku, or anybody's machine
    "cache.amazonaws.com.example.org",
    "notupstash.io",
    "localhost",
    "",
)


@pytest.mark.parametrize(("host", "name"), HOSTS.items())
def test_a_managed_service_is_known_by_its_hosts(host: str, name: str) -> None:
    provider = provider_of(host, None)
    assert provider is not None
    assert provider.name == name
    assert provider.policy
    assert provider.limit


@pytest.mark.parametrize("host", UNKNOWN)
def test_a_host_that_may_be_anybodys_is_not_guessed(host: str) -> None:
    assert provider_of(host, Info({"server": {"os": "Linux 6.1.0 x86_64"}})) is None


def test_elasticache_says_so_itself_whatever_its_host_is_called() -> None:
    found = provider_of("redis.internal", Info({"server": {"os": "Amazon ElastiCache"}}))
    assert found is not None
    assert found.name == "Amazon ElastiCache"
