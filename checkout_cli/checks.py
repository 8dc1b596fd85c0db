"""The result of a check, the same for setup, ``config check`` and doctor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from checkout_cli.errors import CheckoutError, ExitCode


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


def crit(evidence: str, fix: str, **numbers: Any) -> Finding:
    """To be fixed now."""
    return Finding(Status.CRIT, evidence, fix, numbers)


def skipped(reason: str) -> Finding:
    return Finding(Status.SKIPPED, reason)


def worst(findings: Iterable[Finding]) -> Finding | None:
    """The first of the worst findings; ``None`` where there are none."""
    return max(findings, key=lambda finding: _SEVERITY.index(finding.status), default=None)
