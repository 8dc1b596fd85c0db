"""A session's row, as the protocol knows it."""

from __future__ import annotations

import msgspec


class Row(msgspec.Struct, frozen=True):
    """One version of a session in the database; a tombstone has no body.

    ``previous_body`` is the body of ``previous_version``, the version before, where it was kept.
    """

    version: int
    write_id: str
    body: bytes | None
    previous_version: int | None = None
    previous_body: bytes | None = None
