"""Counting what the database accepted, and tracking whose checkout it was.

Both travel with the publish of the process whose transaction applied a write, or flushed it, and nowhere else: what
fills a key, publishes a row for another, repeats a publish or flushes what was flushed before counts nothing
(ARCHITECTURE.md, point 13). So no accepted transition is counted twice. It is not counted at all where the publish is
not attempted or never arrives: while Redis is unavailable, where sessions are not kept in Redis, and for what memory
accepted alone. Exact figures come from the database (:meth:`CheckoutStore.totals`).

What is counted, in the minute of the commit: ``created`` for each new session, ``updated`` for each accepted update,
and once for all that one flush brings, ``completed``, ``failed`` and ``cancelled`` for each write that made a session
so. Taking in another program's session is an update: nobody knows when that program created it, or whether it counted
it. A deletion counts nothing, and takes nothing back. ``create:N`` and ``update:N`` are histograms of how long the
calls took, as their callers saw it.
"""

from __future__ import annotations

import functools
import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from checkout_cli.clock import Clock
from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError
from checkout_cli.keys import minute_key, user_key
from checkout_cli.session import PaymentStatus, decode, is_completed, iso
from checkout_cli.store.histogram import bucket_of
from checkout_cli.store.records import Record
from checkout_cli.store.redis.commands import Command, Script, encoded, register
from checkout_cli.store.redis.tier import RedisTier

USER_FIELDS = ("firstSeen", "lastSeen", "checkoutsStarted", "checkoutsCompleted", "checkoutsFailed", "lastStatus")
"""All that is ever kept of a user: two moments, three numbers, and one of the payment statuses."""

BETWEEN_SENDINGS = 1.0
"""Seconds from one exchange of a cache that takes counts along to the next."""
MINUTES_KEPT = 5
"""Minutes of which call times are kept in memory until a write takes them along; the oldest are dropped."""

_, _, _STARTED, _COMPLETED, _FAILED, _ = USER_FIELDS
_TRACKED = {"created": _STARTED, "completed": _COMPLETED, "failed": _FAILED}
"""The transitions that are noted with the user, and the field that counts each."""

_USER_ID = re.compile(r"[A-Za-z0-9_.:|-]{1,128}")
_TELLING_NUMBER = re.compile(r"[_.:|-]*(?:[0-9][_.:|-]*){10,19}")

_STATUSES = tuple(PaymentStatus)
"""To look up what may be anything: a foreign status can be a list, which no set can be asked for."""

_COUNT, _TRACK = register(Script("count")), register(Script("track"))

_log = logging.getLogger("checkout_cli.store")


def tracked_id(user_id: object) -> str | None:
    """The id by which a user is tracked; ``None`` for one that may itself be personal data, and is never tracked.

    An e-mail address, a name with a space, or anything else but ASCII letters, digits and ``_.:|-`` is not; nor are 10
    to 19 digits with nothing but separators among them, because phone and card numbers look so.
    """
    if isinstance(user_id, int) and not isinstance(user_id, bool):
        user_id = str(user_id)
    if not isinstance(user_id, str) or not _USER_ID.fullmatch(user_id) or _TELLING_NUMBER.fullmatch(user_id):
        return None
    return user_id


