"""``.env.local``: what it lacks, how it would look, and writing it without losing a byte."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from checkout_cli.config.env_files import spelled_alike, values_of
from checkout_cli.config.settings import VARIABLES, env_files, exposed, read_env_file, resolve, unread_env_files
from checkout_cli.config.trusted_file import LARGEST_ENV_FILE, read_regular, text_of
from checkout_cli.config.variables import MASK, Origin, Resolved, Variable, without_password
from checkout_cli.errors import ConfigurationError
from checkout_cli.files.atomic_file import atomic_file, make_private
from checkout_cli.typed import typed

MODE = 0o600

_PASSWORD_IN_URL = re.compile(r"(?<=://)([^:/@]*):[^/@]*@")
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*=\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class EnvFilePlan:
    """What would become of ``.env.local``; ``before`` is ``None`` where there is no such file.

    ``added`` are the variables to write, ``elsewhere`` those that another file sets, by its name, and that are left
    there. ``tighten`` is whether others can read the file, ``obstacle`` why it cannot be written, where that is known
    beforehand.
    """

    JSON_KEYS = "path missing=added setElsewhere=elsewhere difference"

    path: Path
    before: bytes | None
    after: bytes
    added: tuple[str, ...] = ()
    elsewhere: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tighten: bool = False
    obstacle: str = ""

    @property
    def changes(self) -> bool:
        return self.before != self.after or self.tighten

    def difference(self) -> Iterator[str]:
        """The lines of a unified diff: only what is appended, because existing lines may hold unknown secrets."""
        if self.tighten:
            yield f"{self.path.name}: readable by others; its mode becomes {MODE:o}"
        if self.before == self.after:
            return
        old = (self.before or b"").splitlines()
        new = self.after.splitlines()[len(old) :]
        yield f"--- {'/dev/null' if self.before is None else self.path.name}"
        yield f"+++ {self.path.name}"
        yield f"@@ -{len(old)},0 +{len(old) + 1},{len(new)} @@"
        yield from (f"+{_masked(line.decode())}" for line in new)


_WHERE_IT_IS = (
    "redis_url",
    "redis_socket",
    "redis_username",
    "redis_password_file",
    "redis_sentinels",
    "redis_sentinel_service",
    "redis_mode",
    "redis_cluster_nodes",
    "redis_tls",
    "redis_tls_ca_file",
    "redis_tls_cert_file",
    "redis_tls_key_file",
    "redis_tls_server_name",
    "redis_sentinel_tls",
    "redis_sentinel_username",
    "redis_sentinel_password_file",
    "database_schema",
)
"""Settings that are written down where they are in force: Redis and our tables must be found again."""


@contextlib.contextmanager
def parser_warnings_off() -> Iterator[None]:
    """Keep python-dotenv from logging broken lines, which we report ourselves."""
    logger = logging.getLogger("dotenv.main")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def wanted() -> dict[str, Variable]:
    """The variables for ``.env.local``, by field of the settings: the specification's, and the database."""
    return {
        name: variable for name, variable in VARIABLES.items() if variable.specified or variable.name == "DATABASE_URL"
    }


@parser_warnings_off()
def plan(
    directory: Path, *, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> EnvFilePlan:
    """What is to be written into the ``.env.local`` of a directory; changes nothing.

    A variable gets the value in force (flag, environment, default), but no secret of the environment. What ``.env`` or
    another environment file sets, as the ``.env.production`` of Next.js, stays there, because ``.env.local`` would
    override it. Raises ``ConfigurationError`` where the file cannot be
    read.
    """
    (path, origin), *weaker = env_files(directory, environ).items()
    insist_on_file(path)
    present = read_env_file(path, origin)  # first, because it says why where it cannot
    before = read_regular(path, LARGEST_ENV_FILE)[0] if path.exists() else None
    set_in = {other.name: set(read_env_file(other, its)) for other, its in weaker}
    set_in |= {other.name: set(names) for other, names in unread_env_files(directory, environ).items()}
    settings = resolve(flags=flags, environ=environ, directory=directory)
    wrong = [item.problem for item in settings.values() if item.problem and item.origin is Origin.FLAG]
    if wrong:
        raise ConfigurationError("; ".join(wrong), hint="checkoutctl --help")
    in_force = [name for name in _WHERE_IT_IS if settings[name].is_set]
    chosen = [name for name in in_force if not _would_contradict(name, settings, present)]
    nowhere = [name for name in ("redis_host", "redis_port") if settings["redis_socket"].value]
    found = [name for name in (*wanted(), *chosen) if settings[name].is_set or name not in nowhere]
    # What the URL says is said by the URL alone: beside it, the same in other words could only come to contradict it.
    named = [name for name in found if not settings[name].via]
    missing = [name for name in named if VARIABLES[name].name not in present]
    added = [name for name in missing if not any(VARIABLES[name].name in names for names in set_in.values())]
    left = [VARIABLES[name].name for name in missing if name not in added]
    elsewhere = {other: tuple(name for name in left if name in names) for other, names in set_in.items()}
    lines = [line for name in added for line in _lines(settings[name])]
    after = _extended(before, lines)
    _insist_on_meaning(path, before, after, [VARIABLES[name].name for name in added])
    obstacle = ""
    if path.is_symlink() and (added or exposed(path)):
        obstacle = f"{path.name} is a symbolic link to {path.readlink()}; it is not written through"
    names = tuple(VARIABLES[name].name for name in added)
    left_there = {other: its for other, its in elsewhere.items() if its}
    return EnvFilePlan(path, before, after, names, left_there, exposed(path), obstacle)


def _would_contradict(name: str, settings: Mapping[str, Resolved], present: Mapping[str, str]) -> bool:
    """Whether a URL, socket or schema that is set elsewhere would stand beside other words for the same place."""
    if name == "database_schema":
        return str(settings["database_url"].value).startswith("sqlite")
    if name == "redis_url":
        parts = [part for part, item in settings.items() if item.via and item.via == settings[name].variable.name]
        return any(present.get(VARIABLES[part].name) for part in parts)
    return name == "redis_socket" and any(present.get(other) for other in ("REDIS_HOST", "REDIS_PORT"))


def write(planned: EnvFilePlan) -> bool:
    """Carry a plan out, completely or not at all; ``ConfigurationError`` also where the file has changed since."""
    if not planned.changes:
        return False
    if planned.obstacle:
        raise ConfigurationError(planned.obstacle, hint=typed("ls -l {}", planned.path))
    try:
        if planned.before == planned.after:
            make_private(planned.path, MODE)
        else:
            _replace(planned)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {planned.path}: {error.strerror or error}",
            hint=typed("ls -ld {}; it must be a directory that you can write to", planned.path.parent),
        ) from error
    return True


