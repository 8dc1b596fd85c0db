"""The ids of writes (rules 1 and 2): they say which state of a session a value is.

``TOKEN-N`` is the N-th consecutive dirty write of one process to one session, and includes the ones before it. A row
carries the id of the write that made it. ``f-SHA1`` and ``r-SHA1`` name an external writer's bytes; ``r-`` ones may
have come back with a restart, and may have been taken in before.
"""

from __future__ import annotations

from collections.abc import Sequence

EXTERNAL = "f-"
RESTORED = "r-"

LONGEST_ID = 64
"""Characters; the width of the database's columns."""
MOST_IDS = 500
"""Ids in one value: with more of them, the header would outgrow the session."""


def first_of(token: str) -> str:
    """The first write under a token."""
    return f"{token}-1"


def token_of(write_id: str) -> str:
    """The flush log's key for a write: its token; for external bytes their hash, restored or not."""
    if is_external(write_id):
        return EXTERNAL + write_id[len(EXTERNAL) :]
    return write_id.rpartition("-")[0]


def number_of(write_id: str) -> int:
    """How many dirty writes an id stands for; none for external bytes."""
    if is_external(write_id):
        return 0
    number = write_id.rpartition("-")[2]
    return int(number) if number.isascii() and number.isdigit() else 0


def is_external(write_id: str) -> bool:
    """Whether an id names an external writer's bytes."""
    return write_id.startswith((EXTERNAL, RESTORED))


def contains(ids: Sequence[str], write_id: str) -> bool:
    """Whether a value with these ids includes that write."""
    if write_id in ids:  # nearly always the answer
        return True
    token, number = token_of(write_id), number_of(write_id)
    return any(token_of(known) == token and number_of(known) >= number for known in ids)


def writes(ids: Sequence[str]) -> int:
    """How many versions a flush makes of these ids."""
    return sum(map(number_of, ids))


def extended(ids: Sequence[str], *, issued: str | None, token: str, number: int = 1) -> tuple[str, ...]:
    """The ids after one more write of this process.

    Only if they end with ``issued``, the last id that this process gave to this session, does its token go on (no write
    has failed since). Else the unused ``token`` begins.
    """
    if ids and issued is not None and ids[-1] == issued:
        return (*ids[:-1], f"{token_of(issued)}-{number_of(issued) + number}")
    return (*ids, f"{token}-{number}")
