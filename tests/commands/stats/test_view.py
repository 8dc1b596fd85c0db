"""Statistics as JSON, as plain text, and on a terminal of 80 by 24."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import msgspec
import pytest
from rich.console import Console

from checkout_cli.commands.stats.panel_view import panel
from checkout_cli.commands.stats.stats import STATUSES, StatisticsLook
from checkout_cli.commands.stats.view import show_look, show_watch
from checkout_cli.domain.statistics import CacheCounts, CallTimes, Minute, Source, StatisticsReport
from checkout_cli.errors import TierUnavailable
from checkout_cli.terminal.document import document

NOW = 1_705_314_650_000  # 2024-01-15T10:30:50Z


def minutes(*created: int | None) -> tuple[Minute, ...]:
    start = NOW // 60_000 - len(created) + 1
    return tuple(
        Minute(
            (start + place) * 60_000, number, *(None if number is None else number // half for half in (2, 10, 20, 1))
        )
        for place, number in enumerate(created)
    )


REPORT = StatisticsReport(
    Source.REDIS,
    NOW,
    minutes(0, 40, 20),
    3600.0,
    create_times=CallTimes(60, 0.0012, 0.0048, 0.25),
    update_times=CallTimes(0, None, None, None),
    caches={"delivery": CacheCounts(90, 6, 3, 1), "coupon": CacheCounts()},
)
AWAY = StatisticsReport(
    Source.DATABASE,
    NOW,
    tuple(msgspec.structs.replace(minute, updated=None) for minute in REPORT.minutes),
    3600.0,
    "Redis is gone\x1b]0;x\x07",
)
LOOK = StatisticsLook(NOW, 3, REPORT)
AWAY_LOOK = StatisticsLook(NOW, 3, AWAY)
STATUS_LOOK = StatisticsLook(NOW, 3, statuses=dict.fromkeys(STATUSES, 0) | {"paid": 3, "pending": 1})
DARK = StatisticsLook(NOW, 3, problem=TierUnavailable("all is dark\x1b[2J", hint="checkoutctl health"))


def on_terminal(
    look: StatisticsLook,
    *,
    width: int = 80,
    height: int | None = None,
    by_minute: bool = False,
) -> list[str]:
    """The lines that a terminal shows."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8")
    console = Console(file=stream, width=width, height=24, color_system=None, highlight=False, markup=False)
    console.print(panel(look, console, by_minute=by_minute, height=height))
    stream.flush()
    return [line.rstrip() for line in raw.getvalue().decode("utf-8").splitlines()]


def cells(lines: Sequence[str], name: str) -> list[str]:
    return next(line for line in lines if line.startswith(name)).split()


class TestJson:
    def test_the_document_has_all_figures(self) -> None:
        shown = json.loads(json.dumps(document(LOOK)))
        assert shown["timestamp"] == "2024-01-15T10:30:50.000Z"
        assert shown["since"] == "2024-01-15T10:28:00.000Z"
        assert (shown["minutes"], shown["source"], shown["sourceReason"]) == (3, "redis", None)
        assert shown["totals"] == {"created": 60, "completed": 30, "failed": 6, "cancelled": 3, "updated": 60}
        assert shown["conversionRate"] == 0.5
        assert shown["createTimes"] == {"count": 60, "p50Ms": 1.2, "p95Ms": 4.8, "p99Ms": 250.0}
        assert shown["updateTimes"] == {"count": 0, "p50Ms": None, "p95Ms": None, "p99Ms": None}
        assert shown["caches"]["delivery"]["reads"] == 100
        assert shown["caches"]["delivery"]["hitRate"] == 0.9
        assert shown["caches"]["coupon"]["hitRate"] is None
        assert [minute["created"] for minute in shown["perMinute"]] == [0, 40, 20]
        assert shown["perMinute"][0]["minute"] == "2024-01-15T10:28:00.000Z"

    def test_what_nobody_knows_is_null(self) -> None:
        shown = document(AWAY_LOOK)
        assert shown["source"] == "database"
        assert shown["totals"]["updated"] is None
        assert shown["createTimes"] is shown["updateTimes"] is shown["caches"] is None

    def test_every_status_is_there(self) -> None:
        shown = document(STATUS_LOOK)
        assert tuple(shown["statuses"]) == STATUSES
        assert (shown["created"], shown["statuses"]["paid"], shown["statuses"]["failed"]) == (4, 3, 0)

    def test_a_look_that_failed_says_why(self) -> None:
        shown = document(DARK)
        assert (shown["source"], shown["hint"]) == (None, "checkoutctl health")

    def test_a_watch_is_a_line_a_look(self, capsys: pytest.CaptureFixture[str]) -> None:
        show_watch([LOOK, AWAY_LOOK, DARK], as_json=True)
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["source"] for line in lines] == ["redis", "database", None]


