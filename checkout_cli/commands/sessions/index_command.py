"""``checkoutctl sessions index``."""

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

index = typer.Typer(
    help="Compare the index with the sessions, repair it, adopt it.", no_args_is_help=True, rich_markup_mode=None
)


@index.command()
def check(
    typer_context: typer.Context,
    as_json: JsonOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> Report:
    """Compare the index with the keys, both ways; changes nothing.

    Tells of sessions that it does not list, entries without a session, entries that are late, sessions that never
    end, and whether an older program's SET has them all. Exit code 1 where something needs repair. Safe while traffic
    runs.
    """
    from checkout_cli.commands.sessions.index import check_index
    from checkout_cli.commands.sessions.index_view import show_index
    from checkout_cli.jobs.priority import give_way
    from checkout_cli.terminal.progress import progress

    give_way()
    with context_of(typer_context).store(timeout) as store, progress("Checking", quiet=as_json) as advance:
        report = check_index(store, progress=advance)
    show_index(report, as_json=as_json)
    return report


@index.command()
def repair(
    typer_context: typer.Context,
    fix_ttl: Annotated[
        bool, typer.Option("--fix-ttl", help="Give sessions that never end the full time to live.")
    ] = False,
    max_seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after this long; the next run goes on.")
    ] = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> Report:
    """Enter what is missing, take out what has no session; no session is changed.

    An older program's SET stays where it is, and gets what it lacks. Shows what it found and asks; without a terminal
    it needs --yes. Safe while traffic runs; two never run at once, nor beside a clean-up: the second exits with 75.
    Exit code 1 where something is left.
    """
    from checkout_cli.commands.sessions.index import repair_index
    from checkout_cli.commands.sessions.index_view import repair_preview, show_index
    from checkout_cli.jobs.priority import give_way
    from checkout_cli.terminal.progress import progress
    from checkout_cli.terminal.prompt import confirm

    give_way()
    with context_of(typer_context).store(timeout) as store, progress("Repairing", quiet=as_json) as advance:
        report = repair_index(
            store,
            agreed=lambda found: confirm(
                () if dry_run else repair_preview(found, fix_ttl=fix_ttl),
                "Repair the index?",
                yes=yes,
                dry_run=dry_run,
            ),
            fix_ttl=fix_ttl,
            max_seconds=max_seconds,
            progress=advance,
        )
    show_index(report, as_json=as_json)
    return report


@index.command()
def adopt(
    typer_context: typer.Context,
    force: Annotated[bool, typer.Option("--force", help="Even if another program was seen within a day.")] = False,
    max_seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after this long; the next run goes on.")
    ] = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
) -> Report:
    """Replace an older program's SET at checkout:index by our own index, once that program is retired.

    Until then our index lies beside the SET, and both are kept. Asks first; without a terminal it needs --yes. Every
    session stays listed, also while traffic runs; interrupted, it is finished by running it again. Exit code 1:
    another program was seen within a day (--force), something else is there, or it is not finished. 75: a clean-up
    runs.
    """
    from checkout_cli.commands.sessions.index_adoption import adopt_index
    from checkout_cli.commands.sessions.index_view import adoption_preview, show_adoption
    from checkout_cli.jobs.priority import give_way
    from checkout_cli.keys import INDEX
    from checkout_cli.terminal.progress import progress
    from checkout_cli.terminal.prompt import confirm

    give_way()
    with context_of(typer_context).store(timeout) as store, progress("Adopting", quiet=as_json) as advance:
        report = adopt_index(
            store,
            agreed=lambda found: confirm(
                adoption_preview(found), f"Put our index at {INDEX}?", yes=yes, dry_run=dry_run
            ),
            force=force,
            max_seconds=max_seconds,
            progress=advance,
        )
    show_adoption(report, as_json=as_json)
    return report
