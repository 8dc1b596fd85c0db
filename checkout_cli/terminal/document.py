"""Results as JSON: a class names the keys of its object, in their order, in ``JSON_KEYS``.

``usedBytes`` is the attribute ``used_bytes``, and ``usedBytes=memory.used`` one by its path; methods are called.
``key@`` is a moment (ms) in ISO 8601, ``key:2`` rounded to two digits, ``key!`` negated, ``key?`` ``null`` if empty.
``[key]`` is left out where it is ``None``; ``*attribute`` adds an object's keys, ``key{ more keys }`` makes an object.
Floats of a key in ``Ms`` are in seconds here, and bytes are a Redis key, cut as :func:`key_shown` does.
A class without ``JSON_KEYS`` has all of its fields. A test resolves every path against the annotations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, NamedTuple

from checkout_cli.privacy.personal_ids import named, without_personal
from checkout_cli.session import iso
from checkout_cli.terminal.key_names import key_shown

_KEY = re.compile(r"(?P<before>[*\[]?)(?P<key>\w+)(?P<marks>[@?!]*)(=(?P<path>[\w.]+))?(:(?P<digits>\d))?\]?")


_IDS = frozenset(
    {"checkoutId", "checkoutIds", "examples", "changed", "restored", "alive", "expired", "no_session", "scope"}
)
"""Keys of ids and of names that hold one, which are masked where they are personal."""
_TYPED = frozenset({"hint", "next", "fix"})
"""Keys of commands, which hold only what may be shown, and are to work as they are."""


class JsonKey(NamedTuple):
    """A key with the path of its value, or with the keys of an object; ``before`` and ``marks`` as written."""

    key: str
    path: tuple[str, ...] = ()
    before: str = ""
    marks: str = ""
    digits: int | None = None
    inner: tuple[JsonKey, ...] = ()


@cache
def keys_of(kind: type) -> tuple[JsonKey, ...]:
    """The keys of a result's class."""
    return parsed(getattr(kind, "JSON_KEYS", "") or " ".join(map(_camel_case, _fields(kind) or ())))


@cache
def parsed(words: str) -> tuple[JsonKey, ...]:
    """The keys in a text like ``JSON_KEYS``."""
    return tuple(_parsed(iter(words.split())))


def _parsed(words: Iterator[str]) -> Iterator[JsonKey]:
    for word in words:
        if word == "}":
            return
        if word.endswith("{"):
            yield JsonKey(word[:-1], inner=tuple(_parsed(words)))
            continue
        found = _KEY.fullmatch(word)
        if found is None:
            raise ValueError(f"no key of JSON_KEYS: {word}")
        path = found["path"] or re.sub(r"(?<!^)[A-Z]", lambda letter: "_" + letter[0].lower(), found["key"])
        digits = int(found["digits"]) if found["digits"] else None
        yield JsonKey(found["key"], tuple(path.split(".")), found["before"], found["marks"], digits)


def _fields(kind: Any) -> Sequence[str] | None:
    """The fields of a result's class; ``None`` for any other class."""
    if is_dataclass(kind):
        return [field.name for field in fields(kind)]
    found: Sequence[str] | None = getattr(kind, "__struct_fields__", None) or getattr(kind, "_fields", None)
    return found


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def document(result: Any, words: str = "") -> dict[str, Any]:
    """A result as a JSON object of built-in types, with the keys in ``words`` or those of its class."""
    kind: Any = type(result)
    return _object(result, parsed(words) if words else keys_of(kind))


def _object(result: Any, keys: Sequence[JsonKey]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in keys:
        if key.inner:
            found[key.key] = _object(result, key.inner)
            continue
        value = result
        for name in key.path:
            value = None if value is None else getattr(value, name)
            value = value() if callable(value) else value
        value = not value if "!" in key.marks else value
        if key.before == "*" and isinstance(value, Mapping):
            found |= {name: _value(member, key._replace(key=name)) for name, member in value.items()}
        elif key.before == "*":
            found |= {} if value is None else document(value)
        elif value is not None or not key.before:
            found[key.key] = None if "?" in key.marks and not value else _value(value, key)
    return found


def _value(value: Any, key: JsonKey) -> Any:
    """A value, or each of several, as its key has it."""
    if value is None or isinstance(value, bool):
        return value
    if _fields(type(value)) is not None:
        return document(value)
    if isinstance(value, (list, tuple, Iterator)):
        return [_value(one, key) for one in value]
    if isinstance(value, Mapping):
        return {str(name): _value(one, key) for name, one in value.items()}
    if isinstance(value, bytes):
        return key_shown(value)
    if "@" in key.marks:
        return iso(value)
    if isinstance(value, float):
        in_ms = key.key.endswith("Ms")
        digits = 3 if in_ms and key.digits is None else key.digits
        number = value * 1000 if in_ms else value
        if not math.isfinite(number):
            return None  # JSON has no such number
        return number if digits is None else round(number, digits or None)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Set):
        return sorted(map(str, value))
    text = str(value)
    if key.key in _IDS:
        return named(text)
    return text if key.key in _TYPED else without_personal(text)
