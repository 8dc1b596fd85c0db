"""How the slow log looks: what took the time, then the entries; keys are shortened and values never shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkout_cli.commands.ping.view import milliseconds
from checkout_cli.commands.slowlog.slowlog import Emptied, Entry, ServerSlowLog, SlowLogReport
from checkout_cli.session import iso
from checkout_cli.spans import span
from checkout_cli.terminal.key_names import key_shown
from checkout_cli.terminal.output import (
    Column,
    narrate,
    partial_document,
    warn,
    warn_if_partial,
    write_json,
    write_line,
    write_table,
)
from checkout_cli.terminal.safe import safe

_TOTALS = (
    Column("command"),
    Column("keys"),
    *(Column(title, number=True) for title in ("calls", "total ms", "longest ms", "share")),
)
_ENTRIES = (Column("age", number=True), Column("ms", number=True), Column("command"), Column("key"), Column("others"))
_HIGH = 1.0
"""Seconds: a threshold from which on hardly anything is ever logged."""


def show_slow_log(report: SlowLogReport, *, as_json: bool) -> None:
    """Every server on stdout; what is wrong with the log itself, on stderr."""
    if as_json:
        write_json(document(report))
    else:
        for number, server in enumerate(report.servers):
            if number:
                write_line()
            if len(report.servers) > 1:
                write_line(server.place)
            _show(server, report.timestamp)
    for server in report.servers:
        _warn(server)
    warn_if_partial(report.missing)


def _show(server: ServerSlowLog, now: int) -> None:
    total = sum(entry.seconds for entry in server.entries)
    if server.entries:
        write_table(
            _TOTALS,
            [
                (
                    group.name,
                    group.family,
                    f"{group.calls:,}",
                    milliseconds(group.total),
                    milliseconds(group.longest),
                    f"{group.total / total:.0%}" if total else "",
                )
                for group in server.totals()
            ],
        )
        write_line()
        write_table(_ENTRIES, [_row(entry, now) for entry in server.entries])
        write_line()
    write_line(f"{len(server.entries)} of {server.length:,} entries; {_settings(server)}")


def _settings(server: ServerSlowLog) -> str:
    if server.threshold is None:
        return f"what counts as slow is unknown: {server.unknown}"
    if server.threshold < 0:
        return "it is off"
    kept = "" if server.size is None else f", the last {server.size:,} are kept"
    return f"{milliseconds(server.threshold)} ms or more are logged{kept}"


def _row(entry: Entry, now: int) -> tuple[str, ...]:
    key = "" if entry.shape.key is None else key_shown(entry.shape.key)
    return span(now - entry.at), milliseconds(entry.seconds), entry.shape.name, key, f"+{entry.shape.others}"


_ENABLE = "redis-cli CONFIG SET slowlog-log-slower-than 10000"


def _warn(server: ServerSlowLog) -> None:
    if server.threshold is not None and server.threshold < 0:
        warn(f"the slow log is off; next: {_ENABLE}")
    elif server.threshold is not None and server.threshold >= _HIGH:
        warn(f"only what takes {server.threshold:g} s or more is logged; next: {_ENABLE}")
    if any(entry.shape.name == "KEYS" for entry in server.entries):
        warn("somebody uses KEYS, which keeps every shopper waiting: SCAN does the same in small steps")


def document(report: SlowLogReport) -> dict[str, Any]:
    """Everything as JSON; times are in milliseconds."""
    return {
        "timestamp": iso(report.timestamp),
        "servers": [_server(server) for server in report.servers],
        **partial_document(report.missing),
    }


def _server(server: ServerSlowLog) -> dict[str, Any]:
    return {
        "server": server.place,
        "length": server.length,
        "thresholdMs": None if server.threshold is None else server.threshold * 1000,
        "maxLength": server.size,
        "unknown": server.unknown or None,
        "totals": [
            {
                "shape": f"{total.name} {total.family}".strip(),
                "command": total.name,
                "family": total.family or None,
                "calls": total.calls,
                "totalMs": _ms(total.total),
                "longestMs": _ms(total.longest),
            }
            for total in server.totals()
        ],
        "entries": [_entry(entry) for entry in server.entries],
    }


def _entry(entry: Entry) -> dict[str, Any]:
    family = entry.shape.family
    return {
        "number": entry.number,
        "at": iso(entry.at),
        "durationMs": _ms(entry.seconds),
        "command": entry.shape.name,
        "key": None if entry.shape.key is None else key_shown(entry.shape.key),
        "family": None if family is None else str(family),
        "otherArguments": entry.shape.others,
        "client": entry.client or None,
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def describe_reset(lengths: Mapping[str, int]) -> str:
    """What is about to be dropped."""
    several = f" of {len(lengths)} servers" if len(lengths) > 1 else ""
    return f"the slow log{several} has {sum(lengths.values()):,} entries; they cannot be brought back"


def show_emptied(emptied: Emptied, *, as_json: bool) -> None:
    """What became of it."""
    number = sum(emptied.lengths.values())
    if as_json:
        numbers = {"entries": number, "done": emptied.done, "dryRun": not emptied.done, "servers": emptied.lengths}
        write_json(numbers | partial_document(emptied.missing))
    elif emptied.done:
        narrate(f"dropped {number:,} entries")
    else:
        narrate("nothing was dropped: --dry-run")
    if emptied.missing:
        warn(f"no answer from {safe(', '.join(emptied.missing))}: their slow log is as it was")
