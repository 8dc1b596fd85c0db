"""``checkout:index``: which sessions there are, sorted by the earliest moment at which each can have expired.

A sorted set of checkout ids with milliseconds as scores. Reads never touch it; writes and clean-ups do. The shop's
older programs keep a plain SET there: it is read as it is, and adopted by the first clean-up or write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from checkout_cli.errors import RedisUnavailable, WrongKeyType
from checkout_cli.keys import INDEX, SESSION_PREFIX, checkout_id_of
from checkout_cli.session import TierName
from checkout_cli.store.records import Count
from checkout_cli.store.redis_commands import Command, Script, decoded, encoded, register
from checkout_cli.store.redis_tier import RedisTier

PAGE = 500
"""Entries to ask for at a time: a fraction of a millisecond for Redis."""
COUNTED_DUE = 20_000
"""How many due entries a count looks at one by one before it says that it is not exact."""

_SETTLE, _UNLIST = register(Script("settle")), register(Script("unlist"))


class Entry(NamedTuple):
    """One entry of the index: the id, and the earliest moment at which it can have expired (ms)."""

    checkout_id: str
    score: float


class RedisIndex:
    """The index of one Redis. Every method may raise ``RedisUnavailable`` or ``AccessDenied``."""

    def __init__(self, tier: RedisTier) -> None:
        """``tier`` is asked for everything."""
        self._tier = tier

    def kind(self) -> str:
        """What Redis keeps at the index: ``zset``, ``set`` (legacy), ``none``, or something else's type."""
        return str(self._tier.ask(("TYPE", INDEX)).decode())

    def known_kind(self) -> str:
        """The same, if it is an index or nothing at all.

        Raises:
            WrongKeyType: something that is no index is there.
        """
        kind = self.kind()
        if kind not in {"zset", "set", "none"}:
            raise WrongKeyType(f"{INDEX} holds a {kind}, not an index", hint=f"redis-cli TYPE {INDEX}")
        return kind

    def newest(self) -> Iterator[list[str]]:
        """All ids, those that expire last first, in pages; a legacy index in no order.

        Where a cluster's server of the index is away, what the others have, in no order either.

        Raises:
            WrongKeyType: something that is no index is there.
        """
        try:
            kind = self.known_kind()
        except RedisUnavailable:
            if not self._tier.missing_servers():
                raise
            yield from self.session_ids()
            return
        if kind == "set":
            yield from self._members(INDEX)
        else:
            yield from self._pages_by_rank()
        if kind == "none":
            yield from self.session_ids()
        else:
            for page in self._members(self._tier.legacy_index):  # what an interrupted adoption has not moved yet
                yield self._missing_at(INDEX, kind, page)

    def _pages_by_rank(self) -> Iterator[list[str]]:
        start = 0
        while True:
            raw = self._tier.ask(("ZRANGE", INDEX, start, start + PAGE - 1, "REV", "WITHSCORES"))
            members, scores = raw[::2], raw[1::2]
            yield [decoded(member) for member in members]
            if len(members) < PAGE:
                return
            start = self._place_after(members[-1], scores)

    def _place_after(self, last: bytes, scores: Sequence[bytes]) -> int:
        """Where the next page begins by now: sessions have come and gone, and all ranks have shifted."""
        rank, score, above = self._tier.ask_all(
            ("ZREVRANK", INDEX, last), ("ZSCORE", INDEX, last), ("ZCOUNT", INDEX, b"(" + scores[-1], "+inf")
        )
        return int(rank) + 1 if score == scores[-1] else int(above) + scores.count(scores[-1])

    def _members(self, key: str) -> Iterator[list[str]]:
        cursor = b"0"
        while True:
            cursor, raw = self._tier.ask(("SSCAN", key, cursor, "COUNT", PAGE))
            yield [decoded(member) for member in raw]
            if cursor == b"0":
                return

    def session_ids(self) -> Iterator[list[str]]:
        """Every session key's id, by a bounded scan: for what the index may have missed."""
        for keys in self._tier.scan(f"{SESSION_PREFIX}*", PAGE):
            yield [checkout_id_of(decoded(key)) for key in keys if key.startswith(SESSION_PREFIX.encode())]

    def count(self, now: int) -> Count:
        """How many sessions are alive: those that cannot have expired yet, and of the due ones those that have not."""
        kind = self.known_kind()
        if kind == "set":
            return self._count_members(INDEX)
        if kind == "none":
            return self._count_keys()
        alive, due = self._tier.ask_all(("ZCOUNT", INDEX, f"({now}", "+inf"), ("ZCOUNT", INDEX, "-inf", now))
        looked_at = 0
        for entries in self.all_due(now, PAGE):
            alive += sum(ttl != -2 for ttl in self._tier.remaining([entry.checkout_id for entry in entries]))
            looked_at += len(entries)
            if looked_at >= COUNTED_DUE:
                break
        waiting = self._count_members(self._tier.legacy_index)
        return Count(alive + waiting.number, TierName.REDIS, exact=due <= COUNTED_DUE and waiting.exact)

    def _count_keys(self) -> Count:
        """Without an index, the keys themselves, as many as may be looked at."""
        number = 0
        for place, page in enumerate(self.session_ids(), 1):
            number += len(page)
            if place * PAGE >= COUNTED_DUE:
                return Count(number, TierName.REDIS, exact=False)
        return Count(number, TierName.REDIS)

    def _count_members(self, key: str) -> Count:
        """A legacy index keeps the ids of the dead, so each key is asked for; the sorted set counts its own."""
        alive = looked_at = 0
        kind = self.kind()
        for page in self._members(key):
            uncounted = page if key == INDEX else self._missing_at(INDEX, kind, page)
            alive += sum(ttl != -2 for ttl in self._tier.remaining(uncounted))
            looked_at += len(page)
            if looked_at >= COUNTED_DUE:
                return Count(alive, TierName.REDIS, exact=looked_at >= self._tier.ask(("SCARD", key)))
        return Count(alive, TierName.REDIS)

    def due(self, now: int, *, limit: int = PAGE, offset: int = 0) -> list[Entry]:
        """Entries that can have expired, longest ago first."""
        raw = self._tier.ask(("ZRANGE", INDEX, "-inf", now, "BYSCORE", "LIMIT", offset, limit, "WITHSCORES"))
        return [Entry(decoded(raw[place]), float(raw[place + 1])) for place in range(0, len(raw), 2)]

    def all_due(self, now: int, limit: int) -> Iterator[list[Entry]]:
        """All due entries in batches, for who only looks; a legacy SET's members count as due since ever."""
        if self.kind() == "set":
            for page in self._members(INDEX):
                yield [Entry(checkout_id, 0) for checkout_id in page]
            return
        offset = 0
        while entries := self.due(now, limit=limit, offset=offset):
            yield entries
            offset += len(entries)

    def count_due(self, now: int) -> int:
        """How many entries can have expired; all of a legacy SET can."""
        if self.known_kind() == "set":
            return int(self._tier.ask(("SCARD", INDEX)))
        return int(self._tier.ask(("ZCOUNT", INDEX, "-inf", now)))

    def settle(self, dead: Sequence[Entry], living: Sequence[tuple[Entry, int]]) -> int:
        """Take the dead out and give the living their real expiry (ms); who changed meanwhile is left alone.

        One moment does for all the dead: whoever revives an entry moves it past now, and so past all their scores.
        Returns how many were taken out.
        """
        commands: list[Command] = []
        if living:
            moved = [part for entry, expires_at in living for part in (expires_at, encoded(entry.checkout_id))]
            commands.append(("ZADD", INDEX, "XX", "GT", *moved))
        if dead:
            latest = max(entry.score for entry in dead)
            commands.append(_SETTLE.call(INDEX.encode(), latest, *(encoded(entry.checkout_id) for entry in dead)))
        replies = self._tier.ask_all(*commands) if commands else []
        return int(replies[-1]) if dead else 0

    def unlist(self, entries: Sequence[Entry]) -> int:
        """Take entries out, each only if it still has the score that was seen; returns how many."""
        parts = [part for entry in entries for part in (entry.score, encoded(entry.checkout_id))]
        return int(self._tier.ask(_UNLIST.call(INDEX.encode(), *parts))) if parts else 0

    def bring_forward(self, entries: Sequence[Entry]) -> int:
        """Lower scores to the moments that are given, for sessions that end earlier than was known; never raise one."""
        parts = [part for entry in entries for part in (entry.score, encoded(entry.checkout_id))]
        return int(self._tier.ask(("ZADD", INDEX, "XX", "LT", "CH", *parts))) if parts else 0

    def scores(self, checkout_ids: Sequence[str]) -> list[float | None]:
        """Each id's moment (ms), ``None`` where it is not listed; of an index that is a sorted set."""
        found = self._tier.ask(("ZMSCORE", INDEX, *map(encoded, checkout_ids))) if checkout_ids else []
        return [None if score is None else float(score) for score in found]

    def entries(self) -> Iterator[list[Entry]]:
        """All entries of a sorted set in no order, page by page, some perhaps twice; none that is there all the time
        is left out."""
        cursor = b"0"
        while True:
            cursor, raw = self._tier.ask(("ZSCAN", INDEX, cursor, "COUNT", PAGE))
            yield [Entry(decoded(member), float(score)) for member, score in zip(raw[::2], raw[1::2], strict=True)]
            if cursor == b"0":
                return

    def enter(self, entries: Sequence[Entry]) -> int:
        """Enter ids that are not there yet; returns how many."""
        members = [part for entry in entries for part in (entry.score, encoded(entry.checkout_id))]
        return int(self._tier.ask(("ZADD", INDEX, "NX", *members))) if members else 0

    def missing(self, checkout_ids: Sequence[str]) -> list[str]:
        """Those that the index does not have, be it ours or another program's SET."""
        if not checkout_ids:
            return []
        missing = self._missing_at(INDEX, self.kind(), checkout_ids)
        return self._missing_at(self._tier.legacy_index, "set", missing)  # there is one during an adoption only

    def _missing_at(self, key: str, kind: str, checkout_ids: Sequence[str]) -> list[str]:
        if not checkout_ids:
            return []
        command = "SMISMEMBER" if kind == "set" else "ZMSCORE"
        found = self._tier.ask((command, key, *map(encoded, checkout_ids)))
        return [name for name, entry in zip(checkout_ids, found, strict=True) if entry in {None, 0}]

    def adopt_legacy(self, now: int) -> Iterator[int]:
        """Move a legacy SET's members into the sorted set, none lost; yields how many were moved, page by page.

        The SET is first renamed, which is atomic, so that writers can use the sorted set at once; it goes away only
        when all its members have arrived, so that an interrupted adoption is taken up again.
        """
        if self.known_kind() == "set":
            for page in self._members(self._tier.legacy_index):  # an older program began a new SET before we were done
                if page:
                    self._tier.ask(("SADD", INDEX, *map(encoded, page)))
            self._tier.ask(("UNLINK", self._tier.legacy_index))
            self._tier.ask(("RENAMENX", INDEX, self._tier.legacy_index))
        if self._tier.ask(("TYPE", self._tier.legacy_index)) != b"set":
            return
        for page in self._members(self._tier.legacy_index):
            yield self.enter([Entry(checkout_id, now) for checkout_id in page])
        self._tier.ask(("UNLINK", self._tier.legacy_index))
