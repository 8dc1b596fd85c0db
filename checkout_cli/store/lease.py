"""Whether this process may trust Redis: the lease, the distrusted versions, and fencing.

A process trusts Redis only for T seconds after it began to look for pending rows (ARCHITECTURE.md, point 6). The same
query tells whether external writers were seen lately.
"""

from __future__ import annotations

import threading

from checkout_cli.clock import Clock
from checkout_cli.config.settings import Settings
from checkout_cli.errors import DatabaseDenied, DatabaseUnavailable, RedisUnavailable
from checkout_cli.store.database.tier import DatabaseTier
from checkout_cli.store.epochs import Epochs
from checkout_cli.store.notes import Notes
from checkout_cli.store.own_writes import OwnWrites
from checkout_cli.store.protocol.trust import Distrust, Doubt, doubt
from checkout_cli.store.protocol.value import Value
from checkout_cli.store.records import Epoch, Record
from checkout_cli.store.redis.tier import RedisTier

MOST_PENDING = 1000
"""With more pending rows than this there is no lease: reads ask the database until the rows are published."""
GRACE = 2_000
"""Milliseconds for which a pending row is left to its own writer."""
LONGEST_WRITE = 300.0
"""Seconds after which a write of this process has surely ended, and the database's pending rows tell of it."""

Before = tuple[float, tuple[Distrust, ...], tuple[str, ...]]
"""What this process knew of a session before it asked Redis: until when it had a lease, what it distrusted, and its own
writes that the database did not have."""


