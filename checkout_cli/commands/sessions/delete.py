"""``sessions delete`` and ``sessions restore``.

Before the first session is deleted, all that every tier has of all of them is in an undo file. A session that has
changed since, or is no longer selected, is left alone; so is one to restore whose id has been used since.
"""

from __future__ import annotations

import itertools
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from checkout_cli.commands.sessions.find import MOST_CANDIDATES, SHORTEST_PREFIX, find, is_beginning, the_only
from checkout_cli.commands.sessions.sessions import MOST_LOOKED_AT, Selection
from checkout_cli.commands.sessions.undo_file import (
    KIND,
    VERSION,
    Header,
    InDatabase,
    InRedis,
    Undo,
    read_undo,
    remember_restored,
    remember_undo,
    restored_before,
    sweep,
    undo_path,
    write_undo,
)
from checkout_cli.errors import (
    InvalidInput,
    RedisUnavailable,
    SessionCorrupt,
    SessionExpired,
    SessionNotFound,
    WriteConflict,
    WrongKeyType,
)
from checkout_cli.jobs.bounded_run import BoundedRun, Ended, Stopped
from checkout_cli.keys import is_accepted_id
from checkout_cli.privacy.personal_ids import named
from checkout_cli.session import PaymentStatus, decode, milliseconds_of
from checkout_cli.store.admin import row_seen
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.value import decode as decode_value
from checkout_cli.store.protocol.value import digest_of
from checkout_cli.store.records import Record, Sighting
from checkout_cli.store.redis.commands import encoded
from checkout_cli.store.redis.opened import Look
from checkout_cli.typed import typed

MOST_DELETED = 100_000
"""Sessions that one command deletes; what goes beyond that is not meant."""
SHOWN = 10
"""Sessions that are named before the question."""
BATCH = 200
"""Sessions whose content is fetched at once."""


@dataclass(frozen=True)
class Plan:
    """What would be deleted at ``now`` (ms): ``shown`` are the first sessions, ``value`` is of all baskets.

    ``deletion`` marks every tombstone, so that a restore recognises its own. ``wanted`` is ``None`` for named sessions.
    ``contents`` are the digests of what was looked at, by id: what has another by now, nobody has agreed to delete.
    It is ``partial`` where more entries are there than the ``looked_at`` among which they were found.
    """

    now: int
    deletion: str
    checkout_ids: tuple[str, ...]
    shown: tuple[Sighting, ...]
    by_status: dict[str, int]
    by_tier: dict[str, int]
    value: float
    undo_file: Path
    wanted: Selection | None = None
    contents: Mapping[str, str] = field(default_factory=dict)
    looked_at: int = 0
    partial: bool = False

    @property
    def number(self) -> int:
        return len(self.checkout_ids)


@dataclass
class Deletion(Ended):
    """What became of a plan; ``changed`` or ended meanwhile were left alone, ``irreversible`` were unreadable."""

    JSON_KEYS = (
        "deleted=deleted.__len__ matched=plan.number basketValue=plan.value:2 byStatus=plan.by_status "
        "byTier=plan.by_tier checkoutIds=affected changed irreversible undoFile degraded finished partial=plan.partial "
        "lookedAt=plan.looked_at"
    )

    plan: Plan
    done: bool = False
    deleted: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    irreversible: int = 0
    degraded: bool = False

    @property
    def affected(self) -> Sequence[str]:
        return self.deleted if self.done else self.plan.checkout_ids

    @property
    def undo_file(self) -> Path | None:
        return self.plan.undo_file if self.done else None

    @property
    def has_finding(self) -> bool:
        return self.plan.partial or (self.done and len(self.deleted) < self.plan.number)


# What to delete


