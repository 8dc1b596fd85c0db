"""``checkoutctl setup``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from checkout_cli.cli.context import DEFAULT_TIMEOUT, JsonOption, TimeoutOption, YesOption, context_of
from checkout_cli.errors import ExitCode, InvalidInput

if TYPE_CHECKING:
    from checkout_cli.operations.env_file import EnvFilePlan


def setup(
    typer_context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Only look; change nothing.")] = False,
    yes: YesOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    as_json: JsonOption = False,
) -> None:
    """Set everything up, and prove that it works.

    Looks at what is installed, writes what is missing in .env.local (showing it first), creates the database's tables,
    and sends a probe session through Redis, the database and memory. Every check that fails says what to type. Exit
    code 1 where one has failed. Running it again changes nothing.

    Example: checkoutctl setup --check
    """
    from checkout_cli.operations import setup as operation
    from checkout_cli.render import setup_view

    context = context_of(typer_context)
    sources = operation.Sources(context.directory, context.flags | {"timeout": timeout, "database_timeout": timeout})
    plan = sources.plan()
    setup_view.show_plan(plan)
    if not check:
        _ask(plan, yes=yes)
    report = operation.look(plan, sources) if check else operation.run(plan, sources)
    if as_json:
        setup_view.write_report(report, plan)
    else:
        setup_view.show_report(report)
    raise typer.Exit(report.exit_code)


def _ask(plan: EnvFilePlan, *, yes: bool) -> None:
    """Go on only with somebody's consent."""
    from checkout_cli.render.output import is_terminal

    if yes:
        return
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise InvalidInput(
            "nothing was changed: there is no terminal to ask on",
            hint="checkoutctl setup --yes, or checkoutctl setup --check to look only",
        )
    if plan.changes and not typer.confirm(f"Write {plan.path}?", default=True, err=True):
        from checkout_cli.render.output import narrate

        narrate("nothing was changed")
        raise typer.Exit(ExitCode.FINDING)
