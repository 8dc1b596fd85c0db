"""``checkoutctl cron``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from checkout_cli.arguments import options
from checkout_cli.arguments.context import Report, current
from checkout_cli.arguments.options import Finite

if TYPE_CHECKING:
    from checkout_cli.commands.cron.crontab import Change

app = typer.Typer(
    help="Clean-up, hand-over and health by themselves: every five minutes, mail only with trouble.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

ForceOption = Annotated[bool, typer.Option("--force", help="Also in a crontab that another tool writes.")]


@app.command("print")
def print_(
    how: Annotated[Literal["crontab", "systemd"], typer.Option("--format", help="For cron or systemd.")] = "crontab",
    as_json: options.Json = False,
) -> None:
    """Write the lines for a crontab, or systemd's units, to stdout."""
    from checkout_cli.commands.cron.jobs import Setting, block, units
    from checkout_cli.commands.cron.view import show_units
    from checkout_cli.terminal.output import write, write_json

    setting = Setting.here(current().directory)
    if as_json:
        write_json({"units": units(setting)} if how == "systemd" else {"crontab": block(setting)})
    elif how == "systemd":
        show_units(units(setting))
    else:
        write(block(setting))


@app.command()
def install(
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    force: ForceOption = False,
    as_json: options.Json = False,
) -> None:
    """Put the lines into your crontab, or bring them up to date; everything else in it stays as it is.

    The commands run in this directory (or -C), whose .env.local they read.
    """
    from checkout_cli.commands.cron import crontab
    from checkout_cli.commands.cron.jobs import Setting, block, moved_by_environment, only_in_environment
    from checkout_cli.terminal.output import warn

    directory = current().directory
    for name, place in only_in_environment(directory, os.environ).items():
        warn(f"{name} is set in this shell alone, and cron will not have it: put it {place}")
    current().note_defaults()
    for moved in moved_by_environment(directory, os.environ):
        warn(moved)
    wanted = block(Setting.here(directory))
    change = crontab.changed(crontab.read(), wanted, force=force)
    _apply(change, "installed", dry_run=dry_run, yes=yes, as_json=as_json)


@app.command()
def remove(
    dry_run: options.DryRun = False,
    yes: options.Yes = False,
    force: ForceOption = False,
    as_json: options.Json = False,
) -> None:
    """Take the lines out of your crontab; everything else in it stays as it is."""
    from checkout_cli.commands.cron import crontab

    change = crontab.changed(crontab.read(), None, force=force)
    _apply(change, "removed", dry_run=dry_run, yes=yes, as_json=as_json)


def _apply(change: Change, done: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    from checkout_cli.commands.cron import crontab, runs
    from checkout_cli.terminal.output import narrate, write, write_json
    from checkout_cli.terminal.prompt import confirm

    kept, written = None, False
    if not change.diff:
        narrate(f"nothing to do: they are {done} already")
    else:
        if not as_json:
            write(change.diff)
        if confirm(change.diff.splitlines() if as_json else (), "Change the crontab?", yes=yes, dry_run=dry_run):
            kept, written = crontab.write(change), True
            runs.note_installed(installed=done == "installed")
            narrate(done if kept is None else f"{done}; the crontab before is kept at {kept}")
    if as_json:
        write_json(change, changed=written, keptAt=None if kept is None else str(kept))


@app.command()
def status(as_json: options.Json = False) -> Report:
    """Say whether the lines are installed, and when each job ran last; asks no server.

    Exit code 1: they are not installed, or a job is overdue or ended with an error.
    """
    from checkout_cli.commands.cron import runs
    from checkout_cli.commands.cron.jobs import Setting, moved_by_environment
    from checkout_cli.commands.cron.view import show_status
    from checkout_cli.terminal.output import warn

    for moved in moved_by_environment(current().directory, os.environ):
        warn(moved)
    found = runs.status(Setting.here(current().directory))
    show_status(found, as_json=as_json)
    return found


@app.command()
def run(
    job: Annotated[str, typer.Argument(help="cleanup, sync or health.", show_default=False)],
    jitter: Annotated[
        float, typer.Option("--jitter", click_type=Finite(0, 600), help="Wait at most so many seconds first.")
    ] = 30,
    as_json: options.Json = False,
) -> Report:
    """Run one job as cron does: silent unless something is wrong, and noted for status."""
    from checkout_cli.commands.cron import runs
    from checkout_cli.commands.cron.jobs import Setting
    from checkout_cli.commands.cron.view import show_outcome

    outcome = runs.run(runs.job_called(job), Setting.here(current().directory), jitter=jitter)
    show_outcome(job, outcome, as_json=as_json)
    return outcome
