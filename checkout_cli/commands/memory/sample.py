"""A random sample of the keys of a server: pages of SCAN from random cursors.

A cursor names a bucket of the server's table of keys, and a hash that is seeded at each start puts keys into buckets.
So the keys of some buckets in a row are as random as keys drawn one by one, at a hundredth of the commands; RANDOMKEY
prefers keys that share their bucket with few others, and is denied more often. In a cluster the lowest bits of a cursor
are a slot (since Redis 7.4 and Valkey 8), and the keys of a slot belong together: there, RANDOMKEY chooses the slots,
so that a slot is drawn the more often the more keys it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from checkout_cli.commands.memory.measure import (
    PAGE,
    Allowed,
    Page,
    all_pages,
    ask_sizes,
    measured,
    measuring,
    scan_command,
    scanned,
)
from checkout_cli.errors import CheckoutError
from checkout_cli.keys import (
    COUPON_GENERATION,
    DELIVERY_GENERATION,
    INDEX,
    INDEX_ASIDE,
    INDEX_BESIDE,
    LEGACY_STATS,
    PENDING,
    minute_key,
    tiers_key,
)
from checkout_cli.store.redis.cluster import cursor_in_slot_of
from checkout_cli.store.redis.pipeline import Conversation
from checkout_cli.store.redis.server import RedisServer

PAGES_AT_ONCE = 4
"""Pages measured in one go, of two commands a key."""
_SCANS_AT_ONCE = 20
_CURSOR_BITS = 63
_MINUTES_KEPT = 61


@dataclass(frozen=True)
class Drawn:
    """The keys of a page, and for how many they stand: DBSIZE counts keys that have ended, SCAN leaves them out."""

    page: Page
    stands_for: float


@dataclass(frozen=True)
class SampledKey:
    """A key, its bytes (0: unknown) and time to live in ms, and for how many keys of its server it stands."""

    key: bytes
    size: int
    ttl: int | None
    stands_for: float


@dataclass(frozen=True)
class Sample:
    """The sample of one server: ``known`` are keys of known names, ``drawn`` comes from the ``total`` others."""

    drawn: tuple[Drawn, ...]
    known: Page
    total: int
    allowed: Allowed

    def rows(self) -> list[SampledKey]:
        scale = self.total / max(sum(drawn.stands_for for drawn in self.drawn), 1)
        pages = [(self.known, 1.0), *((drawn.page, scale) for drawn in self.drawn)]
        return [SampledKey(key, size or 0, ttl, weight) for page, weight in pages for key, size, ttl in page.rows()]


def known_keys(now: int) -> list[bytes]:
    """The keys of which there is one each, by their names; ``now`` is in milliseconds."""
    single = (INDEX, INDEX_BESIDE, INDEX_ASIDE, PENDING, LEGACY_STATS, DELIVERY_GENERATION, COUPON_GENERATION)
    minute = now // 60_000
    minutes = [name_of(minute - age) for age in range(-1, _MINUTES_KEPT) for name_of in (minute_key, tiers_key)]
    return [key.encode() for key in (*single, *minutes)]


def sample_of(
    server: RedisServer, number: int, random: Random, *, now: int = 0, few: int = 0, sizes: bool = True
) -> Sample:
    """About ``number`` keys of one server, or all of them where there are no more than ``few``; touches none.

    The keys of known names at ``now`` (ms) are measured apart: the index may be the largest key of all, and hardly a
    sample would draw it. Without ``sizes`` no key is measured, and none apart.

    Raises:
        CommandDenied, CommandUnknown: SCAN or DBSIZE is refused.
        RedisUnavailable: the server does not answer.
    """
    with measuring(server, sizes=sizes) as (talk, allowed):
        total = talk.ask(("DBSIZE",))[0]
        if isinstance(total, CheckoutError):
            raise total
        if total <= few:
            # SCAN repeats keys
            rows = {row[0]: row for page in all_pages(talk, allowed) for row in page.rows()}.values()
            page = Page([key for key, _, _ in rows], [size for _, size, _ in rows], [ttl for *_, ttl in rows])
            return Sample((), page, 0, allowed)
        apart = known_keys(now) if sizes else []
        ask_sizes(talk, allowed, apart)
        known = measured(talk, allowed, apart, 0)
        left_out = frozenset(known.keys)
        others = max(total - len(known.keys), 0)
        drawn: list[Drawn] = []
        for cursors in _cursors(talk, random, number, server.is_cluster):
            drawn += _drawn(talk, allowed, cursors, left_out, others)
            if sum(len(one.page.keys) for one in drawn) >= number:
                break
        return Sample(tuple(drawn), known, others, allowed)


def _cursors(talk: Conversation, random: Random, number: int, is_cluster: bool) -> Iterator[list[int]]:
    """Random cursors, some at a time, and three times as many as pages of the usual length would need."""
    pages = -(-number // PAGE)
    left = 3 * pages
    while left > 0:
        some = min(_SCANS_AT_ONCE, pages if pages > 0 else left, left)
        pages -= some
        left -= some
        bits = [random.getrandbits(_CURSOR_BITS) for _ in range(some)]
        if is_cluster:
            keys = talk.ask(*[("RANDOMKEY",)] * some)
            bits = [
                cursor_in_slot_of(key, place) if isinstance(key, bytes) else place
                for key, place in zip(keys, bits, strict=True)
            ]
        yield bits


def _drawn(
    talk: Conversation, allowed: Allowed, cursors: Sequence[int], left_out: frozenset[bytes], others: int
) -> Iterator[Drawn]:
    """The pages at some cursors, measured; ``others`` is how many keys there were to draw from at the beginning.

    SCAN removes expired keys that it finds. Commands that arrive together run together, so the loss in DBSIZE from one
    page to the next is the number of those keys, and a page stands for its part of the keys just before. A replica
    removes none: its count includes the expired keys.
    """
    commands = [command for cursor in cursors for command in (scan_command(cursor), ("DBSIZE",))]
    before, *replies = talk.ask(("DBSIZE",), *commands)
    sizes = [before, *replies[1::2]]
    found: list[tuple[list[bytes], float]] = []
    for reply, size, after in zip(replies[::2], sizes[:-1], sizes[1:], strict=True):
        keys = [key for key in dict.fromkeys(scanned(reply)[1]) if key not in left_out]
        found.append((keys, (len(keys) + max(size - after, 0)) * others / max(size - len(left_out), 1)))
    for start in range(0, len(found), PAGES_AT_ONCE):
        some = found[start : start + PAGES_AT_ONCE]
        for keys, _ in some:
            ask_sizes(talk, allowed, keys)
        for keys, stands_for in some:
            yield Drawn(measured(talk, allowed, keys, 0), stands_for)
