"""How well the caches work, as a table and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkout_cli.spans import span
from checkout_cli.terminal.output import (
    columns_of,
    narrate,
    warn,
    warn_if_partial,
    write_json,
    write_table,
)

if TYPE_CHECKING:
    from checkout_cli.commands.cache.statistics import CacheStatistics
    from checkout_cli.domain.statistics import CacheCounts

_STATISTICS = columns_of("cache", "#reads", "#hits", "#misses", "#stale", "#errors", "#hit rate", "#error rate")


def show_statistics(found: CacheStatistics, *, as_json: bool) -> None:
    if as_json:
        write_json(found)
    else:
        write_table(_STATISTICS, [_counts_row(name, counts) for name, counts in found.caches.items()])
        if not any(counts.reads for counts in found.caches.values()):
            narrate(f"no cache was asked in the last {span(found.minutes * 60_000)}")
    warn_if_partial(found.missing)
    if not found.enabled:
        warn("REDIS_ENABLE_STATISTICS is false here: programs with this setting count nothing")


def _counts_row(name: str, counts: CacheCounts) -> list[str]:
    numbers = (counts.reads, counts.hit, counts.miss, counts.stale, counts.error)
    rates = (counts.rate("hit"), counts.rate("error"))
    return [name, *(f"{number:,}" for number in numbers), *("" if rate is None else f"{rate:.1%}" for rate in rates)]