def _replace(planned: EnvFilePlan) -> None:
    path = planned.path
    path.parent.stat()  # a directory that is not there was mistyped, and is not made
    with atomic_file(path) as stream:
        stream.write(planned.after)
        stream.flush()
        if planned.before is not None:
            _keep_owner(path, stream.fileno())
        current = read_regular(path, LARGEST_ENV_FILE)[0] if os.path.lexists(path) and not path.is_symlink() else None
        if current != planned.before or path.is_symlink():
            raise ConfigurationError(
                f"{path.name} was changed by somebody else meanwhile; nothing was written", hint="checkoutctl setup"
            )


def _keep_owner(path: Path, descriptor: int) -> None:
    """Give the new file the old one's owner: after a set-up by root, the shop must still be able to read it."""
    if hasattr(os, "fchown"):
        status = path.lstat()
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, status.st_uid, status.st_gid)


def insist_on_file(path: Path) -> None:
    """Raise ``ConfigurationError`` where something by that name cannot be a file of settings."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigurationError(f"cannot read {path.name}: {error.strerror}", hint=typed("ls -l {}", path)) from error
    if not stat.S_ISREG(mode):
        kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
        raise ConfigurationError(
            f"{path.name} is {kind}", hint=typed("ls -ld {}; move it away, then checkoutctl setup", path)
        )


def _lines(setting: Resolved) -> Iterator[str]:
    variable = setting.variable
    text = str(setting.value).lower() if isinstance(setting.value, bool) else str(setting.value)
    private = bool(text) and (variable.secret or without_password(text) != text)
    yield f"# {variable.meaning.replace('…', '...')}"  # ASCII: for readers in any encoding
    if private and setting.origin is not Origin.FLAG:
        yield "# (a secret that the environment holds is not copied into files)"
        public = _PASSWORD_IN_URL.sub(lambda found: f"{found[1]}@" if found[1] else "", text)
        text = public if variable.name == "REDIS_URL" else ""
    yield f"{variable.name}={quoted(text)}"


def quoted(text: str) -> str:
    """A value for an environment file, as the shop and we read it alike, if it can be written so."""
    alike = spelled_alike(text)
    if alike is not None:
        return alike
    escaped = text.replace("$", "\\$").replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _extended(before: bytes | None, lines: list[str]) -> bytes:
    """The old bytes, then the lines, in the file's own kind of line end."""
    old = before or b""
    if not lines:
        return old
    end = b"\r\n" if b"\r\n" in old else b"\n"
    heading = "# checkoutctl" if not old else "# Added by checkoutctl setup"
    missing_end = end if old and not old.endswith((b"\n", b"\r")) else b""
    gap = end if old.strip() else b""
    return old + missing_end + gap + b"".join(line.encode() + end for line in (heading, *lines))


def _insist_on_meaning(path: Path, before: bytes | None, after: bytes, added: list[str]) -> None:
    """Refuse where an unclosed quote in the old part would swallow the new lines."""
    old, new = parsed(before or b""), parsed(after)
    kept = all(new.get(name) == value for name, value in old.items() if name not in added)
    if not kept or any(new.get(name) is None for name in added):
        raise ConfigurationError(
            f"{path.name} has a quote that is opened and never closed", hint="checkoutctl config check"
        )


def parsed(content: bytes) -> dict[str, str | None]:
    """The variables of an environment file's content, as the settings read them."""
    return values_of(text_of(content))


def _masked(line: str) -> str:
    """A line without its value where that is a secret, or the variable is not ours and its meaning unknown."""
    assignment = _ASSIGNMENT.fullmatch(line)
    if assignment is None:
        return line
    name, value = assignment.groups()
    secret = not any(variable.name == name and not variable.secret for variable in VARIABLES.values())
    if value and secret:
        return f"{line[: assignment.start(2)]}{MASK}"
    return line[: assignment.start(2)] + without_password(value) if "://" in value else line
