"""``checkoutctl bench``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from checkout_cli.arguments.context import JsonOption, YesOption, context_of
from checkout_cli.arguments.numbers import Finite

if TYPE_CHECKING:
    from checkout_cli.commands.bench.stage import Target


def bench(
    typer_context: typer.Context,
    seconds: Annotated[
        float, typer.Option("--seconds", click_type=Finite(2, 3600), help="Measure for about so long.")
    ] = 10.0,
    shoppers: Annotated[int, typer.Option("--shoppers", min=1, max=1000, help="So many at once.")] = 50,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="On a server and a database of its own, which is really killed.")
    ] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            click_type=Finite(0.01, 60),
            help="Longest wait for one answer, in seconds. Default: the shop's own settings.",
        ),
    ] = None,
) -> None:
    """Measure what Redis brings on these very servers, with it and without.

    Reading and changing a session, many shoppers at once, the database's queries, and what shoppers see while Redis is
    cut off half-way; beside it what the documentation promises. Creates sessions named checkoutctl-bench-… and removes
    them. Asks before it loads a shop's servers. Exit code 1: a session was lost, or Redis cannot be reached.

    Example: checkoutctl bench --seconds 20 --shoppers 100
    """
    from contextlib import ExitStack

    from checkout_cli.commands.bench import run
    from checkout_cli.commands.bench.view import show_report
    from checkout_cli.jobs.bounded_run import BoundedRun
    from checkout_cli.jobs.interruption import interruptible
    from checkout_cli.terminal.progress import progress

    settings = context_of(typer_context).settings(timeout)
    with ExitStack() as stack:
        stack.enter_context(interruptible())
        server = None
        if embedded:
            settings, server = stack.enter_context(run.embedded(settings))
        target = run.examine(settings)
        if target.is_production and not yes:
            _ask(target, seconds, shoppers)
        advance = stack.enter_context(progress("Measuring", quiet=as_json))
        bounds = BoundedRun(progress=advance)
        report = run.bench(settings, target, seconds=seconds, shoppers=shoppers, server=server, run=bounds)
    show_report(report, as_json=as_json)
    raise typer.Exit(report.exit_code)


def _ask(target: Target, seconds: float, shoppers: int) -> None:
    """Let a person decide about servers that a shop may depend on."""
    from checkout_cli.commands.bench.view import question, show_target
    from checkout_cli.errors import ExitCode
    from checkout_cli.terminal.output import narrate
    from checkout_cli.terminal.prompt import confirm

    show_target(target)
    if not confirm(question(seconds, shoppers), hint="the same command with --yes, or with --embedded"):
        narrate("nothing was changed")
        raise typer.Exit(ExitCode.FINDING)
