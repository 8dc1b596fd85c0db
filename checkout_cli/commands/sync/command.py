"""``checkoutctl sync``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, audit, bounded, current, only_with
from checkout_cli.arguments.options import WithTransitions
from checkout_cli.errors import InvalidInput

COMMAND_CLASS = WithTransitions
Side = Literal["database", "written"]


def sync(
    typer_context: typer.Context,
    dry_run: options.DryRun = False,
    max_seconds: options.MaxSeconds = None,
    conflicts: Annotated[bool, typer.Option("--conflicts", help="Show conflicts, both sides of each.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many conflicts.")] = 50,
    output: options.Output = None,
    reveal: options.Reveal = False,
    write: Annotated[
        str | None, typer.Option("--resolve", metavar="WRITE", help="Settle this conflict; the beginning is enough.")
    ] = None,
    keep: Annotated[Side | None, typer.Option(help="Which side of the conflict to keep.")] = None,
    yes: options.Yes = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing when all went well.")] = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report | None:
    """Sync sessions that Redis or the database is missing.

    While one of them is unavailable, writes go to the other. Programs that use the store sync a few sessions at a time;
    this does all of it now, and takes in what external writers have written to Redis. It can run on several machines
    at once. Exit code 1: something is still pending, or there are conflicts. 69: a tier is unavailable.

    A conflict is a write that could not stand as it was: the session had changed meanwhile, or its payment status may
    not follow. Both contents are kept: --conflicts shows them; --resolve with --keep written writes the written fields
    as one more version, and with --keep database forgets them.
    """
    from checkout_cli.commands.sync import conflicts as logged
    from checkout_cli.commands.sync import conflicts_view, view
    from checkout_cli.commands.sync.sync import synchronize
    from checkout_cli.terminal.prompt import confirm

    context, resolving = current(), write is not None or keep is not None
    only_with(typer_context, "limit", "output", "reveal", what="--conflicts", given=conflicts)
    only_with(typer_context, "yes", what="--resolve", given=resolving)
    only_with(typer_context, "max_seconds", "quiet", what="a sync", given=not (conflicts or resolving))
    if resolving:
        if write is None or keep is None or conflicts:
            hint = "checkoutctl sync --conflicts"
            raise InvalidInput("to settle a conflict, name it and the side to keep", hint=hint)
        with context.store(timeout) as store:
            resolved = logged.resolve(
                store,
                write,
                logged.Keep(keep),
                agreed=lambda conflict, now: confirm(
                    conflicts_view.describe_conflict(conflict, now), "Settle it for good?", yes=yes, dry_run=dry_run
                ),
            )
        conflicts_view.show_resolution(resolved, as_json=as_json)
        return None
    if conflicts:
        shape = options.shape_of(output, as_json=as_json)
        with context.store(timeout) as store:
            found = logged.list_conflicts(store, limit=limit)
        if reveal:
            audit("sync --conflicts", f"{len(found.conflicts)} conflicts")
        conflicts_view.show_conflicts(found, shape, reveal=reveal)
        return found
    with context.store(timeout) as store, bounded("Syncing", max_seconds, quiet=quiet or as_json) as run:
        report = synchronize(store, run, dry_run=dry_run)
    view.show_sync(report, as_json=as_json, quiet=quiet)
    return report
