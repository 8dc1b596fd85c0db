"""Make untrusted text safe for a terminal.

Session fields, keys and server answers are somebody else's. An escape sequence in them could retitle the window, write
to the clipboard or hide a line; a right-to-left override could make a cancelled session read as a paid one.
"""

from __future__ import annotations

import unicodedata

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def safe(text: object) -> str:
    """The text with every control, format, surrogate, private, unassigned and line-breaking character spelled out."""
    shown = str(text)
    if shown.isascii() and shown.isprintable():
        return shown
    return "".join(
        _spelled(character) if unicodedata.category(character) in _UNSAFE else character for character in shown
    )


def _spelled(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
