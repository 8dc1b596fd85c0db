"""What may be seen of a session, or of a coupon's answer, without ``--reveal``: an allow-list.

Only known fields, at the place and of the kind that we know, are shown, so a field nobody thought of stays private.
Everything else is masked without a trace of its length or kind, alike in every output format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from checkout_cli.privacy.personal_ids import HIDDEN, is_address, is_personal, is_program_name, named
from checkout_cli.session import MAX_DEPTH, PaymentStatus
from checkout_cli.terminal import command_line

MASKED = HIDDEN
OTHER = "other"
"""In place of a payment status that is none of the shop's: any text could stand there."""
DEEPEST_REVEALED = 64
"""Foreign sessions may be nested deeper than ours; below this only that fact is shown."""
TOO_DEEP = "(nested too deeply to be shown)"

_USER_ID_SHOWN = 4
_SHORTEST_USER_ID = 8
"""The first characters of anything shorter would be most of it."""

Kinds = tuple[type, ...]
NUMBER: Kinds = (int, float)  # and bool, which is an int
_TEXT: Kinds = (str, int, float)


def _kinds(names: str) -> Mapping[str, Kinds]:
    """Fields and their kinds: ``#`` before a name marks a number."""
    return {name.lstrip("#"): NUMBER if name.startswith("#") else _TEXT for name in names.split()}


SESSION_KINDS = _kinds(
    "checkoutId #subtotal #discount #deliveryFee #freeDeliveryQualified #totalAmount #cgstAmount #sgstAmount "
    "couponCode deliveryTiming deliveryDate deliveryTimeSlot estimatedDeliveryTime #distance #duration "
    "deliveryZone paymentStatus #paymentAttempts databaseOrderId createdAt expiresAt"
)
ITEM_KINDS = _kinds(
    "product_id productId product_name productName category variant #quantity #unit_price #unitPrice "
    "#total_price #totalPrice coupon_applied"
)
_COUPON = _kinds(
    "#valid code couponCode type discountType #discount #discountAmount #discountPercent #discountValue "
    "#maxDiscount #maximumDiscount #minOrderValue #minimumOrderValue #freeDelivery currency validFrom validUntil "
    "expiresAt"
)
_FIELDS = frozenset(
    {*SESSION_KINDS, *ITEM_KINDS, *_COUPON}
    | {"items", "userId", "userEmail", "contactInfo", "name", "phone", "alternatePhone", "addressText", "notes"}
)
_WHEN = re.compile(
    r"(?:[0-9]|[TZ:., /+–-]|am|pm|o.clock|minutes?|mins?|hours?|hrs?|days?|h|to|today|tomorrow|asap|now"
    r"|jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec|mon|tues?|wed|thur?s?|fri|sat|sun){1,64}",
    re.IGNORECASE,
)
"""A moment, a date or a span, however a shop writes it: no other word is in it."""
_WORD = re.compile(r"[A-Za-z0-9]+(?:[_.:/-][A-Za-z0-9]+)*")
"""A value that is one word, as a program gives it; a sentence could name the shopper."""
_CURRENCY = re.compile(r"[A-Z]{3}")
_MOMENT_OR_UUID = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:.]{5,16}Z)?|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)
"""What is harmless wherever it stands, and new in nearly every session."""
_FORMS: Mapping[str, re.Pattern[str]] = {
    **dict.fromkeys(("deliveryDate", "deliveryTimeSlot", "estimatedDeliveryTime", "createdAt", "expiresAt"), _WHEN),
    **dict.fromkeys(("deliveryTiming", "deliveryZone", "type", "discountType"), _WORD),
    **dict.fromkeys(("validFrom", "validUntil"), _WHEN),
    "currency": _CURRENCY,
}
"""The forms of fields that have a few values or a moment, outside of items; anything else there may be personal."""
_LONGEST_FORM = 64
_REASONS = frozenset({"reason", "reasonCode", "errorCode"})
_REASON = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[_.-][A-Za-z0-9]+)*")
"""A reason that is one word, as a program gives it; a sentence could name the shopper."""
_LONGEST_REASON = 40
_STATUSES = tuple(PaymentStatus)
_NOTHING: Mapping[str, Kinds] = {}


def fields_shown(fields: Mapping[str, Any], *, reveal: bool = False) -> dict[str, Any]:
    """The fields of a session for output: names kept, values masked unless known to be harmless."""
    if reveal:
        return {name: _bounded(value, depth=1) for name, value in fields.items()}
    return _object(fields, SESSION_KINDS, depth=1)


