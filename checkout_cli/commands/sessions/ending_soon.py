"""The sessions that end next, whose shoppers are about to lose them."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from checkout_cli.store.admin import row_seen
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.inspection import ending_first
from checkout_cli.store.records import Sighting
from checkout_cli.store.redis.index import COUNTED_DUE, PAGE, Entry
from checkout_cli.store.redis.index_place import Layout

MOST_LOOKED_AT = 4 * PAGE
"""Entries of the index. An entry says when a session can have ended at the earliest; reads put that off."""
_EVER = 2**53


@dataclass(frozen=True)
class EndingSoon:
    """Soonest first; not ``exact`` where others may end before them."""

    sightings: tuple[Sighting, ...] = ()
    exact: bool = True


def ending_soon(store: CheckoutStore, limit: int, *, use_redis: bool) -> EndingSoon:
    """Ask Redis a bounded number of questions, or the database; raises TierUnavailable, WrongKeyType."""
    now = store.clock.wall()
    layout = store.index.layout() if use_redis else None
    if layout is None or layout.is_empty:
        return EndingSoon(tuple(row_seen(row) for row in ending_first(store.database, now, limit)))
    ends: dict[str, int] = {}
    exact = False
    for offset in range(0, MOST_LOOKED_AT, PAGE):
        page = store.index.due(_EVER, limit=PAGE, offset=offset)
        ends |= _ends(store, page, now)
        exact = len(page) < PAGE or _none_before(ends, limit, page[-1])
        if exact:
            break
    unlisted, all_seen = _unlisted_ends(store, layout, now)
    ends |= unlisted
    exact = exact and all_seen
    chosen = heapq.nsmallest(2 * limit, ends, key=ends.__getitem__)
    found = sorted(store.admin.inspect_all(chosen), key=_end)[:limit]
    if len(chosen) == 2 * limit and found and _end(found[-1]) > ends[chosen[-1]]:
        exact = False  # so many of them have a later end in the database, which Redis has not heard of yet
    return EndingSoon(tuple(found), exact)


def _ends(store: CheckoutStore, page: list[Entry], now: int) -> dict[str, int]:
    lifetimes = store.redis.remaining([entry.checkout_id for entry in page])
    return {entry.checkout_id: now + ttl for entry, ttl in zip(page, lifetimes, strict=True) if ttl >= 0}


def _unlisted_ends(store: CheckoutStore, layout: Layout, now: int) -> tuple[dict[str, int], bool]:
    ends: dict[str, int] = {}
    looked_at = 0
    for number, lacking in store.index.unlisted(layout):
        if looked_at >= COUNTED_DUE:
            return ends, False
        ends |= _ends(store, [Entry(name, now) for name in lacking], now)
        looked_at += number
    return ends, True


def _none_before(ends: dict[str, int], limit: int, last: Entry) -> bool:
    found = heapq.nsmallest(limit, ends.values())
    return len(found) == limit and found[-1] <= last.score


def _end(sighting: Sighting) -> float:
    return float("inf") if sighting.expires_at is None else sighting.expires_at
