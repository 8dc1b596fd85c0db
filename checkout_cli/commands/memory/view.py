"""Memory as a table: fullness as a bar, and its effect on shoppers."""

from __future__ import annotations

from collections.abc import Iterator

from checkout_cli.commands.memory.eviction import PART, EvictionRisk
from checkout_cli.commands.memory.show import MemoryLook, MemoryReport
from checkout_cli.terminal.output import (
    columns_of,
    warn,
    warn_if_partial,
    write_json,
    write_table,
)
from checkout_cli.units import size, span

UNKNOWN = "unknown"
_OVERHEADS = {"replicationBacklog": "replication backlog", "aofBuffer": "AOF buffer", "startup": "at start"}
"""In words, where they are not their names."""
BAR = 24
_LONG = 60 * 24 * 365
"""Minutes: a forecast for more than a year says nothing."""


def show_memory(report: MemoryReport, *, as_json: bool) -> None:
    """The report on stdout, notes on stderr."""
    if as_json:
        write_json(report)
    else:
        for memory in report.servers:
            write_table(columns_of("memory", memory.place), list(_rows(memory)))
    for note in dict.fromkeys(note for memory in report.servers for note in memory.notes):
        warn(note)
    if report.unwritten:
        warn(f"the next look will have nothing to compare with: {report.unwritten}")
    warn_if_partial(report.missing)


def _rows(memory: MemoryLook) -> Iterator[tuple[str, str]]:
    yield "used", _used(memory)
    if memory.fullness is not None:
        yield "", f"{bar(memory.fullness)} {size(memory.headroom or 0)} left"
    yield "peak", UNKNOWN if memory.peak is None else size(memory.peak)
    yield "resident", _resident(memory)
    yield "policy", memory.policy or UNKNOWN
    yield "growth", _growth_text(memory)
    yield "full in", full_in(memory)
    yield "evicted", _evicted(memory)
    yield "used for", _overheads(memory)
    yield from _risk_rows(memory)


def bar(part: float, width: int = BAR) -> str:
    """A share, 0 to 1, as a bar."""
    filled = min(max(round(part * width), 0), width)
    return "█" * filled + "░" * (width - filled)


def _used(memory: MemoryLook) -> str:
    text = size(memory.used)
    if memory.limit is not None:
        text += f" of {size(memory.limit)} ({memory.fullness:.1%})"
    elif memory.limit_known and memory.system is not None:
        text += f", no limit; the machine has {size(memory.system)} ({memory.fullness:.1%})"
    else:
        text += ", no limit" if memory.limit_known else ", limit unknown"
    if memory.not_counted:
        text += f"; {size(memory.not_counted)} of it do not count"
    return text


def _resident(memory: MemoryLook) -> str:
    if memory.resident is None or memory.fragmentation is None:
        return UNKNOWN
    text = f"{size(memory.resident)}, {memory.fragmentation:.2f} × used"
    if memory.reported_fragmentation is not None:
        text += f" (fragmentation as Redis tells it: {memory.reported_fragmentation:.2f})"
    return text


def _growth_text(memory: MemoryLook) -> str:
    growth = memory.growth
    if growth is None:
        return memory.no_growth
    return f"{signed_size(growth.size_per_minute)} a minute, in the last {span(growth.seconds * 1000)}"


def signed_size(number: float) -> str:
    """Growth or shrinkage in bytes, with its sign."""
    return f"{'+' if number >= 0 else '-'}{size(abs(number))}"


def full_in(memory: MemoryLook) -> str:
    """The time until the limit is reached, or why it is unknown."""
    minutes = memory.minutes_until_full
    if minutes is None:
        return UNKNOWN if memory.never_full == memory.no_growth else memory.never_full
    if not minutes:
        return "it is full now"
    return "more than a year" if minutes > _LONG else f"{minutes:,.0f} minutes ({span(minutes * 60_000)})"


def _evicted(memory: MemoryLook) -> str:
    if memory.evicted is None:
        return UNKNOWN
    text = f"{memory.evicted:,} since the server started"
    growth = memory.growth
    if growth is not None and growth.evicted is not None:
        text += f"; {growth.evicted:,.0f} since the last look, {growth.evicted_per_minute:,.1f} a minute"
    return text


def _overheads(memory: MemoryLook) -> str:
    parts = (f"{_OVERHEADS.get(name, name)} {size(number)}" for name, number in memory.overheads.items() if number)
    return ", ".join(parts) or UNKNOWN


def _risk_rows(memory: MemoryLook) -> Iterator[tuple[str, str]]:
    risk = memory.risk
    if risk is None:
        yield "evicted first", f"unknown: {memory.no_risk}"
        return
    about = "" if risk.exact else "about "
    if risk.open is not None:
        yield "open checkouts", f"{about}{risk.open.number:,}, baskets worth {risk.open.value:,.2f}"
    if memory.no_risk:
        yield "evicted first", memory.no_risk
    else:
        yield "evicted first", _first(risk, about)
    if not risk.exact:
        yield "", f"(judged from {risk.looked_at:,} keys)"


def _first(risk: EvictionRisk, about: str) -> str:
    if risk.families is None:
        return risk.order
    if not risk.keys:
        return f"{risk.order}: there are none, so writes are refused when it is full"
    by_family = ", ".join(f"{number:,} {family}" for family, number in risk.families.items())
    text = f"{risk.order}: the next {PART:.0%} of the limit is {about}{risk.keys:,} keys ({by_family})"
    if risk.first is not None:
        text += f", among them {risk.first.number:,} open checkouts worth {risk.first.value:,.2f}"
    return text
