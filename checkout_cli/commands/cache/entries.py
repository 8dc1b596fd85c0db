"""Show, replace and invalidate cached entries; only Redis has them, and the counts of hits stay as they are."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, TypeVar

from checkout_cli.domain.cache import Cache
from checkout_cli.domain.coupons import Coupons
from checkout_cli.domain.delivery import DeliveryCharges
from checkout_cli.domain.entries import Answer, CacheEntry
from checkout_cli.domain.statistics import CacheCounts, Statistics, whole_minutes
from checkout_cli.errors import AccessDenied, CacheEntryNotFound, ExitCode, InvalidInput, WrongKeyType
from checkout_cli.jobs.bounded_run import BoundedRun, Stopped
from checkout_cli.jobs.key_scan import KeyScan, scan
from checkout_cli.keys import pattern_of
from checkout_cli.privacy.personal_ids import named
from checkout_cli.servers.per_server import Partial
from checkout_cli.session import strict_json
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.commands import decoded, encoded
from checkout_cli.typed import typed

EXAMPLES = 5
LARGEST_DOCUMENT = 64 * 1024
"""Bytes of a value that a person puts into a cache."""


@dataclass(frozen=True)
class Found:
    """An entry at ``now`` (ms); not ``enabled`` where the settings switch the cache off."""

    entry: CacheEntry
    now: int
    enabled: bool

    @property
    def served(self) -> bool:
        """Whether a caller would get it now; of a coupon, any of its answers."""
        return self.enabled and any(answer.problem is None for answer in self.entry.answers)

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.OK if self.served else ExitCode.FINDING

    @property
    def next_step(self) -> str:
        return typed("checkoutctl cache {} list", self.entry.cache) if self.enabled else "checkoutctl config show"


@dataclass(kw_only=True)
class EntryList(KeyScan[CacheEntry]):
    """Some entries of a cache."""

    cache: str


@dataclass(frozen=True)
class Replacement:
    """What shoppers get (``before``), and what they are to get for ``lifetime`` seconds, in a coupon's context."""

    cache: str
    key: str
    before: Answer | None
    after: Any
    lifetime: float
    enabled: bool
    context: str | None = None
    done: bool = False


@dataclass(frozen=True)
class Invalidation:
    """What is to be invalidated (no ``scope``: all); ``count`` is of keys, ``None`` where counting is denied."""

    JSON_KEYS = "cache scope? count exact examples dryRun!=done invalidated=done"

    cache: str
    scope: str
    count: int | None
    exact: bool
    examples: tuple[str, ...]
    done: bool = False


P = TypeVar("P", Replacement, Invalidation)

# Looking


def look_at_delivery(store: CheckoutStore, distance: str, value: str) -> Found:
    """The cached charge; raises CacheEntryNotFound."""
    charges = DeliveryCharges(store)
    entry = charges.look(distance, value)
    if entry is None:
        raise CacheEntryNotFound(
            f"no charge is cached at {named(charges.key(distance, value))}", hint="checkoutctl cache delivery list"
        )
    return Found(entry, store.clock.wall(), store.settings.enable_delivery_cache)


def look_at_coupon(store: CheckoutStore, code: str) -> Found:
    """The cached answers; raises CacheEntryNotFound."""
    coupons = Coupons(store)
    entry = coupons.look(code)
    if entry is None:
        raise CacheEntryNotFound(
            f"no answer is cached at {named(coupons.key(code))}", hint="checkoutctl cache coupon list"
        )
    return Found(entry, store.clock.wall(), store.settings.enable_coupon_cache)


def list_entries(
    store: CheckoutStore, name: str, run: BoundedRun | None = None, *, limit: int, cursor: str
) -> EntryList:
    """Entries of the cache of that name, in no order; raises InvalidInput for a bad cursor."""
    cache: Cache = Coupons(store) if name == Coupons.name else DeliveryCharges(store)

    def page(position: str, step: int) -> tuple[dict[str, CacheEntry], str | None]:
        keys, following = _keys(store, cache, position, step)
        return {entry.key: entry for entry in cache.look_at_all(keys)}, following

    found = EntryList(cache=cache.name, enabled=cache.enabled)
    return scan(store, run or BoundedRun(store.clock), found, page, limit=limit, cursor=cursor)


def _keys(store: CheckoutStore, cache: Cache, cursor: str, step: int) -> tuple[list[bytes], str | None]:
    """The cache's keys among the next ``step`` keys or so, and the next cursor."""
    keys, following = store.redis.scan_step(pattern_of(cache.prefix), cursor, step)
    prefix, generation = encoded(cache.prefix), encoded(cache.generation_key)  # permissions restrict no names of SCAN
    return sorted({key for key in keys if key.startswith(prefix) and key != generation}), following


# Replacing


def read_document(stream: BinaryIO) -> bytes:
    """Stdin, at most what may be cached; raises InvalidInput."""
    try:
        return stream.read(LARGEST_DOCUMENT + 1)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"cannot read stdin: {error}", hint="give the JSON as an argument") from error


def parse_document(document: bytes, what: str) -> Any:
    """The value of a JSON document, numbers as they are; raises InvalidInput."""
    if len(document) > LARGEST_DOCUMENT:
        raise InvalidInput(f"{what} is larger than {LARGEST_DOCUMENT:,} bytes", hint="cache what is needed of it")
    try:
        return strict_json(document)
    except RecursionError as error:
        raise InvalidInput(f"{what} is nested too deeply", hint="flatten it") from error
    except ValueError as error:
        raise InvalidInput(
            f"{what} is not JSON: {error}", hint="""quote it for the shell: '{"valid": true}'"""
        ) from error


