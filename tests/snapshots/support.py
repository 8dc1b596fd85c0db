"""Snapshots as plain text files, one for each case, so that a change is read as a diff of what a user sees."""

from __future__ import annotations

from collections.abc import Iterator
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
