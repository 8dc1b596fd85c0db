"""``checkoutctl cleanup``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments.context import (
    DEFAULT_TIMEOUT,
    DryRunOption,
    JsonOption,
    Report,
    TimeoutOption,
    YesOption,
    context_of,
)


def cleanup(
    typer_context: typer.Context,
    expired: Annotated[bool, typer.Option("--expired", help="Remove what has expired.")] = False,
    index: Annotated[bool, typer.Option("--index", help="Repair the index: see `sessions index repair`.")] = False,
    orphans: Annotated[
        bool, typer.Option("--orphans", help="Remove copies and names that no session stands behind; asks.")
    ] = False,
    dry_run: DryRunOption = False,
    max_seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after this long; the next run goes on.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, max=2000, help="Sessions in one step.")] = 500,
    yes: YesOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing when all went well.")] = False,
    as_json: JsonOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> Report:
    """Remove expired sessions from the index, the database and memory.

    --expired and --index never ask: what they remove has ended already. Two never run at once: the second exits with
    75.
    """
    from checkout_cli.commands.cleanup.cleanup import Tidying, tidy
    from checkout_cli.commands.cleanup.orphans_view import orphan_lines
    from checkout_cli.commands.cleanup.view import show_tidying
    from checkout_cli.jobs.priority import give_way
    from checkout_cli.terminal.progress import progress
    from checkout_cli.terminal.prompt import confirm

    give_way()
    wanted = Tidying(expired, index, orphans, dry_run=dry_run, max_seconds=max_seconds, batch=batch)
    context = context_of(typer_context)
    with context.store(timeout) as store, progress("Cleaning up", quiet=quiet or as_json) as advance:
        done = tidy(
            store,
            wanted,
            agreed=lambda found: confirm(
                () if dry_run else orphan_lines(found),
                "Remove what no session stands behind?",
                yes=yes,
                dry_run=dry_run,
            ),
            progress=advance,
        )
    show_tidying(done, as_json=as_json, quiet=quiet)
    return done
