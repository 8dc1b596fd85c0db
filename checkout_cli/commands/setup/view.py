"""How a set-up looks: the change that it proposes, its checks, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from checkout_cli.commands.setup.setup import SetupReport
from checkout_cli.files.env_file import EnvFilePlan
from checkout_cli.terminal.checks import with_fixes
from checkout_cli.terminal.document import document
from checkout_cli.terminal.output import columns_of, narrate, write_json, write_table

_COLUMNS = columns_of("check", "status", "what was found, and what to do")


def show_report(report: SetupReport, plan: EnvFilePlan, assumed: Sequence[str] = (), *, as_json: bool) -> None:
    """The checks as a table, each failed one with its fix below it; then, on stderr, what to do next."""
    if as_json:
        write_json(
            {
                "status": "failed" if report.exit_code else "ok",
                "lookedOnly": report.looked_only,
                "changed": list(report.changed),
                "assumed": list(assumed),
                "envFile": document(plan),
                "checks": [
                    {"id": name, **document(found, "status evidence fix?")} for name, found in report.checks.items()
                ],
                "next": [
                    *([report.next_step] if report.exit_code else []),
                    *(step.partition("    ")[0] for step in report.next_steps),
                ],
            }
        )
        return
    rows = (((name, found.status, found.evidence), found.fix) for name, found in report.checks.items())
    write_table(_COLUMNS, list(with_fixes(rows)))
    if not report.looked_only:
        narrate("changed: " + ", ".join(report.changed) if report.changed else "everything was in place already")
    if report.next_steps:
        narrate("afterwards:" if report.exit_code else "next:")
    for step in report.next_steps:
        narrate(f"  {step}")
