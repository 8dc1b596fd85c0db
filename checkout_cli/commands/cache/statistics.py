"""How well the caches work: what became of the reads of the last minutes."""

from __future__ import annotations

from dataclasses import dataclass

from checkout_cli.domain.statistics import CacheCounts, Statistics, whole_minutes
from checkout_cli.servers.per_server import Partial
from checkout_cli.store.checkout_store import CheckoutStore


@dataclass(frozen=True)
class CacheStatistics(Partial):
    """Counts by cache over whole ``minutes``; not ``enabled`` where the settings stop programs from counting."""

    SHOWN = "minutes enabled caches partial missingServers=missing"

    minutes: int
    caches: dict[str, CacheCounts]
    enabled: bool
    missing: tuple[str, ...] = ()


def cache_statistics(store: CheckoutStore, since: float) -> CacheStatistics:
    """The reads of the last ``since`` seconds, 60 to 3600. Raises InvalidInput, RedisUnavailable, AccessDenied."""
    minutes = whole_minutes(since)
    caches = Statistics(store).caches(minutes, store.clock.wall())
    return CacheStatistics(minutes, caches, store.settings.enable_statistics, tuple(store.redis.missing_servers()))
