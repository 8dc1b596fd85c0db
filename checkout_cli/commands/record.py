"""The records of commands: each folder beside this file has a ``RECORD`` in its ``__init__.py``.

The tree and its help, the completions, the roles and their ACL rules, the table in the README and the runs that prove a
role are made of them. The help reads them all, so they import nothing but this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from checkout_cli import commands

GROUPS = {10: "Something is wrong", 20: "Shoppers", 30: "Redis", 40: "Setup and automation"}
"""The groups of commands in the help, by the place at which each begins."""


class Use(NamedTuple):
    """One way to use a command, and what it needs of Redis, in the words of ``acl/needs.py``.

    ``words`` follow the command's name; they have an option where a command that writes can also only read. ``role`` is
    the least one that has it, reader or operator; ``no_role`` says why none has. It cannot do without its ``needs``,
    says less without ``helps``, and needs ``fenced`` where a replica can be promoted. It also needs what the uses that
    it ``does`` need; those that it ``tries`` are a help. A run with the arguments ``run`` (by default the option) and
    the input ``given`` proves the role.
    """

    words: str
    role: str
    needs: str = ""
    helps: str | Callable[[], str] = ""
    fenced: str = ""
    does: tuple[str, ...] = ()
    tries: tuple[str, ...] = ()
    run: str = ""
    given: str | None = None
    no_role: str = ""


class Command(NamedTuple):
    """One command. ``place`` orders the help, and says in which of the ``GROUPS`` it is. ``examples`` are of the words
    below it."""

    name: str
    place: int
    summary: str
    example: str
    uses: tuple[Use, ...]
    examples: Mapping[str, str] = MappingProxyType({})

    @property
    def group(self) -> str:
        """The title that it stands under in the help."""
        return GROUPS[max(begin for begin in GROUPS if begin <= self.place)]

    def by_name(self) -> dict[str, Use]:
        """Its uses by what is typed after ``checkoutctl``."""
        return {f"{self.name} {use.words}".strip(): use for use in self.uses}

    def example_of(self, words: str) -> str:
        """What the help of the command, or of words below it, begins with."""
        return self.examples.get(words, f"checkoutctl {self.name} {words}") if words else self.example


@cache
def names() -> frozenset[str]:
    """What can be typed after ``checkoutctl``: the folders that have a command."""
    places = (each for path in commands.__path__ for each in Path(path).iterdir())
    return frozenset(place.name for place in places if (place / "command.py").exists())


def record_of(name: str) -> Command:
    """The record of one command, without importing any other.

    Raises ``ValueError`` where its folder has none, it is of another name, or names a role that does not exist.
    """
    record: Command | None = getattr(import_module(f"checkout_cli.commands.{name}"), "RECORD", None)
    if record is None:
        raise ValueError(f"commands/{name} has no record: a RECORD in its __init__.py")
    if record.name != name:
        raise ValueError(f"commands/{name} has the record of {record.name}")
    for use in record.uses:
        if use.role not in {"reader", "operator"} and (use.role or not use.no_role):
            raise ValueError(f"the record of {name} names a role that does not exist: {use.role!r}")
    return record


@cache
def records() -> tuple[Command, ...]:
    """All records, in the order of the help."""
    return tuple(sorted(map(record_of, names()), key=lambda record: (record.place, record.name)))
