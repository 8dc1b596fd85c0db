from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.commands.sessions.view import describe, show_list, show_session
from checkout_cli.session import Session, TierName
from checkout_cli.store.records import Sighting
from checkout_cli.terminal.masking import (
    DEEPEST_REVEALED,
    ITEM_KINDS,
    MASKED,
    SESSION_KINDS,
    TOO_DEEP,
    answer_shown,
    fields_shown,
    value_shown,
)

NOW = 1_700_000_000_000
WHOLE = {
    "checkoutId": "4645c59d-c428-4017-af90-a43ee2787c34",
    "userId": "user-0042",
    "items": [{"product_id": "rye-loaf", "product_name": "Rye", "quantity": 2, "unit_price": 5.4, "total_price": 10.8}],
    "subtotal": 10.8,
    "totalAmount": 10.8,
    "freeDeliveryQualified": False,
    "couponCode": "WELCOME10",
    "deliveryTimeSlot": "08:00-10:00",
    "paymentStatus": "paid",
    "databaseOrderId": "ORD-1",
    "createdAt": "2023-11-14T22:00:00.000Z",
}

# A marker that nothing harmless contains: letters of a script that we never print, then anything.
SECRETS = st.builds("Жюри{}".format, st.text(max_size=12))
SECRET_NUMBERS = st.integers(min_value=55_555_555_500_000, max_value=55_555_555_599_999)
KNOWN_FIELDS = frozenset({*SESSION_KINDS, *ITEM_KINDS, "items", "userId"})
NAMES = st.text(max_size=12).filter(lambda name: name not in KNOWN_FIELDS and "Ж" not in name)
SMUGGLED = st.recursive(
    SECRETS | SECRET_NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)


def seen(fields: dict[str, Any]) -> Sighting:
    session = Session("4645c59d-c428-4017-af90-a43ee2787c34", fields, 3, TierName.REDIS)
    return Sighting(session.checkout_id, TierName.REDIS, session, NOW + 60_000, 900)


def every_output(fields: dict[str, Any], *, reveal: bool = False) -> str:
    """All that any format of any view prints of a session."""
    sighting = seen(fields)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        for output in ("table", "json", "ndjson", "csv", "ids"):
            show_list([sighting], output, now=NOW, limit=50, reveal=reveal)
        show_session(sighting, NOW, as_json=False, reveal=reveal)
        show_session(sighting, NOW, as_json=True, reveal=reveal)
        printed.write(describe(sighting, NOW))
    return printed.getvalue()


def leaked(printed: str) -> bool:
    return any(sign in printed for sign in ("Жюри", json.dumps("Жюри")[1:-1], "555555555"))


@given(name=NAMES, value=SMUGGLED, place=st.sampled_from(["session", "item", "contactInfo"]))
def test_personal_data_in_a_field_that_is_not_on_the_allow_list_appears_in_no_format(
    name: str, value: Any, place: str
) -> None:
    fields: dict[str, Any] = {**WHOLE, "items": [dict(WHOLE["items"][0])], "contactInfo": {}}  # type: ignore[index]
    target = {"session": fields, "item": fields["items"][0], "contactInfo": fields["contactInfo"]}[place]
    target[name] = value

    assert not leaked(every_output(fields))


@given(
    name=st.sampled_from(sorted(KNOWN_FIELDS - {"items"})),
    value=SMUGGLED.filter(lambda value: isinstance(value, (dict, list))),
)
def test_a_structure_where_a_plain_value_belongs_is_masked_inside(name: str, value: Any) -> None:
    assert not leaked(every_output({**WHOLE, name: value}))


@given(name=st.sampled_from(["totalAmount", "subtotal", "distance", "paymentAttempts", "userId"]), value=SECRETS)
def test_text_where_a_number_belongs_is_masked(name: str, value: str) -> None:
    printed = every_output({**WHOLE, name: value})

    assert value not in printed
    assert name == "userId" or not leaked(printed)  # of a user id, four characters are shown on purpose


@given(value=SECRETS)
def test_what_the_property_looks_for_is_found_when_it_is_revealed(value: str) -> None:
    assert leaked(every_output({**WHOLE, "notes": value}, reveal=True))


