"""Everything that the metrics tell, gathered in a bounded number of questions; nothing is scanned."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from checkout_cli.commands.health.health import HealthReport
from checkout_cli.domain.statistics import Statistics, StatisticsReport
from checkout_cli.errors import CheckoutError
from checkout_cli.servers.inspection import Info, Inspector
from checkout_cli.store.checkout_store import CheckoutStore

MINUTES = 15
"""Over how many minutes conversion and cache hits are taken."""

T = TypeVar("T")


@dataclass(frozen=True)
class Snapshot:
    """``servers`` are those that answered INFO, by address; ``statuses`` count live sessions; ``None`` is unknown.

    ``taken_at`` is in milliseconds since the epoch, ``seconds`` how long it took.
    """

    taken_at: int
    seconds: float
    health: HealthReport
    servers: dict[str, Info]
    report: StatisticsReport | None
    statuses: dict[str, int] | None


def snapshot(store: CheckoutStore, look: Callable[[], HealthReport]) -> Snapshot:
    """Ask for everything; ``look`` is that of ``health``. What is away or denied leaves its part out."""
    started, now = time.perf_counter(), store.clock.wall()
    health = look()
    statistics = Statistics(store)
    enabled = store.settings.enable_statistics
    servers, report = {}, None
    if health.redis.connected:
        infos = {server.place: _known(Inspector(server).info) for server in store.redis.servers()}
        servers = {place: info for place, info in infos.items() if info is not None}
        if enabled:
            report = _known(lambda: statistics.read(MINUTES, now))
    elif enabled and health.database.connected:
        why = str(health.redis.problem)
        report = _known(lambda: statistics.without_redis(MINUTES, now, why))
    statuses = _known(lambda: statistics.living_by_status(now)) if health.database.connected else None
    return Snapshot(now, time.perf_counter() - started, health, servers, report, statuses)


def _known(question: Callable[[], T]) -> T | None:
    try:
        return question()
    except CheckoutError:  # its metrics are missing then, which an alert can be made of
        return None
