"""Coupons: codes whatever their case, valid and invalid answers, each for its context, which is never stored."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.config.settings import Settings
from checkout_cli.domain.coupons import LONGEST_CODE, MARKS, Coupons, normalised
from checkout_cli.errors import InvalidInput
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.caches import answering, never_asked
from tests.support.stores import ManualClock, make_store

VALID, REFUSED = {"valid": True, "discount": 5}, {"valid": False, "reason": "expired"}


@pytest.fixture
def coupons(store: CheckoutStore) -> Coupons:
    return Coupons(store, chance=lambda: 0.5)


class TestCodes:
    @pytest.mark.parametrize("code", ["welcome10", "WELCOME10", "Welcome10", "ＷＥＬＣＯＭＥ１０"])
    def test_case_and_width_make_no_difference(self, code: str, coupons: Coupons) -> None:
        assert coupons.key(code) == "coupon:cache:WELCOME10"

    @pytest.mark.parametrize(
        "code",
        [
            "",
            " ",
            "a b",
            "*",
            "A*",
            "[x]",
            "x\ny",
            "x\n",
            "\x1b[31m",
            "\x00",
            "\u202eABC",
            "\u200fABC",
            "A\u200dB",
            "x" * 65,
            pytest.param("x" * 2**20, id="long"),
            "ﷺ" * 20,
            "a:b",
            "{x}",
            "../x",
            "\ud800",
        ],
    )
    def test_what_is_no_code_is_refused_before_any_io(self, code: str) -> None:
        with CheckoutStore.open(Settings(redis_port=1)) as store:
            coupons = Coupons(store)
            for call in (lambda: coupons.validate(code, {}, never_asked), lambda: coupons.invalidate(code)):
                with pytest.raises(InvalidInput) as refused:
                    call()
                assert len(str(refused.value)) < 500
                assert str(refused.value).isprintable()

    @given(st.text(max_size=80))
    def test_a_code_that_is_accepted_is_its_own_and_harmless_in_a_key_and_a_terminal(self, code: str) -> None:
        try:
            known = normalised(code)
        except InvalidInput:
            return
        assert normalised(known) == known
        assert 0 < len(known) <= LONGEST_CODE
        assert known.isprintable()
        assert not set(known) & set(" \n:*?[]\\^{}")

    @given(st.text(st.sampled_from("abcXYZ0189éßΣ" + "".join(sorted(MARKS))), min_size=1, max_size=20))
    def test_codes_compare_whatever_their_case(self, code: str) -> None:
        assert normalised(code) == normalised(code.upper()) == normalised(code.lower())


class TestContexts:
    def test_each_context_has_its_answer(self, coupons: Coupons) -> None:
        coupons.validate("X", {"total": 50}, answering(VALID))
        coupons.validate("X", {"total": 5}, answering(REFUSED))
        assert coupons.validate("x", {"total": 50}, never_asked) == VALID
        assert coupons.validate("x", {"total": 5}, never_asked) == REFUSED

    def test_the_order_of_names_makes_no_difference_and_everything_else_does(self, coupons: Coupons) -> None:
        one = coupons.digest({"a": 1, "b": {"c": [1, 2], "d": None}})
        assert coupons.digest({"b": {"d": None, "c": [1, 2]}, "a": 1}) == one
        others: list[dict[str, Any]] = [
            {},
            {"a": 1},
            {"a": "1"},
            {"a": True},
            {"a": None},
            {"a": [1]},
            {"a": [2, 1]},
            {"a": [1, 2]},
            {"A": 1},
        ]
        assert len({one, *map(coupons.digest, others)}) == len(others) + 1

    def test_a_context_is_never_stored(self, coupons: Coupons, store: CheckoutStore) -> None:
        personal = {"email": "canary@example.com", "phone": "+919876543210", "address": {"street": "Canary Street 7"}}
        coupons.validate("X", personal, answering(VALID))
        stored = [store.redis.ask(("GET", key)) for key in store.redis.ask(("KEYS", "coupon:*"))]
        assert not [word for word in (b"canary", b"Canary", b"98765") if any(word in value for value in stored)]

    @pytest.mark.parametrize(
        "context", [None, [], "x", {1: 2}, {"a": {1}}, {"a": float("nan")}, {"a": b"x"}, {"a": "\ud800"}]
    )
    def test_what_is_no_context_is_refused_before_anything_is_computed(self, context: Any, coupons: Coupons) -> None:
        with pytest.raises(InvalidInput):
            coupons.validate("X", context, never_asked)

    def test_the_newest_sixteen_are_kept(self, coupons: Coupons) -> None:
        for total in range(20):
            coupons.validate("X", {"total": total}, answering(VALID | {"total": total}))
        entry = coupons.look("X")
        assert entry is not None
        assert [answer.value["total"] for answer in entry.answers] == list(range(19, 3, -1))
        assert coupons.validate("X", {"total": 4}, never_asked)["total"] == 4

    def test_a_large_answer_makes_room_for_itself(self, coupons: Coupons) -> None:
        for total in range(4):
            coupons.validate("X", {"total": total}, answering(VALID | {"text": "x" * 20_000}))
        entry = coupons.look("X")
        assert entry is not None
        assert 1 <= len(entry.answers) <= 3
        assert coupons.validate("X", {"total": 3}, never_asked)["valid"]


class TestAnswers:
    @pytest.mark.parametrize(
        "answer", [None, True, [], {}, {"valid": None}, {"valid": 1}, {"valid": "yes"}, {"valid": True, "x": {1}}]
    )
    def test_an_answer_needs_a_boolean_valid(self, answer: Any, coupons: Coupons, store: CheckoutStore) -> None:
        with pytest.raises(InvalidInput):
            coupons.validate("X", {}, answering(answer))
        assert store.redis.ask(("EXISTS", coupons.key("X"))) == 0

    def test_a_computation_is_given_the_code_as_the_key_has_it(self, coupons: Coupons) -> None:
        seen: list[tuple[Any, ...]] = []
        coupons.validate("summer", {"total": 1}, lambda *given: seen.append(given) or VALID)  # type: ignore[func-returns-value]
        assert seen == [("SUMMER", {"total": 1})]

    def test_an_invalid_answer_is_kept_for_a_shorter_time(self, coupons: Coupons, store: CheckoutStore) -> None:
        coupons.validate("GOOD", {}, answering(VALID))
        coupons.validate("BAD", {}, answering(REFUSED))
        good, bad = (store.redis.ask(("PTTL", coupons.key(code))) for code in ("GOOD", "BAD"))
        assert 595_000 < good <= 600_000
        assert 55_000 < bad <= 60_000

    def test_an_invalid_answer_ends_at_its_own_time_beside_a_valid_one(self, settings: Settings) -> None:
        clock = ManualClock()
        with make_store(settings, clock) as store:
            coupons = Coupons(store, chance=lambda: 0.5)
            coupons.validate("X", {"total": 5}, answering(REFUSED))
            coupons.validate("X", {"total": 50}, answering(VALID))
            assert store.redis.ask(("PTTL", coupons.key("X"))) > 500_000  # the longest of them
            clock.advance(59)
            assert coupons.validate("X", {"total": 5}, never_asked) == REFUSED
            clock.advance(2)
            assert coupons.validate("X", {"total": 5}, answering(VALID)) == VALID
            assert coupons.validate("X", {"total": 50}, never_asked) == VALID

    def test_any_program_can_read_an_entry(self, coupons: Coupons, store: CheckoutStore) -> None:
        coupons.validate("X", {}, answering(VALID))
        entry = json.loads(store.redis.ask(("GET", "coupon:cache:X")))
        assert [answer["value"] for answer in entry["answers"]] == [VALID]


@pytest.mark.parametrize("code", ["4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111"])
def test_a_card_number_is_no_code_and_is_not_repeated(store: CheckoutStore, code: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        Coupons(store).validate(code, {}, lambda *_: {"valid": False})
    assert "4111" not in str(raised.value)


@pytest.mark.parametrize("code", [None, 5, b"SAVE10", ["SAVE10"]])
def test_what_is_no_text_is_no_code(store: CheckoutStore, code: Any) -> None:
    with pytest.raises(InvalidInput):
        Coupons(store).validate(code, {}, lambda *_: {"valid": True})


def test_a_context_that_contains_itself_is_refused(store: CheckoutStore) -> None:
    context: dict[str, Any] = {}
    context["context"] = context
    with pytest.raises(InvalidInput):
        Coupons(store).validate("SAVE10", context, lambda *_: {"valid": True})


def test_a_whole_number_is_one_context_however_it_is_written(store: CheckoutStore) -> None:
    coupons = Coupons(store)
    digests = {coupons.digest({"subtotal": number}) for number in (50, 50.0, Decimal("50.00"))}
    assert len(digests) == 1
