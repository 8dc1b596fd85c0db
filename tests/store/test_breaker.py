from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import RedisUnavailable, TierUnavailable
from checkout_cli.store.breaker import FIRST_WAIT, LONGEST_WAIT, Breaker
from tests.support.servers import ValkeyServer
from tests.support.stores import ManualClock, count_calls, make_store, make_tables

AWAY = RedisUnavailable("Redis is away", hint="look at it")


class Time:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def passes(breaker: Breaker) -> bool:
    try:
        breaker.check()
    except TierUnavailable:
        return False
    return True


def test_a_new_breaker_is_closed(time: Time) -> None:
    breaker = Breaker(time)
    assert passes(breaker)
    assert not breaker.is_open


def test_a_failure_opens_it_and_the_refusal_says_why(time: Time) -> None:
    breaker = Breaker(time)
    breaker.failed(AWAY)
    with pytest.raises(RedisUnavailable, match="Redis is away") as refusal:
        breaker.check()
    assert refusal.value.hint == "look at it"
    assert breaker.is_open


def test_after_the_wait_one_caller_tries_and_the_others_are_still_refused(time: Time) -> None:
    breaker = Breaker(time, jitter=lambda: 1.0)
    breaker.failed(AWAY)
    time.now += FIRST_WAIT - 0.001
    assert not passes(breaker)
    time.now += 0.001
    assert [passes(breaker) for _ in range(5)] == [True, False, False, False, False]


def test_while_one_caller_tries_a_slow_server_nobody_else_does(time: Time) -> None:
    breaker = Breaker(time, jitter=lambda: 0.0, longest_try=4.0)
    breaker.failed(AWAY)
    time.now += FIRST_WAIT
    assert passes(breaker)
    time.now += 4.0
    assert not passes(breaker)
    breaker.failed(AWAY)
    time.now += FIRST_WAIT * 2
    assert passes(breaker)


def test_a_caller_that_never_reports_does_not_keep_it_open_for_ever(time: Time) -> None:
    breaker = Breaker(time, jitter=lambda: 1.0, longest_try=4.0)
    breaker.failed(AWAY)
    time.now += FIRST_WAIT
    assert passes(breaker)
    time.now += 4.0 + FIRST_WAIT
    assert passes(breaker)


def test_success_closes_it_for_everybody(time: Time) -> None:
    breaker = Breaker(time)
    breaker.failed(AWAY)
    time.now += LONGEST_WAIT
    assert passes(breaker)
    breaker.succeeded()
    assert not breaker.is_open
    assert all(passes(breaker) for _ in range(5))


def test_the_wait_doubles_up_to_a_limit(time: Time) -> None:
    breaker = Breaker(time, jitter=lambda: 1.0)
    waits = []
    for _ in range(8):
        breaker.failed(AWAY)
        start = time.now
        while not passes(breaker):
            time.now += 0.125
        waits.append(time.now - start)
    assert waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0]


@pytest.mark.parametrize(("jitter", "share"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_the_wait_is_jittered_between_a_half_and_the_whole(time: Time, jitter: float, share: float) -> None:
    breaker = Breaker(time, jitter=lambda: jitter)
    breaker.failed(AWAY)
    time.now += FIRST_WAIT * share - 0.001
    assert not passes(breaker)
    time.now += 0.002
    assert passes(breaker)


def test_of_many_threads_one_tries(time: Time) -> None:
    breaker = Breaker(time)
    breaker.failed(AWAY)
    time.now += LONGEST_WAIT
    through: list[bool] = []
    barrier = threading.Barrier(16)

    def call() -> None:
        barrier.wait()
        through.append(passes(breaker))

    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(through) == 1


def test_a_hanging_redis_costs_one_time_out_in_all(
    settings: Settings, valkey_server: Callable[..., ValkeyServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = valkey_server()
    clock = ManualClock()
    with make_store(Settings(**{**vars(settings), "redis_port": server.port}), clock) as store:
        make_tables(store.database)
        store.create({}, checkout_id="session-1")
        server.pause()
        asked = count_calls(store.redis.servers()[0], "_send", monkeypatch)
        for _ in range(20):
            store.get("session-1")
            store.update("session-1", {"a": 1})
        assert len(asked) == 1
        clock.advance(FIRST_WAIT)
        for _ in range(20):
            store.get("session-1")
        assert len(asked) == 2
        server.resume()
        clock.advance(LONGEST_WAIT)
        store.get("session-1")
        assert not store.redis.breaker.is_open
