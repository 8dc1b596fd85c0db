"""``checkoutctl bench``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments.context import JsonOption, Report, YesOption, context_of, number_of_seconds


def bench(
    typer_context: typer.Context,
    seconds: Annotated[
        float,
        typer.Option("--seconds", min=2, max=3600, callback=number_of_seconds, help="Measure for about so long."),
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
            min=0.01,
            max=60,
            callback=number_of_seconds,
            help="Longest wait for one answer, in seconds. Default: the shop's own settings.",
        ),
    ] = None,
) -> Report:
    """Measure what Redis brings on these very servers, with it and without.

    Reading and changing a session, many shoppers at once, the database's queries, and what shoppers see while Redis is
    cut off half-way; beside it what the documentation promises. Creates sessions named checkoutctl-bench-… and removes
    them. Asks before it loads a shop's servers. Exit code 1: a session was lost, or Redis cannot be reached.
    """
    from contextlib import ExitStack

    from checkout_cli.commands.bench import run
    from checkout_cli.commands.bench.view import describe, question, show_report
    from checkout_cli.terminal.progress import progress
    from checkout_cli.terminal.prompt import confirm

    settings = context_of(typer_context).settings(timeout)
    with ExitStack() as stack:
        server = None
        if embedded:
            settings, server = stack.enter_context(run.embedded(settings))
        target = run.examine(settings)
        if target.is_production and not yes:
            hint = "the same command with --yes, or with --embedded"
            confirm(describe(target), question(seconds, shoppers), yes=False, hint=hint)
        advance = stack.enter_context(progress("Measuring", quiet=as_json))
        report = run.bench(settings, target, seconds=seconds, shoppers=shoppers, server=server, progress=advance)
    show_report(report, as_json=as_json)
    return report