def plan(
    store: CheckoutStore,
    checkout_ids: Sequence[str] = (),
    wanted: Selection | None = None,
    run: BoundedRun | None = None,
    *,
    most: float | None = None,
    undo_file: Path | None = None,
) -> Plan:
    """Plan the deletion of these sessions, by ids or beginnings of ids, or of all living ones that are ``wanted``.

    These are looked for among the ``most`` first entries. Raises InvalidInput for both or too many, SessionNotFound,
    TierUnavailable where a session may exist.
    """
    wanted = None if wanted == Selection() else wanted
    if bool(checkout_ids) == (wanted is not None):
        raise InvalidInput("either ids, or --user, --status and --older-than", hint="checkoutctl sessions delete ID")
    run = run or BoundedRun(store.clock)
    chosen = {sighting.checkout_id: sighting for sighting in (find(store, given) for given in checkout_ids)}
    ids: list[str] = []
    contents: dict[str, str] = {}
    shown: list[Sighting] = []
    statuses, tiers, value = Counter[str](), Counter[str](), 0.0
    for sighting in chosen.values() if wanted is None else _selected(store, wanted, run, most):
        if len(ids) == MOST_DELETED:
            raise InvalidInput(f"more than {MOST_DELETED:,} sessions match", hint="narrow it: --user, --older-than")
        ids.append(sighting.checkout_id)
        shown += [sighting] if len(shown) < SHOWN else []
        tiers[str(sighting.tier)] += 1
        if sighting.session is None:
            statuses["unreadable"] += 1
        else:
            status = sighting.session.status
            statuses[status if status in tuple(PaymentStatus) else "other"] += 1
            value += sighting.session.total or 0
            contents[sighting.checkout_id] = _content_digest(sighting.session.fields)
    now, deletion = store.clock.wall(), str(uuid.uuid4())
    path = undo_file or undo_path(now, deletion)
    return Plan(
        now,
        deletion,
        tuple(ids),
        tuple(shown),
        dict(statuses),
        dict(tiers),
        value,
        path,
        wanted,
        contents,
        run.looked_at,
        not run.finished,
    )


def _selected(store: CheckoutStore, wanted: Selection, run: BoundedRun, most: float | None) -> Iterator[Sighting]:
    if wanted.user is None and wanted.status is None:
        raise InvalidInput("say whose sessions, or of which status", hint="--user ID, or --status failed")
    store.database.ping()  # only the database can delete for good, so there is no point in looking without it
    now = store.clock.wall()
    all_seen = run.each(store.admin.pages(), most=MOST_LOOKED_AT if most is None else most)
    yield from (sighting for sighting in all_seen if wanted.matches(sighting, now))


# Deleting


def delete_all(
    store: CheckoutStore, plan: Plan, run: BoundedRun | None = None, *, agreed: Callable[[Plan], bool]
) -> Deletion:
    """Delete the plan's sessions, if ``agreed``; nothing without an undo file (CheckoutError) or database."""
    result, run = Deletion(plan), run or BoundedRun(store.clock)
    if not plan.number or not run.untimed(agreed, plan):
        return result
    for looks in _looks(store, plan.checkout_ids):  # else the undo file would have a version that nobody issued
        for checkout_id, look in looks.items():
            store.publisher.settle_seen(checkout_id, look)
    written = _write_undo(store, plan, result)
    remember_undo(plan.deletion, plan.undo_file, plan.now)
    sweep(plan.now - int(store.settings.session_max_age * 1000))
    result.done = True
    run.expect(plan.number)
    with run.bounds():
        for checkout_id, is_wanted in run.pages(_still_wanted(store, plan), lambda _: 1):
            expected = written.get(checkout_id) if is_wanted else None
            if expected is not None and plan.contents.get(checkout_id) not in {None, expected.content}:
                expected = None
            is_deleted = expected is not None and _delete(store, checkout_id, expected, plan.deletion)
            (result.deleted if is_deleted else result.changed).append(checkout_id)
    result.end(run)
    result.degraded = store.settings.enable_checkout_sessions and not _uses_redis(store)
    return result


def _content_digest(fields: Mapping[str, Any]) -> str:
    """Without the moment that each read moves."""
    content = {name: value for name, value in fields.items() if name != "expiresAt"}
    return digest_of(msgspec.json.encode(content, order="deterministic"))


def _uses_redis(store: CheckoutStore) -> bool:
    return store.settings.enable_checkout_sessions and not store.redis.breaker.is_open


