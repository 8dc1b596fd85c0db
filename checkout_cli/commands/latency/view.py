"""Latency as text: round trips as a distribution, then the server's own measurements."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

from checkout_cli.commands.latency.latency import CommandTimes, ServerLatency
from checkout_cli.commands.ping.view import milliseconds
from checkout_cli.servers.per_server import PerServer
from checkout_cli.session import iso
from checkout_cli.terminal.output import (
    by_server,
    columns_of,
    is_terminal,
    warn_if_partial,
    write_json,
    write_line,
    write_table,
)
from checkout_cli.terminal.safe import safe

_COMMANDS = columns_of("command", "#calls", "#total s", "#mean ms", "#p50 ms", "#p99 ms", "#refused")
_EVENTS = columns_of("pause", "latest", "#latest ms", "#longest ms", "#measured")
_SHOWN_COMMANDS = 10
_BARS = 8
_WIDEST = 40
_ENABLE = "redis-cli CONFIG SET latency-monitor-threshold 100"


def show_latency(report: PerServer[ServerLatency], *, as_json: bool) -> None:
    """Every server on stdout; which ones are missing, on stderr."""
    if as_json:
        write_json(report)
    else:
        for server in by_server(report.servers):
            _show_server(server)
    warn_if_partial(report.missing)


def _show_server(server: ServerLatency) -> None:
    parts = ", ".join(f"{name[:-2]} {milliseconds(time or 0)} ms" for name, time in server.percentiles.items())
    write_line(f"{len(server.samples)} round trips: {parts}")
    if is_terminal(sys.stdout):
        for line in _histogram(server.samples):
            write_line(line)
    write_line()
    if server.commands:
        write_table(_COMMANDS, [_command_row(command) for command in server.commands[:_SHOWN_COMMANDS]])
        left = len(server.commands) - _SHOWN_COMMANDS
        if left > 0:
            write_line(f"and {left} more commands (--json has all)")
        write_line()
    if server.events:
        rows = [
            (event.name, iso(event.latest_at), f"{event.latest:,}", f"{event.longest:,}", f"{len(event.history)}")
            for event in server.events
        ]
        write_table(_EVENTS, rows)
        write_line()
    for title, text in _facts(server):
        write_line(f"{title}: {safe(text)}")


def _facts(server: ServerLatency) -> list[tuple[str, str]]:
    facts = []
    if server.fork is not None:
        each = "" if server.fork_per_gibibyte is None else f" ({milliseconds(server.fork_per_gibibyte)} ms per GiB)"
        facts.append(("last fork", f"{milliseconds(server.fork)} ms{each}" if server.fork else "none yet"))
    is_off = server.threshold == 0 or (server.threshold is None and "disabled" in server.advice)
    if is_off:
        facts.append(("pauses", f"not measured: the server's latency monitor is off; next: {_ENABLE}"))
    elif server.threshold is not None:
        facts.append(("pauses", f"of {server.threshold} ms or more are measured"))
    if server.advice and not is_off:
        facts += [("LATENCY DOCTOR", line) for line in server.advice.splitlines() if line.strip()]
    return facts + [(f"{part} unknown", reason) for part, reason in server.unknown.items()]


def _histogram(samples: Sequence[float]) -> list[str]:
    """Bars over equal logarithmic steps, from the fastest to the slowest."""
    low, high = min(samples, default=0.0), max(samples, default=0.0)
    if len(samples) < _BARS or low <= 0 or high <= low:
        return []
    step = (high / low) ** (1 / _BARS)
    edges = [low * step ** (number + 1) for number in range(_BARS)]
    counts = Counter(bisect_right(edges[:-1], sample) for sample in samples)
    most = max(counts.values())
    return [
        f"  to {milliseconds(edge):>8} ms  {'█' * round(counts[number] / most * _WIDEST)} {counts[number]}"
        for number, edge in enumerate(edges)
    ]


def _command_row(command: CommandTimes) -> tuple[str, ...]:
    return (
        command.name,
        f"{command.calls:,}",
        f"{command.total:,.3f}",
        milliseconds(command.mean),
        "" if command.p50 is None else milliseconds(command.p50),
        "" if command.p99 is None else milliseconds(command.p99),
        f"{command.rejected + command.failed:,}" if command.rejected + command.failed else "",
    )
