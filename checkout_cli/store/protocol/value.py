"""A session's value in Redis (rules 1 and 3): our header as its first member, then the shop's own fields.

``{"_store":"BASE FLAG IDENTITY CHECK IDS" ,…}``: BASE is the version of the row that the value grew from (0: none).
FLAG is ``-``, or ``?`` for a questionable value. IDENTITY is the server that it was published to. CHECK covers all of
these and every byte after the header. IDS are the writes that only Redis has; a clean value has none. The blank before
the comma is deliberate: no JSON serialiser writes it, so a value that another program has read and written back shows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from checkout_cli.errors import SessionCorrupt
from checkout_cli.session import STORE_FIELD, is_session, without_header
from checkout_cli.store.protocol.ids import MOST_IDS, writes

NO_IDENTITY = b"-"
"""Stands in the header where the server does not tell who it is; never equal to an identity."""

_NUMBER = rb"(?:0|[1-9][0-9]{0,17})"
"""Each number in one way only: what is ours is ours byte for byte."""
_IDENTITY, _CHECK = rb'[^ "\\]{1,160}', rb"[0-9a-f]{16}"
_ID = rb"(?:[0-9A-Za-z]{1,53}-[1-9][0-9]{0,9}|[fr]-[0-9a-f]{40})"
"""A header may claim anything, but no version that a database cannot hold."""
_FIELDS = rb"(%b) ([-?]) (%b) (%b)(?: (%b(?:,%b){0,%d}))?" % (_NUMBER, _IDENTITY, _CHECK, _ID, _ID, MOST_IDS - 1)
_NAME = STORE_FIELD.encode()
_BEGINNING = re.compile(rb'\{"%b":"%b" ([,}])' % (_NAME, _FIELDS))
_MEMBER = re.compile(_FIELDS)


class Kind(StrEnum):
    """Who wrote a value last."""

    OURS = "ours"
    TAMPERED = "tampered"
    """An external writer kept our header, and has changed something, or only written it back."""
    UNSTAMPED = "unstamped"
    """An external writer wrote it without our header."""
    UNREADABLE = "unreadable"
    """An external writer wrote it, and it is no JSON object."""


class Value(msgspec.Struct, frozen=True):
    """The value at a session's key. ``body`` is the session's JSON without our header.

    ``base`` and ``ids`` of a tampered value are those of its header; of any other external one 0 and none.
    """

    base: int
    identity: bytes
    body: bytes
    ids: tuple[str, ...] = ()
    questionable: bool = False
    kind: Kind = Kind.OURS

    @property
    def version(self) -> int:
        """The version that callers see: the row's, plus one for each write that the database lacks."""
        return self.base + writes(self.ids)

    @property
    def is_external(self) -> bool:
        """Whether an external writer wrote it last."""
        return self.kind is not Kind.OURS

    @property
    def is_dirty(self) -> bool:
        """Whether it holds writes of ours that the database may lack."""
        return bool(self.ids)


def encode(
    base: int, identity: bytes | None, body: bytes, ids: Sequence[str] = (), *, questionable: bool = False
) -> bytes:
    """The bytes of a value of ours."""
    before = b'{"%b":"%d %b %b ' % (_NAME, base, b"?" if questionable else b"-", identity or NO_IDENTITY)
    following = body[1:]
    behind = b"," + following if following.lstrip()[:1] != b"}" else b"}"
    after = b'%b" %b' % (b" " + ",".join(ids).encode() if ids else b"", behind)
    return b"".join((before, _check(before, after), after))


def encode_value(value: Value) -> bytes:
    """The bytes of a value of ours."""
    return encode(value.base, value.identity, value.body, value.ids, questionable=value.questionable)


def decode(raw: bytes) -> Value:
    """The value that bytes in Redis are."""
    header = _BEGINNING.match(raw)
    if header is None:
        return _external(raw)
    base, flag, identity, check, names, behind = header.groups()
    start, end = header.span(4)
    if _check(raw[:start], raw[end:]) != check:
        return _external(raw)
    body = b"{" + raw[header.end() :] if behind == b"," else b"{}"
    if names is None and flag == b"-":  # nearly every value that is read
        return Value(int(base), identity, body)
    ids = () if names is None else tuple(names.decode().split(","))
    return Value(int(base), identity, body, ids, flag == b"?")


def looks_like_ours(beginning: bytes) -> bool:
    """Whether the first bytes of a value are a whole header of ours."""
    return _BEGINNING.match(beginning) is not None


def _external(raw: bytes) -> Value:
    """A value of another writer: our header may be anywhere in it, or gone."""
    if not is_session(raw):
        return Value(0, NO_IDENTITY, raw, kind=Kind.UNREADABLE)
    try:
        body, member = without_header(raw)
    except SessionCorrupt:
        return Value(0, NO_IDENTITY, raw, kind=Kind.UNREADABLE)
    header = None if member is None else _MEMBER.fullmatch(member.encode())
    if header is None:
        return Value(0, NO_IDENTITY, body, kind=Kind.UNSTAMPED)
    ids = tuple(header[5].decode().split(",")) if header[5] else ()
    return Value(int(header[1]), header[3], body, ids, header[2] == b"?", Kind.TAMPERED)


def digest_of(raw: bytes) -> str:
    """The hash by which an external writer's exact bytes are known."""
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()


def _check(before: bytes, after: bytes) -> bytes:
    digest = hashlib.sha1(before, usedforsecurity=False)
    digest.update(after)
    return digest.hexdigest()[:16].encode()
