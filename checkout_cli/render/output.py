"""The two ways out: data on stdout, narration on stderr.

A terminal gets Rich tables; a pipe gets plain, aligned, untruncated text. A reader that goes away (``| head -1``) ends
the process quietly.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from checkout_cli.errors import CheckoutError, ExitCode, Locked
from checkout_cli.render.safe import safe

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

SCHEMA_VERSION = 1
"""Of every JSON document that we print; raised when a field changes its meaning or goes away."""

_CSV_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\0", "\N{FULLWIDTH EQUALS SIGN}")

_style = {"color": True}


@dataclass(frozen=True)
class Column:
    """One column of a table: its title, and whether it holds numbers (aligned to the right)."""

    title: str
    number: bool = False


def set_color(wanted: bool) -> None:
    """Switch colour off for good (``--no-color``); the environment and a missing terminal switch it off anyway."""
    _style["color"] = wanted


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at this stream."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def console(stream: TextIO | None = None) -> Console:
    """A Rich console for a stream, with our rules for colour; imported here because Rich is slow to load."""
    from rich.console import Console

    color = _style["color"] and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Console(file=stream or sys.stdout, no_color=not color, highlight=False, markup=False, emoji=False)


def write(text: str) -> None:
    """Write data to stdout and flush it, so that a stream can be followed; a closed pipe ends the process quietly."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        leave_quietly()
    except OSError as error:
        _discard_output()
        raise CheckoutError(f"the answer cannot be written: {error.strerror}", hint="df -h") from error


def leave_quietly() -> None:
    """End a process whose reader has gone, without a message at interpreter exit."""
    _discard_output()
    raise SystemExit(ExitCode.OK)


def _discard_output() -> None:
    """Let what is still buffered go nowhere, so that nothing fails again at interpreter exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write_line(text: str = "") -> None:
    """One line of data."""
    write(text + "\n")


def write_json(document: dict[str, Any]) -> None:
    """One JSON document, indented, with ``schemaVersion`` first."""
    write_line(json.dumps({"schemaVersion": SCHEMA_VERSION, **document}, indent=2, ensure_ascii=True))


def write_ndjson(documents: Iterable[dict[str, Any]]) -> None:
    """One JSON document a line, written as they come."""
    for document in documents:
        write_line(json.dumps({"schemaVersion": SCHEMA_VERSION, **document}, ensure_ascii=True, separators=(",", ":")))


def write_csv(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """CSV (RFC 4180) in which no cell can be taken for a formula by a spreadsheet."""
    for row in (titles, *rows) if isinstance(rows, Sequence) else _with_titles(titles, rows):
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow([csv_cell(value) for value in row])
        write(line.getvalue())


def _with_titles(titles: Sequence[object], rows: Iterable[Sequence[object]]) -> Iterable[Sequence[object]]:
    yield titles
    yield from rows


def csv_cell(value: object) -> str:
    """A cell as text; what a spreadsheet would run as a formula gets an apostrophe, numbers stay numbers."""
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        return str(value)
    text = safe(value)
    return f"'{text}" if text.startswith(_CSV_FORMULA) else text


def write_table(columns: Sequence[Column], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """A table on stdout: Rich on a terminal, else plain aligned text that is never cut."""
    cells = [["" if value is None else safe(value) for value in row] for row in rows]
    if is_terminal(sys.stdout):
        show(_rich_table(columns, cells, title))
    else:
        write(_plain_table(columns, cells))


def show(renderable: RenderableType) -> None:
    """Print something of Rich to stdout."""
    try:
        console().print(renderable)
        sys.stdout.flush()
    except BrokenPipeError:
        leave_quietly()


def _rich_table(columns: Sequence[Column], cells: Sequence[Sequence[str]], title: str | None) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column.title, justify="right" if column.number else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _plain_table(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> str:
    lines = [[column.title for column in columns], *cells]
    widths = [max(len(line[position]) for line in lines) for position in range(len(columns))]
    return "".join(
        "  ".join(
            cell.rjust(width) if column.number else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ).rstrip()
        + "\n"
        for line in lines
    )


def narrate(text: str) -> None:
    """Tell the person something that is not data: on stderr, one line."""
    with contextlib.suppress(BrokenPipeError, ValueError):
        sys.stderr.write(safe(text) + "\n")
        sys.stderr.flush()


def warn(text: str) -> None:
    """Tell the person of something that is wrong and does not stop us."""
    narrate(f"warning: {text}")


def report(error: CheckoutError) -> None:
    """Say what went wrong, in one line, and what to type next, in another."""
    narrate(str(error) if isinstance(error, Locked) else f"error: {error}")
    if error.hint:
        narrate(f"  next: {error.hint}")
