"""Redis without the database: writes that Redis alone acknowledges, and bringing them to the database afterwards.

Such a write replaces exactly the bytes that were read, keeps the version of the row that the session grew from, and is
remembered in the value itself and in ``checkout:pending`` (ARCHITECTURE.md, points 8 and 9).
"""

from __future__ import annotations

import logging

import msgspec

from checkout_cli.errors import (
    CheckoutError,
    DurabilityUnavailable,
    RedisUnavailable,
    SessionCorrupt,
    SlotMoved,
    WriteConflict,
)
from checkout_cli.keys import PENDING, session_key
from checkout_cli.session import (
    Acknowledgement,
    Durability,
    Session,
    TierName,
    at_least,
    decode,
    milliseconds_of,
)
from checkout_cli.store import stamped
from checkout_cli.store.clock import Clock
from checkout_cli.store.drain_log import Drained, DrainLog, Undrained
from checkout_cli.store.index_place import IndexChange
from checkout_cli.store.records import Problem, Record
from checkout_cli.store.redis_commands import Script, decoded, encoded, register
from checkout_cli.store.redis_tier import Look, Opened, RedisTier
from checkout_cli.store.versions import Changes, Versions

_REPLACE, _DRAINED, _FORGET = register(Script("replace")), register(Script("drained")), register(Script("forget"))

ATTEMPTS = 20
"""How often a write is tried again on fresh bytes when other writers were faster."""

_log = logging.getLogger("checkout_cli.store")


