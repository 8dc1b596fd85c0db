"""The index: a sorted set of all sessions by the earliest moment (ms) at which each can have expired.

Reads never touch it. While an external writer keeps a SET of ids at ``checkout:index``, ours lies beside it
(``index_place.py``): what only the SET names counts too, and each change is made to both.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from checkout_cli.errors import RedisUnavailable, WrongKeyType
from checkout_cli.keys import INDEX, INDEX_BESIDE, SESSION_PREFIX, checkout_id_of, pattern_of
from checkout_cli.session import TierName
from checkout_cli.store.records import Count
from checkout_cli.store.redis.admin import FIRST_CURSOR, RedisAdmin, next_cursor, pages
from checkout_cli.store.redis.commands import Command, Script, decoded, encoded, pairs, register
from checkout_cli.store.redis.index_place import ATTEMPTS, Layout, Place

PAGE = 500
"""Entries to ask for at a time: a fraction of a millisecond for Redis."""
LOOKED_AT = 2000
"""Members of an external SET to ask for at a time where nothing is changed: about a millisecond."""
OVERLAP = 20
"""Entries that a page by rank reads again: more than usually leave their place between two pages."""
COUNTED_DUE = 20_000
"""Due entries, and again external members that ours lacks, that a count checks before it is not exact."""
COUNTED_MEMBERS = 50_000
"""Members of such a SET that a count compares with ours, in about a tenth of a second."""

_REMOVE_EXPIRED, _REMOVE_ENTRIES = register(Script("remove_expired")), register(Script("remove_entries"))
_ABSORB = register(Script("absorb"))

_T = TypeVar("_T")


class Entry(NamedTuple):
    """An id, and the earliest moment at which it can have expired (ms)."""

    checkout_id: str
    score: float


class RawEntry(NamedTuple):
    """An entry as the index is ordered: by its moment (ms), and among equal ones by the id's bytes."""

    moment: float
    member: bytes


class MemberPage(NamedTuple):
    """How many members of an external SET were read, those that ours lacks, and the next cursor (``None``: the end)."""

    number: int
    lacking: list[str]
    cursor: str | None


