from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from checkout_cli.errors import CardDataRefused, ExitCode, InvalidInput
from checkout_cli.privacy.card_data import refuse_card_data, without_card_number

VISA = "4111111111111111"


def names_of(text: str) -> list[str]:
    return text.split()


def path_of(fields: dict[str, Any]) -> str:
    """Where card data is refused in these fields."""
    with pytest.raises(CardDataRefused) as caught:
        refuse_card_data(fields)
    return caught.value.path


@pytest.mark.parametrize(
    "name",
    names_of("""
    cardNumber card_number card-number CardNumber CARD_NUMBER cardnumber CARDNUMBER creditCardNumber credit_card_no
    debitCardNum payment.cardNumber ccNumber cc_number cc_num ccnumber cardNo card_nr
    pan PAN cardPan card_pan panNumber pan_no customer_pan primaryAccountNumber
    cvv CVV cvv2 CVV2 cvc cvc2 csc cvn cardCvv card_cvc paymentCvv cvvCode securityCode security_code cardSecurityCode
    cardVerificationValue card_verification_code cardCode
    track track1 track2 track_1 track2Data trackData track_data magstripe magStripe mag_stripe magneticStripe
    cardExpiry card_expiry cardExp ccExp cardExpirationDate card_expires cardExpMonth expMonth exp_year expiryMonth
    cardPin card_pin pinBlock ｃｖｖ cardNumberEncrypted
    """),
)
def test_a_field_that_is_named_like_card_data_is_refused_whatever_it_holds(name: str) -> None:
    assert path_of({"payment": {name: "x"}}) == f"payment.{name}"
    assert path_of({name: 7}) == name


@pytest.mark.parametrize(
    "name",
    names_of("""
    company panel span japan pancake tracking trackingNumber tracking_number tracker trackUrl track_order soundtrack
    discard discardNumber cardboard postcardNumber wildcard card cards cardType cardBrand card_brand cardLast4 last4
    cardToken card_token cardNumberLast4 maskedCardNumber masked_pan panToken cardholderName cardId
    giftCardNumber gift_card_code giftCardPin loyaltyCardNumber membershipCardNo idCardNumber
    pin pinCode pincode postalCode zipCode couponCode errorCode verificationCode emailVerificationCode
    number phoneNumber orderNumber accountNumber expiry expiryDate expiresAt expires_at expirationDate
    cc bcc account discount escort discs cvcCheck cvv_result paymentStatus deliveryTimeSlot
    """),
)
def test_a_field_that_only_sounds_like_card_data_passes(name: str) -> None:
    refuse_card_data({name: "x", "payment": {name: "x"}, "list": [{name: 1}]})


@pytest.mark.parametrize("outer", ["card", "creditCard", "paymentCard", "cards", "card_details", "cardInfo", "cc"])
@pytest.mark.parametrize("name", ["number", "no", "expiry", "exp_month", "pin", "code", "cvv"])
def test_what_an_object_for_a_card_holds_is_named_by_both(outer: str, name: str) -> None:
    assert path_of({"payment": {outer: {"brand": "visa", name: "x"}}}) == f"payment.{outer}.{name}"
    assert path_of({outer: [{name: "x"}]}) == f"{outer}[0].{name}"


def test_objects_for_other_cards_may_have_a_number() -> None:
    refuse_card_data(
        {"giftCard": {"number": "GC-1", "code": "x"}, "loyaltyCard": {"number": 77}, "order": {"number": 1}}
    )
    refuse_card_data({"card": {"brand": "visa", "last4": "1111", "token": "tok_1"}})


@pytest.mark.parametrize("empty", [None, "", [], {}, True, False])
def test_a_field_for_card_data_can_be_emptied_and_a_switch_is_no_card_data(empty: object) -> None:
    refuse_card_data({"cvv": empty, "card": {"number": empty}, "track": empty})


@pytest.mark.parametrize("number", ["4242424242424242", "5555555555554444", "2223003122003222", "2720992593319364",
    "378282246310005", "30569309025904", "38520000023237", "36227206271667", "6011111111111117", "3530111333300000",
    "6200000000000005", "6759649826438453", "6521500000000006", "4222222222222", "5018000000000009"])  # fmt: skip
