"""List, show, create and change sessions; writes insist on a durable tier, as a command's memory ends with it."""

from __future__ import annotations

import heapq
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from checkout_cli.commands.sessions.find import Tell, find, written
from checkout_cli.commands.sync.sync import PendingCounts, pending_counts
from checkout_cli.errors import (
    CardDataRefused,
    DatabaseUnavailable,
    InvalidInput,
    RedisUnavailable,
    SessionCorrupt,
    SessionNotFound,
)
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.keys import is_accepted_id
from checkout_cli.privacy.card_data import without_card_number
from checkout_cli.privacy.personal_ids import named
from checkout_cli.session import (
    MAX_BODY_BYTES,
    MAX_DEPTH,
    Acknowledgement,
    Durability,
    PaymentStatus,
    TierName,
    at_least,
    parse_strict,
)
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.records import Sighting
from checkout_cli.typed import typed

MOST_LOOKED_AT = 100_000
"""Entries that a list looks at, unless it is told how long it may take: they may be dead, or not be wanted."""
LONGEST_LOOK = 5.0
"""Seconds after which a list shows what it has, unless it is told."""

_UNREADABLE = "unreadable"
_SHOWN_ID = 64
_FIXED = {
    "checkoutId": "it is the session's name",
    "createdAt": "it is set once, at creation",
    "expiresAt": "the store moves it with every use",
}


class Order(StrEnum):
    NEWEST = "newest"
    OLDEST = "oldest"
    EXPIRES = "expires"
    TOTAL = "total"
    STATUS = "status"


@dataclass(frozen=True)
class Selection:
    """Which sessions to list; spans are in seconds, ``user`` is a whole id. Raises InvalidInput."""

    limit: int = 50
    status: str | None = None
    user: str | None = None
    expiring_within: float | None = None
    older_than: float | None = None
    tier: TierName | None = None
    order: Order = Order.NEWEST

    def __post_init__(self) -> None:
        statuses = (*PaymentStatus, _UNREADABLE)
        if self.limit < 1:
            raise InvalidInput("a list of no sessions", hint="--limit 50")
        if self.status is not None and self.status not in statuses:
            raise InvalidInput(f"not a status: {self.status[:32]!r}", hint=f"one of: {', '.join(statuses)}")
        if self.user is not None and not (self.user.strip() and self.user.isprintable() and len(self.user) <= 256):
            raise InvalidInput(
                f"not a user id: {named(self.user[:32])!r}", hint="the whole id, as in the session's userId"
            )

    def matches(self, sighting: Sighting, now: int) -> bool:
        """``now`` is in milliseconds."""
        session = sighting.session
        status = _UNREADABLE if session is None else session.status
        user = None if session is None else session.user_id
        left = math.inf if sighting.expires_at is None else sighting.expires_at - now
        created_at = None if session is None else session.created_at
        age = -math.inf if created_at is None else now - created_at
        return (
            self.status in {None, status}
            and self.user in {None, user}
            and (self.expiring_within is None or left <= self.expiring_within * 1000)
            and (self.older_than is None or age >= self.older_than * 1000)
        )


@dataclass(frozen=True)
class Written:
    """An accepted write; ``degraded`` where a tier that should have it does not yet."""

    JSON_KEYS = (
        "checkoutId=acknowledgement.session.checkout_id version=acknowledgement.session.version "
        "tier=acknowledgement.session.tier durability=acknowledgement.durability published=acknowledgement.published "
        "degraded"
    )

    acknowledgement: Acknowledgement
    degraded: bool


# Looking


