"""What is kept in this process while Redis is away: only then, and never past what others have invalidated since."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.domain.delivery import DeliveryCharges
from checkout_cli.domain.fallback import Fallback
from checkout_cli.errors import CheckoutError, RedisPoolExhausted, RedisRefusing, RedisUnavailable
from checkout_cli.keys import minute_key
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.caches import PATIENCE, SlowComputation, answering, in_thread, never_asked
from tests.support.servers import ValkeyServer
from tests.support.stores import ManualClock, make_store


def failing(error: CheckoutError) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def test_it_forgets_what_began_before_it_was_emptied() -> None:
    fallback = Fallback(lambda: 0.0)
    began = fallback.moment()
    fallback.forget()
    fallback.keep("key", b"1", 60, began)
    assert fallback.get("key") is None
    fallback.keep("key", b"2", 60, fallback.moment())
    assert fallback.get("key") == b"2"


def test_during_an_outage_an_answer_is_computed_once(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    charges = DeliveryCharges(store)
    monkeypatch.setattr(store.redis, "exchange", failing(RedisUnavailable("away")))
    assert charges.charge(5, 20, answering(1)) == 1
    assert charges.charge(5, 20, never_asked) == 1


@pytest.mark.parametrize("error", [RedisPoolExhausted("all in use"), RedisRefusing("an error of its own")])
def test_nothing_is_kept_while_others_reach_redis_and_may_invalidate(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch, error: CheckoutError
) -> None:
    charges = DeliveryCharges(store)
    monkeypatch.setattr(store.redis, "exchange", failing(error))
    assert [charges.charge(5, 20, answering(answer)) for answer in (1, 2)] == [1, 2]


def test_a_user_whom_redis_denies_the_cache_is_never_served_what_was_invalidated(
    valkey_server: Callable[..., ValkeyServer], settings: Settings
) -> None:
    server = valkey_server()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "poor", "on", ">secret", "~checkout:*", "+@all")
    well = replace(settings, redis_port=server.port)
    poor = replace(well, redis_username="poor", redis_password="secret")
    with CheckoutStore.open(well) as one, CheckoutStore.open(poor) as other:
        denied = DeliveryCharges(other)
        assert denied.charge(5, 20, answering(1)) == 1
        DeliveryCharges(one).invalidate_all()
        assert denied.charge(5, 20, answering(2)) == 2


def test_an_answer_that_is_computed_while_redis_comes_back_does_not_outlive_the_outage(
    store: CheckoutStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    charges, slow = DeliveryCharges(store), SlowComputation(1)
    away = threading.local()
    exchange = store.redis.exchange

    def away_for_some(*commands: Any, **options: Any) -> Any:
        if getattr(away, "here", False):
            raise RedisUnavailable("away")
        return exchange(*commands, **options)

    def during_the_outage() -> Any:
        away.here = True
        return charges.charge(5, 20, slow)

    monkeypatch.setattr(store.redis, "exchange", away_for_some)
    late = in_thread(during_the_outage)
    slow.wait_until_begun()
    charges.charge(8, 8, answering(8))  # Redis answers again
    slow.end()
    assert late.result(PATIENCE) == 1
    with CheckoutStore.open(settings) as other:
        DeliveryCharges(other).invalidate_all()
    monkeypatch.setattr(store.redis, "exchange", failing(RedisUnavailable("away again")))
    assert charges.charge(5, 20, answering(2)) == 2


def test_the_reads_of_an_outage_are_counted_when_it_is_over(settings: Settings) -> None:
    clock = ManualClock(30_000_000 * 60_000)
    with make_store(settings, clock) as store:
        charges = DeliveryCharges(store)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store.redis._servers, "send", failing(RedisUnavailable("away")))
            store.redis.breaker.failed(RedisUnavailable("away"))
            for number in range(20):
                clock.advance(1.1)
                charges.charge(number, 1, answering(1))
        store.redis.breaker.succeeded()
        store.bookkeeping.flush()
        counted = store.redis.ask(("HGET", minute_key(30_000_000), "delivery:error"))
    assert counted == b"20"
