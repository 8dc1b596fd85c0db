"""What ``top`` sees, made up."""

from __future__ import annotations

from dataclasses import replace

from checkout_cli.commands.health.health import HealthReport, RedisHealth, SessionsHealth, Status, TierHealth
from checkout_cli.commands.health.snapshot import Snapshot
from checkout_cli.commands.memory.growth import Growth
from checkout_cli.commands.memory.show import MemoryLook
from checkout_cli.commands.sessions.ending_soon import EndingSoon
from checkout_cli.commands.slowlog.slowlog import ShapeTotal
from checkout_cli.commands.sync.sync import PendingCounts
from checkout_cli.commands.top.top import TopLook
from checkout_cli.domain.statistics import CacheCounts, Minute, Source, StatisticsReport, TierShares
from checkout_cli.errors import RedisUnavailable
from checkout_cli.session import Session, TierName
from checkout_cli.store.records import Count, Sighting

TIERS = TierShares({"redis": 90, "database": 10, "memory": 0}, {"redis": 0, "database": 20, "memory": 0}, unpublished=3)
NOW = 1_760_000_000_000


def health(status: Status = Status.HEALTHY, pending: int = 0) -> HealthReport:
    redis = RedisHealth(True, 0.0002, serving=True)
    if status is not Status.HEALTHY:
        redis = RedisHealth(False, problem=RedisUnavailable("Redis is away", hint="checkoutctl ping"))
    sessions = SessionsHealth(Count(1234, TierName.REDIS))
    tier = TierHealth(True, 0.0001)
    return HealthReport(NOW, None, redis, tier, tier, sessions, status, PendingCounts(pending, 0, 0))


def sighting(number: int, status: object = "pending", *, total: float | None = 24.5) -> Sighting:
    session = Session(f"{number:08x}-0000", {"paymentStatus": status, "totalAmount": total}, 1, TierName.REDIS)
    return Sighting(f"{number:08x}-0000", TierName.REDIS, session, NOW + number * 1000, 100)


def look_of(**changes: object) -> TopLook:
    minutes = tuple(Minute(NOW + n * 60_000, n, n // 2, n % 3, 0, n) for n in range(15))
    caches = {"delivery": CacheCounts(hit=90, miss=10), "coupon": CacheCounts()}
    report = StatisticsReport(Source.REDIS, NOW, minutes, 3600, caches=caches, tiers=TIERS)
    shot = Snapshot(NOW, 0.02, health(), {}, report, {"paid": 30, "pending": 4})
    memory = MemoryLook(
        "h:1", 50 << 20, 100 << 20, limit_known=True, policy="noeviction", growth=Growth(60, 1 << 20, 0)
    )
    slow = (ShapeTotal("KEYS", "sessions", 3, 0.3, 0.2), ShapeTotal("EVAL", "", 1, 0.1, 0.1))
    ending = EndingSoon(tuple(map(sighting, range(10))))
    return replace(TopLook(shot, (memory,), slow, "", ending), **changes)  # type: ignore[arg-type]
