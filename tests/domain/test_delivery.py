"""Delivery charges: one key for one price, the same answer from a hit and a miss, and clear words for what is none."""

from __future__ import annotations

import decimal
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.config.settings import Settings
from checkout_cli.domain.delivery import DEAREST, FARTHEST, DeliveryCharges
from checkout_cli.errors import InvalidInput
from checkout_cli.keys import DELIVERY_GENERATION
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.caches import answering, never_asked


@pytest.fixture
def charges(store: CheckoutStore) -> DeliveryCharges:
    return DeliveryCharges(store, chance=lambda: 0.5)


class TestKeys:
    @pytest.mark.parametrize(
        "distance", [5.2, "5.2", "5.20", Decimal("5.2"), Decimal("5.200"), "05.2", " 5.2", 5.2000001]
    )
    def test_the_same_distance_is_the_same_key(self, distance: Any, charges: DeliveryCharges) -> None:
        assert charges.key(distance, 20) == "delivery:cache:5.2:20"

    @pytest.mark.parametrize(
        ("distance", "shown"),
        [(0, "0"), (-0.0, "0"), (100, "100"), (1e-7, "0"), (20_100, "20100"), (0.125, "0.12"), (0.135, "0.14")],
    )
    def test_a_key_has_no_exponent_no_sign_and_no_zeros_at_its_end(
        self, distance: Any, shown: str, charges: DeliveryCharges
    ) -> None:
        assert charges.key(distance, 1) == f"delivery:cache:{shown}:1"

    @pytest.mark.parametrize(("decimals", "key"), [(0, "5:2"), (1, "5.2:2.4"), (6, "5.151515:2.414141")])
    def test_the_decimals_are_a_setting(self, decimals: int, key: str) -> None:
        with CheckoutStore.open(Settings(delivery_decimals=decimals)) as store:
            assert DeliveryCharges(store).key("5.1515151", "2.4141414") == f"delivery:cache:{key}"

    @pytest.mark.parametrize(
        "number",
        [
            float("nan"),
            float("inf"),
            -1,
            -0.01,
            "-1",
            "",
            " ",
            "far",
            "1,5",
            "1e3",
            "0x10",
            "٣",
            "1_000",
            "5.2\n6",
            "*",
            None,
            True,
            b"5",
            [5],
            Decimal("NaN"),
            Decimal("sNaN"),
            Decimal("Infinity"),
            pytest.param("9" * 1_000_000, id="long"),
            pytest.param(10**5000, id="huge"),
        ],
    )
    def test_what_is_no_number_is_refused_before_any_io(self, number: Any) -> None:
        with CheckoutStore.open(Settings(redis_port=1)) as store:  # where nobody listens
            charges = DeliveryCharges(store)
            for distance, value in ((number, 1), (1, number)):
                with pytest.raises(InvalidInput) as refused:
                    charges.charge(distance, value, never_asked)
                assert len(str(refused.value)) < 200
                assert str(refused.value).isprintable()

    def test_distances_end_at_the_antipodes_and_values_at_a_milliard(self, charges: DeliveryCharges) -> None:
        assert charges.charge(FARTHEST, DEAREST, answering(1)) == 1
        for distance, value in ((Decimal("20100.01"), 1), (1, 10**9 + 1), (1, 1e300), (Decimal("1E+999999"), 1)):
            with pytest.raises(InvalidInput):
                charges.charge(distance, value, never_asked)

    @given(
        st.one_of(
            st.floats(0, 20_100),
            st.integers(0, 20_100),
            st.decimals(0, 20_100, places=4),
            st.decimals(0, 20_100, places=2).map(str),
        )
    )
    def test_what_a_key_says_is_its_own_key_and_near_what_was_asked(self, number: Any) -> None:
        with CheckoutStore.open(Settings()) as store:
            charges = DeliveryCharges(store)
            key = charges.key(number, 1)
            shown = charges.names_of(key)[0]
            assert charges.key(shown, 1) == key
            assert set(shown) <= set("0123456789.")
            assert not (shown.endswith((".", "0")) and "." in shown)
            assert abs(Decimal(shown) - Decimal(repr(number) if isinstance(number, float) else number)) <= Decimal(
                "0.005"
            )


