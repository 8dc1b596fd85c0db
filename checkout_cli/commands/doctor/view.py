"""The answer of doctor: a table for each group, what hurts shoppers first, and the summary at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from checkout_cli.checks import WORST_FIRST, Finding, Status
from checkout_cli.commands.doctor.check import Group
from checkout_cli.commands.doctor.run import DoctorReport, Result
from checkout_cli.terminal.output import is_terminal, leave_next_out, narrate, show, show_next, write_json, write_line
from checkout_cli.terminal.safe import safe

if TYPE_CHECKING:
    from rich.console import RenderableType

_STYLES = {Status.CRIT: "bold red", Status.WARN: "yellow", Status.OK: "green", Status.SKIPPED: "dim"}
HEADINGS: dict[str, str] = {
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


def show_report(report: DoctorReport, *, as_json: bool) -> None:
    """All results on stdout, the summary last."""
    if as_json:
        write_json(report)
        leave_next_out()  # it is in the document
    elif is_terminal(sys.stdout):
        show(_renderable(report))
    else:
        for heading, rows in _by_group(report):
            write_line(f"{heading}:")
            for names, finding in rows:
                write_line(f"  {finding.status:<7}  {names}: {safe(finding.evidence)}")
                if finding.fix:
                    write_line(f"           fix: {safe(finding.fix)}")
        write_line(_summary(report))
    if report.unwritten:
        narrate(f"warning: the next run has nothing to compare with: {report.unwritten}")
    if report.next_step:  # also where --fail-on makes it no finding
        show_next(report.next_step)


def _by_group(report: DoctorReport) -> Iterator[tuple[str, list[tuple[str, Finding]]]]:
    """Each group's heading, and its findings with the names of their checks; equally skipped checks share one."""
    for group, results in groupby(report.in_order, key=lambda result: result.check.group):
        together: dict[str, list[Result]] = {}
        for result in results:
            key = result.finding.evidence if result.status is Status.SKIPPED else result.check.id
            together.setdefault(f"{result.status} {key}", []).append(result)
        rows = [(", ".join(result.check.id for result in alike), alike[0].finding) for alike in together.values()]
        yield HEADINGS[group], rows


def _summary(report: DoctorReport) -> str:
    warned = "warning" if report.count(Status.WARN) == 1 else "warnings"
    names = {Status.CRIT: "critical", Status.WARN: warned, Status.OK: "ok", Status.SKIPPED: "skipped"}
    return ", ".join(f"{report.count(status)} {name}" for status, name in names.items())


def _renderable(report: DoctorReport) -> RenderableType:
    from rich.console import Group as Lines
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = []
    for heading, rows in _by_group(report):
        table = Table.grid(padding=(0, 2))
        table.add_column(width=7)
        table.add_column(max_width=24, overflow="fold")
        table.add_column(ratio=1, overflow="fold")
        for names, finding in rows:
            text = Text(safe(finding.evidence), style="dim" if finding.status is Status.SKIPPED else "")
            if finding.fix:
                text.append(f"\n→ {safe(finding.fix)}", style="bold")
            table.add_row(Text(finding.status, style=_STYLES[finding.status]), Text(names), text)
        parts += [Text(heading, style="bold"), table, Text()]
    worst = next((status for status in WORST_FIRST if report.count(status)), Status.OK)
    parts.append(Text(_summary(report), style=_STYLES[worst]))
    return Lines(*parts)
