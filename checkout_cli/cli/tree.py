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

from checkout_cli.commands.record import names, record_of, records


class CommandTree(TyperGroup):
    """The root group; its commands are those that have a record."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = cast("MutableMapping[str, Any]", _Commands())
        _explain(self, "checkoutctl health", "")

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # noqa: ARG002
        """The names, without building what they stand for."""
        return [record.name for record in records()]

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
            formatter.write_dl([(record.name, record.summary) for record in records()])


class _Commands(Mapping[str, Any]):
    """Each command by its name."""

    def __getitem__(self, name: str) -> Any:
        if name not in names():
            raise KeyError(name)
        return _built(name)

    def __iter__(self) -> Iterator[str]:
        return (record.name for record in records())

    def __len__(self) -> int:
        return len(names())


@cache
def _built(name: str) -> Any:
    """A group, ``app`` in the folder's ``command.py``, or a single command of the folder's name there.

    A single command has its ``COMMAND_CLASS`` if there is one.
    """
    record = record_of(name)
    module = import_module(f"checkout_cli.commands.{name}.command")
    if hasattr(module, "app"):
        command: Any = typer.main.get_group(module.app)
    else:
        single = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
        single.command(name, cls=getattr(module, "COMMAND_CLASS", None))(getattr(module, name))
        command = typer.main.get_command(single)
    command.name = name
    for words, each in _below(command, ""):
        _explain(each, record.example_of(words), record.summary)
    command.short_help = record.summary
    return command


def _below(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    """A command and all under it, each with the words below the first."""
    yield words, command
    for name, child in getattr(command, "commands", {}).items():
        yield from _below(child, f"{words} {name}".strip())


def _explain(command: Any, example: str, summary: str) -> None:
    """Let the help of a command begin with what to type; its text is the summary where it has none of its own."""
    text = (command.help or summary).strip()
    command.short_help = " ".join(text.partition("\n\n")[0].split()).partition(". ")[0]
    command.help = f"Example: {example}\n\n{text}"
