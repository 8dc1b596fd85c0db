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

COMMANDS = {
    "setup": "Set everything up, and prove that it works.",
    "demo": "See it all work on a real server, without a Redis of your own.",
    "doctor": "Examine all that checkouts depend on; say what to fix first.",
    "ping": "Time round trips to Redis; without an answer, say what fails.",
    "health": "Say whether sessions are served: healthy, degraded, unhealthy.",
    "config": "Show the settings, and what is wrong with them.",
    "sessions": "List, look at, create, change, delete and export sessions.",
    "sync": "Hand over what Redis and the database lack of each other.",
    "migrate": "Bring sessions to Redis, or to another one, without downtime.",
    "cleanup": "Remove what has expired from the index and the database.",
    "cache": "Look at, correct and invalidate what is cached.",
    "stats": "Show how checkouts went in the last minutes.",
    "top": "Watch all that moves on one screen, live.",
    "users": "See how users' checkouts went of late.",
    "memory": "See what takes Redis' memory, and limit it safely.",
    "info": "Show what Redis says of itself, and what that means.",
    "slowlog": "Show which commands took Redis long.",
    "latency": "Measure round trips, and what makes Redis pause.",
    "monitor": "Watch the commands that Redis gets at this moment.",
    "incident": "Write all findings into one redacted file; compare two.",
    "acl": "Show the least rules for users of Redis; check your own.",
    "bench": "Measure what Redis brings on your own servers.",
    "serve": "Answer health checks, management requests and Prometheus.",
    "cron": "Run clean-up, hand-over and health every five minutes.",
    "completion": "Complete commands, options and ids in bash, zsh and fish.",
}
"""What each is for, in the order of the help, which needs nothing else of them.

``checkout_cli.commands.NAME.command`` holds each: a group as ``app``, a single command as ``NAME``, with its
``COMMAND_CLASS`` if it has one of its own.
"""


class CommandTree(TyperGroup):
    """The root group; its commands are those of :data:`COMMANDS`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = cast("MutableMapping[str, Any]", _Commands())
        _example_first(self)

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # noqa: ARG002
        """The names, without building what they stand for."""
        return list(COMMANDS)

    def invoke(self, ctx: typer.Context) -> int | None:  # type: ignore[override]
        """Run the command that was typed, and exit with its code: it returns that, or a report that has it."""
        answer = super().invoke(ctx)
        code = answer if answer is None or isinstance(answer, int) else answer.exit_code
        if code:
            raise typer.Exit(code)
        return code

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # noqa: ARG002
        """The list in the help, which needs no command either."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


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
    module = import_module(f"checkout_cli.commands.{name}.command")
    if hasattr(module, "app"):
        command: Any = typer.main.get_group(module.app)
    else:
        single = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
        single.command(name, cls=getattr(module, "COMMAND_CLASS", None))(getattr(module, name))
        command = typer.main.get_command(single)
    command.name = name
    _example_first(command)
    command.short_help = COMMANDS[name]
    return command


def _example_first(command: Any) -> None:
    """Let the help of a command, and of those under it, begin with what to type; docstrings have it at their end."""
    paragraphs = (command.help or "").strip().split("\n\n")
    examples = [text for text in paragraphs if text.startswith("Example")]
    others = [text for text in paragraphs if text not in examples]
    command.short_help = " ".join(others[0].split()).partition(". ")[0]
    command.help = "\n\n".join([*examples, *others])
    if not isinstance(command, CommandTree):  # whose commands are built when they are asked for
        for child in getattr(command, "commands", {}).values():
            _example_first(child)
