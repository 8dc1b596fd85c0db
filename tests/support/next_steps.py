"""Whether a command that is printed to be typed is one: known, with options that it has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

from checkout_cli.cli.main import app
from checkout_cli.typed import is_typeable


def insist_on_command(line: str) -> None:
    """Raise ``AssertionError`` where a shell or our own command line would refuse a line."""
    assert is_typeable(line), f"not to be typed as it is: {line}"
    for words in _ours(line):
        _parse(words)


def _ours(line: str) -> Iterator[list[str]]:
    for command in re.split(r"\s*(?:&&|;)\s*", line):
        words = shlex.split(command)
        while words and "=" in words[0]:
            words.pop(0)
        if words[:1] == ["checkoutctl"]:
            yield words[1:]


def _parse(words: list[str]) -> None:
    """As the command line would, without running anything."""
    import typer

    command: Any = typer.main.get_command(app)
    rest, context = words, None
    while True:
        try:
            context = command.make_context(command.name or "checkoutctl", list(rest), parent=context)
        except typer.Exit:  # its help, or its version
            return
        except Exception as refusal:
            raise AssertionError(f"checkoutctl {shlex.join(words)}: {refusal}") from refusal
        rest = [*context._protected_args, *context.args] if hasattr(context, "_protected_args") else context.args
        if not rest or not hasattr(command, "commands"):
            return
        assert rest[0] in command.commands, f"checkoutctl {shlex.join(words)}: no such command"
        command, rest = command.commands[rest[0]], rest[1:]
