"""What can be typed where: the command tree as the shells' files need it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

FILES, IDS = "<files>", "<ids>"
"""Stand for values that are no fixed words: paths, and ids of sessions."""
_ID_ARGUMENTS = frozenset({"checkout_id", "checkout_ids", "given"})


@dataclass
class Option:
    """One option: how it is written, what it is for, and what it takes; nothing for a flag, ``None`` for any text."""

    names: tuple[str, ...]
    help: str
    values: tuple[str, ...] | None = ()

    @property
    def takes_value(self) -> bool:
        """Whether a value follows it."""
        return self.values is None or bool(self.values)


@dataclass
class Place:
    """One command: the words after ``checkoutctl``, what it is for, its commands with theirs, and its options.

    ``operand`` is what its arguments are, as an option's ``values``.
    """

    path: str
    help: str
    commands: dict[str, str] = field(default_factory=dict)
    options: list[Option] = field(default_factory=list)
    operand: tuple[str, ...] | None = ()


def places(root: Any) -> list[Place]:
    """Every command and group of the tree, the root first."""
    return list(_walk(root, ""))


def _walk(command: Any, path: str) -> Iterator[Place]:
    place = Place(path, _first_sentence(command.short_help))
    place.options = [_option(path, each) for each in command.params if each.param_type_name == "option"]
    place.options.append(Option(("-h", "--help"), "Show this message and exit."))
    for each in command.params:
        if each.param_type_name == "argument":
            place.operand = _operand(each)
    inner = getattr(command, "commands", {})
    names = command.list_commands(None) if inner else []
    place.commands = {name: _first_sentence(inner[name].short_help) for name in names}
    yield place
    for name in names:
        yield from _walk(inner[name], f"{path} {name}".strip())


def _first_sentence(text: str) -> str:
    line = " ".join(text.split("\n\n", 1)[0].split())
    return line.partition(". ")[0].rstrip(".")


def _option(path: str, parameter: Any) -> Option:
    names = tuple(sorted((*parameter.opts, *parameter.secondary_opts), key=len))
    help_text = _first_sentence(parameter.help or "")
    if parameter.is_flag:
        return Option(names, help_text)
    return Option(names, help_text, known_values().get((path, names[-1])) or _values(parameter))


def _operand(parameter: Any) -> tuple[str, ...] | None:
    return (IDS,) if parameter.name in _ID_ARGUMENTS else _values(parameter)


def _values(parameter: Any) -> tuple[str, ...] | None:
    choices = getattr(parameter.type, "choices", None)
    if choices:
        return tuple(map(str, choices))
    return (FILES,) if type(parameter.type).__name__ == "TyperPath" else None


def known_values() -> dict[tuple[str, str], tuple[str, ...]]:
    """Fixed words that an option takes as text, so that more may be typed than one: ``--only memory,speed``."""
    from checkout_cli.commands.doctor.check import Group
    from checkout_cli.commands.doctor.examination import chosen
    from checkout_cli.keys import Family

    checks = tuple(sorted(each.id for each in chosen((), ())))
    groups = tuple(map(str, Group))
    return {
        ("doctor", "--only"): (*groups, *checks),
        ("doctor", "--skip"): (*groups, *checks),
        ("doctor", "--explain"): checks,
        ("monitor", "--family"): tuple(map(str, Family)),
    }
