"""``checkoutctl slowlog``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, current


def slowlog(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many entries.")] = 25,
    reset: Annotated[bool, typer.Option("--reset", help="Drop all entries, after a question.")] = False,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    output: options.Output = None,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Show which commands took Redis long (SLOWLOG), by what they did and to which family of keys.

    Arguments are never shown, keys shortened: a slow log holds shoppers' data. --reset drops it; without a terminal
    that needs --yes.
    """
    from checkout_cli.commands.slowlog.slowlog import empty_slow_log, slow_log
    from checkout_cli.commands.slowlog.view import describe_reset, show_emptied, show_slow_log
    from checkout_cli.errors import InvalidInput
    from checkout_cli.terminal.prompt import confirm
    from checkout_cli.typed import typed

    if (yes or dry_run) and not reset:
        raise InvalidInput("--yes and --dry-run are about --reset", hint="checkoutctl slowlog --reset --dry-run")
    shape = options.shape_of(output, as_json=as_json)
    if reset and shape not in {"table", "json"}:
        raise InvalidInput(
            f"--output {shape} is about the entries, and --reset drops them",
            hint=typed("checkoutctl slowlog --output {}", shape),
        )
    with current().redis(timeout) as redis:
        if not reset:
            report = slow_log(redis, limit)
            show_slow_log(report, shape)
            return report
        emptied = empty_slow_log(
            redis, agreed=lambda lengths: confirm([describe_reset(lengths)], "Drop them?", yes=yes, dry_run=dry_run)
        )
    show_emptied(emptied, as_json=shape == "json")
    return emptied
