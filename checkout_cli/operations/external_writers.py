"""Whether an external writer still writes sessions on the same Redis."""

from __future__ import annotations

from checkout_cli.store.checkout_store import CheckoutStore


def seen_lately(store: CheckoutStore) -> int | None:
    """When its last write was seen (ms), if that was within a day; ``None`` where none is in use as far as is known.

    Raises:
        DatabaseUnavailable: only the database remembers.
    """
    writes = store.external.writes()
    return writes.seen_at if writes.are_recent(store.clock.wall()) else None
