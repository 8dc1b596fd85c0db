"""Statistics as JSON, as plain text for a pipe, and as a panel on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from checkout_cli.commands.stats import figures_view as figures
from checkout_cli.commands.stats.stats import StatisticsLook
from checkout_cli.domain.statistics import OUTCOMES, TRANSITIONS, Source, StatisticsReport
from checkout_cli.session import iso
from checkout_cli.terminal.output import (
    columns_of,
    console,
    is_terminal,
    narrate,
    show,
    warn,
    write_json,
    write_line,
    write_ndjson,
    write_table,
)
from checkout_cli.terminal.safe import safe

_EVENTS = columns_of("event", "#number", "#of created")
_TIMES = columns_of("call", "#count", *(f"#{name} ms" for name in figures.PERCENTILES))
_CACHES = columns_of("cache", "#reads", *(f"#{name}" for name in OUTCOMES))
_STATUS_COLUMNS = columns_of("status", "#sessions", "#share")


def show_look(look: StatisticsLook, *, by_minute: bool = False, as_json: bool = False) -> None:
    if as_json:
        write_json(look)
    elif is_terminal(sys.stdout):
        from checkout_cli.commands.stats.panel_view import panel

        show(panel(look, console(), by_minute=by_minute))
    else:
        _write_plain(look, by_minute)


def show_watch(looks: Iterable[StatisticsLook], *, by_minute: bool = False, as_json: bool = False) -> None:
    """Each look as a line, or on a terminal in the whole window, which leaves the last behind."""
    if as_json or not is_terminal(sys.stdout) or os.environ.get("TERM") == "dumb":
        for look in looks:
            if as_json:
                write_ndjson([look])
            else:
                write_line(_line(look))
        return
    _watch_on_terminal(looks, by_minute)


def _watch_on_terminal(looks: Iterable[StatisticsLook], by_minute: bool) -> None:
    from rich.live import Live

    from checkout_cli.commands.stats.panel_view import panel

    last: StatisticsLook | None = None
    terminal = console()
    try:
        with Live(console=terminal, screen=True, auto_refresh=False) as live:
            for look in looks:
                last = look
                live.update(panel(look, terminal, by_minute=by_minute, height=terminal.height), refresh=True)
    finally:
        if last is not None:
            show(panel(last, terminal, by_minute=by_minute))


# Plain text


def _write_plain(look: StatisticsLook, by_minute: bool) -> None:
    if look.statuses is not None:
        created = sum(look.statuses.values())
        rows = [[name, f"{count:,}", figures.share(count, created)] for name, count in look.statuses.items()]
        write_table(_STATUS_COLUMNS, rows)
        narrate(figures.STATUS_ORIGIN)
    elif look.report is not None:
        if by_minute:
            rows = [figures.minute_row(minute, iso(minute.start)) for minute in look.report.minutes]
            write_table(figures.MINUTE_COLUMNS, rows)
        else:
            _write_summary(look.report)
        if by_minute or look.report.source is Source.DATABASE:
            narrate(figures.origin(look.report))
        for warning in figures.warnings(look.report):
            warn(warning)


def _write_summary(report: StatisticsReport) -> None:
    created = report.total("created")
    write_line(f"from {iso(report.since)} to {iso(report.now)} ({len(report.minutes)} minutes)")
    write_line(f"source: {report.source}")
    write_line(f"conversion: {figures.percentage(report.conversion) or figures.UNKNOWN}")
    write_line()
    totals = [(name, report.total(name)) for name in TRANSITIONS]
    rows = [
        (name, figures.number(total), "" if name in {"created", "updated"} else figures.share(total, created))
        for name, total in totals
    ]
    write_table(_EVENTS, rows)
    if times := figures.call_times(report):
        write_line()
        write_table(_TIMES, [figures.times_row(name, taken) for name, taken in times])
    if report.caches is not None:
        write_line()
        write_table(_CACHES, [figures.cache_row(name, counts) for name, counts in report.caches.items()])


def _line(look: StatisticsLook) -> str:
    words = [iso(look.now)]
    if look.report is not None:
        words.append(f"source={look.report.source}")
        words += [f"{name}={figures.number(look.report.total(name))}" for name in TRANSITIONS]
        words.append(f"conversion={figures.percentage(look.report.conversion) or figures.UNKNOWN}")
        words += [f"({text})" for text in (look.report.why, *figures.warnings(look.report)) if text]
    elif look.statuses is not None:
        words += [f"source={Source.DATABASE}", *(f"{name}={count:,}" for name, count in look.statuses.items())]
    else:
        words.append(f"unavailable ({look.problem})")
    return safe(" ".join(words))