def test_numbers_of_every_brand_are_refused(number: str) -> None:
    assert path_of({"notes": number}) == "notes"
    assert path_of({"reference": int(number)}) == "reference"


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111-1111 1111",
        "4111.1111.1111.1111",
        "4111 - 1111 - 1111 - 1111",
        "4111_1111_1111_1111",
        "4111\n1111\n1111\n1111",
        "4111\u00a01111\u202f1111\u20091111",
        "4111\u20101111\u20111111\u20131111",
        "4111\u22121111\u22121111\u22121111",
        "4111·1111·1111·1111",
        "4111\u200b1111\u200b1111\u200b1111",
        "4\u00ad1\u00ad11111111111111",
        "４１１１ １１１１ １１１１ １１１１",
        "٤١١١١١١١١١١١١١١١",
        "४१११११११११११११११",
        "4️⃣1️⃣1️⃣1️⃣1️⃣1️⃣1️⃣1️⃣1️⃣1️⃣1️⃣1️⃣1️⃣1️⃣1️⃣1️⃣",
        "𝟒𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏𝟏",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        "41 11 11 11 11 11 11 11",
        "411111-1111111111",
        "please charge 4111 1111 1111 1111, thanks",
        "visa4111111111111111",
        "4111111111111111exp 12/27",
        "4111111111111111 12/27 123",
        "2 x 4111 1111 1111 1111 12 27 123",
        "card:4111111111111111;cvv:123",
        "卡号4111111111111111号",
        "कार्ड ४१११ ११११ ११११ ११११ है",
        "(4111111111111111)",
        "-4111111111111111",
        "4111-1111-1111-1111-",
        "id=4111111111111111&x=1",
        "2024-01-15 4111111111111111",
        "3782 822463 10005",
        "+4111111111111111",
    ],
)
def test_a_number_is_found_in_whatever_way_it_is_written(text: str) -> None:
    assert path_of({"items": [{}, {"q": 1}, {"notes": text}]}) == "items[2].notes"
    assert without_card_number(text) == "********"


@pytest.mark.parametrize(
    "text",
    [
        "+4915123456787",
        "+49 1512 3456787",
        "00 49 1512 3456787",
        "00491512 3456787",
        "+91 98765 43210",
        "+91-98765-43210 / +91-98765-43211",
        "(555) 010-9999",
        "Hill Road, Mumbai 400001 9876543218",
        "400050-98765 43218",
        "9876543210 400050",
        "2024-01-15T10:30:00.000Z",
        "2024-01-15 10:30:00.000000",
        "30.01.2024 10.30.03",
        "30.01.2024 - 05.02.2024",
        "15.01.2024 10.30.00",
        "4645c59d-c428-4017-af90-a43ee2787c34",
        "41111111-1111-1111-1111-111111111111",
        "a4111111111111111f",
        "ORD4111111111111111",
        "OD411111111111111111",
        "order_4fG8kLmN2pQ7rS",
        "365-1234567-1234569",
        "Altstadt, 40210 0211 1234566",
        "20240115-000123",
        "4111111111111112",
        "1234567812345670",
        "9999999999999995",
        "41111111111111111111111111",
        "48.137154 11.576129",
        "40.13715 41.1576127",
        "40.712776 -74.005974",
        "5.4111111111111111",
        "499.00 1299.00 499.09",
        "DE89 3704 0044 0532 0130 00",
        "DE34 4306 0967 0000 0004 00",
        "1705312200000",
        "1705312200000000",
        "4 tarts, 2 cakes, 12 rolls, 30 candles",
        "192.168.100.200",
    ],
)
def test_what_is_no_card_number_passes(text: str) -> None:
    refuse_card_data({"notes": text, "items": [{"notes": text}]})
    assert without_card_number(text) == text


@pytest.mark.parametrize(
    "number", [1705312200000, 24.5, 4111111111111112, 1e300, -0.0, 10**12, float("nan"), float("inf")]
)
def test_numbers_that_are_none_of_a_card_pass(number: float) -> None:
    refuse_card_data({"value": number})


@pytest.mark.parametrize("number", [4111111111111111, 4111111111111111.0, -4111111111111111, 4.242424242424242e15])
def test_a_json_number_can_be_a_card_number(number: float) -> None:
    assert path_of({"payment": {"reference": [0, number]}}) == "payment.reference[1]"


