"""``sessions why``: what became of a session, in words and with the evidence for it."""

from __future__ import annotations

from collections.abc import Callable

from checkout_cli.commands.sessions.find import REVEALING
from checkout_cli.commands.sessions.trace import Trace, Trust, look_everywhere, trace
from checkout_cli.commands.sessions.why_answer import HINTS, Answer, Cause
from checkout_cli.commands.sessions.why_evidence import Evidence, ServerStory, story_of
from checkout_cli.errors import SessionNotFound
from checkout_cli.files.last_look import LastLook
from checkout_cli.privacy.personal_ids import is_personal
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.inspection import RowView
from checkout_cli.store.protocol.flushing import Result
from checkout_cli.store.redis.inspection import KeyState, KeyView
from checkout_cli.typed import typed

_BECOMES = {
    Result.APPLIED: "becomes the next version",
    Result.PARTLY: "becomes the next version, but for what may not follow (payment, identity), which is a conflict",
    Result.MERGED: "is merged into the next version",
    Result.CONFLICT: "changes nothing: both contents go to the conflict log",
    Result.ALREADY: "changes nothing: the database has it already",
}
"""The outcome of an external write."""


def explain(store: CheckoutStore, given: str, *, last_look: LastLook | None = None) -> Answer:
    """Explain a session by its id, or by a beginning that no other has; raises InvalidInput, TierUnavailable."""
    try:
        found = trace(store, given)
    except SessionNotFound:
        found = look_everywhere(store, given)
    return explain_trace(store, found, last_look, given)


def explain_trace(store: CheckoutStore, found: Trace, last_look: LastLook | None = None, given: str = "") -> Answer:
    """Explain what was found of a session."""
    return _Explanation(store, found, last_look or LastLook(), given).answer()


class _Explanation:
    """One session; the rules ask for the surest signs first."""

    def __init__(self, store: CheckoutStore, found: Trace, last_look: LastLook, given: str) -> None:
        """``given`` is what was typed, which a hint may repeat."""
        self._store = store
        self._given = given
        self._trace, self._key, self._row, self._now = found, found.key, found.row, found.now
        self._evidence = Evidence(found)
        self._last_look = last_look

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

    def _say(self, cause: Cause, sentence: str, *more: str, hint: str = "") -> Answer:
        known, undo = self._evidence, self._evidence.undo_file
        hint = hint or HINTS.get(cause, "")
        if "{}" in hint:
            checkout_id = self._trace.checkout_id
            may_be_shown = checkout_id == self._given or not is_personal(checkout_id)
            hint = typed(hint, checkout_id) if may_be_shown else REVEALING
        return Answer(self._trace, cause, sentence, (*more, *known.lines()), hint, known.fields(), undo)

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
        when = self._evidence.ended_at(row.updated_at)
        if row.previous_version is not None:
            restore = typed("checkoutctl sessions restore {}", self._trace.checkout_id)
            return self._say(Cause.DELETED, f"an external writer deleted it {when}", *more, hint=restore)
        undo = self._evidence.undo_file
        if undo is None:
            more = (*more, "undo file: none here; the shop deleted it, or `sessions delete` elsewhere did")
            return self._say(Cause.DELETED, f"it was deleted {when}", *more)
        restore = typed("checkoutctl sessions restore {}", undo)
        return self._say(Cause.DELETED, f"it was deleted {when}", *more, f"undo file: {undo}", hint=restore)

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
        when = self._evidence.ended_at(ended_at)
        return self._say(Cause.TOO_OLD, f"it reached its maximum age {when}: no read returns it")

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
            lacks = f"still lacks version {row.version}" if row.published_version else "never had it"
            return self._say(Cause.WAITS_FOR_REDIS, f"it is alive in the database, and Redis {lacks}")
        if key.state is KeyState.CLAIMED:
            return self._say(Cause.ALIVE, "it is alive in the database, and a read is just bringing it to Redis")
        return self._gone_from_redis(key, row)

    def _gone_from_redis(self, key: KeyView, row: RowView) -> Answer:
        """Of a session that Redis had, and has no longer before its time."""
        story = self._story(key.place)
        began = "" if story.started_at is None else f"Redis was started {self._trace.when(story.started_at)}"
        restarted = story.was_started_after(row.updated_at)
        # What it brought back, or has got by a read since, it can only have lost since.
        unread = story.was_started_after(row.expires_at - int(self._store.settings.session_ttl * 1000))
        came_back = key.score is not None or bool(story.loaded) or (restarted and not unread)
        if story.evicted and (not restarted or came_back or story.loaded is None):
            sure = not restarted or came_back
            or_lost = "" if sure else "; or it was not there any more after that start"
            return self._say(
                Cause.EVICTED,
                "it is alive in the database; Redis no longer has it before its time, and has been evicting keys since "
                f"it was started {self._trace.when(story.started_at or self._now)}{or_lost}",
                str(story),
            )
        if restarted and not came_back:
            return self._say(
                Cause.RESTARTED,
                f"it is alive in the database; {began}, after its last write, and came back without it",
            )
        if restarted:
            return self._say(
                Cause.RESTARTED,
                f"it is alive in the database; {began}, after its last write, and no longer has it before its time: it "
                "came back with older data, or another program has deleted the key since",
            )
        why = "whether it was restarted or evicts keys cannot be told" if not began else f"{began}, and evicted nothing"
        return self._say(
            Cause.ONLY_IN_DATABASE,
            f"it is alive in the database; Redis no longer has it before its time ({why}): another program has deleted "
            "the key, or a failover has lost it. The next read brings it back",
        )

    def _ended(self) -> Answer | None:
        row = self._row
        if row is None:
            return None
        ended = f"it expired {self._evidence.ended_at(row.expires_at)}; its row is kept until the next clean-up"
        if not row.published_version:
            ended += ". It was never published to Redis"
        elif row.is_pending:
            ended += f". Redis never had its last version, {row.version}"
        return self._say(Cause.EXPIRED, ended)

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
        story = self._story(place)
        if score <= self._now:
            when = f"{self._trace.when(int(score))} or later"
            or_evicted = ", unless it was evicted first" if story.evicted else ""
            sentence = f"it has expired, {when}{or_evicted}; its entry in the index is kept until the next clean-up"
            return self._say(Cause.EXPIRED, sentence, hint="checkoutctl sessions index check")
        only = "only its entry in the index is left, before its time"
        if story.evicted:
            lost = f"{only}: it was evicted, or another program deleted it"
            return self._say(Cause.DANGLING, lost, str(story))
        return self._say(Cause.DANGLING, f"{only}: another program deleted the key, or it was never published")

    def _story(self, place: str) -> ServerStory:
        return story_of(self._store, place, self._now, self._last_look)
