"""How an examination looks: a table for each group, what hurts shoppers first, and the summary where the eye ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from checkout_cli.checks import WORST_FIRST, Finding, Status
from checkout_cli.commands.doctor.check import Check, Group
from checkout_cli.commands.doctor.examination import DoctorReport, Result
from checkout_cli.terminal.document import document
from checkout_cli.terminal.output import is_terminal, narrate, show, write_json, write_line
from checkout_cli.terminal.safe import safe

if TYPE_CHECKING:
    from rich.console import RenderableType

_STYLES = {Status.CRIT: "bold red", Status.WARN: "yellow", Status.OK: "green", Status.SKIPPED: "dim"}
_TITLES = {
    Group.CONNECTION: "the way to Redis",
    Group.SERVING: "serving checkouts",
    Group.SESSIONS: "sessions",
    Group.MEMORY: "memory",
    Group.DATABASE: "the database",
    Group.JOBS: "jobs and statistics",
    Group.PRIVACY: "personal and card data",
    Group.SECURITY: "security",
    Group.SPEED: "speed",
    Group.HOST: "the server's machine",
}


def show_examination(report: DoctorReport, *, as_json: bool) -> None:
    """All results on stdout, the summary last."""
    if as_json:
        write_json(report)
    elif is_terminal(sys.stdout):
        show(_renderable(report))
    else:
        for group, results in _by_group(report):
            write_line(f"{_TITLES[group]}:")
            for names, finding in _rows(results):
                write_line(f"  {finding.status:<7}  {names}: {safe(finding.evidence)}")
                if finding.fix:
                    write_line(f"           next: {safe(finding.fix)}")
        write_line(_summary(report))
    if report.unwritten:
        narrate(f"warning: the next run has nothing to compare with: {report.unwritten}")


def _by_group(report: DoctorReport) -> Iterator[tuple[Group, list[Result]]]:
    """The groups in their order; within each, the worst first."""
    for group, results in groupby(report.in_order, key=lambda result: result.check.group):
        yield group, list(results)


def _rows(results: Sequence[Result]) -> Iterator[tuple[str, Finding]]:
    """What one line each says; checks that were skipped for the same reason share one."""
    together: dict[str, list[Result]] = {}
    for result in results:
        alike = f"{result.status} {result.finding.evidence}" if result.status is Status.SKIPPED else result.check.id
        together.setdefault(alike, []).append(result)
    for alike_ones in together.values():
        yield ", ".join(result.check.id for result in alike_ones), alike_ones[0].finding


def _summary(report: DoctorReport) -> str:
    warned = "warning" if report.count(Status.WARN) == 1 else "warnings"
    names = {Status.CRIT: "critical", Status.WARN: warned, Status.OK: "ok", Status.SKIPPED: "skipped"}
    counts = ", ".join(f"{report.count(status)} {name}" for status, name in names.items())
    bad = [result for _, results in _by_group(report) for result in results if result.status in WORST_FIRST[:2]]
    worst = min(bad, key=lambda result: WORST_FIRST.index(result.status), default=None)
    first = f"; first: {safe(worst.finding.fix)}" if worst is not None and worst.finding.fix else ""
    return f"{counts}{first}"


def _renderable(report: DoctorReport) -> RenderableType:
    from rich.console import Group as Lines
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = []
    for group, results in _by_group(report):
        table = Table.grid(padding=(0, 2))
        table.add_column(width=7)
        table.add_column(max_width=24, overflow="fold")
        table.add_column(ratio=1, overflow="fold")
        for names, finding in _rows(results):
            told = Text(safe(finding.evidence), style="dim" if finding.status is Status.SKIPPED else "")
            if finding.fix:
                told.append(f"\n→ {safe(finding.fix)}", style="bold")
            table.add_row(Text(finding.status, style=_STYLES[finding.status]), Text(names), told)
        parts += [Text(_TITLES[group], style="bold"), table, Text()]
    parts.append(Text(_summary(report), style=_STYLES[_worst(report)]))
    return Lines(*parts)


def _worst(report: DoctorReport) -> Status:
    return next((status for status in WORST_FIRST if report.count(status)), Status.OK)


def show_explanations(checks: Sequence[Check], *, as_json: bool) -> None:
    """What checks look for, and what they need."""
    if as_json:
        write_json({"checks": [document(item) for item in checks]})
        return
    for number, item in enumerate(checks):
        if number:
            write_line()
        write_line(f"{item.id} ({_TITLES[item.group]})")
        for line in item.explanation.splitlines():
            write_line(f"  {line}".rstrip())
        if item.needs:
            write_line(f"  needs: {', '.join(item.named_needs)}")
