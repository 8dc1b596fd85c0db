"""Keeping Redis and the database together: the lease, pending rows, and what is written down lazily.

A process trusts Redis only while it holds a lease: for T seconds after it began to look for rows that Redis may still
lack (ARCHITECTURE.md, point 6). The look also writes down what this process knows, so that neither a read nor a
write pays for it: which versions it has published, and how far reads have extended sessions.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
from cachetools import LRUCache

from checkout_cli.errors import CheckoutError, DatabaseUnavailable, RedisUnavailable, SessionCorrupt
from checkout_cli.settings import Settings
from checkout_cli.store.clock import Clock
from checkout_cli.store.database_tier import DatabaseTier, Pending
from checkout_cli.store.records import Record, Reign
from checkout_cli.store.redis_alone import RedisAlone
from checkout_cli.store.redis_commands import Command
from checkout_cli.store.redis_tier import Opened, RedisTier
from checkout_cli.store.reigns import Reigns

MOST_PENDING = 1000
"""With more pending rows than this there is no lease: reads ask the database until the rows are handed over."""
GRACE = 2_000
"""Milliseconds for which a pending row is left to its own writer."""
HANDED_OVER_AT_ONCE = 20
"""Pending rows that one look publishes before the read goes on."""
KEPT_NOTES = 500
"""Notes that are kept before they are written down without waiting for the next look."""
LONGEST_WRITE = 300.0
"""Seconds after which a write of this process has surely ended, and the database's pending rows tell of it."""
KNOWN_SESSIONS = 100_000
"""Sessions of which a process remembers how far the database's expiry is."""

_log = logging.getLogger("checkout_cli.store")


