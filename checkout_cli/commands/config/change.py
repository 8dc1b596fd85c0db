"""``config set`` and ``unset``: settings in the file of settings, every other line as it was."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkout_cli.config.settings import VARIABLES, env_files, exposed, read_env_file, resolve
from checkout_cli.config.trusted_file import LARGEST_ENV_FILE, read_regular
from checkout_cli.config.variables import Origin, Resolved, Variable
from checkout_cli.errors import ConfigurationError, ExitCode, InvalidInput
from checkout_cli.files.env_file import EnvFilePlan, insist_on_file, parsed, parser_warnings_off, quoted, write
from checkout_cli.typed import typed

SHOWN = "checkoutctl config show"
_BY_NAME: dict[str, Variable] = {variable.name: variable for variable in VARIABLES.values()}
_FIELD = {variable.name: name for name, variable in VARIABLES.items()}


@dataclass(frozen=True)
class Changed:
    """The files that were written, the settings as they are now, and those that a stronger origin decides."""

    JSON_KEYS = "files settings overridden"

    files: tuple[str, ...]
    settings: tuple[Resolved, ...]
    overridden: tuple[Resolved, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """A finding where the change is without effect, or a value does not fit the others."""
        wrong = any(item.problem for item in self.settings)
        return ExitCode.FINDING if self.overridden or wrong else ExitCode.OK

    @property
    def next_step(self) -> str:
        """What takes the stronger origin away."""
        names = [item.via or item.variable.name for item in self.overridden if item.origin is Origin.ENVIRONMENT]
        return f"unset {' '.join(dict.fromkeys(names))}" if names else "checkoutctl config check"


def values_of(assignments: Sequence[str], ask: Callable[[str], str]) -> dict[str, str]:
    """Each variable with its value; a secret has none on the command line, and is ``ask``ed for.

    Raises InvalidInput for an unknown variable, a value that cannot be, or a secret that was typed.
    """
    values = {}
    for assignment in assignments:
        name, given, text = assignment.partition("=")
        variable = _known(name)
        if given and variable.secret:
            hint = typed("checkoutctl config set {}", name)
            raise InvalidInput(f"{name} is a secret: a command line can be seen by others", hint=hint)
        if not given and not variable.secret:
            raise InvalidInput(f"{name} has no value", hint=f"{name}=VALUE")
        values[name] = text if given else ask(name)
        try:
            variable.parse(values[name])
        except ValueError as error:
            shown = "" if variable.secret or variable.sealed else f" {text[:64]!r}"
            raise InvalidInput(f"{name}{shown} {error}", hint=SHOWN) from None
    return values


def _known(name: str) -> Variable:
    if name not in _BY_NAME:
        raise InvalidInput(f"no setting is called {name[:64]!r}", hint=SHOWN)
    return _BY_NAME[name]


@parser_warnings_off()
def set_values(
    directory: Path,
    values: Mapping[str, str],
    *,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Changed:
    """Write settings into the strongest file, in the place of their old lines or at its end.

    Raises ConfigurationError where the file cannot be read or written.
    """
    path, origin = next(iter(env_files(directory, environ).items()))
    before = resolve(flags=flags, environ=environ, directory=directory)
    for name in values:
        url = before[_FIELD[name]]
        if url.via and url.origin is origin:
            raise ConfigurationError(f"{name} is a part of {url.via}: change it there", hint=SHOWN)
    written = _rewritten(path, origin, values)
    return _changed([path] if written else [], directory, flags, environ, [_FIELD[name] for name in values])


@parser_warnings_off()
def unset(
    directory: Path,
    names: Sequence[str],
    *,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Changed:
    """Take settings out of every file; raises as :func:`set_values` does, and InvalidInput."""
    for name in names:
        _known(name)
    files = env_files(directory, environ).items()
    removed: dict[str, str | None] = dict.fromkeys(names)
    written = [path for path, origin in files if path.exists() and _rewritten(path, origin, removed)]
    return _changed(written, directory, flags, environ, [_FIELD[name] for name in names])


def _rewritten(path: Path, origin: Origin, values: Mapping[str, str | None]) -> bool:
    """Whether the file had to be changed; ``None`` takes a variable out."""
    insist_on_file(path)
    present = read_env_file(path, origin)  # refuses a file that others can write
    before = read_regular(path, LARGEST_ENV_FILE)[0] if path.exists() else None
    after = with_values(before or b"", values)
    expected = {**present, **values}
    if {name: text for name, text in parsed(after).items() if text is not None} != {
        name: text for name, text in expected.items() if text is not None
    }:
        problem = f"{path.name} has a value of several lines, or a quote that is never closed: edit it by hand"
        raise ConfigurationError(problem, hint="checkoutctl config check")
    obstacle = f"{path.name} is a symbolic link; it is not written through" if path.is_symlink() else ""
    return write(EnvFilePlan(path, before, after, tuple(values), {}, exposed(path), obstacle))


def with_values(content: bytes, values: Mapping[str, str | None]) -> bytes:
    """An environment file's content with these variables, each in the place of its first line."""
    end = b"\r\n" if b"\r\n" in content else b"\n"
    lines, left = [], {name: text for name, text in values.items() if text is not None}
    for line in content.splitlines(keepends=True):
        found = _ASSIGNMENT.match(line)
        name = found[2].decode() if found else ""
        if name not in values:
            lines.append(line)
        elif found is not None and name in left:
            lines.append(found[1] + f"{name}={quoted(left.pop(name))}".encode() + end)
    if left and lines and not lines[-1].endswith((b"\n", b"\r")):
        lines[-1] += end
    return b"".join([*lines, *(f"{name}={quoted(text)}".encode() + end for name, text in left.items())])


_ASSIGNMENT = re.compile(rb"(\s*(?:export\s+)?)([A-Za-z_][A-Za-z0-9_.-]*)\s*=")


def _changed(
    written: Sequence[Path],
    directory: Path,
    flags: Mapping[str, Any] | None,
    environ: Mapping[str, str] | None,
    fields: Sequence[str],
) -> Changed:
    now = resolve(flags=flags, environ=environ, directory=directory)
    found = tuple(now[name] for name in fields)
    stronger = tuple(item for item in found if item.origin in {Origin.FLAG, Origin.ENVIRONMENT})
    return Changed(tuple(map(str, written)), found, stronger)