def ean_and_card() -> list[str]:
    """Bar codes that are a Visa number of 13 digits by chance, one in ten of those that begin with 4."""
    from checkout_cli.privacy.card_numbers import is_card_number

    bodies = (f"40063813{number:04}" for number in range(200))
    codes = (body + str(-sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(body)) % 10) for body in bodies)
    return [code for code in codes if is_card_number(code)]


@pytest.mark.parametrize(
    "name",
    names_of("product_id productId product_name barcode bar_code barCodes ean ean13 upc gtin GTIN14 isbn sku article"),
)
def test_a_bar_code_passes_in_a_product_field_and_only_there(name: str) -> None:
    codes = ean_and_card()
    assert len(codes) > 5
    for code in codes:
        refuse_card_data({"items": [{name: code}, {name: int(code)}, {name: [code]}]})
        refuse_card_data({"items": [{name: f"Lemon tart {code[0]} {code[1:7]} {code[7:]}"}]})
        assert path_of({"items": [{"notes": code}]}) == "items[0].notes"


def test_the_id_of_an_item_and_the_fields_of_a_product_may_be_bar_codes() -> None:
    code = ean_and_card()[0]
    refuse_card_data({"items": [{"id": code}, {"item_code": code}], "product": {"id": code}, "barcodes": {code: 2}})
    assert path_of({"userId": code}) == "userId"


def test_a_card_number_in_a_product_field_is_refused_all_the_same() -> None:
    assert path_of({"items": [{"product_id": VISA}]}) == "items[0].product_id"
    assert path_of({"items": [{"product_id": "4222222222222"}]}) == "items[0].product_id"  # no EAN's check digit


def test_a_phone_field_may_hold_any_fifteen_digits_and_no_sixteen() -> None:
    refuse_card_data({"contactInfo": {"phone": "4915123456787", "alternatePhone": 4915123456787}})
    assert path_of({"contactInfo": {"name": "4915123456787"}}) == "contactInfo.name"
    assert path_of({"contactInfo": {"phone": VISA}}) == "contactInfo.phone"


def test_a_card_number_as_a_field_name_is_refused_and_not_in_the_path() -> None:
    for name in (VISA, "4111 1111-1111 1111", "note 4111111111111111 " + "x" * 200):
        with pytest.raises(CardDataRefused) as caught:
            refuse_card_data({"payments": {name: {"amount": 1}}})
        assert caught.value.path == "payments.********"
        assert "1111" not in str(caught.value)


def test_the_error_names_the_path_and_nothing_else_and_ends_a_command_as_bad_input_does() -> None:
    with pytest.raises(InvalidInput) as caught:
        refuse_card_data({"items": [{}, {}, {"notes": f"my card {VISA} cvv 987"}]})
    assert str(caught.value) == "items[2].notes: a card number is never stored"
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.__cause__ is None
    assert "987" not in repr(caught.value) + caught.value.hint


def test_paths_of_any_length_fit_into_a_line() -> None:
    deep: dict[str, Any] = {"notes": VISA}
    for _ in range(30):
        deep = {"a-rather-long-name": deep}
    assert len(path_of(deep)) <= 101


def test_what_is_too_deep_or_no_json_is_left_to_the_check_for_that() -> None:
    endless: list[Any] = []
    endless.append(endless)
    refuse_card_data({"a": endless, "b": object(), "c": {1: "x"}, "d": b"x"})


def test_tuples_and_other_mappings_are_looked_into() -> None:
    from types import MappingProxyType

    assert path_of({"a": (1, MappingProxyType({"b": VISA}))}) == "a[1].b"


def test_objects_with_many_fields_are_looked_into() -> None:
    assert path_of({f"field{n}": "x" for n in range(500)} | {"last": VISA}) == "last"
    assert path_of({f"field{n}": "x" for n in range(500)} | {"cvv": "1"}) == "cvv"


def test_card_data_over_several_fields_cannot_be_seen() -> None:
    refuse_card_data({"one": "41111111", "two": "11111111", "parts": ["4111", "1111", "1111", "1111"]})


# Properties

BRANDS = st.sampled_from(
    [
        ("4", 16),
        ("4", 13),
        ("4", 19),
        ("51", 16),
        ("55", 16),
        ("2221", 16),
        ("2720", 16),
        ("34", 15),
        ("37", 15),
        ("6011", 16),
        ("649", 16),
        ("65", 16),
        ("305", 14),
        ("36", 14),
        ("38", 14),
        ("3528", 16),
        ("3589", 16),
        ("62", 16),
        ("62", 19),
        ("6304", 13),
        ("6763", 18),
        ("5018", 16),
        ("508", 16),
        ("81", 16),
        ("82", 16),
    ]
)
APART = st.sampled_from([" ", "-", ".", "\u00a0", "\u2011", " - ", "\u2013", "\u2009"])
ZEROS = st.sampled_from([0x30, 0x660, 0x966, 0xFF10])


