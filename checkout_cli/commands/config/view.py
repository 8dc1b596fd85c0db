"""How the settings look, and what is wrong with them. Secrets are always masked."""

from __future__ import annotations

from collections.abc import Iterable

from checkout_cli.checks import worst
from checkout_cli.commands.config.check import ConfigReport
from checkout_cli.config.variables import Resolved
from checkout_cli.terminal.document import document
from checkout_cli.terminal.output import columns_of, narrate, warn, write_json, write_table

_SETTINGS = columns_of("variable", "value", "origin")
_FINDINGS = columns_of("severity", "setting", "what is wrong, and what to do")


def show_settings(settings: Iterable[Resolved]) -> None:
    """Each variable, its value and its origin; a wrong value is said so on stderr."""
    found = list(settings)
    write_table(_SETTINGS, [(item.variable.name, _shown(item), item.via or item.origin) for item in found])
    for item in found:
        if item.problem:
            warn(item.problem)


def _shown(item: Resolved) -> str:
    if item.problem:
        return "(invalid)"
    return f"{item.value:g}" if isinstance(item.value, float) else item.variable.masked(item.value)


def write_settings(settings: Iterable[Resolved]) -> None:
    """The same as one JSON document; ``value`` is ``null`` where it is invalid."""
    write_json({"settings": [document(item) for item in settings]})


def show_report(report: ConfigReport) -> None:
    """Each finding with its fix below it; where there is none, one line on stderr."""
    if not report.findings:
        narrate("nothing is wrong")
        return
    rows: list[tuple[str, str, str]] = []
    for finding in report.findings:
        rows.append((finding.status, finding.subject, finding.evidence))
        rows.append(("", "", f"→ {finding.fix}"))
    write_table(_FINDINGS, rows)


def write_report(report: ConfigReport) -> None:
    """The same as one JSON document."""
    found = worst(report.findings)
    findings = [
        document(finding, "severity=status setting=subject problem=evidence fix") for finding in report.findings
    ]
    write_json({"status": "ok" if found is None else found.status, "findings": findings})
