"""One setting: its variable, its value, where that came from, and what is wrong with it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

MASK = "********"


class Origin(StrEnum):
    """The source of a value, strongest first."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    ENV_FILE = "CHECKOUT_ENV_FILE"
    ENV_LOCAL = ".env.local"
    ENV = ".env"
    DEFAULT = "default"


@dataclass(frozen=True)
class Variable:
    """A setting for ``config show``, ``setup`` and the README; errors never repeat the value of a ``sealed`` one."""

    name: str
    meaning: str
    parse: Callable[[str], Any]
    default: Callable[[], Any]
    specified: bool = False
    secret: bool = False
    sealed: bool = False
    shared: bool = False
    """Other programs have a variable of this name: a value that cannot be ours is theirs, and no error."""

    def masked(self, value: Any) -> str:
        """The value for output: a secret masked, a URL without its password."""
        if self.secret:
            return MASK if value else ""
        if isinstance(value, bool):
            return "true" if value else "false"
        text = without_password(value) if "://" in str(value) else str(value)
        is_path = text.startswith(("/", "~", ".")) or not text or os.path.lexists(text)
        return MASK if self.name.endswith("_FILE") and not is_path else text  # somebody may have put the secret there


@dataclass(frozen=True)
class Resolved:
    """A setting's value, its origin and its problem; ``via`` is ``REDIS_URL`` where the value was taken from that.

    ``ignored`` is why another program's value of the same name was left out of account.
    """

    JSON_KEYS = "variable=variable.name value=shown origin via? meaning=variable.meaning problem [ignored]"

    variable: Variable
    value: Any = field(repr=False)  # it may be a secret
    origin: Origin
    problem: str | None = None
    via: str = ""
    ignored: str | None = None

    @property
    def shown(self) -> Any:
        """The value without secrets; ``None`` where it is wrong."""
        if self.problem:
            return None
        return self.variable.masked(self.value) if isinstance(self.value, str) else self.value

    @property
    def is_set(self) -> bool:
        return self.origin is not Origin.DEFAULT

    def is_stronger_than(self, other: Resolved) -> bool:
        strength = list(Origin)
        return strength.index(self.origin) < strength.index(other.origin)


def has_quotes(value: str) -> bool:
    """Whether a value has quotes around it, which a shell or dotenv would have taken away."""
    return len(value) > 1 and value[0] == value[-1] and value[0] in "'\""


_USER_AND_PASSWORD = r"(?s)\A((?:[^:/@]*://)?+(?!/)[^:@]*):.*@"  # noqa: S105  (compiled when used: a ping needs neither)
_PARAMETER = r"([?&]([^=&#]*)=)[^&#]*"
_HARMLESS = (
    r"application_name|channel_binding|connect_timeout|db|dbname|gssencmode|host|hostaddr|mode|port|ssl(?:cert|key|mode)|"
    r"sslrootcert|target_session_attrs|timeout|user"
)
"""Parameters of URLs whose values are shown; any other, as ``options``, may hold a secret."""


def without_password(url: str) -> str:
    """The URL with its password masked: whatever is between the user's name and the last ``@``.

    No parser of URLs: a password with ``/``, ``#`` or ``@``, or a missing scheme, would slip through it.
    """
    masked = re.sub(_USER_AND_PASSWORD, rf"\1:{MASK}@", url, count=1)
    return re.sub(
        _PARAMETER, lambda found: found[0] if re.fullmatch(_HARMLESS, found[2]) else f"{found[1]}{MASK}", masked
    )


def bare(value: str, *, secret: bool) -> str:
    """A value; ``ValueError`` for what stands around it and is no part of it. A secret may have quotes of its own."""
    if value.endswith("\r"):
        raise ValueError("must not end with a carriage return, as each line of a file with Windows line ends does")
    if has_quotes(value) and not secret:
        raise ValueError("must be without the quotes around it, which docker's --env-file does not take away")
    return value
