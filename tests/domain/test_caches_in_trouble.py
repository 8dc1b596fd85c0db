"""A cache that fails never fails the checkout: Redis away, hung or refusing, and other programs at the cache's keys."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.domain.coupons import Coupons
from checkout_cli.domain.delivery import DeliveryCharges
from checkout_cli.errors import AccessDenied, RedisUnavailable
from checkout_cli.keys import minute_key
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.caches import answering, never_asked
from tests.support.servers import ValkeyServer
from tests.support.stores import ManualClock, count_calls, make_store, redis_away, without_redis


def counts(store: CheckoutStore, name: str = "delivery") -> dict[str, int]:
    """What was counted in this minute."""
    store.bookkeeping.flush()
    raw = store.redis.ask(("HGETALL", minute_key(store.clock.wall() // 60_000)))
    pairs = zip(raw[::2], raw[1::2], strict=True)
    found = {field.decode(): int(number) for field, number in pairs}
    return {field.removeprefix(f"{name}:"): found[field] for field in found if field.startswith(name)}


@pytest.fixture
def clock() -> ManualClock:
    """At the beginning of this minute, so that what a test counts is all in one."""
    return ManualClock(time.time_ns() // 60_000_000_000 * 60_000)


@pytest.fixture
def store(settings: Settings, clock: ManualClock) -> Iterator[CheckoutStore]:
    with make_store(settings, clock) as made:
        yield made


class TestCounts:
    def test_hits_misses_and_stale_answers_are_counted(self, store: CheckoutStore) -> None:
        charges = DeliveryCharges(store)
        for _ in range(3):
            charges.charge(5, 20, answering(1))
        charges.invalidate_all()
        charges.charge(5, 20, answering(2))
        assert counts(store) == {"miss": 1, "hit": 2, "stale": 1}

    def test_counting_costs_a_round_trip_once_a_second(
        self, store: CheckoutStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        charges = DeliveryCharges(store)
        charges.charge(5, 20, answering(1))
        calls = count_calls(store.redis, "exchange", monkeypatch)
        for _ in range(50):
            clock.advance(0.1)
            charges.charge(5, 20, never_asked)
        assert len(calls) == 50 + 5
        assert counts(store)["hit"] == 50

    def test_nothing_is_counted_with_statistics_switched_off(self, settings: Settings, clock: ManualClock) -> None:
        with make_store(replace(settings, enable_statistics=False), clock) as store:
            DeliveryCharges(store).charge(5, 20, answering(1))
            store.bookkeeping.flush()
            assert store.redis.ask(("EXISTS", minute_key(clock.milliseconds // 60_000))) == 0

    def test_what_an_operator_does_is_not_counted(self, store: CheckoutStore) -> None:
        coupons = Coupons(store)
        coupons.put("X", {}, {"valid": True})
        coupons.look("X")
        coupons.invalidate("X")
        assert counts(store, "coupon") == {}


class TestSwitches:
    @pytest.mark.parametrize("cache", ["delivery", "coupon"])
    def test_a_cache_that_is_switched_off_computes_and_leaves_redis_alone(
        self, cache: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with CheckoutStore.open(replace(settings, **{f"enable_{cache}_cache": False})) as store:  # type: ignore[arg-type]
            calls = count_calls(store.redis, "exchange", monkeypatch)
            for number in range(2):
                if cache == "delivery":
                    assert DeliveryCharges(store).charge(5, 20, answering(number)) == number
                else:
                    answer = {"valid": True, "number": number}
                    assert Coupons(store).validate("X", {}, answering(answer)) == answer
            assert calls == []

    def test_one_that_is_switched_off_still_invalidates_for_those_that_are_on(
        self, settings: Settings, store: CheckoutStore
    ) -> None:
        DeliveryCharges(store).charge(5, 20, answering(1))
        with CheckoutStore.open(replace(settings, enable_delivery_cache=False)) as off:
            DeliveryCharges(off).invalidate_all()
        assert DeliveryCharges(store).charge(5, 20, answering(2)) == 2


OF_NOBODY = b'{"generation":{"token":"","sequence":0,"identity":"-"},"storedAt":"x","expiresAt":"x","value":1}'
RUBBISH = [
    *(b"", b"{", b"[]", b"null", b"3.9", b'{"charge":3.9}', b"\xff\xfe", b"[" * 5000, b"x" * 200_000),
    *(b'{"answers":%s}' % answers for answers in (b"null", b"[]", b"[{}]", b"[%s]" % OF_NOBODY)),
]


class TestForeignEntries:
    @pytest.mark.parametrize("value", RUBBISH)
    def test_another_programs_value_is_a_miss_and_is_replaced(self, value: bytes, store: CheckoutStore) -> None:
        charges, coupons = DeliveryCharges(store), Coupons(store)
        for key in (charges.key(5, 20), coupons.key("X")):
            store.redis.ask(("SET", key, value))
        assert charges.charge(5, 20, answering(1)) == 1
        assert charges.charge(5, 20, never_asked) == 1
        assert coupons.validate("X", {}, answering({"valid": True})) == {"valid": True}
        assert coupons.validate("X", {}, never_asked) == {"valid": True}
        assert sum(counts(store).values()) == 2
        assert counts(store)["hit"] == 1

    def test_another_type_is_a_miss_and_is_replaced(self, store: CheckoutStore) -> None:
        charges = DeliveryCharges(store)
        store.redis.ask(("RPUSH", charges.key(5, 20), "1"))
        assert charges.charge(5, 20, answering(1)) == 1
        assert charges.charge(5, 20, never_asked) == 1

    def test_an_entry_that_somebody_keeps_for_ever_ends_all_the_same(
        self, store: CheckoutStore, clock: ManualClock
    ) -> None:
        charges = DeliveryCharges(store)
        charges.charge(5, 20, answering(1))
        store.redis.ask(("PERSIST", charges.key(5, 20)))
        clock.advance(331)
        assert charges.charge(5, 20, answering(2)) == 2


class TestRedisAway:
    @pytest.fixture
    def away(self, settings: Settings, clock: ManualClock) -> Iterator[CheckoutStore]:
        with make_store(without_redis(settings), clock) as made:
            yield made

    def test_it_computes_once_in_a_lifetime(self, away: CheckoutStore, clock: ManualClock) -> None:
        charges = DeliveryCharges(away, chance=lambda: 0.5)
        assert charges.charge(5, 20, answering({"charge": 1})) == {"charge": 1}
        clock.advance(299)
        assert charges.charge("5.0", 20, never_asked) == {"charge": 1}
        clock.advance(2)
        assert charges.charge(5, 20, answering({"charge": 2})) == {"charge": 2}

    def test_invalid_coupons_end_sooner_there_too(self, away: CheckoutStore, clock: ManualClock) -> None:
        coupons = Coupons(away, chance=lambda: 0.5)
        for code, valid in (("GOOD", True), ("BAD", False)):
            coupons.validate(code, {}, answering({"valid": valid}))
        clock.advance(61)
        assert coupons.validate("GOOD", {}, never_asked) == {"valid": True}
        assert coupons.validate("BAD", {}, answering({"valid": True})) == {"valid": True}

    def test_what_was_computed_meanwhile_is_forgotten_when_redis_is_back(
        self, store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        charges = DeliveryCharges(store)
        with monkeypatch.context() as outage:
            outage.setattr(store.redis, "exchange", redis_away)
            assert charges.charge(5, 20, answering(1)) == 1
            assert charges.charge(5, 20, never_asked) == 1
        assert charges.charge(5, 20, answering(2)) == 2
        with monkeypatch.context() as outage:
            outage.setattr(store.redis, "exchange", redis_away)
            assert charges.charge(5, 20, answering(3)) == 3

    def test_what_redis_lost_sight_of_while_computing_is_served_and_kept_nowhere(
        self, store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        charges = DeliveryCharges(store)
        with monkeypatch.context() as outage:

            def compute(*_: Any) -> int:
                outage.setattr(store.redis, "exchange", redis_away)
                return 1

            assert charges.charge(5, 20, compute) == 1
            assert charges.charge(5, 20, answering(2)) == 2

    def test_an_error_of_the_computation_passes_through(self, away: CheckoutStore) -> None:
        def compute(*_: Any) -> Any:
            raise RedisUnavailable("of the shop's own Redis")

        with pytest.raises(RedisUnavailable, match="of the shop's own"):
            DeliveryCharges(away).charge(5, 20, compute)

    def test_an_error_that_looks_like_the_caches_own_is_not_taken_for_it(self, store: CheckoutStore) -> None:
        calls: list[int] = []

        def compute(*_: Any) -> Any:
            calls.append(1)
            raise RedisUnavailable("of the shop's own Redis")

        with pytest.raises(RedisUnavailable, match="of the shop's own"):
            DeliveryCharges(store).charge(5, 20, compute)
        assert calls == [1]

    def test_operators_are_told(self, away: CheckoutStore) -> None:
        charges = DeliveryCharges(away)
        for call in (lambda: charges.look(5, 20), lambda: charges.put(5, 20, 1)):
            with pytest.raises(RedisUnavailable):
                call()


def test_a_hung_redis_costs_one_time_out_and_the_checkout_goes_on(
    settings: Settings, valkey_server: Callable[..., ValkeyServer]
) -> None:
    server = valkey_server()
    with make_store(replace(settings, redis_port=server.port, timeout=0.2)) as store:
        charges = DeliveryCharges(store)
        charges.charge(1, 1, answering(0))
        server.pause()
        try:
            assert charges.charge(5, 20, answering(1)) == 1
            assert store.redis.breaker.is_open  # so nobody waits a second time: the clock stands still
            for distance in range(10, 20):
                assert charges.charge(distance, 20, answering(2)) == 2
        finally:
            server.resume()


@pytest.mark.parametrize("password", ["", "wrong"])
def test_a_wrong_password_is_logged_once_and_never_shown(
    password: str, settings: Settings, valkey_server: Callable[..., ValkeyServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = valkey_server("--requirepass", "canary-right")
    password = password and f"canary-{password}"
    with CheckoutStore.open(replace(settings, redis_port=server.port, redis_password=password)) as store:
        charges = DeliveryCharges(store)
        for distance in range(5):
            assert charges.charge(distance, 20, answering(1)) == 1
        with pytest.raises(AccessDenied):
            charges.invalidate_all()
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "canary" not in caplog.text


def test_with_info_denied_it_caches_and_invalidates(
    settings: Settings, valkey_server: Callable[..., ValkeyServer]
) -> None:
    server = valkey_server()
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-info")
    with CheckoutStore.open(replace(settings, redis_port=server.port)) as store:
        assert store.redis.exchange(("PING",))[0] is None  # it does not know whom it talks to
        charges = DeliveryCharges(store)
        charges.charge(5, 20, answering(1))
        assert charges.charge(5, 20, never_asked) == 1
        charges.invalidate_all()
        assert charges.charge(5, 20, answering(2)) == 2


def test_out_of_memory_it_computes_and_an_invalidation_is_not_claimed(
    settings: Settings, valkey_server: Callable[..., ValkeyServer]
) -> None:
    """Either it is done, or it says that it is not: what was cached before is never served after a claimed one."""
    server = valkey_server()
    with CheckoutStore.open(replace(settings, redis_port=server.port)) as store:
        charges = DeliveryCharges(store)
        charges.charge(5, 20, answering(1))
        with server.client() as admin:
            admin.config_set("maxmemory", 1)
        assert charges.charge(6, 20, answering(2)) == 2
        claimed = True
        try:
            charges.invalidate_all()
        except RedisUnavailable:
            claimed = False
        assert charges.charge(5, 20, answering(3)) in ((3,) if claimed else (1, 3))
