"""A checkout session: its JSON, its payment status, and the rules for both that all tiers and commands share.

A session's *body* is its JSON object as UTF-8 bytes, without the store's own header. Bodies are changed field by field
on the raw bytes (:func:`with_changes`), so that unknown fields survive untouched, to the last digit of a price.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from types import NoneType
from typing import Any, TypeVar

import msgspec

from checkout_cli import lone_surrogates
from checkout_cli.errors import InvalidInput, SessionCorrupt, TransitionRefused
from checkout_cli.privacy.card_data import without_card_number
from checkout_cli.privacy.personal_ids import HIDDEN, is_personal_name

MAX_BODY_BYTES = 256 * 1024
"""The largest session that we write; a shop's session has about 1 kB."""
MAX_DEPTH = 32
LONGEST_MOMENT = 64
"""Characters of a text that can be a moment."""
LARGEST_INTEGER = 2**53 - 1
"""Beyond it, programs that hold JSON numbers as doubles (the shop's own) would change the value."""

_T = TypeVar("_T")
_SHOWN_PATH = 100
_MAX_DIGITS = 40
_JSON_KINDS = {NoneType: "null", bool: "boolean", int: "number", float: "number", str: "string", list: "array"}

STORE_FIELD = "_store"
"""The store's own field in a session's JSON, its header; callers cannot set it."""


class TierName(StrEnum):
    """Where a session can live, in the order of the fallback."""

    REDIS = "redis"
    DATABASE = "database"
    MEMORY = "memory"


class Durability(StrEnum):
    """What an acknowledged write survives, the most durable first (ARCHITECTURE.md)."""

    DATABASE = "database"
    REDIS = "redis"
    MEMORY = "memory"


class PaymentStatus(StrEnum):
    """The payment statuses of the shop."""

    PENDING = "pending"
    PROCESSING = "processing"
    PAID = "paid"
    FAILED = "failed"
    CANCELLED = "cancelled"


_STATUSES = tuple(PaymentStatus)
"""A tuple, because a foreign status can be a list, which no set can be asked for."""

_NEXT: Mapping[PaymentStatus, frozenset[PaymentStatus]] = {
    PaymentStatus.PENDING: frozenset(PaymentStatus),
    PaymentStatus.PROCESSING: frozenset(PaymentStatus),
    PaymentStatus.FAILED: frozenset(PaymentStatus),
    PaymentStatus.PAID: frozenset({PaymentStatus.PAID}),
    PaymentStatus.CANCELLED: frozenset({PaymentStatus.CANCELLED}),
}
"""Money that was taken stays taken, and a cancelled checkout stays cancelled; a failed payment may be tried again."""

FINAL_STATUSES = tuple(status for status in PaymentStatus if _NEXT[status] <= {status})
"""Statuses that nothing follows."""


def at_least(durability: Durability, required: Durability) -> bool:
    """Whether ``durability`` survives everything that ``required`` does."""
    strongest_first = list(Durability)
    return strongest_first.index(durability) <= strongest_first.index(required)


class Session(msgspec.Struct, frozen=True):
    """One checkout session as it was read.

    ``version`` is 0 for an external writer's session that the database lacks. ``verified`` is false where the tier that
    answered could not be checked against the database. ``dirty`` counts its writes that the database may lack;
    ``external`` marks an external writer's version that no process of ours has taken in yet.
    """

    checkout_id: str
    fields: dict[str, Any]
    version: int
    tier: TierName
    verified: bool = True
    dirty: int = 0
    external: bool = False

    @property
    def status(self) -> str:
        """The stored payment status, which for a foreign session may be any text."""
        return str(self.fields.get("paymentStatus") or PaymentStatus.PENDING)

    @property
    def items(self) -> list[dict[str, Any]]:
        """The items that are objects; anything else in the list is skipped."""
        items = self.fields.get("items")
        return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []

    @property
    def total(self) -> float | None:
        """The total amount, or ``None`` where it is no number, or none that programs write alike: sums stay finite."""
        total = self.fields.get("totalAmount")
        if not isinstance(total, (int, float)) or isinstance(total, bool):
            return None
        return total if abs(total) <= LARGEST_INTEGER else None

    @property
    def user_id(self) -> str | None:
        user_id = self.fields.get("userId")
        return None if user_id is None else str(user_id)

    @property
    def created_at(self) -> int | None:
        """Milliseconds since the epoch, or ``None`` where it cannot be read."""
        return milliseconds_of(self.fields.get("createdAt"))


class Acknowledgement(msgspec.Struct, frozen=True):
    """The store's answer to an accepted write; ``published``: Redis has this version already (README, G2 and G3)."""

    session: Session
    durability: Durability
    published: bool


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
_LATEST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


