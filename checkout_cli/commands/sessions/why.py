"""``sessions why``: what became of a session, in words and with the evidence for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum, auto

from checkout_cli.commands.sessions.sessions import MOST_LOOKED_AT
from checkout_cli.commands.sessions.trace import Trace, Trust, look_everywhere, trace
from checkout_cli.domain.users import User, Users
from checkout_cli.errors import AccessDenied, CheckoutError, ExitCode, RedisUnavailable, SessionNotFound
from checkout_cli.files.last_look import LastLook, Reading
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.privacy.personal_ids import is_personal
from checkout_cli.servers.inspection import Inspector
from checkout_cli.session import iso
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.flushing import Result
from checkout_cli.store.redis.inspection import KeyState, KeyView
from checkout_cli.typed import typed

MOST_OF_A_USER = 20
"""Sessions of one user that are explained."""
ROUNDED = 1000
"""Milliseconds by which a server's own uptime, in whole seconds, makes it look younger."""
COMMAND = "why"
"""Its readings among those that are remembered."""


REVEALING = "checkoutctl sessions list --reveal"
"""Shows an id that a hint must not name."""


class Cause(StrEnum):
    """What became of a session."""

    ALIVE = auto()
    EXTERNAL = auto()
    EXTERNAL_WRITE = auto()
    EXTERNAL_CONFLICT = auto()
    WAITS_FOR_DATABASE = auto()
    WAITS_FOR_REDIS = auto()
    ONLY_IN_DATABASE = auto()
    EVICTED = auto()
    RESTARTED = auto()
    CORRUPT_COPY = auto()
    STALE = auto()
    AHEAD = auto()
    ORPHAN = auto()
    CORRUPT = auto()
    EXPIRED = auto()
    TOO_OLD = auto()
    DELETED = auto()
    DANGLING = auto()
    ONLY_PENDING = auto()
    LOST_CONFLICT = auto()
    NEVER_SEEN = auto()
    UNKNOWN = auto()


_HINTS = {
    Cause.EXTERNAL_WRITE: "checkoutctl sync",
    Cause.EXTERNAL_CONFLICT: "checkoutctl sync",
    Cause.WAITS_FOR_DATABASE: "checkoutctl sync",
    Cause.WAITS_FOR_REDIS: "checkoutctl sync",
    Cause.EVICTED: "checkoutctl doctor --only memory",
    Cause.RESTARTED: "checkoutctl sync",
    Cause.CORRUPT_COPY: "checkoutctl sessions show {}",
    Cause.STALE: "redis-cli DEL checkout:session:{}; the next read brings the right one",
    Cause.AHEAD: "checkoutctl doctor --only database,sessions",
    Cause.ORPHAN: "checkoutctl cleanup --orphans --dry-run",
    Cause.CORRUPT: "checkoutctl sessions delete {}",
    Cause.EXPIRED: "checkoutctl cleanup --expired",
    Cause.TOO_OLD: "checkoutctl cleanup --expired",
    Cause.DELETED: "checkoutctl sessions restore FILE, with the undo file of that deletion",
    Cause.DANGLING: "checkoutctl sessions index repair",
    Cause.ONLY_PENDING: "checkoutctl cleanup --orphans",
    Cause.LOST_CONFLICT: "checkoutctl sync --conflicts",
    Cause.NEVER_SEEN: "checkoutctl sessions list",
    Cause.UNKNOWN: "checkoutctl health",
}
_EXIT_CODES = {
    Cause.UNKNOWN: ExitCode.UNAVAILABLE,
    **dict.fromkeys((Cause.EXPIRED, Cause.TOO_OLD, Cause.DELETED, Cause.NEVER_SEEN), ExitCode.NOT_FOUND),
    **dict.fromkeys((Cause.ALIVE, Cause.EXTERNAL, Cause.EXTERNAL_WRITE), ExitCode.OK),
}
"""Of any other cause, 1: something is wrong."""
_BECOMES = {
    Result.APPLIED: "becomes the next version",
    Result.PARTLY: "becomes the next version, but for what may not follow (payment, identity), which is a conflict",
    Result.MERGED: "is merged into the next version",
    Result.CONFLICT: "changes nothing: both contents go to the conflict log",
    Result.ALREADY: "changes nothing: the database has it already",
}
"""The outcome of an external write."""


