"""Numbers of payment cards in text, told from phone numbers, bar codes, dates and ids.

A card's number has the beginning and the length of a brand and the right check digit (Luhn), in groups that may be
separated. One random number in ten has the right check digit, so known other numbers are left alone: each such rule is
here, with its reason.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

SHORTEST = 13
LONGEST = 19
_LONGEST_PHONE = 15
"""Digits of a phone number with its country's code (E.164)."""

_APART = r"[\s._/\-]{0,3}+"
_MAY_HOLD_ONE = re.compile(rf"[0-9](?<![0-9][0-9])(?:{_APART}[0-9]){{{SHORTEST - 1}}}+")
_RUN = re.compile(rf"[0-9](?:{_APART}[0-9])*")
_GROUP = re.compile(r"[0-9]+")
_BREAK = "|"
"""In place of known other numbers; no card's number reaches over it."""

_UUID = re.compile(r"(?i)(?<![0-9a-f])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-f])")
_DATE = re.compile(
    r"(?<![0-9])(?:(?:19|20)[0-9]{2}([-./])[01][0-9]\1[0-3][0-9]|[0-3]?[0-9]([-./])[0-3]?[0-9]\2(?:19|20)[0-9]{2})(?![0-9])"
)
_IBAN = re.compile(r"(?<![0-9A-Za-z])[A-Z]{2}[0-9]{2}(?: ?[0-9A-Z]{4}){2,7}(?: ?[0-9A-Z]{1,3})?(?![0-9A-Za-z])")
_DECIMALS = re.compile(r"[0-9]+\.[0-9]+(?:\s+-?[0-9]+\.[0-9]+)+")
"""Prices, or a latitude and a longitude."""
_FRACTION = re.compile(r"(?<![0-9.])[0-9]{1,3}\.\Z")
_FOREIGN_PHONE = re.compile(r"(?:\+\(?|(?<![0-9])00[\s.\-]{0,3})\Z")
"""Before a country's code."""
_LOCAL_PHONE = re.compile(r"(?:0|91)?[6-9][0-9]{9}|0[0-9]{8,12}")
_POSTAL_CODE = (5, 6)
_FIRST_GROUP = 4
"""Digits in a card's first group; local phone numbers are written otherwise."""

_GROUPINGS = frozenset(
    {
        *((4, 4, 4, 4, *rest) for rest in ((), (1,), (2,), (3,))),
        *((4, 4, 4, last) for last in (1, 2, 3)),
        (4, 4, 5),
        (4, 6, 5),
        (4, 6, 4),
        (4, 3, 3, 3),
        (4, 5, 6),
        (6, 13),
        (4, 12),
        (12, 4),
    }
)
"""Groups of digits on cards; found also beside other numbers, as in ``exp 12/27``."""
_ORDER_ID = (3, 7, 7)
"""Groups of digits in the orders of a large marketplace."""

