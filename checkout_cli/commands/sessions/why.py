"""``sessions why``: what became of a session, in words and with the evidence for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from checkout_cli.commands.sessions.sessions import MOST_SORTED
from checkout_cli.commands.sessions.trace import Trace, Trust, look_everywhere, trace
from checkout_cli.domain.users import User, Users
from checkout_cli.errors import (
    AccessDenied,
    CheckoutError,
    ExitCode,
    RedisUnavailable,
    SessionNotFound,
)
from checkout_cli.files.last_look import LastLook, Reading
from checkout_cli.servers.inspection import Inspector
from checkout_cli.session import iso
from checkout_cli.spans import span
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.flushing import Result
from checkout_cli.store.redis.inspection import KeyState, KeyView

MOST_OF_A_USER = 20
"""Sessions of one user that are told of."""
ROUNDED = 1000
"""Milliseconds by which a server's own uptime, in whole seconds, makes it look younger."""
COMMAND = "why"
"""Its readings among those that are remembered."""


class Cause(StrEnum):
    ALIVE = "alive"
    EXTERNAL = "alive, an external writer's"
    EXTERNAL_WRITE = "alive, an external write is newer than the database's version"
    EXTERNAL_CONFLICT = "alive, an external write goes to the conflict log"
    WAITS_FOR_DATABASE = "alive, waits for the database"
    WAITS_FOR_REDIS = "alive, waits for Redis"
    ONLY_IN_DATABASE = "alive, only in the database"
    EVICTED = "alive in the database, evicted from Redis"
    RESTARTED = "alive in the database, Redis was restarted"
    CORRUPT_COPY = "alive in the database, corrupt in Redis"
    STALE = "alive, an old copy in Redis is believed"
    AHEAD = "Redis is ahead of the database"
    ORPHAN = "in Redis, and the database has no row of it"
    CORRUPT = "corrupt"
    EXPIRED = "expired"
    TOO_OLD = "ended by its maximum age"
    DELETED = "deleted"
    DANGLING = "only an index entry is left"
    ONLY_PENDING = "only a pending entry is left"
    LOST_CONFLICT = "its write lost a conflict"
    NEVER_SEEN = "never seen"
    UNKNOWN = "cannot be told now"


_BECOMES = {
    Result.APPLIED: "becomes the next version",
    Result.PARTLY: "becomes the next version, but for what may not follow (payment, identity), which is a conflict",
    Result.MERGED: "is merged into the next version",
    Result.CONFLICT: "changes nothing: both contents go to the conflict log",
    Result.ALREADY: "changes nothing: the database has it already",
}
"""What becomes of an external write."""
_GONE = frozenset({Cause.EXPIRED, Cause.TOO_OLD, Cause.DELETED, Cause.NEVER_SEEN})
_WELL = frozenset({Cause.ALIVE, Cause.EXTERNAL, Cause.EXTERNAL_WRITE})


@dataclass(frozen=True)
class Answer:
    """What became of a session, the evidence, and the next command."""

    SHOWN = "checkoutId=trace.checkout_id cause=cause_name answer=sentence evidence next?=hint"

    trace: Trace
    cause: Cause
    sentence: str
    evidence: tuple[str, ...]
    hint: str = ""

    @property
    def cause_name(self) -> str:
        return self.cause.name.lower()

    @property
    def exit_code(self) -> ExitCode:
        """0 alive and well, 1 something is wrong, 3 ended, 69 unknown."""
        if self.cause is Cause.UNKNOWN:
            return ExitCode.UNAVAILABLE
        if self.cause in _GONE:
            return ExitCode.NOT_FOUND
        return ExitCode.OK if self.cause in _WELL else ExitCode.FINDING


