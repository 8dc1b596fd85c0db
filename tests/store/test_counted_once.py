"""Whatever is published again, repeated or raced for is counted once: only who committed it counts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.keys import minute_key
from checkout_cli.servers.embedded import HOST
from checkout_cli.session import decode, iso
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.publishing import Outcome
from checkout_cli.store.redis.commands import Script
from tests.store.worker import Order, Worker
from tests.support.books import HANDED_OVER_BY_NOW, USER, counted, meanwhile, user
from tests.support.proxy import Proxy
from tests.support.servers import ValkeyServer
from tests.support.stores import (
    ID,
    ManualClock,
    evict,
    look_around,
    make_store,
    make_tables,
    put_raw,
    raw,
    redis_away,
    send_counts,
    under_another_identity,
)

# Only who committed it


def a_key_is_filled_again(store: CheckoutStore, other: CheckoutStore, clock: ManualClock) -> None:
    store.create({"userId": USER, "paymentStatus": "paid"}, checkout_id=ID)
    evict(store, ID)
    other.get(ID)


def a_row_is_handed_over_by_another(store: CheckoutStore, other: CheckoutStore, clock: ManualClock) -> None:
    publish = store.redis.publish

    def lose_the_answer(*arguments: Any, **options: Any) -> Any:
        publish(*arguments, **options)
        return redis_away()

    store.redis.publish = lose_the_answer  # type: ignore[method-assign]
    assert not store.create({"userId": USER, "paymentStatus": "paid"}, checkout_id=ID).published
    clock.advance(HANDED_OVER_BY_NOW)
    assert other.get(ID).version == 1


def a_copy_comes_back_from_a_snapshot(store: CheckoutStore, other: CheckoutStore, clock: ManualClock) -> None:
    store.create({"userId": USER, "paymentStatus": "paid"}, checkout_id=ID)
    value = raw(store, ID)
    assert value is not None
    put_raw(store, ID, under_another_identity(value))
    other.get(ID)


SCENARIOS = [a_key_is_filled_again, a_row_is_handed_over_by_another, a_copy_comes_back_from_a_snapshot]


def play(scenario: Callable[..., None], store: CheckoutStore, other: CheckoutStore, clock: ManualClock) -> None:
    publishes = 0
    for process in (store, other):
        publish = process.redis.publish

        def noted(*arguments: Any, _publish: Any = publish, **options: Any) -> Any:
            nonlocal publishes
            publishes += 1
            return _publish(*arguments, **options)

        process.redis.publish = noted  # type: ignore[method-assign]
    scenario(store, other, clock)
    assert publishes >= 2, "the scenario is none without a second publish"
    assert counted(store) == {"created": 1, "completed": 1}
    tracked = user(store)
    assert (tracked["checkoutsStarted"], tracked["checkoutsCompleted"]) == ("1", "1")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_whatever_is_published_again_is_counted_once(
    store: CheckoutStore, another: Callable[..., CheckoutStore], clock: ManualClock, scenario: Callable[..., None]
) -> None:
    play(scenario, store, another(), clock)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_negative_control_if_every_publish_counted_it_would_be_counted_twice(
    store: CheckoutStore, another: Callable[..., CheckoutStore], clock: ManualClock, scenario: Callable[..., None]
) -> None:
    other = another()
    for process in (store, other):
        publish, count = process.redis.publish, process.bookkeeping.count
        process.bookkeeping.count = lambda *_: None  # type: ignore[method-assign]

        def counting(record: Any, *arguments: Any, _publish: Any = publish, _count: Any = count, **options: Any) -> Any:
            _count(None, decode(record.body))
            return _publish(record, *arguments, **options)

        process.redis.publish = counting  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match=r"'c\w+': 2"):
        play(scenario, store, other, clock)


def test_a_write_whose_publish_never_arrives_is_counted_by_its_writer_and_not_by_who_publishes_it(
    store: CheckoutStore, another: Callable[..., CheckoutStore], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = another()
    monkeypatch.setattr(store.redis, "publish", redis_away)
    store.create({"userId": USER}, checkout_id=ID)
    clock.advance(HANDED_OVER_BY_NOW)
    other.get(ID)
    assert raw(store, ID) is not None
    assert counted(store) == {"created": 1}
    assert user(store)["checkoutsStarted"] == "1"


def test_counts_that_may_have_arrived_are_not_sent_again(
    another: Callable[..., CheckoutStore], settings: Settings, valkey: ValkeyServer
) -> None:
    with Proxy((HOST, valkey.port)) as proxy:
        store, other = another(replace(settings, redis_port=proxy.port)), another()
        make_tables(store.database)
        store.redis.requirements.check(ID, store.redis.identity(ID))  # as the first operation does, once
        lost = proxy.lose_reply_to(minute_key(0)[:-1].encode())
        assert store.create({"userId": USER}, checkout_id=ID).published
        assert lost.wait(5)
        store.get(ID)
        store.bookkeeping.flush()
    assert counted(other) == {"created": 1}
    assert user(other)["checkoutsStarted"] == "1"


@pytest.mark.parametrize("loss", [Outcome.NEWER, Outcome.MISSING])
def test_a_late_publish_counts_though_it_is_not_applied(
    store: CheckoutStore, another: Callable[..., CheckoutStore], monkeypatch: pytest.MonkeyPatch, loss: Outcome
) -> None:
    store.create({"userId": USER}, checkout_id=ID)
    other, publish, outcomes = another(), store.redis.publish, []

    def publish_late(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(store.redis, "publish", publish)
        other.update(ID, {"n": 3}) if loss is Outcome.NEWER else evict(other, ID)
        outcome, there = publish(*arguments, **options)
        outcomes.append(outcome)
        return outcome, there

    monkeypatch.setattr(store.redis, "publish", publish_late)
    store.set_payment_status(ID, "failed")
    assert outcomes == [loss]
    assert counted(store) == {"created": 1, "updated": 2 if loss is Outcome.NEWER else 1, "failed": 1}
    assert user(store)["checkoutsFailed"] == "1"


def test_a_late_publish_does_not_make_an_older_checkout_the_users_last(
    store: CheckoutStore, another: Callable[..., CheckoutStore], clock: ManualClock
) -> None:
    other = another()
    store.create({"userId": USER}, checkout_id=ID)

    def later_checkout() -> None:
        clock.advance(1)
        other.create({"userId": USER, "paymentStatus": "cancelled"}, checkout_id="session-0002")

    meanwhile(store.redis, "publish", later_checkout)
    store.set_payment_status(ID, "failed")
    assert (user(store)["lastStatus"], user(store)["lastSeen"]) == ("cancelled", iso(clock.milliseconds))
    assert (user(store)["checkoutsStarted"], user(store)["checkoutsFailed"]) == ("2", "1")


def test_a_write_is_counted_once_when_the_publish_arrives_and_its_reply_is_lost(
    another: Callable[..., CheckoutStore], settings: Settings, valkey: ValkeyServer, clock: ManualClock
) -> None:
    with Proxy((HOST, valkey.port)) as proxy:
        store, other = another(replace(settings, redis_port=proxy.port)), another()
        make_tables(store.database)
        lost = proxy.lose_reply_to(b"ZADD")
        assert not store.create({"userId": USER, "paymentStatus": "failed"}, checkout_id=ID).published
        assert lost.wait(5)
        clock.advance(HANDED_OVER_BY_NOW)
        look_around(other)
        store.get(ID)
        send_counts()
    assert counted(other) == {"created": 1, "failed": 1}
    assert user(other)["checkoutsFailed"] == "1"


def test_a_write_to_a_frozen_redis_is_counted_when_it_thaws_and_not_again(
    settings: Settings, valkey_server: Callable[..., ValkeyServer], clock: ManualClock
) -> None:
    server = valkey_server()
    own = replace(settings, redis_port=server.port)
    with make_store(own, clock) as store:
        make_tables(store.database)
        store.create({}, checkout_id=ID)
        meanwhile(store.redis, "publish", server.pause)
        assert not store.set_payment_status(ID, "failed").published
        server.resume()
        clock.advance(HANDED_OVER_BY_NOW)
        assert store.get(ID).version == 2
        assert counted(store) == {"created": 1, "updated": 1, "failed": 1}


def test_two_processes_that_complete_the_same_session_count_it_once(
    store: CheckoutStore, settings: Settings, clock: ManualClock
) -> None:
    store.create({"userId": USER}, checkout_id=ID)
    with working(settings, clock) as (first, second):
        late = Order("pay", ID, "order-1", "paid", hitch="stall after open")
        assert first.call(late) is None, "it waits with what it has seen"
        assert second.call(Order("pay", ID, "order-2", "paid")) is not None
        first.go_on()
    assert counted(store) == {"created": 1, "updated": 2, "completed": 1}
    assert user(store)["checkoutsCompleted"] == "1"


@contextmanager
def working(settings: Settings, clock: ManualClock) -> Iterator[list[Worker]]:
    """Two processes of a shop."""
    workers = [Worker(clock, number) for number in range(2)]
    try:
        for worker in workers:
            worker.start()
            worker.open(settings)
        yield workers
    finally:
        for worker in workers:
            worker.stop()


def test_whoever_wins_a_race_each_completion_is_counted_once(
    another: Callable[..., CheckoutStore], store: CheckoutStore
) -> None:
    ids = [f"session-{number:04}" for number in range(20)]
    for checkout_id in ids:
        store.create({}, checkout_id=checkout_id)
    stores = [another() for _ in range(4)]
    together = threading.Barrier(len(stores))

    def complete_all(process: CheckoutStore) -> None:
        together.wait(10)
        for checkout_id in ids:
            process.set_payment_status(checkout_id, "paid")

    threads = [threading.Thread(target=complete_all, args=(process,)) for process in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert counted(store) == {"created": 20, "updated": 80, "completed": 20}


# Scripts that the server does not know


def test_a_server_that_has_forgotten_every_script_counts_once(store: CheckoutStore) -> None:
    store.create({"userId": USER}, checkout_id=ID)
    store.redis.ask(("SCRIPT", "FLUSH"))
    store.set_payment_status(ID, "failed")
    assert counted(store) == {"created": 1, "updated": 1, "failed": 1}
    assert user(store)["checkoutsFailed"] == "1"


@pytest.mark.parametrize("known", [["count"], ["track"], ["count", "track"], ["publish"], ["publish", "count"]])
def test_a_server_that_knows_only_some_of_the_scripts_counts_once(store: CheckoutStore, known: list[str]) -> None:
    store.create({"userId": USER}, checkout_id=ID)

    def forget() -> None:
        store.redis.ask(("SCRIPT", "FLUSH"))
        for name in known:
            store.redis.ask(("SCRIPT", "LOAD", Script(name).text))

    meanwhile(store.redis, "publish", forget)
    assert store.set_payment_status(ID, "failed").published
    assert counted(store) == {"created": 1, "updated": 1, "failed": 1}
    assert user(store)["checkoutsFailed"] == "1"
