"""Counting accepted writes, and tracking whose checkout it was.

The process whose transaction applied or flushed a write counts it, and nobody else (ARCHITECTURE.md, point 13). Counts
are sent together, at most once a second, and never again once they may have arrived: nothing counts twice. Counts are
lost with a failed exchange, with the process, after a few minutes without Redis, and for writes that only memory has.
Exact figures come from the database (:meth:`CheckoutStore.totals`).

Each minute counts ``created``, ``updated`` (once for all that one flush brings, and for an external session that is
taken in), ``completed``, ``failed`` and ``cancelled``; a deletion counts nothing. ``flushed`` are dirty values brought
to the database. ``create:N`` and ``update:N`` are histograms of how long the calls took. Each minute's reads and writes
by tier (``tier_counts``) have a hash of their own, which plain commands count: a server without scripts is one of those
that they are to show.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import starmap
from typing import Any

from checkout_cli.clock import Clock
from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError
from checkout_cli.keys import minute_key, tiers_key, user_key
from checkout_cli.privacy.personal_ids import is_personal
from checkout_cli.session import PaymentStatus, decode, is_completed, iso
from checkout_cli.store.after_fork import in_each_child
from checkout_cli.store.histogram import bucket_of
from checkout_cli.store.records import Record
from checkout_cli.store.redis.commands import Command, Script, encoded, register
from checkout_cli.store.redis.tier import RedisTier
from checkout_cli.store.tier_counts import TierCounts

USER_FIELDS = ("firstSeen", "lastSeen", "checkoutsStarted", "checkoutsCompleted", "checkoutsFailed", "lastStatus")
"""All that is ever kept of a user: two moments, three numbers, and one of the payment statuses."""

BETWEEN_SENDINGS = 1.0
"""Seconds from one exchange to the next."""
MINUTES_KEPT = 5
"""Minutes whose counts are kept while Redis is unavailable; the oldest are dropped."""
TRACKS_AT_ONCE = 100
"""Users' transitions that are sent without waiting for the second to be over."""
TRACKS_KEPT = 1000
"""Users' transitions that are kept while Redis is unavailable; the oldest are dropped."""

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
    """The id by which a user is tracked; ``None`` for what may be personal: other signs, a phone or card number."""
    if isinstance(user_id, int) and not isinstance(user_id, bool):
        user_id = str(user_id)
    if not isinstance(user_id, str) or not _USER_ID.fullmatch(user_id):
        return None
    return None if _TELLING_NUMBER.fullmatch(user_id) or is_personal(user_id) else user_id


class Bookkeeping:
    """One store's counts and tracks. Thread-safe."""

    def __init__(self, settings: Settings, redis: RedisTier, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock
        self._is_enabled = settings.enable_statistics
        self._counts = settings.enable_statistics and settings.enable_checkout_sessions
        self._tracks = settings.enable_user_sessions and settings.enable_checkout_sessions
        self._statistics_ttl = int(settings.statistics_ttl * 1000)
        self._user_ttl = int(settings.user_ttl * 1000)
        self._lock = threading.Lock()
        self._minutes: dict[int, Counter[str]] = {}
        self.tiers = TierCounts()
        self._tier_minutes: dict[int, Counter[str]] = {}
        self._users: deque[Command] = deque(maxlen=TRACKS_KEPT)
        self._sent_at = float("-inf")
        in_each_child(self, Bookkeeping._begin_anew)

    def _begin_anew(self) -> None:
        """The parent sends what it has counted; another of its threads may hold the lock."""
        self._lock = threading.Lock()
        self._minutes, self._tier_minutes, self.tiers = {}, {}, TierCounts()
        self._users = deque(maxlen=TRACKS_KEPT)

    def count(self, seen: Record | None, fields: Mapping[str, Any]) -> None:
        """Count a write, once: the database accepted ``fields`` in place of ``seen``, or of nothing."""
        if not (self._counts or self._tracks):
            return
        happened = _happened(seen, fields)
        if self._counts:
            self._add(*happened)
        if self._tracks:
            self._track(happened, fields)

    def took(self, call: str, seconds: float) -> None:
        """Note the duration of a ``create`` or an ``update``."""
        if self._counts:
            self._add(f"{call}:{bucket_of(seconds)}")
        self.send_due()

    def flushed(self, number: int) -> None:
        """Count dirty values that came to the database."""
        if self._counts:
            self._add("flushed", by=number)

    def note(self, name: str) -> None:
        """Count one more of ``name`` in this minute's statistics."""
        if self._is_enabled:
            self._add(name)
            self.send_due()

    def _add(self, *names: str, by: int = 1) -> None:
        with self._lock:
            counts = self._of_this_minute(self._minutes)
            for name in names:
                counts[name] += by

    def _of_this_minute(self, minutes: dict[int, Counter[str]]) -> Counter[str]:
        counts = minutes.setdefault(self._clock.wall() // 60_000, Counter())
        if len(minutes) > MINUTES_KEPT:
            del minutes[min(minutes)]
        return counts

    def _track(self, happened: Sequence[str], fields: Mapping[str, Any]) -> None:
        counters = [_TRACKED[transition] for transition in happened if transition in _TRACKED]
        user_id = tracked_id(fields.get("userId"))
        if not counters or user_id is None:
            return
        status = fields.get("paymentStatus")
        known = str(status) if status in _STATUSES else ""  # another program's status may be any text
        moment = iso(self._clock.wall())
        command = _TRACK.call(encoded(user_key(user_id)), self._user_ttl, moment, known, *counters)
        with self._lock:
            self._users.append(command)

    def send_due(self) -> None:
        """Send the counts if the last time was a second ago, or many users wait."""
        is_over = self._clock.elapsed() - self._sent_at >= BETWEEN_SENDINGS
        if is_over or len(self._users) >= TRACKS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Send the counts in one exchange; a failure is only logged."""
        if self._counts:
            with self._lock:
                if taken := self.tiers.take():
                    self._of_this_minute(self._tier_minutes).update(taken)
        if self._redis.breaker.is_open or not (self._minutes or self._users or self._tier_minutes):
            return
        self._sent_at = self._clock.elapsed()
        with self._lock:
            minutes, tiers, users = self._minutes, self._tier_minutes, list(self._users)
            self._minutes, self._tier_minutes = {}, {}
            self._users.clear()
        by_tier = [command for each in tiers.items() for command in self._counting_tiers(*each)]
        try:
            _, replies = self._redis.exchange(*starmap(self._counting, minutes.items()), *by_tier, *users, lenient=True)
        except CheckoutError as error:
            replies = [error]
        for reply in replies:
            if isinstance(reply, CheckoutError):
                _log.info("not counted: %s", reply)

    def _counting(self, minute: int, counts: Mapping[str, int]) -> Command:
        pairs = [part for pair in counts.items() for part in pair]
        return _COUNT.call(encoded(minute_key(minute)), self._statistics_ttl, *pairs)

    def _counting_tiers(self, minute: int, counts: Mapping[str, int]) -> list[Command]:
        key = encoded(tiers_key(minute))
        counting: list[Command] = [("HINCRBY", key, name, number) for name, number in counts.items()]
        return [*counting, ("PEXPIRE", key, self._statistics_ttl)]


def _happened(seen: Record | None, fields: Mapping[str, Any]) -> list[str]:
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
