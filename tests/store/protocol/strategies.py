"""What the property tests of the protocol draw from: small pools, so that ids, versions and fields meet each other."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from checkout_cli.session import STORE_FIELD, PaymentStatus
from checkout_cli.store.protocol.publishing import Found
from checkout_cli.store.protocol.row import Row
from checkout_cli.store.protocol.value import NO_IDENTITY, Kind, Value, digest_of, encode_value

CHECKOUT_ID = "11111111-2222-4333-8444-555555555555"
CREATED_AT = "2024-01-15T10:30:00.000Z"

HERE, ELSEWHERE = b"run1.repl1", b"run2.repl2"
IDENTITIES = st.sampled_from([HERE, ELSEWHERE, NO_IDENTITY])

TOKENS = st.sampled_from(["a1", "b2", "c3"])
OWN_IDS = st.builds(lambda token, number: f"{token}-{number}", TOKENS, st.integers(1, 4))
EXTERNAL_IDS = st.builds(
    lambda kind, text: f"{kind}-{digest_of(text)}", st.sampled_from("fr"), st.sampled_from([b"1", b"2"])
)
CHAINS = st.builds(lambda some, last: (*some, last), st.lists(OWN_IDS | EXTERNAL_IDS, max_size=3), OWN_IDS).map(tuple)
"""The ids of a dirty value: the last one is always a write of ours."""

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
DOCUMENTS = st.dictionaries(TEXT.filter(lambda name: name != STORE_FIELD), JSON_VALUES, max_size=5)
"""Any fields at all."""

_SMALL = st.sampled_from([0, 1, 1.0, True, "x", "y", [1], {"n": 1}])
SESSIONS = st.fixed_dictionaries(
    {},
    optional={
        "paymentStatus": st.sampled_from([*map(str, PaymentStatus), "odd", None]),
        "databaseOrderId": st.sampled_from(["ORD-1", "ORD-2", ""]),
        "paymentAttempts": st.integers(0, 2),
        "items": _SMALL,
        "totalAmount": _SMALL,
        "couponCode": _SMALL,
        "addressText": _SMALL,
        "contactInfo": _SMALL,
        "notes": _SMALL,
        "loyalty": _SMALL,
        "checkoutId": st.sampled_from([CHECKOUT_ID, "another"]),
        "createdAt": st.sampled_from([CREATED_AT, "2024-01-15T11:30:00+01:00", "2020-01-01T00:00:00.000Z", 7]),
        "expiresAt": st.sampled_from([CREATED_AT, "2024-01-15T11:00:00.000Z"]),
    },
)
"""Sessions that share many fields and values."""


def body_of(fields: Any) -> bytes:
    """Fields as the store writes them."""
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def dumps_of_javascript(document: Any) -> bytes:
    """What ``JSON.stringify`` makes of it: no blanks, and whole numbers without a point."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [plain(inner) for inner in value]
        return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value

    return json.dumps(plain(document), separators=(",", ":"), ensure_ascii=False).encode()


BODIES = SESSIONS.map(body_of)
KINDS = st.sampled_from([Kind.OURS, Kind.OURS, Kind.OURS, Kind.TAMPERED, Kind.UNSTAMPED])


@st.composite
def values(draw: st.DrawFn, kinds: st.SearchStrategy[Kind] = KINDS, *, dirty: bool | None = None) -> Value:
    kind = draw(kinds)
    if kind is Kind.UNSTAMPED:
        return Value(0, NO_IDENTITY, draw(BODIES), kind=kind)
    ids: tuple[str, ...] = draw(CHAINS) if dirty or (dirty is None and draw(st.booleans())) else ()
    return Value(draw(st.integers(0, 5)), draw(IDENTITIES), draw(BODIES), ids, draw(st.booleans()), kind)


VALUES = values()
"""What may lie at a key, whoever wrote it."""
DIRTY = values(st.just(Kind.OURS), dirty=True)
"""What may be flushed."""
CLEAN = values(st.just(Kind.OURS), dirty=False)
FOUND = VALUES.map(lambda value: Found(encode_value(value) + b" " * value.is_external, value))
"""The same with bytes that no other value has."""


@st.composite
def _rows(draw: st.DrawFn) -> Row:
    version = draw(st.integers(1, 6))
    write_id = draw(OWN_IDS)
    if draw(st.integers(0, 4)) == 0:
        return Row(version, write_id, None)
    if draw(st.booleans()):
        return Row(version, write_id, draw(BODIES))
    return Row(version, write_id, draw(BODIES), draw(st.integers(0, version - 1)), draw(BODIES))


ROWS = _rows()