@dataclass(frozen=True)
class Answer:
    """What became of a session, the evidence, and the next command."""

    JSON_KEYS = "checkoutId=trace.checkout_id cause answer=sentence evidence next?=hint"

    trace: Trace
    cause: Cause
    sentence: str
    evidence: tuple[str, ...]
    hint: str = ""

    @property
    def exit_code(self) -> ExitCode:
        """0 alive and well, 1 something is wrong, 3 ended, 69 unknown."""
        return _EXIT_CODES.get(self.cause, ExitCode.FINDING)

    @property
    def next_step(self) -> str:
        return self.hint or "checkoutctl doctor"


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

    @property
    def next_step(self) -> str:
        """That of the first that is not 0."""
        found = (answer.next_step for answer in self.answers if answer.exit_code)
        return next(found, "checkoutctl users list")


def explain(
    store: CheckoutStore, given: str, run: BoundedRun | None = None, *, last_look: LastLook | None = None
) -> Answer | UserAnswer:
    """Explain a session by id, or the sessions of a tracked user; raises InvalidInput, TierUnavailable."""
    try:
        found = trace(store, given)
    except SessionNotFound:
        if _tracked(store, given) is not None:
            return explain_user(store, given, run, last_look=last_look)
        found = look_everywhere(store, given)
    return _Explanation(store, found, last_look, given).answer()


def explain_user(
    store: CheckoutStore, user_id: str, run: BoundedRun | None = None, *, last_look: LastLook | None = None
) -> UserAnswer:
    """Explain a user's sessions, by the whole id; raises TierUnavailable where no tier answers."""
    run = run or BoundedRun(store.clock)
    sessions = (seen.session for seen in run.each(store.admin.pages(), most=MOST_LOOKED_AT))
    ids = [session.checkout_id for session in sessions if session is not None and session.user_id == user_id]
    traces = (look_everywhere(store, checkout_id) for checkout_id in ids[:MOST_OF_A_USER])
    answers = tuple(_Explanation(store, found, last_look).answer() for found in traces)
    complete = run.finished and len(ids) <= MOST_OF_A_USER
    return UserAnswer(user_id, store.clock.wall(), _tracked(store, user_id), answers, complete)


def _tracked(store: CheckoutStore, user_id: str) -> User | None:
    try:
        return Users(store).get(user_id)
    except (RedisUnavailable, AccessDenied):
        return None


@dataclass(frozen=True)
class _ServerStory:
    """What a server says of itself: start (ms), policy, evicted keys, and ``lately`` since the last look."""

    started_at: int | None = None
    policy: str = ""
    evicted: int = 0
    lately: int | None = None

    def __str__(self) -> str:
        lately = "" if self.lately is None else f", {self.lately:,} of them since the last look"
        return f"evictions: {self.evicted:,} keys since Redis was started{lately}; policy {self.policy or 'unknown'}"


