"""The run of a command: its global options, and the settings and servers that come of them."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer

from checkout_cli.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from checkout_cli.config.settings import Settings
    from checkout_cli.jobs.bounded_run import BoundedRun
    from checkout_cli.store.checkout_store import CheckoutStore
    from checkout_cli.store.redis.admin import RedisAdmin


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


_CURRENT: ContextVar[Context] = ContextVar("context")


def begin(context: Context) -> None:
    """This is the run from now on; the root command says so before any other begins."""
    _CURRENT.set(context)


def current() -> Context:
    """The run's :class:`Context`, as the root command made it."""
    return _CURRENT.get()


@contextmanager
def bounded(
    title: str, max_seconds: float | None = None, *, rate: float | None = None, quiet: bool = False
) -> Iterator[BoundedRun]:
    """A run of long work: behind the shop, with a bar for who watches."""
    from checkout_cli.jobs import priority
    from checkout_cli.jobs.bounded_run import BoundedRun
    from checkout_cli.terminal.progress import progress

    priority.give_way()
    with progress(title, quiet=quiet) as advance:
        yield BoundedRun(max_seconds=max_seconds, rate=rate, progress=advance)


def only_with(typer_context: typer.Context, *options: str, what: str, given: bool) -> None:
    """Refuse options that would be ignored, because what they are about was not asked for.

    Raises:
        InvalidInput: one of them was typed.
    """
    for option in options if not given else ():
        source = typer_context.get_parameter_source(option)
        if source is not None and source.name == "COMMANDLINE":
            raise InvalidInput(f"--{option.replace('_', '-')} is about {what}", hint="leave it out")


def audit(command: str, what: str) -> None:
    """Leave a trail, and tell the person, before anything is revealed."""
    from checkout_cli.files.audit import revealed
    from checkout_cli.terminal.output import narrate

    revealed(command, what)
    narrate(f"revealing personal data of {what}")
