"""The place where a scan of Redis stopped, for the next one to continue."""

from __future__ import annotations

import re

from checkout_cli.errors import InvalidInput

_CURSOR = re.compile(r"(?:([0-9]):)?(?:[0-9]{1,4}-)?([0-9]{1,20})")
"""Redis' own, behind the number of the scan where there are several, and the number of the server in a cluster."""


def checked_cursor(cursor: str, scans: int = 1) -> str:
    """A typed cursor of one of ``scans`` successive scans; ``InvalidInput`` if it is none."""
    known = _CURSOR.fullmatch(cursor)
    if known is None or int(known[2]) >= 2**64 or int(known[1] or 0) >= scans:
        raise InvalidInput(f"not a cursor: {cursor[:32]!r}", hint="--cursor with what another run has said")
    return cursor
