from __future__ import annotations

import re
import string
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from checkout_cli import keys
from checkout_cli.errors import InvalidInput

ACCEPTED = string.ascii_letters + string.digits + "_-"
REFUSED = [
    "",
    "*",
    "short",
    "x" * 7,
    "x" * 129,
    "x" * 1_000_000,
    "abcd:efgh",
    "{abcdefgh}",
    "../../etc/passwd",
    "abcdefgh\n",
    "abcdefgh\r\n",
    "\nabcdefgh",
    "abcd\x00efgh",
    "abcdefgh ",
    "٠١٢٣٤٥٦٧٨٩",
    "ａｂｃｄｅｆｇｈ",
    "abcdefgé",
    "abcd\x1b[31mefgh",
    "abcdefgh\ud800",
    "abcdefg\u202e",
    "abc?defgh",
    "abc[d]efgh",
]


def test_the_keys_are_those_of_the_specification() -> None:
    assert keys.session_key("abc") == "checkout:session:abc"
    assert keys.INDEX == "checkout:index"
    assert keys.lock_key("cleanup") == "checkout:lock:cleanup"
    assert keys.claim_key("abc") == "checkout:claim:{checkout:session:abc}"


def test_every_key_of_ours_stays_under_the_prefixes_of_the_specification() -> None:
    texts = [value for name, value in vars(keys).items() if name.isupper() and isinstance(value, str)]
    assert texts
    prefixes = r"(checkout|stats|delivery:cache|coupon:cache|user:session):"
    assert all(re.match(prefixes, text) for text in texts)


def test_in_a_cluster_an_index_can_be_renamed_because_its_other_names_have_the_same_slot() -> None:
    assert key_slot(keys.INDEX.encode()) == key_slot(keys.INDEX_BESIDE.encode()) == key_slot(keys.INDEX_ASIDE.encode())


@given(st.text(ACCEPTED, min_size=8, max_size=128))
def test_a_claim_lies_in_the_slot_of_the_session_that_it_is_for(checkout_id: str) -> None:
    assert key_slot(keys.claim_key(checkout_id).encode()) == key_slot(keys.session_key(checkout_id).encode())


def test_no_other_key_of_ours_can_be_taken_for_a_session() -> None:
    others = (keys.lock_key("cleanup"), keys.heartbeat_key("cleanup"), keys.claim_key("abcdefgh"))
    for key in (keys.INDEX, keys.INDEX_BESIDE, keys.INDEX_ASIDE, keys.LEGACY_STATS, keys.PENDING, *others):
        assert not key.startswith(keys.SESSION_PREFIX)


def test_a_claim_is_counted_as_ours_and_not_as_a_session() -> None:
    assert keys.family_of(keys.claim_key("abcdefgh").encode()) is keys.Family.OURS


@given(st.text())
def test_an_id_comes_back_out_of_its_key_whatever_it_is(checkout_id: str) -> None:
    assert keys.checkout_id_of(keys.session_key(checkout_id)) == checkout_id


@given(st.text(ACCEPTED, min_size=8, max_size=128))
def test_letters_digits_dash_and_underscore_are_accepted(checkout_id: str) -> None:
    assert keys.accepted_id(checkout_id) == checkout_id


def test_a_uuid_is_accepted() -> None:
    keys.accepted_id(str(uuid.UUID(int=7)))


@pytest.mark.parametrize("checkout_id", REFUSED, ids=lambda text: repr(text[:12]))
def test_anything_else_is_refused_in_one_short_printable_line(checkout_id: str) -> None:
    assert not keys.is_accepted_id(checkout_id)
    with pytest.raises(InvalidInput) as caught:
        keys.accepted_id(checkout_id)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    assert "8 to 128" in caught.value.hint


@given(st.text())
def test_an_accepted_id_has_only_accepted_characters(checkout_id: str) -> None:
    if keys.is_accepted_id(checkout_id):
        assert set(checkout_id) <= set(ACCEPTED)


def test_a_pattern_takes_every_character_of_the_beginning_as_it_is() -> None:
    assert keys.pattern_of("user:session:a") == "user:session:a*"
    assert keys.pattern_of(r"a*b?c[d]e^f\g") == r"a\*b\?c\[d\]e\^f\\g*"


def test_an_id_that_is_a_card_number_is_not_repeated() -> None:
    with pytest.raises(InvalidInput) as caught:
        keys.accepted_id("4111 1111 1111 1111")
    assert "1111" not in str(caught.value)
