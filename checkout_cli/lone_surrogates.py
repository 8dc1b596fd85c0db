r"""Lone surrogates in JSON: half of a surrogate pair, which JavaScript's ``JSON.stringify`` writes as ``\ud83d``.

A text that was cut in the middle of an emoji ends with one. ``JSON.parse`` reads it back, but UTF-8 has no bytes for
it, so no encoder, database or terminal of ours takes it. In a body it is an escape, plain ASCII, and harms nobody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_ESCAPE = re.compile(
    rb"""
      \\\\                                                         # a backslash: what follows it is no escape
    | \\u[dD][89abAB][0-9a-fA-F]{2} \\u[dD][c-fC-F][0-9a-fA-F]{2}  # a whole pair
    | ( \\u[dD][89a-fA-F][0-9a-fA-F]{2} )                          # half of one
    """,
    re.VERBOSE,
)
_REPLACEMENT = rb"\ufffd"
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}:,]')


def replaced(body: bytes) -> bytes:
    """The same JSON with U+FFFD for each lone surrogate."""
    return _ESCAPE.sub(lambda found: _REPLACEMENT if found[1] else found[0], body)


def members(body: bytes) -> Iterator[tuple[str, bytes]]:
    """The names in a body, lone surrogates in them, with the bytes of their values; it must be one JSON object."""
    depth, name, begin = 0, b"", 0
    for token in _TOKEN.finditer(body):
        mark = token[0]
        depth -= mark in {b"}", b"]"}
        if depth == 1 and mark == b":":
            name, begin = body[begin : token.start()], token.end()
        elif depth == 0 or (depth == 1 and mark == b","):
            if name:
                yield json.loads(name.decode()), body[begin : token.start()].strip()
            begin = token.end()
        depth += mark in {b"{", b"["}


def name_written(name: str) -> bytes:
    """A name as ``JSON.stringify`` writes it."""
    return json.dumps(name, ensure_ascii=False).encode(errors="backslashreplace")
