"""``checkoutctl incident``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import bounded, current

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.callback()
def incident(
    typer_context: typer.Context,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to; - for stdout. Default: incident-TIME.json here.")
    ] = None,
    timeout: options.Timeout = options.TIMEOUT,
) -> None:
    """Write one redacted snapshot as a JSON file that only you can read: what an incident may turn on.

    Health, doctor, INFO, memory, slow log, latency, settings (secrets masked), what is pending, and versions. What
    cannot be had is left out and said so. No session's content, password or whole id is in it.
    """
    from checkout_cli.commands.incident.incident import default_path, gather, keep
    from checkout_cli.commands.incident.view import content, show_incident
    from checkout_cli.terminal.output import write

    if typer_context.invoked_subcommand is not None:
        return
    context = current()
    with bounded("Asking") as run:
        found = gather(lambda: context.settings(timeout), directory=context.directory, flags=context.flags, run=run)
    if str(out) == "-":
        write(content(found).decode())
        return
    path = out or default_path(found.timestamp)
    keep(path, content(found))
    show_incident(found, str(path))


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", help="The earlier file.", show_default=False)],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="The later file.", show_default=False)],
    as_json: options.Json = False,
) -> None:
    """Show what changed between two incident files, what matters first.

    Moments, latencies and ages are left out: they differ between any two.
    """
    from checkout_cli.commands.incident.diff import compare
    from checkout_cli.commands.incident.view import show_diff

    show_diff(compare(before, after), as_json=as_json)
