"""Environment files as the shop reads them (Next.js: dotenv and dotenv-expand) and as we do (python-dotenv).

The two agree on most lines. Where they do not, the shop and the operator mean different servers or passwords by the
same line. ``$`` is literal here, and ``\\$`` is ``$`` for both, as Next.js has it; what else differs can be asked for.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"\.env(?:\.[A-Za-z0-9_-]+)*")
_NOT_READ_BY_ANYBODY = re.compile(
    r"\.(?:example|sample|template|dist|defaults?|bak|backup|old|orig|save|sw[a-z]|vault|keys)\b"
)
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?[A-Za-z_][A-Za-z0-9_.-]*\s*=(.*)", re.DOTALL)
_QUOTED = {
    quote: re.compile(rf"(?m)({quote}(?:\\{quote}|[^{quote}])*{quote})\s*(?:#.*)?$") for quote in ("'", '"', "`")
}
_EXPANDED = re.compile(r"(?<!\\)\$(?=[A-Za-z0-9_{])")
_SIMPLE = re.compile(r"[A-Za-z0-9_./:@%+,=*?&-]*")


@dataclass(frozen=True)
class Reading:
    """One line's ``name`` in line ``line``, its value here, and what Next.js reads; ``None``: that depends."""

    name: str
    line: int
    ours: str
    nexts: str | None
    raw: str

    @property
    def is_alike(self) -> bool:
        return self.ours == self.nexts

    @property
    def difference(self) -> str:
        """Why the two differ, in words, without the value."""
        if self.nexts is None:
            return "Next.js puts a variable's value in place of $NAME, checkoutctl does not"
        if self.raw.startswith("`"):
            return "backticks are quotes for Next.js, and part of the value for checkoutctl"
        if self.raw[:1] in {"'", '"'}:
            return "a backslash within quotes stays for Next.js, and is an escape for checkoutctl"
        return "for Next.js a # begins a comment also without a space before it"

    @property
    def remedy(self) -> str:
        """How to write the value so that both read the same, without the value."""
        if self.nexts is None:
            return r"write \$ for a $ that is meant, and the value itself in place of another variable's name"
        meant = self.nexts if self.raw.startswith("`") else self.ours
        spelled = spelled_alike(meant)
        if spelled is None:
            return "no spelling is read alike: choose a value without quotes, backslashes and #"
        how = {"'": "in single quotes", '"': "in double quotes"}.get(spelled[:1], "without quotes")
        return f"write it {how}" + (r", with \$ for each $" if "$" in meant else "")


def readings(content: str) -> Iterator[Reading]:
    """Every assignment of an environment file that both can read."""
    from dotenv.parser import parse_stream

    with io.StringIO(content, newline=None) as stream:
        for binding in parse_stream(stream):
            text = binding.original.string
            if binding.key is None or binding.value is None or (found := _ASSIGNMENT.fullmatch(text)) is None:
                continue
            line = binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")
            raw = found[1].strip()
            yield Reading(binding.key, line, _without_escape(binding.value), _read_by_next(raw), raw)


def values_of(content: str) -> dict[str, str | None]:
    """The variables of an environment file; ``None`` for a name without ``=``."""
    from dotenv import dotenv_values

    values = dotenv_values(stream=io.StringIO(content, newline=None), interpolate=False)
    return {name: value if value is None else _without_escape(value) for name, value in values.items()}


def _without_escape(value: str) -> str:
    return value.replace("\\$", "$")


def _read_by_next(raw: str) -> str | None:
    """What dotenv and dotenv-expand make of the text behind ``=``; ``None`` where other variables decide."""
    quoted = _QUOTED[raw[0]].match(raw) if raw[:1] in _QUOTED else None
    value = quoted[1] if quoted else raw.partition("#")[0].partition("\n")[0].strip()
    is_double = value.startswith('"')
    if len(value) > 1 and value[0] == value[-1] and value[0] in _QUOTED:
        value = value[1:-1]
    if is_double:
        value = value.replace("\\n", "\n").replace("\\r", "\r")
    return None if _EXPANDED.search(value) else _without_escape(value)


def spelled_alike(text: str) -> str | None:
    """A value as both read it: as it is, or in quotes; ``None`` where there is no such spelling."""
    escaped = text.replace("$", "\\$")
    candidates = [text] if _SIMPLE.fullmatch(text) else [f"'{escaped}'", f'"{escaped}"', escaped]
    for candidate in candidates:
        found = list(readings(f"X={candidate}\n"))
        if len(found) == 1 and found[0].ours == found[0].nexts == text:
            return candidate
    return None


def other_env_files(directory: Path, read: set[Path]) -> list[Path]:
    """Environment files of a directory that are not among those ``read``: Next.js reads .env.production, for one."""
    try:
        there = sorted(directory.glob(".env*"))
    except OSError:
        return []
    return [
        path
        for path in there
        if path not in read
        and _NAME.fullmatch(path.name)
        and not _NOT_READ_BY_ANYBODY.search(path.name)
        and path.is_file()
    ]