class TestPlainText:
    def test_nothing_is_cut_and_nothing_is_drawn(self, capsys: pytest.CaptureFixture[str]) -> None:
        show_look(LOOK)
        shown = capsys.readouterr()
        lines = shown.out.splitlines()
        assert cells(lines, "created") == ["created", "60"]
        assert cells(lines, "completed") == ["completed", "30", "50.0%"]
        assert cells(lines, "create ") == ["create", "60", "1.200", "4.800", "250.0"]
        assert cells(lines, "delivery") == ["delivery", "100", "90.0%", "6.0%", "3.0%", "1.0%"]
        assert shown.out.isascii()
        assert shown.err == ""

    def test_the_database_is_named_with_what_its_figures_are(self, capsys: pytest.CaptureFixture[str]) -> None:
        show_look(AWAY_LOOK)
        shown = capsys.readouterr()
        assert "updated    unknown" in shown.out
        assert "cache" not in shown.out
        assert "by their last write" in shown.err
        assert "\x1b" not in shown.err

    def test_by_minute_is_a_table(self, capsys: pytest.CaptureFixture[str]) -> None:
        show_look(LOOK, by_minute=True)
        lines = capsys.readouterr().out.splitlines()
        assert cells(lines, "2024-01-15T10:29")[1:] == ["40", "20", "4", "2", "40", "50.0%"]
        assert cells(lines, "2024-01-15T10:28")[1:] == ["0", "0", "0", "0", "0"]

    def test_by_status_is_a_table_with_shares(self, capsys: pytest.CaptureFixture[str]) -> None:
        show_look(STATUS_LOOK)
        assert cells(capsys.readouterr().out.splitlines(), "paid") == ["paid", "3", "75.0%"]

    def test_a_watch_is_a_line_a_look(self, capsys: pytest.CaptureFixture[str]) -> None:
        show_watch([LOOK, AWAY_LOOK, STATUS_LOOK, DARK])
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == (
            "2024-01-15T10:30:50.000Z source=redis created=60 completed=30 failed=6 cancelled=3 updated=60"
            " conversion=50.0%"
        )
        assert "source=database" in lines[1]
        assert "updated=unknown" in lines[1]
        assert "paid=3" in lines[2]
        assert "unavailable (all is dark" in lines[3]
        assert all(line.isprintable() for line in lines)

    @pytest.mark.parametrize(
        ("report", "warning"),
        [
            (msgspec.structs.replace(REPORT, kept=60.0), "Redis keeps a minute for 1m only"),
            (
                msgspec.structs.replace(REPORT, minutes=(*REPORT.minutes[:2], Minute(NOW, unreadable=2))),
                "2 of the fields under stats:minute: cannot be read",
            ),
        ],
    )
    def test_what_to_know_before_believing_it_is_a_warning(
        self, report: StatisticsReport, warning: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        show_look(StatisticsLook(NOW, 3, report))
        assert f"warning: {warning}" in capsys.readouterr().err
        assert any(warning in line for line in on_terminal(StatisticsLook(NOW, 3, report), width=200))


class TestTerminal:
    def test_the_bars_have_one_scale(self) -> None:
        lines = on_terminal(LOOK)
        created, completed, failed = (cells(lines, name)[-1] for name in ("created", "completed", "failed"))
        assert (len(created), len(completed), len(failed)) == (36, 18, 4)
        assert set(created) == {"█"}

    def test_the_series_shows_each_minute_on_its_own_scale(self) -> None:
        lines = on_terminal(LOOK)
        series = [line for line in lines if line.startswith("created")][1]
        assert series.split()[1] == "40"
        assert series.endswith("    ████▄▄▄▄")

    def test_conversion_times_caches_and_source_are_there(self) -> None:
        lines = on_terminal(LOOK)
        assert cells(lines, "conversion")[1] == "50.0%"
        assert cells(lines, "create ") == ["create", "60", "1.200", "4.800", "250.0"]
        assert cells(lines, "delivery cache")[2:] == ["100", "90.0%", "6.0%", "3.0%", "1.0%"]
        assert lines[-1].startswith("source  counted in Redis")

    @pytest.mark.parametrize("count", [1, 2, 15, 60])
    def test_80_by_24_holds_it_all(self, count: int) -> None:
        report = msgspec.structs.replace(REPORT, minutes=minutes(*range(90_000, 90_000 + count)))
        lines = on_terminal(StatisticsLook(NOW, count, report))
        assert len(lines) <= 22  # and two for the prompts around it
        assert not any("…" in line for line in lines)

    def test_without_redis_it_says_so_and_shows_no_invented_figure(self) -> None:
        lines = on_terminal(AWAY_LOOK)
        assert any("from the database, because Redis is gone\\x1b" in line for line in lines)
        assert any("unknown updates" in line for line in lines)
        assert not any(line.startswith(("delivery", "calls")) for line in lines)

    def test_a_minute_that_is_unknown_is_no_zero(self) -> None:
        report = msgspec.structs.replace(REPORT, minutes=minutes(8, None, 0))
        series = [line for line in on_terminal(StatisticsLook(NOW, 3, report)) if line.startswith("created")][1]
        assert series.endswith("████????")

    def test_without_any_event_nothing_is_divided_by_zero(self) -> None:
        report = msgspec.structs.replace(REPORT, minutes=minutes(0, 0))
        assert cells(on_terminal(StatisticsLook(NOW, 2, report)), "conversion")[1:3] == ["none", "created"]

    def test_a_watched_table_keeps_the_newest_minutes_that_fit(self) -> None:
        look = StatisticsLook(NOW, 60, msgspec.structs.replace(REPORT, minutes=minutes(*range(60))))
        lines = on_terminal(look, by_minute=True, height=24)
        assert len(lines) <= 24
        assert any(line.lstrip().startswith("10:30 UTC") for line in lines)
        assert not any("…" in line for line in lines)
        assert len(on_terminal(look, by_minute=True)) > 60

    @pytest.mark.parametrize("width", [80, 81, 100, 120, 200])
    def test_the_bars_of_a_table_are_never_cut(self, width: int) -> None:
        lines = on_terminal(LOOK, by_minute=True, width=width)
        assert not any("…" in line for line in lines)
        assert max(map(len, lines)) <= width
        assert any("█" in line for line in lines) == (width > 80)

    def test_by_status_shows_shares_as_bars(self) -> None:
        lines = on_terminal(STATUS_LOOK)
        assert cells(lines, "paid")[1:3] == ["3", "75.0%"]
        assert cells(lines, "failed") == ["failed", "0", "0.0%"]

    def test_a_look_that_failed_says_what_to_type(self) -> None:
        lines = on_terminal(DARK)
        assert any("all is dark\\x1b[2J" in line for line in lines)
        assert any("checkoutctl health" in line for line in lines)
