"""``checkoutctl doctor``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, current


def doctor(
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="CHECK,…", help="Only these checks or groups of checks.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", metavar="CHECK,…", help="All but these checks or groups.")
    ] = None,
    explain: options.Explain = None,
    fail_on: Annotated[Literal["warn", "crit"], typer.Option(help="From which status on to exit with 1.")] = "warn",
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report | None:
    """Examine all that checkouts depend on, and say for each trouble what to type.

    It looks at the way to Redis, the server and its memory, sessions and their index, the database, jobs, personal
    data, security and the machine; at large data by samples. What a check needs and is denied makes it skipped.
    Counters are compared with the last run. It writes one key of its own for a moment (--skip write), nothing else.

    Exit code 0: all is well. 1: a warning or worse (--fail-on crit: only for the worse).
    """
    from checkout_cli.checks import Status
    from checkout_cli.commands.doctor.run import all_checks, run_checks
    from checkout_cli.commands.doctor.view import HEADINGS, show_report
    from checkout_cli.terminal.checks import show_explanations
    from checkout_cli.terminal.progress import progress

    if explain is not None:
        show_explanations(all_checks().explained(explain), HEADINGS, as_json=as_json)
        return None
    context = current()
    checks = all_checks().chosen(_names(only), _names(skip))
    with progress("Examining", quiet=as_json) as advance:
        report = run_checks(
            lambda: context.settings(timeout),
            checks,
            directory=context.directory,
            progress=advance,
            fail_on=Status(fail_on),
        )
    show_report(report, as_json=as_json)
    return report


def _names(given: list[str] | None) -> list[str]:
    """Names that were given one by one or joined by commas."""
    return [name.strip() for text in given or [] for name in text.split(",") if name.strip()]
