"""The store without one mechanism of its protocol, for negative controls: how each is switched off."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy

from checkout_cli.errors import RedisUnavailable
from checkout_cli.store import flusher
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database import flush_log
from checkout_cli.store.database.engine import Prepared
from checkout_cli.store.database.schema import sessions
from checkout_cli.store.protocol import bodies, publishing, value, writing
from checkout_cli.store.protocol.flushing import decide
from checkout_cli.store.protocol.publishing import Found, Outcome, judge
from checkout_cli.store.protocol.row import Row
from checkout_cli.store.protocol.value import Value
from checkout_cli.store.protocol.writing import taken_in
from checkout_cli.store.redis import commands as redis_commands
from checkout_cli.store.redis import connection as redis_connection
from checkout_cli.store.redis import server as redis_server
from checkout_cli.store.redis import tier as redis_tier
from checkout_cli.store.redis.commands import Script
from checkout_cli.store.redis.opened import Opened

Patch = Callable[[Any, str, Any], None]
"""``setattr``, or a test's ``monkeypatch.setattr``."""

FOREVER = 1e9


# Versions and identities


def version_check(store: CheckoutStore, patch: Patch) -> None:
    """The UPDATE takes whatever version it finds."""
    columns = ("version", "body", "status", "completed", "expires_at", "updated_at", "write_id")
    any_version = sqlalchemy.update(sessions).where(sessions.c.checkout_id == sqlalchemy.bindparam("id"))
    statement = any_version.values({name: sqlalchemy.bindparam(name) for name in columns})
    patch(store.database, "_update", Prepared(statement, store.database._engine))


def identity(store: CheckoutStore, patch: Patch) -> None:
    """Every server is called the same."""
    patch(redis_connection, "_info_value", lambda _section, _name: b"the-same")


def moment_of_the_identity(store: CheckoutStore, patch: Patch) -> None:
    """The server's identity is asked for when publishing, not in the operation's first step."""
    publish = store.redis.publish

    def with_identity_of_now(record: Any, opened: Opened, now: int, **options: Any) -> Any:
        try:
            identity = store.redis.identity(record.checkout_id)
        except RedisUnavailable:  # the connection of before the restart
            store.redis.breaker.succeeded()
            identity = store.redis.identity(record.checkout_id)
        return publish(record, msgspec.structs.replace(opened, identity=identity), now, **options)

    patch(store.redis, "publish", with_identity_of_now)


def write_id(store: CheckoutStore, patch: Patch) -> None:
    """The row does not tell which write made it."""
    for name in ("update", "insert"):
        original = getattr(store.database, name)

        def anonymous(record: Any, _original: Any = original, **options: Any) -> bool:
            return bool(_original(record, **options | {"write_id": "anonymous"}))

        patch(store.database, name, anonymous)
    has_write = store.database._has_write
    patch(store.database, "_has_write", lambda checkout_id, _: has_write(checkout_id, "the caller's own"))


# Trust


def lease(store: CheckoutStore, patch: Patch) -> None:
    """Who has looked for pending rows once trusts Redis for ever."""
    patch(store.lease, "_span", FOREVER)


def moment_of_the_lease(store: CheckoutStore, patch: Patch) -> None:
    """The lease is timed from the end of the look."""
    renew = store.lease.renew

    def timed_from_the_end() -> Any:
        before = store.lease._lease_until
        due = renew()
        if store.lease._lease_until > before:
            store.lease._lease_until = store.clock.elapsed() + store.settings.trust
        return due

    patch(store.lease, "renew", timed_from_the_end)


def own_distrust(store: CheckoutStore, patch: Patch) -> None:
    """A process trusts Redis as before though its own publish failed."""
    patch(store.lease, "note_unpublished", lambda _record: None)
    patch(store.lease, "invalidate", lambda _: None)


def checksum(store: CheckoutStore, patch: Patch) -> None:
    """A value with a header of ours is ours."""
    patch(value, "_check", lambda _before, _after: b"0" * 16)


def questionable(store: CheckoutStore, patch: Patch) -> None:
    """An external value counts as ours as soon as it is taken in, before it was compared with the database."""

    def unquestioned(*arguments: Any) -> Value:
        return msgspec.structs.replace(taken_in(*arguments), questionable=False)

    patch(flusher, "taken_in", unquestioned)


# Publishing


def fill_claim(store: CheckoutStore, patch: Patch) -> None:
    """Any publish may fill a missing key."""
    _script(patch, (b"ARGV[2] ~= '' and redis.call('GET', KEYS[2]) == ARGV[2]", b"true"))


