"""Untrusted text made safe for a terminal.

Session fields, keys and server answers are somebody else's: an escape sequence could retitle the window, write to the
clipboard or hide a line, a right-to-left override make a cancelled session read as a paid one.
"""

from __future__ import annotations

import unicodedata

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def safe(text: object) -> str:
    """The text with control, format, surrogate, private, unassigned and line-breaking characters spelled out."""
    shown = str(text)
    if shown.isascii() and shown.isprintable():
        return shown
    return "".join(
        character.encode("unicode_escape", "surrogatepass").decode("ascii")
        if unicodedata.category(character) in _UNSAFE
        else character
        for character in shown
    )
