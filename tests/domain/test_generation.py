"""The generation as it lies in Redis: what other programs may write there, and what an older one may bring back."""

from __future__ import annotations

import pytest

from checkout_cli.domain.delivery import DeliveryCharges
from checkout_cli.domain.entries import Problem
from checkout_cli.domain.generation import MOST_SCOPES, Generation, Stamp, parsed
from checkout_cli.keys import DELIVERY_GENERATION
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.caches import answering, never_asked

FOREIGN = {
    "upper case": b"ABC 1 2",
    "a fourth word": b"abc 1 2 x",
    "no space": b"abc 1 2garbage",
    "not UTF-8": b"a 1 2\n1 5 \xff\xfe",
    "endless digits": b"a 1 " + b"9" * 5000,
    "too many digits": b"a 1 99999999999999999999",
    "empty": b"",
    "JSON": b"{}",
    "long": b"x" * 100_000,
    "a line that is no scope": b"a 0 1\nmangled",
    "a floor above the sequence": b"a 9 1",
}


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
def test_whatever_another_program_writes_there_is_replaced_and_everything_goes_on(
    store: CheckoutStore, text: bytes
) -> None:
    store.redis.ask(("SET", DELIVERY_GENERATION, text))
    charges = DeliveryCharges(store)
    assert charges.charge(5, 20, answering(1)) == 1
    assert charges.charge(5, 20, never_asked) == 1
    charges.invalidate_all()
    assert charges.charge(5, 20, answering(2)) == 2


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
def test_invalidating_where_nothing_can_be_read_invalidates_everything(store: CheckoutStore, text: bytes) -> None:
    charges = DeliveryCharges(store)
    charges.charge(5, 20, answering(1))
    store.redis.ask(("SET", DELIVERY_GENERATION, text))
    charges.invalidate_range(7, 8)
    assert charges.charge(5, 20, answering(2)) == 2


def test_another_type_at_the_key_is_replaced(store: CheckoutStore) -> None:
    store.redis.ask(("RPUSH", DELIVERY_GENERATION, "x"))
    charges = DeliveryCharges(store)
    charges.charge(5, 20, answering(1))
    assert charges.charge(5, 20, never_asked) == 1


def test_a_program_that_goes_on_writing_there_costs_the_cache_and_not_the_checkout(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checkout_cli.domain.cache.parsed", lambda *_: None)
    charges = DeliveryCharges(store)
    assert [charges.charge(5, 20, answering(answer)) for answer in (1, 2)] == [1, 2]


def test_looking_begins_none(store: CheckoutStore) -> None:
    assert DeliveryCharges(store).look(5, 20) is None
    assert store.redis.ask(("EXISTS", DELIVERY_GENERATION)) == 0


def test_beyond_the_most_scopes_the_oldest_count_for_everything_older(store: CheckoutStore) -> None:
    charges = DeliveryCharges(store)
    charges.charge(5, 20, answering(1))
    for _ in range(MOST_SCOPES):
        charges.invalidate_range(100, 200)
    assert charges.charge(5, 20, never_asked) == 1, "none was dropped yet"
    charges.invalidate_range(100, 200)
    assert charges.charge(5, 20, answering(2)) == 2
    text = store.redis.ask(("GET", DELIVERY_GENERATION))
    assert text.count(b"\n") == MOST_SCOPES


def test_what_an_older_generation_would_have_to_know_of_the_future_is_not_believed() -> None:
    older = Generation(Stamp("a", 1, "-"), 0)
    assert older.problem(Stamp("a", 2, "-"), lambda _: False) is Problem.LOST
    assert older.problem(Stamp("a", 1, "-"), lambda _: False) is None


def test_another_server_is_not_believed_and_one_that_tells_nothing_is() -> None:
    generation = parsed(b"abc 0 1", b"run:id")
    assert generation is not None
    assert generation.problem(Stamp("abc", 1, "other:id"), lambda _: False) is Problem.OTHER_SERVER
    silent = parsed(b"abc 0 1", None)
    assert silent is not None
    assert silent.problem(Stamp("abc", 1, "-"), lambda _: False) is None
