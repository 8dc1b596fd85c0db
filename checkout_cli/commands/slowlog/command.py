"""``checkoutctl slowlog``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from checkout_cli.arguments.context import (
    DEFAULT_TIMEOUT,
    Context,
    DryRunOption,
    JsonOption,
    TimeoutOption,
    YesOption,
    context_of,
)
from checkout_cli.errors import ExitCode, InvalidInput


def slowlog(
    typer_context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many entries.")] = 25,
    reset: Annotated[bool, typer.Option("--reset", help="Drop all entries, after a question.")] = False,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> None:
    """Show which commands took Redis long (SLOWLOG), by what they did and to which family of keys.

    Arguments are never shown, keys shortened: a slow log holds shoppers' data. --reset drops it; without a terminal
    that needs --yes.

    Example: checkoutctl slowlog --limit 100
    """
    from checkout_cli.commands.slowlog.slowlog import slow_log
    from checkout_cli.commands.slowlog.view import show_slow_log

    context = context_of(typer_context)
    if reset:
        _reset(context, yes=yes, dry_run=dry_run, as_json=as_json, timeout=timeout)
        return
    if yes or dry_run:
        raise InvalidInput("--yes and --dry-run are about --reset", hint="checkoutctl slowlog --reset --dry-run")
    with context.redis(timeout) as redis:
        report = slow_log(redis, limit)
    show_slow_log(report, as_json=as_json)
    raise typer.Exit(report.exit_code)


def _reset(context: Context, *, yes: bool, dry_run: bool, as_json: bool, timeout: float) -> None:
    from checkout_cli.commands.slowlog.slowlog import empty_slow_log
    from checkout_cli.commands.slowlog.view import describe_reset, show_emptied
    from checkout_cli.terminal.output import narrate
    from checkout_cli.terminal.prompt import confirm

    def agreed(lengths: Mapping[str, int]) -> bool:
        narrate(describe_reset(lengths))
        if dry_run or yes:
            return not dry_run
        return confirm("Drop them?", hint="the same command with --yes, or with --dry-run to look only")

    with context.redis(timeout) as redis:
        emptied = empty_slow_log(redis, agreed=agreed)
    show_emptied(emptied, dry_run=dry_run, as_json=as_json)
    raise typer.Exit(emptied.exit_code if emptied.done or dry_run else ExitCode.FINDING)
