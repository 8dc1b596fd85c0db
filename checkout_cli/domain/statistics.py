"""The events of the last minutes, as Redis counted them, or as far as the database knows.

Figures are of whole minutes, the running one included. An unknown figure is ``None``, which is not zero.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Any

import msgspec

from checkout_cli.errors import AccessDenied, InvalidInput, RedisUnavailable, TierUnavailable, WrongKeyType, value_of
from checkout_cli.keys import minute_key, tiers_key
from checkout_cli.session import PaymentStatus, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.counts import DatabaseCounts
from checkout_cli.store.histogram import BUCKETS, percentile
from checkout_cli.store.redis.commands import decoded
from checkout_cli.store.tier_counts import UNPUBLISHED

MOST_MINUTES = 60
"""Each minute is one small key, and all are fetched in one round trip."""

MINUTE = 60_000
"""In milliseconds."""

MOST_COMPARED = 20_000
"""The newest sessions, of which a count by status asks Redis whether an external writer wrote them since."""
COMPARED_AT_ONCE = 500

CACHES = ("delivery", "coupon")
TRANSITIONS = ("created", "completed", "failed", "cancelled", "updated")
FLUSHED = "flushed"
"""Dirty values that came to the database, the same session as often as it was flushed."""

_TIMED = ("create", "update")
_BY_TIER = ("read", "write")
_NUMBER = re.compile(rb"[0-9]{1,18}")


class Source(StrEnum):
    """The tier that knew the figures."""

    REDIS = "redis"
    DATABASE = "database"


class CacheCounts(msgspec.Struct, frozen=True):
    """Outcomes of reads: served; nothing there; invalidated or unreadable; Redis unavailable."""

    JSON_KEYS = "reads hits=hit misses=miss stale errors=error *rates:4"

    hit: int = 0
    miss: int = 0
    stale: int = 0
    error: int = 0

    @property
    def reads(self) -> int:
        return self.hit + self.miss + self.stale + self.error

    @property
    def rates(self) -> dict[str, float | None]:
        return {f"{name}Rate": self.rate(name) for name in OUTCOMES}

    def rate(self, name: str) -> float | None:
        """The share (0 to 1) of one outcome, such as ``hit``; ``None`` without reads."""
        number: int = getattr(self, name)
        return number / self.reads if self.reads else None


OUTCOMES = CacheCounts.__struct_fields__


class TierShares(msgspec.Struct, frozen=True):
    """Reads by the tier that answered, writes by the tier that acknowledged; Redis did not get the ``unpublished``."""

    reads: dict[str, int]
    writes: dict[str, int]
    unpublished: int

    def share(self, kind: str, tier: str) -> float | None:
        """A tier's share (0 to 1) of the ``reads`` or ``writes``; ``None`` without any."""
        counts: dict[str, int] = getattr(self, kind)
        total = sum(counts.values())
        return counts[tier] / total if total else None


class CallTimes(msgspec.Struct, frozen=True):
    """Percentiles of the seconds that calls took, within 20 %."""

    JSON_KEYS = "count p50Ms=p50 p95Ms=p95 p99Ms=p99"

    count: int
    p50: float | None
    p95: float | None
    p99: float | None


class Minute(msgspec.Struct, frozen=True):
    """A minute from ``start`` (ms) on; ``unreadable`` counts fields that are no numbers, 1 for another type."""

    JSON_KEYS = "minute@=start created completed failed cancelled updated unreadable"

    start: int
    created: int | None = None
    completed: int | None = None
    failed: int | None = None
    cancelled: int | None = None
    updated: int | None = None
    unreadable: int = 0


class StatisticsReport(msgspec.Struct, frozen=True):
    """The last minutes, oldest first, the running one last, those without events included.

    From Redis, a figure counts the accepted transitions of those minutes, each once at most. From the database,
    ``created`` counts the sessions that were created then; completed, failed and cancelled those that are so now and
    were last written then; the rest is unknown (``None``). ``why`` says why Redis was not the source; ``kept`` is the
    seconds for which Redis keeps a minute.
    """

    JSON_KEYS = (
        "since@ source sourceReason=why keptSeconds=kept unreadable totals conversionRate=conversion:4 createTimes "
        "updateTimes caches flushed tiers perMinute=minutes"
    )

    source: Source
    now: int
    minutes: tuple[Minute, ...]
    kept: float
    why: str | None = None
    create_times: CallTimes | None = None
    update_times: CallTimes | None = None
    caches: dict[str, CacheCounts] | None = None
    flushed: int | None = None
    """Dirty values that came to the database in these minutes."""
    tiers: TierShares | None = None

    @property
    def since(self) -> int:
        """The beginning of the first minute (ms)."""
        return self.minutes[0].start

    @property
    def unreadable(self) -> int:
        return sum(minute.unreadable for minute in self.minutes)

    @property
    def totals(self) -> dict[str, int | None]:
        return {name: self.total(name) for name in TRANSITIONS}

    def total(self, transition: str) -> int | None:
        """One of :data:`TRANSITIONS` over all minutes that know it; ``None`` where none does."""
        known = [number for minute in self.minutes if (number := getattr(minute, transition)) is not None]
        return sum(known) if known else None

    @property
    def conversion(self) -> float | None:
        """Completions for each creation in these minutes, above 1 where those completed were created earlier."""
        created, completed = self.total("created"), self.total("completed")
        return completed / created if created and completed is not None else None


