"""``checkoutctl cleanup``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.cli.context import DEFAULT_TIMEOUT, DryRunOption, JsonOption, TimeoutOption, context_of


def cleanup(
    typer_context: typer.Context,
    expired: Annotated[bool, typer.Option("--expired", help="Remove what has expired.")] = False,
    dry_run: DryRunOption = False,
    max_seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after this long; the next run goes on.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=2000, help="Sessions in one step.")] = 500,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing when all went well.")] = False,
    as_json: JsonOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> None:
    """Remove expired sessions from the index, the database and memory.

    It never asks, because what it removes has ended already. Two never run at once: the second exits with 75.

    Example: checkoutctl cleanup --expired --quiet --max-seconds 50
    """
    from checkout_cli.errors import ExitCode, InvalidInput
    from checkout_cli.operations.cleanup import clean_up
    from checkout_cli.render.cleanup_view import show_cleanup
    from checkout_cli.render.progress import progress

    if not expired:
        raise InvalidInput("say what to clean up", hint="checkoutctl cleanup --expired")
    context = context_of(typer_context)
    with context.store(timeout) as store, progress("Cleaning up", quiet=quiet or as_json) as advance:
        report = clean_up(store, dry_run=dry_run, max_seconds=max_seconds, batch=batch, progress=advance)
    show_cleanup(report, as_json=as_json, quiet=quiet)
    if report.unreachable:
        raise typer.Exit(ExitCode.FINDING)
