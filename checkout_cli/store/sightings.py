"""What operators see of sessions, without extending any life.

Redis shows its copies with their real expiry; the database shows what Redis lacks or must not be believed. A value
that is no session is shown as such.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from checkout_cli.errors import (
    AccessDenied,
    DatabaseUnavailable,
    RedisUnavailable,
    SessionCorrupt,
    SessionDeleted,
    SessionExpired,
    SessionNotFound,
    TierUnavailable,
    WrongKeyType,
)
from checkout_cli.keys import checkout_id_of, is_accepted_id, pattern_of, session_key
from checkout_cli.session import Session, TierName, decode, without_reserved
from checkout_cli.store import stamped
from checkout_cli.store.clock import Clock
from checkout_cli.store.database_tier import DatabaseTier
from checkout_cli.store.memory_tier import MemoryTier
from checkout_cli.store.records import Count, Problem, Record, Sighting
from checkout_cli.store.redis_commands import decoded
from checkout_cli.store.redis_index import RedisIndex
from checkout_cli.store.redis_tier import Look, RedisTier

PAGE = 50
"""Sessions that are fetched whole at a time."""
MOST_PENDING_SHOWN = 1000

_log = logging.getLogger("checkout_cli.store")


class Sightings:
    """An operator's view over all tiers. Thread-safe."""

    def __init__(
        self, redis: RedisTier, index: RedisIndex, database: DatabaseTier, memory: MemoryTier, clock: Clock
    ) -> None:
        """Looks at nothing yet."""
        self._redis = redis
        self._index = index
        self._database = database
        self._memory = memory
        self._clock = clock

    # One session

    def of(self, checkout_id: str, *, use_redis: bool) -> Sighting:
        """One session, as the tier that is to be believed has it."""
        copy, redis_away = self._copy(checkout_id) if use_redis else (None, None)
        try:
            row = self._database.read(checkout_id) if is_accepted_id(checkout_id) else None
        except DatabaseUnavailable as database_away:
            return self._without_database(checkout_id, copy, database_away)
        if row is not None and row.body is None:
            raise SessionDeleted(f"session {checkout_id} was deleted")
        if copy is not None and _stands(copy, row):
            return copy
        if row is None:
            return self._from_memory(checkout_id, redis_away)
        if row.expires_at <= self._clock.wall() and copy is None:
            raise SessionExpired(f"session {checkout_id} has expired")
        return row_seen(row, instead_of=copy)

    def _copy(self, checkout_id: str) -> tuple[Sighting | None, RedisUnavailable | None]:
        try:
            (look,) = self._redis.look([checkout_id])
        except RedisUnavailable as away:
            return None, away
        if look.problem is Problem.UNREACHABLE:
            return None, RedisUnavailable(look.detail)
        return self._seen(checkout_id, look), None

    def _without_database(self, checkout_id: str, copy: Sighting | None, away: DatabaseUnavailable) -> Sighting:
        if copy is None:
            return self._from_memory(checkout_id, away)
        if copy.session is None:
            return copy
        return msgspec.structs.replace(copy, session=msgspec.structs.replace(copy.session, verified=False))

    def _from_memory(self, checkout_id: str, away: TierUnavailable | None) -> Sighting:
        kept = self._memory.read(checkout_id, self._clock.wall())
        if kept is not None:
            return row_seen(kept.record, TierName.MEMORY)
        if away is not None:
            raise away
        raise SessionNotFound(f"no session {checkout_id!r}")

    # All sessions

    def all(self, tier: TierName | None) -> Iterator[Sighting]:
        """Every session of a tier; without one, of Redis and what it lacks, or of the database if Redis is away."""
        if tier is TierName.REDIS:
            yield from self._in_redis(use_database=False)
        elif tier is TierName.DATABASE:
            yield from self._in_database()
        elif tier is TierName.MEMORY:
            yield from self._in_memory()
        else:
            yield from self._everywhere()

    def _everywhere(self) -> Iterator[Sighting]:
        try:
            self._index.layout()  # in a cluster, only the server that has the index knows what to list
        except RedisUnavailable as away:
            _log.debug("listing from the database: %s", away)
            yield from self._in_database()
        else:
            yield from self._in_redis(use_database=True)
        yield from self._in_memory()

    def _in_redis(self, *, use_database: bool) -> Iterator[Sighting]:
        pending, deleted = self._pending() if use_database else ([], set())
        yield from pending
        shown = deleted | {sighting.checkout_id for sighting in pending}
        for page in self._index.newest():
            for start in range(0, len(page), PAGE):
                chunk = [checkout_id for checkout_id in page[start : start + PAGE] if checkout_id not in shown]
                yield from self._page(chunk, use_database=use_database)
        if use_database:
            yield from self._unlisted(shown)

    def _unlisted(self, shown: set[str]) -> Iterator[Sighting]:
        """What the database has and the index does not: Redis was restarted empty, or lost the index."""
        now = self._clock.wall()
        try:
            for page in self._database.newest():
                alive = {row.checkout_id: row for row in page if row.expires_at > now and row.checkout_id not in shown}
                yield from (row_seen(alive[name]) for name in self._not_listed(list(alive)))
                if page[-1].expires_at <= now:
                    return
        except DatabaseUnavailable as away:
            _log.debug("listing what Redis has: %s", away)

    def _not_listed(self, checkout_ids: Sequence[str]) -> list[str]:
        if not self._index.layout().is_empty:
            return self._index.missing(checkout_ids)
        lifetimes = self._redis.remaining(checkout_ids)  # without an index, the keys themselves were listed
        return [name for name, ttl in zip(checkout_ids, lifetimes, strict=True) if ttl < -1]

    def _pending(self) -> tuple[list[Sighting], set[str]]:
        """Sessions whose newest version Redis may lack, the last written first; and those that it must not show."""
        try:
            waiting = sorted(self._database.pending(MOST_PENDING_SHOWN), key=lambda row: row.updated_at, reverse=True)
            rows = self._database.read_many([row.checkout_id for row in waiting])
            copies = dict(zip(rows, self._redis.look(list(rows)), strict=True))
        except DatabaseUnavailable as away:
            _log.debug("listing what Redis has: %s", away)
            return [], set()
        now = self._clock.wall()
        behind = [rows[row.checkout_id] for row in waiting if row.checkout_id in rows]
        seen = {checkout_id: self._seen(checkout_id, look) for checkout_id, look in copies.items()}
        lacking = [
            row_seen(row, instead_of=seen[row.checkout_id])
            for row in behind
            if row.body is not None and row.expires_at > now and not _has(seen[row.checkout_id], row)
        ]
        return lacking, {row.checkout_id for row in behind if row.body is None}

    def _page(self, checkout_ids: Sequence[str], *, use_database: bool) -> Iterator[Sighting]:
        looks = dict(zip(checkout_ids, self._redis.look(checkout_ids), strict=True))
        doubtful = [name for name in checkout_ids if use_database and self._is_doubtful(name, looks[name])]
        rows = self._rows([name for name in doubtful if is_accepted_id(name)])
        yield from self._judged(checkout_ids, looks, rows)

    def _judged(
        self, checkout_ids: Sequence[str], looks: Mapping[str, Look], rows: Mapping[str, Record]
    ) -> Iterator[Sighting]:
        """Each as the tier that is to be believed has it."""
        now = self._clock.wall()
        for checkout_id in checkout_ids:
            copy, row = self._seen(checkout_id, looks[checkout_id]), rows.get(checkout_id)
            if row is not None and row.body is None:
                continue
            if copy is not None and _stands(copy, row):
                yield copy
            elif row is not None and (row.expires_at > now or copy is not None):
                yield row_seen(row, instead_of=copy)

    def some(self, checkout_ids: Sequence[str]) -> Iterator[Sighting]:
        """Several sessions, by their ids, each compared with its row."""
        looks = dict(zip(checkout_ids, self._redis.look(checkout_ids), strict=True))
        rows = self._rows([name for name in checkout_ids if is_accepted_id(name)])
        yield from self._judged(checkout_ids, looks, rows)

    def _is_doubtful(self, checkout_id: str, look: Look) -> bool:
        """Whether the database must be asked: Redis has nothing, no session, or a copy stamped for another server."""
        copy = stamped.decode(look.value) if look.value is not None else None
        if copy is None or not copy.intact:
            return True  # a foreign value counts only where no row stands behind it
        return copy.identity != self._redis.last_identity(checkout_id)

    def _rows(self, checkout_ids: Sequence[str]) -> dict[str, Record]:
        if not checkout_ids:
            return {}
        try:
            return self._database.read_many(checkout_ids)
        except DatabaseUnavailable as away:
            _log.debug("listing what Redis has: %s", away)
            return {}

    def _in_database(self) -> Iterator[Sighting]:
        now = self._clock.wall()
        for page in self._database.newest():
            yield from (row_seen(row) for row in page if row.expires_at > now)
            if page[-1].expires_at <= now:
                return  # the rest have expired, and wait for a clean-up

    def _in_memory(self) -> Iterator[Sighting]:
        yield from (row_seen(record, TierName.MEMORY) for record in self._memory.newest(self._clock.wall()))

    def count(self, *, use_redis: bool) -> Count:
        """How many sessions are alive, according to whichever of the index and the database knows of more.

        Raises:
            TierUnavailable: neither can be reached.
        """
        if not use_redis:
            return self._count_rows()
        try:
            listed = self._index.count(self._clock.wall())
        except (RedisUnavailable, AccessDenied, WrongKeyType) as error:
            _log.debug("counting in the database: %s", error)
            return self._count_rows()
        try:
            return max(listed, self._count_rows(), key=lambda count: count.number)
        except DatabaseUnavailable as error:
            _log.debug("counting in Redis alone: %s", error)
            return listed

    def _count_rows(self) -> Count:
        return Count(self._database.count(self._clock.wall()), TierName.DATABASE)

    # By the beginning of an id

    def matching(self, prefix: str, limit: int, *, use_redis: bool) -> list[str]:
        """Ids that begin with ``prefix``, from every durable tier that can be reached.

        Raises:
            TierUnavailable: none can.
        """
        sources: list[Callable[[], list[str]]] = []
        if is_accepted_id(prefix.ljust(8, "0")):  # else no id of ours begins so, and it may be no text for a database
            sources.append(lambda: self._database.matching(prefix, limit))
        if use_redis:
            sources.append(lambda: self._matching_keys(prefix, limit))
        found: dict[str, None] = {}
        problems: list[TierUnavailable | AccessDenied] = []
        for source in sources:
            try:
                found |= dict.fromkeys(name for name in source() if name.startswith(prefix))
            except (TierUnavailable, AccessDenied) as problem:
                problems.append(problem)
        if problems and len(problems) == len(sources):
            raise problems[-1]
        return sorted(found)[:limit]

    def _matching_keys(self, prefix: str, limit: int) -> list[str]:
        pattern = pattern_of(session_key(prefix))
        found: dict[str, None] = {}
        for keys in self._redis.scan(pattern, 1000):
            found |= dict.fromkeys(checkout_id_of(decoded(key)) for key in keys)
            if len(found) >= limit:
                break
        return list(found)[:limit]

    def _seen(self, checkout_id: str, look: Look) -> Sighting | None:
        expires_at = None if look.ttl is None else self._clock.wall() + look.ttl
        if look.problem is Problem.UNREACHABLE:
            return None
        if look.problem is not None:
            return Sighting(checkout_id, TierName.REDIS, None, expires_at, look.size, look.problem, look.detail)
        if look.value is None:
            return None
        copy = stamped.decode(look.value)
        try:
            fields = decode(copy.body if copy else without_reserved(look.value))
        except SessionCorrupt as error:
            return Sighting(checkout_id, TierName.REDIS, None, expires_at, look.size, Problem.CORRUPT, str(error))
        version = copy.version if copy and copy.intact else 0  # changed by another program: whatever it claims to be
        undrained = len(copy.undrained) if copy else 0
        session = Session(checkout_id, fields, version, TierName.REDIS, undrained=undrained)
        return Sighting(checkout_id, TierName.REDIS, session, expires_at, look.size)


def _stands(copy: Sighting, row: Record | None) -> bool:
    """Whether Redis' copy may be shown beside the database's row: nothing newer, and no good row behind a bad copy."""
    if row is None or row.body is None:
        return True
    return copy.session is not None and copy.session.version >= row.version


def _has(copy: Sighting | None, row: Record) -> bool:
    return copy is not None and _stands(copy, row)


def row_seen(row: Record, tier: TierName = TierName.DATABASE, *, instead_of: Sighting | None = None) -> Sighting:
    """A row as an operator sees it; ``instead_of`` what lies in Redis, which is told if it is no session."""
    assert row.body is not None  # noqa: S101  (tombstones are not shown)
    verified = tier is not TierName.MEMORY  # what only this process has, nobody can vouch for
    session = Session(row.checkout_id, decode(row.body), row.version, tier, verified)
    problem = None if instead_of is None else instead_of.problem
    detail = "" if problem is None else f"{problem} in Redis"
    return Sighting(row.checkout_id, tier, session, row.expires_at, len(row.body), detail=detail)
