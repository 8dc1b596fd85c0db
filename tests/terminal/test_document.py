from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

import checkout_cli
from checkout_cli.errors import CheckoutError
from checkout_cli.terminal.document import Shown, document, shown_of

MOMENT = 1_763_900_000_000


class Color(StrEnum):
    RED = "red"


class Point(NamedTuple):
    from_left: int
    from_top: int


class Row(msgspec.Struct, frozen=True):
    SHOWN = "id=name seconds:1"

    name: str
    seconds: float


@dataclass(frozen=True)
class Result:
    taken_at: int = MOMENT
    latency: float | None = 0.0123456
    color: Color = Color.RED
    hint: str = ""
    rows: tuple[Row, ...] = (Row("a", 1.26),)
    first: Row | None = None
    by_name: dict[Color, int] = field(default_factory=lambda: {Color.RED: 3})
    point: Point = field(default_factory=lambda: Point(1, 2))
    error: CheckoutError = field(default_factory=lambda: CheckoutError("it is away"))
    path: Path = Path("file")

    def doubled(self) -> int:
        return 6


def shown(words: str, result: Any = None) -> dict[str, Any]:
    return document(result or Result(), words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("takenAt@", {"takenAt": "2025-11-23T12:13:20.000Z"}),
        ("takenAt", {"takenAt": MOMENT}),
        ("latencyMs=latency", {"latencyMs": 12.346}),
        ("latencyMs=latency:1", {"latencyMs": 12.3}),
        ("latencyMs=latency:0", {"latencyMs": 12}),
        ("latency:2 color", {"latency": 0.01, "color": "red"}),
        ("hint hint?", {"hint": None}),
        ("[first] [hint]", {"hint": ""}),
        ("first name=first.name", {"first": None, "name": None}),
        ("rows", {"rows": [{"id": "a", "seconds": 1.3}]}),
        ("byName point", {"byName": {"red": 3}, "point": {"fromLeft": 1, "fromTop": 2}}),
        ("*point *byName *first", {"fromLeft": 1, "fromTop": 2, "red": 3}),
        ("a{ color b{ hint } } doubled", {"a": {"color": "red", "b": {"hint": ""}}, "doubled": 6}),
        ("error path", {"error": "it is away", "path": "file"}),
    ],
)
def test_each_key_is_told_as_it_is_marked(words: str, expected: dict[str, Any]) -> None:
    assert shown(words) == expected


def test_without_shown_all_fields_are_there_in_camel_case() -> None:
    assert list(document(Result()))[:2] == ["takenAt", "latency"]
    assert "byName" in document(Result())


def test_a_key_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="no key of SHOWN: a-b"):
        shown("a-b")


def results() -> Iterator[type]:
    """Every class of ours that says what is shown of it."""
    for module in pkgutil.walk_packages(checkout_cli.__path__, "checkout_cli."):
        if not module.name.endswith("__main__"):
            parts = vars(importlib.import_module(module.name)).values()
            ours = [part for part in parts if isinstance(part, type) and part.__module__ == module.name]
            yield from (kind for kind in ours if isinstance(vars(kind).get("SHOWN"), str))


def attributes(kind: Any) -> set[str]:
    return {*dir(kind), *(part.name for part in (fields(kind) if is_dataclass(kind) else ()))}


def leaves(keys: tuple[Shown, ...]) -> Iterator[Shown]:
    for key in keys:
        yield from leaves(key.inner) if key.inner else [key]


def test_what_a_class_shows_is_there() -> None:
    classes = list(results())
    assert len(classes) > 50
    for kind in classes:
        missing = {key.path[0] for key in leaves(shown_of(kind))} - attributes(kind)
        assert not missing, kind
