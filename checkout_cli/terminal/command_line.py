"""The words that were typed on this command line: a person may see again what he has just typed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

_typed: dict[str, tuple[str, ...]] = {"line": (), "words": ()}


def remember(words: Sequence[str]) -> None:
    """Note the words of this run; the value of an option behind ``=`` is one too."""
    values = (word.partition("=")[2] for word in words if word.startswith("--"))
    _typed["line"], _typed["words"] = tuple(words), (*words, *filter(None, values))


def words() -> tuple[str, ...]:
    return _typed["words"]


def was_typed(text: str) -> bool:
    """Whether a text is exactly one of them."""
    return text in _typed["words"]


def with_option(option: str) -> str:
    """This very command with one option more, to be typed; empty where that is not possible."""
    line = _typed["line"]
    return shlex.join(("checkoutctl", *line, option)) if line and all(map(str.isprintable, line)) else ""
