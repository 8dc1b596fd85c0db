"""How INFO looks: a table for each section, with what the fields mean; numbers as numbers in JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from checkout_cli.commands.info.info import Change, InfoDiff, InfoReport
from checkout_cli.commands.info.meanings import MEANINGS
from checkout_cli.session import iso
from checkout_cli.sizes import size
from checkout_cli.terminal.output import (
    Column,
    is_terminal,
    narrate,
    partial_document,
    warn_if_partial,
    write_json,
    write_line,
    write_table,
)

_FIELDS = (Column("field"), Column("value", number=True), Column("meaning"))
_CHANGES = (
    Column("field"),
    Column("before", number=True),
    Column("after", number=True),
    Column("change", number=True),
    Column("per second", number=True),
)
_BYTES = ("used_memory", "maxmemory", "total_system_memory", "mem_", "allocator_", "rss_overhead", "repl_backlog_size")
_NOT_BYTES = ("ratio", "_human", "policy", "_perc", "allocator", "_histlen", "_scripts", "_time")
_NOISE = frozenset({"uptime_in_seconds", "lru_clock", "server_time_usec"})
"""What changes between any two looks, and says nothing."""
_COUNTERS = frozenset({"stats", "cpu", "commandstats", "errorstats"})
"""Sections that count since the server's start."""
_LONGEST_VALUE = 44


def show_info(report: InfoReport, *, as_json: bool) -> None:
    """Every section on stdout; which servers are missing, on stderr."""
    if as_json:
        write_json(document(report))
    else:
        for number, server in enumerate(report.servers):
            if len(report.servers) > 1:
                write_line(f"{chr(10) if number else ''}{server.place}")
            for place, (title, fields) in enumerate(server.sections.items()):
                if place:
                    write_line()
                write_line(f"{title}:" if fields else f"{title}: nothing")
                if fields:
                    _show_section(fields)
    warn_if_partial(report.missing)


def _show_section(fields: Mapping[str, str]) -> None:
    rows = [
        (name, _shown(name, value), MEANINGS.get(name, ""))
        for name, value in fields.items()
        if not name.endswith("_human")  # the same again; the bytes have their size beside them
    ]
    if any(row[2] for row in rows):
        write_table(_FIELDS, rows)
    else:
        write_table(_FIELDS[:2], [row[:2] for row in rows])


def _shown(name: str, value: str) -> str:
    if is_bytes(name) and value.isdigit():
        return f"{int(value):,} ({size(int(value))})" if int(value) >= 1024 else value
    if len(value) > _LONGEST_VALUE and is_terminal(sys.stdout):
        return f"{value[: _LONGEST_VALUE - 1]}…"
    return value


def is_bytes(name: str) -> bool:
    """Whether a field counts bytes."""
    return name.endswith("_bytes") or (name.startswith(_BYTES) and not name.endswith(_NOT_BYTES))


def document(report: InfoReport) -> dict[str, Any]:
    """All servers and sections; names and fields are the server's own, numbers are numbers."""
    return {
        "timestamp": iso(report.timestamp),
        "servers": [
            {
                "server": server.place,
                "sections": {
                    title: {name: _value(value) for name, value in fields.items()}
                    for title, fields in server.sections.items()
                },
            }
            for server in report.servers
        ],
        **partial_document(report.missing),
    }


def _value(value: str) -> Any:
    """A number as a number, ``keys=3,expires=2`` as an object, and anything else as text."""
    parts = [part.partition("=") for part in value.split(",")]
    if all(equals and name for name, equals, _ in parts):
        return {name: _number(inner) for name, _, inner in parts}
    return _number(value)


def _number(value: str) -> Any:
    digits = value.removeprefix("-")
    if digits.isascii() and digits.isdigit():
        return value if len(digits) > 1 and digits.startswith("0") else int(value)
    whole, point, rest = digits.partition(".")
    if point and whole.isdigit() and rest.isdigit() and digits.isascii():
        return float(value)
    return value


def show_diff(diff: InfoDiff, *, as_json: bool) -> None:
    """What has changed on stdout, counters with their rate."""
    changes = [change for change in diff.changes if change.name not in _NOISE and not change.name.endswith("_human")]
    if as_json:
        write_json(
            {
                "seconds": diff.seconds,
                "changes": [
                    {
                        "server": change.place,
                        "section": change.section,
                        "field": change.name,
                        "before": None if change.before is None else _value(change.before),
                        "after": None if change.after is None else _value(change.after),
                        "perSecond": _rate(change, diff.seconds),
                    }
                    for change in changes
                ],
            }
        )
        return
    several = len({change.place for change in changes}) > 1
    rows = []
    for change in changes:
        name = f"{change.place} {change.name}" if several else change.name
        growth, rate = change.growth, _rate(change, diff.seconds)
        shown = ("" if growth is None else f"{growth:+,.6g}", "" if rate is None else f"{rate:+,.1f}")
        rows.append((name, change.before or "-", change.after or "-", *shown))
    if rows:
        write_table(_CHANGES, rows)
    narrate(f"{len(rows)} fields have changed in {diff.seconds:.1f} s")


def _rate(change: Change, seconds: float) -> float | None:
    """How fast a counter grows; a gauge goes up and down, and has no rate."""
    counts = change.section in _COUNTERS and not change.name.startswith("instantaneous_")
    return round(change.growth / seconds, 3) if counts and change.growth is not None and seconds > 0 else None
