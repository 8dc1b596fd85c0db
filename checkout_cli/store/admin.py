"""Operators' view of sessions: real expiries, rows that Redis lacks, and what a flush would make of other values."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from checkout_cli.clock import Clock
from checkout_cli.config.settings import Settings
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
from checkout_cli.keys import beginning_of_ids, checkout_id_of, pattern_of, possible_id, session_key
from checkout_cli.privacy.personal_ids import named
from checkout_cli.session import Session, TierName, decode
from checkout_cli.store.database.admin import DatabaseAdmin
from checkout_cli.store.database.flush_log import FlushLog
from checkout_cli.store.database.inspection import known_beginnings
from checkout_cli.store.memory_tier import MemoryTier
from checkout_cli.store.protocol.flushing import Flush
from checkout_cli.store.protocol.ids import writes
from checkout_cli.store.protocol.value import Kind, Value, digest_of
from checkout_cli.store.protocol.writing import taken_in
from checkout_cli.store.records import Count, Problem, Record, Sighting
from checkout_cli.store.redis.admin import RedisAdmin
from checkout_cli.store.redis.commands import decoded
from checkout_cli.store.redis.index import RedisIndex
from checkout_cli.store.redis.opened import Look, Opened
from checkout_cli.typed import typed

PAGE = 50
"""Sessions that are fetched whole at a time."""
MOST_PENDING_SHOWN = 1000
EXPECTED = "expected"
"""The token of a flush that is only thought of."""

_log = logging.getLogger("checkout_cli.store")


class Seen(NamedTuple):
    """Living sessions, and how many ids were looked at for them."""

    sightings: list[Sighting]
    looked_at: int


@dataclass(eq=False)
class Admin:
    """All tiers as operators see them. Thread-safe."""

    settings: Settings
    redis: RedisAdmin
    index: RedisIndex
    database: DatabaseAdmin
    memory: MemoryTier
    flush_log: FlushLog
    clock: Clock

    # One session

    def inspect(self, checkout_id: str, *, ended: bool = False) -> Sighting:
        """One session, from the most trustworthy tier, with ``ended`` also the row of an expired one.

        Raises a kind of ``SessionNotFound``, or ``TierUnavailable``.
        """
        look, redis_away = self._look(possible_id(checkout_id))
        try:
            row = self.database.read(checkout_id)
            expected = self._expected({checkout_id: look}, {} if row is None else {checkout_id: row})
        except DatabaseUnavailable as database_away:
            copy = self._seen(checkout_id, look)
            if copy is None:
                return self._from_memory(checkout_id, database_away)
            session = copy.session and msgspec.structs.replace(copy.session, verified=False)
            return msgspec.structs.replace(copy, session=session)
        if row is not None and row.body is None:
            raise SessionDeleted(f"session {named(checkout_id)} was deleted", hint=_why(checkout_id))
        found = self._judge(checkout_id, look, row, expected.get(checkout_id))
        if found is None and row is None:
            return self._from_memory(checkout_id, redis_away)
        if found is None and row is not None and ended:
            return row_seen(row)
        if found is None:
            raise SessionExpired(f"session {named(checkout_id)} has expired", hint=_why(checkout_id))
        return found

    def _look(self, checkout_id: str) -> tuple[Look, RedisUnavailable | None]:
        if not self.settings.enable_checkout_sessions:
            return Look(None, None, 0), None
        try:
            (look,) = self.redis.look([checkout_id])
        except RedisUnavailable as away:
            return Look(None, None, 0), away
        return look, RedisUnavailable(look.detail) if look.problem is Problem.UNREACHABLE else None

    def _from_memory(self, checkout_id: str, away: TierUnavailable | None) -> Sighting:
        kept = self.memory.read(checkout_id, self.clock.wall())
        if kept is not None:
            return row_seen(kept.record, TierName.MEMORY)
        if away is not None:
            raise away
        raise SessionNotFound(f"no session {named(checkout_id)!r}")

    # All sessions

    def iterate(self, *, tier: TierName | None = None) -> Iterator[Sighting]:
        """All sessions, the last to expire first: of one ``tier``, or of Redis, the database and memory together."""
        return (sighting for page in self.pages(tier) for sighting in page.sightings)

    def pages(self, tier: TierName | None = None) -> Iterator[Seen]:
        """:meth:`iterate` in pages: what names no living session costs time too, and can be most of an index."""
        if tier is None and not self.settings.enable_checkout_sessions:
            tier = TierName.DATABASE
        if tier is TierName.REDIS:
            yield from self._listed()
        elif tier is TierName.DATABASE:
            yield from self._in_database()
        elif tier is None:
            yield from self._in_redis_and_database()
        if tier in {None, TierName.MEMORY}:
            kept = [row_seen(record, TierName.MEMORY) for record in self.memory.newest(self.clock.wall())]
            if kept:
                yield Seen(kept, len(kept))

    def _in_redis_and_database(self) -> Iterator[Seen]:
        try:
            self.index.layout()  # in a cluster, only the server that has the index knows what to list
        except RedisUnavailable as away:
            _log.debug("listing from the database: %s", away)
            yield from self._in_database()
            return
        pending, deleted = self._pending()
        if pending:
            yield Seen(pending, len(pending))
        shown = deleted | {sighting.checkout_id for sighting in pending}
        yield from self._listed(shown, self._doubtful_rows)
        yield from self._unlisted(shown)

    def _listed(
        self,
        shown: Set[str] = frozenset(),
        rows_of: Callable[[Mapping[str, Look]], dict[str, Record]] = lambda _looks: {},
    ) -> Iterator[Seen]:
        """The sessions of the index that are not ``shown`` already, each compared with its row if that is asked for."""
        for page in self.index.newest():
            for start in range(0, max(len(page), 1), PAGE):  # of a page of nothing too the run is to hear
                chunk = [checkout_id for checkout_id in page[start : start + PAGE] if checkout_id not in shown]
                looks = dict(zip(chunk, self.redis.look(chunk), strict=True))
                yield Seen(list(self._judged(chunk, looks, rows_of(looks))), len(chunk))

    def _unlisted(self, shown: set[str]) -> Iterator[Seen]:
        """Rows that the index lacks: Redis was restarted empty, or lost the index."""
        now = self.clock.wall()
        try:
            for page in self.database.newest():
                alive = {row.checkout_id: row for row in page if row.expires_at > now and row.checkout_id not in shown}
                unlisted = [row_seen(alive[name]) for name in self._not_listed(list(alive))]
                yield Seen(unlisted, len(unlisted))
                if page[-1].expires_at <= now:
                    return
        except DatabaseUnavailable as away:
            _log.debug("listing what Redis has: %s", away)

    def _not_listed(self, checkout_ids: Sequence[str]) -> list[str]:
        if not self.index.layout().is_empty:
            return self.index.missing(checkout_ids)
        lifetimes = self.redis.remaining(checkout_ids)  # without an index, the keys themselves were listed
        return [name for name, ttl in zip(checkout_ids, lifetimes, strict=True) if ttl < -1]

    def _pending(self) -> tuple[list[Sighting], set[str]]:
        """Sessions whose newest version Redis may lack, newest write first; and the ids of deleted ones."""
        try:
            waiting = sorted(self.database.pending(MOST_PENDING_SHOWN), key=lambda row: row.updated_at, reverse=True)
            rows = self.database.read_many([row.checkout_id for row in waiting])
            copies = dict(zip(rows, self.redis.look(list(rows)), strict=True))
        except DatabaseUnavailable as away:
            _log.debug("listing what Redis has: %s", away)
            return [], set()
        behind = {row.checkout_id: rows[row.checkout_id] for row in waiting if row.checkout_id in rows}
        judged = self._judged(list(behind), copies, behind)
        lacking = [sighting for sighting in judged if sighting.tier is TierName.DATABASE]
        return lacking, {name for name, row in behind.items() if row.body is None}

    def _doubtful_rows(self, looks: Mapping[str, Look]) -> dict[str, Record]:
        """The rows of all but clean copies that were published to this very server."""
        doubtful = [
            name
            for name, look in looks.items()
            if look.copy is None or Opened(None, self.redis.last_identity(name), value=look.copy).standing is None
        ]
        return self._rows(doubtful)

    def _judged(
        self, checkout_ids: Sequence[str], looks: Mapping[str, Look], rows: Mapping[str, Record]
    ) -> Iterator[Sighting]:
        expected = self._expected(looks, rows)
        for checkout_id in checkout_ids:
            row = rows.get(checkout_id)
            if row is not None and row.body is None:
                continue
            found = self._judge(checkout_id, looks[checkout_id], row, expected.get(checkout_id))
            if found is not None:
                yield found

    def _judge(self, checkout_id: str, look: Look, row: Record | None, flush: Flush | None) -> Sighting | None:
        """Redis' copy, what a flush will make of it, or the row; ``None``: nothing is alive."""
        copy = self._seen(checkout_id, look)
        if copy is not None and copy.session is not None and flush is not None and flush.row is not None:
            assert flush.row.body is not None  # noqa: S101  (a flush deletes nothing)
            session = msgspec.structs.replace(copy.session, fields=decode(flush.row.body), version=flush.row.version)
            return msgspec.structs.replace(copy, session=session)
        if copy is not None and flush is None and _stands(copy, row):
            return copy
        if row is None or (row.expires_at <= self.clock.wall() and copy is None):
            return None
        return row_seen(row, instead_of=copy)

    def _expected(self, looks: Mapping[str, Look], rows: Mapping[str, Record]) -> dict[str, Flush]:
        """What flushing would make of dirty and external values that have a row."""
        unsettled: dict[str, Value] = {}
        for name, row in rows.items():
            look = looks[name]
            value = look.copy
            if value is None or look.value is None or row.body is None or value.kind is Kind.UNREADABLE:
                continue
            if value.is_external:
                identity = self.redis.last_identity(name)
                unsettled[name] = taken_in(value, digest_of(look.value), identity, EXPECTED)
            elif value.is_dirty:
                unsettled[name] = value
        try:
            return self.flush_log.expected_all(unsettled, rows)
        except DatabaseUnavailable as away:
            _log.debug("what is flushed cannot be told now: %s", away)
            return {}

    def inspect_all(self, checkout_ids: Sequence[str]) -> Iterator[Sighting]:
        """Several sessions by id, each compared with its row; without those that are not alive."""
        looks = dict(zip(checkout_ids, self.redis.look(checkout_ids), strict=True))
        yield from self._judged(checkout_ids, looks, self._rows(checkout_ids))

    def _rows(self, checkout_ids: Sequence[str]) -> dict[str, Record]:
        try:
            return self.database.read_many(checkout_ids) if checkout_ids else {}
        except DatabaseUnavailable as away:
            _log.debug("listing what Redis has: %s", away)
            return {}

    def _in_database(self) -> Iterator[Seen]:
        now = self.clock.wall()
        for page in self.database.newest():
            yield Seen([row_seen(row) for row in page if row.expires_at > now], len(page))
            if page[-1].expires_at <= now:
                return  # the rest have expired, and wait for a clean-up

    def count(self) -> Count:
        """The number of living sessions, by the index, or by the database, which knows more after a loss of Redis."""
        now = self.clock.wall()
        listed: Count | None = None
        if self.settings.enable_checkout_sessions:
            try:
                listed = self.index.count(now)
            except (RedisUnavailable, AccessDenied, WrongKeyType) as error:
                _log.debug("counting in the database: %s", error)
        try:
            rows = Count(self.database.count(now), TierName.DATABASE)
        except DatabaseUnavailable as error:
            if listed is None:
                raise
            _log.debug("counting in Redis alone: %s", error)
            return listed
        return rows if listed is None or rows.number > listed.number else listed

    # By the beginning of an id

    def matching(self, prefix: str, limit: int = 2) -> list[str]:
        """At most ``limit`` ids that begin with ``prefix``, of every durable tier; raises ``TierUnavailable``."""
        return self._beginning(
            prefix,
            limit,
            in_database=lambda: self.database.matching(prefix, limit),
            in_redis=lambda: self._matching_keys(prefix, limit),
        )

    def known(self, prefix: str, limit: int = 2) -> list[str]:
        """:meth:`matching`, with deleted sessions, and those of which only a conflict or an index entry is left."""
        return self._beginning(
            prefix,
            limit,
            in_database=lambda: known_beginnings(self.database, prefix, limit),
            in_redis=lambda: self._matching_keys(prefix, limit) or self.index.matching(prefix, limit),
        )

    def _beginning(
        self, prefix: str, limit: int, *, in_database: Callable[[], list[str]], in_redis: Callable[[], list[str]]
    ) -> list[str]:
        sources: list[Callable[[], list[str]]] = []
        if beginning_of_ids(possible_id(prefix)):  # else it may be no text for a database
            sources.append(in_database)
        if self.settings.enable_checkout_sessions:
            sources.append(in_redis)
        found: set[str] = set()
        problems: list[TierUnavailable | AccessDenied] = []
        for source in sources:
            try:
                found.update(name for name in source() if name.startswith(prefix))
            except (TierUnavailable, AccessDenied) as problem:
                problems.append(problem)
        if problems and len(problems) == len(sources):
            raise problems[-1]
        return sorted(found)[:limit]

    def _matching_keys(self, prefix: str, limit: int) -> list[str]:
        found: set[str] = set()
        for keys in self.redis.scan(pattern_of(session_key(prefix)), 1000):
            found.update(checkout_id_of(decoded(key)) for key in keys)
            if len(found) >= limit:
                break
        return list(found)

    def _seen(self, checkout_id: str, look: Look) -> Sighting | None:
        expires_at = None if look.ttl is None else self.clock.wall() + look.ttl
        if look.problem is Problem.UNREACHABLE:
            return None
        if look.problem is not None:
            return Sighting(checkout_id, TierName.REDIS, None, expires_at, look.size, look.problem, look.detail)
        if look.value is None:
            return None
        value = look.copy
        assert value is not None  # noqa: S101  (it comes with the bytes)
        try:
            fields = decode(value.body)
        except SessionCorrupt as error:
            return Sighting(checkout_id, TierName.REDIS, None, expires_at, look.size, Problem.CORRUPT, str(error))
        session = Session(
            checkout_id, fields, value.version, TierName.REDIS, dirty=writes(value.ids), external=value.is_external
        )
        return Sighting(checkout_id, TierName.REDIS, session, expires_at, look.size)


def _why(checkout_id: str) -> str:
    return typed("checkoutctl sessions why {}", checkout_id) or "checkoutctl sessions list"


def _stands(copy: Sighting, row: Record | None) -> bool:
    if row is None or row.body is None:
        return True
    return copy.session is not None and copy.session.version >= row.version


def row_seen(row: Record, tier: TierName = TierName.DATABASE, *, instead_of: Sighting | None = None) -> Sighting:
    """A row as an operator sees it, with the problem of ``instead_of``, the value in Redis, if that is unreadable."""
    assert row.body is not None  # noqa: S101  (tombstones are not shown)
    verified = tier is not TierName.MEMORY  # what only this process has, nobody can vouch for
    session = Session(row.checkout_id, decode(row.body), row.version, tier, verified)
    problem = None if instead_of is None else instead_of.problem
    detail = "" if problem is None else f"{problem} in Redis"
    return Sighting(row.checkout_id, tier, session, row.expires_at, len(row.body), detail=detail)
