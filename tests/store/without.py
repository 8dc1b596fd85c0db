"""The store without one mechanism of its protocol, for negative controls: how each is switched off."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy

from checkout_cli.errors import RedisUnavailable
from checkout_cli.store import redis_commands, redis_connection, redis_tier
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database_engine import Prepared
from checkout_cli.store.redis_commands import Script
from checkout_cli.store.redis_tier import Opened
from checkout_cli.store.schema import sessions

Patch = Callable[[Any, str, Any], None]
"""``setattr``, or a test's ``monkeypatch.setattr``."""

FOREVER = 1e9


def version_check(store: CheckoutStore, patch: Patch) -> None:
    """The UPDATE takes whatever version it finds."""
    columns = ("version", "body", "status", "completed", "expires_at", "updated_at", "write_id")
    any_version = sqlalchemy.update(sessions).where(sessions.c.checkout_id == sqlalchemy.bindparam("id"))
    statement = any_version.values({name: sqlalchemy.bindparam(name) for name in columns})
    patch(store.database, "_update", Prepared(statement, store.database._engine))


def stamp(store: CheckoutStore, patch: Patch) -> None:
    """Every server is called the same."""
    patch(redis_connection, "_info_value", lambda _section, _name: b"always the same")


def moment_of_the_stamp(store: CheckoutStore, patch: Patch) -> None:
    """The server's identity is asked for when publishing, not in the operation's first step."""
    publish = store.redis.publish

    def with_identity_of_now(record: Any, opened: Opened, now: int, **options: Any) -> str:
        try:
            identity = store.redis.identity(record.checkout_id)
        except RedisUnavailable:  # the connection of before the restart
            store.redis.breaker.succeeded()
            identity = store.redis.identity(record.checkout_id)
        return publish(record, msgspec.structs.replace(opened, identity=identity), now, **options)

    patch(store.redis, "publish", with_identity_of_now)


def lease(store: CheckoutStore, patch: Patch) -> None:
    """Who has looked for pending rows once trusts Redis for ever."""
    patch(store.hand_over, "_span", FOREVER)


def moment_of_the_lease(store: CheckoutStore, patch: Patch) -> None:
    """The lease is timed from the end of the look."""
    renew = store.hand_over.renew

    def timed_from_the_end() -> None:
        before = store.hand_over._lease_until
        renew()
        if store.hand_over._lease_until > before:
            store.hand_over._lease_until = store.clock.elapsed() + store.settings.trust

    patch(store.hand_over, "renew", timed_from_the_end)


def publish_rules(store: CheckoutStore, patch: Patch) -> None:
    """A publish may create a missing key."""
    _script(patch, b"return 'missing'", b"return put()")


def fill_marker(store: CheckoutStore, patch: Patch) -> None:
    """A publish takes any fill marker for its own."""
    own = b"ARGV[3] ~= '' and string.sub(value, 6, 6 + #ARGV[3]) == ARGV[3] .. ':'"
    _script(patch, own, b"true")


def own_distrust(store: CheckoutStore, patch: Patch) -> None:
    """A process trusts Redis as before though its own publish failed."""
    patch(store.hand_over, "note_unpublished", lambda _id, _version: None)
    patch(store.hand_over, "void", lambda _: None)


def restamping(store: CheckoutStore, patch: Patch) -> None:
    """A publish replaces lower versions only."""
    _script(patch, b"or (version == ours and stamp ~= ARGV[2])", b"")


def tombstone(store: CheckoutStore, patch: Patch) -> None:
    """A deletion leaves no row."""
    bury = store.database.bury

    def bury_and_forget(checkout_id: str, **options: Any) -> bool:
        done = bury(checkout_id, **options)
        store.database.erase(checkout_id)
        return done

    patch(store.database, "bury", bury_and_forget)


def drain_log(store: CheckoutStore, patch: Patch) -> None:
    """Nobody remembers what was drained."""
    patch(store.drain_log, "_log", lambda *_: True)


def write_id(store: CheckoutStore, patch: Patch) -> None:
    """The row does not tell which write made it."""
    for name in ("update", "insert"):
        original = getattr(store.database, name)

        def anonymous(record: Any, _original: Any = original, **options: Any) -> bool:
            return bool(_original(record, **options | {"write_id": "anonymous"}))

        patch(store.database, name, anonymous)
    has_write = store.database._has_write
    patch(store.database, "_has_write", lambda checkout_id, _: has_write(checkout_id, "the caller's own"))


def _script(patch: Patch, old: bytes, new: bytes) -> None:
    changed = Script("publish")
    assert old in changed.text, "the script has changed: this control switches nothing off"
    changed.text = changed.text.replace(old, new)
    changed.digest = hashlib.sha1(changed.text, usedforsecurity=False).hexdigest()
    patch(redis_tier, "_PUBLISH", redis_commands.register(changed))


MECHANISMS: dict[str, Callable[[CheckoutStore, Patch], None]] = {
    mechanism.__name__.replace("_", " "): mechanism
    for mechanism in (
        version_check,
        stamp,
        moment_of_the_stamp,
        lease,
        moment_of_the_lease,
        publish_rules,
        fill_marker,
        own_distrust,
        restamping,
        tombstone,
        drain_log,
        write_id,
    )
}