class Bookkeeping:
    """One store's counts and tracks. Thread-safe."""

    def __init__(self, settings: Settings, redis: RedisTier, clock: Clock) -> None:
        """Nothing is counted or tracked where its switch, or that of the sessions, is off."""
        self._redis = redis
        self._clock = clock
        self._is_enabled = settings.enable_statistics
        self._counts = settings.enable_statistics and settings.enable_checkout_sessions
        self._tracks = settings.enable_user_sessions and settings.enable_checkout_sessions
        self._statistics_ttl = int(settings.statistics_ttl * 1000)
        self._user_ttl = int(settings.user_ttl * 1000)
        self._lock = threading.Lock()
        self._times: dict[int, dict[str, int]] = {}
        self._sent_at = float("-inf")

    def commands(self, seen: Record | None, fields: Mapping[str, Any]) -> list[Command]:
        """What the publish of a write is to take along, once: the database accepted ``fields`` in place of ``seen``.

        Without ``seen`` they are a new session's. Whatever becomes of the commands, they must not be sent again.
        """
        if not (self._counts or self._tracks):
            return []
        happened = _happened(seen, fields)
        now = self._clock.wall()
        commands = self._counting(happened, now) if self._counts else []
        return commands + self._tracking(happened, fields, now) if self._tracks else commands

    def _counting(self, happened: Sequence[str], now: int) -> list[Command]:
        due, minute = self._take_times(), _minute(now)
        due[minute] = due.get(minute, {}) | dict.fromkeys(happened, 1)
        return [self._add(minute, counts) for minute, counts in due.items()]

    def _add(self, minute: int, counts: Mapping[str, int]) -> Command:
        pairs = [part for pair in counts.items() for part in pair]
        return _COUNT.call(encoded(minute_key(minute)), self._statistics_ttl, *pairs)

    def _tracking(self, happened: Sequence[str], fields: Mapping[str, Any], now: int) -> list[Command]:
        counters = [_TRACKED[transition] for transition in happened if transition in _TRACKED]
        user_id = tracked_id(fields.get("userId"))
        if not counters or user_id is None:
            return []
        status = fields.get("paymentStatus")
        known = str(status) if status in _STATUSES else ""  # another program's status may be any text
        return [_TRACK.call(encoded(user_key(user_id)), self._user_ttl, iso(now), known, *counters)]

    # What is known only afterwards, such as how long a call took: the next write or cache read takes it along

    def took(self, call: str, seconds: float) -> None:
        """Note how long a ``create`` or an ``update`` took."""
        if self._counts:
            self.note(f"{call}:{bucket_of(seconds)}")

    def note(self, name: str) -> None:
        """Count one more of what has such a name in the statistics of this minute."""
        if not self._is_enabled:
            return
        minute = _minute(self._clock.wall())
        with self._lock:
            times = self._times.setdefault(minute, {})
            times[name] = times.get(name, 0) + 1
            if len(self._times) > MINUTES_KEPT:
                del self._times[min(self._times)]

    def due(self) -> list[Command]:
        """What an exchange is to take along, at most once a second; it must not be sent again."""
        now = self._clock.elapsed()
        if not self._times or now - self._sent_at < BETWEEN_SENDINGS or self._redis.breaker.is_open:
            return []
        self._sent_at = now
        return [self._add(minute, counts) for minute, counts in self._take_times().items()]

    def _take_times(self) -> dict[int, dict[str, int]]:
        with self._lock:
            times, self._times = self._times, {}
        return times

    def flush(self) -> None:
        """Send what no write has taken along, in one exchange that may fail: nothing here is worth an error."""
        times = {} if self._redis.breaker.is_open else self._take_times()
        if not times:
            return
        try:
            self._redis.exchange(*(self._add(minute, counts) for minute, counts in times.items()))
        except CheckoutError as error:
            _log.info("the times of the last calls are not counted: %s", error)


class _Measured(Protocol):
    clock: Clock
    bookkeeping: Bookkeeping


_Store = TypeVar("_Store", bound=_Measured)
_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


def measured(
    call: Callable[Concatenate[_Store, _Arguments], _Answer],
) -> Callable[Concatenate[_Store, _Arguments], _Answer]:
    """Note how long a method of the store takes wherever it succeeds, whichever tier acknowledged it."""
    name = call.__name__

    @functools.wraps(call)
    def timed(store: _Store, /, *arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Answer:
        started = store.clock.elapsed()
        answer = call(store, *arguments, **options)
        store.bookkeeping.took(name, store.clock.elapsed() - started)
        return answer

    return timed


def _minute(now: int) -> int:
    return now // 60_000


def _happened(seen: Record | None, fields: Mapping[str, Any]) -> list[str]:
    """The transitions of an accepted write, by the names of their counters."""
    happened = ["created" if seen is None else "updated"]
    status = fields.get("paymentStatus")
    completed, ended = is_completed(fields), status in (PaymentStatus.FAILED, PaymentStatus.CANCELLED)
    if not (completed or ended):
        return happened  # most updates: no need to look at what was there before
    before: Mapping[str, Any] = {} if seen is None or seen.body is None else decode(seen.body)
    if completed and not is_completed(before):
        happened.append("completed")
    if ended and status != before.get("paymentStatus"):
        happened.append(str(status))
    return happened