class _Explanation:
    """One session; the rules ask for the surest signs first."""

    def __init__(self, store: CheckoutStore, found: Trace, last_look: LastLook | None, given: str = "") -> None:
        """``given`` is what was typed, which a hint may repeat."""
        self._store = store
        self._given = given
        self._trace, self._key, self._row, self._now = found, found.key, found.row, found.now
        self._last_look = last_look or LastLook()

    def answer(self) -> Answer:
        """The answer of the first rule that applies."""
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
        )
        return next((answer for rule in rules if (answer := rule()) is not None), None) or self._left_over()

    def _say(self, cause: Cause, sentence: str, *more: str, hint: str | None = None) -> Answer:
        hint = _HINTS.get(cause, "") if hint is None else hint
        evidence = (*more, *self._evidence())
        if "{}" in hint:
            checkout_id = self._trace.checkout_id
            may_be_shown = checkout_id == self._given or not is_personal(checkout_id)
            hint = typed(hint, checkout_id) if may_be_shown else REVEALING
        return Answer(self._trace, cause, sentence, evidence, hint)

    # Evidence

    def _evidence(self) -> Iterator[str]:
        """What each tier has, in words."""
        key, conflicts = self._key, self._trace.conflicts
        if key is None:
            yield f"Redis: {self._trace.redis_away}"
        else:
            yield f"Redis: {self._key_in_words(key)}"
            yield f"index: {self._trace.index_in_words()}"
            if key.waits:
                yield "checkout:pending: named there, as waiting for the database"
        yield f"database: {self._row_in_words()}"
        if conflicts:
            last = conflicts[0]
            when = f"{self._when(last.detected_at)} ({last.source}, {last.result})"
            yield f"conflicts: {len(conflicts)}, the last {when}"

    def _key_in_words(self, key: KeyView) -> str:
        if key.state is KeyState.MISSING:
            return "no key"
        if key.state is KeyState.CLAIMED:
            return "no key, and a claim to fill it: somebody is reading it just now"
        ends_at = self._trace.key_expires_at()
        ends = "without an end" if ends_at is None else f"ends {self._when(ends_at)}"
        if key.state is KeyState.BROKEN:
            return f"{key.problem}, {key.size:,} bytes, {ends}"
        version = "an external writer's" if key.version is None else f"version {key.version}"
        return f"{version}, {ends}, {self._trace.trust}"

    def _row_in_words(self) -> str:
        row = self._row
        if row is None:
            return self._trace.database_away or "no row"
        if row.body is None:
            return f"a tombstone, version {row.version}, made {self._when(row.updated_at)}"
        ends = f"{'ends' if row.expires_at > self._now else 'ended'} {self._when(row.expires_at)}"
        published = f"; published is {row.published_version}" if row.is_pending else ""
        return f"version {row.version}{published}, written {self._when(row.updated_at)}, {ends}"

    def _when(self, moment: int) -> str:
        return self._trace.when(moment)

    def _ended_at(self, moment: int) -> str:
        return f"{self._when(moment)} ({iso(moment)})"

    def _story(self, place: str) -> _ServerStory:
        """Empty where INFO is denied."""
        server = next((server for server in self._store.redis.servers() if server.place == place), None)
        if server is None:
            return _ServerStory()
        try:
            info = Inspector(server).info()
        except CheckoutError:
            return _ServerStory()
        uptime, evicted = info.integer("uptime_in_seconds"), info.integer("evicted_keys") or 0
        reading = Reading(self._now, info.text("run_id") or "", {"evicted_keys": float(evicted)})
        grown = reading.since(self._last_look.previous(COMMAND, place), "evicted_keys")
        with suppress(OSError):  # the next look is then a first one
            self._last_look.remember(COMMAND, place, reading)
        started_at = None if uptime is None else self._now - uptime * 1000
        lately = None if grown is None else int(grown)
        return _ServerStory(started_at, info.text("maxmemory_policy") or "", evicted, lately)

    def _has_copy(self) -> bool:
        return self._key is not None and self._key.is_copy

    def _has_row(self) -> bool:
        return self._row is not None and self._row.body is not None

    def _row_lives(self) -> bool:
        return self._row is not None and self._row.body is not None and self._row.expires_at > self._now

    # Rules

    def _deleted(self) -> Answer | None:
        row = self._row
        if row is None or row.body is not None:
            return None
        more = ("Redis still has a copy, which no read believes",) if self._has_copy() else ()
        when = self._ended_at(row.updated_at)
        if row.previous_version is None:
            return self._say(Cause.DELETED, f"it was deleted {when}", *more)
        restore = "checkoutctl sessions restore {}"
        return self._say(Cause.DELETED, f"an external writer deleted it {when}", *more, hint=restore)

    def _waiting_for_database(self) -> Answer | None:
        key = self._key
        if key is None or not key.dirty or key.state is not KeyState.OURS:
            return None
        writes = "1 write of it waits" if key.dirty == 1 else f"{key.dirty} writes of it wait"
        away = "" if self._trace.database_away else "; the next read or sync brings them there"
        return self._say(Cause.WAITS_FOR_DATABASE, f"it is alive, and {writes} for the database{away}")

    def _too_old(self) -> Answer | None:
        created_at = self._trace.created_at
        if created_at is None or not (self._has_copy() or self._has_row()):
            return None
        ended_at = created_at + int(self._store.settings.session_max_age * 1000)
        if ended_at > self._now:
            return None
        return self._say(Cause.TOO_OLD, f"it reached its maximum age {self._ended_at(ended_at)}: no read returns it")

    def _broken(self) -> Answer | None:
        key = self._key
        if key is None or key.state is not KeyState.BROKEN:
            return None
        what = f"what lies in Redis is no session ({key.problem}: {key.detail})"
        if not self._row_lives():
            return self._say(Cause.CORRUPT, f"{what}, and the database has no living row of it")
        kept = "the next read or sync keeps these bytes as a conflict, and serves what the database has"
        return self._say(Cause.CORRUPT_COPY, f"{what}; {kept}")

    def _external_write(self) -> Answer | None:
        key, row, flush = self._key, self._row, self._trace.expected
        if key is None or key.value is None or not key.value.is_external or flush is None:
            return None
        known = "has no row of it" if row is None else f"has version {row.version}"
        return self._say(
            Cause.EXTERNAL_CONFLICT if flush.conflict else Cause.EXTERNAL_WRITE,
            f"it is alive: an external writer has written it, and the database {known}; with the shop's next read or "
            f"write, or a sync, that {_BECOMES[flush.result]}",
        )

    def _in_both(self) -> Answer | None:
        key, row, trusted = self._key, self._row, self._trace.trust is Trust.TRUSTED
        if key is None or row is None or not key.is_copy:  # a row's expiry lags behind that of a key that is read
            return None
        is_ours = key.state is KeyState.OURS
        if is_ours and key.version is not None and key.version > row.version:
            return self._say(
                Cause.AHEAD,
                f"Redis has version {key.version}, the database only {row.version}: was the database restored "
                "from a backup?",
            )
        if is_ours and key.version == row.version:
            doubt = "" if trusted else f"; {self._trace.trust}"
            return self._say(Cause.ALIVE, f"it is alive in Redis and in the database, version {row.version}{doubt}")
        if trusted:
            return self._say(
                Cause.STALE,
                f"it is alive, and reads may get version {key.version}, though the database has {row.version}: an "
                "external writer has put an old copy back",
            )
        older = f"version {key.version}" if is_ours else "an external writer's value"
        return self._say(
            Cause.WAITS_FOR_REDIS,
            f"it is alive: the database has version {row.version}, and Redis still {older}, which no read believes",
        )

    def _only_in_redis(self) -> Answer | None:
        key = self._key
        if key is None or not key.is_copy or self._row is not None:
            return None
        if self._trace.database_away:
            return self._say(Cause.ALIVE, "it is alive in Redis; what the database has cannot be told now")
        if key.state is KeyState.UNSTAMPED:
            unlisted = key.score is None
            listed = ", and the index does not list it" if unlisted else ""
            return self._say(
                Cause.EXTERNAL,
                f"it is alive; an external writer wrote it, and our first write adopts it{listed}",
                hint="checkoutctl sessions index repair" if unlisted else "",
            )
        return self._say(
            Cause.ORPHAN,
            "Redis has a copy that the store published, and the database has no row of it: its row was removed, or "
            "the database was restored from a backup",
        )

    def _only_in_database(self) -> Answer | None:
        row, key = self._row, self._key
        if row is None or not self._row_lives():
            return None
        if key is None:
            return self._say(Cause.ALIVE, "it is alive in the database; what Redis has cannot be told now")
        if row.is_pending:
            lacking = f"it is alive in the database, and Redis still lacks version {row.version}"
            return self._say(Cause.WAITS_FOR_REDIS, lacking)
        if key.state is KeyState.CLAIMED:
            return self._say(Cause.ALIVE, "it is alive in the database, and a read is just bringing it to Redis")
        story = self._story(key.place)
        if story.started_at is not None and story.started_at - ROUNDED > row.updated_at:
            return self._say(
                Cause.RESTARTED,
                f"it is alive in the database; Redis was started {self._when(story.started_at)}, after its last "
                "write, and came back without it",
            )
        if story.evicted:
            return self._say(
                Cause.EVICTED,
                "it is alive in the database; Redis no longer has it before its time, and Redis has been evicting keys",
                str(story),
            )
        return self._say(
            Cause.ONLY_IN_DATABASE,
            "it is alive in the database; in Redis its time ran out earlier, or somebody deleted the key there. "
            "The next read brings it back",
        )

    def _ended(self) -> Answer | None:
        if self._row is None:
            return None
        when = self._ended_at(self._row.expires_at)
        return self._say(Cause.EXPIRED, f"it expired {when}; its row waits for the next clean-up")

    def _left_over(self) -> Answer:
        key, away = self._key, self._trace.redis_away or self._trace.database_away
        if self._trace.conflicts:
            lost = "it is gone; a write of it lost against another, and both contents are kept"
            return self._say(Cause.LOST_CONFLICT, lost)
        if key is not None and key.score is not None:
            return self._dangling(key.place, key.score)
        if key is not None and key.waits:
            gone = "only its name in checkout:pending is left: what waited is gone from Redis"
            return self._say(Cause.ONLY_PENDING, gone)
        if away:
            return self._say(Cause.UNKNOWN, f"nothing is known of it where we can look, and {away}")
        return self._say(
            Cause.NEVER_SEEN,
            "no tier knows anything of it: it never was, or has ended and was cleaned up (rows of ended sessions are "
            "kept until the next clean-up, and tombstones for the maximum age of a session)",
        )

    def _dangling(self, place: str, score: float) -> Answer:
        if score <= self._now:
            when = f"{self._when(int(score))} or later"
            return self._say(
                Cause.EXPIRED, f"it has expired, {when}; its entry in the index waits for the next clean-up"
            )
        story = self._story(place)
        if story.evicted:
            lost = "it was evicted, or another program deleted it"
            return self._say(
                Cause.DANGLING, f"only its entry in the index is left, before its time: {lost}", str(story)
            )
        lost = "an external writer deleted the key, or its time ran out"
        return self._say(Cause.DANGLING, f"only its entry in the index is left: {lost}")