def missing_keys(store: CheckoutStore, patch: Patch) -> None:
    """A publish brings back a key that has gone since it was seen."""
    _script(patch, (b"elseif value ~= ARGV[2] then", b"elseif value and value ~= ARGV[2] then"))


def end_of_claims(store: CheckoutStore, patch: Patch) -> None:
    """Who finds the key missing leaves the claims of others as they are."""
    ends = b"  redis.call('DEL', KEYS[2])\n"
    _script(
        patch,
        (ends + b"  if not ours", b"  if not ours"),
        (ends + b"  return {0}\nend\n", b"  return {0}\nend\n"),
    )


def exact_bytes(store: CheckoutStore, patch: Patch) -> None:
    """A publish compares nothing with what it has seen."""
    _script(patch, (b"elseif value ~= ARGV[2] then", b"elseif not value then"))


def fresh_answers(store: CheckoutStore, patch: Patch) -> None:
    """Who found nothing before its commit, and no claim, has nothing to publish."""
    publish = store.redis.publish

    def hasty(record: Any, opened: Opened, *arguments: Any, **options: Any) -> Any:
        if opened.raw is None and not opened.token:
            return Outcome.MISSING, opened
        return publish(record, opened, *arguments, **options)

    patch(store.redis, "publish", hasty)


def publishing_again(store: CheckoutStore, patch: Patch) -> None:
    """A publish replaces lower versions only."""

    def lower_only(found: Found, row: Row, *arguments: Any) -> Outcome:
        same = found.value.base == row.version and not (found.value.is_dirty or found.value.is_external)
        return Outcome.NEWER if same else judge(found, row, *arguments)

    patch(publishing, "judge", lower_only)


def external_values(store: CheckoutStore, patch: Patch) -> None:
    """A publish takes what an external writer has written for old."""
    _judge(patch, Outcome.EXTERNAL)


def dirty_values(store: CheckoutStore, patch: Patch) -> None:
    """A publish takes what only Redis has for old."""
    _judge(patch, Outcome.DIRTY)


def tombstone(store: CheckoutStore, patch: Patch) -> None:
    """A deletion leaves no row."""
    bury = store.database.delete

    def bury_and_forget(checkout_id: str, **options: Any) -> bool:
        done = bury(checkout_id, **options)
        store.database.erase(checkout_id)
        return done

    patch(store.database, "delete", bury_and_forget)


# Flushing


def flushed_before(store: CheckoutStore, patch: Patch) -> None:
    """Nobody remembers what was flushed."""
    patch(store.flush_log, "_known", lambda *_: {})


def base_rule(store: CheckoutStore, patch: Patch) -> None:
    """A flush takes every value for one that grew from the row."""

    def on_any_row(dirty: Value, row: Row | None, *arguments: Any) -> Any:
        base = 0 if row is None else row.version
        return decide(msgspec.structs.replace(dirty, base=base), row, *arguments)

    patch(flush_log, "decide", on_any_row)


def transitions(store: CheckoutStore, patch: Patch) -> None:
    """A payment status may follow any other."""
    patch(bodies, "may_follow", lambda *_: True)


def restored_bytes(store: CheckoutStore, patch: Patch) -> None:
    """Bytes that came back with a restart count as written again."""
    patch(writing, "_external_id", lambda _value, digest, _identity: writing.EXTERNAL + digest)


def _judge(patch: Patch, overwritten: Outcome) -> None:
    def careless(*arguments: Any) -> Outcome:
        outcome = judge(*arguments)
        return Outcome.SET if outcome is overwritten else outcome

    patch(publishing, "judge", careless)


def _script(patch: Patch, *changes: tuple[bytes, bytes]) -> None:
    changed = Script("publish", reply=redis_tier._PUBLISH.reply)
    for old, new in changes:
        assert changed.text.count(old) == 1, "the script has changed: this control switches nothing off"
        changed.text = changed.text.replace(old, new)
    changed.digest = hashlib.sha1(changed.text, usedforsecurity=False).hexdigest()
    for module in (redis_server, redis_commands):
        patch(module, "SCRIPTS", redis_server.SCRIPTS | {changed.digest: changed})
    patch(redis_tier, "_PUBLISH", changed)


MECHANISMS: dict[str, Callable[[CheckoutStore, Patch], None]] = {
    mechanism.__name__.replace("_", " "): mechanism
    for mechanism in (
        version_check,
        identity,
        moment_of_the_identity,
        write_id,
        lease,
        moment_of_the_lease,
        own_distrust,
        checksum,
        questionable,
        fill_claim,
        missing_keys,
        end_of_claims,
        exact_bytes,
        fresh_answers,
        publishing_again,
        external_values,
        dirty_values,
        tombstone,
        flushed_before,
        base_rule,
        transitions,
        restored_bytes,
    )
}