def test_what_an_operator_needs_is_shown_as_it_is() -> None:
    assert fields_shown(WHOLE) == {**WHOLE, "userId": "user…"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("userEmail", "a@example.com"),
        ("addressText", "1 Mill Lane"),
        ("notes", "Ring twice"),
        ("selectedAddressId", 17),
        ("loyaltyPoints", 4),
        ("isPregnant", True),
        ("empty", ""),
    ],
)
def test_an_unknown_value_is_masked_whatever_its_kind_and_length(field: str, value: object) -> None:
    assert fields_shown({field: value}) == {field: MASKED}


def test_contact_info_keeps_its_shape_and_nothing_else() -> None:
    contact = {"name": "Ada", "phone": "+1 555 0100", "alternatePhone": None}

    assert fields_shown({"contactInfo": contact}) == {
        "contactInfo": {"name": MASKED, "phone": MASKED, "alternatePhone": None}
    }


def test_what_is_allowed_in_an_item_is_not_allowed_elsewhere() -> None:
    assert fields_shown({"variant": "x", "gift": {"variant": "x", "totalAmount": 1}}) == {
        "variant": MASKED,
        "gift": {"variant": MASKED, "totalAmount": MASKED},
    }


def test_customization_of_an_item_is_masked_because_it_holds_dedications() -> None:
    shown = fields_shown({"items": [{"quantity": 1, "customization_options": {"text": "Happy birthday Noor"}}, "Noor"]})

    assert shown == {"items": [{"quantity": 1, "customization_options": {"text": MASKED}}, MASKED]}


@pytest.mark.parametrize("name", ["ada@example.com", "+15550100", "5550100", "Ada Lovelace", "", "x" * 65])
def test_a_field_name_that_can_be_personal_data_is_masked_too(name: str) -> None:
    assert fields_shown({"a": 1, name: 1}) == {"a": MASKED, f"{MASKED} 2": MASKED}


@pytest.mark.parametrize(
    "user", ["u1", "ada@example.com", "+15550100123", "Ada Lovelace", 1234, True, "user-1\x1b[31m"]
)
def test_a_user_id_that_is_no_mere_id_is_masked_whole(user: object) -> None:
    assert value_shown("userId", {"userId": user}) == MASKED


def test_a_user_id_is_shortened_unless_revealed() -> None:
    assert value_shown("userId", {"userId": "user-0042"}) == "user…"
    assert value_shown("userId", {"userId": "user-0042"}, reveal=True) == "user-0042"
    assert value_shown("userId", {}) is None


def test_an_email_address_is_masked_even_in_a_known_field() -> None:
    assert fields_shown({"couponCode": "ada@example.com"}) == {"couponCode": MASKED}


def test_nesting_that_no_json_writer_follows_is_cut() -> None:
    deep: Any = "bottom"
    for _ in range(600):
        deep = {"x": [deep]}

    assert MASKED in json.dumps(fields_shown({"deep": deep}))
    revealed = json.dumps(fields_shown({"deep": deep}, reveal=True))
    assert TOO_DEEP in revealed
    assert revealed.count("{") <= DEEPEST_REVEALED


@pytest.mark.parametrize(
    ("reason", "shown"),
    [("usage_limit_reached", True), ("min.order", True), ("not for Ada", False), ("ada@example.com", False),
     ("15550100", False), ("x" * 41, False), (15550100, False), (["expired"], False)],
)  # fmt: skip
def test_the_reason_of_a_coupon_is_shown_where_it_is_one_word_of_a_program(reason: Any, shown: bool) -> None:
    answer = answer_shown({"valid": False, "reason": reason})

    assert answer["valid"] is False
    assert (answer["reason"] == reason) is shown


@given(secret=SMUGGLED, name=NAMES)
def test_whatever_a_coupons_answer_smuggles_is_masked(secret: Any, name: str) -> None:
    shown = json.dumps(answer_shown({"valid": True, name: secret, "discount": {"of": secret}}), ensure_ascii=False)

    assert "Ж" not in shown
    assert "555555555" not in shown
