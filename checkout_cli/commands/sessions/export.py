"""``sessions export``: each living session once, as a stream that can be resumed.

The index is read in order of expiry: a session that is written meanwhile moves ahead of the reader, so none is missed.
Eight bytes of each are kept to send none twice. What only the database has follows. Copies in Redis that may be old are
compared with the database, as everywhere.
"""

from __future__ import annotations

import hashlib
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from checkout_cli.commands.sessions.find import Tell
from checkout_cli.errors import DatabaseUnavailable, InvalidInput, RedisUnavailable
from checkout_cli.privacy.personal_ids import is_personal
from checkout_cli.session import TierName
from checkout_cli.store.backlog import Backlog
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.value import decode as decode_value
from checkout_cli.store.redis.commands import decoded, encoded
from checkout_cli.store.redis.index import RawEntry
from checkout_cli.store.redis.index_place import Layout

PAGE = 200
"""Sessions that are fetched at a time: a fraction of a millisecond of Redis' time."""
_PARTS = 4096
"""Parts of the memory of what was sent: a look into one of them is short, with a million sessions too."""
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

    In the index that is whatever number another program has put there: negative, infinite, with a fraction. A cursor
    goes to stderr, logs and shells' histories, so a personal id is in it as a mark that tells it from the few others of
    its moment, and from no more.
    """

    in_index: bool
    moment: float
    checkout_id: str

    def __str__(self) -> str:
        moment = int(self.moment) if self.moment == self.moment // 1 else self.moment
        return f"{'r' if self.in_index else 'd'}{moment}-{_place_of(self.checkout_id)}"

    @property
    def known_id(self) -> str:
        """The id, by which others of its moment are ordered; of a mark nothing is known, so they all come again."""
        return "" if _MARK.fullmatch(self.checkout_id) else self.checkout_id

    @classmethod
    def parse(cls, text: str) -> Position:
        """Parse ``--cursor``; raises InvalidInput."""
        known = _CURSOR.fullmatch(text)
        if known is None:
            raise InvalidInput(f"not a cursor: {text[:64]!r}", hint="--cursor with what another export has said")
        in_index = known["moment"] is not None
        return cls(in_index, float(known["moment"]) if in_index else min(int(known["row"]), 2**63 - 1), known["id"])


_MARK = re.compile("#[0-9a-f]{4}")


def _place_of(checkout_id: str) -> str:
    return _mark(checkout_id) if is_personal(checkout_id) else checkout_id


def _mark(checkout_id: str) -> str:
    return f"#{hashlib.sha256(encoded(checkout_id)).hexdigest()[:4]}"


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


class _Members:
    """A set of ids in eight bytes each: their hashes, 64 bits of a function that is new in each process."""

    def __init__(self) -> None:
        self._parts = [array("q") for _ in range(_PARTS)]

    def update(self, members: Iterable[bytes]) -> None:
        for member in members:
            known = hash(member)
            self._parts[known % _PARTS].append(known)

    def __contains__(self, member: bytes) -> bool:
        known = hash(member)
        return known in self._parts[known % _PARTS]


class _Export:
    def __init__(self, store: CheckoutStore, begin: Position | None, page_size: int, tell: Tell) -> None:
        self._store = store
        self._begin = begin
        self._page_size = page_size
        self._tell = tell
        self._sent, self._sent_unlisted = _Members(), _Members()
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
        last = None if self._begin is None else self._entry_of(self._begin)
        for entries in self._store.index.behind(last, self._page_size):
            # What ends later than anything did when we began may be a session that was written since.
            fresh = [
                entry
                for entry in entries
                if not (entry.moment > latest and entry.member in self._sent)
                and entry.member not in self._sent_unlisted  # a clean-up may enter them meanwhile
            ]
            sessions, unreadable = self._read([(entry.member, entry.moment) for entry in fresh], pending)
            self._sent.update(entry.member for entry in fresh)
            dead = len(fresh) - len(sessions) - unreadable
            moment, member = entries[-1]
            yield Page(sessions, unreadable, str(Position(True, moment, decoded(member))), dead)

    def _entry_of(self, begin: Position) -> RawEntry:
        """The entry of a cursor; of a mark, the first of its moment that has it, or one before all of the moment."""
        before = RawEntry(begin.moment, encoded(begin.known_id))
        if begin.known_id == begin.checkout_id:
            return before
        for entries in self._store.index.behind(before, self._page_size):
            for entry in entries:
                if entry.moment > begin.moment:
                    return before
                if _place_of(decoded(entry.member)) == begin.checkout_id:
                    return entry
        return before

    def _without_moments(self, pages: Iterable[list[str]], pending: set[str] | None) -> Iterator[Page]:
        """Sessions without a known expiry; the cursor after them is the one before them."""
        cursor = str(self._begin or Position(True, -math.inf, ""))
        for names in pages:
            for start in range(0, len(names), self._page_size):
                members = [encoded(name) for name in names[start : start + self._page_size]]
                sessions, unreadable = self._read([(member, 0.0) for member in members], pending)
                self._sent_unlisted.update(encoded(session.checkout_id) for session in sessions)
                yield Page(sessions, unreadable, cursor)

    def _is_sent(self, member: bytes) -> bool:
        return member in self._sent or member in self._sent_unlisted

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
        after = (begin.moment, begin.known_id) if begin is not None and not begin.in_index else None
        for rows in self._store.database.ending_after(*(after or (self._store.clock.wall(), ""))):
            unsent = self._unlisted([name for _, name in rows]) if listed else {name for _, name in rows}
            wanted = [row for row in rows if row[1] in unsent]
            for start in range(0, len(wanted), self._page_size):
                part = wanted[start : start + self._page_size]
                yield Page(self._rows([name for _, name in part]), 0, str(Position(False, *part[-1])))

    def _unlisted(self, ids: Sequence[str]) -> set[str]:
        """What went out before this run began, only the index can tell."""
        if self._begin is None:
            return {name for name in ids if not self._is_sent(encoded(name))}
        parts = (ids[start : start + PAGE] for start in range(0, len(ids), PAGE))
        return {name for part in parts for name in self._store.index.missing(part)}

    def _rows(self, ids: Sequence[str]) -> list[Exported]:
        rows = self._store.database.read_many(ids)
        return [
            Exported(name, TierName.DATABASE, rows[name].version, rows[name].expires_at, body)
            for name in ids
            if name in rows and (body := rows[name].body) is not None
        ]
