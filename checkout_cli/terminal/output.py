"""The two ways out: data on stdout, narration on stderr.

A terminal gets Rich tables; a pipe gets plain, aligned, untruncated text. A reader that has gone (``| head -1``) ends
the process quietly.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TextIO, TypeVar

from checkout_cli.errors import CheckoutError, Declined, ExitCode, Locked
from checkout_cli.strict_json import json_text
from checkout_cli.terminal import command_line
from checkout_cli.terminal.safe import safe
from checkout_cli.typed import is_typeable, with_options

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

SCHEMA_VERSION = 1
"""The version of every JSON document, raised when a field changes its meaning or goes away."""
_BETWEEN_COLUMNS = 3
"""Characters, on a terminal."""


_TELLING = frozenset("@%+")
"""One of them is in every address, and in every number that is one wherever it stands."""
_style = {"color": True, "revealed": False}


class OfOneServer(Protocol):
    """An answer of the server at ``place``."""

    @property
    def place(self) -> str: ...


S = TypeVar("S", bound=OfOneServer)


@dataclass(frozen=True)
class Column:
    """A column's title and alignment (numbers to the right).

    A ``note`` is left out of a list where it is empty, an ``extra`` column where the terminal is too narrow.
    """

    title: str
    number: bool = False
    note: bool = False
    extra: bool = False


def columns_of(*titles: str) -> tuple[Column, ...]:
    """Columns by title; ``#`` before it marks numbers, ``?`` a note, ``-`` an extra column."""
    split = [(title.lstrip("#?-"), title[: len(title) - len(title.lstrip("#?-"))]) for title in titles]
    return tuple(Column(name, "#" in marks, "?" in marks, "-" in marks) for name, marks in split)


def set_color(wanted: bool) -> None:
    """Switch colour off (``--no-color``); the environment and a missing terminal do so anyway."""
    _style["color"] = wanted


def set_revealed() -> None:
    """Let personal data pass from now on (``--reveal``)."""
    _style["revealed"] = True


def is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def console(stream: TextIO | None = None) -> Console:
    """A Rich console for a stream, with our rules for colour; imported here because Rich is slow to load."""
    from rich.console import Console

    class QuietConsole(Console):
        def on_broken_pipe(self) -> None:  # Rich's own exits with 1
            leave_quietly()

    color = _style["color"] and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return QuietConsole(
        file=stream or sys.stdout,
        color_system="auto" if color else None,  # None writes no escape sequence at all, not even for bold
        highlight=False,
        markup=False,
        emoji=False,
    )


def write(text: str) -> None:
    """Write data to stdout and flush it, so that it can be followed; ``CheckoutError`` if the disk is full."""
    with _output():
        sys.stdout.write(text)
        sys.stdout.flush()


@contextlib.contextmanager
def _output() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if reader_has_gone(error):
            leave_quietly()
        drop_stdout()
        raise CheckoutError(f"the answer cannot be written: {error.strerror or error}", hint="df -h") from error


def reader_has_gone(error: OSError) -> bool:
    """Whether nobody reads any more; Windows says EINVAL there."""
    return isinstance(error, BrokenPipeError) or (os.name == "nt" and error.errno == errno.EINVAL)


