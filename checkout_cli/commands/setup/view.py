"""How a set-up looks: the change that it proposes, its checks, and what to do next."""

from __future__ import annotations

from typing import Any

from checkout_cli.commands.setup.setup import SetupReport
from checkout_cli.files.env_file import EnvFilePlan
from checkout_cli.terminal.document import document as document_of
from checkout_cli.terminal.output import columns_of, narrate, write_json, write_table

_COLUMNS = columns_of("check", "status", "what was found, and what to do")


def show_plan(plan: EnvFilePlan) -> None:
    """The change to the environment file as a diff on stderr, with secrets masked; nothing where there is none."""
    for line in plan.difference():
        narrate(line)


def show_report(report: SetupReport) -> None:
    """The checks as a table, each failed one with its fix below it; then, on stderr, what to do next."""
    rows: list[tuple[str, str, str]] = []
    for name, found in report.checks.items():
        rows.append((name, found.status, found.evidence))
        if found.fix:
            rows.append(("", "", f"→ {found.fix}"))
    write_table(_COLUMNS, rows)
    if not report.looked_only:
        narrate("changed: " + ", ".join(report.changed) if report.changed else "everything was in place already")
    narrate("next:")
    for step in report.next_steps:
        narrate(f"  {step}")


def write_report(report: SetupReport, plan: EnvFilePlan) -> None:
    """The same as one JSON document."""
    write_json(document(report, plan))


def document(report: SetupReport, plan: EnvFilePlan) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "status": "failed" if report.exit_code else "ok",
        "lookedOnly": report.looked_only,
        "changed": list(report.changed),
        "envFile": document_of(plan),
        "checks": [{"id": name, **document_of(found, "status evidence fix?")} for name, found in report.checks.items()],
        "next": [step.partition("    ")[0] for step in report.next_steps],
    }
