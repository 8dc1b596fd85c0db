"""Keeping Redis and the database together: the lease, pending rows, and what is written down lazily.

A process trusts Redis only while it holds a lease: for T seconds after it began to look for rows that Redis may still
lack (ARCHITECTURE.md, point 6). The look also writes down what this process knows, so that neither a read nor a
write pays for it: which versions it has published, and how far reads have extended sessions. And it learns there
whether external writers were seen lately.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from cachetools import LRUCache

from checkout_cli.clock import Clock
from checkout_cli.config.settings import Settings
from checkout_cli.errors import DatabaseUnavailable, RedisUnavailable, SessionCorrupt
from checkout_cli.store.database.tier import DatabaseTier
from checkout_cli.store.epochs import Reigns
from checkout_cli.store.protocol.deleting import note_of
from checkout_cli.store.protocol.publishing import Outcome
from checkout_cli.store.protocol.trust import Distrust, Doubt, doubt
from checkout_cli.store.protocol.value import Value
from checkout_cli.store.records import Record, Reign
from checkout_cli.store.redis.commands import Command
from checkout_cli.store.redis.tier import Opened, RedisTier

MOST_PENDING = 1000
"""With more pending rows than this there is no lease: reads ask the database until the rows are handed over."""
GRACE = 2_000
"""Milliseconds for which a pending row is left to its own writer."""
KEPT_NOTES = 500
"""Notes that are kept before they are written down without waiting for the next look."""
LONGEST_WRITE = 300.0
"""Seconds after which a write of this process has surely ended, and the database's pending rows tell of it."""
KNOWN_SESSIONS = 100_000
"""Sessions of which a process remembers how far the database's expiry is."""

_log = logging.getLogger("checkout_cli.store")


Before = tuple[float, tuple[Distrust, ...]]
"""What this process knew of a session before it asked Redis: until when it had a lease, and what it distrusted."""


