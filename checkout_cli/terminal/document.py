"""Results as JSON: each class names in ``SHOWN`` what its object has, and one function writes it.

``SHOWN`` is a text of keys in their order, for instance ``"timestamp@ server=place latencyMs=latency hint?"``:

- ``usedBytes`` is the attribute ``used_bytes``, ``usedBytes=memory.used`` another one, by its path; methods are called;
- ``key@`` is a moment: milliseconds here, ISO 8601 in JSON;
- ``key?`` is ``null`` where there is nothing in it: an empty text, or none at all;
- ``key!`` is the opposite: true where there is nothing;
- ``key:2`` is rounded to so many digits;
- ``[key]`` is left out where it is ``None``;
- ``*attribute`` is an object itself, whose keys come here, and ``key{ more keys }`` one that is made here;
- bytes are a key of Redis, of which no more is shown than may be;
- a key that ends in ``Ms`` whose value is a float has it in seconds.

A class without ``SHOWN`` shows all of its fields. What is not known is ``null``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, NamedTuple

from checkout_cli.session import iso
from checkout_cli.terminal.key_names import key_shown

_KEY = re.compile(r"(?P<before>[*\[])?(?P<key>\w+)(?P<mark>[@?!]*)(=(?P<path>[\w.]+))?(:(?P<digits>\d))?\]?")


class Shown(NamedTuple):
    """One key of a class: the path of its value, and how that is told; or the keys of an object."""

    key: str
    path: tuple[str, ...]
    moment: bool = False
    emptied: bool = False
    opposite: bool = False
    optional: bool = False
    several: bool = False
    digits: int | None = None
    inner: tuple[Shown, ...] = ()


@cache
def shown_of(kind: type) -> tuple[Shown, ...]:
    """The keys of a class that results are made of, in their order."""
    return parsed(getattr(kind, "SHOWN", "") or " ".join(map(_camel_case, _fields(kind) or ())))


@cache
def parsed(words: str) -> tuple[Shown, ...]:
    """What a text like ``SHOWN`` says."""
    return _parsed(iter(words.split()))


def _parsed(words: Iterator[str]) -> tuple[Shown, ...]:
    found = []
    for word in words:
        if word == "}":
            break
        found.append(Shown(word[:-1], (), inner=_parsed(words)) if word.endswith("{") else _key(word))
    return tuple(found)


def _key(word: str) -> Shown:
    found = _KEY.fullmatch(word)
    if found is None:
        raise ValueError(f"no key of SHOWN: {word}")
    key, mark, digits = found["key"], found["mark"], found["digits"]
    path = found["path"] or re.sub(r"(?<!^)[A-Z]", lambda letter: "_" + letter[0].lower(), key)
    return Shown(
        key,
        tuple(path.split(".")),
        "@" in mark,
        "?" in mark,
        "!" in mark,
        found["before"] == "[",
        found["before"] == "*",
        int(digits) if digits else None,
    )


def _fields(kind: Any) -> Sequence[str] | None:
    """The fields of a class that results are made of; ``None`` of any other."""
    if is_dataclass(kind):
        return [field.name for field in fields(kind)]
    found: Sequence[str] | None = getattr(kind, "__struct_fields__", None) or getattr(kind, "_fields", None)
    return found


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def document(result: Any, words: str = "") -> dict[str, Any]:
    """A result as a JSON object: of built-in types alone; ``words`` in place of its class's ``SHOWN``."""
    kind: Any = type(result)
    return _object(result, parsed(words) if words else shown_of(kind))


def _object(result: Any, keys: Sequence[Shown]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for shown in keys:
        if shown.inner:
            found[shown.key] = _object(result, shown.inner)
            continue
        value = result
        for name in shown.path:
            value = None if value is None else getattr(value, name)
            value = value() if callable(value) else value
        value = not value if shown.opposite else value
        if shown.several:
            found |= _members(value, shown)
        elif value is not None or not shown.optional:
            found[shown.key] = None if shown.emptied and not value else _told(value, shown)
    return found


def _members(value: Any, shown: Shown) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {name: _told(member, shown._replace(key=name)) for name, member in value.items()}
    return {} if value is None else document(value)


def _told(value: Any, shown: Shown) -> Any:
    """A value, or each of several, as its key has it."""
    if value is None or isinstance(value, bool):
        return value
    if _fields(type(value)) is not None:
        return document(value)
    if isinstance(value, (list, tuple, Iterator)):
        return [_told(one, shown) for one in value]
    if isinstance(value, Mapping):
        return {str(name): _told(one, shown) for name, one in value.items()}
    if isinstance(value, bytes):
        return key_shown(value)
    if shown.moment:
        return iso(value)
    if isinstance(value, float):
        if shown.key.endswith("Ms"):
            return round(value * 1000, 3 if shown.digits is None else shown.digits or None)
        return value if shown.digits is None else round(value, shown.digits or None)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Set):
        return sorted(map(str, value))
    return str(value)
