"""``sessions export``: each living session once, as a stream that can be resumed.

The index is read in order of expiry: a session that is written meanwhile moves ahead of the reader, so none is missed.
Eight bytes of each are kept to send none twice. What only the database has follows. Copies in Redis that may be old are
compared with the database, as everywhere.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from checkout_cli.commands.sessions.find import Tell
from checkout_cli.errors import DatabaseUnavailable, InvalidInput, RedisUnavailable
from checkout_cli.session import TierName
from checkout_cli.store.backlog import Backlog
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.value import decode as decode_value
from checkout_cli.store.redis.commands import decoded, encoded
from checkout_cli.store.redis.index_place import Layout

PAGE = 200
"""Sessions that are fetched at a time: a fraction of a millisecond of Redis' time."""
MOST_PENDING = 100_000
"""Rows of which Redis may lack the last version; with more, every copy is compared with its row."""


class Exported(NamedTuple):
    """A session: ``body`` is its JSON without our header, ``ends_at`` its earliest end (ms; ``None``: unknown),
    ``version`` 0 for an external writer's.
    """

    checkout_id: str
    tier: TierName
    version: int
    ends_at: int | None
    body: bytes


class Page(NamedTuple):
    """Sessions, the numbers of unreadable values and of entries without a session, and the cursor after them."""

    sessions: list[Exported]
    unreadable: int
    cursor: str
    dead: int = 0


@dataclass(frozen=True)
class Position:
    """After this session, which ends at ``moment`` (ms), in the index or in the database.

    In the index that is whatever number another program has put there: negative, infinite, with a fraction.
    """

    in_index: bool
    moment: float
    checkout_id: str

    def __str__(self) -> str:
        moment = int(self.moment) if self.moment == self.moment // 1 else self.moment
        return f"{'r' if self.in_index else 'd'}{moment}-{self.checkout_id}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Parse ``--cursor``; raises InvalidInput."""
        known = _CURSOR.fullmatch(text)
        if known is None:
            raise InvalidInput(f"not a cursor: {text[:64]!r}", hint="--cursor with what another export has said")
        in_index = known["moment"] is not None
        return cls(in_index, float(known["moment"]) if in_index else min(int(known["row"]), 2**63 - 1), known["id"])


_CURSOR = re.compile(
    r"(?s)(?:d(?P<row>[0-9]{1,19})|r(?P<moment>-?(?:inf|[0-9]{1,309}(?:\.[0-9]{1,17})?(?:e-[0-9]{1,3})?)))-(?P<id>.*)"
)


def export(store: CheckoutStore, *, cursor: str | None = None, page_size: int = PAGE, tell: Tell) -> Iterator[Page]:
    """Yield all living sessions in pages.

    After a cursor, sessions that were written since may come again, and those that only an older program's SET lists. A
    tier that is unavailable at first is left out, and ``tell`` says so. Raises InvalidInput for a bad cursor or no
    index, and TierUnavailable.
    """
    begin = None if cursor is None else Position.parse(cursor)
    yield from _Export(store, begin, page_size, tell).pages()


