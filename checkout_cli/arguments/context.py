"""The run of a command: its global options, and the settings and servers that come of them."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer
from typer._click.globals import get_current_context  # Typer's own click, which it does not export

from checkout_cli.errors import InvalidInput
from checkout_cli.files.directories import working_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from checkout_cli.config.settings import Settings
    from checkout_cli.config.variables import Resolved
    from checkout_cli.jobs.bounded_run import BoundedRun
    from checkout_cli.store.checkout_store import CheckoutStore
    from checkout_cli.store.redis.admin import RedisAdmin


class Report(Protocol):
    """A command's result, already shown; its exit code may be a monitoring plugin's."""

    @property
    def exit_code(self) -> int: ...

    @property
    def next_step(self) -> str:
        """The command to type next where the exit code is not 0."""


@dataclass
class Context:
    """The global options of one run."""

    flags: dict[str, Any] = field(default_factory=dict)
    chosen: Path | None = None
    are_defaults_noted: bool = False

    @property
    def directory(self) -> Path:
        """Where the environment files are; raises ``ConfigurationError`` where the working directory is gone."""
        return self.chosen or working_directory()

    def settings(self, timeout: float | None = None) -> Settings:
        """The settings; warns where a file of secrets is open to others, and notes where nothing configures a place.

        Raises ``ConfigurationError``.
        """

        from checkout_cli.config.settings import Settings, env_files, exposed
        from checkout_cli.terminal.output import warn
        from checkout_cli.typed import typed

        local = next(iter(env_files(self.directory)))
        if exposed(local):
            warn(f"{local.name} can be read by others than its owner; {typed('chmod 600 {}', local)}")
        timeouts = {} if timeout is None else {"timeout": timeout, "database_timeout": timeout}
        settings = Settings.load(flags=self.flags | timeouts, directory=self.directory)
        if settings.debug or settings.log_file:
            from checkout_cli.terminal.log import configure_logging

            configure_logging(settings)
        self.note_defaults()
        return settings

    def resolved(self) -> dict[str, Resolved]:
        """Every setting with its origin; raises ``ConfigurationError`` for an unreadable file."""
        from checkout_cli.config.settings import resolve

        return resolve(flags=self.flags, directory=self.directory)

    def note_defaults(self) -> None:
        """Say once, on stderr, that no file, variable or flag says where Redis and the database are."""
        from checkout_cli.config.settings import is_configured
        from checkout_cli.terminal.output import narrate

        is_flagged = any(value is not None for name, value in self.flags.items() if name != "debug")
        if self.are_defaults_noted or is_flagged or _is_silent():
            return
        self.are_defaults_noted = True
        if not is_configured(self.directory):
            narrate(
                f"note: no .env.local in {self.directory}: using defaults, Redis at localhost:6379 "
                "(checkoutctl setup, or -C DIRECTORY)"
            )

    def store(self, timeout: float | None = None) -> CheckoutStore:
        """The store, for use in a ``with``."""
        import logging

        from checkout_cli.store.checkout_store import CheckoutStore

        # Ctrl-C while it closes a connection would be logged with a traceback; we say what happened ourselves.
        logging.getLogger("sqlalchemy").addHandler(logging.NullHandler())
        return CheckoutStore.open(self.settings(timeout))

    def redis(self, timeout: float | None = None) -> AbstractContextManager[RedisAdmin]:
        """Redis alone, where the database is not asked: SQLAlchemy takes longer to load than many an answer."""
        from contextlib import closing

        from checkout_cli.store.redis.admin import RedisAdmin

        return closing(RedisAdmin(self.settings(timeout)))


def _is_silent() -> bool:
    """Whether the command was asked to say nothing while all is well."""
    running = get_current_context(silent=True)
    return running is not None and bool(running.params.get("quiet") or running.params.get("nagios"))


_CURRENT: ContextVar[Context] = ContextVar("context")


def begin(context: Context) -> None:
    """Make this the current run."""
    _CURRENT.set(context)


def current() -> Context:
    """The context of this run, as the root command made it."""
    return _CURRENT.get()


@contextmanager
def bounded(
    title: str, max_seconds: float | None = None, *, rate: float | None = None, quiet: bool = False
) -> Iterator[BoundedRun]:
    """A run of long work at low priority, with a progress bar on a terminal."""
    from checkout_cli.jobs import priority
    from checkout_cli.jobs.bounded_run import BoundedRun
    from checkout_cli.terminal.progress import progress

    priority.give_way()
    with progress(title, quiet=quiet) as advance:
        yield BoundedRun(max_seconds=max_seconds, rate=rate, progress=advance)


def only_with(typer_context: typer.Context, *options: str, what: str, given: bool) -> None:
    """Raise ``InvalidInput`` for typed options that would be ignored, because their subject was not asked for."""
    for option in options if not given else ():
        source = typer_context.get_parameter_source(option)
        if source is not None and source.name == "COMMANDLINE":
            raise InvalidInput(f"--{option.replace('_', '-')} is about {what}", hint="leave it out")


def audit(command: str, what: str) -> None:
    """Record who is about to see personal data, by which command, and tell the person; or refuse."""
    import logging

    from checkout_cli.files.audit_trail import record
    from checkout_cli.terminal.output import narrate, set_revealed

    user = record(command, what)
    logging.getLogger("checkout_cli.audit").info("%s reveals personal data of %s by %s", user, what, command)
    narrate(f"revealing personal data of {what}")
    set_revealed()
