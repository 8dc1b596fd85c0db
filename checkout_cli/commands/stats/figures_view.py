"""Figures, rows and sentences that the plain text, the panel and ``top`` share."""

from __future__ import annotations

from checkout_cli.commands.ping.view import milliseconds
from checkout_cli.domain.statistics import (
    MINUTE,
    OUTCOMES,
    TRANSITIONS,
    CacheCounts,
    CallTimes,
    Minute,
    Source,
    StatisticsReport,
)
from checkout_cli.terminal.output import columns_of
from checkout_cli.units import span

PERCENTILES = ("p50", "p95", "p99")
UNKNOWN = "unknown"

MINUTE_COLUMNS = columns_of("minute", *(f"#{name}" for name in TRANSITIONS), "#conversion")


def number(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def percentage(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.1%}"


def share(value: int | None, whole: int | None) -> str:
    """One number as a percentage of another; empty where that says nothing."""
    return percentage(value / whole) if value is not None and whole else ""


def times_row(name: str, times: CallTimes) -> list[str]:
    values = (getattr(times, percentile) for percentile in PERCENTILES)
    return [name, f"{times.count:,}", *("" if value is None else milliseconds(value) for value in values)]


def cache_row(name: str, counts: CacheCounts) -> list[str]:
    return [name, f"{counts.reads:,}", *(percentage(counts.rate(outcome)) for outcome in OUTCOMES)]


def minute_row(minute: Minute, name: str) -> list[str]:
    numbers = (number(getattr(minute, transition)) for transition in TRANSITIONS)
    return [name, *numbers, share(minute.completed, minute.created)]


def call_times(report: StatisticsReport) -> list[tuple[str, CallTimes]]:
    both = (("create", report.create_times), ("update", report.update_times))
    return [(name, times) for name, times in both if times is not None]


def origin(report: StatisticsReport) -> str:
    if report.source is Source.REDIS:
        return "counted in Redis; writes while Redis was away are not counted"
    return (
        f"from the database, because {report.why}. Created: by creation. Completed, failed and cancelled: sessions that"
        " are so now, by their last write. Updates, times and caches: unknown"
    )


STATUS_ORIGIN = "from the database: sessions created in these minutes, by how their payment stands now"


def warnings(report: StatisticsReport) -> list[str]:
    """What to know before believing the figures."""
    found = []
    kept = int(report.kept * 1000)
    if report.source is Source.REDIS and kept < len(report.minutes) * MINUTE:
        found.append(f"Redis keeps a minute for {span(kept)} only (CHECKOUT_STATISTICS_TTL); older ones show nothing")
    if report.unreadable:
        found.append(f"{report.unreadable:,} of the fields under stats:minute: cannot be read and are left out")
    return found