def _batches(checkout_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (checkout_ids[start : start + BATCH] for start in range(0, len(checkout_ids), BATCH))


def _still_wanted(store: CheckoutStore, plan: Plan) -> Iterator[tuple[str, bool]]:
    """Each session, and whether it still is what was selected: a shopper may have paid while a person thought."""
    for batch in _batches(plan.checkout_ids):
        wanted = set(batch)
        if plan.wanted is not None:
            wanted = {seen.checkout_id for seen in _present(store, batch) if plan.wanted.matches(seen, plan.now)}
        yield from ((checkout_id, checkout_id in wanted) for checkout_id in batch)


def _present(store: CheckoutStore, checkout_ids: Sequence[str]) -> list[Sighting]:
    """From the database, where Redis is off or unavailable."""
    if _uses_redis(store):
        with suppress(RedisUnavailable):
            return list(store.admin.inspect_all(checkout_ids))
    rows = store.database.read_many(checkout_ids)
    return [row_seen(row) for row in rows.values() if row.body is not None]


class _Expected(NamedTuple):
    """A session as it is in the undo file: its version, and the digests of its bytes in Redis and of its content."""

    version: int
    digest: str | None
    content: str | None


def _delete(store: CheckoutStore, checkout_id: str, expected: _Expected, deletion: str) -> bool:
    try:
        store.delete(checkout_id, seen=expected.version, digest=expected.digest, write_id=deletion)
    except (WriteConflict, SessionNotFound):
        return False
    return True


def _looks(store: CheckoutStore, checkout_ids: Sequence[str]) -> Iterator[dict[str, Look]]:
    """In batches; empty looks where Redis is off or unavailable."""
    uses_redis = _uses_redis(store)
    for batch in _batches(checkout_ids):
        looks = [Look(None, None, 0)] * len(batch)
        if uses_redis:
            with suppress(RedisUnavailable):  # it has just gone: the database deletes all the same
                looks = store.redis.look(batch)
        yield dict(zip(batch, looks, strict=True))


def _write_undo(store: CheckoutStore, plan: Plan, result: Deletion) -> dict[str, _Expected]:
    written: dict[str, _Expected] = {}

    def lines() -> Iterator[Undo]:
        for looks in _looks(store, plan.checkout_ids):
            for checkout_id, undo in _undo(store, looks):
                digest = None if undo.redis is None else digest_of(undo.redis.value)
                fields = undo.fields
                content = None if fields is None else _content_digest(fields)
                written[checkout_id] = _Expected(undo.version, digest, content)
                result.irreversible += _content(undo, plan.now) is None
                yield undo

    places = store.settings.database_place, store.settings.redis_place
    header = Header(KIND, VERSION, plan.deletion, plan.now, *places, plan.number)
    write_undo(plan.undo_file, header, lines())
    return written


def _undo(store: CheckoutStore, looks: dict[str, Look]) -> Iterator[tuple[str, Undo]]:
    """One line for each, also for a session that has vanished; non-UTF-8 ids of external writers are escaped."""
    rows = store.database.read_many(list(looks))
    scores: Sequence[float | None] = [None] * len(looks)
    if _uses_redis(store):
        with suppress(RedisUnavailable, WrongKeyType):
            scores = store.index.scores(list(looks))
    for (checkout_id, look), score in zip(looks.items(), scores, strict=True):
        row, in_redis, in_database = rows.get(checkout_id), None, None
        if look.value is not None:
            ends_at = None if look.ttl is None else store.clock.wall() + look.ttl
            in_redis = InRedis(look.value, look.ttl, ends_at, score)
        if row is not None and row.body is not None:
            in_database = InDatabase(row.version, row.body.decode(), row.created_at, row.expires_at)
        name = encoded(checkout_id).decode(errors="backslashreplace")
        yield checkout_id, Undo(name, 0 if row is None else row.version, in_redis, in_database)


# Restoring


class Outcome(StrEnum):
    RESTORED = "restored"
    ALIVE = "alive"
    """It was not deleted, or has been restored already."""
    EXPIRED = "expired"
    CHANGED = "changed"
    """Something has happened under its id since, or its tombstone is gone."""
    NO_SESSION = "no session"


@dataclass
class Restoration(Ended):
    """What a restore did, or with ``dry_run`` would do; no ``path`` where the database kept the session.

    ``resumed_after`` is how many sessions of the file an earlier run has dealt with whose time was up.
    """

    JSON_KEYS = "undoFile=path dryRun deletedAt@ degraded finished resumedAfter *ids"

    path: Path | None
    deleted_at: int
    dry_run: bool
    outcomes: dict[Outcome, list[str]] = field(default_factory=lambda: {outcome: [] for outcome in Outcome})
    degraded: bool = False
    resumed_after: int = 0

    @property
    def ids(self) -> dict[str, list[str]]:
        return {outcome.name.lower(): ids for outcome, ids in self.outcomes.items()}

    @property
    def has_finding(self) -> bool:
        return bool(self.outcomes[Outcome.CHANGED] or self.outcomes[Outcome.NO_SESSION] or not self.finished)


def restore(store: CheckoutStore, what: Path, run: BoundedRun | None = None, *, dry_run: bool = False) -> Restoration:
    """Restore from an undo file, or one session by its id or its beginning; raises as the two below."""
    if what.exists() or not is_beginning(str(what)):
        return restore_all(store, what, run, dry_run=dry_run)
    return restore_one(store, str(what), dry_run=dry_run)


def restore_all(
    store: CheckoutStore, path: Path, run: BoundedRun | None = None, *, dry_run: bool = False
) -> Restoration:
    """Restore what a deletion took, with its old expiry; raises InvalidInput for a bad file, DatabaseUnavailable."""
    header, sessions = read_undo(path)
    store.database.ping()
    result = Restoration(path, header.deleted_at, dry_run)
    run = run or BoundedRun(store.clock)
    result.resumed_after = done = 0 if dry_run else restored_before(header.deletion)
    run.expect(header.sessions, done=done)
    with run.bounds():
        for undo in run.pages(itertools.islice(sessions, done, None), lambda _: 1):
            result.outcomes[_restored(store, undo, header, dry_run=dry_run)].append(undo.checkout_id)
    result.end(run)
    if not dry_run:
        done += sum(map(len, result.outcomes.values()))
        remember_restored(header.deletion, done if result.stopped is Stopped.TIME else 0, store.clock.wall())
    here = store.settings.database_place
    if len(result.outcomes[Outcome.CHANGED]) == header.sessions and header.database != here:
        raise InvalidInput(
            f"{path} was made on another database, {header.database}, and none of its sessions was deleted in {here}",
            hint="set DATABASE_URL and CHECKOUT_DATABASE_SCHEMA to where the sessions were deleted",
        )
    result.degraded = store.settings.enable_checkout_sessions and not _uses_redis(store)
    return result


def restore_one(store: CheckoutStore, given: str, *, dry_run: bool = False) -> Restoration:
    """Restore a session that an external writer deleted, by its id, or the only such one that begins so.

    Raises SessionNotFound, InvalidInput, DatabaseUnavailable.
    """
    kept = store.database.deleted_body(given) or _kept_beginning(store, given)
    if kept is None:
        raise SessionNotFound(
            f"the database keeps no deletion of {named(given)!r} by an external writer, and there is no such file",
            hint=typed("checkoutctl sessions why {}", given),
        )
    checkout_id = kept.checkout_id
    result = Restoration(None, store.clock.wall(), dry_run)
    record = msgspec.structs.replace(kept, version=kept.version + 1)
    result.outcomes[_put_back(store, record, kept.write_id, dry_run=dry_run)].append(checkout_id)
    result.degraded = store.settings.enable_checkout_sessions and not _uses_redis(store)
    return result


def _kept_beginning(store: CheckoutStore, prefix: str) -> Record | None:
    if len(prefix) < SHORTEST_PREFIX:
        return None
    ids = store.database.deleted_by_others(prefix, MOST_CANDIDATES + 1)
    return store.database.deleted_body(the_only(prefix, ids)) if ids else None


def _restored(store: CheckoutStore, undo: Undo, header: Header, *, dry_run: bool) -> Outcome:
    record = _content(undo, header.deleted_at + int(store.settings.session_ttl * 1000))
    if record is None:
        return Outcome.NO_SESSION
    row = store.database.read(undo.checkout_id)
    if row is None or (row.body is None and row.version != undo.version + 1):
        return Outcome.CHANGED
    if row.body is not None:
        return Outcome.ALIVE
    return _put_back(store, record, header.deletion, dry_run=dry_run)


def _put_back(store: CheckoutStore, record: Record, deletion: str, *, dry_run: bool) -> Outcome:
    if record.expires_at <= store.clock.wall():
        return Outcome.EXPIRED
    if dry_run:
        return Outcome.RESTORED
    try:
        done = store.restore(record, deletion=deletion)
    except SessionExpired:
        return Outcome.EXPIRED
    return Outcome.RESTORED if done else Outcome.CHANGED


def _content(undo: Undo, endless: int) -> Record | None:
    """The session two versions on (the deletion took one), ``None`` if unreadable; ``endless`` ones end then (ms)."""
    if not is_accepted_id(undo.checkout_id):
        return None
    version, key_ends = undo.version + 2, 0
    if undo.redis is not None:
        key_ends = undo.redis.expires_at or endless
    if undo.database is not None:  # its end lags behind that of a key that is read
        row = undo.database
        return Record(undo.checkout_id, version, row.body.encode(), row.created_at, max(row.expires_at, key_ends))
    if undo.redis is None:
        return None
    try:
        body = decode_value(undo.redis.value).body
        created_at = milliseconds_of(decode(body).get("createdAt"))
    except SessionCorrupt:
        return None
    return Record(undo.checkout_id, version, body, key_ends if created_at is None else created_at, key_ends)