def drop_stdout() -> None:
    """Discard what is buffered for stdout, so that the interpreter does not fail on it at its exit."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123  (a device)
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def leave_quietly() -> NoReturn:
    """End a process whose reader has gone, without a message at interpreter exit."""
    drop_stdout()
    raise SystemExit(ExitCode.OK)


def write_line(text: str = "") -> None:
    write(text + "\n")


def write_json(result: Any, **more: Any) -> None:
    """One indented JSON document: ``schemaVersion``, the result, and ``more`` last."""
    write_line(json_text(with_schema(result) | more, indent=2))


def write_ndjson(results: Iterable[Any]) -> None:
    """One JSON document a line, as they come."""
    for result in results:
        write_line(json_text(with_schema(result)))


def with_schema(result: Any) -> dict[str, Any]:
    """A result as a whole document."""
    from checkout_cli.terminal.document import document  # which a ping without JSON need not load

    return {"schemaVersion": SCHEMA_VERSION, **(result if isinstance(result, dict) else document(result))}


def write_table(columns: Sequence[Column], rows: Sequence[Sequence[object]]) -> None:
    """A table on stdout: Rich on a terminal, without extra columns where it is narrow; else plain text, never cut."""
    cells = [["" if value is None else safe(value) for value in row] for row in rows]
    if is_terminal(sys.stdout):
        shown = _fitting(columns, cells, console().width)
        show(rich_table([columns[place] for place in shown], [[row[place] for place in shown] for row in cells]))
        if hidden := [column.title for place, column in enumerate(columns) if place not in shown]:
            narrate(f"hidden on this narrow terminal: {', '.join(hidden)}")
    else:
        write(_plain_table(columns, cells))


def width_of(columns: Sequence[Column], cells: Iterable[Sequence[str]]) -> list[int]:
    """The characters that each column takes on a terminal, with the gap behind it."""
    lines = zip([column.title for column in columns], *cells, strict=True)
    return [max(map(len, texts)) + _BETWEEN_COLUMNS for texts in lines]


def _fitting(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """The places of the columns to show: the last extra columns go first, until the rest fits."""
    widths = width_of(columns, cells)
    shown = list(range(len(columns)))
    for place in reversed(range(len(columns))):
        if sum(widths[each] for each in shown) > width and columns[place].extra:
            shown.remove(place)
    return shown


def show(renderable: RenderableType) -> None:
    """Print a Rich renderable to stdout."""
    with _output():
        console().print(renderable)
        sys.stdout.flush()


def by_server(servers: Iterable[S]) -> Iterator[S]:
    """Each server's answer in turn, under its name where there are several."""
    several = list(servers)
    for number, server in enumerate(several):
        if number:
            write_line()
        if len(several) > 1:
            write_line(safe(server.place))
        yield server


def rich_table(
    columns: Sequence[Column], cells: Iterable[Sequence[str | Text]], title: str | None = None
) -> RenderableType:
    """The table for a terminal, as a part of something larger; cells may have a style."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    heading = None if title is None else Text(safe(title))
    table = Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column.title, justify="right" if column.number else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(safe(cell)) if isinstance(cell, str) else cell for cell in row))
    return table


def _plain_table(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> str:
    lines = [[column.title for column in columns], *cells]
    padded = []
    for column, texts in zip(columns, zip(*lines, strict=True), strict=True):
        width = max(map(len, texts))
        padded.append([text.rjust(width) if column.number else text.ljust(width) for text in texts])
    return "".join("  ".join(line).rstrip() + "\n" for line in zip(*padded, strict=True))


def narrate(text: str) -> None:
    """One line on stderr, without addresses and phone numbers that servers repeat, but for what was typed."""
    if not _style["revealed"] and not _TELLING.isdisjoint(text):
        from checkout_cli.privacy.personal_ids import without_personal

        text = without_personal(text, command_line.words())
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(safe(text) + "\n")
        sys.stderr.flush()


def warn(text: str) -> None:
    narrate(f"warning: {text}")


def warn_if_partial(missing: Sequence[str]) -> None:
    """Warn that servers of a cluster did not answer."""
    if missing:
        warn(f"partial: no answer from {safe(', '.join(missing))}; what only they have is missing")


def report(error: CheckoutError, *, stage: str = "") -> None:
    """Print an error (``stage``: what failed on the way), and its advice where that is no command."""
    where = f"{stage}: " if stage else ""
    narrate(str(error) if isinstance(error, (Locked, Declined)) else f"error: {where}{error}")
    if error.advice:
        narrate(f"  hint: {error.advice}")


_run = {"directory": "", "servers": "", "next": ""}


def begin_run(directory: str, servers: str) -> None:
    """A run with these global options, which the commands that it prints need too."""
    _run.update(directory=directory, servers=servers, next="")


def leave_next_out() -> None:
    """This answer says in a way of its own what to do next, or to a program that wants no such line."""
    _run["next"] = "said"


def show_next(command: str) -> None:
    """The one next step, as the last line on stderr: the first command that is given in a run, with its options."""
    if _run["next"]:
        return
    _run["next"] = command if is_typeable(command) else CheckoutError.last_resort
    narrate(f"next: {with_options(_run['next'], _run['directory'], _run['servers'])}")