@dataclass(frozen=True)
class UserAnswer:
    """A user's sessions and tracking; not ``complete`` where some were not read."""

    user_id: str
    now: int
    tracked: User | None
    answers: tuple[Answer, ...]
    complete: bool

    @property
    def exit_code(self) -> ExitCode:
        """The first that is not 0; 3 where nothing is known."""
        if not self.answers:
            return ExitCode.NOT_FOUND if self.tracked is None else ExitCode.OK
        return next((answer.exit_code for answer in self.answers if answer.exit_code), ExitCode.OK)


def explain(store: CheckoutStore, given: str, *, last_look: LastLook | None = None) -> Answer | UserAnswer:
    """Explain a session by id, or the sessions of a tracked user.

    Raises InvalidInput for an ambiguous beginning, TierUnavailable where no tier answers.
    """
    look = last_look or LastLook()
    try:
        return _explained(store, trace(store, given), look)
    except SessionNotFound:
        tracked = _tracked(store, given)
        return (
            _of_user(store, given, tracked, look) if tracked else _explained(store, look_everywhere(store, given), look)
        )


def explain_user(store: CheckoutStore, user_id: str, *, last_look: LastLook | None = None) -> UserAnswer:
    """Explain a user's sessions, by the whole id; raises TierUnavailable where no tier answers."""
    return _of_user(store, user_id, _tracked(store, user_id), last_look or LastLook())


def _of_user(store: CheckoutStore, user_id: str, tracked: User | None, look: LastLook) -> UserAnswer:
    looked_at, ids = 0, []
    for sighting in islice(store.admin.iterate(), MOST_SORTED):
        looked_at += 1
        if sighting.session is not None and sighting.session.user_id == user_id:
            ids.append(sighting.checkout_id)
    answers = tuple(_explained(store, look_everywhere(store, name), look) for name in ids[:MOST_OF_A_USER])
    complete = looked_at < MOST_SORTED and len(ids) <= MOST_OF_A_USER
    return UserAnswer(user_id, store.clock.wall(), tracked, answers, complete)


def _tracked(store: CheckoutStore, user_id: str) -> User | None:
    try:
        return Users(store).get(user_id)
    except (RedisUnavailable, AccessDenied):
        return None


# The server's own story


@dataclass(frozen=True)
class ServerStory:
    """What a server says of itself: start (ms), policy, evicted keys, and ``lately`` since the last look."""

    started_at: int | None = None
    policy: str = ""
    evicted: int = 0
    lately: int | None = None


def _story(store: CheckoutStore, place: str, look: LastLook, now: int) -> ServerStory:
    server = next((server for server in store.redis.servers() if server.place == place), None)
    if server is None:
        return ServerStory()
    try:
        info = Inspector(server).info()
    except CheckoutError:
        return ServerStory()
    uptime, evicted = info.integer("uptime_in_seconds"), info.integer("evicted_keys") or 0
    reading = Reading(now, info.text("run_id") or "", {"evicted_keys": float(evicted)})
    grown = reading.since(look.previous(COMMAND, place), "evicted_keys")
    with suppress(OSError):  # the next look is then a first one
        look.remember(COMMAND, place, reading)
    started_at = None if uptime is None else now - uptime * 1000
    return ServerStory(started_at, info.text("maxmemory_policy") or "", evicted, None if grown is None else int(grown))


# The answer


def _explained(store: CheckoutStore, found: Trace, look: LastLook) -> Answer:
    return _Explanation(store, found, look).answer()