def iso(milliseconds: int) -> str:
    """Milliseconds since the epoch as the shop writes them, ``2024-01-15T10:30:00.000Z``, in the years 1 to 9999."""
    second, rest = divmod(min(max(milliseconds, _EARLIEST), _LATEST), 1000)
    return f"{_iso_second(second)}.{rest:03d}Z"


@lru_cache(maxsize=64)  # the moments of all sessions that are used now
def _iso_second(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).isoformat(timespec="seconds").removesuffix("+00:00")


def milliseconds_of(moment: object) -> int | None:
    """The reverse of :func:`iso`; ``None`` for anything that is no moment."""
    return _milliseconds_of(moment) if isinstance(moment, str) and len(moment) <= LONGEST_MOMENT else None


@lru_cache(maxsize=4096)  # a moment of creation never changes, and each read of the session asks for it
def _milliseconds_of(moment: str) -> int | None:
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return None
    # In integers: through a float, one millisecond in a hundred would be the one before.
    return ((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)) - _EPOCH) // timedelta(milliseconds=1)


def is_completed(fields: Mapping[str, Any]) -> bool:
    """Whether an order id was set, or the payment became ``paid``."""
    return bool(fields.get("databaseOrderId")) or fields.get("paymentStatus") == PaymentStatus.PAID


def may_follow(before: object, after: object) -> bool:
    """Whether a payment status may replace ``before``, whoever wrote either of them.

    A missing one (``None``) counts as pending, and every status may stay. A foreign status may give way to one of the
    shop's, and never follows one.
    """
    before = PaymentStatus.PENDING if before is None else before
    after = PaymentStatus.PENDING if after is None else after
    if before == after:
        return True
    if after not in _STATUSES:
        return False
    return before not in _STATUSES or PaymentStatus(str(after)) in _NEXT[PaymentStatus(str(before))]


def transitions() -> list[tuple[str, str]]:
    """Each payment status with those that may follow it, in words."""
    following = {status: [each for each in PaymentStatus if each in _NEXT[status] - {status}] for status in _NEXT}
    return [(status, ", ".join(following[status]) or "none: it is final") for status in _NEXT]


def check_transition(before: object, after: object) -> None:
    """Raise ``InvalidInput`` for an unknown payment status, ``TransitionRefused`` for one that may not follow."""
    if after not in _STATUSES:
        shown = without_card_number(str(after))[:64]
        raise InvalidInput(f"not a payment status: {shown!r}", hint=f"one of: {', '.join(PaymentStatus)}")
    if not may_follow(before, after):
        raise TransitionRefused(
            f"payment status cannot go from {before} to {after}",
            hint="a paid or cancelled checkout is final; start a new one",
        )


_decoder = msgspec.json.Decoder(dict[str, Any])
_raw_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()


def decode(body: bytes) -> dict[str, Any]:
    """The fields of a body, U+FFFD in place of each lone surrogate; ``SessionCorrupt`` if it is no JSON object."""
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError:
        return _without_surrogates(_decoder, body)
    except (UnicodeDecodeError, RecursionError) as error:
        raise _corrupt(body) from error


def is_session(value: bytes) -> bool:
    """Whether stored bytes are one JSON object."""
    try:
        decode(value)
    except SessionCorrupt:
        return False
    return True


def members_of(body: bytes) -> dict[str, msgspec.Raw]:
    """The bytes of each value by its name, lone surrogates in both; raises ``SessionCorrupt``."""
    try:
        if not body.isascii():
            body.decode()  # the decoder skips over values without looking at their encoding
        return _raw_decoder.decode(body)
    except msgspec.DecodeError:
        _without_surrogates(_raw_decoder, body)  # else it is no object
        return {name: msgspec.Raw(value) for name, value in lone_surrogates.members(body)}
    except (UnicodeDecodeError, RecursionError) as error:
        raise _corrupt(body) from error


