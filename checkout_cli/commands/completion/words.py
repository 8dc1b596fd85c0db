"""What can be typed where: the command tree as the shells' files need it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FILES, IDS = "<files>", "<ids>"
"""In place of fixed words: paths, and ids of sessions."""
_ID_ARGUMENTS = frozenset({"checkout_id", "checkout_ids", "given"})


@dataclass
class Option:
    """An option: its names, its help, and the words that it takes; none for a flag, ``None`` for any text."""

    names: tuple[str, ...]
    help: str
    values: tuple[str, ...] | None = ()


@dataclass
class Place:
    """A command: the words after ``checkoutctl``, its commands with their help, its options and arguments.

    ``operand`` are the words that its last argument takes, as an option's ``values``.
    """

    path: str
    commands: dict[str, str]
    options: list[Option]
    operand: tuple[str, ...] | None

    @property
    def described_options(self) -> list[tuple[str, str]]:
        """Each name of each option, and its help."""
        return [(name, option.help) for option in self.options for name in option.names]

    @property
    def option_names(self) -> list[str]:
        """Each name of each option."""
        return [name for name, _ in self.described_options]

    @property
    def valued(self) -> list[str]:
        """The names of options that a value follows."""
        return [name for option in self.options if option.values != () for name in option.names]

    @property
    def special_operands(self) -> list[str]:
        """``FILES`` or ``IDS``, where the argument is one."""
        return [word for word in self.operand or () if word in {FILES, IDS}]


def places(command: Any, path: str = "") -> Iterator[Place]:
    """Every command and group of the tree, the root first."""
    inner = getattr(command, "commands", {})
    names = command.list_commands(None) if inner else []
    options = [_option(path, each) for each in command.params if each.param_type_name == "option"]
    operands = [_operand(each) for each in command.params if each.param_type_name == "argument"]
    yield Place(
        path,
        {name: _first_sentence(inner[name].short_help) for name in names},
        [*options, Option(("-h", "--help"), "Show this message and exit.")],
        operands[-1] if operands else (),
    )
    for name in names:
        yield from places(inner[name], f"{path} {name}".strip())


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
    from checkout_cli.commands.help.topics import names

    if parameter.name == "topic":
        return tuple(names())
    return (IDS,) if parameter.name in _ID_ARGUMENTS else _values(parameter)


def _values(parameter: Any) -> tuple[str, ...] | None:
    choices = getattr(parameter.type, "choices", None)
    if choices:
        return tuple(map(str, choices))
    return (FILES,) if type(parameter.type).__name__ == "TyperPath" else None


def known_values() -> dict[tuple[str, str], tuple[str, ...]]:
    """Fixed words that an option takes as text, so that more may be typed than one: ``--only memory,speed``."""
    from checkout_cli.commands.config.check import CHECKS as CONFIG_CHECKS
    from checkout_cli.commands.doctor.check import Group
    from checkout_cli.commands.doctor.run import all_checks
    from checkout_cli.keys import Family

    checks = tuple(sorted(all_checks()))
    groups = tuple(map(str, Group))
    return {
        ("doctor", "--only"): (*groups, *checks),
        ("doctor", "--skip"): (*groups, *checks),
        ("doctor", "--explain"): checks,
        ("config check", "--explain"): tuple(CONFIG_CHECKS),
        ("monitor", "--family"): tuple(map(str, Family)),
    }
