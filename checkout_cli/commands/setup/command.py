"""``checkoutctl setup``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import current


def setup(
    check: Annotated[bool, typer.Option("--check", help="Only look; change nothing.")] = False,
    explain: options.Explain = None,
    yes: options.Yes = False,
    timeout: options.Timeout = options.TIMEOUT,
    as_json: options.Json = False,
) -> int:
    """Set everything up, and prove that it works.

    Looks at what is installed, writes what is missing in .env.local (showing it first), creates the database's tables,
    and sends a probe session through Redis, the database and memory. Every check that fails says what to type. Exit
    code 1 where one has failed. Running it again changes nothing.
    """
    from checkout_cli.commands.setup import setup as operation
    from checkout_cli.commands.setup.view import show_report
    from checkout_cli.terminal.checks import show_explanations
    from checkout_cli.terminal.output import narrate
    from checkout_cli.terminal.prompt import can_ask, confirm

    if explain is not None:
        show_explanations(operation.CHECKS.explained(explain), as_json=as_json)
        return 0
    context = current()
    sources = operation.Sources(context.directory, context.flags, load=lambda: context.settings(timeout))
    plan = sources.plan()
    for line in plan.difference():
        narrate(line)
    if not check:
        there = can_ask() and not plan.changes  # where nothing is to be written, being there is enough
        hint = "checkoutctl setup --yes, or checkoutctl setup --check to look only"
        confirm((), f"Write {plan.path}?", yes=yes or there, default=True, hint=hint)
    report = operation.run(plan, sources, looked_only=check)
    show_report(report, plan, as_json=as_json)
    return report.exit_code
