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
_NUMBER: Kinds = (int, float)  # and bool, which is an int
_TEXT: Kinds = (str, int, float)

_SESSION: Mapping[str, Kinds] = {
    "checkoutId": _TEXT,
    "subtotal": _NUMBER,
    "discount": _NUMBER,
    "deliveryFee": _NUMBER,
    "freeDeliveryQualified": _NUMBER,
    "totalAmount": _NUMBER,
    "cgstAmount": _NUMBER,
    "sgstAmount": _NUMBER,
    "couponCode": _TEXT,
    "deliveryTiming": _TEXT,
    "deliveryDate": _TEXT,
    "deliveryTimeSlot": _TEXT,
    "estimatedDeliveryTime": _TEXT,
    "distance": _NUMBER,
    "duration": _NUMBER,
    "deliveryZone": _TEXT,
    "paymentStatus": _TEXT,
    "paymentAttempts": _NUMBER,
    "databaseOrderId": _TEXT,
    "createdAt": _TEXT,
    "expiresAt": _TEXT,
}
_ITEM: Mapping[str, Kinds] = {
    "product_id": _TEXT,
    "productId": _TEXT,
    "product_name": _TEXT,
    "productName": _TEXT,
    "category": _TEXT,
    "variant": _TEXT,
    "quantity": _NUMBER,
    "unit_price": _NUMBER,
    "unitPrice": _NUMBER,
    "total_price": _NUMBER,
    "totalPrice": _NUMBER,
    "coupon_applied": _TEXT,
}
_COUPON: Mapping[str, Kinds] = {
    "valid": _NUMBER,
    "code": _TEXT,
    "couponCode": _TEXT,
    "type": _TEXT,
    "discountType": _TEXT,
    "discount": _NUMBER,
    "discountAmount": _NUMBER,
    "discountPercent": _NUMBER,
    "discountValue": _NUMBER,
    "maxDiscount": _NUMBER,
    "maximumDiscount": _NUMBER,
    "minOrderValue": _NUMBER,
    "minimumOrderValue": _NUMBER,
    "freeDelivery": _NUMBER,
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

KNOWN_FIELDS = frozenset({*_SESSION, *_ITEM, "items", "userId"})
"""Every name that is on the allow-list somewhere."""

_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def fields_shown(fields: Mapping[str, Any], *, reveal: bool = False) -> dict[str, Any]:
    """The fields of a session as they may be shown: names kept, values masked unless known to be harmless."""
    if reveal:
        return {name: _bounded(value, depth=1) for name, value in fields.items()}
    return _object(fields, _SESSION, depth=1)


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
        kind = _ITEM if name == "items" and known is _SESSION else _NOTHING
        return [_object(part, kind, depth + 2) if isinstance(part, dict) else _part(part, depth + 1) for part in value]
    if name == "userId" and known is _SESSION:
        return _user_id(value)
    if name in _REASONS and known is _COUPON:
        return value if isinstance(value, str) and _is_reason(value) else MASKED
    return value if isinstance(value, known.get(name, ())) and "@" not in str(value) else MASKED


def _is_reason(text: str) -> bool:
    return len(text) <= _LONGEST_REASON and _REASON.fullmatch(text) is not None


def _part(value: Any, depth: int) -> Any:
    return _value("", value, _NOTHING, depth)


def _user_id(value: object) -> str:
    """The beginning, by which an operator knows the user again; nothing at all of what is no mere id."""
    text = str(value)
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