class _Explanation:
    def __init__(self, store: CheckoutStore, found: Trace, look: LastLook) -> None:
        self._store = store
        self._found = found
        self._look = look
        self._max_age = int(store.settings.session_max_age * 1000)

    def answer(self) -> Answer:
        rules: tuple[Callable[[], Answer | None], ...] = (
            self._deleted,
            self._waiting_for_database,
            self._too_old,
            self._broken,
            self._external_write,
            self._in_both,
            self._only_in_redis,
            self._only_in_database,
            self._ended,
            self._left_over,
        )
        return next(answer for rule in rules if (answer := rule()) is not None)

    def _say(self, cause: Cause, sentence: str, *more: str, hint: str = "") -> Answer:
        return Answer(self._found, cause, sentence, (*more, *self._evidence()), hint)

    def _evidence(self) -> Iterator[str]:
        found, key, row = self._found, self._found.key, self._found.row
        if key is None:
            yield f"Redis: {found.redis_away}"
        else:
            yield f"Redis: {_key_in_words(key, found)}"
            yield f"index: {_score_in_words(key, found)}"
            if key.waits:
                yield "checkout:pending: named there, as waiting for the database"
        if found.database_away:
            yield f"database: {found.database_away}"
        elif row is None:
            yield "database: no row"
        elif row.body is None:
            yield f"database: a tombstone, version {row.version}, made {_ago(found, row.updated_at)}"
        else:
            ends = f"{'ends' if row.expires_at > found.now else 'ended'} {_when(found, row.expires_at)}"
            told = f"; published is {row.published_version}" if row.is_pending else ""
            yield f"database: version {row.version}{told}, written {_ago(found, row.updated_at)}, {ends}"
        if found.conflicts:
            last = found.conflicts[0]
            told = f"{_ago(found, last.detected_at)} ({last.source}, {last.result})"
            yield f"conflicts: {len(found.conflicts)}, the last {told}"

    # Rules

    def _deleted(self) -> Answer | None:
        row = self._found.row
        if row is None or row.body is not None:
            return None
        more = ("Redis still has a copy, which no read believes",) if self._has_copy() else ()
        when = f"{_ago(self._found, row.updated_at)} ({iso(row.updated_at)})"
        if row.previous_version is not None:
            restore = f"checkoutctl sessions restore {self._found.checkout_id}"
            return self._say(Cause.DELETED, f"an external writer deleted it {when}", *more, hint=restore)
        return self._say(
            Cause.DELETED,
            f"it was deleted {when}",
            *more,
            hint="checkoutctl sessions restore FILE, with the undo file of that deletion",
        )

    def _waiting_for_database(self) -> Answer | None:
        key = self._found.key
        if key is None or not key.dirty or key.state is not KeyState.OURS:
            return None
        writes = "1 write of it waits" if key.dirty == 1 else f"{key.dirty} writes of it wait"
        away = "" if self._found.database_away else "; the next read or sync brings them there"
        return self._say(
            Cause.WAITS_FOR_DATABASE, f"it is alive, and {writes} for the database{away}", hint="checkoutctl sync"
        )

    def _too_old(self) -> Answer | None:
        created_at = self._found.created_at
        if created_at is None or created_at + self._max_age > self._found.now or not self._lives_somewhere():
            return None
        ended = created_at + self._max_age
        return self._say(
            Cause.TOO_OLD,
            f"it reached its maximum age {_ago(self._found, ended)} ({iso(ended)}): no read returns it",
            hint="checkoutctl cleanup --expired",
        )

    def _broken(self) -> Answer | None:
        key = self._found.key
        if key is None or key.state is not KeyState.BROKEN:
            return None
        what = f"what lies in Redis is no session ({key.problem}: {key.detail})"
        if self._row_lives():
            return self._say(
                Cause.CORRUPT_COPY,
                f"{what}; the next read or sync keeps these bytes as a conflict, and serves what the database has",
                hint=f"checkoutctl sessions show {self._found.checkout_id}",
            )
        return self._say(
            Cause.CORRUPT,
            f"{what}, and the database has no living row of it",
            hint=f"checkoutctl sessions delete {self._found.checkout_id}",
        )

    def _external_write(self) -> Answer | None:
        key, row, flush = self._found.key, self._found.row, self._found.expected
        if key is None or key.value is None or not key.value.is_external or flush is None:
            return None
        known = "has no row of it" if row is None else f"has version {row.version}"
        return self._say(
            Cause.EXTERNAL_CONFLICT if flush.conflict else Cause.EXTERNAL_WRITE,
            f"it is alive: an external writer has written it, and the database {known}; with the shop's next read or "
            f"write, or a sync, that {_BECOMES[flush.result]}",
            hint="checkoutctl sync",
        )

    def _in_both(self) -> Answer | None:
        key, row = self._found.key, self._found.row
        if key is None or row is None or not key.is_copy or not self._row_lives(or_key_does=True):
            return None
        if key.state is KeyState.OURS and key.version is not None and key.version > row.version:
            return self._say(
                Cause.AHEAD,
                f"Redis has version {key.version}, the database only {row.version}: was the database restored "
                "from a backup?",
                hint="checkoutctl doctor --only database,sessions",
            )
        if key.state is KeyState.OURS and key.version == row.version:
            trusted = "" if self._found.trust is Trust.TRUSTED else f"; {self._found.trust}"
            return self._say(Cause.ALIVE, f"it is alive in Redis and in the database, version {row.version}{trusted}")
        if self._found.trust is Trust.TRUSTED:
            return self._say(
                Cause.STALE,
                f"it is alive, and reads may get version {key.version}, though the database has {row.version}: an "
                "external writer has put an old copy back",
                hint=f"redis-cli DEL checkout:session:{self._found.checkout_id}; the next read brings the right one",
            )
        older = "an external writer's value" if key.state is not KeyState.OURS else f"version {key.version}"
        return self._say(
            Cause.WAITS_FOR_REDIS,
            f"it is alive: the database has version {row.version}, and Redis still {older}, which no read believes",
            hint="checkoutctl sync",
        )

    def _only_in_redis(self) -> Answer | None:
        key, found = self._found.key, self._found
        if key is None or not key.is_copy or found.row is not None:
            return None
        if found.database_away:
            return self._say(Cause.ALIVE, "it is alive in Redis; what the database has cannot be told now")
        if key.state is KeyState.UNSTAMPED:
            listed = "" if key.score is not None else ", and the index does not list it"
            hint = "" if key.score is not None else "checkoutctl sessions index repair"
            return self._say(
                Cause.EXTERNAL,
                f"it is alive; an external writer wrote it, and our first write adopts it{listed}",
                hint=hint,
            )
        return self._say(
            Cause.ORPHAN,
            "Redis has a copy that the store published, and the database has no row of it: its row was removed, or "
            "the database was restored from a backup",
            hint="checkoutctl cleanup --orphans --dry-run",
        )

    def _only_in_database(self) -> Answer | None:
        row, key, found = self._found.row, self._found.key, self._found
        if row is None or not self._row_lives():
            return None
        if key is None:
            return self._say(Cause.ALIVE, "it is alive in the database; what Redis has cannot be told now")
        if row.is_pending:
            return self._say(
                Cause.WAITS_FOR_REDIS,
                f"it is alive in the database, and Redis still lacks version {row.version}",
                hint="checkoutctl sync",
            )
        if key.state is KeyState.CLAIMED:
            return self._say(Cause.ALIVE, "it is alive in the database, and a read is just bringing it to Redis")
        story = _story(self._store, key.place, self._look, found.now)
        if story.started_at is not None and story.started_at - ROUNDED > row.updated_at:
            return self._say(
                Cause.RESTARTED,
                f"it is alive in the database; Redis was started {_ago(found, story.started_at)}, after its last "
                "write, and came back without it",
                hint="checkoutctl sync",
            )
        if story.evicted:
            return self._say(
                Cause.EVICTED,
                "it is alive in the database; Redis no longer has it before its time, and Redis has been evicting keys",
                _evictions_in_words(story),
                hint="checkoutctl doctor --only memory",
            )
        return self._say(
            Cause.ONLY_IN_DATABASE,
            "it is alive in the database; in Redis its time ran out earlier, or somebody deleted the key there. "
            "The next read brings it back",
        )

    def _ended(self) -> Answer | None:
        row, found = self._found.row, self._found
        if row is None:
            return None
        return self._say(
            Cause.EXPIRED,
            f"it expired {_ago(found, row.expires_at)} ({iso(row.expires_at)}); its row waits for the next clean-up",
            hint="checkoutctl cleanup --expired",
        )

    def _left_over(self) -> Answer:
        key, found = self._found.key, self._found
        if found.conflicts:
            return self._say(
                Cause.LOST_CONFLICT,
                "it is gone; a write of it lost against another, and both contents are kept",
                hint="checkoutctl sync --conflicts",
            )
        if key is not None and key.score is not None:
            return self._dangling(key)
        if key is not None and key.waits:
            return self._say(
                Cause.ONLY_PENDING,
                "only its name in checkout:pending is left: what waited is gone from Redis",
                hint="checkoutctl cleanup --orphans",
            )
        if key is None or found.database_away:
            away = found.redis_away if key is None else found.database_away
            return self._say(
                Cause.UNKNOWN, f"nothing is known of it where we can look, and {away}", hint="checkoutctl health"
            )
        kept = (
            "rows of ended sessions are kept until the next clean-up, and tombstones for the maximum age of a session"
        )
        return self._say(
            Cause.NEVER_SEEN,
            f"no tier knows anything of it: it never was, or has ended and was cleaned up ({kept})",
            hint="checkoutctl sessions list",
        )

    def _dangling(self, key: KeyView) -> Answer:
        found = self._found
        assert key.score is not None  # noqa: S101  (the caller has looked)
        if key.score <= found.now:
            return self._say(
                Cause.EXPIRED,
                f"it has expired, {_ago(found, int(key.score))} or later; its entry in the index waits for the next "
                "clean-up",
                hint="checkoutctl cleanup --expired",
            )
        story = _story(self._store, key.place, self._look, found.now)
        if story.evicted:
            return self._say(
                Cause.DANGLING,
                "only its entry in the index is left, before its time: it was evicted, or another program deleted it",
                _evictions_in_words(story),
                hint="checkoutctl sessions index repair",
            )
        return self._say(
            Cause.DANGLING,
            "only its entry in the index is left: an external writer deleted the key, or its time ran out",
            hint="checkoutctl sessions index repair",
        )

    # What there is

    def _has_copy(self) -> bool:
        return self._found.key is not None and self._found.key.is_copy

    def _row_lives(self, *, or_key_does: bool = False) -> bool:
        row = self._found.row
        if row is None or row.body is None:
            return False
        return row.expires_at > self._found.now or or_key_does  # a row's expiry lags behind that of a key that is read

    def _lives_somewhere(self) -> bool:
        return self._has_copy() or self._row_lives(or_key_does=True)