class RedisAlone:
    """What the store does with Redis while the database is away. Thread-safe."""

    def __init__(self, redis: RedisTier, drain_log: DrainLog, versions: Versions, clock: Clock) -> None:
        """``drain_log`` takes what is brought to the database."""
        self._redis = redis
        self._drain_log = drain_log
        self._in_one_place = not redis.is_cluster
        """Whether a session and ``checkout:pending`` change in one atomic script; in a cluster, they are two slots."""
        self._versions = versions
        self._clock = clock

    def create(
        self, record: Record, opened: Opened, write_id: str, require: Durability | None
    ) -> Acknowledgement | None:
        """Create a session in Redis; ``None`` where our claim no longer holds, or never did.

        Raises:
            DurabilityUnavailable: the caller requires more.
        """
        _insist(require)
        if not opened.token:
            return None
        return self._write(msgspec.structs.replace(record, version=0), (write_id,), opened)

    def update(
        self, checkout_id: str, changes: Changes, opened: Opened, write_id: str, require: Durability | None
    ) -> Acknowledgement | None:
        """Change a session in Redis; ``None`` where what is there cannot be built upon.

        Raises:
            DurabilityUnavailable: the caller requires more.
            InvalidInput, TransitionRefused: the changes are not allowed.
            WriteConflict: others were faster every time.
        """
        _insist(require)
        # Other writes to Redis alone may come in between, a new version of the database may not: the database may have
        # this very write already, with only the answer lost, and that version may contain it.
        grown_from = None if opened.copy is None else opened.copy.version
        for _ in range(ATTEMPTS):
            copy = opened.standing
            if copy is None or copy.version != grown_from:
                return None
            seen = self._versions.seen(checkout_id, copy.version, copy.body)
            changed = msgspec.structs.replace(self._versions.next(seen, changes), version=copy.version)
            written = self._write(changed, (*copy.undrained, write_id), opened)
            if written is not None:
                return written
            opened = self._redis.open(checkout_id)
        raise WriteConflict(f"session {checkout_id} was changed by others {ATTEMPTS} times in a row")

    def _write(self, record: Record, undrained: tuple[str, ...], opened: Opened) -> Acknowledgement | None:
        try:
            if not self._replace(record, undrained, opened):
                return None
        except SlotMoved:  # nothing was written: there is a server to look at again
            return None
        assert record.body is not None  # noqa: S101  (deletions need the database)
        session = Session(record.checkout_id, decode(record.body), record.version, TierName.REDIS, verified=False)
        return Acknowledgement(session, Durability.REDIS, published=True)

    def _replace(self, record: Record, undrained: tuple[str, ...], opened: Opened) -> bool:
        """Write over exactly what was opened, or over our claim; false where that is no longer there."""
        assert record.body is not None  # noqa: S101  (deletions need the database)
        key, member = encoded(session_key(record.checkout_id)), encoded(record.checkout_id)
        value, _ = stamped.encode(record.version, opened.identity, record.body, undrained)
        ttl = max(record.expires_at - self._clock.wall(), 1)
        script = _REPLACE.call_pending if self._in_one_place else _REPLACE.call
        change = IndexChange(record.checkout_id, record.expires_at)
        replace = script(key, opened.value or b"", opened.token, value, ttl, member)
        if self._in_one_place:
            return bool(self._redis.with_index(replace, change, opened))
        # Entered before, so that nobody has to find it by chance; and after, because somebody may have looked at the
        # session in between, found nothing undrained yet, and taken the id out.
        self._redis.ask(("SADD", PENDING, member))
        replaced = bool(self._redis.with_index(replace, change, opened))
        if replaced:
            self._enter_again(member)
        return replaced

    def _enter_again(self, member: bytes) -> None:
        try:
            self._redis.ask(("SADD", PENDING, member))
        except RedisUnavailable as error:
            _log.warning("a session that waits for the database may have lost its entry among the pending: %s", error)

    # Bringing it to the database

    def drain(self, checkout_id: str, value: bytes) -> Drained | None:
        """Bring an undrained value to the database, and take it out of Redis; ``None`` where it is not undrained.

        Raises:
            DatabaseUnavailable: the database is still away, and Redis keeps the value.
        """
        copy = stamped.decode(value)
        if copy is None or not copy.undrained:
            return None
        outcome = self._drain_log.apply(self._undrained(checkout_id, copy), self._clock.wall())
        if outcome is Drained.CONFLICT:
            _log.warning("session %.8s… was changed on both sides: see checkoutctl sync --conflicts", checkout_id)
        try:
            self._take_out(checkout_id, value)
        except RedisUnavailable as error:
            _log.debug("the drained value stays, and will be found drained: %s", error)
        return outcome

    def _undrained(self, checkout_id: str, copy: stamped.Stamped) -> Undrained:
        fields = decode(copy.body)
        now = self._clock.wall()
        created_at = milliseconds_of(fields.get("createdAt")) or now
        expires_at = milliseconds_of(fields.get("expiresAt")) or now
        record = Record(checkout_id, copy.version, copy.body, created_at, max(expires_at, now + 1))
        return Undrained(record, copy.undrained, TierName.REDIS)

    def drain_some(self, limit: int) -> list[Drained]:
        """Bring some of what is in ``checkout:pending`` to the database.

        Raises:
            RedisUnavailable, DatabaseUnavailable: one is away; what was not drained stays where it is.
        """
        outcomes: list[Drained] = []
        checkout_ids = self.some_ids(limit)
        for checkout_id, look in zip(checkout_ids, self._redis.look(checkout_ids), strict=True):
            try:
                outcome = self.drain_seen(checkout_id, look)
            except SessionCorrupt as error:  # one broken value must not keep the others, nor who reads another session
                _log.warning("session %.8s… cannot be brought to the database: %s", checkout_id, error)
                continue
            if outcome is not None:
                outcomes.append(outcome)
        return outcomes

    def drain_seen(self, checkout_id: str, look: Look) -> Drained | None:
        """Bring what was seen of a session in ``checkout:pending`` to the database.

        Where nothing undrained is there, the id is forgotten: ``GONE``, or ``None`` where somebody else was faster.

        Raises:
            SessionCorrupt: the value cannot be read any more.
        """
        if look.problem is Problem.UNREACHABLE:
            return None
        outcome = None if look.value is None else self.drain(checkout_id, look.value)
        if outcome is None and self._forget(checkout_id):
            return Drained.GONE
        return outcome

    def _take_out(self, checkout_id: str, value: bytes) -> None:
        """The database has these bytes: delete them, unless more was written meanwhile."""
        key, member = encoded(session_key(checkout_id)), encoded(checkout_id)
        if self._in_one_place:
            self._redis.ask(_DRAINED.call_pending(key, value, member))
        elif self._redis.ask(_DRAINED.call(key, value)):
            self._forget(checkout_id)

    def _forget(self, checkout_id: str) -> bool:
        """Nothing undrained is there, so nothing waits; a write that comes at this very moment still does."""
        key, member = encoded(session_key(checkout_id)), encoded(checkout_id)
        if self._in_one_place:
            return bool(self._redis.ask(_FORGET.call_pending(key, member)))
        # Taken out before the look: a write that comes after the look enters the id again by itself.
        try:
            taken_out = bool(self._redis.ask(("SREM", PENDING, member)))
            (look,) = self._redis.look([checkout_id])
        except CheckoutError:  # it may have been taken out, and nobody has looked
            self._enter_again(member)
            raise
        copy = stamped.decode(look.value) if look.value is not None else None
        if look.problem is Problem.UNREACHABLE or (copy is not None and copy.undrained):
            self._enter_again(member)
            return False
        return taken_out

    def some_ids(self, limit: int) -> list[str]:
        """Some ids of sessions that the database lacks the last writes of."""
        return [decoded(member) for member in self._redis.ask(("SRANDMEMBER", PENDING, limit))]

    def count(self) -> int:
        """How many such sessions there are."""
        return int(self._redis.ask(("SCARD", PENDING)))


def _insist(require: Durability | None) -> None:
    if require is not None and not at_least(Durability.REDIS, require):
        raise DurabilityUnavailable(f"the database is away, and the write must last as long as {require}")
