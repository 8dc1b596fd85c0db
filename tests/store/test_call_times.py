"""How long calls take: measured as the caller saw it, sent together once a second, never twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import SessionNotFound
from checkout_cli.keys import minute_key
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.histogram import bucket_of
from tests.support.books import hash_at, minutes, times
from tests.support.stores import ID, ManualClock, count_calls, make_tables, redis_away, without_redis

# How long calls take


@pytest.fixture
def slow(store: CheckoutStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> CheckoutStore:
    """The store, each of whose publishes takes a quarter of a second."""
    publish = store.redis.publish

    def slowly(*arguments: Any, **options: Any) -> str:
        clock.advance(0.25)
        return publish(*arguments, **options)

    monkeypatch.setattr(store.redis, "publish", slowly)
    return store


def test_the_whole_time_of_a_call_is_counted(slow: CheckoutStore) -> None:
    slow.create({}, checkout_id=ID)
    slow.set_payment_status(ID, "failed")
    slow.update(ID, {"notes": "ring"})
    assert times(slow) == {f"create:{bucket_of(0.25)}": 1, f"update:{bucket_of(0.25)}": 2}


def test_what_is_counted_is_sent_once_a_second(
    store: CheckoutStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushes = count_calls(store.bookkeeping, "flush", monkeypatch)
    for number in range(40):
        store.create({}, checkout_id=f"session-{number:04}")
        clock.advance(0.1)
    assert len(flushes) == 4, "the first of them at once"
    clock.advance(1)
    store.get("session-0039")
    assert len(flushes) == 5, "and what was left by the next call"
    assert sum(times(store).values()) == 40


def test_what_is_not_sent_yet_is_sent_when_the_store_is_closed(
    slow: CheckoutStore, another: Callable[..., CheckoutStore]
) -> None:
    slow.create({}, checkout_id=ID)
    slow.update(ID, {"n": 1})
    slow.close()
    slow.close()
    assert times(another()) == {f"create:{bucket_of(0.25)}": 1, f"update:{bucket_of(0.25)}": 1}


def test_a_call_that_fails_is_not_measured(store: CheckoutStore) -> None:
    with pytest.raises(SessionNotFound):
        store.update(ID, {})
    store.bookkeeping.flush()
    assert minutes(store) == {}


def test_a_time_belongs_to_the_minute_of_its_call(store: CheckoutStore, clock: ManualClock) -> None:
    minute = clock.milliseconds // 60_000
    store.create({}, checkout_id=ID)
    clock.advance(120)
    store.update(ID, {"n": 1})
    clock.advance(60)
    store.bookkeeping.flush()
    assert hash_at(store, minute_key(minute)) == {"created": "1", "create:0": "1"}
    assert hash_at(store, minute_key(minute + 2)) == {"updated": "1", "update:0": "1"}


def test_times_that_an_exchange_has_lost_are_not_sent_again(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({}, checkout_id=ID)
    store.update(ID, {"n": 1})
    with monkeypatch.context() as away:
        away.setattr(store.redis, "exchange", redis_away)
        store.bookkeeping.flush()
    assert times(store) == {"create:0": 1}
    store.update(ID, {"n": 2})
    assert times(store) == {"create:0": 1, "update:0": 1}


def test_closing_sends_nothing_where_there_is_nothing_to_send(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchanges = count_calls(store.redis, "exchange", monkeypatch)
    store.close()
    assert exchanges == []


def test_closing_does_not_wait_for_a_redis_that_is_away(
    another: Callable[..., CheckoutStore], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = another(without_redis(settings))
    make_tables(store.database)
    store.create({}, checkout_id=ID)
    exchanges = count_calls(store.redis, "exchange", monkeypatch)
    store.close()
    assert exchanges == []


@pytest.mark.parametrize("value", ["theirs", None])
def test_closing_raises_nothing_whatever_redis_answers(
    store: CheckoutStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    store.create({}, checkout_id=ID)
    if value is None:
        monkeypatch.setattr(store.redis, "exchange", redis_away)
    else:
        store.redis.ask(("SET", minute_key(clock.milliseconds // 60_000), value))
    store.close()


def test_threads_lose_no_time(store: CheckoutStore) -> None:
    def calls() -> None:
        for _ in range(2000):
            store.bookkeeping.took("update", 0.001)

    threads = [threading.Thread(target=calls) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    store.bookkeeping.flush()
    assert times(store) == {f"update:{bucket_of(0.001)}": 8000}
