"""``checkoutctl cleanup``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, bounded, current, only_with
from checkout_cli.errors import InvalidInput


def cleanup(
    typer_context: typer.Context,
    expired: Annotated[bool, typer.Option("--expired", help="Remove what has expired.")] = False,
    index: Annotated[bool, typer.Option("--index", help="Repair the index: see `sessions index repair`.")] = False,
    orphans: Annotated[
        bool, typer.Option("--orphans", help="Remove copies and names that no session stands behind; asks.")
    ] = False,
    dry_run: options.DryRun = False,
    max_seconds: options.MaxSeconds = None,
    batch: Annotated[int, typer.Option(min=1, max=2000, help="Sessions in one step.")] = 500,
    yes: options.Yes = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing when all went well.")] = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Remove expired sessions from the index, the database and memory.

    --expired and --index never ask: what they remove has ended already. Two never run at once: the second exits with
    75. --max-seconds is for all of it, and each kind gets its share.
    """
    from checkout_cli.commands.cleanup.cleanup import run_cleanup
    from checkout_cli.commands.cleanup.view import orphan_lines, show_cleanup
    from checkout_cli.terminal.prompt import confirm

    only_with(typer_context, "batch", what="--expired", given=expired)
    kinds = {"expired": expired, "index": index, "orphans": orphans}
    if not any(kinds.values()):
        raise InvalidInput("say what to clean up", hint="checkoutctl cleanup --expired")
    context = current()
    with context.store(timeout) as store, bounded("Cleaning up", max_seconds, quiet=quiet or as_json) as run:
        done = run_cleanup(
            store,
            run,
            [kind for kind, is_wanted in kinds.items() if is_wanted],
            dry_run=dry_run,
            batch=batch,
            agreed=lambda found: confirm(orphan_lines(found), "Remove what no session stands behind?", yes=yes),
        )
    show_cleanup(done, as_json=as_json, quiet=quiet)
    return done