def list_sessions(
    store: CheckoutStore, wanted: Selection, run: BoundedRun | None = None, *, most: float | None = None, tell: Tell
) -> Iterator[Sighting]:
    """The wanted sessions as they are read, the longest-living first, among the ``most`` first entries.

    Afterwards ``run.finished`` says whether there are entries that were not looked at.
    """
    run, now = run or BoundedRun(store.clock), store.clock.wall()
    seen = store.admin.pages(wanted.tier or _tier_to_ask(store, tell))
    all_seen = run.each(seen, most=MOST_LOOKED_AT if most is None else most)
    found = (sighting for sighting in all_seen if wanted.matches(sighting, now))
    if wanted.order is Order.NEWEST:
        return itertools.islice(found, wanted.limit)
    return iter(heapq.nsmallest(wanted.limit, found, key=lambda sighting: _rank(sighting, wanted.order)))


def _tier_to_ask(store: CheckoutStore, tell: Tell) -> TierName | None:
    """The tier to list, ``None`` for all; says which one is unavailable."""
    if not store.settings.enable_checkout_sessions:
        return TierName.DATABASE
    try:
        store.redis.ping()
    except RedisUnavailable as away:
        tell(f"Redis is away ({away}); listing from the database")
        return TierName.DATABASE
    try:
        store.database.ping()
    except DatabaseUnavailable as away:
        tell(f"the database is away ({away}); listing what Redis has")
        return TierName.REDIS
    return None


def waiting(store: CheckoutStore) -> PendingCounts:
    """What is pending in the tiers that just answered; never raises."""
    return pending_counts(store, redis=not store.redis.breaker.is_open, database=not store.database.breaker.is_open)


def _rank(sighting: Sighting, order: Order) -> tuple[bool, float | str]:
    """The sort key; sessions without it come last."""
    session = sighting.session
    if order is Order.EXPIRES:
        return sighting.expires_at is None, sighting.expires_at or 0
    if session is None:
        return True, 0
    if order is Order.STATUS:
        return False, session.status
    if order is Order.TOTAL:
        return session.total is None, -(session.total or 0)
    return session.created_at is None, session.created_at or 0


# Writing