class Lease:
    """One store's lease. Thread-safe."""

    def __init__(
        self, settings: Settings, redis: RedisTier, database: DatabaseTier, notes: Notes, own: OwnWrites, clock: Clock
    ) -> None:
        self._own = own
        self._redis = redis
        self._database = database
        self._notes = notes
        self._clock = clock
        self.sees_external_writers = False  # within a day, as of the last renewal
        self._redis_in_use = settings.enable_checkout_sessions
        self._span = settings.trust
        fenced = bool(settings.redis_sentinels) or redis.is_cluster
        self._epochs = Epochs(redis, database, clock) if fenced else None
        self._latest: dict[bytes, Epoch | None] = {}
        self._looking = threading.Lock()
        self._looks = 0
        """How many looks have ended."""
        self._lock = threading.Lock()
        self._lease_until = float("-inf")
        self._pending: dict[str, Distrust] = {}
        self._unpublished: dict[str, Distrust] = {}
        self._unpublished_at: dict[str, float] = {}

    def renew(self, *, ahead: float = 0.0) -> list[str] | None:
        """Look for pending rows if the lease has run out; returns old ones to publish, ``None`` if it did not look.

        ``ahead`` looks that many seconds before its end, so that nobody waits for the look; until it has ended, the
        old lease holds.
        """
        if self._clock.elapsed() + ahead < self._lease_until or self._redis.breaker.is_open:
            return None
        seen = self._looks
        with self._looking:
            started = self._clock.elapsed()
            # A look that others have just waited for, and that took longer than a lease holds, gives none to anybody.
            # If each made one of its own, they would wait for one another in a row.
            if started + ahead < self._lease_until or self._looks != seen:
                return None
            try:
                return self._look(started)
            finally:
                self._looks += 1

    def _look(self, started: float) -> list[str] | None:
        if started >= self._lease_until:
            self._lease_until = float("-inf")
        self._notes.write_down()  # what was published need not be found pending
        try:
            if self._epochs is not None:
                self._recognize(self._epochs.current())
            pending, external = self._database.look(MOST_PENDING + 1)
        except (DatabaseUnavailable, DatabaseDenied, RedisUnavailable):
            return None  # without a lease, each read asks the database, which says what it thinks of that
        self.sees_external_writers = external.are_recent(self._clock.wall())
        self._pending = {row.checkout_id: Distrust(row.version, row.write_id) for row in pending}
        with self._lock:  # what was found if it is still pending is forgotten: an outage would fill the memory
            for name in [name for name, at in self._unpublished_at.items() if started - at > LONGEST_WRITE]:
                del self._unpublished_at[name], self._unpublished[name]
        # From the start of the look: what was committed while it ran may be missing in it.
        self._lease_until = started + self._span if len(pending) <= MOST_PENDING else float("-inf")
        return [row.checkout_id for row in pending if self._clock.wall() - row.updated_at > GRACE]

    def invalidate(self, checkout_id: str) -> None:
        """End the trust in the server that has a session's key: it was unavailable."""
        try:
            identity = self._redis.last_identity(checkout_id) if self._redis.is_cluster else None
        except RedisUnavailable:
            identity = None
        if identity is None:
            self._lease_until = float("-inf")
            return
        with self._lock:
            self._latest = {known: epoch for known, epoch in self._latest.items() if known != identity}

    # Fencing

    @property
    def is_fenced(self) -> bool:
        """Whether a replica can be promoted, so that even a write must know the latest primary."""
        return self._epochs is not None

    def is_fenced_off(self, identity: bytes | None) -> bool:
        """Whether this is not a latest primary of the database's table; never for a standalone Redis."""
        return self._epochs is not None and (identity is None or identity not in self._latest)

    def _recognize(self, latest: dict[bytes, Epoch | None]) -> None:
        """Trust these primaries from now on: versions published to their predecessors may be missing."""
        with self._lock:
            self._notes.forget_published({epoch for epoch in self._latest.values() if epoch not in latest.values()})
            self._latest = latest

    # What is trusted

    def before(self, checkout_id: str) -> Before:
        """What this process knows of a session before it asks Redis; later knowledge is of no use for that value."""
        own = self._own.ids(checkout_id)
        if self._pending or self._unpublished:
            return self._lease_until, self._distrusted(checkout_id), own
        return self._lease_until, (), own

    def doubt(self, checkout_id: str, value: Value, identity: bytes | None, before: Before) -> Doubt | None:
        """Why a value that the server of ``identity`` returned is not trusted now; ``None``: it is."""
        lease_until, distrusted, own = before
        if self._pending or self._unpublished:
            distrusted += self._distrusted(checkout_id)
        has_lease = self._clock.elapsed() < min(lease_until, self._lease_until) and not self.is_fenced_off(identity)
        since = self._own.ids(checkout_id)
        if since != own:
            own += since
        return doubt(value, identity, distrusted, lease=has_lease, own=own)

    def _distrusted(self, checkout_id: str) -> tuple[Distrust, ...]:
        pending, unpublished = self._pending.get(checkout_id), self._unpublished.get(checkout_id)
        return tuple(each for each in (pending, unpublished) if each is not None)

    def note_unpublished(self, record: Record) -> None:
        """Distrust older values from now on: this process is about to commit a version."""
        if not self._redis_in_use:
            return  # nobody reads what could be stale there
        with self._lock:
            known = self._unpublished.get(record.checkout_id)
            if known is None or known.version <= record.version:
                self._unpublished[record.checkout_id] = Distrust(record.version, record.write_id)
            self._unpublished_at[record.checkout_id] = self._clock.elapsed()

    def note_published(self, checkout_id: str, version: int, identity: bytes | None) -> None:
        """The server of ``identity`` has this version now, or a newer one."""
        with self._lock:
            if self.is_fenced_off(identity):
                return  # another thread has found a later primary meanwhile
            for distrusted in (self._unpublished, self._pending):
                known = distrusted.get(checkout_id)
                if known is not None and known.version <= version:  # an older version's publish proves nothing
                    del distrusted[checkout_id]
            if checkout_id not in self._unpublished:
                self._unpublished_at.pop(checkout_id, None)
            self._notes.published(checkout_id, version, self._latest.get(identity) if identity is not None else None)
        self._notes.write_down_if_full()