class RedisIndex:
    """The index of one Redis. May raise ``RedisUnavailable``, ``AccessDenied``, or ``WrongKeyType`` for other keys."""

    def __init__(self, tier: RedisAdmin) -> None:
        self._tier = tier
        self._place = tier.index_place

    def layout(self) -> Layout:
        """Where the index lies now, and what names sessions beside it. Long work begins with this."""
        return self._place.find()

    def _tried(self, ask: Callable[[Layout], _T]) -> _T:
        """``ask`` for the layout, repeated where the index has been moved since that was found out."""
        for _ in range(ATTEMPTS - 1):
            try:
                return ask(self._place.known())
            except WrongKeyType:
                self._place.find()
        return ask(self._place.known())

    def _ask(self, command: str, *arguments: bytes | str | float) -> Any:
        return self._tried(lambda layout: self._tier.ask((command, layout.key, *arguments)))

    # All ids

    def newest(self) -> Iterator[list[str]]:
        """All ids in pages, the last to expire first; then, and without the index, others in no order."""
        layout: Layout | None = None
        try:
            layout = self.layout()
        except RedisUnavailable:
            if not self._tier.missing_servers():
                raise
        if layout is None or layout.is_empty:
            yield from self.session_ids()
            return
        layout = yield from self._pages_by_rank(layout)
        for _, lacking in self.unlisted(layout):
            yield lacking

    def _pages_by_rank(self, layout: Layout) -> Generator[list[str], None, Layout]:
        """Our index in pages, also when it is moved meanwhile; returns where it was at the end."""
        start, last, scores = 0, b"", list[bytes]()
        while True:
            try:
                raw = self._tier.ask(("ZRANGE", layout.key, start, start + PAGE - 1, "REV", "WITHSCORES"))
            except WrongKeyType:
                raw = []
            if raw:
                yield [decoded(member) for member in raw[::2]]
                last, scores = raw[-2], raw[1::2]
            if len(raw) < 2 * PAGE:
                now = self.layout()
                if now.key == layout.key:
                    return now
                layout = now
            start = self._place_after(layout.key, last, scores) if scores else 0

    def _place_after(self, key: str, last: bytes, scores: Sequence[bytes]) -> int:
        """Where the next page begins by now: sessions have come and gone, and all ranks have shifted."""
        rank, score, above = self._tier.ask_all(
            ("ZREVRANK", key, last), ("ZSCORE", key, last), ("ZCOUNT", key, b"(" + scores[-1], "+inf")
        )
        return int(rank) + 1 if score == scores[-1] else int(above) + scores.count(scores[-1])

    def unlisted(self, layout: Layout) -> Iterator[tuple[int, list[str]]]:
        """The ids that only the further keys have, and how many were compared, for each page."""
        compared = [(layout.key, "zset")]
        for key, kind in layout.others.items():
            for names in pages(partial(self._member_page, key, kind, LOOKED_AT)):
                lacking = self._lacking_unless_moved(layout, compared, names)
                if lacking is None:
                    yield from self.unlisted(self._place.known())
                    return
                yield len(names), lacking
            compared.append((key, kind))

    def _lacking_unless_moved(
        self, layout: Layout, keys: Sequence[tuple[str, str]], names: Sequence[str]
    ) -> list[str] | None:
        """:meth:`_lacking`; ``None`` where the index has been moved."""
        try:
            lacking = self._lacking(keys, names)
        except WrongKeyType:
            self._place.find()
            return None
        return None if lacking and self._place.find().key != layout.key else lacking

    def _member_page(self, key: str, kind: str, number: int, cursor: str) -> tuple[list[str], str | None]:
        command = "SSCAN" if kind == "set" else "ZSCAN"
        try:
            following, raw = self._tier.ask((command, key, cursor, "COUNT", number))
        except WrongKeyType:
            return [], None  # an adoption has moved it into ours at this very moment
        return list(map(decoded, raw if kind == "set" else raw[::2])), next_cursor(following)

    def member_page(self, cursor: str) -> MemberPage:
        """One page of an external SET at ``checkout:index``; nothing where there is none."""
        layout = self._place.known()
        if layout.kind != "set":
            return MemberPage(0, [], None)
        names, following = self._member_page(INDEX, "set", PAGE, cursor)
        return MemberPage(len(names), self._lacking([(layout.key, "zset")], names), following)

    def session_ids(self) -> Iterator[list[str]]:
        """The ids of all session keys, by SCAN: for what the index may have missed."""
        return pages(self.session_ids_step)

    def session_ids_step(self, cursor: str) -> tuple[list[str], str | None]:
        """One page of :meth:`session_ids`, and the next cursor (``None``: the end)."""
        keys, following = self._tier.scan_step(f"{SESSION_PREFIX}*", cursor, PAGE)
        return [checkout_id_of(decoded(key)) for key in keys if key.startswith(SESSION_PREFIX.encode())], following

    # How many

    def count(self, now: int) -> Count:
        """The number of living sessions; a lower bound, not ``exact``, with too many due entries to be checked."""
        layout = self.layout()
        if layout.is_empty:
            return self._count_keys()
        alive, due = self._tier.ask_all(("ZCOUNT", layout.key, f"({now}", "+inf"), ("ZCOUNT", layout.key, "-inf", now))
        looked_at = 0
        for entries in self.all_due(now, PAGE):
            alive += sum(ttl != -2 for ttl in self._tier.remaining([entry.checkout_id for entry in entries]))
            looked_at += len(entries)
            if looked_at >= COUNTED_DUE:
                break
        unlisted = self._count_unlisted(layout)
        return Count(alive + unlisted.number, TierName.REDIS, exact=due <= COUNTED_DUE and unlisted.exact)

    def _count_keys(self) -> Count:
        number = 0
        for place, page in enumerate(self.session_ids(), 1):
            number += len(page)
            if place * PAGE >= COUNTED_DUE:
                return Count(number, TierName.REDIS, exact=False)
        return Count(number, TierName.REDIS)

    def _count_unlisted(self, layout: Layout) -> Count:
        """Of what ours lacks, each key is asked for: an external SET keeps the ids of the dead too."""
        counted: set[str] = set()  # a scan can name an id twice
        alive = members = 0
        for number, lacking in self.unlisted(layout):
            if members >= COUNTED_MEMBERS or len(counted) >= COUNTED_DUE:
                return Count(alive, TierName.REDIS, exact=False)
            fresh = [name for name in dict.fromkeys(lacking) if name not in counted]
            alive += sum(ttl != -2 for ttl in self._tier.remaining(fresh)) if fresh else 0
            members += number
            counted.update(fresh)
        return Count(alive, TierName.REDIS)

    # What can have expired

    def due(self, now: int, *, limit: int = PAGE, offset: int = 0) -> list[Entry]:
        """Entries that can have expired, longest ago first."""
        return _entries(self._ask("ZRANGE", "-inf", now, "BYSCORE", "LIMIT", offset, limit, "WITHSCORES"))

    def behind(self, last: RawEntry | None, limit: int) -> Iterator[list[RawEntry]]:
        """All entries behind one, or all, in pages of at most ``limit``, ordered by moment and then by bytes.

        They are read by rank, because any number may share a moment. Ranks shift while others write, so each page
        overlaps the one before: if it begins behind the last entry that was read, some may have been passed over.
        """
        rank, overlap = self._rank_behind(last), OVERLAP
        while True:
            start = max(rank - overlap, 0)
            number = rank - start + limit
            entries = self._by_rank(start, number)
            fresh = entries if last is None else [entry for entry in entries if entry > last]
            if start and len(fresh) == len(entries):
                overlap *= 2
            elif fresh:
                page = fresh[:limit]
                yield page
                last, rank, overlap = page[-1], start + len(entries) - len(fresh) + len(page), OVERLAP
                continue
            elif len(entries) < number:
                return
            rank = self._rank_behind(last)

    def _by_rank(self, start: int, number: int) -> list[RawEntry]:
        part = (start, start + number - 1, "WITHSCORES")
        key = self._place.known().key
        raw = self._ask("ZRANGE", *part)
        if len(raw) < 2 * number and self.layout().key != key:  # moved, so that this was not its end
            raw = self._ask("ZRANGE", *part)
        return [RawEntry(float(score), member) for member, score in pairs(raw)]

    def _rank_behind(self, last: RawEntry | None) -> int:
        """The number of entries up to this one, whether it is still there or not; by bisection within its moment."""
        if last is None:
            return 0
        low, high = int(self._ask("ZCOUNT", "-inf", f"({last.moment}")), int(self._ask("ZCOUNT", "-inf", last.moment))
        while low < high:
            middle = (low + high) // 2
            found = self._by_rank(middle, 1)
            if found and found[0] <= last:
                low = middle + 1
            else:
                high = middle
        return low

    def latest(self) -> float | None:
        """The moment (ms) of the entry that ends last; ``None`` where ours is empty."""
        raw = self._ask("ZRANGE", -1, -1, "WITHSCORES")
        return float(raw[1]) if raw else None

    def all_due(self, now: int, limit: int) -> Iterator[list[Entry]]:
        """All due entries in batches; nothing is changed."""
        offset = 0
        while entries := self.due(now, limit=limit, offset=offset):
            yield entries
            offset += len(entries)

    def number(self) -> int:
        """The number of entries."""
        return int(self._ask("ZCOUNT", "-inf", "+inf"))

    def count_due(self, now: int) -> int:
        """The number of entries that can have expired."""
        return int(self._ask("ZCOUNT", "-inf", now))

    # Changes

    def remove_expired(self, dead: Sequence[Entry], living: Sequence[tuple[Entry, int]] = ()) -> int:
        """Remove the dead, and give the living their real expiry (ms), unless changed meanwhile; returns how many.

        One moment does for all the dead: a revived entry is moved past now, and so past all their scores.
        """
        return self._tried(lambda layout: self._remove_expired(layout, dead, living))

    def _remove_expired(self, layout: Layout, dead: Sequence[Entry], living: Sequence[tuple[Entry, int]]) -> int:
        commands: list[Command] = []
        if living:
            moved = [part for entry, expires_at in living for part in (expires_at, encoded(entry.checkout_id))]
            commands.append(("ZADD", layout.key, "XX", "GT", *moved))
        if dead:
            latest = max(entry.score for entry in dead)
            ids = (encoded(entry.checkout_id) for entry in dead)
            commands.append(_REMOVE_EXPIRED.call_on(_keys(layout), latest, *ids))
        replies = self._tier.ask_all(*commands) if commands else []
        if dead and layout.place is Place.BESIDE_SET:
            # An external writer, whose SET has no moments, may have written some of them at this very moment.
            ttls = self._tier.remaining([entry.checkout_id for entry in dead])
            self.add([entry for entry, ttl in zip(dead, ttls, strict=True) if ttl >= -1])
        return int(replies[-1]) if dead else 0

    def remove_entries(self, entries: Sequence[Entry]) -> int:
        """Remove entries, each only if it still has the score that was seen; returns how many."""
        if not entries:
            return 0
        parts = _scored(entries)
        return int(self._tried(lambda layout: self._tier.ask(_REMOVE_ENTRIES.call_on(_keys(layout), *parts))))

    def remove(self, checkout_ids: Sequence[str]) -> None:
        """Remove ids, whatever their moment."""
        members = list(map(encoded, checkout_ids))
        if not members:
            return

        def take_out(layout: Layout) -> None:
            also: list[Command] = [("SREM", INDEX, *members)] if layout.place is Place.BESIDE_SET else []
            self._tier.ask_all(("ZREM", layout.key, *members), *also)

        self._tried(take_out)

    def bring_forward(self, entries: Sequence[Entry]) -> int:
        """Lower scores to these moments, for sessions that end earlier than was known; never raise one."""
        return int(self._ask("ZADD", "XX", "LT", "CH", *_scored(entries))) if entries else 0

    def add(self, entries: Sequence[Entry]) -> int:
        """Add ids that are not there yet; returns how many."""
        if not entries:
            return 0
        scored = _scored(entries)

        def put(layout: Layout) -> int:
            if layout.place is Place.BESIDE_OTHER:
                layout = self.layout()  # no error would tell that the index is at its own place by now
            also: list[Command] = [("SADD", INDEX, *scored[1::2])] if layout.place is Place.BESIDE_SET else []
            return int(self._tier.ask_all(("ZADD", layout.key, "NX", *scored), *also)[0])

        entered = self._tried(put)
        self.absorb()
        return entered

    def absorb(self) -> None:
        """Move into ours what a process left beside it that did not know yet that it is at its own place."""
        while INDEX_BESIDE in self._place.known().others:
            if not self._tier.ask(_ABSORB.call_on((INDEX, INDEX_BESIDE), PAGE)):
                self._place.find()

    # Some ids

    def matching(self, prefix: str, limit: int) -> list[str]:
        """At most ``limit`` ids of entries that begin so, whether there is a session or not."""
        found: dict[str, None] = {}
        cursor: str | None = FIRST_CURSOR
        while cursor is not None and len(found) < limit:
            following, raw = self._ask("ZSCAN", cursor, "MATCH", encoded(pattern_of(prefix)), "COUNT", PAGE)
            found |= dict.fromkeys(entry.checkout_id for entry in _entries(raw))
            cursor = next_cursor(following)
        return list(found)[:limit]

    def scores(self, checkout_ids: Sequence[str]) -> list[float | None]:
        """Each id's moment (ms), ``None`` where it has none."""
        found = self._ask("ZMSCORE", *map(encoded, checkout_ids)) if checkout_ids else []
        return [None if score is None else float(score) for score in found]

    def moment(self, checkout_id: str) -> float | None:
        """When a session can have expired (ms); infinite where only an external SET names it, else ``None``."""
        self.layout()
        (score,) = self.scores([checkout_id])
        if score is not None:
            return score
        return None if self.missing([checkout_id]) else float("inf")

    def entries(self) -> Iterator[list[Entry]]:
        """All entries in no order, page by page, some perhaps twice."""
        return pages(self.entries_step)

    def entries_step(self, cursor: str) -> tuple[list[Entry], str | None]:
        """One page of :meth:`entries`, and the next cursor (``None``: the end)."""
        following, raw = self._tier.ask(("ZSCAN", self._place.known().key, cursor, "COUNT", PAGE))
        return _entries(raw), next_cursor(following)

    def some_entries(self, number: int) -> list[Entry]:
        """At most ``number`` random entries."""
        return _entries(self._tier.ask(("ZRANDMEMBER", self.layout().key, number, "WITHSCORES")))

    def size(self) -> tuple[bytes | None, int]:
        """The identity of the server that has our index, and the number of entries."""
        identity, (number,) = self._tier.exchange(("ZCARD", self.layout().key))
        return identity, int(number)

    def sizes(self, layout: Layout) -> dict[str, int]:
        """The size of our index, and of each key beside it, by key."""
        kinds = {layout.key: "zset", **layout.others}
        sizes = self._tier.ask_all(*(("SCARD" if kinds[key] == "set" else "ZCARD", key) for key in kinds))
        return dict(zip(kinds, sizes, strict=True))

    def missing(self, checkout_ids: Sequence[str]) -> list[str]:
        """The ids that are neither in ours nor in another program's SET."""

        def lacking(layout: Layout) -> list[str]:
            return self._lacking([(layout.key, "zset"), *layout.others.items()], checkout_ids)

        return self._tried(lacking) if checkout_ids else []

    def not_in_set(self, checkout_ids: Sequence[str]) -> list[str]:
        """The ids that the external SET at ``checkout:index`` lacks; none where there is no such SET."""
        return self._tried(lambda layout: self._lacking([(INDEX, "set")], checkout_ids) if layout.kind == "set" else [])

    def fill_set(self, checkout_ids: Sequence[str]) -> int:
        """Add ids to an external SET, if there is one; returns how many were new."""
        members = list(map(encoded, checkout_ids))

        def add(layout: Layout) -> int:
            return int(self._tier.ask(("SADD", INDEX, *members))) if layout.place is Place.BESIDE_SET else 0

        return self._tried(add) if members else 0

    def _lacking(self, keys: Sequence[tuple[str, str]], names: Sequence[str]) -> list[str]:
        if not names:
            return []
        members = list(map(encoded, names))
        commands = [("SMISMEMBER" if kind == "set" else "ZMSCORE", key, *members) for key, kind in keys]
        found = zip(*self._tier.ask_all(*commands), strict=True)
        return [name for name, its in zip(names, found, strict=True) if all(one in {None, 0} for one in its)]


def _entries(raw: Sequence[bytes]) -> list[Entry]:
    return [Entry(decoded(member), float(score)) for member, score in pairs(raw)]


def _scored(entries: Sequence[Entry]) -> list[bytes | float]:
    return [part for entry in entries for part in (entry.score, encoded(entry.checkout_id))]


def _keys(layout: Layout) -> tuple[str, ...]:
    """Our index, and the SET that loses what it loses."""
    return (layout.key, INDEX) if layout.place is Place.BESIDE_SET else (layout.key,)
