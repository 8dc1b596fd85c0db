"""MONITOR as a live table of rates on a terminal, and as a line for each command anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from checkout_cli.commands.monitor.monitor import MonitorSummary, Seen, Stopped
from checkout_cli.session import iso
from checkout_cli.store.redis.clients import described
from checkout_cli.terminal.document import document
from checkout_cli.terminal.key_names import key_shown
from checkout_cli.terminal.output import (
    columns_of,
    console,
    is_terminal,
    narrate,
    rich_table,
    warn,
    warn_if_partial,
    write_line,
    write_ndjson,
    write_table,
)
from checkout_cli.terminal.safe import safe

if TYPE_CHECKING:
    from rich.console import RenderableType

_RATES = columns_of("command", "keys", "#count", "#per second", "#share")
_MOST_ROWS = 16
"""Rows of the live table, which fits into 24 lines."""
_REFRESH = 0.25


def warn_of_cost(seconds: float) -> None:
    """Say that MONITOR costs the server something."""
    warn(f"MONITOR slows the server down while it runs; it ends by itself after {seconds:g} s, or by Ctrl-C")


def show_monitor(events: Iterable[Seen | None], summary: Callable[[], MonitorSummary], *, as_json: bool) -> None:
    """The commands as they come."""
    if as_json:
        write_ndjson(seen for seen in events if seen is not None)
    elif is_terminal(sys.stdout):
        _live(events, summary)
    else:
        for seen in events:
            if seen is not None:
                write_line(_line(seen))


def _live(events: Iterable[Seen | None], summary: Callable[[], MonitorSummary]) -> None:
    from rich.live import Live

    drawn = time.monotonic()
    with Live(_table(summary()), console=console(), auto_refresh=False, transient=True) as live:
        for _ in events:
            if time.monotonic() - drawn >= _REFRESH:
                drawn = time.monotonic()
                live.update(_table(summary()), refresh=True)


def _table(summary: MonitorSummary) -> RenderableType:
    per_second = f"{summary.matched / summary.seconds:,.1f}" if summary.seconds > 0 else "0.0"
    title = f"{summary.matched:,} commands in {summary.seconds:.0f} s, {per_second} per second"
    return rich_table(_RATES, _rows(summary)[:_MOST_ROWS], title)


def _rows(summary: MonitorSummary) -> list[tuple[str, ...]]:
    return [
        (
            rate.command,
            rate.family,
            f"{rate.count:,}",
            "" if rate.per_second is None else f"{rate.per_second:,.1f}",
            f"{rate.count / summary.matched:.1%}",
        )
        for rate in summary.rates
    ]


def show_summary(summary: MonitorSummary, *, as_json: bool) -> None:
    """The result, and why it ended."""
    if as_json:
        write_ndjson([{"summary": document(summary)}])
    else:
        if summary.rates:
            if not is_terminal(sys.stdout):
                write_line()
            write_table(_RATES, _rows(summary))
        narrate(f"{summary.matched:,} of {summary.seen:,} commands in {summary.seconds:.1f} s; {summary.stopped}")
    if summary.stopped is Stopped.BEHIND:
        warn("it was stopped so that the server's memory does not fill with what we have not read")
    warn_if_partial(summary.missing)


def _line(seen: Seen) -> str:
    key = "" if seen.shape.key is None else f" {key_shown(seen.shape.key)}"
    others = f" +{seen.shape.others}" if seen.shape.others else ""
    return f"{iso(seen.at)}  {safe(described(seen.client, seen.client_name))}  {safe(seen.shape.name)}{key}{others}"