_ANY = frozenset(range(SHORTEST, LONGEST + 1))
_FROM_14 = frozenset(range(14, LONGEST + 1))
_FROM_16 = frozenset(range(16, LONGEST + 1))
_BRANDS = (
    (400000, 499999, frozenset({13, 16, 19})),  # Visa
    (510000, 559999, frozenset({16})),  # Mastercard
    (222100, 272099, frozenset({16})),
    (340000, 349999, frozenset({15})),  # American Express
    (370000, 379999, frozenset({15})),
    (300000, 305999, frozenset({14})),  # Diners Club
    (309500, 309599, frozenset({14})),
    (360000, 369999, _FROM_14),
    (380000, 399999, _FROM_14),
    (601100, 601199, _FROM_16),  # Discover
    (644000, 659999, _FROM_16),  # and RuPay
    (352800, 358999, _FROM_16),  # JCB, and RuPay
    (620000, 629999, _FROM_16),  # UnionPay
    (810000, 819999, _FROM_16),  # and RuPay
    (820000, 829999, frozenset({16})),  # RuPay
    (508000, 508999, frozenset({16})),
    (600000, 609999, frozenset({16})),
    (501800, 501899, _ANY),  # Maestro: what it has issued, not all that it may
    (502000, 502099, _ANY),
    (503800, 503899, _ANY),
    (561200, 561299, _ANY),
    (589300, 589399, _ANY),
    (630400, 630499, _ANY),
    (639000, 639099, _ANY),
    (670000, 679999, _ANY),
)
_BY_BEGINNING = {
    f"{two:02}": tuple(brand for brand in _BRANDS if brand[0] // 10_000 <= two <= brand[1] // 10_000)
    for two in range(100)
}
_ZERO = ord("0")
_DOUBLED = bytes(_ZERO) + bytes([0, 2, 4, 6, 8, 1, 3, 5, 7, 9]) + bytes(256 - _ZERO - 10)
_USUAL = (
    "visa mastercard mc maestro amex rupay diners discover jcb unionpay card cards cardno cc pan no nr number "
    "exp expires valid cvv cvc"
)
_CARD_WORDS = frozenset(_USUAL.split())
"""Letters right beside a number make it part of an id, but not these."""
_LETTERS_BEFORE = re.compile(r"[A-Za-z]+\Z")
_LETTERS_AFTER = re.compile(r"[A-Za-z]+")
_LONGEST_CARD_WORD = max(map(len, _CARD_WORDS))

_DOTS = frozenset("·•∙⋅․‧。・")


def holds_card_number(text: str, *, bar_codes: bool = False, phones: bool = False) -> bool:
    """Whether text holds a card's number; ``bar_codes`` and ``phones`` are the field's own purpose.

    Then a number of 13 or 14 digits with the check digit of an EAN or GTIN is a bar code, and one of up to 15 digits a
    phone number. Both can have a card's form by chance.
    """
    if not may_hold_card_number(text):
        return False
    return any(
        not (bar_codes and _is_bar_code(digits)) and not (phones and len(digits) <= _LONGEST_PHONE)
        for digits in _card_numbers(text if text.isascii() else _as_ascii(text))
    )


def may_hold_card_number(text: str) -> bool:
    """A quick check: false where text certainly holds no card's number."""
    if len(text) < SHORTEST:
        return False
    if not text.isascii():
        text = _as_ascii(text)
    elif text.isdigit():  # a bar code, mostly
        return is_card_number(text)
    return _MAY_HOLD_ONE.search(text) is not None


def _as_ascii(text: str) -> str:
    """The text with all scripts' digits, dashes and spaces in ASCII, and without invisible characters."""
    if sum(map(str.isdigit, text)) < SHORTEST:
        return ""
    return "".join(
        character if character.isascii() else _plain(character) for character in unicodedata.normalize("NFKC", text)
    )


@cache  # no larger than Unicode
def _plain(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category in {"Zs", "Zl", "Zp", "Cc"}:
        return " "
    if category == "Pd" or character == "−":
        return "-"
    if character in _DOTS:
        return "."
    return "" if category in {"Cf", "Mn", "Me"} else character


def _card_numbers(text: str) -> Iterator[str]:
    """The digits of everything that has the form of a card's number."""
    text = _DATE.sub(_BREAK, _UUID.sub(_BREAK, text))
    text = _IBAN.sub(lambda match: _BREAK if _is_iban(match[0]) else match[0], text)
    for run in _RUN.finditer(text):
        groups = [(group.start(), group.end()) for group in _GROUP.finditer(text, run.start(), run.end())]
        for first, last in _windows(tuple(end - start for start, end in groups)):
            start, end = groups[first][0], groups[last][1]
            digits = "".join(text[a:b] for a, b in groups[first : last + 1])
            sizes = tuple(b - a for a, b in groups[first : last + 1])
            if is_card_number(digits) and not _is_something_else(text, start, end, digits, sizes):
                yield digits


def _windows(sizes: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """The groups to judge together: all of them, and any that are grouped as cards are."""
    last = len(sizes) - 1
    if sum(sizes) <= LONGEST:
        yield 0, last
    for first, size in enumerate(sizes):
        if SHORTEST <= size <= LONGEST:
            yield first, first
        for length in (2, 3, 4, 5):
            if sizes[first : first + length] in _GROUPINGS and first + length <= len(sizes):
                yield first, first + length - 1


def is_card_number(digits: str) -> bool:
    """Whether digits have the beginning and the length of a brand, and the right check digit."""
    if not SHORTEST <= len(digits) <= LONGEST:
        return False
    beginning = int(digits[:6])
    for low, high, lengths in _BY_BEGINNING[digits[:2]]:
        if low <= beginning <= high and len(digits) in lengths:
            return _has_check_digit(digits.encode())
    return False


def _has_check_digit(digits: bytes) -> bool:
    plain = digits[-1::-2]
    return (sum(plain) - _ZERO * len(plain) + sum(digits[-2::-2].translate(_DOUBLED))) % 10 == 0


def _is_something_else(text: str, start: int, end: int, digits: str, sizes: tuple[int, ...]) -> bool:
    """Whether the digits at a place in the text are known to be no card's number."""
    before, after = text[max(0, start - _LONGEST_CARD_WORD - 4) : start], text[end : end + _LONGEST_CARD_WORD + 1]
    if _belongs_to_a_word(before, after):
        return True
    usual = len(sizes) == 1 or sizes in _GROUPINGS
    if _FOREIGN_PHONE.search(before) and (len(digits) <= _LONGEST_PHONE or not usual):
        return True
    if len(sizes) == 1:
        return _FRACTION.search(before) is not None
    return not usual and (
        sizes == _ORDER_ID or _DECIMALS.fullmatch(text, start, end) is not None or _is_place_and_phone(digits, sizes)
    )


def _belongs_to_a_word(before: str, after: str) -> bool:
    """``ORD4111…`` and a digest are ids; ``Visa4111…`` and ``4111…exp`` are not."""
    words = [match[0].lower() for match in (_LETTERS_BEFORE.search(before), _LETTERS_AFTER.match(after)) if match]
    return any(word not in _CARD_WORDS for word in words)


def _is_place_and_phone(digits: str, sizes: tuple[int, ...]) -> bool:
    """Whether it is a postal code beside a local phone number, as in addresses."""
    first, last = sizes[0], sizes[-1]
    if first in _POSTAL_CODE and _LOCAL_PHONE.fullmatch(digits, first):
        return True
    rest = len(digits) - last
    ends_with_code = last in _POSTAL_CODE and digits[rest] != "0" and first != _FIRST_GROUP
    return ends_with_code and _LOCAL_PHONE.fullmatch(digits, 0, rest) is not None


def _is_iban(text: str) -> bool:
    compact = text.replace(" ", "")
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


def _is_bar_code(digits: str) -> bool:
    """Whether it is an EAN-13 or a GTIN-14 by its check digit; the shorter ones are too short for a card."""
    if len(digits) not in {13, 14}:
        return False
    weighted = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return weighted % 10 == 0