class HandOver:
    """One store's lease and notes. Thread-safe."""

    def __init__(self, settings: Settings, redis: RedisTier, database: DatabaseTier, clock: Clock) -> None:
        """Looks at nothing yet, so that there is no lease."""
        self._redis = redis
        self._database = database
        self._clock = clock
        self.sees_external_writers = False
        """Whether an external writer was seen within a day, as of the last look."""
        self._redis_in_use = settings.enable_checkout_sessions
        self._span = settings.trust
        self._touch_after = int(settings.session_ttl * 100)
        fenced = bool(settings.redis_sentinels) or redis.is_cluster
        self._reigns = Reigns(redis, database, clock) if fenced else None
        self._reigning: dict[bytes, Reign | None] = {}
        self._looking = threading.RLock()  # handing over makes notes, and many notes are written down at once
        self._noting = threading.Lock()
        self._lease_until = float("-inf")
        self._pending: dict[str, Distrust] = {}
        self._unpublished: dict[str, Distrust] = {}
        self._unpublished_at: dict[str, float] = {}
        self._published: dict[str, tuple[int, Reign | None]] = {}
        self.honours_deletes = settings.external_deletes == "honour"
        self._proofs: dict[str, str] = {}
        self._touched: dict[str, int] = {}
        self._refilled = 0
        self._known_expiry: LRUCache[str, int] = LRUCache(KNOWN_SESSIONS)

    # Trust

    def renew(self) -> list[str] | None:
        """Look for pending rows if the lease has run out. Without the database there is no lease, and no error.

        Returns ids of rows that have been pending for a while, for the caller to publish; ``None``: nothing was looked
        for, because the lease holds, or because a tier is away.
        """
        if self._clock.elapsed() < self._lease_until or self._redis.breaker.is_open:
            return None
        with self._looking:
            started = self._clock.elapsed()
            if started < self._lease_until:
                return None
            self._lease_until = float("-inf")
            try:
                self._write_down()
                if self._reigns is not None:
                    self._recognize(self._reigns.current())
                pending, external = self._database.look(MOST_PENDING + 1)
            except (DatabaseUnavailable, RedisUnavailable):
                return None
            self.sees_external_writers = external.are_recent(self._clock.wall())
            self._pending = {row.checkout_id: Distrust(row.version, row.write_id) for row in pending}
            self._forget_old_writes(started)
            # From the start of the look: what was committed while it ran may be missing in it.
            if len(pending) <= MOST_PENDING:
                self._lease_until = started + self._span
            return [row.checkout_id for row in pending if self._clock.wall() - row.updated_at > GRACE]

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

    def before(self, checkout_id: str) -> Before:
        """What this process knows of a session now. To be asked before Redis is.

        A lease, or a publish by another thread, that comes later says nothing of a value that was read earlier.
        """
        if self._pending or self._unpublished:
            return self._lease_until, self._distrusted(checkout_id)
        return self._lease_until, ()

    def doubt(self, checkout_id: str, value: Value, identity: bytes | None, before: Before) -> Doubt | None:
        """Why a value that the server of ``identity`` returned is not trusted, at this very moment; ``None``: it is."""
        lease_until, distrusted = before
        if self._pending or self._unpublished:
            distrusted += self._distrusted(checkout_id)
        has_lease = self._clock.elapsed() < min(lease_until, self._lease_until) and not self.is_fenced_off(identity)
        return doubt(value, identity, distrusted, lease=has_lease)

    def _distrusted(self, checkout_id: str) -> tuple[Distrust, ...]:
        pending, unpublished = self._pending.get(checkout_id), self._unpublished.get(checkout_id)
        return tuple(each for each in (pending, unpublished) if each is not None)

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
                known = distrusted.get(checkout_id)
                if known is not None and known.version <= version:  # an older version's publish proves nothing
                    del distrusted[checkout_id]
            if checkout_id not in self._unpublished:
                self._unpublished_at.pop(checkout_id, None)
            reign = self._reigning.get(identity) if identity is not None else None
            latest, _ = self._published.get(checkout_id, (0, None))
            self._published[checkout_id] = (max(version, latest), reign)
            full = len(self._published) + len(self._touched) >= KEPT_NOTES
        if full:
            self.write_down()

    def note_unpublished(self, record: Record) -> None:
        """This process is about to commit a version: distrust what lacks it until it, or a newer one, is in Redis."""
        if not self._redis_in_use:
            return  # nobody reads what could be stale there
        with self._noting:
            known = self._unpublished.get(record.checkout_id)
            if known is None or known.version <= record.version:
                self._unpublished[record.checkout_id] = Distrust(record.version, record.write_id)
            self._unpublished_at[record.checkout_id] = self._clock.elapsed()

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

    def note_refilled(self) -> None:
        """A session whose key was missing is filled from its row: an external writer may have deleted it."""
        if self.sees_external_writers:
            with self._noting:
                self._refilled += 1

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
            published, touched, proofs = self._published, self._touched, self._proofs
            self._published, self._touched, self._proofs = {}, {}, {}
            refilled, self._refilled = self._refilled, 0
        try:
            for reign in {reign for _, reign in published.values()}:
                versions = {name: version for name, (version, noted_for) in published.items() if noted_for == reign}
                self._database.note_published(versions, reign)
            self._database.touch(touched)
            self._database.note_proofs(proofs)
            if refilled:
                self._database.note_refilled(refilled)
        except DatabaseUnavailable:
            with self._noting:
                self._published = published | self._published
                self._touched = touched | self._touched
                self._proofs = proofs | self._proofs
                self._refilled += refilled
            raise

    # Publishing

    def publish(
        self, record: Record, opened: Opened, *, accounted: bytes | None = None, also: Sequence[Command] = ()
    ) -> tuple[Outcome, Opened]:
        """Publish a version, and note it if Redis has nothing older now; returns what lies there then.

        ``accounted`` are bytes that the database has accounted for in this operation; ``also`` goes in the same
        exchange, once.

        Raises:
            RedisUnavailable: it may or may not be published.
            WrongKeyType: another program keeps something else at the key.
        """
        self._refuse_fenced_off(opened)
        proof = self._redis.proof(record.checkout_id, opened.identity) if self.honours_deletes else ""
        outcome, now_there = self._redis.publish(record, opened, self._clock.wall(), accounted=accounted, also=also)
        self._note_outcome(record, outcome, opened)
        if proof and outcome is Outcome.SET:
            with self._noting:
                self._proofs[record.checkout_id] = note_of(record.version, proof)
            self.write_down()  # the process that will find the key missing may be another one, and soon
        return outcome, now_there

    def publish_all(self, some: Sequence[tuple[Record, Opened]]) -> list[Outcome]:
        """:meth:`publish` for many, those of one server in one round trip.

        Raises:
            RedisUnavailable: some of them may or may not be published.
        """
        if self._redis.is_cluster:
            return [self._published_alone(record, opened) for record, opened in some]
        outcomes: dict[str, Outcome] = {}
        for identity in {opened.identity for _, opened in some}:
            group = [(record, opened) for record, opened in some if opened.identity == identity]
            self._refuse_fenced_off(group[0][1])
            for (record, opened), (outcome, _) in zip(
                group, self._redis.publish_all(group, self._clock.wall()), strict=True
            ):
                self._note_outcome(record, outcome, opened)
                outcomes[record.checkout_id] = outcome
        return [outcomes[record.checkout_id] for record, _ in some]

    def _published_alone(self, record: Record, opened: Opened) -> Outcome:
        try:
            return self.publish(record, opened)[0]
        except SessionCorrupt:
            return Outcome.EXTERNAL

    def _refuse_fenced_off(self, opened: Opened) -> None:
        if self.is_fenced_off(opened.identity):
            raise RedisUnavailable("this primary is not the one that the database knows as the latest")

    def _note_outcome(self, record: Record, outcome: Outcome, opened: Opened) -> None:
        if outcome.is_published:
            self.note_published(record.checkout_id, record.version, opened.identity)
