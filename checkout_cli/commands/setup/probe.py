"""The proof that a tier works: a probe session is written, read, expires, and is deleted without a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from checkout_cli.clock import Clock
from checkout_cli.errors import CheckoutError
from checkout_cli.session import PaymentStatus, iso

if TYPE_CHECKING:
    from checkout_cli.config.settings import Settings
    from checkout_cli.store.database.admin import DatabaseAdmin
    from checkout_cli.store.records import Record
    from checkout_cli.store.redis.admin import RedisAdmin

LIFE = 0.3
"""How long a probe session lives at least, in seconds."""
LIFE_IN_ROUND_TRIPS = 20
"""It lives longer on a slow connection, so that it can be read before it ends."""
PATIENCE = 2.0
"""How long after its end it may still be seen before that is a failure, in seconds."""
_POLL = 0.02


class ProbeFailed(CheckoutError):
    """The tier answers, and does not do what a tier must."""

    default_hint = "checkoutctl health"


def probe_redis(settings: Settings, probe_id: str, clock: Clock, round_trip: float = 0.0) -> float:
    """Write, read, expire and delete a session in Redis; returns its life in seconds, as ``round_trip`` is."""
    from checkout_cli.store.redis.admin import RedisAdmin

    life = max(LIFE, LIFE_IN_ROUND_TRIPS * round_trip)
    with (
        closing(RedisAdmin(settings.unchecked(session_ttl=life))) as tier,
        _removed_afterwards(lambda: tier.remove(probe_id)),
    ):
        written = clock.elapsed()
        _publish(tier, probe_id, clock, life)
        if tier.open(probe_id).value is None:
            raise ProbeFailed("Redis accepted a session and does not have it")
        expired_after = _until_gone(lambda: _value(tier, probe_id) is None, clock, written, life)
        _publish(tier, probe_id, clock, life)
        if not tier.remove(probe_id) or _value(tier, probe_id) is not None:
            raise ProbeFailed("Redis deleted a session and still has it")
    return expired_after


def _publish(tier: RedisAdmin, probe_id: str, clock: Clock, life: float) -> None:
    from checkout_cli.store.protocol.publishing import Outcome

    opened = tier.claim(probe_id)
    outcome, _ = tier.publish(_record(probe_id, clock.wall(), life), opened, clock.wall())
    if outcome is not Outcome.SET:
        raise ProbeFailed(f"Redis did not take a new session: {outcome}")


def _value(tier: RedisAdmin, probe_id: str) -> bytes | None:
    return tier.look([probe_id])[0].value


def probe_database(tier: DatabaseAdmin, probe_id: str, clock: Clock) -> float:
    """Write, read, expire and delete a session in the database; returns its life in seconds."""
    write_id = probe_id[-36:]  # as long as the column; a UUID
    with _removed_afterwards(lambda: tier.erase(probe_id)):
        written, now = clock.elapsed(), tier.now()
        record = _record(probe_id, now)
        if not tier.insert(record, now=now, write_id=write_id):
            raise ProbeFailed("the database has the probe session already")
        if tier.read(probe_id) != msgspec.structs.replace(record, write_id=write_id):
            raise ProbeFailed("the database accepted a session and does not have it as it was written")
        expired_after = _until_gone(lambda: tier.now() >= record.expires_at, clock, written)
        deleted = tier.delete(probe_id, seen=record.version, now=tier.now(), write_id=write_id)
        remains = tier.read(probe_id)
        if not deleted or remains is None or remains.body is not None:
            raise ProbeFailed("the database deleted a session and still has it")
    return expired_after


def probe_memory(probe_id: str, clock: Clock) -> float:
    """Write, read, expire and delete a session in this process; returns its life in seconds."""
    from checkout_cli.store.memory_tier import MemoryTier

    tier = MemoryTier(capacity=1)
    written, record = clock.elapsed(), _record(probe_id, clock.wall())
    tier.keep(record, (probe_id,), seen=None, now=clock.wall())
    kept = tier.read(probe_id, clock.wall())
    if kept is None or kept.record != record:
        raise ProbeFailed("memory accepted a session and does not have it")
    expired_after = _until_gone(lambda: tier.read(probe_id, clock.wall()) is None, clock, written)
    if not tier.release(probe_id, kept) or len(tier):
        raise ProbeFailed("memory deleted a session and still has it")
    return expired_after


def _record(probe_id: str, now: int, life: float = LIFE) -> Record:
    from checkout_cli.store.records import Record

    expires_at = now + int(life * 1000)
    fields = {
        "checkoutId": probe_id,
        "items": [],
        "totalAmount": 0,
        "paymentStatus": PaymentStatus.CANCELLED,  # should somebody count it, it is no open checkout
        "createdAt": iso(now),
        "expiresAt": iso(expires_at),
    }
    return Record(probe_id, 1, msgspec.json.encode(fields), now, expires_at)


def _until_gone(gone: Callable[[], bool], clock: Clock, written: float, life: float = LIFE) -> float:
    """Wait for the end of a session, and return the seconds since it was ``written``."""
    while not gone():
        if clock.elapsed() - written > life + PATIENCE:
            raise ProbeFailed(f"a session that lives {life:.1f} s is still there after {life + PATIENCE:.1f} s")
        clock.pause(_POLL)
    return clock.elapsed() - written


@contextmanager
def _removed_afterwards(remove: Callable[[], object]) -> Iterator[None]:
    """Remove the probe's traces, also after a failure; that failure is what counts, not that of the removal."""
    try:
        yield
    except BaseException:
        with suppress(CheckoutError):  # the tier went away under the probe; the expiry removes what is left
            remove()
        raise
    remove()
