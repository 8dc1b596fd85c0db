"""What every command shares: the global options, and the settings that come of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import typer

from checkout_cli.errors import InvalidInput

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from checkout_cli.config.settings import Settings
    from checkout_cli.store.checkout_store import CheckoutStore
    from checkout_cli.store.redis.admin import RedisAdmin

DEFAULT_TIMEOUT = 2.0
"""How long a command waits for one answer, in seconds. The shop's own default is far shorter (CHECKOUT_TIMEOUT)."""


def number_of_seconds(seconds: float | None) -> float | None:
    """NaN passes every comparison with a limit."""
    if seconds is not None and math.isnan(seconds):
        raise typer.BadParameter("nan is not a number of seconds")
    return seconds


JsonOption = Annotated[bool, typer.Option("--json", help="Answer with one JSON document on stdout.")]
TimeoutOption = Annotated[
    float,
    typer.Option(
        "--timeout", min=0.01, max=60, callback=number_of_seconds, help="Longest wait for one answer, in seconds."
    ),
]
WatchOption = Annotated[
    float | None,
    typer.Option(
        "--watch",
        "-w",
        min=0.5,
        max=86_400,
        callback=number_of_seconds,
        help="Look again every so many seconds, until Ctrl-C.",
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")]
RevealOption = Annotated[bool, typer.Option("--reveal", help="Show personal data unmasked.")]

Output = Literal["table", "json", "ndjson", "csv", "ids"]
OutputOption = Annotated[Output | None, typer.Option("--output", "-o", help="Default: table.")]


class Report(Protocol):
    """What a command returns: the answer that it has shown, which knows how the process should exit."""

    @property
    def exit_code(self) -> int:
        """One of :class:`~checkout_cli.errors.ExitCode`, or a monitoring plugin's."""


@dataclass
class Context:
    """The global options of one run."""

    flags: dict[str, Any] = field(default_factory=dict)
    directory: Path = field(default_factory=Path.cwd)

    def settings(self, timeout: float | None = None) -> Settings:
        """The settings for this run; says on stderr when a file of secrets is open to others.

        Raises:
            ConfigurationError: a setting is wrong.
        """
        from checkout_cli.config.settings import ENV_FILES, Settings, exposed
        from checkout_cli.terminal.output import warn

        flags = dict(self.flags)
        if timeout is not None:
            flags |= {"timeout": timeout, "database_timeout": timeout}
        local = self.directory / ENV_FILES[0]
        if exposed(local):
            warn(f"{local.name} can be read by others than its owner; chmod 600 {local}")
        settings = Settings.load(flags=flags, directory=self.directory)
        if settings.debug or settings.log_file:
            from checkout_cli.terminal.log import configure_logging

            configure_logging(settings)
        return settings

    def store(self, timeout: float | None = None) -> CheckoutStore:
        """The store for this run; use it in a ``with``."""
        import logging

        from checkout_cli.store.checkout_store import CheckoutStore

        # Ctrl-C while it closes a connection would be logged with a traceback; we say what happened ourselves.
        logging.getLogger("sqlalchemy").addHandler(logging.NullHandler())
        return CheckoutStore.open(self.settings(timeout))

    def redis(self, timeout: float | None = None) -> AbstractContextManager[RedisAdmin]:
        """Redis alone, for what asks nothing of the database: SQLAlchemy takes longer to load than many an answer."""
        from contextlib import closing

        from checkout_cli.store.redis.admin import RedisAdmin

        return closing(RedisAdmin(self.settings(timeout)))


def context_of(typer_context: typer.Context) -> Context:
    """The run's :class:`Context`, as the root command made it."""
    context = typer_context.obj
    assert isinstance(context, Context)  # noqa: S101  (the root callback runs before every command)
    return context


def output_of(output: Output | None, *, as_json: bool) -> Output:
    """The shape of a list, of which ``--json`` is one.

    Raises:
        InvalidInput: both options were given, and differ.
    """
    if as_json and output not in {None, "json"}:
        raise InvalidInput(f"--json and --output {output} contradict each other", hint="leave one of them out")
    return "json" if as_json else output or "table"


def audit(command: str, what: str) -> None:
    """Leave a trail, and tell the person, before anything is revealed."""
    from checkout_cli.files.audit import revealed
    from checkout_cli.terminal.output import narrate

    revealed(command, what)
    narrate(f"revealing personal data of {what}")