@st.composite
def card_numbers(draw: st.DrawFn) -> str:
    """Valid numbers of all brands, with or without separators, in several scripts."""
    beginning, length = draw(BRANDS)
    digits = beginning + draw(
        st.text("0123456789", min_size=length - len(beginning) - 1, max_size=length - len(beginning) - 1)
    )
    total = sum(sum(divmod(int(d) * (2 if place % 2 == 0 else 1), 10)) for place, d in enumerate(reversed(digits)))
    digits += str(-total % 10)
    zero = draw(ZEROS)
    written = "".join(chr(zero + int(d)) for d in digits)
    groups = draw(
        st.sampled_from([(), (4,), (4, 8), (4, 8, 12), (4, 10), (2, 4, 6, 8, 10, 12), tuple(range(1, length))])
    )
    for place in sorted((place for place in groups if place < length), reverse=True):
        written = written[:place] + draw(APART) + written[place:]
    assume(not re.fullmatch(r"\d+\.\d+(\s+\d+\.\d+)+", written))  # which reads as several decimals
    return written


NAMES = st.sampled_from(["notes", "customerId", "items", "contactInfo", "x", "address", "orderRef"])


@st.composite
def nested(draw: st.DrawFn, value: Any) -> Any:
    """A value somewhere deep in lists and objects, among harmless neighbours."""
    for _ in range(draw(st.integers(0, 5))):
        value = draw(
            st.sampled_from([[value], {draw(NAMES): value}, [1, "x", value], {"quantity": 2, draw(NAMES): value}])
        )
    return value


@given(
    st.data(),
    card_numbers(),
    st.sampled_from(["", "card ", "charge it to: ", "№ "]),
    st.sampled_from(["", ", thanks", " exp"]),
)
def test_every_valid_number_is_refused_wherever_it_is(
    data: st.DataObject, number: str, before: str, after: str
) -> None:
    fields = {"subtotal": 12.5, data.draw(NAMES): data.draw(nested(before + number + after))}
    with pytest.raises(CardDataRefused) as caught:
        refuse_card_data(fields)
    assert number not in str(caught.value)


DIGITS = st.text("0123456789", min_size=12, max_size=12)


@given(DIGITS)
def test_no_bar_code_is_refused_in_a_field_for_it(body: str) -> None:
    code = body + str(-sum(int(d) * (3 if place % 2 else 1) for place, d in enumerate(body)) % 10)
    refuse_card_data(
        {"items": [{"product_id": code, "barcode": int(code), "ean": f"{code[0]} {code[1:7]} {code[7:]}"}]}
    )


@given(
    st.from_regex(r"\A\+[1-9][0-9]{0,2}[ -]?[0-9]{2,4}[ -]?[0-9]{3,8}\Z").filter(
        lambda text: sum(map(str.isdigit, text)) <= 15
    )
)
def test_no_international_phone_number_is_refused_anywhere(number: str) -> None:
    refuse_card_data({"notes": f"call {number} please", "contactInfo": {"phone": number}})


@given(st.from_regex(r"\A[6-9][0-9]{9}\Z"), st.from_regex(r"\A[1-8][0-9]{5}\Z"))
def test_no_address_with_a_postal_code_and_a_phone_number_is_refused(phone: str, code: str) -> None:
    refuse_card_data(
        {"addressText": f"12 Hill Road, Mumbai {code} {phone}", "notes": f"{phone[:5]} {phone[5:]}, {code}"}
    )


MOMENTS = st.integers(0, 7_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(st.decimals(0, 10**9, places=2), MOMENTS, st.uuids(version=4))
def test_no_price_moment_or_uuid_is_refused(price: Any, moment: Any, identity: Any) -> None:
    refuse_card_data(
        {"a": float(price), "b": str(price), "c": int(price * 100), "e": str(identity), "f": f"{moment:%d.%m.%Y}"}
    )
    refuse_card_data({"d": moment.isoformat(), "g": f"{moment:%Y%m%d%H%M%S}"})
