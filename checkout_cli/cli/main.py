"""The root command with its global options, and the one place where errors become exit codes.

Heavy imports (redis, SQLAlchemy, Rich) happen inside the command that needs them: ``--help`` and completion stay fast.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from checkout_cli import __version__
from checkout_cli.arguments.context import Context, begin
from checkout_cli.cli.tree import CommandTree, command_words
from checkout_cli.errors import CheckoutError, Declined, ExitCode

app = typer.Typer(
    name="checkoutctl",
    cls=CommandTree,
    no_args_is_help=True,
    rich_markup_mode=None,  # Rich would more than double the time of --help
    pretty_exceptions_enable=False,
    add_completion=False,  # two options less in every --help; completions/ and _CHECKOUTCTL_COMPLETE do the same
    context_settings={"help_option_names": ["-h", "--help"]},
)


_COMPLETION = "_CHECKOUTCTL_COMPLETE"
"""What the shell sets when it asks for completions; ``source_bash`` (or zsh, fish) asks for the shell's own script."""


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"checkoutctl {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    redis_host: Annotated[str | None, typer.Option(help="Redis host (REDIS_HOST).")] = None,
    redis_port: Annotated[int | None, typer.Option(help="Redis port (REDIS_PORT).")] = None,
    redis_db: Annotated[int | None, typer.Option(help="Redis database number (REDIS_DB).")] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--directory", "-C", help="Where .env.local and .env are.", exists=True, file_okay=False),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every Redis operation to stderr.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colour.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Operate the Redis behind a shop's checkout.

    Passwords are never taken from the command line: set REDIS_PASSWORD, REDIS_PASSWORD_FILE or .env.local.

    3 a.m.? checkoutctl doctor says what is broken, whom it hurts, and what to type.

    New here? checkoutctl demo shows it all without a Redis; checkoutctl setup sets everything up.
    """
    del version  # its callback has answered already
    flags = {"redis_host": redis_host, "redis_port": redis_port, "redis_db": redis_db}
    if verbose:
        flags["debug"] = "redis:*"
    if directory is not None:
        from checkout_cli.files.directories import as_typed

        directory = as_typed(directory)
    begin(Context(flags, directory))
    from checkout_cli.terminal.output import begin_run, set_color

    begin_run(
        _typed_again({"-C": directory}),
        _typed_again({"--redis-host": redis_host, "--redis-port": redis_port, "--redis-db": redis_db}),
    )
    if no_color:
        set_color(False)


def _typed_again(given: Mapping[str, object]) -> str:
    """The options that were given, as the next command needs them to be about the same files and servers."""
    from checkout_cli.typed import typed

    return " ".join(typed(f"{option} {{}}", value) for option, value in given.items() if value is not None)


def main() -> None:
    """Run the command line; the entry point of the installed ``checkoutctl``."""
    from checkout_cli.terminal import command_line

    _prepare_streams()
    command_line.remember(sys.argv[1:])
    if _COMPLETION in os.environ:
        from typer._completion_classes import completion_init

        completion_init()
    try:
        if any(word.split("=")[0] == "--nagios" for word in sys.argv[1:]):
            _as_plugin()
        app(prog_name="checkoutctl")
    except CheckoutError as error:
        _fail(error)
    except OSError as error:  # such as a full disk under stdout while Typer writes its help
        from checkout_cli.terminal.output import narrate

        if isinstance(error, FileNotFoundError):  # a relative path, and no working directory that it begins at
            from checkout_cli.files.directories import working_directory

            try:
                working_directory()
            except CheckoutError as gone:
                _fail(gone)
        narrate(f"error: {error}")
        sys.exit(ExitCode.FINDING)
    except KeyboardInterrupt:  # so early or so late that Typer does not catch it
        sys.exit(ExitCode.INTERRUPTED)
    finally:
        _finish_stdout()


def _fail(error: CheckoutError) -> NoReturn:
    from checkout_cli.terminal.output import report, show_next

    report(error)
    if not isinstance(error, Declined):
        show_next(error.next_step or f"checkoutctl {command_words(sys.argv[1:])}--help")
    sys.exit(error.exit_code)


def _as_plugin() -> NoReturn:
    """Run as a monitoring plugin: whatever goes wrong is UNKNOWN (3); a usage error's 2 would mean CRITICAL."""
    try:
        code = app(prog_name="checkoutctl", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  (a mistake of ours is UNKNOWN too, and no WARNING)
        from checkout_cli.commands.health.nagios_view import show_unknown

        code = show_unknown(str(getattr(error, "message", error)) or type(error).__name__)
    sys.exit(code)


def _prepare_streams() -> None:
    """Let stdout and stderr take any text, and keep a file of ours from taking a closed stream's place."""
    from checkout_cli.terminal import plain

    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us (``>&-``)
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115  (for as long as we run)
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=plain.ERRORS)


def _finish_stdout() -> None:
    """Flush what Typer has written; the exit code stays where nobody reads it."""
    try:
        sys.stdout.flush()
    except OSError as error:
        from checkout_cli.terminal.output import drop_stdout, narrate, reader_has_gone

        drop_stdout()
        if not reader_has_gone(error):
            narrate(f"error: the answer cannot be written: {error.strerror or error}")
