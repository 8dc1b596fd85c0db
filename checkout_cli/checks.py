"""The one framework for checks: setup, ``config check`` and doctor enter functions, and each finding has a status."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from checkout_cli.errors import CheckoutError, ExitCode, InvalidInput


class Status(StrEnum):
    """Critical: shoppers are hurt, or will be at the next fault."""

    OK = "ok"
    WARN = "warn"
    CRIT = "crit"
    SKIPPED = "skipped"


WORST_FIRST = (Status.CRIT, Status.WARN, Status.OK, Status.SKIPPED)
_SEVERITY = (Status.OK, Status.SKIPPED, Status.WARN, Status.CRIT)


@dataclass(frozen=True)
class Finding:
    """Evidence with its numbers, and a fix to type where there is one.

    ``numbers`` are the same for programs, by camelCase name with unit. ``subject`` tells several findings of one check
    apart. ``exit_code`` is a process's own for a critical finding.
    """

    status: Status
    evidence: str
    fix: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    subject: str = ""
    exit_code: ExitCode = ExitCode.FINDING


class Skip(CheckoutError):
    """A check does not apply here, or lacks what it needs; the message is the reason."""


def ok(evidence: str, **numbers: Any) -> Finding:
    return Finding(Status.OK, evidence, numbers=numbers)


def warn(evidence: str, fix: str, **numbers: Any) -> Finding:
    """To be fixed in daylight."""
    return Finding(Status.WARN, evidence, fix, numbers)


def warn_if(bad: object, evidence: str, fix: str, **numbers: Any) -> Finding:
    """A warning if ``bad``; otherwise the same evidence says that all is well."""
    return warn(evidence, fix, **numbers) if bad else ok(evidence, **numbers)


def crit(evidence: str, fix: str, **numbers: Any) -> Finding:
    """To be fixed now."""
    return Finding(Status.CRIT, evidence, fix, numbers)


def skipped(reason: str) -> Finding:
    return Finding(Status.SKIPPED, reason)


def worst(findings: Iterable[Finding]) -> Finding | None:
    """The first of the worst findings; ``None`` where there are none."""
    return max(findings, key=lambda finding: _SEVERITY.index(finding.status), default=None)


Run = TypeVar("Run", bound=Callable[..., Any])


@dataclass(frozen=True)
class Check(Generic[Run]):
    """A function that checks one thing; its docstring is what ``--explain`` says, and the first line its title.

    ``needs`` are what it cannot run without; commands of Redis in the words of ``acl/needs.py`` (``locks:pttl,get``).
    """

    JSON_KEYS = "id group title explanation needs=named_needs"

    id: str
    group: str
    needs: tuple[str, ...]
    run: Run

    @property
    def explanation(self) -> str:
        """The function's docstring."""
        return inspect.getdoc(self.run) or ""

    @property
    def title(self) -> str:
        """The explanation's first line."""
        return self.explanation.partition("\n")[0].rstrip(".")

    @property
    def named_needs(self) -> list[str]:
        """Its needs for people: Redis' commands without the keys, each once."""
        return list(dict.fromkeys(word for need in self.needs for word in need.rpartition(":")[2].split(",")))


class Checks(dict[str, Check[Run]]):
    """The checks of one command by their ids, in the order in which they were entered."""

    def __init__(self, command: str) -> None:
        """``command`` is what is typed after ``checkoutctl``."""
        super().__init__()
        self.command = command

    def check(self, name: str, group: str, *needs: str) -> Callable[[Run], Run]:
        """Decorate a function as a check."""

        def enter(run: Run) -> Run:
            assert name not in self, f"two checks are called {name}"  # noqa: S101  (a mistake of ours)
            self[name] = Check(name, group, needs, run)
            return run

        return enter

    def chosen(self, only: Sequence[str], skip: Sequence[str] = ()) -> list[Check[Run]]:
        """Checks by their names and groups; all but ``skip`` where ``only`` is empty.

        Raises:
            InvalidInput: no check or group has that name.
        """
        known = {name for check in self.values() for name in (check.id, check.group)}
        for name in (*only, *skip):
            if name not in known:
                hint = f"checkoutctl {self.command} --explain all"
                raise InvalidInput(f"no check is called {name[:64]!r}", hint=hint)
        wanted = [check for check in self.values() if not only or {check.id, check.group} & set(only)]
        return [check for check in wanted if not {check.id, check.group} & set(skip)]

    def explained(self, name: str) -> list[Check[Run]]:
        """What ``--explain`` is about: a check, a group, or ``all`` of them."""
        return self.chosen([] if name == "all" else [name])
