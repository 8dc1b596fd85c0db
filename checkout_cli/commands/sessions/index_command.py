"""``checkoutctl sessions index``."""

from __future__ import annotations

from typing import Annotated

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, bounded, current

index = typer.Typer(
    help="Compare the index with the sessions, repair it, adopt it.", no_args_is_help=True, rich_markup_mode=None
)


@index.command()
def check(
    cursor: options.Cursor = "0",
    max_seconds: options.Rest = None,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Compare the index with the keys, both ways; changes nothing.

    Tells of sessions that it does not list, entries without a session, entries that are late, sessions that never
    end, and whether an older program's SET has them all. Exit code 1 where something needs repair. Safe while traffic
    runs.
    """
    from checkout_cli.commands.sessions.index import check_index
    from checkout_cli.commands.sessions.index_view import show_index

    context = current()
    with context.store(timeout) as store, bounded("Checking", max_seconds, quiet=as_json) as run:
        report = check_index(store, run, cursor=cursor)
    show_index(report, as_json=as_json)
    return report


@index.command()
def repair(
    fix_ttl: Annotated[
        bool, typer.Option("--fix-ttl", help="Give sessions that never end the full time to live.")
    ] = False,
    max_seconds: options.MaxSeconds = None,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Enter what is missing, take out what has no session; no session is changed.

    An older program's SET stays where it is, and gets what it lacks. Shows what it found and asks; without a terminal
    it needs --yes. Safe while traffic runs; two never run at once, nor beside a clean-up: the second exits with 75.
    Exit code 1 where something is left.
    """
    from checkout_cli.commands.sessions.index import IndexReport, check_index, repair_index
    from checkout_cli.commands.sessions.index_view import repair_preview, show_index
    from checkout_cli.terminal.prompt import confirm

    def agreed(found: IndexReport) -> bool:
        return confirm(repair_preview(found, fix_ttl=fix_ttl), "Repair the index?", yes=yes)

    with current().store(timeout) as store, bounded("Repairing", max_seconds, quiet=as_json) as run:
        report = check_index(store, run) if dry_run else repair_index(store, run, agreed=agreed, fix_ttl=fix_ttl)
    show_index(report, as_json=as_json)
    return report


@index.command()
def adopt(
    force: Annotated[bool, typer.Option("--force", help="Even if another program was seen within a day.")] = False,
    max_seconds: options.MaxSeconds = None,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    timeout: options.Timeout = options.TIMEOUT,
) -> Report:
    """Replace an older program's SET at checkout:index by our own index, once that program is retired.

    Until then our index lies beside the SET, and both are kept. Asks first; without a terminal it needs --yes. Every
    session stays listed, also while traffic runs; interrupted, it is finished by running it again. Exit code 1:
    another program was seen within a day (--force), something else is there, or it is not finished. 75: a clean-up
    runs.
    """
    from checkout_cli.commands.sessions.index_adoption import AdoptionReport, adopt_index
    from checkout_cli.commands.sessions.index_view import adoption_preview, show_adoption
    from checkout_cli.keys import INDEX
    from checkout_cli.terminal.prompt import confirm

    def agreed(found: AdoptionReport) -> bool:
        return confirm(adoption_preview(found), f"Put our index at {INDEX}?", yes=yes, dry_run=dry_run)

    with current().store(timeout) as store, bounded("Adopting", max_seconds, quiet=as_json) as run:
        report = adopt_index(store, run, agreed=agreed, force=force)
    show_adoption(report, as_json=as_json)
    return report