def replace_delivery(
    store: CheckoutStore, distance: str, value: str, document: bytes, *, agreed: Callable[[Replacement], bool]
) -> Replacement:
    """Cache a charge for everybody, if ``agreed``; after a time-out it may have been written."""
    charges, charge = DeliveryCharges(store), parse_document(document, "the charge")
    charges.check(charge)
    replacement = Replacement(
        charges.name,
        charges.key(distance, value),
        _answer_before(charges.look(distance, value)),
        charge,
        store.settings.delivery_ttl,
        charges.enabled,
    )
    return _if_agreed(replacement, agreed, lambda: charges.put(distance, value, charge))


def replace_coupon(
    store: CheckoutStore, code: str, context: bytes, document: bytes, *, agreed: Callable[[Replacement], bool]
) -> Replacement:
    """Cache an answer for callers with this very context, if ``agreed``."""
    coupons = Coupons(store)
    asked, answer = parse_document(context, "the context"), parse_document(document, "the answer")
    coupons.check(answer)
    digest = coupons.digest(asked)
    replacement = Replacement(
        coupons.name,
        coupons.key(code),
        _answer_before(coupons.look(code), digest),
        answer,
        store.settings.coupon_ttl if answer["valid"] else store.settings.coupon_invalid_ttl,
        coupons.enabled,
        context=digest,
    )
    return _if_agreed(replacement, agreed, lambda: coupons.put(code, asked, answer))


def _answer_before(entry: CacheEntry | None, context: str | None = None) -> Answer | None:
    """The answer that would be replaced; the problem of an entry that cannot be read."""
    if entry is None:
        return None
    if entry.problem is not None:
        return Answer(None, problem=entry.problem)
    return next((answer for answer in entry.answers if answer.context == context), None)


def _if_agreed(preview: P, agreed: Callable[[P], bool], act: Callable[[], None]) -> P:
    if not agreed(preview):
        return preview
    act()
    return replace(preview, done=True)


# Invalidating


def invalidate_delivery(
    store: CheckoutStore,
    distance_from: str | None,
    distance_to: str | None,
    *,
    agreed: Callable[[Invalidation], bool],
) -> Invalidation:
    """Invalidate all charges, or a range of distances, both included; values being computed are not served."""
    charges = DeliveryCharges(store)
    if distance_from is None and distance_to is None:
        preview = _preview(store, charges, "", lambda _key: True)
        return _if_agreed(preview, agreed, charges.invalidate_all)
    low, high = charges.range(distance_from, distance_to)
    preview = _preview(store, charges, f"from {low} to {high} km", lambda key: charges.in_range(key, low, high))
    return _if_agreed(preview, agreed, lambda: charges.invalidate_range(low, high))


def invalidate_coupons(
    store: CheckoutStore, code: str | None, *, agreed: Callable[[Invalidation], bool]
) -> Invalidation:
    """Invalidate the answers about one coupon, or all."""
    coupons = Coupons(store)
    if code is None:
        return _if_agreed(_preview(store, coupons, "", lambda _key: True), agreed, coupons.invalidate_all)
    return _if_agreed(_preview_one(store, coupons, code), agreed, lambda: coupons.invalidate(code))


def _preview(store: CheckoutStore, cache: Cache, scope: str, affected: Callable[[str], bool]) -> Invalidation:
    """Count the keys by a bounded scan; a Redis that denies scanning does not prevent the invalidation."""

    def page(position: str, step: int) -> tuple[dict[str, None], str | None]:
        keys, following = _keys(store, cache, position, step)
        return dict.fromkeys(filter(affected, map(decoded, keys))), following

    try:
        scanned = scan(store, BoundedRun(store.clock), KeyScan[None](enabled=cache.enabled), page)
    except AccessDenied:
        return _uncounted(store, cache, scope)
    if scanned.stopped is Stopped.INTERRUPTED:
        raise KeyboardInterrupt
    examples = tuple(heapq.nsmallest(EXAMPLES, scanned.found))
    exact = scanned.finished and not store.redis.is_cluster  # whose scan leaves out a server that is away
    return Invalidation(cache.name, scope, len(scanned.found), exact=exact, examples=examples)


def _uncounted(store: CheckoutStore, cache: Cache, scope: str) -> Invalidation:
    """Raises AccessDenied where Redis refuses us altogether."""
    with contextlib.suppress(WrongKeyType):
        store.redis.value(cache.generation_key)
    return Invalidation(cache.name, scope, None, exact=False, examples=())


def _preview_one(store: CheckoutStore, coupons: Coupons, code: str) -> Invalidation:
    key = coupons.key(code)
    scope = key.removeprefix(coupons.prefix)
    try:
        found = coupons.look(code) is not None
    except AccessDenied:
        return _uncounted(store, coupons, scope)
    return Invalidation(coupons.name, scope, int(found), exact=True, examples=(key,) if found else ())


# Statistics


@dataclass(frozen=True)
class CacheStatistics(Partial):
    """Counts by cache over whole ``minutes``; not ``enabled`` where the settings stop programs from counting."""

    JSON_KEYS = "minutes enabled caches partial missingServers=missing"

    minutes: int
    caches: dict[str, CacheCounts]
    enabled: bool
    missing: tuple[str, ...] = ()


def cache_statistics(store: CheckoutStore, since: float) -> CacheStatistics:
    """The reads of the last ``since`` seconds, 60 to 3600. Raises InvalidInput, RedisUnavailable, AccessDenied."""
    minutes = whole_minutes(since)
    caches = Statistics(store).caches(minutes, store.clock.wall())
    return CacheStatistics(minutes, caches, store.settings.enable_statistics, tuple(store.redis.missing_servers()))
