"""Commands that are imported and built when they are asked for.

Typer builds all commands at every start, which costs more with each one that we add: with a dozen of them, a fifth of
the time of ``--version``. Only help and completion need to see them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from functools import cache
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperGroup

COMMANDS = (
    "setup",
    "demo",
    "doctor",
    "ping",
    "health",
    "config",
    "sessions",
    "sync",
    "migrate",
    "cleanup",
    "cache",
    "stats",
    "top",
    "users",
    "memory",
    "info",
    "slowlog",
    "latency",
    "monitor",
    "incident",
    "acl",
    "bench",
    "serve",
    "cron",
    "completion",
)
"""In the order of the help. ``checkout_cli.cli.NAME`` holds each: a group as ``app``, a single command as ``NAME``."""


class CommandTree(TyperGroup):
    """The root group; its commands are those of :data:`COMMANDS`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = cast("MutableMapping[str, Any]", _Commands())

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # noqa: ARG002
        """The names, without building what they stand for."""
        return list(COMMANDS)


class _Commands(Mapping[str, Any]):
    """Each command by its name."""

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        return _built(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


@cache
def _built(name: str) -> Any:
    module = import_module(f"checkout_cli.cli.{name}")
    if hasattr(module, "app"):
        command: Any = typer.main.get_group(module.app)
    else:
        single = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
        single.command(name)(getattr(module, name))
        command = typer.main.get_command(single)
    command.name = name
    return command
