"""The quick way to mask a session says what the slow one says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout_cli.commands.sessions import export_masking_view as export_masking
from checkout_cli.commands.sessions.export_masking_view import body_shown
from checkout_cli.session import decode
from checkout_cli.terminal.masking import ITEM_KINDS, SESSION_KINDS, fields_shown

_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
_anything = st.recursive(_scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
_contact = st.dictionaries(st.sampled_from(["name", "phone", "alternatePhone"]), _scalars)
_items = st.lists(st.dictionaries(st.sampled_from([*ITEM_KINDS]), _scalars))
_session = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(SESSION_KINDS, _scalars),
        **dict.fromkeys(("userEmail", "addressText", "selectedAddressId", "notes"), _anything),
        "userId": st.text() | st.integers(),
        "contactInfo": _contact | _anything,
        "items": _items | _anything,
    },
)


@given(_session | st.dictionaries(st.text(), _anything))
def test_both_ways_say_the_same(fields: dict[str, Any]) -> None:
    body = json.dumps(fields).encode()
    assert json.loads(body_shown(body)) == json.loads(json.dumps(fields_shown(json.loads(body))))


@pytest.mark.parametrize("body", [rb'{"notes":"\ud83d"}', rb'{"couponCode":"\ud83d"}', rb'{"\ud83d":1,"notes":null}'])
def test_half_of_a_surrogate_pair_goes_the_slow_way(body: bytes) -> None:
    assert json.loads(body_shown(body)) == fields_shown(decode(body))


def test_a_usual_session_goes_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {
        "checkoutId": "a",
        "items": [{"product_id": "rye", "quantity": 2, "unit_price": 5.4, "total_price": 10.8}],
        "totalAmount": 10.8,
        "userId": "user0042abcd",
        "userEmail": "ada@shop.example",
        "contactInfo": {"name": "Ada", "phone": "1"},
        "notes": None,
        "paymentStatus": "pending",
    }
    expected = fields_shown(fields)

    def slowly(_: bytes) -> bytes:
        raise AssertionError("the slow way")

    monkeypatch.setattr(export_masking, "_slowly", slowly)
    assert json.loads(body_shown(json.dumps(fields).encode())) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("checkoutId", odd) for odd in ("9876543210", "01515550199", "jane%40x.org", "+491515550199", "jane&#64;x")],
        *[(name, "9876543210") for name in ("couponCode", "databaseOrderId", "deliveryZone")],
        ("deliveryTiming", "after Jane is home"),
        ("createdAt", "Jane"),
        ("userId", "jane%40example.org"),
        *[
            ("items", [{"product_name": odd}])
            for odd in ("a@x.org", "a%2540x", "a&commat;x", "a\uff20x", "a[AT]x", "a(b)")
        ],
    ],
)
def test_both_ways_hide_the_same_ids_and_texts(field: str, value: Any) -> None:
    fields = {"couponCode": "SAVE10", "checkoutId": "a", field: value}
    assert json.loads(body_shown(json.dumps(fields).encode())) == fields_shown(fields)
