"""An incident as the JSON of its file, and the changes between two as tables."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

from checkout_cli.commands.incident.diff import KIND, Change, IncidentDiff
from checkout_cli.commands.incident.incident import Incident
from checkout_cli.session import iso
from checkout_cli.strict_json import json_text
from checkout_cli.terminal.document import document as document_of
from checkout_cli.terminal.output import (
    SCHEMA_VERSION,
    columns_of,
    narrate,
    write_json,
    write_line,
    write_table,
)
from checkout_cli.terminal.safe import safe

_LONGEST = 40
"""Characters of a value in the table; JSON has all of them."""
_CHANGES = columns_of("what", "#before", "#after", "#change")


def document(incident: Incident) -> dict[str, Any]:
    """The whole snapshot as JSON."""
    return {
        "schemaVersion": SCHEMA_VERSION,
        "kind": KIND,
        "timestamp": iso(incident.timestamp),
        "versions": dict(incident.versions),
        "configuration": [document_of(item) for item in incident.configuration],
        **{
            name: {"error": str(part.problem), "hint": part.problem.hint} if part.problem else document_of(part.answer)
            for name, part in incident.parts.items()
        },
    }


def content(incident: Incident) -> bytes:
    """The file's bytes."""
    return json_text(document(incident), indent=1).encode() + b"\n"


def show_incident(incident: Incident, path: str) -> None:
    """The path of the file on stdout, its missing parts on stderr."""
    for name, part in incident.parts.items():
        if part.problem is not None:
            narrate(f"without {name}: {part.problem}")
    write_line(safe(path))


def show_diff(diff: IncidentDiff, *, as_json: bool) -> None:
    """The changes, the most important first."""
    if as_json:
        write_json(diff)
        return
    narrate(f"from {safe(diff.before)} to {safe(diff.after)}")
    if not diff.changes:
        narrate("nothing has changed")
    for number, (part, changes) in enumerate(groupby(diff.changes, key=lambda change: change.part)):
        if number:
            write_line()
        write_line(f"{safe(part)}:")
        write_table(_CHANGES, [_row(change) for change in changes])


def _row(change: Change) -> tuple[str, str, str, str]:
    growth = change.growth
    return (
        change.path,
        _value(change.before),
        _value(change.after),
        "" if growth is None else f"{growth:+,.6g}" if growth % 1 else f"{growth:+,.0f}",
    )


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    text = json.dumps(value) if isinstance(value, bool) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
