"""``checkoutctl sync``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from checkout_cli.arguments.context import (
    DEFAULT_TIMEOUT,
    Context,
    DryRunOption,
    JsonOption,
    MaxSecondsOption,
    RevealOption,
    TimeoutOption,
    YesOption,
    bounded,
    context_of,
    only_with,
)
from checkout_cli.arguments.transitions import WithTransitions
from checkout_cli.errors import ExitCode, InvalidInput

if TYPE_CHECKING:
    from checkout_cli.store.database.flush_log import Conflict

COMMAND_CLASS = WithTransitions
Side = Literal["database", "written"]


def sync(
    typer_context: typer.Context,
    dry_run: DryRunOption = False,
    max_seconds: MaxSecondsOption = None,
    conflicts: Annotated[bool, typer.Option("--conflicts", help="Show conflicts, both sides of each.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many conflicts.")] = 50,
    reveal: RevealOption = False,
    write: Annotated[
        str | None, typer.Option("--resolve", metavar="WRITE", help="Settle this conflict; the beginning is enough.")
    ] = None,
    keep: Annotated[Side | None, typer.Option(help="Which side of the conflict to keep.")] = None,
    yes: YesOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing when all went well.")] = False,
    as_json: JsonOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> None:
    """Sync sessions that Redis or the database is missing.

    While one of them is unavailable, writes go to the other. Programs that use the store sync a few sessions at a time;
    this does all of it now, and takes in what external writers have written to Redis. It can run on several machines
    at once. Exit code 1: something is still pending, or there are conflicts. 69: a tier is unavailable.

    A conflict is a write that could not stand as it was: the session had changed meanwhile, or its payment status may
    not follow. Both contents are kept: --conflicts shows them; --resolve with --keep written writes the written fields
    as one more version, and with --keep database forgets them.

    Example: checkoutctl sync --quiet --max-seconds 50
    """
    context, resolving = context_of(typer_context), write is not None or keep is not None
    only_with(typer_context, "limit", "reveal", what="--conflicts", given=conflicts)
    only_with(typer_context, "yes", what="--resolve", given=resolving)
    only_with(typer_context, "max_seconds", "quiet", what="a sync", given=not (conflicts or resolving))
    if write is not None or keep is not None:
        if write is None or keep is None or conflicts:
            raise InvalidInput(
                "to settle a conflict, name it and the side to keep", hint="checkoutctl sync --conflicts"
            )
        _resolve(context, write, keep, _Consent(yes=yes, dry_run=dry_run), as_json=as_json, timeout=timeout)
    elif conflicts:
        _show_conflicts(context, limit, reveal=reveal, as_json=as_json, timeout=timeout)
    else:
        _sync(context, max_seconds, dry_run=dry_run, quiet=quiet, as_json=as_json, timeout=timeout)


def _sync(
    context: Context, max_seconds: float | None, *, dry_run: bool, quiet: bool, as_json: bool, timeout: float
) -> None:
    from checkout_cli.commands.sync.sync import synchronize
    from checkout_cli.commands.sync.view import show_sync

    with context.store(timeout) as store, bounded("Syncing", max_seconds=max_seconds, quiet=quiet or as_json) as run:
        report = synchronize(store, run, dry_run=dry_run)
    show_sync(report, as_json=as_json, quiet=quiet)
    raise typer.Exit(report.exit_code)


def _show_conflicts(context: Context, limit: int, *, reveal: bool, as_json: bool, timeout: float) -> None:
    from checkout_cli.commands.sync.sync import list_conflicts
    from checkout_cli.commands.sync.view import show_conflicts
    from checkout_cli.files.audit import revealed
    from checkout_cli.terminal.output import narrate

    with context.store(timeout) as store:
        found = list_conflicts(store, limit=limit)
    if reveal:
        revealed("sync --conflicts", f"{len(found.conflicts)} conflicts")
        narrate(f"revealing personal data of {len(found.conflicts)} conflicts")
    show_conflicts(found, as_json=as_json, reveal=reveal)
    raise typer.Exit(ExitCode.FINDING if found.number else ExitCode.OK)


def _resolve(context: Context, write: str, keep: Side, agreed: _Consent, *, as_json: bool, timeout: float) -> None:
    from checkout_cli.commands.sync.sync import Keep, resolve
    from checkout_cli.commands.sync.view import show_settled

    with context.store(timeout) as store:
        settled = resolve(store, write, Keep(keep), agreed=agreed)
    show_settled(settled, dry_run=agreed.dry_run, as_json=as_json)
    if not (settled.done or agreed.dry_run):
        raise typer.Exit(ExitCode.FINDING)


class _Consent:
    """Shows which conflict is about to be settled, and asks a person unless that is decided."""

    def __init__(self, *, yes: bool, dry_run: bool) -> None:
        self._yes = yes
        self.dry_run = dry_run

    def __call__(self, conflict: Conflict, now: int) -> bool:
        from checkout_cli.commands.sync.view import describe_conflict
        from checkout_cli.terminal.output import narrate
        from checkout_cli.terminal.prompt import confirm

        for line in describe_conflict(conflict, now):
            narrate(line)
        if self.dry_run or self._yes:
            return not self.dry_run
        return confirm("Settle it for good?", hint="the same command with --yes, or with --dry-run to look only")
