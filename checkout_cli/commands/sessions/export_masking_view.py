"""Fast masking of session JSON: field by field, a million sessions take half a minute.

A session of exactly the shop's shape is decoded into it, and its personal fields are replaced. Any other, and one with
something personal in a field that should have none, is masked field by field. The answer is the same.
"""

from __future__ import annotations

import re
from operator import attrgetter
from typing import Any, Union

import msgspec
from msgspec import UNSET, UnsetType

from checkout_cli.privacy.personal_ids import is_personal
from checkout_cli.session import decode
from checkout_cli.terminal.masking import (
    FORMS,
    ITEM_KINDS,
    MASKED,
    NUMBER,
    SESSION_KINDS,
    fields_shown,
    is_plain,
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
_FORMED = tuple(name for name in _TEXTS if name in FORMS)
_texts, _formed = attrgetter(*_TEXTS), attrgetter(*_FORMED)
_ADDRESS_IN_JSON = re.compile(rb"@|%|&|\(at\)|\[at\]|\xef[\xb9\xbc\xbd]", re.IGNORECASE)
"""What every address has in it, however it is spelled; an odd product has it too, and goes the slow way for nothing."""
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
    return _slowly(body) if _ADDRESS_IN_JSON.search(shown) else shown


def _is_plain(session: Any) -> bool:
    """Whether the texts are of the forms that they have, and none is personal."""
    for name, text in zip(_FORMED, _formed(session), strict=True):
        if type(text) is str and not is_plain(name, text):
            return False
    return not is_personal("\n".join([text for text in _texts(session) if type(text) is str]))


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
