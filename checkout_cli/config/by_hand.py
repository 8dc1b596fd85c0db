"""Settings that a program builds by hand are checked as those of the environment are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkout_cli.config.redis_url import parts_of
from checkout_cli.config.variables import Variable, bare, without_password

_KINDS = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}


def by_hand(values: Mapping[str, Any], variables: Mapping[str, Variable]) -> tuple[dict[str, Any], list[str]]:
    """The values, by field, as the environment would give them, and what is wrong with them."""
    checked: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in values.items():
        variable = variables[name]
        try:
            checked[name] = _checked(value, variable)
        except ValueError as error:
            hidden = variable.secret or variable.sealed or not isinstance(value, (str, int, float))
            shown = "" if hidden else f" is {without_password(str(value))[:64]!r} and"
            problems.append(f"{variable.name} (as {name}){shown} {error}")
    if not problems and checked["redis_url"]:
        problems += _apply_url(checked, variables)
    return checked, problems


def _checked(value: Any, variable: Variable) -> Any:
    default = variable.default()
    kind = type(default)
    if isinstance(value, str) and not value:
        return default if kind is str else _refuse(kind)
    is_right = isinstance(value, (int, float) if kind is float else kind)
    if not is_right or (isinstance(value, bool) and kind is not bool):
        return _refuse(kind)
    return variable.parse(bare(str(value), secret=variable.secret))


def _refuse(kind: type) -> Any:
    raise ValueError(f"must be {_KINDS[kind]}")


def _apply_url(checked: dict[str, Any], variables: Mapping[str, Variable]) -> list[str]:
    """Take the parts of ``redis_url`` over; those that say something else contradict it."""
    problems = []
    for name, value in parts_of(checked.pop("redis_url")).items():
        if checked[name] not in {value, variables[name].default()}:
            problems.append(f"REDIS_URL (as redis_url) contradicts {variables[name].name}: give one of them")
        checked[name] = value
    checked["redis_url"] = ""
    return problems
