"""Long work ends where it must, each part has its turn, and the next run goes on where this one stopped."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from checkout_cli.clock import Clock
from checkout_cli.errors import InvalidInput
from checkout_cli.jobs.bounded_run import BoundedRun, Ended, Step, Stopped
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.stores import ManualClock


@pytest.fixture
def time() -> ManualClock:
    return ManualClock()


def counting(time: ManualClock, last: int, seen: list[str], took: float = 1.0) -> Callable[[str], Step]:
    """Pages of one each, up to the last one; each takes so many seconds."""

    def step(cursor: str) -> Step:
        seen.append(cursor)
        time.advance(took)
        return Step(1, str(int(cursor) + 1) if int(cursor) < last else None)

    return step


def stopping_at_each_page(run_of: Callable[[], BoundedRun], time: ManualClock) -> list[str]:
    """What all runs together see of two phases, each run going on where the one before stopped."""
    seen: list[str] = []
    cursor: str | None = "0"
    while cursor is not None:
        run = run_of()
        with run.bounds():
            run.through(counting(time, 4, seen), counting(time, 2, seen), cursor=cursor)
        assert run.finished == (run.cursor is None)
        cursor = run.cursor
        assert len(seen) <= 8, "it goes round in circles"
    return seen


@pytest.mark.parametrize("seconds", [0.5, 1, 1.5, 2, 3, 100])
def test_whatever_the_limit_all_runs_together_see_each_page_once(time: ManualClock, seconds: float) -> None:
    seen = stopping_at_each_page(lambda: BoundedRun(time.clock, max_seconds=seconds), time)
    assert seen == ["0", "1", "2", "3", "4", "0", "1", "2"]


def test_it_ends_where_that_is_enough_and_goes_on_from_there(time: ManualClock) -> None:
    seen: list[str] = []
    run = BoundedRun(time.clock)
    with run.bounds():
        run.through(counting(time, 9, seen), enough=lambda: len(seen) >= 3)
    assert (seen, run.stopped, run.cursor) == (["0", "1", "2"], Stopped.ENOUGH, "3")


@pytest.mark.parametrize(("most", "finished"), [(2, False), (3, True), (9, True)])
def test_of_single_items_no_more_are_taken_than_wanted(time: ManualClock, most: int, finished: bool) -> None:
    run = BoundedRun(time.clock)
    assert list(run.each(((letter, 1) for letter in "abc"), most=most)) == list("abc"[:most])
    assert run.finished is finished


def bounded_by(time: ManualClock, seconds: float) -> tuple[int, BoundedRun]:
    seen: list[str] = []
    run = BoundedRun(time.clock, max_seconds=seconds)
    with run.bounds():
        run.through(counting(time, 100, seen))
    return len(seen), run


def test_it_ends_when_the_time_is_up(time: ManualClock) -> None:
    number, run = bounded_by(time, 3)
    assert (number, run.stopped, run.finished, run.cursor) == (3, Stopped.TIME, False, "3")


def test_a_run_that_does_not_look_at_the_clock_would_be_found(
    time: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedRun, "_go_on", lambda *_, **__: None)
    number, run = bounded_by(time, 3)
    assert (number, run.finished) == (101, True)
    with pytest.raises(AssertionError):
        test_it_ends_when_the_time_is_up(time)


def test_the_last_page_is_the_end_however_long_it_took(time: ManualClock) -> None:
    run, seen = BoundedRun(time.clock, max_seconds=1), list[str]()
    with run.bounds():
        run.through(counting(time, 0, seen, took=60))
        for page in run.pages([[1, 2]]):
            time.advance(60)
            assert page == [1, 2]
    assert run.finished


def test_pages_end_between_two_and_never_before_the_first(time: ManualClock) -> None:
    run, seen = BoundedRun(time.clock, max_seconds=1), list[int]()
    time.advance(60)
    with run.bounds():
        for page in run.pages([[1], [2]]):
            seen += page
    assert (seen, run.stopped) == ([1], Stopped.TIME)


def test_ctrl_c_ends_it_and_the_page_is_done_again() -> None:
    def interrupt(_: str) -> Step:
        raise KeyboardInterrupt

    run, report = BoundedRun(), Ended()
    with run.bounds():
        run.through(lambda _: Step(1, None), interrupt)
    report.end(run)
    assert (report.stopped, report.cursor, report.finished, report.exit_code) == ("interrupted", "1:0", False, 130)


@pytest.mark.parametrize("number", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize("bound", ["max_seconds", "rate"])
def test_what_bounds_nothing_is_refused(bound: str, number: float) -> None:
    with pytest.raises(InvalidInput):
        BoundedRun(**{bound: number})


def test_a_rate_is_kept_by_pauses(time: ManualClock) -> None:
    run = BoundedRun(Clock(elapsed=time.clock.elapsed, pause=time.advance), rate=2)
    with run.bounds():
        run.through(counting(time, 9, [], took=0))
    assert run.seconds == 4.5  # ten at two a second; after the last one there is nothing to wait for


def test_progress_grows_with_what_is_done_and_ends_at_the_total() -> None:
    told: list[tuple[int, int]] = []
    run = BoundedRun(progress=lambda done, total: told.append((done, total)))
    run.expect(5, done=2)
    for _ in run.pages([[1], [2, 3]]):
        pass
    assert told == [(3, 5), (5, 5)]


# A lock


def test_it_ends_where_the_lock_is_lost_and_nobody_else_has_a_turn(store: CheckoutStore) -> None:
    run, seen = BoundedRun(store.clock), list[str]()

    def lose(part: BoundedRun) -> None:
        for page in part.pages(["first", "second"]):
            seen.append(page)
            store.redis.unlock("cleanup", "us")

    with run.locked(store, "cleanup", "us"):
        run.in_turn(lose, lambda _: seen.append("next"))
    assert (seen, run.stopped, run.finished) == (["first"], Stopped.LOCK_LOST, False)


# Turns


def test_each_phase_has_its_turn_and_what_one_leaves_is_for_the_others(time: ManualClock) -> None:
    seen: list[str] = []

    def phase(name: str, pages: int) -> Callable[[BoundedRun], None]:
        left = [name] * pages

        def work(part: BoundedRun) -> None:
            for _ in part.pages(iter(lambda: bool(left), False), lambda _: 1):
                seen.append(left.pop())
                time.advance(1)

        return work

    run = BoundedRun(time.clock, max_seconds=12)
    run.in_turn(phase("a", 100), phase("b", 1), phase("c", 100))
    assert (seen.count("b"), run.stopped) == (1, Stopped.TIME)
    assert min(seen.count("a"), seen.count("c")) >= 4
    assert 12 <= len(seen) <= 14  # at most one page more for each
    run = BoundedRun(time.clock, max_seconds=50)
    run.in_turn(phase("a", 40), phase("b", 1))
    assert run.finished, "the second needed no more, so that the first has another turn"


def test_the_time_that_a_person_thinks_is_no_part_of_the_run(time: ManualClock) -> None:
    run = BoundedRun(time.clock, max_seconds=10)
    assert run.untimed(lambda about: not time.advance(3600) and about, True)
    number = 0
    with run.bounds():
        for _ in run.pages([[1]] * 100):
            time.advance(1)
            number += 1
    assert number == 10