def _key_in_words(key: KeyView, found: Trace) -> str:
    if key.state is KeyState.MISSING:
        return "no key"
    if key.state is KeyState.CLAIMED:
        return "no key, and a claim to fill it: somebody is reading it just now"
    ends_at = found.key_expires_at()
    ends = "without an end" if ends_at is None else f"ends {_when(found, ends_at)}"
    if key.state is KeyState.BROKEN:
        return f"{key.problem}, {key.size:,} bytes, {ends}"
    version = "an external writer's" if key.version is None else f"version {key.version}"
    return f"{version}, {ends}, {found.trust}"


def _score_in_words(key: KeyView, found: Trace) -> str:
    if key.score is None:
        return "not listed"
    if key.score == float("inf"):
        return "listed by an older program alone"
    return f"listed, to be looked at {_when(found, int(key.score))}"


def _evictions_in_words(story: ServerStory) -> str:
    lately = "" if story.lately is None else f", {story.lately:,} of them since the last look"
    return f"evictions: {story.evicted:,} keys since Redis was started{lately}; policy {story.policy or 'unknown'}"


def _when(found: Trace, moment: int) -> str:
    return f"in {span(moment - found.now)}" if moment > found.now else _ago(found, moment)


def _ago(found: Trace, moment: int) -> str:
    return f"{span(found.now - moment)} ago"
