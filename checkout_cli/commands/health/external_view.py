"""How external writers look: what they have written, as other commands tell it."""

from __future__ import annotations

from checkout_cli.store.database.external_writers import ExternalWrites
from checkout_cli.units import span


def external_text(writes: ExternalWrites, now: int) -> str:
    """What they have written in one line, at ``now`` (ms)."""
    return (
        f"last seen {span(now - writes.seen_at)} ago; {writes.taken_in:,} "
        f"{'write' if writes.taken_in == 1 else 'writes'} taken in, "
        f"{writes.conflicts:,} {'conflict' if writes.conflicts == 1 else 'conflicts'}"
    )