def id_shown(checkout_id: str, *, reveal: bool = False) -> str:
    """The id of a session, the name of a cached entry and the like; masked where it is an address or a phone number."""
    return checkout_id if reveal else named(checkout_id)


def acknowledged(checkout_id: str) -> str:
    """The id of what was just written: what was typed on this command line may be repeated to whoever typed it."""
    return checkout_id if command_line.was_typed(checkout_id) else named(checkout_id)


def answer_shown(answer: Mapping[str, Any], *, reveal: bool = False) -> dict[str, Any]:
    """A coupon's answer for output, by the same rules; its content is the shop's own."""
    return fields_shown(answer, reveal=True) if reveal else _object(answer, _COUPON, depth=1)


def value_shown(name: str, fields: Mapping[str, Any], *, reveal: bool = False) -> Any:
    """One field of a session for output; ``None`` where the session lacks it."""
    (shown,) = fields_shown({name: fields.get(name)}, reveal=reveal).values()  # its name may be masked too
    return shown


def _object(fields: Mapping[str, Any], known: Mapping[str, Kinds], depth: int) -> dict[str, Any]:
    return {
        _name(name, position): _value(name, value, known, depth)
        for position, (name, value) in enumerate(fields.items(), start=1)
    }


def _name(name: str, position: int) -> str:
    """A field's name, unless it can be more than that: some programs key objects by e-mail address, phone or name."""
    is_harmless = is_program_name(name) or name[:1].lower() + name[1:] in _FIELDS
    return name if is_harmless else f"{MASKED} {position}"


def _value(name: str, value: Any, known: Mapping[str, Kinds], depth: int) -> Any:
    if value is None:
        return None
    if depth > MAX_DEPTH:
        return MASKED
    if isinstance(value, dict):
        return _object(value, _NOTHING, depth + 1)
    if isinstance(value, list):
        kind = ITEM_KINDS if name == "items" and known is SESSION_KINDS else _NOTHING
        return [
            _object(part, kind, depth + 2) if isinstance(part, dict) else _value("", part, _NOTHING, depth + 1)
            for part in value
        ]
    if name == "userId" and known is SESSION_KINDS:
        return user_id_shown(value)
    if name == "paymentStatus" and known is SESSION_KINDS:
        return status_shown(value)
    if name in _REASONS and known is _COUPON:
        is_one_word = isinstance(value, str) and len(value) <= _LONGEST_REASON and _REASON.fullmatch(value)
        return value if is_one_word else MASKED
    if not isinstance(value, known.get(name, ())):
        return MASKED
    if not isinstance(value, str):
        return value
    if known is ITEM_KINDS:  # of a product; its bar code has the form of a phone number
        return MASKED if is_address(value) else value
    return value if is_harmless(name, value) else MASKED


def is_harmless(name: str, value: str) -> bool:
    """Whether a text may be shown in this field of a session or of a coupon's answer."""
    return _MOMENT_OR_UUID.fullmatch(value) is not None or _is_harmless(name, value)


@lru_cache(maxsize=4096)
def _is_harmless(name: str, value: str) -> bool:
    form = _FORMS.get(name)
    has_form = form is None or (len(value) <= _LONGEST_FORM and form.fullmatch(value) is not None)
    return has_form and not is_personal(value)


def status_shown(value: Any) -> Any:
    """A payment status; any other text there may be personal."""
    return value if value is None or value in _STATUSES else OTHER


def user_id_shown(value: object) -> str:
    """The beginning, by which an operator recognises the user; nothing of what is no mere id."""
    return _user_shown(str(value))


@lru_cache(maxsize=4096)
def _user_shown(text: str) -> str:
    is_id = text.isprintable() and not any(c in "@+" or c.isspace() for c in text) and not is_personal(text)
    return text[:_USER_ID_SHOWN] + "…" if is_id and len(text) >= _SHORTEST_USER_ID else MASKED


def _bounded(value: Any, depth: int) -> Any:
    """The value, cut where no JSON writer would follow."""
    if isinstance(value, (dict, list)) and depth > DEEPEST_REVEALED:
        return TOO_DEEP
    if isinstance(value, dict):
        return {name: _bounded(part, depth + 1) for name, part in value.items()}
    if isinstance(value, list):
        return [_bounded(part, depth + 1) for part in value]
    return value
