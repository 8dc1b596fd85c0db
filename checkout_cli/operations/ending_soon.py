"""The sessions that end next: those whose shoppers are about to lose them."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database_inspection import ending_first
from checkout_cli.store.records import Sighting
from checkout_cli.store.redis_index import PAGE, Entry
from checkout_cli.store.sightings import row_seen

MOST_LOOKED_AT = 4 * PAGE
"""Entries of the index. An entry says when a session can have ended at the earliest; reads put that off."""
_EVER = 2**53


@dataclass(frozen=True)
class EndingSoon:
    """The next to end, soonest first; ``exact`` is false where others may end before them."""

    sightings: tuple[Sighting, ...] = ()
    exact: bool = True


def ending_soon(store: CheckoutStore, limit: int, *, use_redis: bool) -> EndingSoon:
    """Ask Redis, in a bounded number of questions, or the database.

    Raises:
        TierUnavailable, AccessDenied: it cannot be asked.
        WrongKeyType: what is at the index is none.
    """
    now = store.clock.wall()
    if not use_redis or store.index.known_kind() != "zset":
        return EndingSoon(tuple(row_seen(row) for row in ending_first(store.database, now, limit)))
    ends: dict[str, int] = {}
    exact = False
    for offset in range(0, MOST_LOOKED_AT, PAGE):
        page = store.index.due(_EVER, limit=PAGE, offset=offset)
        ends |= _ends(store, page, now)
        exact = len(page) < PAGE or _none_before(ends, limit, page[-1])
        if exact:
            break
    chosen = heapq.nsmallest(2 * limit, ends, key=ends.__getitem__)
    found = sorted(store.sightings(chosen), key=_end)[:limit]
    if len(chosen) == 2 * limit and found and _end(found[-1]) > ends[chosen[-1]]:
        exact = False  # so many of them have a later end in the database, which Redis has not heard of yet
    return EndingSoon(tuple(found), exact)


def _ends(store: CheckoutStore, page: list[Entry], now: int) -> dict[str, int]:
    """When each living session really ends (ms)."""
    lifetimes = store.redis.remaining([entry.checkout_id for entry in page])
    return {entry.checkout_id: now + ttl for entry, ttl in zip(page, lifetimes, strict=True) if ttl >= 0}


def _none_before(ends: dict[str, int], limit: int, last: Entry) -> bool:
    """Whether no session that was not looked at can end before those that were found."""
    found = heapq.nsmallest(limit, ends.values())
    return len(found) == limit and found[-1] <= last.score


def _end(sighting: Sighting) -> float:
    return float("inf") if sighting.expires_at is None else sighting.expires_at
