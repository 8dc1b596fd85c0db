"""No card data: fields named like it, and numbers of cards in any text, are refused before anything is stored.

A shop that pays through a provider never needs them, and whoever stores them answers for it (PCI DSS 3.3 and 3.5). A
refused field is named by its path; its content is never repeated. Card data that is split over several fields or items
of a list is not seen.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from checkout_cli.errors import CardDataRefused
from checkout_cli.privacy.card_numbers import SHORTEST, holds_card_number, may_hold_card_number
from checkout_cli.privacy.personal_ids import HIDDEN, is_personal_name

_DEEPEST = 64
"""Deeper than any session may be, which is refused for that."""
_LONGEST_NAME = 64
"""Characters of a name that are judged."""
_LONGEST_PATH = 100
_MOST_NAMES = 100
"""Names of an object that are worth caching."""
_LARGEST_SHORT = 10 ** (SHORTEST - 1)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_ALWAYS = _set(
    "cvv cvc csc cvn cav magstripe cardnumber cardno cardnum ccnumber ccnum ccno ccexp creditcardnumber creditcardno "
    "debitcardnumber cardexpiry cardexp cardcvv cardcvc cardcode cardpin pinblock cardsecuritycode securitycode "
    "cardverificationvalue cardverificationcode primaryaccountnumber trackdata"
)
"""Words that are card data wherever they stand in a name."""
_PHRASES = (
    ("security", "code"),
    ("track", "data"),
    ("pin", "block"),
    ("mag", "stripe"),
    ("magnetic", "stripe"),
    ("primary", "account"),
    *((expiry, part) for expiry in ("exp", "expiry", "expiration") for part in ("month", "year")),
)
"""The same for successive words; other things expire on a date."""
_OF_A_CARD = _set(
    "number numbers no num nr expiry exp expires expire expiration valid pin code security verification track pan"
)
"""Card data right after ``card`` or ``cc``, in one name or in an object of that name."""
_CARDS = frozenset({"card", "cards", "cc"})
_OTHER_CARDS = _set(
    "gift loyalty member membership discount bonus reward rewards points store greeting club id identity sim "
    "library voucher"
)
"""Cards that are no payment cards."""
_NUMBER_WORDS = _set("number no num nr value")
_HARMLESS = _set(
    "masked truncated last last4 token tokenized check checked result verified status brand type required present "
    "provided supplied count accepted"
)
"""In names of harmless data: the last four digits, a provider's token, the outcome of a check."""
_FILLERS = frozenset({"details", "detail", "info", "information", "data"})
_PRODUCT = _set("product products barcode barcodes ean eans upc upcs gtin gtins isbn sku skus article articles plu")
_ITEM = frozenset({"item", "items", "line", "lines"})
_ITEM_CODE = frozenset({"id", "code", "number"})
_PHONE = _set("phone phones mobile tel telephone fax whatsapp msisdn cell cellphone landline")


def refuse_card_data(fields: Mapping[str, Any]) -> None:
    """Raise ``CardDataRefused`` with the path of the first field that holds card data, at any depth."""
    found = None if _is_clean(fields, "", 0) else _in_object(fields, "", 0)
    if found is not None:
        path, what = found
        path = path.removeprefix(".")
        raise CardDataRefused(path if len(path) <= _LONGEST_PATH else path[:_LONGEST_PATH] + "…", what)


def without_card_number(text: str) -> str:
    """The text for a message; hidden where it holds a card's number."""
    return HIDDEN if holds_card_number(text) else text


# The quick check, which nearly every session passes in about 10 microseconds; the thorough one judges the others


def _is_clean(fields: Mapping[str, Any], name: str, depth: int) -> bool:
    if len(fields) > _MOST_NAMES or depth > _DEEPEST or not _are_clean(name, tuple(fields)):
        return False
    return _are_values_clean(fields.items(), depth)


def _are_values_clean(values: Iterable[tuple[str, Any]], depth: int) -> bool:
    for name, value in values:
        kind = type(value)
        if kind is str:
            clean = len(value) < SHORTEST or not may_hold_card_number(value)
        elif kind is float or kind is int:
            clean = -_LARGEST_SHORT < value < _LARGEST_SHORT
        elif kind is dict:
            clean = _is_clean(value, name, depth + 1)
        elif kind is list:
            clean = depth <= _DEEPEST and _are_values_clean([(name, inner) for inner in value], depth + 1)
        else:
            clean = value is None or kind is bool
        if not clean:
            return False
    return True


@lru_cache(maxsize=1024)
def _are_clean(outer: str, names: tuple[Any, ...]) -> bool:
    """Whether an object has ordinary names; a shop's objects have the same ones again and again."""
    return all(
        isinstance(name, str)
        and len(name) <= _LONGEST_NAME
        and not may_hold_card_number(name)
        and not _nature(outer, name).forbidden
        for name in names
    )


