"""``sessions extend``: let one session live longer than it would, as while a shopper is on the telephone."""

from __future__ import annotations

from dataclasses import dataclass

from checkout_cli.errors import DatabaseUnavailable, InvalidInput, RedisUnavailable, SessionCorrupt, SessionNotFound
from checkout_cli.keys import is_accepted_id
from checkout_cli.store.checkout_store import CheckoutStore


@dataclass(frozen=True)
class Extension:
    """A session that ends later now; moments in milliseconds. ``capped``: it cannot live longer than its maximum age.

    ``in_redis`` and ``in_database`` are whether they have it with its new end; ``away`` is why one of them has not.
    ``external``: an external writer wrote it last, so that its ``expiresAt`` was left alone.
    """

    JSON_KEYS = (
        "checkoutId expiresAtBefore@=before expiresAt@=after capped redis=in_redis database=in_database external"
    )

    checkout_id: str
    before: int
    after: int
    capped: bool
    in_redis: bool
    in_database: bool
    away: tuple[str, ...] = ()
    external: bool = False


def extend(store: CheckoutStore, checkout_id: str, by: float) -> Extension:
    """Let a session live ``by`` seconds longer, at most up to its maximum age; never shorter than it would.

    Its ``expiresAt`` in Redis moves along, for programs that end a session then; an external writer's value keeps its
    bytes. The shop's next read grants the full TTL from then, as always, and in Redis that may be less; the database
    keeps the later end, and a read after the key has ended finds the session there.

    Raises:
        InvalidInput: ``by`` is no time, or the session has reached all the age that it may.
        SessionNotFound: there is none; or, as its kinds, ``SessionExpired`` or ``SessionDeleted``.
        SessionCorrupt: what is stored is no session.
        TierUnavailable: it may exist, and the tiers that would know are away.
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
    """Whether the row has it, and why not."""
    if not is_accepted_id(checkout_id):
        return False, ""
    try:
        store.database.touch({checkout_id: until})
        row = store.database.read(checkout_id)
    except DatabaseUnavailable as away:
        return False, str(away)
    return row is not None and row.body is not None and row.expires_at >= until, ""


def _in_redis(store: CheckoutStore, checkout_id: str, until: int) -> tuple[int, str]:
    """The time to live of the key (ms; -2: there is none), and why that is not known."""
    if not store.settings.enable_checkout_sessions:
        return -2, ""
    try:
        return store.expiry.extend(checkout_id, until), ""
    except RedisUnavailable as away:
        return -2, str(away)
