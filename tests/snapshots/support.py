"""Snapshots as plain text files, one for each case, so that a change is read as a diff of what a user sees."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import typer
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from checkout_cli.cli.main import app


class TextFile(SingleFileSnapshotExtension):
    """One UTF-8 file, named as the test and its case are."""

    _write_mode = WriteMode.TEXT
    file_extension = "txt"


def walk(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group of the tree with the words that lead to it."""
    command = command or typer.main.get_command(app)
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from walk(child, (*path, name))


@cache
def commands() -> dict[str, Any]:
    """Everything that does something by itself, by its name in the tree: commands, and a few of the groups."""
    return {
        " ".join(path): command
        for path, command in walk()
        if not hasattr(command, "commands") or command.invoke_without_command
    }


def shapes_of(command: Any) -> list[str]:
    """The options after which a command answers in another shape than a table: ``--json``, ``--output csv`` …"""
    found = []
    for parameter in command.params:
        if "--json" in parameter.opts:
            found.append("--json")
        elif "--output" in parameter.opts:
            found += [f"--output {shape}" for shape in parameter.type.choices if shape not in {"table", "json"}]
    return found


def readable(text: str) -> str:
    """With what a terminal obeys and an editor hides made visible: escape sequences, and the line ends of CSV."""
    return text.replace("\x1b", "␛").replace("\r\n", "␍\n")


def shape_of(text: str) -> str:
    """Of a text that is another one at each run: its words, without numbers, drawings and how wide its tables are."""
    text = re.sub(r"[▁▂▃▄▅▆▇█░·]+", "▁", text)
    text = re.sub(r"-?\d[\d.,]*", "#", text)
    return re.sub(r" {2,}", "  ", text.replace("does not hold here", "holds here"))
