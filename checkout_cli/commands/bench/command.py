"""``checkoutctl bench``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, current
from checkout_cli.arguments.options import Finite


def bench(
    seconds: Annotated[
        float, typer.Option("--seconds", click_type=Finite(2, 3600), help="Measure for about so long.")
    ] = 10.0,
    shoppers: Annotated[int, typer.Option("--shoppers", min=1, max=1000, help="So many at once.")] = 50,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="On a server and a database of its own, which is really killed.")
    ] = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            click_type=Finite(0.01, 60),
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
    from checkout_cli.jobs.bounded_run import BoundedRun
    from checkout_cli.terminal.progress import progress
    from checkout_cli.terminal.prompt import confirm

    settings = current().settings(timeout)
    with ExitStack() as stack:
        server = None
        if embedded:
            settings, server = stack.enter_context(run.embedded(settings))
        target = run.examine(settings)
        if target.is_production and not yes:
            hint = "the same command with --yes, or with --embedded"
            confirm(describe(target), question(seconds, shoppers), yes=False, hint=hint)
        advance = stack.enter_context(progress("Measuring", quiet=as_json))
        bounds = BoundedRun(progress=advance)
        report = run.bench(settings, target, seconds=seconds, shoppers=shoppers, server=server, run=bounds)
    show_report(report, as_json=as_json)
    return report