class TestAnswers:
    def test_what_is_computed_is_for_the_rounded_numbers(self, charges: DeliveryCharges) -> None:
        seen: list[tuple[Any, ...]] = []
        charges.charge(5.2049, "24.999", lambda *given: seen.append(given) or 1)
        assert seen == [(Decimal("5.2"), Decimal(25))]
        assert all(isinstance(number, Decimal) for number in seen[0])

    @pytest.mark.parametrize(
        "charge",
        [
            0,
            3.9,
            "free",
            True,
            False,
            [],
            {},
            {"charge": 3.9, "tax": [1, 2.50]},
            Decimal("4.90"),
            Decimal(5),
            (1, 2),
            "é\u0000😀",
            {"nested": {"fee": Decimal("0.10")}},
        ],
    )
    def test_a_hit_says_what_the_miss_said(self, charge: Any, charges: DeliveryCharges) -> None:
        first = charges.charge(5, 20, answering(charge))
        again = charges.charge("5.0", "20.00", never_asked)
        assert again == first
        assert repr(again) == repr(first)

    def test_a_caller_may_change_what_it_was_given(self, charges: DeliveryCharges) -> None:
        mine = charges.charge(5, 20, answering({"charge": 3}))
        mine["charge"] = 0
        assert charges.charge(5, 20, never_asked) == {"charge": 3}

    @pytest.mark.parametrize(
        "charge",
        [None, float("nan"), float("inf"), {1}, b"x", object(), {1: 2}, 2**70, "\ud800", [None, {2}], Decimal("NaN")],
    )
    def test_what_is_no_json_is_refused_and_not_cached(
        self, charge: Any, charges: DeliveryCharges, store: CheckoutStore
    ) -> None:
        with pytest.raises(InvalidInput):
            charges.charge(5, 20, answering(charge))
        assert store.redis.ask(("EXISTS", charges.key(5, 20))) == 0
        assert charges.charge(5, 20, answering(3)) == 3

    def test_what_is_too_large_is_served_and_not_cached(self, charges: DeliveryCharges, store: CheckoutStore) -> None:
        assert len(charges.charge(5, 20, answering("x" * 100_000))) == 100_000
        assert store.redis.ask(("EXISTS", charges.key(5, 20))) == 0


class TestLifetimes:
    @pytest.mark.parametrize(("chance", "share"), [(0.0, 0.9), (0.5, 1.0), (1.0, 1.1)])
    def test_a_life_varies_by_a_tenth_either_way(self, chance: float, share: float, store: CheckoutStore) -> None:
        charges = DeliveryCharges(store, chance=lambda: chance)
        charges.charge(5, 20, answering(1))
        left = store.redis.ask(("PTTL", charges.key(5, 20)))
        assert share * 300_000 - 5_000 < left <= share * 300_000

    def test_a_generation_has_no_end(self, charges: DeliveryCharges, store: CheckoutStore) -> None:
        charges.charge(5, 20, answering(1))
        assert store.redis.ask(("PTTL", DELIVERY_GENERATION)) == -1


def test_the_callers_decimal_context_changes_no_key(store: CheckoutStore) -> None:
    with decimal.localcontext(prec=3):
        assert DeliveryCharges(store).key("5.25", "123456.78") == "delivery:cache:5.25:123456.78"


class Odd(float):
    def __repr__(self) -> str:
        return "odd(5.2)"


def test_a_float_of_another_library_is_a_float(store: CheckoutStore) -> None:
    assert DeliveryCharges(store).key(Odd(5.2), 1) == "delivery:cache:5.2:1"


def test_a_card_number_is_not_repeated(store: CheckoutStore) -> None:
    with pytest.raises(InvalidInput) as raised:
        DeliveryCharges(store).key("4111-1111-1111-1111", 1)
    assert "4111" not in str(raised.value)
