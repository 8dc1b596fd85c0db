"""What began to be computed before an invalidation is never served after it: real servers, real interleavings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.domain.coupons import Coupons
from checkout_cli.domain.delivery import DeliveryCharges
from checkout_cli.domain.generation import MOST_SCOPES
from checkout_cli.errors import InvalidInput, RedisUnavailable
from checkout_cli.keys import COUPON_GENERATION, DELIVERY_GENERATION
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.caches import (
    PATIENCE,
    SlowComputation,
    answering,
    in_thread,
    never_asked,
    without_generation_check,
)
from tests.support.servers import ValkeyServer
from tests.support.stores import save, without_redis

OLD, NEW = 3.9, 4.9
VALID, REFUSED = {"valid": True, "discount": 5}, {"valid": False}


@pytest.fixture
def on_any_server(settings: Settings, any_redis_server: ValkeyServer) -> Settings:
    return replace(settings, redis_port=any_redis_server.port)


@pytest.fixture
def shop(on_any_server: Settings) -> Iterator[CheckoutStore]:
    """A process of the shop."""
    with CheckoutStore.open(on_any_server) as store:
        yield store


@pytest.fixture
def office(on_any_server: Settings) -> Iterator[CheckoutStore]:
    """Another process, which changes prices."""
    with CheckoutStore.open(on_any_server) as store:
        yield store


def late_answer(shop: CheckoutStore, invalidate: Callable[[], None]) -> DeliveryCharges:
    """The shop's cache after a computation that began before an invalidation, and ended after it."""
    charges, slow = DeliveryCharges(shop), SlowComputation(OLD)
    caller = in_thread(lambda: charges.charge(5, 20, slow))
    slow.wait_until_begun()
    invalidate()
    slow.end()
    assert caller.result(PATIENCE) == OLD  # it had asked before
    return charges


