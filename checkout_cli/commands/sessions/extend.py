"""``sessions extend``: a longer life for one session, for instance while a shopper is on the phone."""

from __future__ import annotations

from dataclasses import dataclass

from checkout_cli.errors import DatabaseUnavailable, InvalidInput, RedisUnavailable, SessionCorrupt, SessionNotFound
from checkout_cli.keys import is_accepted_id
from checkout_cli.store.checkout_store import CheckoutStore


@dataclass(frozen=True)
class Extension:
    """A session's new end; moments in milliseconds. ``away`` says why a tier does not have it."""

    SHOWN = "checkoutId expiresAtBefore@=before expiresAt@=after capped redis=in_redis database=in_database external"

    checkout_id: str
    before: int
    after: int
    capped: bool
    in_redis: bool
    in_database: bool
    away: tuple[str, ...] = ()
    external: bool = False


def extend(store: CheckoutStore, checkout_id: str, by: float) -> Extension:
    """Extend a session by ``by`` seconds, at most to its maximum age; raises SessionNotFound, SessionCorrupt.

    The shop's next read grants the full TTL as always, which can be less in Redis; the database keeps the later end.
    """
    if not 0 < by < float("inf"):
        raise InvalidInput("the time to extend a session by must be more than zero", hint="--by 30m")
    seen = store.admin.inspect(checkout_id)
    if seen.session is None:
        raise SessionCorrupt(f"session {checkout_id} is no session: {seen.detail}")
    now = store.clock.wall()
    if seen.expires_at is None:
        raise InvalidInput("the session has no end that could be moved", hint="checkoutctl sessions index check")
    oldest = (seen.session.created_at or now) + int(store.settings.session_max_age * 1000)
    wanted = seen.expires_at + int(by * 1000)
    until = min(wanted, oldest)
    if until <= seen.expires_at:
        raise InvalidInput(
            "the session has all the age that it may have",
            hint="CHECKOUT_SESSION_MAX_AGE is the limit: checkoutctl config show",
        )
    in_database, database_away = _in_database(store, checkout_id, until)
    ttl, redis_away = _in_redis(store, checkout_id, until)
    if not in_database and ttl == -2:
        raise SessionNotFound(f"session {checkout_id} has just ended")
    away = tuple(reason for reason in (database_away, redis_away) if reason)
    return Extension(
        checkout_id, seen.expires_at, until, until < wanted, ttl != -2, in_database, away, seen.session.external
    )


def _in_database(store: CheckoutStore, checkout_id: str, until: int) -> tuple[bool, str]:
    if not is_accepted_id(checkout_id):
        return False, ""
    try:
        store.database.touch({checkout_id: until})
        row = store.database.read(checkout_id)
    except DatabaseUnavailable as away:
        return False, str(away)
    return row is not None and row.body is not None and row.expires_at >= until, ""


def _in_redis(store: CheckoutStore, checkout_id: str, until: int) -> tuple[int, str]:
    if not store.settings.enable_checkout_sessions:
        return -2, ""
    try:
        return store.expiry.extend(checkout_id, until), ""
    except RedisUnavailable as away:
        return -2, str(away)
