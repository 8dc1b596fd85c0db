"""Frames of every size, and what is in them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from checkout_cli.commands.health.health import HealthReport, RedisHealth, SessionsHealth, Status, TierHealth
from checkout_cli.commands.health.snapshot import Snapshot
from checkout_cli.commands.memory.show import MemoryLook
from checkout_cli.commands.sessions.ending_soon import EndingSoon
from checkout_cli.commands.top.frame_view import Room, frame
from checkout_cli.commands.top.top import TopLook
from checkout_cli.domain.statistics import Source, StatisticsReport
from checkout_cli.errors import ConfigurationError
from checkout_cli.session import TierName
from checkout_cli.store.records import Problem, Sighting
from tests.support.looks import NOW, health, look_of, sighting

FOOT = Text("q quit")


def shown(look: TopLook, room: Room | None = None, *notes: str) -> str:
    return "\n".join(line.plain for line in frame(look, room or Room(), notes))


@given(width=st.integers(1, 200), height=st.integers(1, 60), count=st.integers(0, 10), slow=st.booleans())
def test_a_frame_never_leaves_its_room(width: int, height: int, count: int, slow: bool) -> None:
    look = look_of(ending=EndingSoon(tuple(map(sighting, range(count)))))
    if not slow:
        look = replace(look, slow=None, why_no_slow="needs +slowlog|get")
    lines = frame(look, Room(width, height), ["every 2 s"], FOOT.copy())
    assert len(lines) == max(height, 2)
    assert max(line.cell_len for line in lines) <= width
    assert lines[0].plain.startswith("HEALTHY"[: width - 1])


def test_80_by_24_has_a_part_of_everything() -> None:
    text = shown(look_of(), Room(80, 24))
    titles = ["HEALTHY", "redis", "database", "memory", "sessions", "by status", "per minute", "created", "completed"]
    for title in (*titles, "failed", "conversion", "cache hits", "by tier", "ends soon", "slow"):
        assert f"\n{title}" in f"\n{text}"
    assert len(text.splitlines()) <= 24
    assert "00000000" in text
    assert "KEYS" in text


def test_a_single_line_about_the_slow_log_is_not_dropped_for_the_other_list() -> None:
    assert "no command is in the slow log" in shown(look_of(slow=()), Room(80, 24))
    assert "needs +slowlog|get" in shown(look_of(slow=None, why_no_slow="needs +slowlog|get"), Room(80, 24))


def test_the_memorys_forecast_is_never_cut_for_its_bar() -> None:
    memory = replace(look_of().memory[0], used=3 << 20, limit=512 << 20)
    for width in range(80, 100):
        assert "full in 509 minutes (8h)" in shown(look_of(memory=(memory,)), Room(width, 24))


def test_that_it_is_paused_is_seen_in_a_narrow_window_too() -> None:
    assert "paused" in frame(look_of(), Room(20, 8), ["paused"])[0].plain


def test_nothing_is_cut_for_a_pipe() -> None:
    text = shown(look_of(slow=None, why_no_slow="x" * 300))
    assert "x" * 300 in text
    assert text.count("pending    ") == 10


def test_the_figures_are_those_of_the_look() -> None:
    text = shown(look_of())
    assert "redis uses " in text
    assert "50.0%, 50.0 MiB of 100.0 MiB, +1.0 MiB/min, full in 50 minutes (50m)" in text
    assert "sessions   1,234 (from redis)  nothing waits" in text
    assert "by status  pending 4, paid 30" in text
    assert "conversion 46.7%  49 of 105 in 15 minutes" in text
    assert "cache hits delivery 90.0% of 100,  coupon no reads" in text
    assert "by tier    reads redis 90.0%, database 10.0%;  writes database 100.0% (3 not in Redis at first)" in text
    assert "KEYS                     3      200.0 ms  sessions" in text
    assert "EVAL                     1      100.0 ms  no key" in text


def test_what_is_wrong_stands_on_top_with_what_to_type() -> None:
    look = look_of()
    shot = replace(look.snapshot, health=health(Status.DEGRADED, pending=3))
    lines = shown(replace(look, snapshot=shot), Room(80, 8), "paused").splitlines()
    assert lines[0].startswith("DEGRADED  paused  20")
    assert lines[1].startswith("redis      away")
    assert lines[4] == "next       checkoutctl ping"
    assert "checkoutctl sync" not in lines, "it could not hand over anything"
    waiting = replace(look, snapshot=replace(look.snapshot, health=health(pending=3)))
    assert "next       checkoutctl sync" in shown(waiting)
    assert "3 sessions wait for Redis" in shown(replace(look, snapshot=shot))


def test_a_wrong_configuration_is_told_and_nothing_invented() -> None:
    wrong = ConfigurationError("REDIS_PORT: not a port")
    report = HealthReport(
        NOW, wrong, RedisHealth(False), TierHealth(False), TierHealth(False), SessionsHealth(), Status.UNHEALTHY
    )
    text = shown(TopLook(Snapshot(NOW, 0, report, {}, None, None)))
    assert "wrong      REDIS_PORT: not a port" in text
    assert "sessions" not in text


def test_figures_from_the_database_say_so() -> None:
    look = look_of()
    assert look.snapshot.report is not None
    report = StatisticsReport(Source.DATABASE, NOW, look.snapshot.report.minutes, 3600, why="Redis is away")
    text = shown(replace(look, snapshot=replace(look.snapshot, report=report)))
    assert "in 15 minutes, from the database: Redis is away" in text
    assert "cache hits" not in text


def test_too_many_due_entries_are_told() -> None:
    text = shown(look_of(ending=EndingSoon((sighting(1),), exact=False)))
    assert "others may end before: checkoutctl cleanup --expired" in text
    assert "no session lives" in shown(look_of(ending=EndingSoon()))
    assert "too many entries are due" in shown(look_of(ending=EndingSoon(exact=False)))


@pytest.mark.parametrize("status", ["\x1b]0;gone\x07", "paid\u202e", "a\nb", {"e-mail": "canary@shop.example"}])
def test_what_others_wrote_cannot_reach_the_terminal(status: object) -> None:
    text = shown(look_of(ending=EndingSoon((sighting(1, status),))))
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "canary@shop.example" not in text
    assert len(text.splitlines()) == len(frame(look_of(ending=EndingSoon((sighting(1),))), Room()))


def test_a_value_that_is_no_session_is_shown_as_such() -> None:
    corrupt = Sighting("corrupt-01", TierName.REDIS, None, NOW + 5000, 9, Problem.CORRUPT)
    assert "corrupt-" in shown(look_of(ending=EndingSoon((corrupt,))))


def test_each_server_of_a_cluster_has_its_line() -> None:
    two = tuple(MemoryLook(f"h:{port}", 1 << 20, None, limit_known=True) for port in (1, 2))
    text = shown(look_of(memory=two))
    assert "redis uses h:1  1.0 MiB, no limit" in text
    assert "redis uses h:2  1.0 MiB, no limit" in text
