"""A random sample of the keys of a server: pages of SCAN from random cursors.

A cursor names a bucket of the server's table of keys, and a key's bucket is by a hash that is seeded anew at each
start. So what stands in some buckets in a row is as random as keys drawn one by one, and costs a hundredth of the
commands; RANDOMKEY, besides, prefers keys that share their bucket with few others, and is denied more often. In a
cluster the lowest bits of a cursor are a slot since Redis 7.4 and Valkey 8, and a slot's keys belong together: there,
RANDOMKEY says in which slots to look, so that one is looked at the more often the more keys it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from checkout_cli.commands.memory.measure import (
    Page,
    Ways,
    all_pages,
    ask_sizes,
    listing,
    measured,
    measuring,
    scan_command,
    scanned,
)
from checkout_cli.errors import CheckoutError, RedisUnavailable
from checkout_cli.keys import (
    COUPON_GENERATION,
    DELIVERY_GENERATION,
    INDEX,
    INDEX_ASIDE,
    INDEX_BESIDE,
    LEGACY_STATS,
    PENDING,
    minute_key,
)
from checkout_cli.store.redis.cluster import cursor_in_slot_of
from checkout_cli.store.redis.pipeline import Conversation
from checkout_cli.store.redis.server import RedisServer

PAGE = 100
"""Keys that SCAN is asked for at a random place."""
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
    """A key, its bytes (0: not known) and time to live in ms, and for how many keys of its server it stands."""

    key: bytes
    size: int
    ttl: int | None
    stands_for: float


@dataclass(frozen=True)
class Sample:
    """What was drawn from one server.

    ``known`` are the keys that are at a known place, all of them; ``drawn`` comes from the ``total`` others.
    """

    drawn: tuple[Drawn, ...]
    known: Page
    total: int
    ways: Ways

    @property
    def is_exact(self) -> bool:
        """Whether it has every key."""
        return not self.total

    def rows(self) -> list[SampledKey]:
        """All keys that it has."""
        scale = self.total / max(sum(drawn.stands_for for drawn in self.drawn), 1)
        pages = [(self.known, 1.0), *((drawn.page, scale) for drawn in self.drawn)]
        return [SampledKey(key, size or 0, ttl, weight) for page, weight in pages for key, size, ttl in page.rows()]


@dataclass(frozen=True)
class Samples:
    """One of each server that answered; ``missing`` are the places of those of a cluster that did not."""

    servers: tuple[Sample, ...]
    missing: tuple[str, ...] = ()


def sample_keys(
    servers: Sequence[RedisServer], number: int, random: Random, *, now: int, is_cluster: bool = False
) -> Samples:
    """About ``number`` keys, from each server as many as its part of all keys; ``now`` is in milliseconds.

    Nothing is touched by it. The keys that every checkout has at a known place, the index being perhaps the largest of
    all, are measured apart: hardly a sample would have them.

    Raises:
        CommandDenied, CommandUnknown: SCAN or DBSIZE is.
        RedisUnavailable: no server answers.
    """
    found, missing = [], []
    away: RedisUnavailable | None = None
    for server in servers:
        try:
            found.append(sample_of(server, -(-number // len(servers)), random, now=now, is_cluster=is_cluster))
        except RedisUnavailable as error:
            away = error
            missing.append(server.place)
    if away is not None and not found:
        raise away
    return Samples(tuple(found), tuple(missing))


def known_keys(now: int) -> list[bytes]:
    """The keys of which there is one each, at a place that we know: ``now`` is in milliseconds."""
    single = [
        *(INDEX, INDEX_BESIDE, INDEX_ASIDE, PENDING, LEGACY_STATS),
        *(DELIVERY_GENERATION, COUPON_GENERATION),
    ]
    minute = now // 60_000
    return [key.encode() for key in (*single, *(minute_key(minute - age) for age in range(-1, _MINUTES_KEPT)))]


def sample_of(
    server: RedisServer,
    number: int,
    random: Random,
    *,
    now: int = 0,
    is_cluster: bool = False,
    few: int = 0,
    sizes: bool = True,
) -> Sample:
    """About ``number`` keys of one server, or all of them where there are no more than ``few``.

    Without ``sizes`` the keys alone are asked for, and none is measured apart.

    Raises:
        CommandDenied, CommandUnknown: SCAN or DBSIZE is.
        RedisUnavailable: it does not answer.
    """
    with measuring(server) if sizes else listing(server) as (talk, ways):
        total = talk.ask(("DBSIZE",))[0]
        if isinstance(total, CheckoutError):
            raise total
        if total <= few:
            rows = {row[0]: row for page in all_pages(talk, ways) for row in page.rows()}.values()  # SCAN repeats keys
            page = Page([key for key, _, _ in rows], [size for _, size, _ in rows], [ttl for *_, ttl in rows])
            return Sample((), page, 0, ways)
        apart = known_keys(now) if sizes else []
        ask_sizes(talk, ways, apart)
        known = measured(talk, ways, apart, 0)
        left_out = frozenset(known.keys)
        others = max(total - len(known.keys), 0)
        drawn: list[Drawn] = []
        for cursors in _cursors(talk, random, number, is_cluster):
            drawn += _drawn(talk, ways, cursors, left_out, others)
            if sum(len(one.page.keys) for one in drawn) >= number:
                break
        return Sample(tuple(drawn), known, others, ways)


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
    talk: Conversation, ways: Ways, cursors: Sequence[int], left_out: frozenset[bytes], others: int
) -> Iterator[Drawn]:
    """The pages at some cursors, measured; ``others`` is how many keys there were at the beginning to draw from.

    SCAN removes the keys that it finds ended. Commands that arrive together are run together, so what DBSIZE has lost
    from one page to the next is how many those were, and a page stands for its part of what there was just before.
    A replica removes none: what it counts is too much by as many as have ended.
    """
    commands = [command for cursor in cursors for command in (scan_command(cursor, PAGE), ("DBSIZE",))]
    before, *replies = talk.ask(("DBSIZE",), *commands)
    sizes = [before, *replies[1::2]]
    found: list[tuple[list[bytes], float]] = []
    for reply, size, after in zip(replies[::2], sizes[:-1], sizes[1:], strict=True):
        keys = [key for key in dict.fromkeys(scanned(reply)[1]) if key not in left_out]
        found.append((keys, (len(keys) + max(size - after, 0)) * others / max(size - len(left_out), 1)))
    for start in range(0, len(found), PAGES_AT_ONCE):
        some = found[start : start + PAGES_AT_ONCE]
        for keys, _ in some:
            ask_sizes(talk, ways, keys)
        for keys, stands_for in some:
            yield Drawn(measured(talk, ways, keys, 0), stands_for)
