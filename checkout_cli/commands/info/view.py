"""INFO as a table for each section, with the meanings of the fields."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from checkout_cli.commands.info.info import InfoDiff, ServerInfo
from checkout_cli.commands.info.meanings import MEANINGS
from checkout_cli.servers.per_server import PerServer
from checkout_cli.terminal.output import (
    by_server,
    columns_of,
    is_terminal,
    narrate,
    warn_if_partial,
    write_json,
    write_line,
    write_table,
)
from checkout_cli.units import size

_FIELDS = columns_of("field", "#value", "meaning")
_CHANGES = columns_of("field", "#before", "#after", "#change", "#per second")
_BYTES = ("used_memory", "maxmemory", "total_system_memory", "mem_", "allocator_", "rss_overhead", "repl_backlog_size")
_NOT_BYTES = ("ratio", "_human", "policy", "_perc", "allocator", "_histlen", "_scripts", "_time")
_LONGEST_VALUE = 44


def show_info(report: PerServer[ServerInfo], *, as_json: bool) -> None:
    """Every section on stdout; which servers are missing, on stderr."""
    if as_json:
        write_json(report)
    else:
        for server in by_server(report.servers):
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


def show_diff(diff: InfoDiff, *, as_json: bool) -> None:
    """The changes, counters with their rate."""
    if as_json:
        write_json(diff)
        return
    several = len({change.place for change in diff.changes}) > 1
    rows = []
    for change in diff.changes:
        name = f"{change.place} {change.name}" if several else change.name
        growth, rate = change.growth, change.per_second
        shown = ("" if growth is None else f"{growth:+,.6g}", "" if rate is None else f"{rate:+,.1f}")
        rows.append((name, change.before or "-", change.after or "-", *shown))
    if rows:
        write_table(_CHANGES, rows)
    narrate(f"{len(rows)} fields have changed in {diff.seconds:.1f} s")