# The thorough check


Found = tuple[str, str]
"""A path, with a dot before it, and what it leads to."""
_BY_NAME = "a field for card data"
_BY_VALUE = "a card number"
_IN_NAME = "a card number as a field name"


def _in_object(fields: Mapping[Any, Any], outer: str, depth: int) -> Found | None:
    for name, value in fields.items():
        if not isinstance(name, str):
            continue  # refused as no JSON
        nature = _nature(outer, name) if len(name) <= _LONGEST_NAME else _nature("", outer)
        if nature.forbidden and _is_something(value):
            return f".{_shown(name)}", _BY_NAME
        if len(name) >= SHORTEST and holds_card_number(name, bar_codes=_nature("", outer).product):
            return f".{HIDDEN}", _IN_NAME
        found = _in_value(value, name, nature, depth)
        if found is not None:
            return f".{_shown(name)}{found[0]}", found[1]
    return None


def _shown(name: str) -> str:
    """A field's name in a path: some programs key objects by e-mail address or phone."""
    return HIDDEN if is_personal_name(name) else name


def _in_value(value: Any, name: str, nature: Nature, depth: int) -> Found | None:
    kind = type(value)
    if kind is str:
        bad = len(value) >= SHORTEST and holds_card_number(value, bar_codes=nature.product, phones=nature.phone)
        return ("", _BY_VALUE) if bad else None
    if kind is float or kind is int:
        return ("", _BY_VALUE) if _is_card_like(value, nature) else None
    if value is None or kind is bool or depth >= _DEEPEST:
        return None
    if isinstance(value, Mapping):
        return _in_object(value, name, depth + 1)
    if isinstance(value, (list, tuple)):
        for position, inner in enumerate(value):
            found = _in_value(inner, name, nature, depth + 1)
            if found is not None:
                return f"[{position}]{found[0]}", found[1]
        return None
    if isinstance(value, str):  # an enumeration's member, say
        return _in_value(str(value), name, nature, depth)
    return ("", _BY_VALUE) if isinstance(value, (int, float)) and _is_card_like(value, nature) else None


def _is_card_like(number: float, nature: Nature) -> bool:
    """Whether a JSON number, also one written as ``4.2e15``, is an integer like a card's number."""
    if -_LARGEST_SHORT < number < _LARGEST_SHORT or number % 1 != 0:  # NaN and infinity too: not equal to 0
        return False
    return holds_card_number(str(abs(int(number))), bar_codes=nature.product, phones=nature.phone)


def _is_something(value: Any) -> bool:
    """Whether the field holds data: emptying a card field of another program's session must be possible."""
    return not (value is None or isinstance(value, bool) or value in ("", [], {}, ()))


class Nature(NamedTuple):
    """The meaning of a field's name."""

    forbidden: bool
    product: bool
    phone: bool


@lru_cache(maxsize=4096)
def _nature(outer: str, name: str) -> Nature:
    """The purpose of a field, by the words of its name and of the name of its object."""
    own, around = _words(name), _words(outer)
    everything = {*own, *around}
    item = not _ITEM.isdisjoint(everything) and not _ITEM_CODE.isdisjoint(own)
    return Nature(
        forbidden=_is_forbidden(own, around),
        product=item or not _PRODUCT.isdisjoint(everything) or _follows(own, "bar", "code", "codes"),
        phone=not _PHONE.isdisjoint(everything),
    )


def _words(name: str) -> list[str]:
    """``cardNumber``, ``card_number`` and ``card-number`` alike as ``card``, ``number``."""
    plain = name if name.isascii() else unicodedata.normalize("NFKC", name)
    return [word.lower() for word in _WORD.findall(plain[:_LONGEST_NAME])]


def _is_forbidden(own: list[str], around: list[str]) -> bool:
    if not own or not _HARMLESS.isdisjoint(own):
        return False
    while around and around[-1] in _FILLERS:
        around = around[:-1]
    if not _ALWAYS.isdisjoint(own) or any(_follows(own, *phrase) for phrase in _PHRASES):
        return True
    if own[0] == "track" and all(word.isdigit() or word in {"data", "equivalent"} for word in own[1:]):
        return True
    if "pan" in own and all(word in _NUMBER_WORDS for word in own[own.index("pan") + 1 :]):
        return True
    return _is_of_a_card([*around[-2:], *own], first=len(around[-2:]))


def _is_of_a_card(words: list[str], first: int) -> bool:
    """``card number``, but not ``gift card number``; the second word is the field's own."""
    return any(
        word in _CARDS
        and words[place + 1] in _OF_A_CARD
        and place + 1 >= first
        and (place == 0 or words[place - 1] not in _OTHER_CARDS)
        for place, word in enumerate(words[:-1])
    )


def _follows(words: list[str], one: str, *others: str) -> bool:
    return any(before == one and after in others for before, after in itertools.pairwise(words))
