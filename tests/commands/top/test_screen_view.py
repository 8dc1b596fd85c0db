"""When the live view looks, without a terminal and without waiting."""

from __future__ import annotations

import time
from dataclasses import replace

from checkout_cli.clock import Clock
from checkout_cli.commands.health.health import HealthReport, Status
from checkout_cli.commands.top.screen_view import SHARE, Screen
from checkout_cli.commands.top.top import TopLook
from tests.support.looks import health, look_of
from tests.support.stores import ManualClock, wait_until


class Looks:
    """Counts looks; each says that it took so many seconds."""

    def __init__(self, seconds: float, report: HealthReport | None = None) -> None:
        self.number = 0
        self._seconds = seconds
        self._report = report or health()

    def __call__(self) -> TopLook:
        self.number += 1
        look = look_of()
        return replace(look, snapshot=replace(look.snapshot, seconds=self._seconds, health=self._report))


def screen_of(looks: Looks, time_of: ManualClock) -> Screen:
    return Screen(looks, 2.0, Clock(time_of.clock.wall, time_of.clock.elapsed, time.sleep))


def advanced(screen: Screen, looks: Looks, time_of: ManualClock, seconds: float) -> int:
    """How many looks there have been when so much time has passed."""
    time_of.advance(seconds)
    before, number = screen.last, looks.number
    screen.advance()
    if looks.number > number:
        wait_until(lambda: taken(screen) is not before)
    return looks.number


def taken(screen: Screen) -> TopLook | None:
    screen.advance()
    return screen.last


def test_it_looks_at_once_and_then_every_so_many_seconds() -> None:
    looks, time_of = Looks(0.01), ManualClock()
    screen = screen_of(looks, time_of)
    found = [advanced(screen, looks, time_of, seconds) for seconds in (0, 1.9, 0.2, 1.0, 1.1)]
    assert found == [1, 1, 2, 2, 3]


def test_looks_that_take_long_are_fewer() -> None:
    looks, time_of = Looks(4.0), ManualClock()
    screen = screen_of(looks, time_of)
    found = [advanced(screen, looks, time_of, seconds) for seconds in (0, 4, 4 / SHARE - 5, 1.5)]
    assert found == [1, 1, 1, 2]


def test_waiting_for_a_server_that_does_not_answer_is_no_load() -> None:
    looks, time_of = Looks(4.0, health(Status.DEGRADED)), ManualClock()
    screen = screen_of(looks, time_of)
    assert [advanced(screen, looks, time_of, seconds) for seconds in (0, 4, 2.1)] == [1, 2, 3]


def test_while_paused_only_a_key_looks() -> None:
    looks, time_of = Looks(0.01), ManualClock()
    screen = screen_of(looks, time_of)
    advanced(screen, looks, time_of, 0)
    screen.press(" ")
    assert advanced(screen, looks, time_of, 60) == 1
    screen.press("r")
    assert advanced(screen, looks, time_of, 0) == 2
    screen.press(" ")
    assert advanced(screen, looks, time_of, 60) == 3
