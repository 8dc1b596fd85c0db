"""The answer of health: the document's JSON, and a view that is read in five seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from checkout_cli.commands.health.health import HealthReport, RedisHealth, Status, TierHealth
from checkout_cli.commands.ping.view import milliseconds
from checkout_cli.commands.sync.view import pending_text
from checkout_cli.session import iso
from checkout_cli.terminal import output
from checkout_cli.terminal.output import is_terminal, write_line
from checkout_cli.terminal.safe import safe
from checkout_cli.units import size, span

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS = output.columns_of("tier", "state", "#latency", "note")
STYLES = {
    Status.HEALTHY: "bold green",
    Status.DEGRADED: "bold yellow",
    Status.UNHEALTHY: "bold red",
    "connected": "green",
    "not serving": "yellow",
    "away": "red",
}


def show_health(report: HealthReport, *, as_json: bool) -> None:
    """One look on stdout."""
    if as_json:
        output.write_json(report)
        output.leave_next_out()  # it is in the document
    elif is_terminal(sys.stdout):
        output.show(_renderable(report))
    else:
        write_line(f"status: {report.status}")
        if rows := health_rows(report):
            output.write_table(_COLUMNS, rows)
        for title, text in _facts(report):
            write_line(f"{title}: {safe(text)}")
    if report.next_step:  # also while sessions that wait are no fault yet
        output.show_next(report.next_step)


def show_watch(reports: Iterable[HealthReport], *, as_json: bool) -> HealthReport:
    """Every look as it comes: in place on a terminal, a line each anywhere else. Returns the last."""
    if as_json or not is_terminal(sys.stdout):
        for report in reports:
            if as_json:
                output.write_ndjson([report])
            else:
                write_line(_line(report))
        return report
    from rich.live import Live

    with Live(console=output.console(), auto_refresh=False) as live:
        for report in reports:
            live.update(_renderable(report, with_next=True), refresh=True)
    return report


# For people


def health_rows(report: HealthReport) -> list[tuple[str, str, str, str]]:
    """Each tier: its name, state, latency and what there is to say; nothing where the configuration is wrong."""
    if report.configuration:
        return []
    return [
        ("redis", *_state(report.redis), _redis_note(report.redis)),
        ("database", *_state(report.database), str(report.database.problem or report.database.advice or "")),
        ("memory", *_state(report.memory), "lost when its process ends"),
    ]


def _state(tier: TierHealth) -> tuple[str, str]:
    latency = "" if tier.latency is None else f"{milliseconds(tier.latency)} ms"
    if not tier.connected:
        return "away", latency
    serves = tier.problem is None or (isinstance(tier, RedisHealth) and tier.serving)  # a cluster may, in part
    return ("connected" if serves else "not serving"), latency


def _redis_note(redis: RedisHealth) -> str:
    if redis.problem is not None:
        return str(redis.problem)
    parts = [] if redis.serving else ["sessions are switched off here"]
    memory = redis.memory
    if memory is not None:
        parts.append(f"{size(memory.used)} of {size(memory.limit)}" if memory.limit else size(memory.used))
        parts.append(f"{memory.policy} evicts live sessions when full" if memory.evicts_sessions else memory.policy)
    return ", ".join(parts)


def _facts(report: HealthReport) -> list[tuple[str, str]]:
    """The lines under the table."""
    if report.configuration is not None:
        facts = [("wrong", problem) for problem in report.configuration.problems]
    else:
        facts = [("sessions", sessions_text(report)), ("statistics", _statistics(report))]
        legacy = report.sessions.legacy_totals
        if legacy is not None:
            facts.append(("of the shop's older programs", ", ".join(f"{name} {legacy[name]:,}" for name in legacy)))
    writes = report.external
    if writes is not None and writes.are_recent(report.timestamp):
        taken = f"{writes.taken_in:,} {'write' if writes.taken_in == 1 else 'writes'} taken in"
        lost = f"{writes.conflicts:,} {'conflict' if writes.conflicts == 1 else 'conflicts'}"
        facts.append(("external writers", f"last seen {span(report.timestamp - writes.seen_at)} ago; {taken}, {lost}"))
    if report.pending.any:
        facts.append(("pending", pending_text(report.pending, report.timestamp)))
    facts += [("hint", problem.advice) for problem in report.problems if problem.advice]
    return facts


def sessions_text(report: HealthReport) -> str:
    """How many sessions live, and who says so."""
    count = report.sessions.count
    if count is None:
        return "unknown"
    return f"{count.number:,}{'' if count.exact else ' or more'} (from {count.tier})"


def _statistics(report: HealthReport) -> str:
    totals = report.sessions.totals
    if totals is None:
        return f"none: {report.sessions.no_totals}"
    return f"{totals.created:,} created, {totals.completed:,} completed, {totals.failed:,} failed"


def _line(report: HealthReport) -> str:
    """One look in one line, for a log."""
    tiers = (f"{name}={latency.replace(' ', '') or state}" for name, state, latency, _ in health_rows(report))
    count = report.sessions.count
    words = [iso(report.timestamp), report.status, *tiers, f"sessions={count.number if count else 'unknown'}"]
    words += [f"({problem})" for problem in report.problems]
    return safe(" ".join(words))


def _renderable(report: HealthReport, *, with_next: bool = False) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    title = Text.assemble((report.status.upper(), STYLES[report.status]), f"   {iso(report.timestamp)}")
    rows = [(name, Text(state, style=STYLES[state]), ms, note) for name, state, ms, note in health_rows(report)]
    facts = Table.grid(padding=(0, 2))
    for heading, text in _facts(report):
        facts.add_row(Text(heading, style="dim"), Text(safe(text)))
    if with_next and report.next_step:  # of one look it is the last line, as of every answer
        facts.add_row(Text("next", style="bold"), Text(safe(report.next_step), style="bold"))
    return Group(title, output.rich_table(_COLUMNS, rows), facts) if rows else Group(title, facts)