class HandOver:
    """One store's lease and notes. Thread-safe."""

    def __init__(
        self, settings: Settings, redis: RedisTier, database: DatabaseTier, redis_alone: RedisAlone, clock: Clock
    ) -> None:
        """Looks at nothing yet, so that there is no lease."""
        self._redis = redis
        self._database = database
        self._redis_alone = redis_alone
        self._clock = clock
        self._redis_in_use = settings.enable_checkout_sessions
        self._span = settings.trust
        self._touch_after = int(settings.session_ttl * 100)
        fenced = bool(settings.redis_sentinels) or redis.is_cluster
        self._reigns = Reigns(redis, database, clock) if fenced else None
        self._reigning: dict[bytes, Reign | None] = {}
        self._looking = threading.RLock()  # handing over makes notes, and many notes are written down at once
        self._noting = threading.Lock()
        self._lease_until = float("-inf")
        self._pending: dict[str, int] = {}
        self._unpublished: dict[str, int] = {}
        self._unpublished_at: dict[str, float] = {}
        self._published: dict[str, tuple[int, Reign | None]] = {}
        self._touched: dict[str, int] = {}
        self._known_expiry: LRUCache[str, int] = LRUCache(KNOWN_SESSIONS)

    # Trust

    def renew(self) -> None:
        """Look for pending rows if the lease has run out. Without the database there is no lease, and no error."""
        if self._clock.elapsed() < self._lease_until or self._redis.breaker.is_open:
            return
        with self._looking:
            started = self._clock.elapsed()
            if started < self._lease_until:
                return
            self._lease_until = float("-inf")
            try:
                self._write_down()
                if self._reigns is not None:
                    self._recognize(self._reigns.current())
                pending = self._database.pending(MOST_PENDING + 1)
            except (DatabaseUnavailable, RedisUnavailable):
                return
            self._pending = {row.checkout_id: row.version for row in pending}
            self._forget_old_writes(started)
            self._hand_over(pending)
            # From the start of the look: what was committed while it ran may be missing in it.
            if len(pending) <= MOST_PENDING:
                self._lease_until = started + self._span

    def _forget_old_writes(self, looked_at: float) -> None:
        """What the look had to find if it is still pending need not be remembered: an outage would fill memory."""
        with self._noting:
            old = [name for name, noted_at in self._unpublished_at.items() if looked_at - noted_at > LONGEST_WRITE]
            for name in old:
                del self._unpublished_at[name], self._unpublished[name]

    @property
    def is_fenced(self) -> bool:
        """Whether a replica can be promoted, so that even a write must know which primary is the latest."""
        return self._reigns is not None

    def is_fenced_off(self, identity: bytes | None) -> bool:
        """Whether this is not a primary that the database knows as the latest; never of a standalone Redis."""
        return self._reigns is not None and (identity is None or identity not in self._reigning)

    def trusted_until(self, checkout_id: str) -> float:
        """Until when what Redis has of a session from now on may be trusted, on this process's clock.

        To be asked before Redis is: a lease, or a publish by another thread, that comes later says nothing of a value
        that was read earlier.
        """
        return float("-inf") if self._is_distrusted(checkout_id) else self._lease_until

    def trusts(self, checkout_id: str, identity: bytes, until: float) -> bool:
        """Whether a copy in Redis that is stamped for the server of ``identity`` is current, at this very moment.

        ``until`` is what :meth:`trusted_until` said before the copy was read.
        """
        return (
            self._clock.elapsed() < min(until, self._lease_until)
            and not self.is_fenced_off(identity)
            and not self._is_distrusted(checkout_id)
        )

    def _is_distrusted(self, checkout_id: str) -> bool:
        return checkout_id in self._pending or checkout_id in self._unpublished

    def _recognize(self, reigning: dict[bytes, Reign | None]) -> None:
        """Go by these primaries from now on: that a predecessor has a version says nothing of what they have."""
        with self._noting:
            gone = {reign for reign in self._reigning.values() if reign not in reigning.values()}
            self._published = {name: note for name, note in self._published.items() if note[1] not in gone}
            self._reigning = reigning

    def void(self, checkout_id: str) -> None:
        """The server that has a session's key was away: whatever we believed of it must be looked at again."""
        if not self._redis.is_cluster:
            self._lease_until = float("-inf")
            return
        try:
            identity = self._redis.last_identity(checkout_id)
        except RedisUnavailable:
            self._lease_until = float("-inf")
            return
        with self._noting:
            self._reigning = {known: reign for known, reign in self._reigning.items() if known != identity}

    # Notes

    def note_published(self, checkout_id: str, version: int, identity: bytes | None) -> None:
        """The server of ``identity`` has this version now, or a newer one."""
        with self._noting:
            if self.is_fenced_off(identity):
                return  # another thread has found a later primary meanwhile
            for distrusted in (self._unpublished, self._pending):
                if distrusted.get(checkout_id, version + 1) <= version:  # an older version's publish proves nothing
                    del distrusted[checkout_id]
            if checkout_id not in self._unpublished:
                self._unpublished_at.pop(checkout_id, None)
            reign = self._reigning.get(identity) if identity is not None else None
            known, _ = self._published.get(checkout_id, (0, None))
            self._published[checkout_id] = (max(version, known), reign)
            full = len(self._published) + len(self._touched) >= KEPT_NOTES
        if full:
            self.write_down()

    def note_unpublished(self, checkout_id: str, version: int) -> None:
        """A write of this process may not be in Redis: distrust the id until this version or a newer one is."""
        if not self._redis_in_use:
            return  # nobody reads what could be stale there
        with self._noting:
            self._unpublished[checkout_id] = max(version, self._unpublished.get(checkout_id, 0))
            self._unpublished_at[checkout_id] = self._clock.elapsed()

    def note_expiry(self, checkout_id: str, expires_at: int, *, at_once: bool = False) -> None:
        """A read extended a session until then (ms); written down once in a tenth of the TTL.

        ``at_once`` is for where Redis knows nothing of it, so that other processes go by the database alone.
        """
        with self._noting:
            if expires_at - self._known_expiry.get(checkout_id, 0) <= self._touch_after:
                return
            self._known_expiry[checkout_id] = expires_at
            self._touched[checkout_id] = expires_at
        if at_once:
            self.write_down()

    def note_written(self, checkout_id: str, expires_at: int) -> None:
        """The database has this expiry (ms) already."""
        with self._noting:
            self._known_expiry[checkout_id] = expires_at

    def write_down(self) -> None:
        """Write the notes to the database now; without the database they are kept for later."""
        with self._looking:
            try:
                self._write_down()
            except DatabaseUnavailable as error:
                _log.debug("notes are kept: %s", error)

    def _write_down(self) -> None:
        with self._noting:
            published, touched = self._published, self._touched
            self._published, self._touched = {}, {}
        try:
            for reign in {reign for _, reign in published.values()}:
                versions = {name: version for name, (version, noted_for) in published.items() if noted_for == reign}
                self._database.note_published(versions, reign)
            self._database.touch(touched)
        except DatabaseUnavailable:
            with self._noting:
                self._published = published | self._published
                self._touched = touched | self._touched
            raise

    # Handing over

    def _hand_over(self, pending: list[Pending]) -> None:
        """Publish rows whose own writer has had time for it, and drain what Redis alone has; a few at a time."""
        due = [row for row in pending if self._clock.wall() - row.updated_at > GRACE]
        tasks: list[Callable[[], object]] = [
            partial(self.publish_row, row.checkout_id) for row in due[:HANDED_OVER_AT_ONCE]
        ]
        tasks.append(partial(self._redis_alone.drain_some, HANDED_OVER_AT_ONCE))
        for task in tasks:
            try:
                task()
            except DatabaseUnavailable as error:
                _log.debug("pending rows stay pending: %s", error)
                return
            except RedisUnavailable as error:  # in a cluster, another server may have the next one
                _log.debug("a pending row stays pending: %s", error)

    def publish_row(self, checkout_id: str, token: bytes = b"", also: Sequence[Command] = ()) -> None:
        """Publish what the database has of one session, whoever wrote it.

        ``token`` is our claim to fill its key; ``also`` goes along, for who is the writer.
        """
        identity = self._redis.identity(checkout_id)  # before the row is read: a later restart must void this publish
        record = self._database.read(checkout_id)
        if record is None:
            return
        # The key may live longer than the row says: reads are noted up to a tenth of the TTL late.
        ends_at = max(record.expires_at, self._clock.wall() + self._touch_after)
        try:
            self.publish(msgspec.structs.replace(record, expires_at=ends_at), Opened(None, identity, token), also)
        except SessionCorrupt as error:  # another program keeps something else at this key: it stays distrusted
            _log.warning("a session cannot be published: %s", error)

    def publish(self, record: Record, opened: Opened, also: Sequence[Command] = ()) -> str:
        """Publish a version and note it, ``also`` in the same exchange; if that fails, the id stays distrusted.

        Raises:
            RedisUnavailable: it may or may not be published.
            WrongKeyType: another program keeps something else at the key.
        """
        if self.is_fenced_off(opened.identity):
            raise RedisUnavailable("this primary is not the one that the database knows as the latest")
        outcome = self._redis.publish(record, opened, self._clock.wall(), also=also)
        self.note_published(record.checkout_id, record.version, opened.identity)
        return outcome

    def publish_all(self, some: Sequence[tuple[Record, Opened]]) -> list[str]:
        """:meth:`publish` for many, those of one server in one round trip; ``problem`` for what cannot be published.

        Raises:
            RedisUnavailable: some of them may or may not be published.
        """
        if self._redis.is_cluster:
            return [self._published_alone(record, opened) for record, opened in some]
        outcomes: dict[str, str] = {}
        for identity in {opened.identity for _, opened in some}:
            if self.is_fenced_off(identity):
                raise RedisUnavailable("this primary is not the one that the database knows as the latest")
            group = [(record, opened) for record, opened in some if opened.identity == identity]
            outcomes |= self._publish_group(group, identity)
        return [outcomes[record.checkout_id] for record, _ in some]

    def _publish_group(self, group: Sequence[tuple[Record, Opened]], identity: bytes | None) -> dict[str, str]:
        now = self._clock.wall()
        publishing = [self._redis.publishing(record, opened, now) for record, opened in group]
        outcomes: dict[str, str] = {}
        for (record, _), outcome in zip(group, self._redis.with_index_all(publishing, identity), strict=True):
            if isinstance(outcome, SessionCorrupt):
                outcomes[record.checkout_id] = "problem"
                continue
            if isinstance(outcome, CheckoutError):
                raise outcome
            self.note_published(record.checkout_id, record.version, identity)
            outcomes[record.checkout_id] = outcome.decode()
        return outcomes

    def _published_alone(self, record: Record, opened: Opened) -> str:
        try:
            return self.publish(record, opened)
        except SessionCorrupt:
            return "problem"
