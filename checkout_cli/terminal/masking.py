"""What may be seen of a session, or of a coupon's answer, without ``--reveal``: an allow-list.

So a field nobody thought of stays private. Only values of known fields, at the place and of the kind that we know, are
shown. Everything else is masked without a trace of its length or kind. The same masked value goes into every output
format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from checkout_cli.session import MAX_DEPTH

MASKED = "********"
DEEPEST_REVEALED = 64
"""Foreign sessions may be nested deeper than ours; below this only that fact is shown."""
TOO_DEEP = "(nested too deeply to be shown)"

_USER_ID_SHOWN = 4
_SHORTEST_USER_ID = 8
"""Of anything shorter, the first characters would be most of it."""

Kinds = tuple[type, ...]
NUMBER: Kinds = (int, float)  # and bool, which is an int
_TEXT: Kinds = (str, int, float)

SESSION_KINDS: Mapping[str, Kinds] = {
    "checkoutId": _TEXT,
    "subtotal": NUMBER,
    "discount": NUMBER,
    "deliveryFee": NUMBER,
    "freeDeliveryQualified": NUMBER,
    "totalAmount": NUMBER,
    "cgstAmount": NUMBER,
    "sgstAmount": NUMBER,
    "couponCode": _TEXT,
    "deliveryTiming": _TEXT,
    "deliveryDate": _TEXT,
    "deliveryTimeSlot": _TEXT,
    "estimatedDeliveryTime": _TEXT,
    "distance": NUMBER,
    "duration": NUMBER,
    "deliveryZone": _TEXT,
    "paymentStatus": _TEXT,
    "paymentAttempts": NUMBER,
    "databaseOrderId": _TEXT,
    "createdAt": _TEXT,
    "expiresAt": _TEXT,
}
ITEM_KINDS: Mapping[str, Kinds] = {
    "product_id": _TEXT,
    "productId": _TEXT,
    "product_name": _TEXT,
    "productName": _TEXT,
    "category": _TEXT,
    "variant": _TEXT,
    "quantity": NUMBER,
    "unit_price": NUMBER,
    "unitPrice": NUMBER,
    "total_price": NUMBER,
    "totalPrice": NUMBER,
    "coupon_applied": _TEXT,
}
_COUPON: Mapping[str, Kinds] = {
    "valid": NUMBER,
    "code": _TEXT,
    "couponCode": _TEXT,
    "type": _TEXT,
    "discountType": _TEXT,
    "discount": NUMBER,
    "discountAmount": NUMBER,
    "discountPercent": NUMBER,
    "discountValue": NUMBER,
    "maxDiscount": NUMBER,
    "maximumDiscount": NUMBER,
    "minOrderValue": NUMBER,
    "minimumOrderValue": NUMBER,
    "freeDelivery": NUMBER,
    "currency": _TEXT,
    "validFrom": _TEXT,
    "validUntil": _TEXT,
    "expiresAt": _TEXT,
}
_REASONS = frozenset({"reason", "reasonCode", "errorCode"})
_REASON = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[_.-][A-Za-z0-9]+)*")
"""A reason that is one word, as a program gives it; a sentence could name the shopper."""
_LONGEST_REASON = 40
_NOTHING: Mapping[str, Kinds] = {}

KNOWN_FIELDS = frozenset({*SESSION_KINDS, *ITEM_KINDS, "items", "userId"})
"""Every name that is on the allow-list somewhere."""

_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def fields_shown(fields: Mapping[str, Any], *, reveal: bool = False) -> dict[str, Any]:
    """The fields of a session as they may be shown: names kept, values masked unless known to be harmless."""
    if reveal:
        return {name: _bounded(value, depth=1) for name, value in fields.items()}
    return _object(fields, SESSION_KINDS, depth=1)


def answer_shown(answer: Mapping[str, Any], *, reveal: bool = False) -> dict[str, Any]:
    """A coupon's answer as it may be shown, by the same rules; what the shop puts into it is the shop's own."""
    if reveal:
        return fields_shown(answer, reveal=True)
    return _object(answer, _COUPON, depth=1)


def value_shown(name: str, fields: Mapping[str, Any], *, reveal: bool = False) -> Any:
    """One field of a session as it may be shown; ``None`` where the session does not have it."""
    return fields_shown({name: fields.get(name)}, reveal=reveal)[name]


def _object(fields: Mapping[str, Any], known: Mapping[str, Kinds], depth: int) -> dict[str, Any]:
    return {
        _name(name, position): _value(name, value, known, depth)
        for position, (name, value) in enumerate(fields.items(), start=1)
    }


def _name(name: str, position: int) -> str:
    """A field's name, unless it can be more than a name: some programs key objects by e-mail address or phone."""
    return name if _FIELD_NAME.fullmatch(name) else f"{MASKED} {position}"


def _value(name: str, value: Any, known: Mapping[str, Kinds], depth: int) -> Any:
    if value is None:
        return None
    if depth > MAX_DEPTH:
        return MASKED
    if isinstance(value, dict):
        return _object(value, _NOTHING, depth + 1)
    if isinstance(value, list):
        kind = ITEM_KINDS if name == "items" and known is SESSION_KINDS else _NOTHING
        return [_object(part, kind, depth + 2) if isinstance(part, dict) else _part(part, depth + 1) for part in value]
    if name == "userId" and known is SESSION_KINDS:
        return user_id_shown(value)
    if name in _REASONS and known is _COUPON:
        return value if isinstance(value, str) and _is_reason(value) else MASKED
    return value if isinstance(value, known.get(name, ())) and "@" not in str(value) else MASKED


def _is_reason(text: str) -> bool:
    return len(text) <= _LONGEST_REASON and _REASON.fullmatch(text) is not None


def _part(value: Any, depth: int) -> Any:
    return _value("", value, _NOTHING, depth)


def user_id_shown(value: object) -> str:
    """The beginning, by which an operator knows the user again; nothing at all of what is no mere id."""
    text = str(value)
    if len(text) >= _SHORTEST_USER_ID and text.isalnum():
        return text[:_USER_ID_SHOWN] + "…"
    if len(text) < _SHORTEST_USER_ID or not text.isprintable() or any(c in "@+" or c.isspace() for c in text):
        return MASKED
    return text[:_USER_ID_SHOWN] + "…"


def _bounded(value: Any, depth: int) -> Any:
    """The value as it is, cut where no JSON writer would follow."""
    if isinstance(value, (dict, list)) and depth > DEEPEST_REVEALED:
        return TOO_DEEP
    if isinstance(value, dict):
        return {name: _bounded(part, depth + 1) for name, part in value.items()}
    if isinstance(value, list):
        return [_bounded(part, depth + 1) for part in value]
    return value
