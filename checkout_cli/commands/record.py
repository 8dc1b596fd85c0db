"""What a command's record is, and how the records of all commands are found.

Each folder beside this file has a ``RECORD`` in its ``__init__.py``. The tree and its help, the completions, the roles
and their ACL rules, the table in the README and the runs that prove a role follow from these. The help reads them all,
so they import nothing but this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from checkout_cli import commands


class Use(NamedTuple):
    """One way to use a command, and what it needs of Redis, in the words of ``acl/needs.py``.

    ``words`` are those below the command's name, with an option where a command that writes can also merely look.
    ``role`` is the least that has it, reader or operator; ``no_role`` says why none has. It cannot do without its
    ``needs``, says less without ``helps``, and needs ``fenced`` besides where a replica can be promoted. Whatever the
    uses need that it ``does``, it needs too; those that it ``tries`` are a help.

    The role is proven by a run with the arguments ``run`` (by default the option, if there is one), which reads
    ``given``.
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
    """All that is said of a command in one place, its folder's.

    ``place`` orders the help: a ten begins a group. ``example`` is what the help begins with; ``examples`` are the same
    of the words below it, where it is more than these.
    """

    name: str
    place: int
    summary: str
    example: str
    uses: tuple[Use, ...]
    examples: Mapping[str, str] = MappingProxyType({})

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

    Raises:
        ValueError: there is none in its folder, it is of another name, or names a role that does not exist.
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
    """All of them, in the order of the help."""
    return tuple(sorted(map(record_of, names()), key=lambda record: (record.place, record.name)))
