"""How the settings look, and what is wrong with them. Secrets are always masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from checkout_cli.checks import worst
from checkout_cli.commands.config.change import Changed
from checkout_cli.commands.config.check import ConfigReport
from checkout_cli.config.variables import Resolved
from checkout_cli.terminal.checks import with_fixes
from checkout_cli.terminal.document import document
from checkout_cli.terminal.output import columns_of, narrate, warn, write_json, write_line, write_table
from checkout_cli.terminal.safe import safe

_SETTINGS = columns_of("variable", "value", "origin")
_FINDINGS = columns_of("severity", "setting", "what is wrong, and what to do")


def show_settings(settings: Sequence[Resolved], unread: Mapping[Path, Sequence[str]], *, as_json: bool) -> None:
    """Each variable, its value and its origin; an invalid value is ``null`` in JSON, and else reported on stderr.

    ``unread`` are environment files that are not read, each with the settings in it.
    """
    if as_json:
        others = [{"file": str(path), "sets": list(names)} for path, names in unread.items()]
        write_json({"settings": [document(item) for item in settings], "unreadEnvFiles": others})
        return
    write_table(_SETTINGS, [(item.variable.name, _shown(item), item.via or item.origin) for item in settings])
    for item in settings:
        if item.problem or item.ignored:
            warn(item.problem or item.ignored or "")
    for path, names in unread.items():
        narrate(f"not read: {path.name}" + (f", which sets {', '.join(names)}" if names else ""))


def _shown(item: Resolved) -> str:
    if item.problem:
        return "(invalid)"
    return f"{item.value:g}" if isinstance(item.value, float) else item.variable.masked(item.value)


def show_changed(changed: Changed, *, as_json: bool) -> None:
    """Each setting as it is now, without secrets; a stronger origin and a contradiction as warnings."""
    if as_json:
        write_json(changed)
    else:
        for item in changed.settings:
            write_line(safe(f"{item.variable.name}={_shown(item)} ({item.via or item.origin})"))
    for item in changed.settings:
        if item.problem:
            warn(item.problem)
    for item in changed.overridden:
        warn(f"{item.via or item.variable.name} is also set by the {item.origin}, which counts")


def show_report(report: ConfigReport, *, as_json: bool) -> None:
    """Each finding with its fix below it; where there is none, one line on stderr."""
    if as_json:
        found = worst(report.findings)
        keys = "severity=status setting=subject problem=evidence fix"
        findings = [document(finding, keys) for finding in report.findings]
        write_json({"status": "ok" if found is None else found.status, "findings": findings})
    elif report.findings:
        rows = (((finding.status, finding.subject, finding.evidence), finding.fix) for finding in report.findings)
        write_table(_FINDINGS, list(with_fixes(rows)))
    else:
        narrate("nothing is wrong")