class _Export:
    def __init__(self, store: CheckoutStore, begin: Position | None, page_size: int, tell: Tell) -> None:
        self._store = store
        self._begin = begin
        self._page_size = page_size
        self._tell = tell
        self._sent = array("q")  # hashes: 64 bits, of a function that is new in each process
        self._database_away = False

    def pages(self) -> Iterator[Page]:
        layout = self._layout()
        if layout is not None and (self._begin is None or self._begin.in_index):
            yield from self._in_redis(layout)
        if not self._database_away:
            yield from self._in_database(listed=layout is not None)

    def _layout(self) -> Layout | None:
        if not self._store.settings.enable_checkout_sessions:
            return None
        try:
            layout = self._store.index.layout()
        except RedisUnavailable as away:
            self._store.database.ping()
            self._tell(f"Redis is away ({away}); exporting from the database")
            return None
        if layout.is_empty and self._begin is not None and self._begin.in_index and self._begin.moment > -math.inf:
            raise InvalidInput("there is no index to go on in", hint="checkoutctl sessions index repair")
        return layout

    # Redis

    def _in_redis(self, layout: Layout) -> Iterator[Page]:
        pending = self._pending()
        until = self._store.clock.wall() + self._store.settings.session_ttl * 1000
        latest = min(self._store.index.latest() or until, until)  # an entry at infinity must not hide what is written
        if layout.is_empty:
            yield from self._without_moments(self._store.index.session_ids(), pending)
            return
        unlisted = (lacking for _, lacking in self._store.index.unlisted(layout))
        yield from self._without_moments(unlisted, pending)
        without_moment = set(self._sent)  # a clean-up may enter them meanwhile
        for entries in self._by_moment():
            late = {member for member, moment in entries if moment > latest}  # written since we began
            if late:
                late -= self._unsent(late)
            fresh = [entry for entry in entries if entry[0] not in late and hash(entry[0]) not in without_moment]
            sessions, unreadable = self._read(fresh, pending)
            self._sent.extend(hash(member) for member, _ in fresh)
            member, moment = entries[-1]
            dead = len(fresh) - len(sessions) - unreadable
            yield Page(sessions, unreadable, str(Position(True, moment, decoded(member))), dead)

    def _without_moments(self, pages: Iterable[list[str]], pending: set[str] | None) -> Iterator[Page]:
        """Sessions without a known expiry; the cursor after them is the one before them."""
        cursor = str(self._begin or Position(True, -math.inf, ""))
        for names in pages:
            for start in range(0, len(names), self._page_size):
                members = [encoded(name) for name in names[start : start + self._page_size]]
                sessions, unreadable = self._read([(member, 0.0) for member in members], pending)
                self._sent.extend(hash(encoded(session.checkout_id)) for session in sessions)
                yield Page(sessions, unreadable, cursor)

    def _unsent(self, members: Iterable[bytes]) -> set[bytes]:
        """One pass over the hashes, whatever the number of members."""
        wanted = {hash(member): member for member in members}
        for sent in self._sent:
            wanted.pop(sent, None)
        return set(wanted.values())

    def _by_moment(self) -> Iterator[list[tuple[bytes, float]]]:
        moment = -math.inf
        seen: set[bytes] = set()
        if self._begin is not None:
            moment, last = self._begin.moment, encoded(self._begin.checkout_id)
            same = self._store.index.at_moment(moment)
            seen = {member for member in same if member <= last}  # those that end at the same moment are in this order
        while True:
            entries = self._store.index.from_moment(moment, self._page_size + len(seen))
            fresh = [entry for entry in entries if entry[0] not in seen]
            if not fresh:
                return
            yield fresh
            last_moment = fresh[-1][1]
            at_last = {member for member, score in entries if score == last_moment}
            seen = seen | at_last if last_moment == moment else at_last
            moment = last_moment

    def _read(self, entries: Sequence[tuple[bytes, float]], pending: set[str] | None) -> tuple[list[Exported], int]:
        ids, redis = [decoded(member) for member, _ in entries], self._store.redis
        of_all = None if redis.is_cluster or not ids else redis.last_identity(ids[0])
        found: dict[str, Exported] = {}
        doubtful: list[str] = []
        values = redis.sessions_values(ids)
        for checkout_id, (_, moment), value in zip(ids, entries, values, strict=True):
            copy = decode_value(value) if isinstance(value, bytes) else None
            if (
                copy is not None
                and not (copy.is_external or copy.is_dirty or copy.questionable)
                and pending is not None
                and checkout_id not in pending
                and copy.identity == (redis.last_identity(checkout_id) if redis.is_cluster else of_all)
            ):
                ends_at = int(moment) if 0 < moment < math.inf else None
                found[checkout_id] = Exported(checkout_id, TierName.REDIS, copy.version, ends_at, copy.body)
            else:
                doubtful.append(checkout_id)
        unreadable = self._judge(doubtful, found) if doubtful else 0
        return [found[name] for name in ids if name in found], unreadable

    def _judge(self, ids: Sequence[str], found: dict[str, Exported]) -> int:
        unreadable = 0
        for seen in self._store.admin.inspect_all(ids):
            if seen.session is None:
                unreadable += 1
                continue
            body = msgspec.json.encode(seen.session.fields)
            found[seen.checkout_id] = Exported(seen.checkout_id, seen.tier, seen.session.version, seen.expires_at, body)
        return unreadable

    def _pending(self) -> set[str] | None:
        """Ids of which Redis may lack the last version; ``None`` for too many to remember."""
        names: set[str] = set()
        backlog = Backlog(self._store.redis, self._store.database, session_ttl=self._store.settings.session_ttl)
        try:
            for rows in backlog.rows():
                names.update(row.checkout_id for row in rows)
                if len(names) > MOST_PENDING:
                    return None
        except DatabaseUnavailable as away:
            self._database_away = True
            self._tell(f"the database is away ({away}); exporting what Redis has")
        return names

    # The database

    def _in_database(self, *, listed: bool) -> Iterator[Page]:
        begin = self._begin
        after = (begin.moment, begin.checkout_id) if begin is not None and not begin.in_index else None
        for rows in self._store.database.ending_after(*(after or (self._store.clock.wall(), ""))):
            unsent = self._unlisted([name for _, name in rows]) if listed else {name for _, name in rows}
            wanted = [row for row in rows if row[1] in unsent]
            for start in range(0, len(wanted), self._page_size):
                part = wanted[start : start + self._page_size]
                yield Page(self._rows([name for _, name in part]), 0, str(Position(False, *part[-1])))

    def _unlisted(self, ids: Sequence[str]) -> set[str]:
        """What went out before this run began, only the index can tell."""
        if self._begin is None:
            return {decoded(member) for member in self._unsent(map(encoded, ids))}
        parts = (ids[start : start + PAGE] for start in range(0, len(ids), PAGE))
        return {name for part in parts for name in self._store.index.missing(part)}

    def _rows(self, ids: Sequence[str]) -> list[Exported]:
        rows = self._store.database.read_many(ids)
        return [
            Exported(name, TierName.DATABASE, rows[name].version, rows[name].expires_at, body)
            for name in ids
            if name in rows and (body := rows[name].body) is not None
        ]