class TestSlowWriters:
    def test_a_late_answer_is_written_and_believed_by_nobody(self, shop: CheckoutStore, office: CheckoutStore) -> None:
        charges = late_answer(shop, DeliveryCharges(office).invalidate_all)
        assert shop.redis.ask(("EXISTS", charges.key(5, 20))) == 1  # it came last
        assert DeliveryCharges(office).charge(5, 20, answering(NEW)) == NEW
        assert charges.charge(5, 20, never_asked) == NEW

    def test_control_without_the_generation_check_the_late_answer_is_served(
        self, shop: CheckoutStore, office: CheckoutStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        late_answer(shop, DeliveryCharges(office).invalidate_all)
        without_generation_check(monkeypatch)
        assert DeliveryCharges(office).charge(5, 20, never_asked) == OLD

    def test_a_late_answer_that_overwrites_the_new_one_costs_a_computation_and_no_more(
        self, shop: CheckoutStore, office: CheckoutStore
    ) -> None:
        theirs = DeliveryCharges(office)

        def invalidate_and_compute() -> None:
            theirs.invalidate_all()
            assert theirs.charge(5, 20, answering(NEW)) == NEW

        late_answer(shop, invalidate_and_compute)
        assert theirs.charge(5, 20, answering(NEW)) == NEW

    def test_a_range_stops_a_late_answer_within_it(self, shop: CheckoutStore, office: CheckoutStore) -> None:
        late_answer(shop, lambda: DeliveryCharges(office).invalidate_range(0, 5))
        assert DeliveryCharges(office).charge(5, 20, answering(NEW)) == NEW

    def test_a_range_lets_a_late_answer_beside_it_stand(self, shop: CheckoutStore, office: CheckoutStore) -> None:
        late_answer(shop, lambda: DeliveryCharges(office).invalidate_range("5.01", 9))
        assert DeliveryCharges(office).charge(5, 20, never_asked) == OLD

    @pytest.mark.parametrize("believed", [False, True], ids=["guarded", "control"])
    def test_a_changed_coupon_stops_its_late_answer(
        self, believed: bool, shop: CheckoutStore, office: CheckoutStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slow, coupons = SlowComputation(VALID), Coupons(office)
        caller = in_thread(lambda: Coupons(shop).validate("welcome", {}, slow))
        slow.wait_until_begun()
        coupons.invalidate("WELCOME")
        slow.end()
        assert caller.result(PATIENCE) == VALID
        if believed:
            without_generation_check(monkeypatch)
        assert coupons.validate("Welcome", {}, answering(REFUSED)) == (VALID if believed else REFUSED)

    def test_however_many_scopes_follow_a_late_answer_stays_worthless(
        self, shop: CheckoutStore, office: CheckoutStore
    ) -> None:
        """The line of its own range is dropped long before it ends: the floor has to remember it."""
        theirs = DeliveryCharges(office)

        def invalidate_many() -> None:
            theirs.invalidate_range(5, 5)
            for distance in range(100, 100 + 2 * MOST_SCOPES):
                theirs.invalidate_range(distance, distance)

        late_answer(shop, invalidate_many)
        assert office.redis.ask(("GET", DELIVERY_GENERATION)).count(b"\n") == MOST_SCOPES
        assert theirs.charge(5, 20, answering(NEW)) == NEW

    def test_a_late_answer_of_a_lost_generation_is_worthless(self, shop: CheckoutStore, office: CheckoutStore) -> None:
        def lose() -> None:
            office.redis.ask(("DEL", DELIVERY_GENERATION))
            assert DeliveryCharges(office).charge(1, 1, answering(0)) == 0  # somebody begins another one

        late_answer(shop, lose)
        assert DeliveryCharges(office).charge(5, 20, answering(NEW)) == NEW


class TestSingleFlight:
    def test_who_comes_after_an_invalidation_does_not_wait_for_what_began_before(
        self, shop: CheckoutStore, office: CheckoutStore
    ) -> None:
        charges, slow = DeliveryCharges(shop), SlowComputation(OLD)
        before = in_thread(lambda: charges.charge(5, 20, slow))
        slow.wait_until_begun()
        DeliveryCharges(office).invalidate_all()
        assert charges.charge(5, 20, answering(NEW)) == NEW  # while the other still computes
        slow.end()
        assert before.result(PATIENCE) == OLD
        assert charges.charge(5, 20, answering(NEW)) == NEW

    def test_a_scoped_invalidation_keeps_callers_apart_too(self, shop: CheckoutStore, office: CheckoutStore) -> None:
        coupons, slow = Coupons(shop), SlowComputation(VALID)
        before = in_thread(lambda: coupons.validate("X", {}, slow))
        slow.wait_until_begun()
        Coupons(office).invalidate("X")
        assert coupons.validate("X", {}, answering(REFUSED)) == REFUSED
        slow.end()
        assert before.result(PATIENCE) == VALID


class TestScopes:
    def test_invalidating_all_reaches_every_process_and_only_its_cache(
        self, shop: CheckoutStore, office: CheckoutStore
    ) -> None:
        charges, coupons = DeliveryCharges(shop), Coupons(shop)
        charges.charge(5, 20, answering(OLD))
        coupons.validate("X", {}, answering(VALID))
        DeliveryCharges(office).invalidate_all()
        assert charges.charge(5, 20, answering(NEW)) == NEW
        assert coupons.validate("X", {}, never_asked) == VALID

    @pytest.mark.parametrize(("distance", "stale"), [("4.99", 0), (5, 1), ("7.5", 1), (10, 1), ("10.01", 0), (100, 0)])
    def test_a_range_is_of_numbers_with_both_ends(self, distance: Any, stale: int, shop: CheckoutStore) -> None:
        charges = DeliveryCharges(shop)
        charges.charge(distance, 20, answering(OLD))
        charges.invalidate_range(5, 10)
        assert charges.charge(distance, 20, answering(NEW)) == (NEW if stale else OLD)

    def test_a_coupon_is_invalidated_however_it_is_written_and_with_all_its_contexts(self, shop: CheckoutStore) -> None:
        coupons = Coupons(shop)
        for total in (10, 20):
            coupons.validate("Summer", {"total": total}, answering(VALID))
        coupons.validate("SUMMER2", {}, answering(VALID))
        coupons.invalidate("sUMMER")
        assert [coupons.validate("SUMMER", {"total": total}, answering(REFUSED)) for total in (10, 20)] == 2 * [REFUSED]
        assert coupons.validate("summer2", {}, never_asked) == VALID

    def test_an_answer_beside_a_stale_one_does_not_revive_it(self, shop: CheckoutStore) -> None:
        """Both lie at one key, which is written again; each has its own generation."""
        coupons = Coupons(shop)
        coupons.validate("X", {"total": 1}, answering(VALID))
        coupons.invalidate("X")
        coupons.validate("X", {"total": 2}, answering(REFUSED))
        assert coupons.validate("X", {"total": 1}, answering(REFUSED)) == REFUSED

    def test_invalidating_the_same_thing_again_counts_again(self, shop: CheckoutStore) -> None:
        coupons = Coupons(shop)
        for discount in range(3):
            answer = VALID | {"discount": discount}
            assert coupons.validate("X", {}, answering(answer)) == answer
            coupons.invalidate("X")

    @pytest.mark.parametrize(("low", "high"), [(10, 5), (-1, 5), ("x", 5), (0, float("nan")), (0, 10**9)])
    def test_what_is_no_range_invalidates_nothing(self, low: Any, high: Any, shop: CheckoutStore) -> None:
        charges = DeliveryCharges(shop)
        charges.charge(5, 20, answering(OLD))
        with pytest.raises(InvalidInput):
            charges.invalidate_range(low, high)
        assert charges.charge(5, 20, never_asked) == OLD


class TestLostGeneration:
    def test_without_its_generation_everything_is_stale(self, shop: CheckoutStore) -> None:
        charges = DeliveryCharges(shop)
        charges.charge(5, 20, answering(OLD))
        shop.redis.ask(("DEL", DELIVERY_GENERATION))
        assert charges.charge(5, 20, answering(NEW)) == NEW
        assert charges.charge(5, 20, never_asked) == NEW

    def test_a_flush_does_not_bring_a_generation_back_that_an_entry_could_have_had(self, shop: CheckoutStore) -> None:
        """An entry that is restored after a flush, from a copy say, belongs to a token that nobody uses any more."""
        charges = DeliveryCharges(shop)
        charges.charge(5, 20, answering(OLD))
        entry = shop.redis.ask(("GET", charges.key(5, 20)))
        shop.redis.ask(("FLUSHALL",))
        charges.charge(1, 1, answering(0))
        shop.redis.ask(("SET", charges.key(5, 20), entry))
        assert charges.charge(5, 20, answering(NEW)) == NEW

    @pytest.mark.parametrize("lost", [True, False])
    def test_invalidating_works_without_a_generation_too(self, lost: bool, shop: CheckoutStore) -> None:
        coupons = Coupons(shop)
        coupons.validate("X", {}, answering(VALID))
        if lost:
            shop.redis.ask(("DEL", COUPON_GENERATION))
        coupons.invalidate("X")
        assert coupons.validate("X", {}, answering(REFUSED)) == REFUSED

    def test_a_list_where_the_generation_belongs_is_replaced(self, shop: CheckoutStore) -> None:
        shop.redis.ask(("RPUSH", DELIVERY_GENERATION, "another program's"))
        charges = DeliveryCharges(shop)
        assert charges.charge(5, 20, answering(OLD)) == OLD
        assert charges.charge(5, 20, never_asked) == OLD
        shop.redis.ask(("DEL", DELIVERY_GENERATION))
        shop.redis.ask(("RPUSH", DELIVERY_GENERATION, "another program's"))
        charges.invalidate_all()
        assert charges.charge(5, 20, answering(NEW)) == NEW


class TestRestart:
    """An old snapshot has the entry and the old generation: all that tells is which server answers."""

    @pytest.fixture
    def restored(self, settings: Settings, valkey_server: Callable[..., ValkeyServer]) -> Settings:
        """A server that was invalidated, killed, and came back as it was before the invalidation."""
        server = valkey_server()
        on_it = replace(settings, redis_port=server.port)
        with CheckoutStore.open(on_it) as store:
            charges = DeliveryCharges(store)
            charges.charge(5, 20, answering(OLD))
            save(server)
            charges.invalidate_all()
        server.kill()
        server.start()
        return on_it

    def test_an_old_snapshot_does_not_take_an_invalidation_back(self, restored: Settings) -> None:
        with CheckoutStore.open(restored) as store:
            charges = DeliveryCharges(store)
            assert store.redis.ask(("EXISTS", charges.key(5, 20), DELIVERY_GENERATION)) == 2  # both are back
            assert charges.charge(5, 20, answering(NEW)) == NEW
            assert charges.charge(5, 20, never_asked) == NEW

    def test_control_without_the_generation_check_the_snapshot_would_be_served(
        self, restored: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        without_generation_check(monkeypatch)
        with CheckoutStore.open(restored) as store:
            assert DeliveryCharges(store).charge(5, 20, never_asked) == OLD


class TestUnreachable:
    def test_an_invalidation_that_reaches_nobody_says_so(self, settings: Settings) -> None:
        with CheckoutStore.open(without_redis(settings)) as store:
            charges = DeliveryCharges(store)
            for invalidate in (charges.invalidate_all, lambda: charges.invalidate_range(1, 2)):
                with pytest.raises(RedisUnavailable):
                    invalidate()

    def test_it_is_heard_by_its_own_process_all_the_same(self, settings: Settings) -> None:
        with CheckoutStore.open(without_redis(settings)) as store:
            charges = DeliveryCharges(store)
            charges.charge(5, 20, answering(OLD))
            assert charges.charge(5, 20, never_asked) == OLD  # the control: it was kept
            with pytest.raises(RedisUnavailable):
                charges.invalidate_all()
            assert charges.charge(5, 20, answering(NEW)) == NEW

    def test_nor_is_what_is_being_computed_kept(self, settings: Settings) -> None:
        with CheckoutStore.open(without_redis(settings)) as store:
            charges, slow = DeliveryCharges(store), SlowComputation(OLD)
            caller = in_thread(lambda: charges.charge(5, 20, slow))
            slow.wait_until_begun()
            with pytest.raises(RedisUnavailable):
                charges.invalidate_all()
            slow.end()
            assert caller.result(PATIENCE) == OLD
            assert charges.charge(5, 20, answering(NEW)) == NEW