def whole_minutes(seconds: float) -> int:
    """The minutes to read for so many seconds, the running one included; ``InvalidInput`` beyond what is kept."""
    if not MINUTE / 1000 <= seconds <= MOST_MINUTES * MINUTE / 1000:
        raise InvalidInput(f"statistics go back from 1m to {MOST_MINUTES}m", hint="--since 15m")
    return math.ceil(seconds * 1000 / MINUTE)


class Statistics:
    """The figures of a store's servers, read only."""

    def __init__(self, store: CheckoutStore) -> None:
        self._store = store
        self._counts = DatabaseCounts(store.database)

    def read(self, since_minutes: int, now: int) -> StatisticsReport:
        """The last minutes (1 to 60) at ``now`` (ms), from Redis, or else from the database; raises as both do."""
        settings = self._store.settings
        if not settings.enable_statistics:
            return self.without_redis(since_minutes, now, "REDIS_ENABLE_STATISTICS is false")
        if not settings.enable_checkout_sessions:
            why = "no sessions are kept in Redis (REDIS_ENABLE_CHECKOUT_SESSIONS is false)"
            return self.without_redis(since_minutes, now, why)
        try:
            return self._from_redis(since_minutes, now)
        except RedisUnavailable as away:
            return self.without_redis(since_minutes, now, str(away), away)

    def caches(self, since_minutes: int, now: int) -> dict[str, CacheCounts]:
        """The outcomes of reads of each of :data:`CACHES`, without the minutes of a cluster's unavailable servers."""
        replies = self._hashes(list(map(_minute_key, _starts(since_minutes, now))), partly=True)
        return _caches(_summed(map(_Fields, replies)))

    def by_status(self, since_minutes: int, now: int) -> dict[str, int]:
        """Sessions created in those minutes, by their payment status now; raises ``DatabaseUnavailable``.

        There are also ``deleted``, and ``other`` for statuses of other programs. What an external writer has written
        since counts as a flush will make it, for the newest ``MOST_COMPARED`` sessions.
        """
        starts = _starts(since_minutes, now)
        window = starts[0], starts[-1] + MINUTE
        found = Counter(self._counts.by_status(*window))
        with suppress(RedisUnavailable, AccessDenied):  # then what the database knows has to do
            for was, becomes in self._externally_changed(*window):
                found[was] -= 1
                found[becomes] += 1
        return {status: number for status, number in found.items() if number > 0}

    def _externally_changed(self, since: int, until: int) -> Iterator[tuple[str, str]]:
        """The sessions written by an external writer since: the row's status, and the one after a flush."""
        if not self._store.settings.enable_checkout_sessions:
            return
        rows = dict(self._counts.created_ids(since, until, MOST_COMPARED))
        ids = list(rows)
        for start in range(0, len(ids), COMPARED_AT_ONCE):
            suspects = self._store.redis.not_ours(ids[start : start + COMPARED_AT_ONCE])
            for sighting in self._store.admin.inspect_all(suspects):
                if sighting.session is not None:
                    status = sighting.session.status
                    yield rows[sighting.checkout_id], status if status in tuple(PaymentStatus) else "other"

    def living_by_status(self, now: int) -> dict[str, int]:
        """Living sessions by payment status, ``other`` for those of other programs; raises ``DatabaseUnavailable``."""
        return self._counts.living_by_status(now)

    # Redis

    def _from_redis(self, since_minutes: int, now: int) -> StatisticsReport:
        starts = _starts(since_minutes, now)
        replies = self._hashes([*map(_minute_key, starts), *map(_tiers_key, starts)])
        hashes = [_Fields(reply) for reply in replies[: len(starts)]]
        sums, tiers = _summed(hashes), _summed(map(_Fields, replies[len(starts) :]))
        create, update = (_times(sums, name) for name in _TIMED)
        return StatisticsReport(
            Source.REDIS,
            now,
            tuple(fields.minute(start) for start, fields in zip(starts, hashes, strict=True)),
            self._store.settings.statistics_ttl,
            create_times=create,
            update_times=update,
            caches=_caches(sums),
            flushed=sums.get(FLUSHED, 0),
            tiers=_tiers(tiers),
        )

    def _hashes(self, keys: Sequence[str], *, partly: bool = False) -> list[Any]:
        """The hashes at keys in one round trip, ``None`` for another type; ``partly`` skips unavailable servers."""
        replies = self._store.redis.hashes(keys)
        if partly and self._store.redis.is_cluster:
            replies = [reply for reply in replies if not isinstance(reply, RedisUnavailable)] or replies
        return [value_of(reply, WrongKeyType) for reply in replies]  # another program's is no reason to show nothing

    # The database

    def without_redis(
        self, since_minutes: int, now: int, why: str, away: RedisUnavailable | None = None
    ) -> StatisticsReport:
        """The figures that the database knows; ``why`` Redis is not the source, and its error if it was asked."""
        starts = _starts(since_minutes, now)
        try:
            found = self._counts.by_minute(starts[0], starts[-1] + MINUTE)
        except TierUnavailable as gone:
            if away is None:
                raise
            raise TierUnavailable(f"neither tier knows the figures: {away}; {gone}") from gone
        minutes = []
        for start in starts:
            counts = found.get(start // MINUTE)
            numbers = (counts.created, counts.completed, counts.failed, counts.cancelled) if counts else (0, 0, 0, 0)
            minutes.append(Minute(start, *numbers))
        return StatisticsReport(Source.DATABASE, now, tuple(minutes), self._store.settings.statistics_ttl, why)


class _Fields:
    """A minute's hash: its numbers by name, and which fields are none."""

    def __init__(self, reply: list[bytes] | None) -> None:
        self.is_hash = reply is not None
        self.numbers: dict[str, int] = {}
        self.corrupt: set[str] = set()
        for name, value in zip(map(decoded, (reply or [])[::2]), (reply or [])[1::2], strict=True):
            if not _is_known(name):
                continue  # a later version's, or nobody's: it changes nothing that is shown
            if _NUMBER.fullmatch(value):
                self.numbers[name] = int(value)
            else:
                self.corrupt.add(name)

    def minute(self, start: int) -> Minute:
        known = [name for name in TRANSITIONS if self.is_hash and name not in self.corrupt]
        numbers = {name: self.numbers.get(name, 0) for name in known}
        return Minute(start, **numbers, unreadable=len(self.corrupt) if self.is_hash else 1)


def _is_known(name: str) -> bool:
    kind, colon, rest = name.partition(":")
    if not colon:
        return name in TRANSITIONS or name in {UNPUBLISHED, FLUSHED}
    if kind in _TIMED:
        return rest.isascii() and rest.isdigit() and len(rest) < 4 and int(rest) < BUCKETS
    if kind in _BY_TIER:
        return rest in tuple(TierName)
    return kind in CACHES and rest in OUTCOMES


def _starts(since_minutes: int, now: int) -> list[int]:
    if not 1 <= since_minutes <= MOST_MINUTES:
        raise InvalidInput(f"not 1 to {MOST_MINUTES} minutes: {since_minutes}", hint="--since 15m")
    running = now // MINUTE
    return [minute * MINUTE for minute in range(running - since_minutes + 1, running + 1)]


def _summed(hashes: Iterable[_Fields]) -> Mapping[str, int]:
    sums: Counter[str] = Counter()
    for fields in hashes:
        sums.update(fields.numbers)
    return sums


def _times(sums: Mapping[str, int], call: str) -> CallTimes:
    prefix = f"{call}:"
    counts = {int(name.removeprefix(prefix)): number for name, number in sums.items() if name.startswith(prefix)}
    p50, p95, p99 = (percentile(counts, share) for share in (0.5, 0.95, 0.99))
    return CallTimes(sum(counts.values()), p50, p95, p99)


def _minute_key(start: int) -> str:
    return minute_key(start // MINUTE)


def _tiers_key(start: int) -> str:
    return tiers_key(start // MINUTE)


def _tiers(sums: Mapping[str, int]) -> TierShares:
    reads, writes = ({str(tier): sums.get(f"{kind}:{tier}", 0) for tier in TierName} for kind in _BY_TIER)
    return TierShares(reads, writes, sums.get(UNPUBLISHED, 0))


def _caches(sums: Mapping[str, int]) -> dict[str, CacheCounts]:
    return {
        cache: CacheCounts(**{outcome: sums.get(f"{cache}:{outcome}", 0) for outcome in OUTCOMES}) for cache in CACHES
    }
