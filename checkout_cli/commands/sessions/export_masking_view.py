"""Fast masking of session JSON: field by field, a million sessions take half a minute.

A session of exactly the shop's shape is decoded into it, and its personal fields are replaced. Any other, and one with
something personal in a field that should have none, is masked field by field. The answer is the same.
"""

from __future__ import annotations

import re
from functools import lru_cache
from operator import attrgetter
from typing import Any, Union

import msgspec
from msgspec import UNSET, UnsetType

from checkout_cli.session import decode
from checkout_cli.terminal.masking import (
    ITEM_KINDS,
    MASKED,
    NUMBER,
    SESSION_KINDS,
    fields_shown,
    is_harmless,
    status_shown,
    user_id_shown,
)

_ELLIPSIS = "…".encode()
_Number = Union[int, float, bool, None, UnsetType]  # noqa: UP007  (it is made at run time)
_Text = Union[str, int, float, bool, None, UnsetType]  # noqa: UP007

_PERSONAL = ("userEmail", "addressText", "selectedAddressId", "notes", "contactInfo")
_CONTACT = ("name", "phone", "alternatePhone")


def _shape(name: str, *fields: tuple[str, Any, Any]) -> type[msgspec.Struct]:
    return msgspec.defstruct(name, fields, forbid_unknown_fields=True)


def _known(kinds: Any) -> list[tuple[str, Any, Any]]:
    return [(name, _Number if kind == NUMBER else _Text, UNSET) for name, kind in kinds.items()]


def _hidden(names: tuple[str, ...]) -> list[tuple[str, Any, Any]]:
    return [(name, _Text, UNSET) for name in names]


_Item = _shape("Item", *_known(ITEM_KINDS))
_Contact = _shape("Contact", *_hidden(_CONTACT))
_Usual = _shape(
    "Usual",
    *_known(SESSION_KINDS),
    *_hidden(_PERSONAL[:-1]),
    ("items", list[_Item] | UnsetType, UNSET),  # type: ignore[valid-type]
    ("contactInfo", _Contact | UnsetType, UNSET),
    ("userId", str | UnsetType, UNSET),
)
_TEXTS = tuple(name for name, kind in SESSION_KINDS.items() if kind != NUMBER and name != "paymentStatus")
_UNIQUE = tuple(name for name in _TEXTS if name in {"checkoutId", "databaseOrderId", "createdAt", "expiresAt"})
_USUAL = tuple(name for name in _TEXTS if name not in _UNIQUE)
"""Fields whose texts are the same in many sessions, so that they are judged once."""
_unique, _usual_texts = attrgetter(*_UNIQUE), attrgetter(*_USUAL)
_RARE = (b"@", b"%", b"&", b"(", b"\xef", b"[a", b"[A")
"""One of them is in every address, however it is spelled, and none in most sessions."""
_ADDRESS = re.compile(rb"[@\xef]|%[24]|&[#cC]|[(\[][aA][tT][)\]]")
_personal, _of_contact = attrgetter(*_PERSONAL), attrgetter(*_CONTACT)
_usual = msgspec.json.Decoder(_Usual)
_encode = msgspec.json.Encoder().encode


def body_shown(body: bytes) -> bytes:
    try:
        session: Any = _usual.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _slowly(body)
    if not _is_plain(session):
        return _slowly(body)
    email, address, chosen, notes, contact = _personal(session)
    if email is not UNSET and email is not None:
        session.userEmail = MASKED
    if address is not UNSET and address is not None:
        session.addressText = MASKED
    if chosen is not UNSET and chosen is not None:
        session.selectedAddressId = MASKED
    if notes is not UNSET and notes is not None:
        session.notes = MASKED
    if contact is not UNSET:
        _hide(contact)
    if session.paymentStatus is not UNSET:
        session.paymentStatus = status_shown(session.paymentStatus)
    if session.userId is not UNSET:
        session.userId = user_id_shown(session.userId)
    shown = _encode(session).replace(_ELLIPSIS, b"\\u2026")  # ASCII, as most of what there is
    if any([each in shown for each in _RARE]) and _ADDRESS.search(shown):  # noqa: C419  (a generator takes longer)
        return _slowly(body)
    return shown


@lru_cache(maxsize=4096)
def _are_harmless(names: tuple[str, ...], texts: tuple[Any, ...]) -> bool:
    return all(not isinstance(text, str) or is_harmless(name, text) for name, text in zip(names, texts, strict=True))


def _is_plain(session: Any) -> bool:
    """Whether the texts of a session, apart from its items', may be shown."""
    for name, text in zip(_UNIQUE, _unique(session), strict=True):
        if text.__class__ is str and not is_harmless(name, text):
            return False
    return _are_harmless(_USUAL, _usual_texts(session))


def _hide(contact: Any) -> None:
    name, phone, alternate = _of_contact(contact)
    if name is not UNSET and name is not None:
        contact.name = MASKED
    if phone is not UNSET and phone is not None:
        contact.phone = MASKED
    if alternate is not UNSET and alternate is not None:
        contact.alternatePhone = MASKED


def _slowly(body: bytes) -> bytes:
    return _encode(fields_shown(decode(body)))
