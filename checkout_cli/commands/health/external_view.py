"""How external writers look: what they have written, as other commands tell it."""

from __future__ import annotations

from typing import Any

from checkout_cli.session import iso
from checkout_cli.spans import span
from checkout_cli.store.database.external_writers import ExternalWrites


def external_document(writes: ExternalWrites | None) -> dict[str, Any] | None:
    """The counts as JSON; ``null`` where only the database would know them."""
    if writes is None:
        return None
    return {
        "takenIn": writes.taken_in,
        "conflicts": writes.conflicts,
        "refilled": writes.refilled,
        "deleted": writes.deleted,
        "lastSeen": iso(writes.seen_at) if writes.seen_at else None,
    }


def external_text(writes: ExternalWrites, now: int) -> str:
    """The same in one line, at ``now`` (ms)."""
    return (
        f"last seen {span(now - writes.seen_at)} ago; {writes.taken_in:,} "
        f"{'write' if writes.taken_in == 1 else 'writes'} taken in, "
        f"{writes.conflicts:,} {'conflict' if writes.conflicts == 1 else 'conflicts'}"
    )