def _without_surrogates(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    """What a refused body holds if lone surrogates were the only reason."""
    try:
        return decoder.decode(lone_surrogates.replaced(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _corrupt(body) from error


def _corrupt(body: bytes) -> SessionCorrupt:
    return SessionCorrupt(f"not a JSON object: {len(body)} bytes")


def _encoded(fields: Mapping[str, Any]) -> bytes:
    try:
        return _encoder.encode(fields)
    except UnicodeEncodeError:  # a lone surrogate in a name, which only another program can have given
        pairs = ((lone_surrogates.name_written(name), _encoder.encode(value)) for name, value in fields.items())
        return b"{%s}" % b",".join(b"%s:%s" % pair for pair in pairs)


def without_header(value: bytes) -> tuple[bytes, str | None]:
    """An external value's body, byte for byte without the store's member, and that if it is text."""
    body = value.strip(b" \t\r\n")
    fields = members_of(body)
    header = fields.pop(STORE_FIELD, None)
    if header is None:
        return body, None
    member = json.loads(bytes(header))
    return _encoded(fields), member if isinstance(member, str) else None


def with_members(body: bytes, members: Mapping[str, msgspec.Raw | None]) -> bytes:
    """The body with some members replaced by these very bytes, or left out (``None``); raises ``SessionCorrupt``."""
    fields = {**members_of(body), **members}
    return _encoded({name: raw for name, raw in fields.items() if raw is not None})


def with_expiry(body: bytes, expires_at: int) -> bytes:
    """The body with its ``expiresAt``, if any, set to a moment (ms); raises ``SessionCorrupt``."""
    if b'"expiresAt"' not in body or "expiresAt" not in members_of(body):
        return body
    return with_members(body, {"expiresAt": msgspec.Raw(_encoder.encode(iso(expires_at)))})


def with_changes(body: bytes, changes: Mapping[str, Any]) -> bytes:
    """The body with some fields set, every other kept byte for byte; ``InvalidInput`` for bad or too large ones."""
    check_fields(changes)
    members = members_of(body)
    if rb"\u" in body and lone_surrogates.replaced(body) != body:
        changes = _changed(body, changes)
    changed = _encoded({**members, **changes})
    _check_size(changed, "would be")
    return changed


def _check_size(body: bytes, verb: str) -> None:
    if len(body) > MAX_BODY_BYTES:
        raise InvalidInput(
            f"the session {verb} {len(body):,} bytes; at most {MAX_BODY_BYTES:,} are accepted",
            hint="store large content elsewhere and keep its id in the session",
        )


def _changed(body: bytes, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The real changes: a caller that hands back what it read would put U+FFFD in place of lone surrogates."""
    present = decode(body)
    return {
        name: value
        for name, value in changes.items()
        if name not in present or _encoder.encode(value) != _encoder.encode(present[name])
    }


def check_fields(fields: Mapping[str, Any]) -> None:
    """Raise ``InvalidInput`` for what JSON, the shop's other programs or the store cannot hold, with its path."""
    if STORE_FIELD in fields:
        raise InvalidInput(f"field {STORE_FIELD!r} belongs to the store", hint="leave it out")
    _check_value(fields, path="", depth=0)


def _check_value(value: Any, path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidInput(f"nested deeper than {MAX_DEPTH} levels", hint="flatten the session")
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise InvalidInput(
                    f"{_shown(path) or 'the session'}: a field name is {type(name).__name__}, not text",
                    hint="JSON names are text",
                )
            _check_text(name, path)
            _check_value(inner, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, (list, tuple)):
        for position, inner in enumerate(value):
            _check_value(inner, f"{path}[{position}]", depth + 1)
    elif isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(f"{_shown(path)}: {value} is not a JSON number")
    elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise InvalidInput(f"{_shown(path)}: the integer is beyond ±2^53", hint="write it as text")
    elif value is not None and not isinstance(value, (bool, int, float)):
        raise InvalidInput(f"{_shown(path)}: {type(value).__name__} cannot be stored as JSON")


def _shown(path: str) -> str:
    """A path cut to fit into one line: its names are the caller's, of any length, and can be personal."""
    if is_personal_name(path):
        return HIDDEN
    return path if len(path) <= _SHOWN_PATH else path[:_SHOWN_PATH] + "…"


def _check_text(text: str, path: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{_shown(path) or 'a field name'}: half of a surrogate pair is not text") from error


def parse_strict(document: bytes) -> dict[str, Any]:
    """The fields of a JSON document of a person or program; ``InvalidInput`` unless all programs read it alike."""
    hint = 'expected one JSON object, such as {"items": [], "totalAmount": 0}'
    if not document.strip():
        raise InvalidInput("the session is empty", hint=hint)
    _check_size(document, "is")
    try:
        fields = strict_json(document)
    except RecursionError as error:
        raise InvalidInput(f"nested deeper than {MAX_DEPTH} levels", hint="flatten the session") from error
    except ValueError as error:
        raise InvalidInput(f"not JSON: {_where(error)}", hint=hint) from error
    if not isinstance(fields, dict):
        raise InvalidInput(f"the session is a JSON {_JSON_KINDS[type(fields)]}, not an object", hint=hint)
    check_fields(fields)
    return fields


def strict_json(document: bytes) -> Any:
    """The content of a JSON document that every program reads alike; raises ``ValueError``, ``RecursionError``."""
    return json.loads(
        document.decode("utf-8-sig"),  # Windows' own tools begin a file with a byte order mark
        object_pairs_hook=_unique,
        parse_constant=_no_constant,
        parse_int=_bounded_integer,
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field name occurs twice in one object")
    return fields


def _bounded_integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"an integer of {len(digits):,} digits")
    return int(digits)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _where(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} (line {error.lineno}, column {error.colno})"
    return str(error)
