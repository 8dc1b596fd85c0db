"""A list in the wanted format: a table, one JSON document, or item by item as NDJSON, CSV or ids."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from checkout_cli.errors import ExitCode
from checkout_cli.terminal import command_line
from checkout_cli.terminal.csv_writer import write_csv
from checkout_cli.terminal.output import (
    Column,
    console,
    is_terminal,
    narrate,
    show_next,
    warn,
    warn_if_partial,
    width_of,
    write_json,
    write_line,
    write_ndjson,
    write_table,
)
from checkout_cli.terminal.safe import safe
from checkout_cli.terminal.short_ids import cut
from checkout_cli.typed import typed

T = TypeVar("T")


@dataclass
class Listing(Generic[T]):
    """Items, and what one looks like: as a table's row, as a JSON object, and as its id alone.

    ``name`` is the key of all items in the JSON document, ``more`` its other keys. ``csv`` names a line's cells, which
    ``cells`` returns where they are not the JSON object's. With ``short_ids``, the first column holds ids that are cut
    where the table is wider than the terminal. ``missing`` returns afterwards the servers that did not answer;
    ``nothing`` is said of an empty list; ``number`` counts the items. ``is_left_out`` tells whose id may
    not be seen: among ids alone, the next command would take a masked one for somebody else's.
    """

    name: str
    items: Iterable[T]
    columns: Sequence[Column]
    row: Callable[[T], Sequence[str]]
    document: Callable[[T], dict[str, Any]]
    id_of: Callable[[T], str]
    csv: Sequence[str]
    nothing: str
    is_left_out: Callable[[T], bool] = lambda _: False
    cells: Callable[[T], dict[str, Any]] | None = None
    more: Callable[[], dict[str, Any]] = dict
    missing: Callable[[], Sequence[str]] = tuple
    short_ids: bool = False
    number: int = field(default=0, init=False)
    left_out: int = field(default=0, init=False)

    def show(self, output: str, going_on: Callable[[int], str] = lambda _: "") -> ExitCode:
        """Write the list; on stderr, which servers are missing and how to continue. A missing server is a finding."""
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
                if self.is_left_out(item):
                    self.left_out += 1
                else:
                    write_line(safe(self.id_of(item)))
        if not self.number:
            narrate(self.nothing)
        if told := going_on(self.number):
            narrate(told)
        missing = self.missing()
        warn_if_partial(missing)
        if self.left_out:
            warn(f"partial: {self.left_out:,} left out whose ids may be an e-mail address, a phone number or the like")
            if again := command_line.with_option("--reveal"):
                show_next(again)
        return ExitCode.FINDING if missing or self.left_out else ExitCode.OK

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
        if self.short_ids and is_terminal(sys.stdout) and sum(width_of(columns, rows)) > console().width:
            short = cut([row[0] for row in rows])
            rows = [[name, *row[1:]] for name, row in zip(short, rows, strict=True)]
        write_table(columns, rows)


def going_on(cursor: str | None, keys: str) -> str:
    """How to continue a list that has looked at so many keys; nothing at its end."""
    return "" if cursor is None else f"looked at {keys} keys; there may be more: {typed('--cursor {}', cursor)}"
