"""One frame of ``top``: the most important lines first, so that a small terminal shows those."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.text import Text

from checkout_cli.commands.health.health import HealthReport
from checkout_cli.commands.health.snapshot import MINUTES
from checkout_cli.commands.health.view import STYLES, health_rows, sessions_text
from checkout_cli.commands.memory.show import MemoryLook
from checkout_cli.commands.memory.view import bar, full_in, signed_size
from checkout_cli.commands.ping.view import milliseconds
from checkout_cli.commands.sessions.view import expiry, summary
from checkout_cli.commands.stats.figures_view import number, percentage
from checkout_cli.commands.stats.panel_view import FUNNEL, minute_width, minutes_axis, spark
from checkout_cli.commands.stats.stats import STATUSES
from checkout_cli.commands.sync.view import pending_text
from checkout_cli.commands.top.top import TopLook
from checkout_cli.domain.statistics import Source, StatisticsReport
from checkout_cli.session import iso
from checkout_cli.terminal.safe import safe
from checkout_cli.terminal.short_ids import shortened
from checkout_cli.units import size

NOMINAL_WIDTH = 80
"""The width of bars where nothing limits it."""
_NAME = 11
_BAR = 20
_NUMBER = 7
_BEFORE_MINUTES = _NAME + _NUMBER + 2
_ID = 20
_LIST_ROWS = 5

Lines = list[Text]


@dataclass(frozen=True)
class Room:
    """The size of the terminal; ``None`` is a pipe, for which nothing is cut."""

    width: int | None = None
    height: int | None = None


def frame(look: TopLook, room: Room, notes: Sequence[str] = (), foot: Text | None = None) -> Lines:
    """All lines that fit, with ``notes`` beside the title and ``foot`` in the last line."""
    blocks = [
        _head(look.snapshot.health, notes),
        [*_memory(look.memory, room), *_sessions(look)],
        [*_minutes(look.snapshot.report, room), *_caches(look.snapshot.report), *_tiers(look.snapshot.report)],
    ]
    lists = [_ending(look), _slow(look)]
    height = None if room.height is None else max(room.height - (foot is not None), 1)
    lines = _fitted(blocks, lists, height)
    if foot is not None and height is not None:
        lines += [Text()] * (height - len(lines)) + [foot]
    if room.width is not None:
        for line in lines:
            line.truncate(room.width, overflow="ellipsis")
    return lines


def _fitted(blocks: list[Lines], lists: list[Lines], height: int | None) -> Lines:
    """Blocks with a line between them, and as much of the lists as fits; a list is a title and its items."""
    if height is None:
        return _joined([*blocks, *lists], gap=True)
    blocks = [block for block in blocks if block]
    gaps = len(blocks) + len(lists) - 1
    fixed = sum(map(len, blocks))
    wanted = sum(min(len(each), _LIST_ROWS) for each in lists)
    gap = fixed + wanted + gaps <= height
    left = height - fixed - (gaps if gap else 0)
    cut: list[Lines] = []
    for place, each in enumerate(lists):
        share = -(-left // (len(lists) - place))
        others = sum(len(other) for other in lists[place + 1 :])
        cut.append(each[: max(share, left - others)] if share >= min(len(each), 2) else [])
        left -= len(cut[-1])
    return _joined([*blocks, *cut], gap=gap)[:height]


def _joined(blocks: Iterable[Lines], *, gap: bool) -> Lines:
    lines: Lines = []
    for block in blocks:
        if block:
            lines += [Text()] * (gap and bool(lines)) + block
    return lines


def _line(name: str, *parts: str | tuple[str, str]) -> Text:
    return Text.assemble((name.ljust(_NAME), "dim"), *parts)


# Blocks


def _head(health: HealthReport, notes: Sequence[str]) -> Lines:
    title = Text(health.status.upper(), STYLES[health.status])
    for note in notes:
        title.append(f"  {safe(note)}", "bold")
    title.append(f"  {iso(health.timestamp)}", "default")
    tiers = [
        _line(name, (state.ljust(_NAME + 2), STYLES[state]), latency.rjust(9), f"  {safe(note)}")
        for name, state, latency, note in health_rows(health)
    ]
    steps = [_line("next", (safe(health.next_step), "bold"))] if health.next_step else []
    wrong = health.configuration.problems if health.configuration else ()
    return [title, *tiers, *(_line("wrong", safe(problem)) for problem in wrong), *steps]


def _memory(servers: Sequence[MemoryLook], room: Room) -> Lines:
    lines = []
    for memory in servers:
        line = _line("redis uses")
        if len(servers) > 1:
            line.append(f"{safe(memory.place)}  ")
        words = ", ".join(_memory_words(memory))
        if memory.fullness is not None:
            words = f"{memory.fullness:.1%}, {words}"
            width = max(0, min(_BAR, (room.width or NOMINAL_WIDTH) - line.cell_len - len(words) - 1))
            style = "red" if memory.fullness >= 0.9 else "yellow" if memory.fullness >= 0.75 else "green"
            line.append(f"{bar(memory.fullness, width)} " if width else "", style=style)
        line.append(words)
        lines.append(line)
    return lines


def _memory_words(memory: MemoryLook) -> list[str]:
    whole = "" if memory.reference is None else f" of {size(memory.reference)}"
    words = [size(memory.counted) + whole]
    if memory.limit is None:
        words.append("no limit" if memory.limit_known else "limit unknown")
    if memory.growth is not None:
        words.append(f"{signed_size(memory.growth.size_per_minute)}/min")
    if memory.limit is not None and (memory.growth is not None or not memory.headroom):
        until = full_in(memory)
        words.append(f"full in {until}" if memory.minutes_until_full else until)
    return words


def _sessions(look: TopLook) -> Lines:
    health = look.snapshot.health
    if health.configuration is not None:
        return []
    pending = health.pending
    waiting = pending_text(pending, look.snapshot.taken_at)
    if not waiting:
        known = None not in {pending.to_redis, pending.to_database, pending.conflicts}
        waiting = "nothing waits" if known else "what waits is unknown"
    report = look.snapshot.report
    if report is not None and report.flushed:
        waiting += f"; {report.flushed:,} flushed in {MINUTES} minutes"
    lines = [_line("sessions", sessions_text(health), "  ", (waiting, "bold yellow" if pending.any else "dim"))]
    statuses = look.snapshot.statuses
    if statuses is not None:
        shown = [f"{name} {statuses[name]:,}" for name in STATUSES if statuses.get(name)] or ["none"]
        lines.append(_line("by status", ", ".join(shown)))
    return lines


def _minutes(report: StatisticsReport | None, room: Room) -> Lines:
    """A bar for each minute; each line has its own scale, up to the number before it."""
    if report is None:
        return []
    width = minute_width(report, (room.width or NOMINAL_WIDTH) - _BEFORE_MINUTES)
    lines = [_line("per minute", ("most".rjust(_NUMBER), "dim"), ("  " + minutes_axis(report, width), "dim"))]
    for name in ("created", "completed", "failed"):
        counts = [getattr(minute, name) for minute in report.minutes]
        most = max((count for count in counts if count is not None), default=0)
        bars = spark(counts, most, width)
        lines.append(_line(name, f"{most:,}".rjust(_NUMBER), ("  " + bars, FUNNEL[name])))
    of_all = f"{number(report.total('completed'))} of {number(report.total('created'))} in {MINUTES} minutes"
    conversion = percentage(report.conversion) or "none"
    source = "" if report.source is Source.REDIS else f", from the database: {report.why}"
    lines.append(_line("conversion", (conversion, "bold"), f"  {of_all}{safe(source)}"))
    return lines


def _caches(report: StatisticsReport | None) -> Lines:
    if report is None or report.caches is None:
        return []
    rates = [
        f"{name} {percentage(counts.rate('hit'))} of {counts.reads:,}" if counts.reads else f"{name} no reads"
        for name, counts in report.caches.items()
    ]
    return [_line("cache hits", ",  ".join(rates))]


def _tiers(report: StatisticsReport | None) -> Lines:
    """Which tiers answered reads and acknowledged writes; without Redis among them, in yellow."""
    if report is None or report.tiers is None:
        return []
    tiers = report.tiers
    parts: list[str | tuple[str, str]] = []
    for kind, counts in (("reads", tiers.reads), ("writes", tiers.writes)):
        shares = [f"{tier} {percentage(tiers.share(kind, tier))}" for tier, number in counts.items() if number]
        text = f"{kind} {', '.join(shares) or 'none'}{';  ' if kind == 'reads' else ''}"
        is_odd = bool(shares) and kind == "reads" and (tiers.share(kind, "redis") or 0) < 0.5
        parts.append((text, "yellow") if is_odd else text)
    if tiers.unpublished:
        parts.append((f" ({tiers.unpublished:,} not in Redis at first)", "yellow"))
    return [_line("by tier", *parts)]


# Lists


def _ending(look: TopLook) -> Lines:
    if look.ending is None:
        return [_line("ends soon", safe(look.why_no_ending))] if look.why_no_ending else []
    now, found = look.snapshot.taken_at, look.ending.sightings
    if not found:
        return [_line("ends soon", "no session lives" if look.ending.exact else "unknown: too many entries are due")]
    inexact = "" if look.ending.exact else "  (others may end before: checkoutctl cleanup --expired)"
    lines = [_titles("ends soon", f"{'left':>6}  {'status':<12}{'basket':>10}{inexact}")]
    for short, sighting in zip(shortened([each.checkout_id for each in found]), found, strict=True):
        shown = summary(sighting, now)
        total = "" if shown["total"] is None else f"{shown['total']:,.2f}"
        status = safe(shown["problem"] or shown["status"])
        lines.append(_row(short, f"{expiry(sighting, now):>6}  {status:<12}{total:>10}"))
    return lines


def _slow(look: TopLook) -> Lines:
    if look.slow is None:
        return [_line("slow", safe(look.why_no_slow))] if look.why_no_slow else []
    if not look.slow:
        return [_line("slow", "no command is in the slow log")]
    lines = [_titles("slow", f"{'calls':>6}  {'longest':>12}  keys")]
    for total in look.slow:
        longest = f"{milliseconds(total.longest)} ms"
        lines.append(_row(total.name, f"{total.calls:>6,}  {longest:>12}  {safe(total.family) or 'no key'}"))
    return lines


def _titles(name: str, titles: str) -> Text:
    return Text(name.ljust(_ID) + titles, "dim")


def _row(name: str, text: str) -> Text:
    return Text(f"{safe(name):<{_ID}}{text}")
