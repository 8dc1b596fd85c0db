"""Whether another program still writes sessions on the same Redis."""

from __future__ import annotations

from checkout_cli.store.checkout_store import CheckoutStore

GONE_AFTER = 86_400_000
"""Milliseconds after which a program that was not seen again counts as retired."""


def last_seen(store: CheckoutStore) -> int | None:  # noqa: ARG001  (none is on record yet)
    """When a write of another program was last met (ms since the epoch); ``None`` where none ever was."""
    return None


def seen_lately(store: CheckoutStore) -> int | None:
    """The same, where that was within a day; ``None`` where no other program is in use as far as is known."""
    moment = last_seen(store)
    return moment if moment is not None and store.clock.wall() - moment < GONE_AFTER else None
