"""The command tree, its global options, and the one place where errors become exit codes.

Heavy imports (redis, SQLAlchemy, Rich) happen inside the command that needs them, so that ``--help`` and completion
stay fast.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from checkout_cli import __version__
from checkout_cli.cli import config
from checkout_cli.cli.cleanup import cleanup
from checkout_cli.cli.context import Context
from checkout_cli.cli.demo import demo
from checkout_cli.cli.ping import ping
from checkout_cli.cli.setup import setup
from checkout_cli.errors import CheckoutError

app = typer.Typer(
    name="checkoutctl",
    help="Operate the Redis behind a shop's checkout.",
    no_args_is_help=True,
    rich_markup_mode=None,  # Rich would more than double the time of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"checkoutctl {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    typer_context: typer.Context,
    redis_host: Annotated[str | None, typer.Option(help="Redis host (REDIS_HOST).")] = None,
    redis_port: Annotated[int | None, typer.Option(help="Redis port (REDIS_PORT).")] = None,
    redis_db: Annotated[int | None, typer.Option(help="Redis database number (REDIS_DB).")] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--directory", "-C", help="Where .env.local and .env are.", exists=True, file_okay=False, resolve_path=True
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every Redis operation to stderr.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Operate the Redis behind a shop's checkout.

    Passwords are never taken from the command line: set REDIS_PASSWORD, REDIS_PASSWORD_FILE or .env.local.
    """
    del version  # its callback has answered already
    flags = {"redis_host": redis_host, "redis_port": redis_port, "redis_db": redis_db}
    if verbose:
        flags["debug"] = "redis:*"
    typer_context.obj = Context(flags, directory or Path.cwd())
    if no_color:
        from checkout_cli.render.output import set_color

        set_color(False)


app.command()(cleanup)
app.command()(demo)
app.command()(ping)
app.add_typer(config.app, name="config")
app.command()(setup)


def main() -> None:
    """Run the command line; the entry point of the installed ``checkoutctl``."""
    _open_missing_streams()
    try:
        app(prog_name="checkoutctl")
    except CheckoutError as error:
        from checkout_cli.render.output import report

        report(error)
        sys.exit(error.exit_code)
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            from checkout_cli.render.output import leave_quietly

            leave_quietly()


def _open_missing_streams() -> None:
    """Whoever starts us may have closed a standard stream (``>&-``); a file of ours must not take its place."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115  (for as long as we run)
