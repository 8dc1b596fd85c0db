"""What a check finds: one status and one kind of finding for setup, ``config check`` and doctor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from checkout_cli.errors import CheckoutError, ExitCode


class Status(StrEnum):
    """How a check ended. Critical: shoppers are hurt, or will be at the next fault."""

    OK = "ok"
    WARN = "warn"
    CRIT = "crit"
    SKIPPED = "skipped"


WORST_FIRST = (Status.CRIT, Status.WARN, Status.OK, Status.SKIPPED)
_SEVERITY = (Status.OK, Status.SKIPPED, Status.WARN, Status.CRIT)


@dataclass(frozen=True)
class Finding:
    """What a check found: evidence with its numbers, and a fix that can be typed where there is something to fix.

    ``numbers`` are the same for programs, by names in camelCase with their unit. ``subject`` is what it is about, where
    one check finds several things. ``exit_code`` is what a process ends with for it, if it is critical.
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
    """All is well."""
    return Finding(Status.OK, evidence, numbers=numbers)


def warn(evidence: str, fix: str, **numbers: Any) -> Finding:
    """Something should be done, in the light of day."""
    return Finding(Status.WARN, evidence, fix, numbers)


def crit(evidence: str, fix: str, **numbers: Any) -> Finding:
    """Something must be done now."""
    return Finding(Status.CRIT, evidence, fix, numbers)


def skipped(reason: str) -> Finding:
    """It was not looked at."""
    return Finding(Status.SKIPPED, reason)


def worst(findings: Iterable[Finding]) -> Finding | None:
    """The first of the worst; ``None`` where there are none."""
    return max(findings, key=lambda finding: _SEVERITY.index(finding.status), default=None)
