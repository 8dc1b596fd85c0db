"""Single flight: many callers, one computation, and nobody left waiting when it fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.domain.coupons import Coupons
from checkout_cli.domain.delivery import DeliveryCharges
from checkout_cli.domain.single_flight import SingleFlight
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.caches import PATIENCE, SlowComputation, answering, in_thread, never_asked
from tests.support.stores import without_redis

WAITING = 8


class Counted(SingleFlight):
    """Says when all callers have come."""

    def __init__(self) -> None:
        super().__init__()
        self.callers = 0
        self.all_are_here = threading.Event()
        self._counting = threading.Lock()

    def run(self, *arguments: Any) -> Any:
        with self._counting:
            self.callers += 1
            if self.callers == WAITING + 1:
                self.all_are_here.set()
        return super().run(*arguments)


def crowd(
    charges: DeliveryCharges, slow: SlowComputation, compute: Callable[..., Any] | None = None
) -> list[Future[Any]]:
    """Callers who all see a miss while the first of them computes."""
    work = compute or slow
    flights = charges._flights = Counted()
    first = in_thread(lambda: charges.charge(5, 20, work))
    slow.wait_until_begun()
    others = [in_thread(lambda: charges.charge("5.0", 20.0, work)) for _ in range(WAITING)]
    assert flights.all_are_here.wait(PATIENCE)
    return [first, *others]


@pytest.fixture(params=["with Redis", "without Redis"])
def charges(request: pytest.FixtureRequest, settings: Settings) -> Any:
    reachable = request.param == "with Redis"
    with CheckoutStore.open(settings if reachable else without_redis(settings)) as store:
        yield DeliveryCharges(store)


def test_many_callers_share_one_computation_and_none_shares_the_object(charges: DeliveryCharges) -> None:
    slow = SlowComputation({"charge": 3})
    callers = crowd(charges, slow)
    slow.end()
    answers = [caller.result(PATIENCE) for caller in callers]
    assert answers == [{"charge": 3}] * (WAITING + 1)
    assert len({id(answer) for answer in answers}) == WAITING + 1
    assert slow.times == 1


def test_control_without_single_flight_each_computes(charges: DeliveryCharges, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SingleFlight, "run", lambda _self, _key, work: work())
    slow = SlowComputation(3)
    callers = crowd(charges, slow)
    slow.end()
    assert {caller.result(PATIENCE) for caller in callers} == {3}
    assert slow.times > 1


def test_an_error_reaches_all_who_wait_and_nothing_is_cached(charges: DeliveryCharges) -> None:
    error = ZeroDivisionError("no price list")
    slow = SlowComputation(error)
    callers = crowd(charges, slow)
    slow.end()
    assert all(caller.exception(PATIENCE) is error for caller in callers)
    assert slow.times == 1
    assert charges.charge(5, 20, answering(4)) == 4


def test_who_waits_for_somebody_interrupted_computes_for_himself(charges: DeliveryCharges) -> None:
    """Ctrl-C was meant for one of them; another goes on, for all who are left."""
    slow = SlowComputation(KeyboardInterrupt())

    def interrupted_once(*_: Any) -> Any:
        slow.times += 1
        if slow.times > 1:
            return 4
        slow.begun.set()
        assert slow.may_end.wait(PATIENCE)
        raise KeyboardInterrupt

    first, *others = crowd(charges, slow, interrupted_once)
    slow.end()
    assert isinstance(first.exception(PATIENCE), KeyboardInterrupt)
    assert [other.result(PATIENCE) for other in others] == [4] * WAITING


def test_other_keys_do_not_wait(charges: DeliveryCharges) -> None:
    slow = SlowComputation(1)
    caller = in_thread(lambda: charges.charge(5, 20, slow))
    slow.wait_until_begun()
    assert charges.charge(6, 20, answering(2)) == 2
    slow.end()
    assert caller.result(PATIENCE) == 1


def test_other_contexts_of_a_coupon_do_not_wait(store: CheckoutStore) -> None:
    coupons, slow = Coupons(store), SlowComputation({"valid": True})
    caller = in_thread(lambda: coupons.validate("X", {"total": 1}, slow))
    slow.wait_until_begun()
    assert coupons.validate("X", {"total": 2}, answering({"valid": False})) == {"valid": False}
    slow.end()
    assert caller.result(PATIENCE) == {"valid": True}


def test_a_computation_that_asks_for_itself_does_not_wait_for_ever(charges: DeliveryCharges) -> None:
    caller = in_thread(lambda: charges.charge(5, 20, lambda *_: charges.charge(5, 20, answering(3)) + 1))
    assert caller.result(PATIENCE) == 4


def test_a_computation_may_ask_for_another_key(charges: DeliveryCharges) -> None:
    assert charges.charge(5, 20, lambda *_: charges.charge(6, 20, answering(3)) + 1) == 4
    assert charges.charge(6, 20, never_asked) == 3


def test_who_saw_a_miss_and_comes_after_the_landing_is_given_what_has_landed(store: CheckoutStore) -> None:
    charges = DeliveryCharges(store)
    calls: list[str] = []
    read, seen, may_go = charges._read, threading.Event(), threading.Event()

    def slow_for_one(key: str) -> Any:
        found = read(key)
        if threading.current_thread() is not threading.main_thread() and not seen.is_set():
            seen.set()
            assert may_go.wait(PATIENCE)
        return found

    charges._read = slow_for_one  # type: ignore[method-assign]
    late = in_thread(lambda: charges.charge(5, 20, lambda *_: calls.append("late")))
    assert seen.wait(PATIENCE)
    assert charges.charge(5, 20, lambda *_: [calls.append("first"), 1][1]) == 1
    may_go.set()
    assert late.result(PATIENCE) == 1
    assert calls == ["first"]
