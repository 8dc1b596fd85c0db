"""Where a scan of Redis has stopped, so that the next one goes on there."""

from __future__ import annotations

import re

from checkout_cli.errors import InvalidInput

_CURSOR = re.compile(r"(?:([0-9]):)?(?:[0-9]{1,4}-)?([0-9]{1,20})")
"""Redis' own; in a cluster, after the server's place in the list of all; of several scans, after the number of one."""


def checked_cursor(cursor: str, scans: int = 1) -> str:
    """A cursor as a person has typed it, of one scan or of several that follow each other.

    Raises:
        InvalidInput: it is none of ours.
    """
    known = _CURSOR.fullmatch(cursor)
    if known is None or int(known[2]) >= 2**64 or int(known[1] or 0) >= scans:
        raise InvalidInput(f"not a cursor: {cursor[:32]!r}", hint="--cursor with what another run has said")
    return cursor
