"""Which ids and names are somebody's, and what a message has in their place."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.errors import CardDataRefused, InvalidInput
from checkout_cli.privacy.card_data import refuse_card_data
from checkout_cli.privacy.personal_ids import (
    HIDDEN,
    id_beginning,
    is_personal,
    is_personal_name,
    is_program_name,
    named,
    without_personal,
)
from checkout_cli.session import check_fields

ADDRESSES = (
    *("jane@example.org", "cart:jane@example.org", "mailto:jane@example.org", "jane%40example.org"),
    *("jane%2540example.org", "jane%252540example.org", "jane\uff20example.org", "jane&#64;example.org"),
    *("jane(at)example.org", "j@x", "checkout:session:jane@example.org"),
)
PHONES = (
    *("+491515550199", "+49 151 5550199", "+1 (555) 123-4567", "%2B491515550199", "user:+49-151-5550199"),
    *("0151 5550199", "0151/5550199", "(0151) 555 01 99", "01515550199", "cart-01515550199", "0049151 5550199"),
    *("15551234567", "cart:15551234567", "15551234567-old", "555-123-4567", "(555) 123-4567", "9876543210"),
    *("919876543210", "491515550199", "tel:5551234", "whatsapp-491515550199", "\uff0b491515550199"),
)
NOBODYS = (
    *("100023", "1701444915", "1701444915000", "4500012345", "1234567890123456789", "session-0001", "user-0042"),
    *("ORD-20240115-0001", "302-1234567-1234567", "order-9876543210", "user_9876543210", "2024-01-15"),
    *("2024-01-15T10:30:00.000Z", "0900-1100", "5.2:24.50", "1.00:9876543210", "SAVE10", "20%OFF", "WELCOME10"),
    *("01515550-1990-4017-8f90-491705550199", "01J9ZQ4Z6X7Y8W9V0T1S2R3Q4P", "stats:minute:29935694"),
)


@pytest.mark.parametrize("text", [*ADDRESSES, *PHONES])
def test_an_address_or_a_phone_number_is_personal_and_hidden_whole(text: str) -> None:
    assert is_personal(text)
    assert (named(text), id_beginning(text)) == (HIDDEN, HIDDEN)


@pytest.mark.parametrize("text", NOBODYS)
def test_a_number_of_an_order_a_moment_or_a_made_up_id_is_nobodys(text: str) -> None:
    assert not is_personal(text)
    assert (named(text), id_beginning(text)) == (text, f"{text[:8]}…")


@given(st.uuids(version=4))
def test_no_uuid_is_personal(made: uuid.UUID) -> None:
    assert not is_personal(str(made))


@pytest.mark.parametrize("name", [*ADDRESSES, *PHONES, "u5550199", "phone_5550199", "Jane", "JaneDoe", "Jane Doe", ""])
def test_a_name_of_a_field_that_can_be_somebodys_is_no_programs(name: str) -> None:
    assert not is_program_name(name)


@pytest.mark.parametrize("name", ["userEmail", "product_id", "_checkout", "line2", "SKU", "cgstAmount"])
def test_a_name_that_a_program_gives_is_shown(name: str) -> None:
    assert is_program_name(name)
    assert not is_personal_name(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no 'jane@example.org' there", f"no '{HIDDEN}' there"),
        ("Key (id)=(cart:jane@example.org) exists", f"Key (id)=(cart:{HIDDEN}) exists"),
        ("jane%40example.org, call +49 151 5550199.", f"{HIDDEN}, call {HIDDEN}."),
        ("postgresql://shop@db.example.org:5432/shop", "postgresql://shop@db.example.org:5432/shop"),
        ("at 2024-01-15T10:30:00+01:00, +12 keys, 20 % of 100", "at 2024-01-15T10:30:00+01:00, +12 keys, 20 % of 100"),
    ],
)
def test_a_sentence_is_told_without_them(text: str, shown: str) -> None:
    assert without_personal(text) == shown
    assert without_personal(text, ["--user=cart:jane@example.org", "jane%40example.org", "+49 151 5550199"]) == text


@pytest.mark.parametrize("name", ["jane@example.org", "+491515550199", "u5550199"])
def test_no_error_about_a_field_repeats_a_name_that_is_somebodys(name: str) -> None:
    with pytest.raises(CardDataRefused) as refused:
        refuse_card_data({"contacts": {name: {"cardNumber": "1"}}})
    assert refused.value.path == f"contacts.{HIDDEN}.cardNumber"
    with pytest.raises(InvalidInput) as invalid:
        check_fields({"contacts": {name: {"x": float("nan")}}})
    assert name not in str(invalid.value)
    assert HIDDEN in str(invalid.value)
