"""Commands that are printed to be typed."""

from __future__ import annotations

import re
import shlex


def typed(template: str, *data: object) -> str:
    """The command with the data in place of each ``{}``, quoted for a shell; empty where they cannot be typed.

    A word of data that begins with a dash goes behind ``--``, unless an option wants it, which gets it behind ``=``.
    """
    words = [str(datum) for datum in data]
    if not all(word.isprintable() for word in words):  # a control character, or bytes that are no text
        return ""
    rest = iter(words)

    def quoted(found: re.Match[str]) -> str:
        word, option = next(rest), found[1] or ""
        is_part = found.start() > 0 and not template[found.start() - 1].isspace()  # such as a variable's value
        if not word.startswith("-") or is_part:
            return option + shlex.quote(word)
        return f"{option.rstrip()}={shlex.quote(word)}" if option else f"-- {shlex.quote(word)}"

    return re.sub(r"((?<!\S)--[a-z-]+ )?\{\}", quoted, template)
