"""Our own typographic characters on a stream whose encoding lacks them, such as ASCII or ISO 8859-1.

Each becomes one or more ASCII characters; a bar of blocks becomes a bar of ``#``. Any other character that the encoding
lacks is spelled as an escape (``\\u0142``).
"""

from __future__ import annotations

import codecs

ERRORS = "checkoutctl.plain"
"""The name of the error handler, for ``reconfigure(errors=…)``."""
_ASCII = {
    **dict(zip("▁▂▃▄▅▆▇█░", ".:-=+*%#.", strict=True)),
    **dict(zip("─│━┃·–—×±•", "-|-| --x~*", strict=True)),
    "…": "...",
    "→": "->",
    "←": "<-",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”„", '"'),
}


def use_plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace what cannot be encoded. Raises the error where it is not one of encoding."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    failed = error.object[error.start : error.end]
    plain = (_ASCII.get(each) or each.encode("ascii", "backslashreplace").decode() for each in failed)
    return "".join(plain), error.end


codecs.register_error(ERRORS, use_plain)
