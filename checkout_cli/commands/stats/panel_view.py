"""Statistics on a terminal: readable in five seconds, in 24 lines of 80 characters."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from checkout_cli.commands.stats import figures_view as figures
from checkout_cli.commands.stats.stats import StatisticsLook
from checkout_cli.domain.statistics import OUTCOMES, Source, StatisticsReport
from checkout_cli.session import PaymentStatus, iso
from checkout_cli.store.database.counts import DELETED
from checkout_cli.terminal.output import Column
from checkout_cli.terminal.safe import safe

FUNNEL = {"created": "cyan", "completed": "green", "failed": "red", "cancelled": "yellow"}
_STATUS_STYLES = {
    PaymentStatus.PAID: "green",
    PaymentStatus.FAILED: "red",
    PaymentStatus.CANCELLED: "yellow",
    DELETED: "dim",
}
_LEVELS = "▁▂▃▄▅▆▇█"
_WIDEST_BAR = 60
_WIDEST_MINUTE = 4
_BEFORE_SERIES = 20
"""Characters to the left of the bars of the minutes."""
_BESIDE_BARS = 80
"""Characters that a table of minutes needs for its figures."""
_AROUND_MINUTES = 9
"""Lines of a table of minutes that are no minutes."""


def panel(
    look: StatisticsLook, console: Console, *, by_minute: bool = False, height: int | None = None
) -> RenderableType:
    """With ``height``, a table of minutes is cut to the newest that fit."""
    if look.problem is not None:
        facts = _facts([("unavailable", str(look.problem), "bold red"), ("next", look.problem.hint, "bold")])
        return Group(_title(look), Text(), facts)
    if look.statuses is not None:
        origin = Text(figures.STATUS_ORIGIN, "dim")
        return Group(_title(look), Text(), _by_status(look.statuses, console), Text(), origin)
    assert look.report is not None  # noqa: S101  (a look has one of the three)
    parts = _by_minute(look.report, console, height) if by_minute else _summary(look.report, console)
    return Group(_title(look), *parts, _notes(look.report))


def _title(look: StatisticsLook) -> Text:
    last = f"checkouts of the last {look.minutes} minutes" if look.minutes > 1 else "checkouts of this minute"
    return Text.assemble((last, "bold"), f"   {iso(look.now)}")


def _notes(report: StatisticsReport) -> RenderableType:
    style = "dim" if report.source is Source.REDIS else "yellow"
    warnings = [("warning", text, "yellow") for text in figures.warnings(report)]
    return _facts([("source", figures.origin(report), style), *warnings])


def _facts(facts: Sequence[tuple[str, str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, text, style in facts:
        grid.add_row(Text(name, style=style), Text(safe(text), style=style))
    return grid


# The summary


def _summary(report: StatisticsReport, console: Console) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(), _funnel(report, console), Text(), _series(report, console), Text()]
    if times := figures.call_times(report):
        titles = ("calls", "count", *(f"{name} ms" for name in figures.PERCENTILES))
        parts += [_figures(titles, [figures.times_row(name, taken) for name, taken in times]), Text()]
    if report.caches is not None:
        rows = [figures.cache_row(f"{name} cache", counts) for name, counts in report.caches.items()]
        parts += [_figures(("caches", "reads", *OUTCOMES), rows), Text()]
    return parts


def _funnel(report: StatisticsReport, console: Console) -> Table:
    totals = {name: report.total(name) for name in FUNNEL}
    widest = max((total for total in totals.values() if total), default=0)
    grid = _grid(number_columns=(1, 2))
    for name, style in FUNNEL.items():
        part = "" if name == "created" else figures.share(totals[name], totals["created"])
        bar = _bar(totals[name] or 0, widest, console)
        grid.add_row(name, Text(figures.number(totals[name]), style="bold"), part, Text(bar, style=style))
    unknown = "none created" if totals["created"] == 0 else figures.UNKNOWN
    conversion = figures.percentage(report.conversion) or unknown
    beside = Text(f"completed / created; {figures.number(report.total('updated'))} updates", style="dim")
    grid.add_row(Text("conversion", style="bold"), "", Text(conversion, style="bold"), beside)
    return grid


def _series(report: StatisticsReport, console: Console) -> Table:
    """Each line has its own scale; the number before it is the top."""
    grid = Table.grid(padding=(0, 2))  # narrow, so that an hour fits into 80 characters
    grid.add_column()
    grid.add_column(justify="right")
    grid.add_column(no_wrap=True)
    width = minute_width(report, console.width - _BEFORE_SERIES)
    grid.add_row(*(Text(text, style="dim") for text in ("per minute", "most", minutes_axis(report, width))))
    for name in ("created", "completed", "failed"):
        counts = [getattr(minute, name) for minute in report.minutes]
        top = max((count for count in counts if count is not None), default=0)
        grid.add_row(name, f"{top:,}", Text(spark(counts, top, width), style=FUNNEL[name]))
    return grid


def minute_width(report: StatisticsReport, room: int) -> int:
    """Characters for each minute, where there is ``room`` in all."""
    return max(1, min(_WIDEST_MINUTE, room // len(report.minutes)))


def minutes_axis(report: StatisticsReport, width: int) -> str:
    """The first and the last minute, above bars of this width."""
    first, last = (iso(report.minutes[place].start)[11:16] for place in (0, -1))
    whole = len(report.minutes) * width
    return first + last.rjust(whole - len(first)) if whole > 11 else last


def _figures(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    grid = _grid(number_columns=range(1, len(titles)))
    grid.add_row(*(Text(title, style="dim") for title in titles))
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    return grid


def _grid(*, number_columns: Sequence[int]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for place in range(max(number_columns) + 1):
        grid.add_column(justify="right" if place in number_columns else "left", min_width=14 if place == 0 else 7)
    return grid


# The tables


def _by_minute(report: StatisticsReport, console: Console, height: int | None) -> list[RenderableType]:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in (*figures.MINUTE_COLUMNS, Column("")):
        table.add_column(column.title, justify="right" if column.number else "left", no_wrap=True)
    minutes = report.minutes
    if height is not None:
        minutes = minutes[-max(1, height - _AROUND_MINUTES) :]
    top = max((minute.created or 0 for minute in report.minutes), default=0)
    for minute in minutes:
        row = figures.minute_row(minute, f"{iso(minute.start)[11:16]} UTC")
        table.add_row(
            *row, Text(_bar(minute.created or 0, top, console, room=console.width - _BESIDE_BARS), style="cyan")
        )
    return [table]


def _by_status(statuses: dict[str, int], console: Console) -> Table:
    created = sum(statuses.values())
    widest = max(statuses.values(), default=0)
    grid = _grid(number_columns=(1, 2))
    grid.add_row("created", Text(f"{created:,}", style="bold"))
    for status, count in statuses.items():
        bar = Text(_bar(count, widest, console), style=_STATUS_STYLES.get(status, "cyan"))
        grid.add_row(status, f"{count:,}", figures.share(count, created), bar)
    return grid


# Bars


def _bar(value: int, widest: int, console: Console, *, room: int | None = None) -> str:
    """Any value above zero gets at least one block."""
    most = max(0, min(_WIDEST_BAR, console.width - 44 if room is None else room))
    if value <= 0 or widest <= 0 or most == 0:
        return ""
    return "█" * max(1, round(value / widest * most))


def spark(counts: Sequence[int | None], top: int, width: int) -> str:
    """A bar for each count, as high as its share of ``top``."""
    return "".join(_level(count, top) * width for count in counts)


def _level(count: int | None, top: int) -> str:
    if count is None:
        return "?"
    if count <= 0:
        return " "
    return _LEVELS[-(-count * len(_LEVELS) // top) - 1]
