"""The next version of a session, checked completely before any tier hears of it. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from checkout_cli.clock import Clock
from checkout_cli.config.settings import Settings
from checkout_cli.errors import InvalidInput, SessionExpired
from checkout_cli.keys import accepted_id
from checkout_cli.privacy.card_data import refuse_card_data
from checkout_cli.privacy.personal_ids import named
from checkout_cli.session import (
    PaymentStatus,
    check_fields,
    check_transition,
    decode,
    iso,
    milliseconds_of,
    with_changes,
)
from checkout_cli.store.records import Record

Changes = Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Fields to set, or a function from the session's present fields to those; it may be called more than once."""


class Versions:
    """Makes versions, by one set of lifetimes and one clock; ``new_id`` names sessions that come without an id."""

    def __init__(self, settings: Settings, clock: Clock, new_id: Callable[[], str]) -> None:
        self.ttl = int(settings.session_ttl * 1000)  # milliseconds, as all of these
        self.tenth_of_ttl = self.ttl // 10  # by which a noted expiry may be behind
        self._max_age = int(settings.session_max_age * 1000)
        self._clock = clock
        self._new_id = new_id

    def first(self, fields: Mapping[str, Any], checkout_id: str | None) -> Record:
        """The first version of a session, with all required fields; raises ``InvalidInput`` or ``SessionExpired``."""
        given = fields.get("checkoutId")
        refuse_card_data({"checkoutId": checkout_id, **fields})
        chosen = accepted_id(_chosen(checkout_id, given, self._new_id))
        if given is not None and given != chosen:
            raise InvalidInput("checkoutId differs from the id of the session", hint="leave checkoutId out")
        check_fields(fields)
        status = fields.get("paymentStatus", PaymentStatus.PENDING)
        check_transition(None, status)
        now = self._clock.wall()
        defaults = {"checkoutId": chosen, "paymentStatus": str(status), "paymentAttempts": 0, "createdAt": iso(now)}
        complete = defaults | dict(fields)
        created_at = milliseconds_of(complete["createdAt"])
        if created_at is None:
            raise InvalidInput("createdAt is not a moment", hint="leave it out, or write 2024-01-15T10:30:00.000Z")
        self.check_age(chosen, created_at)
        expires_at = self.expiry(created_at)
        return Record(chosen, 1, with_changes(b"{}", complete | {"expiresAt": iso(expires_at)}), created_at, expires_at)

    def next(self, seen: Record, changes: Changes, *, present: Mapping[str, Any] | None = None) -> Record:
        """The version after ``seen``; only changed fields are refused: ``InvalidInput``, ``TransitionRefused``.

        ``present`` are its fields, where they are known.
        """
        assert seen.body is not None  # noqa: S101  (nobody gets here with a tombstone)
        present = decode(seen.body) if present is None else present
        # A copy of its own for the function: what it changes in place must not look as if it had been there.
        wanted = dict(changes(decode(seen.body)) if callable(changes) else changes)
        refuse_card_data(_brought(present, wanted))
        if wanted.get("checkoutId", seen.checkout_id) != seen.checkout_id:
            raise InvalidInput("the checkoutId of a session cannot change", hint="create another session")
        if "createdAt" in present and wanted.get("createdAt", present["createdAt"]) != present["createdAt"]:
            raise InvalidInput("the createdAt of a session cannot change", hint="its maximum age counts from there")
        if "paymentStatus" in wanted:
            check_transition(present.get("paymentStatus"), wanted["paymentStatus"])
        expires_at = self.expiry(seen.created_at)
        body = with_changes(seen.body, {**wanted, "expiresAt": iso(expires_at)})
        return Record(seen.checkout_id, seen.version + 1, body, seen.created_at, expires_at)

    def seen(self, checkout_id: str, version: int, body: bytes, fields: Mapping[str, Any] | None = None) -> Record:
        """A copy of Redis as the base of a write; raises ``SessionExpired`` where it is too old.

        ``fields`` are those of the body, where they are known.
        """
        fields = decode(body) if fields is None else fields
        created_at = milliseconds_of(fields.get("createdAt")) or self._clock.wall()
        self.check_age(checkout_id, created_at)
        return Record(checkout_id, version, body, created_at, 0)

    def expiry(self, created_at: int) -> int:
        """When a session that is used now expires (ms): the full TTL from now, within the maximum age."""
        return min(self._clock.wall() + self.ttl, created_at + self._max_age)

    def check_age(self, checkout_id: str, created_at: int | None) -> None:
        """Raise ``SessionExpired`` for a session that has reached its maximum age, used or not."""
        if created_at is not None and created_at + self._max_age <= self._clock.wall():
            raise SessionExpired(f"session {named(checkout_id)} has reached its maximum age")


def _chosen(checkout_id: str | None, given: Any, new_id: Callable[[], str]) -> str:
    if checkout_id is not None:
        return checkout_id
    return str(given) if given is not None else new_id()


def _brought(present: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if name not in present or present[name] != value}
