"""``checkoutctl cron``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from checkout_cli.arguments.context import DryRunOption, JsonOption, YesOption, context_of
from checkout_cli.arguments.numbers import Finite
from checkout_cli.errors import ExitCode, InvalidInput

if TYPE_CHECKING:
    from checkout_cli.commands.cron.crontab import Change

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

ForceOption = Annotated[bool, typer.Option("--force", help="Also in a crontab that another tool writes.")]


@app.callback()
def cron() -> None:
    """Clean-up, hand-over and health by themselves: every five minutes, mail only with trouble.

    Example: checkoutctl cron install
    """


@app.command("print")
def print_(
    typer_context: typer.Context,
    how: Annotated[Literal["crontab", "systemd"], typer.Option("--format", help="For cron or systemd.")] = "crontab",
) -> None:
    """Write the lines for a crontab, or systemd's units, to stdout.

    Example: checkoutctl cron print --format systemd
    """
    from checkout_cli.commands.cron.jobs import Setting, block, units
    from checkout_cli.commands.cron.view import show_units
    from checkout_cli.terminal.output import write

    setting = Setting.here(context_of(typer_context).directory)
    if how == "systemd":
        show_units(units(setting))
    else:
        write(block(setting))


@app.command()
def install(
    typer_context: typer.Context, dry_run: DryRunOption = False, yes: YesOption = False, force: ForceOption = False
) -> None:
    """Put the lines into your crontab, or bring them up to date; everything else in it stays as it is.

    The commands run in this directory (or -C), whose .env.local they read.

    Example: checkoutctl cron install --dry-run
    """
    from checkout_cli.commands.cron import crontab
    from checkout_cli.commands.cron.jobs import Setting, block, only_in_environment
    from checkout_cli.terminal.output import warn

    directory = context_of(typer_context).directory
    for name in only_in_environment(directory):
        warn(f"{name} is set in this shell alone, and cron will not have it: put it into {directory / '.env.local'}")
    wanted = block(Setting.here(directory))
    _apply(crontab.changed(crontab.read(), wanted, force=force), "installed", dry_run=dry_run, yes=yes)


@app.command()
def remove(dry_run: DryRunOption = False, yes: YesOption = False, force: ForceOption = False) -> None:
    """Take the lines out of your crontab; everything else in it stays as it is.

    Example: checkoutctl cron remove --yes
    """
    from checkout_cli.commands.cron import crontab

    _apply(crontab.changed(crontab.read(), None, force=force), "removed", dry_run=dry_run, yes=yes)


def _apply(change: Change, done: str, *, dry_run: bool, yes: bool) -> None:
    from checkout_cli.commands.cron import crontab
    from checkout_cli.terminal.output import narrate, write
    from checkout_cli.terminal.prompt import confirm

    if not change.diff:
        narrate(f"nothing to do: they are {done} already")
        return
    write(change.diff)
    if dry_run:
        return
    if not yes and not confirm("Change the crontab?"):
        narrate("nothing was changed")
        raise typer.Exit(ExitCode.FINDING)
    kept = crontab.write(change)
    narrate(done if kept is None else f"{done}; the crontab before is kept at {kept}")


@app.command()
def status(typer_context: typer.Context, as_json: JsonOption = False) -> None:
    """Say whether the lines are installed, and when each job ran last; asks no server.

    Exit code 1: they are not installed, or a job is overdue.

    Example: checkoutctl cron status
    """
    import time

    from checkout_cli.commands.cron import crontab
    from checkout_cli.commands.cron.jobs import Setting, block
    from checkout_cli.commands.cron.runs import statuses
    from checkout_cli.commands.cron.view import show_statuses

    now = time.time()
    found = statuses(now)
    installed = crontab.installed(block(Setting.here(context_of(typer_context).directory)))
    show_statuses(found, installed=installed, now=now, as_json=as_json)
    if installed == crontab.NOT_INSTALLED or any(each.overdue for each in found):
        raise typer.Exit(ExitCode.FINDING)


@app.command()
def run(
    typer_context: typer.Context,
    job: Annotated[str, typer.Argument(help="cleanup, sync or health.", show_default=False)],
    jitter: Annotated[
        float, typer.Option("--jitter", click_type=Finite(0, 600), help="Wait at most so many seconds first.")
    ] = 30,
) -> None:
    """Run one job as cron does: silent unless something is wrong, and noted for status.

    Example: checkoutctl cron run cleanup --jitter 0
    """
    from checkout_cli.commands.cron.jobs import JOBS, Setting
    from checkout_cli.commands.cron.runs import run as run_job

    if job not in JOBS:
        raise InvalidInput(f"no job is called {job[:64]!r}", hint=f"one of: {', '.join(JOBS)}")
    outcome = run_job(JOBS[job], Setting.here(context_of(typer_context).directory), jitter=jitter)
    if outcome.trouble:
        sys.stderr.write(outcome.said or f"checkoutctl {job} ended with {outcome.run.exit_code}\n")
        raise typer.Exit(outcome.run.exit_code)
