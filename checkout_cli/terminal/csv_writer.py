"""Lists as CSV, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Sequence

from checkout_cli.terminal.output import write
from checkout_cli.terminal.safe import safe

_CSV_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""The beginnings of formulas. Tabs and line ends, which some spreadsheets skip before, are spelled out by then."""


def write_csv(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """CSV (RFC 4180) in which a spreadsheet finds no formula."""
    for row in itertools.chain([titles], rows):
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow([csv_cell(value) for value in row])
        write(line.getvalue())


def csv_cell(value: object) -> str:
    """A cell as text, with an apostrophe before what a spreadsheet would run as a formula."""
    if value is None:
        return ""
    if isinstance(value, (bool, int, float)):
        return str(value).lower()
    text = safe(value)
    return f"'{text}" if text.startswith(_CSV_FORMULA) else text
