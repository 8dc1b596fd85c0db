"""Families of keys as tables: their sizes, their times to live, and the biggest keys."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from checkout_cli.commands.memory.measure import Method
from checkout_cli.commands.memory.tally import Bound, FamiliesReport, FamilyMemory
from checkout_cli.jobs.bounded_run import Stopped
from checkout_cli.terminal.document import document as document_of
from checkout_cli.terminal.key_names import key_shown
from checkout_cli.terminal.listing import Listing
from checkout_cli.terminal.output import (
    Column,
    columns_of,
    is_terminal,
    narrate,
    warn,
    warn_if_partial,
    write_json,
    write_line,
    write_table,
)
from checkout_cli.terminal.safe import safe
from checkout_cli.typed import typed
from checkout_cli.units import size

UNKNOWN = "?"
_TTL_NAMES = ("<1m", "<5m", "<10m", "<30m", "<1h", "<1d", "1d+")
_LEVELS = "▁▂▃▄▅▆▇█"
_TTLS = columns_of("TTL", *(f"#{name}" for name in _TTL_NAMES))
_BIGGEST = columns_of("biggest keys", "#size")
_CSV = ("family", "keys", "bytes", "share", "keysWithoutTtl", "unmeasuredKeys")
_STOPPED = {Stopped.INTERRUPTED: "interrupted", Stopped.TIME: "the time was up"}
_SIZES = {Method.MEMORY_USAGE: "", Method.STRLEN: "; sizes estimated", Method.NONE: "; sizes unknown"}


def show_families(report: FamiliesReport, output: str, *, reveal: bool = False) -> None:
    """The report in the shape ``output``: all of it as ``json`` or as tables, otherwise one family a line."""
    if output == "json":
        write_json(document(report, reveal=reveal))
    elif output == "table":
        _tables(report, reveal=reveal)
    else:
        Listing(
            "families",
            report.by_family().values(),
            columns=(),
            row=lambda _: (),
            document=lambda family: {"family": str(family.family), **document_of(family)},
            id_of=lambda family: str(family.family),
            csv=_CSV,
            nothing="there are no families",
        ).show(output)
    for note in report.notes:
        warn(note)
    if output != "json" and (none := _not_drawn(report)):
        narrate(none)
    warn_if_partial(report.missing)
    if not report.finished:
        go_on = typed("--cursor {}", report.cursor)
        narrate(f"{_STOPPED[report.stopped]}: this is a part; the rest (alone) follows with {go_on}")
    elif report.resumed:
        narrate("this is the rest alone: what came before --cursor is not in these numbers")


def document(report: FamiliesReport, *, reveal: bool = False) -> dict[str, Any]:
    """The report as JSON; only estimates have bounds, of 95 %."""
    return {
        **document_of(report),
        "biggest": [
            {"key": key_shown(key.key, reveal=reveal), "family": key.family, "bytes": key.size}
            for key in report.biggest
        ],
        "notes": list(report.notes),
        "missingServers": list(report.missing),
        "revealed": reveal,
    }


def _tables(report: FamiliesReport, *, reveal: bool) -> None:
    terminal = is_terminal(sys.stdout)
    shown = [family for family in report.families if family.keys]
    write_line(_heading(report))
    columns = _columns(report, terminal=terminal)
    rows = [_row(family, report, terminal=terminal) for family in shown]
    total = ["all", f"{sum(family.keys for family in shown):,}", *([""] * report.sample), _size(report.whole)]
    write_table(columns, [*rows, [*total, *([""] * (len(columns) - len(total)))]])
    ending = [family for family in shown if any(family.ttls)]
    if not terminal:
        write_line()
        write_table(_TTLS, [[str(family.family), *(f"{number:,}" for number in family.ttls)] for family in ending])
        write_line()
    if report.biggest:
        write_table(_BIGGEST, [(key_shown(key.key, reveal=reveal), size(key.size)) for key in report.biggest])


def _columns(report: FamiliesReport, *, terminal: bool) -> list[Column]:
    bound = [Column("± 95 %", number=True)] * report.sample
    columns = [Column("family"), Column("keys", number=True), *bound, Column("size", number=True), *bound]
    columns += columns_of("#share", "#no TTL")
    return columns + [Column(f"TTL {_TTL_NAMES[0]}…{_TTL_NAMES[-1]}")] * terminal


def _row(family: FamilyMemory, report: FamiliesReport, *, terminal: bool) -> list[str]:
    share = report.share(family)
    row = [str(family.family), f"{family.keys:,}"]
    row += [_margin(family.keys, family.keys_bound, "{:,}".format)] * report.sample
    row += [_size(family.size) + ("" if not family.unmeasured else " or more")]
    row += [_margin(family.size, family.size_bound, size)] * report.sample
    row += ["" if share is None else f"{share:.1%}"]
    row += [UNKNOWN if family.without_ttl is None else f"{family.without_ttl:,}"]
    return row + [spark(family.ttls)] * terminal


def _margin(value: int | None, bound: Bound | None, number: Callable[[int], str]) -> str:
    """The error of an estimate: in per cent, or in numbers where none was drawn."""
    if bound is None or value is None:
        return ""
    if bound.high is None:
        return UNKNOWN
    if bound.low == value:
        return f"+{number(bound.high - value)}" if bound.high > value else "exact"
    return f"{max(bound.high - value, value - bound.low) / value:.1%}"


def _not_drawn(report: FamiliesReport) -> str:
    bounds = {family.family: family.keys_bound for family in report.families if not family.keys}
    most = max((bound.high or 0 for bound in bounds.values() if bound is not None), default=0)
    return f"none drawn of {', '.join(bounds)}: at most {most:,} keys of each, of unknown size" if most else ""


def _size(number: int | None) -> str:
    return UNKNOWN if number is None else size(number)


def spark(numbers: Sequence[int]) -> str:
    """Numbers as a row of marks, each as high as its part of the largest."""
    top = max(numbers, default=0)
    return "".join(_LEVELS[-(-number * len(_LEVELS) // top) - 1] if number else "·" for number in numbers)


def _heading(report: FamiliesReport) -> str:
    of = "" if report.total is None or report.total == report.looked_at else f" of {report.total:,}"
    kind = "sample" if report.sample else "part" if report.partial else "all keys"
    where = f"{report.looked_at:,}{of} keys of {safe(report.place)}"
    return f"{kind}: {where} in {report.took:.1f} s{_SIZES[report.method]}"
