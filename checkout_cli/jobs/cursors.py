"""Where a list that scans Redis has stopped, so that the next one goes on there."""

from __future__ import annotations

import re

from checkout_cli.errors import InvalidInput

_CURSOR = re.compile(r"(?:[0-9]{1,4}-)?([0-9]{1,20})")
"""Redis' own; in a cluster, after the server's place in the list of all."""


def checked_cursor(cursor: str) -> str:
    """A cursor as a person has typed it.

    Raises:
        InvalidInput: it is none of ours.
    """
    known = _CURSOR.fullmatch(cursor)
    if known is None or int(known[1]) >= 2**64:
        raise InvalidInput(f"not a cursor: {cursor[:32]!r}", hint="--cursor with what another list has said")
    return cursor
