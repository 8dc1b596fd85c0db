"""Commands that are imported and built when they are asked for.

Typer would build all of them at every start: with a dozen, a fifth of the time of ``--version``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperGroup

from checkout_cli.commands.record import names, record_of, records
from checkout_cli.errors import ExitCode


class CommandTree(TyperGroup):
    """The root group; its commands are those with a record."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = cast("MutableMapping[str, Any]", _Commands())
        _explain(self, "checkoutctl health", "")

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # noqa: ARG002
        return [record.name for record in records()]

    def invoke(self, ctx: typer.Context) -> int | None:  # type: ignore[override]
        """Run the command and exit with its code, which it returns itself or in a report.

        Here, and for errors in ``main``, is where every answer that is not fine gets its ``next:``.
        """
        answer = super().invoke(ctx)
        code = answer if answer is None or isinstance(answer, int) else answer.exit_code
        if code and code != ExitCode.INTERRUPTED:
            from checkout_cli.terminal.output import show_next

            show_next(getattr(answer, "next_step", ""))
        if code:
            raise typer.Exit(code)
        return code

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # noqa: ARG002
        width = max(map(len, names()))  # the same column in every group
        for title, group in itertools.groupby(records(), key=lambda record: record.group):
            with formatter.section(title):
                formatter.write_dl([(record.name.ljust(width), record.summary) for record in group])


def command_words(arguments: Sequence[str]) -> str:
    """The words of a command line that name its command, with a space after each."""
    words, group = "", dict.fromkeys(names())
    for word in arguments:
        if word in group:
            command = _built(word) if not words else group[word]
            words, group = f"{words}{word} ", getattr(command, "commands", {})
    return words


class _Commands(Mapping[str, Any]):
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
    """The group ``app`` of the folder's ``command.py``, or the command of its name, of ``COMMAND_CLASS`` if any."""
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
    """Begin a command's help with an example; its text is the summary where it has none of its own."""
    text = (command.help or summary).strip()
    command.short_help = " ".join(text.partition("\n\n")[0].split()).partition(". ")[0]
    command.help = f"Example: {example}\n\n{text}"