def read_document(source: Path | BinaryIO) -> dict[str, Any]:
    """The fields of a new session; never reads more than a session may hold. Raises InvalidInput."""
    try:
        if isinstance(source, Path):
            with source.open("rb") as stream:
                document = stream.read(MAX_BODY_BYTES + 1)
        else:
            document = source.read(MAX_BODY_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        name = source if isinstance(source, Path) else "stdin"
        raise InvalidInput(
            f"cannot read {name}: {getattr(error, 'strerror', None) or error}",
            hint="--file with a file that holds one JSON object, or --file - for stdin",
        ) from error
    if len(document) > MAX_BODY_BYTES:
        raise InvalidInput(
            f"the session is larger than {MAX_BODY_BYTES:,} bytes",
            hint="store large content elsewhere and keep its id in the session",
        )
    return parse_strict(document)


def create(store: CheckoutStore, fields: Mapping[str, Any], *, checkout_id: str | None = None) -> Written:
    """Create a session durably; raises InvalidInput, SessionExists, SessionDeleted, DurabilityUnavailable."""
    return _written(store, store.create(fields, checkout_id=checkout_id, require=Durability.REDIS))


def update(store: CheckoutStore, checkout_id: str, assignments: Sequence[str]) -> Written:
    """Set ``field=value`` or ``outer.inner=value``, all in one version, of an id or the only one that begins so.

    Raises TransitionRefused, SessionNotFound, InvalidInput.
    """
    wanted = [parse_assignment(text) for text in assignments]
    if not wanted:
        raise InvalidInput("nothing to set", hint="--set field=value")

    def changes(present: Mapping[str, Any]) -> Mapping[str, Any]:
        return changed_fields(present, wanted)

    def write(name: str) -> Acknowledgement:
        return store.update(name, changes, require=Durability.REDIS)

    return _written(store, written(store, checkout_id, write))


def _written(store: CheckoutStore, acknowledgement: Acknowledgement) -> Written:
    as_durable = at_least(acknowledgement.durability, Durability(store.settings.durability))
    in_redis = acknowledgement.published or not store.settings.enable_checkout_sessions
    return Written(acknowledgement, degraded=not (as_durable and in_redis))


@dataclass(frozen=True)
class Assignment:
    """A field to set; ``is_json`` is false where the value is text as typed."""

    path: tuple[str, ...]
    value: Any
    is_json: bool

    @property
    def name(self) -> str:
        return ".".join(self.path)


def parse_assignment(text: str) -> Assignment:
    """Parse ``field=value``: JSON where valid, else text. Raises InvalidInput, CardDataRefused."""
    name, found, raw = text.partition("=")
    if without_card_number(name) != name:
        raise CardDataRefused("--set", "a card number as a field name")
    path = tuple(name.split("."))
    if not found or not all(path):
        raise InvalidInput(f"not an assignment: {name[:_SHOWN_ID]!r}", hint="--set field=value")
    if path[0] in _FIXED:
        raise InvalidInput(f"{path[0]} cannot be set: {_FIXED[path[0]]}", hint="leave it out")
    if len(path) > MAX_DEPTH:
        raise InvalidInput(f"nested deeper than {MAX_DEPTH} levels", hint="flatten the session")
    try:
        return Assignment(path, json.loads(raw, parse_constant=_not_json), is_json=True)
    except RecursionError as error:
        raise InvalidInput(f"{name[:_SHOWN_ID]}: nested deeper than {MAX_DEPTH} levels", hint="flatten it") from error
    except ValueError:
        return Assignment(path, raw, is_json=False)


def _not_json(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def changed_fields(present: Mapping[str, Any], wanted: Sequence[Assignment]) -> dict[str, Any]:
    """The top-level fields that change, whole; raises InvalidInput where a path or type does not fit."""
    changes: dict[str, Any] = {}
    for assignment in wanted:
        top, *inner = assignment.path
        changes[top] = _placed(changes.get(top, present.get(top)), inner, assignment)
    return changes


def _placed(present: Any, path: Sequence[str], assignment: Assignment) -> Any:
    if not path:
        if isinstance(present, (dict, list)) and not assignment.is_json:
            kind = "an object" if isinstance(present, dict) else "a list"
            raise InvalidInput(
                f"{assignment.name} holds {kind}, and the new value is not valid JSON",
                hint=f"{typed('--set {}', assignment.name + '=[…]')} with the whole value as JSON",
            )
        return assignment.value
    if present is None:
        present = {}
    if not isinstance(present, dict):
        outer = ".".join(assignment.path[: len(assignment.path) - len(path)])
        raise InvalidInput(
            f"{outer} is not an object, so {assignment.name} cannot be set", hint=typed("--set {}", f"{outer}=…")
        )
    first, *rest = path
    return {**present, first: _placed(present.get(first), rest, assignment)}


# Extending


@dataclass(frozen=True)
class Extension:
    """A session's new end; moments in milliseconds. ``away`` says why a tier does not have it."""

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
    """Extend a session by ``by`` seconds, at most to its maximum age, by its id or the only one that begins so.

    Raises SessionNotFound, SessionCorrupt, InvalidInput.
    The shop's next read grants the full TTL as always, which can be less in Redis; the database keeps the later end.
    """
    if not 0 < by < float("inf"):
        raise InvalidInput("the time to extend a session by must be more than zero", hint="--by 30m")
    seen = find(store, checkout_id)
    checkout_id = seen.checkout_id
    if seen.session is None:
        raise SessionCorrupt(f"session {named(checkout_id)} is no session: {seen.detail}")
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
    in_redis, redis_away = False, ""
    if store.settings.enable_checkout_sessions:
        try:
            in_redis = store.expiry.extend(checkout_id, until) != -2  # it has ended
        except RedisUnavailable as error:
            redis_away = str(error)
    if not (in_database or in_redis):
        raise SessionNotFound(f"session {named(checkout_id)} has just ended")
    away = tuple(reason for reason in (database_away, redis_away) if reason)
    return Extension(
        checkout_id, seen.expires_at, until, until < wanted, in_redis, in_database, away, seen.session.external
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
