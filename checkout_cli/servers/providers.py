"""The managed service behind a Redis, as far as its host name or INFO tells, and where its memory is set there.

Managed services take CONFIG away, because they set it themselves. Sources: Amazon ElastiCache, "Engine specific
parameters"; Azure Cache for Redis, "How to configure"; Azure Managed Redis, "Memory management"; Redis Cloud, "Data
eviction policies"; DigitalOcean, "eviction_policy"; Aiven, "Memory management and persistence"; Upstash, "Eviction".
Google Memorystore (a private address) and Heroku (a host of Amazon's) cannot be told.
"""

from __future__ import annotations

from dataclasses import dataclass

from checkout_cli.servers.inspection import Info


@dataclass(frozen=True)
class Provider:
    """A managed service, and where its limit and its policy are set."""

    name: str
    limit: str
    policy: str


_ELASTICACHE = Provider(
    "Amazon ElastiCache",
    limit="the node type and reserved-memory-percent (25 by default) in the cluster's parameter group",
    policy="maxmemory-policy in the cluster's own parameter group: aws elasticache modify-cache-parameter-group",
)
_MEMORYDB = Provider(
    "Amazon MemoryDB",
    limit="the node type",
    policy="maxmemory-policy in the cluster's own parameter group: aws memorydb update-parameter-group",
)
_AZURE_CACHE = Provider(
    "Azure Cache for Redis",
    limit="the cache's size, and maxmemory-reserved under Advanced settings in the portal",
    policy="maxmemory-policy under Advanced settings in the portal",
)
_AZURE_MANAGED = Provider(
    "Azure Managed Redis",
    limit="the instance's size",
    policy="the database's eviction policy in the portal",
)
_REDIS_CLOUD = Provider(
    "Redis Cloud",
    limit="the database's memory limit in the Redis Cloud console",
    policy="'Data eviction policy' of the database in the Redis Cloud console",
)
_DIGITALOCEAN = Provider(
    "DigitalOcean",
    limit="the cluster's plan",
    policy="'Eviction policy' in the cluster's settings, or eviction_policy in the API",
)
_AIVEN = Provider(
    "Aiven",
    limit="the service's plan",
    policy="the eviction policy in the service's advanced configuration in the Aiven Console",
)
_UPSTASH = Provider(
    "Upstash",
    limit="the database's plan",
    policy="'Eviction' in the database's configuration: off refuses writes when full, on has a policy of its own",
)

_SUFFIXES = (
    (".cache.amazonaws.com", _ELASTICACHE),
    (".cache.amazonaws.com.cn", _ELASTICACHE),
    (".redis.cache.windows.net", _AZURE_CACHE),
    (".redis.cache.chinacloudapi.cn", _AZURE_CACHE),
    (".redis.cache.usgovcloudapi.net", _AZURE_CACHE),
    (".redis.azure.net", _AZURE_MANAGED),
    (".redislabs.com", _REDIS_CLOUD),
    (".redis-cloud.com", _REDIS_CLOUD),  # *.redns.redis-cloud.com among them
    (".db.ondigitalocean.com", _DIGITALOCEAN),
    (".aivencloud.com", _AIVEN),
    (".upstash.io", _UPSTASH),
)


def provider_of(host: str, info: Info | None) -> Provider | None:
    """The managed service behind a host, where its name or INFO tells."""
    if info is not None and "elasticache" in (info.text("os") or "").lower():
        return _ELASTICACHE
    name = host.rstrip(".").lower()
    if ".memorydb." in name and name.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return _MEMORYDB
    return next((provider for suffix, provider in _SUFFIXES if name.endswith(suffix)), None)
