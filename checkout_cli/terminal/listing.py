"""A list, in the shape that somebody wants: a table, one JSON document, or as it comes as NDJSON, CSV or ids."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from checkout_cli.errors import ExitCode
from checkout_cli.terminal.output import (
    Column,
    console,
    is_terminal,
    narrate,
    warn_if_partial,
    write_csv,
    write_json,
    write_line,
    write_ndjson,
    write_table,
)
from checkout_cli.terminal.safe import safe
from checkout_cli.terminal.short_ids import shortened

T = TypeVar("T")
_BESIDE_CELL = 3
"""Characters between two columns of a table on a terminal."""


@dataclass
class Listing(Generic[T]):
    """What is listed, and how one of it looks: as a row of the table, as a JSON object, and as its id alone.

    ``name`` is what the JSON document calls all of it, and ``more`` what it says beside. ``csv`` names the cells of a
    line; ``cells`` has them, where they are not those of the JSON object. ``short_ids``: the first column holds ids,
    which are cut where the table is wider than the terminal. ``missing`` tells afterwards which servers of a cluster
    did not answer, and ``nothing`` is said of an empty list. ``number`` counts what was written.
    """

    name: str
    items: Iterable[T]
    columns: Sequence[Column]
    row: Callable[[T], Sequence[str]]
    document: Callable[[T], dict[str, Any]]
    id_of: Callable[[T], str]
    csv: Sequence[str]
    nothing: str
    cells: Callable[[T], dict[str, Any]] | None = None
    more: Callable[[], dict[str, Any]] = dict
    missing: Callable[[], Sequence[str]] = tuple
    short_ids: bool = False
    number: int = field(default=0, init=False)

    def show(self, output: str, going_on: Callable[[int], str] = lambda _: "") -> ExitCode:
        """Write it as ``output`` says; on stderr, what is missing and how to go on. A part is a finding."""
        if output == "table":
            self._write_table(list(self._counted()))
        elif output == "json":
            write_json({self.name: [self.document(item) for item in self._counted()], **self.more()})
        elif output == "ndjson":
            write_ndjson(map(self.document, self._counted()))
        elif output == "csv":
            lines = map(self.cells or self.document, self._counted())
            write_csv(self.csv, ([line[name] for name in self.csv] for line in lines))
        else:
            for item in self._counted():
                write_line(safe(self.id_of(item)))
        if not self.number:
            narrate(self.nothing)
        if told := going_on(self.number):
            narrate(told)
        missing = self.missing()
        warn_if_partial(missing)
        return ExitCode.FINDING if missing else ExitCode.OK

    def _counted(self) -> Iterator[T]:
        for item in self.items:
            self.number += 1
            yield item

    def _write_table(self, items: Sequence[T]) -> None:
        rows = [list(self.row(item)) for item in items]
        shown = [
            place for place, column in enumerate(self.columns) if not column.note or any(row[place] for row in rows)
        ]
        columns, rows = [self.columns[place] for place in shown], [[row[place] for place in shown] for row in rows]
        if self.short_ids and is_terminal(sys.stdout) and _width(columns, rows) > console().width:
            short = shortened([row[0] for row in rows])
            rows = [[name, *row[1:]] for name, row in zip(short, rows, strict=True)]
        write_table(columns, rows)


def _width(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> int:
    lines = [[column.title for column in columns], *rows]
    return sum(max(len(safe(line[place])) for line in lines) + _BESIDE_CELL for place in range(len(columns)))


def going_on(cursor: str | None, keys: str) -> str:
    """Where a list goes on that has looked at so many keys; nothing at its end."""
    return "" if cursor is None else f"looked at {keys} keys; there may be more: --cursor {cursor}"
