"""What a check of doctor is: what it needs, and the list of all of them.

A new check is one decorated function: its id, its group and its needs are in the decorator; its docstring is what
``doctor --explain`` says, the first line being its title.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from checkout_cli.checks import Finding

if TYPE_CHECKING:
    from checkout_cli.commands.doctor.patient import Patient
    from checkout_cli.servers.inspection import Inspector


class Group(StrEnum):
    """What a check is about, in the order of what hurts shoppers first."""

    CONNECTION = "connection"
    SERVING = "serving"
    SESSIONS = "sessions"
    MEMORY = "memory"
    DATABASE = "database"
    JOBS = "jobs"
    PRIVACY = "privacy"
    SECURITY = "security"
    SPEED = "speed"
    HOST = "host"


class Need(StrEnum):
    """What a check cannot do without, beside commands of Redis."""

    REDIS = "an answer of Redis"
    DATABASE = "an answer of the database"
    LOCAL_SERVER = "a Redis that provably runs on this machine"


Examine = Callable[["Patient"], Finding]
ExamineServer = Callable[["Patient", "Inspector"], Finding]


@dataclass(frozen=True)
class Check:
    """One check. ``needs`` has what it asks for; of Redis in the words of ``acl/needs.py`` (``locks:pttl,get``)."""

    JSON_KEYS = "id group title explanation needs=named_needs"

    id: str
    group: Group
    needs: tuple[Need | str, ...]
    explanation: str
    examine: Examine | None = None
    examine_server: ExamineServer | None = None

    @property
    def module(self) -> str:
        """The module that it stands in."""
        return (self.examine or self.examine_server).__module__

    @property
    def named_needs(self) -> list[str]:
        """The same for people, who are told the commands and not on which keys."""
        return list(dict.fromkeys(word for need in self.needs for word in need.rpartition(":")[2].split(",")))

    @property
    def title(self) -> str:
        """The explanation's first line."""
        return self.explanation.partition("\n")[0].rstrip(".")


CHECKS: dict[str, Check] = {}
"""All checks by their id; a module of checks enters its own when it is imported."""


def check(name: str, group: Group, *needs: Need | str) -> Callable[[Examine], Examine]:
    """Enter a function as a check."""

    def enter(examine: Examine) -> Examine:
        _enter(Check(name, group, needs, inspect.getdoc(examine) or "", examine=examine))
        return examine

    return enter


def server_check(name: str, group: Group, *needs: Need | str) -> Callable[[ExamineServer], ExamineServer]:
    """Enter a function as a check of each Redis server; it needs an answer of Redis without saying so."""

    def enter(examine: ExamineServer) -> ExamineServer:
        _enter(Check(name, group, (Need.REDIS, *needs), inspect.getdoc(examine) or "", examine_server=examine))
        return examine

    return enter


def _enter(entered: Check) -> None:
    assert entered.id not in CHECKS, f"two checks are called {entered.id}"  # noqa: S101  (a mistake of ours)
    CHECKS[entered.id] = entered
