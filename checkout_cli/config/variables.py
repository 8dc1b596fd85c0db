"""What a setting is, and what was found of it: its variable, its value, where that came from, and what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MASK = "********"


class Origin(StrEnum):
    """Where a value came from, strongest first."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    ENV_LOCAL = ".env.local"
    ENV = ".env"
    DEFAULT = "default"


@dataclass(frozen=True)
class Variable:
    """What ``config show``, ``setup`` and the README know of one setting; of a ``sealed`` one, no error repeats it."""

    name: str
    meaning: str
    parse: Callable[[str], Any]
    default: Callable[[], Any]
    specified: bool = False
    secret: bool = False
    sealed: bool = False

    def masked(self, value: Any) -> str:
        """The value as it may be shown: a secret never, a URL without its password."""
        if self.secret:
            return MASK if value else ""
        if isinstance(value, bool):
            return "true" if value else "false"
        return without_password(value) if "://" in str(value) else str(value)


@dataclass(frozen=True)
class Resolved:
    """One setting as found: its value, where it came from, and what is wrong with it, if anything.

    ``via`` is the variable that it was taken from where that is another one: ``REDIS_URL``.
    """

    SHOWN = "variable=variable.name value=shown origin via? meaning=variable.meaning problem"

    variable: Variable
    value: Any = field(repr=False)  # it may be a secret
    origin: Origin
    problem: str | None = None
    via: str = ""

    @property
    def shown(self) -> Any:
        """The value without secrets; ``None`` where it is wrong."""
        if self.problem:
            return None
        return self.variable.masked(self.value) if isinstance(self.value, str) else self.value

    @property
    def is_set(self) -> bool:
        """Whether somebody has set it, and it is not the default."""
        return self.origin is not Origin.DEFAULT

    @property
    def whence(self) -> str:
        """Where it came from, in a word: the origin, or the variable that it was taken from, which has one itself."""
        return self.via or str(self.origin)

    def is_stronger_than(self, other: Resolved) -> bool:
        """Whether it was set, and where it came from goes before where the other one came from."""
        strength = list(Origin)
        return strength.index(self.origin) < strength.index(other.origin)


_USER_AND_PASSWORD = re.compile(r"(?s)((?:[^:/@]*://)?+(?!/)[^:@]*):.*@")
_PASSWORD_PARAMETER = re.compile(r"(?i)([?&][a-z_]*(?:password|passwd|pwd|secret|token)=)[^&#]*")


def without_password(url: str) -> str:
    """The URL with its password masked.

    Not by a parser of URLs: a password that holds ``/``, ``#`` or ``@``, or a URL that lacks its scheme, would slip
    through it. What stands between the user's name and the last ``@`` is masked, rather more than too little.
    """
    masked = _USER_AND_PASSWORD.sub(rf"\1:{MASK}@", url, count=1) if _USER_AND_PASSWORD.match(url) else url
    return _PASSWORD_PARAMETER.sub(rf"\1{MASK}", masked)
