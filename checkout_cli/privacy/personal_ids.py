"""Ids and names that are somebody's e-mail address or phone number: a shop may use them, nobody may see them.

An ``@`` is enough for an address, also percent-encoded or spelled for HTML. Digits are a phone number where they are
written or numbered like one; an order number such as ``100023``, a UUID and a moment are none. Digits alone, which
could be either, are taken for a phone number where an id begins with them, and they have the form of a mobile number.
"""

from __future__ import annotations

import re
from collections.abc import Collection

HIDDEN = "********"
"""In place of what nobody may see; it tells neither length nor kind."""

_ID_SHOWN = 8
_MOST_ENCODINGS = 3
"""How often an id may have been percent-encoded; every gateway on the way may do it once more."""

_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
_WIDE = {0xFEE0 + code: code for code in range(0x21, 0x7F)} | {0xFE6B: 0x40}
"""Full-width forms, which look like ASCII and are read as such."""
_AT = re.compile(r"@|&(?:#64|#[xX]40|commat);|[(\[]at[)\]]", re.IGNORECASE)

_GAP = r"[ ()./+-]"
_PHONE = re.compile(
    rf"""
      \+{_GAP}?[1-9] (?:{_GAP}{{0,2}}[0-9]){{6,14}} (?![0-9])     # +49 151 5550199
    | (?<![0-9A-Za-z.]) (?:
        00[1-9] (?:{_GAP}{{0,2}}[0-9]){{8,13}}                    # 0049 151 5550199
      | 0[1-9][0-9]{{7,10}}                                       # 01515550199
      | \(?0[1-9][0-9]{{1,4}}\)? {_GAP}{{1,2}} [0-9] (?:{_GAP}?[0-9]){{4,8}}     # (0151) 555 01 99
      | (?:1[ .-]?)? \(?[2-9][0-9]{{2}}\)? [ .-]{{1,2}} [0-9]{{3}} [ .-] [0-9]{{4}}     # (555) 123-4567
      | (?:tel|tele?phone|phone|mobile|cell|msisdn|whatsapp|wa|sms|fax) [:=_./#-]* \+? [0-9] (?:{_GAP}?[0-9]){{6,14}}
      ) (?![0-9A-Za-z])
    | (?<![^:\n])(?<![0-9]:) (?:
        (?:91)?[6-9][0-9]{{9}}                                    # a mobile number of the shop's country, first
      | 1[2-9][0-9]{{9}} | 491[5-7][0-9]{{8,9}} | 447[0-9]{{9}}
      ) (?![0-9A-Za-z])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_LONG_NUMBER = re.compile(r"[0-9]{7}")

_IN_TEXT = re.compile(
    r"(?<![\w/.%+-])[\w.%+-]+(?:@|%(?:25)*40)[\w-]+(?:\.[\w-]+)*\.[^\W\d][\w-]+"
    r"|(?<!\w)\+[1-9](?:[ ()./-]{0,2}[0-9]){7,14}(?![\d:])"
)
"""An address or an international number in a sentence; not in a URL, where a server's user stands before its host."""


def is_address(text: str) -> bool:
    """Whether a text holds something like an e-mail address."""
    return _AT.search(_plain(text)) is not None


def is_personal(text: str) -> bool:
    """Whether an id, a key or a name is or holds an e-mail address or a phone number."""
    if _UUID.fullmatch(text):  # as nearly every session's
        return False
    plain = _plain(text)
    return _AT.search(plain) is not None or _PHONE.search(plain) is not None


def is_personal_name(name: str) -> bool:
    """The same of a field's name, which has no long number for any other reason."""
    return is_personal(name) or _LONG_NUMBER.search(name) is not None


def is_program_name(name: str) -> bool:
    """Whether a field's name is one that a program gives: an identifier, no long number in it, and no ``Name``."""
    if _IDENTIFIER.fullmatch(name) is None or is_personal_name(name):
        return False
    return not name[0].isupper() or name.isupper()


def holds_personal(text: str) -> bool:
    """Whether an address or an international number stands anywhere in a text."""
    return _IN_TEXT.search(text) is not None


def _plain(text: str) -> str:
    if not text.isascii():
        text = text.translate(_WIDE)
    for _ in range(_MOST_ENCODINGS):
        if "%" not in text:
            break
        text = _ENCODED.sub(lambda found: chr(int(found[1], 16)), text)
    return text


def named(text: str) -> str:
    """An id in a message or a list; hidden where it is personal."""
    return HIDDEN if is_personal(text) else text


def id_beginning(checkout_id: str) -> str:
    """The beginning of an id for a log: whoever knows the whole of it can use the session."""
    return HIDDEN if is_personal(checkout_id) else f"{checkout_id[:_ID_SHOWN]}…"


def without_personal(text: str, allowed: Collection[str] = ()) -> str:
    """A sentence without addresses and international numbers, but for those in ``allowed`` words.

    Ids are hidden where a message is made; this is for what servers and drivers repeat in theirs.
    """
    if "@" not in text and "%" not in text and "+" not in text:
        return text
    return _IN_TEXT.sub(lambda found: found[0] if any(found[0] in word for word in allowed) else HIDDEN, text)
