from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

import msgspec
import pytest

import checkout_cli
from checkout_cli.errors import CheckoutError
from checkout_cli.terminal.document import JsonKey, document, keys_of

UNIONS = (UnionType, Union)
MOMENT = 1_763_900_000_000


class Color(StrEnum):
    RED = "red"


class Point(NamedTuple):
    from_left: int
    from_top: int


class Row(msgspec.Struct, frozen=True):
    JSON_KEYS = "id=name seconds:1"

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
    with pytest.raises(ValueError, match="no key of JSON_KEYS: a-b"):
        shown("a-b")


def results() -> Iterator[type]:
    """Every class of ours that says what is shown of it."""
    for module in pkgutil.walk_packages(checkout_cli.__path__, "checkout_cli."):
        if not module.name.endswith("__main__"):
            parts = vars(importlib.import_module(module.name)).values()
            ours = [part for part in parts if isinstance(part, type) and part.__module__ == module.name]
            yield from (kind for kind in ours if isinstance(vars(kind).get("JSON_KEYS"), str))


def leaves(keys: tuple[JsonKey, ...]) -> Iterator[JsonKey]:
    for key in keys:
        yield from leaves(key.inner) if key.inner else [key]


@cache
def names_for(module_name: str) -> dict[str, Any]:
    """What the annotations of a module can name, also what it imports for them alone."""
    module = importlib.import_module(module_name)
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    blocks = [node.body for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    imports = [node for block in blocks for node in block if isinstance(node, ast.ImportFrom)]
    found = {
        alias.asname or alias.name: getattr(importlib.import_module(node.module or ""), alias.name)
        for node in imports
        for alias in node.names
    }
    return vars(module) | found


def annotation_of(kind: type, name: str) -> Any:
    """The annotated type of an attribute, or of what a property or a method returns; ``None`` where there is none."""
    for base in kind.__mro__:
        found = vars(base).get(name)
        if found is not None and base.__module__ == "builtins":
            return Any  # such as __len__, which Python keeps
        function = getattr(found, "fget", None) or getattr(found, "func", None) or found
        if inspect.isfunction(function):
            text = function.__annotations__["return"]
        elif name in vars(base).get("__annotations__", {}):
            text = vars(base)["__annotations__"][name]
        else:
            continue
        return eval(text, names_for(base.__module__)) if isinstance(text, str) else text  # noqa: S307
    return None


def broken(kind: type, path: tuple[str, ...]) -> str | None:
    """The first name in a path that no type on the way has, if there is one."""
    here: list[Any] = [kind]
    for name in path:
        found = [annotation_of(one, name) for one in here if isinstance(one, type)]
        if here and None in found:
            return name
        parts = [part for one in found for part in (get_args(one) if get_origin(one) in UNIONS else [one])]
        here = [get_origin(part) or part for part in parts if part not in {type(None), Any}]
        if not all(isinstance(one, type) for one in here):
            return None  # a type variable: whatever it stands for shows itself
    return None


@dataclass(frozen=True)
class Nested:
    first: Row | None
    rows: tuple[Row, ...]

    @property
    def row(self) -> Row:
        return self.rows[0]

    def last(self) -> Row:
        return self.rows[-1]


def test_every_path_of_every_class_leads_to_an_annotated_attribute() -> None:
    classes = list(results())
    assert len(classes) > 50
    found = {kind.__name__: [key.path for key in leaves(keys_of(kind)) if broken(kind, key.path)] for kind in classes}
    assert {name: paths for name, paths in found.items() if paths} == {}


@pytest.mark.parametrize("path", ["first.name", "row.name", "last.name", "rows"])
def test_a_path_is_followed_through_fields_properties_and_methods(path: str) -> None:
    assert broken(Nested, tuple(path.split("."))) is None


@pytest.mark.parametrize("path", ["frist", "first.nmae", "row.nmae", "last.nmae"])
def test_a_renamed_attribute_would_be_noticed(path: str) -> None:
    assert broken(Nested, tuple(path.split("."))) == path.rsplit(".", maxsplit=1)[-1]
