"""The flusher in the background: one thread of a process brings its dirty writes to the database, in batches.

It is started by the first write that only Redis has, and ends with the store, which flushes what is left. Nothing that
goes wrong ends it; where it has died all the same, the next write starts another. It also renews the lease before that
has run out, so that no shopper waits for the look, and flushes what processes that have ended left in
``checkout:pending``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from checkout_cli.clock import Clock
from checkout_cli.errors import (
    CheckoutError,
    DatabaseBusy,
    DatabasePoolExhausted,
    DatabaseUnavailable,
    NotStorable,
    RedisUnavailable,
)
from checkout_cli.privacy.personal_ids import id_beginning
from checkout_cli.store.flusher import Flusher, Settled
from checkout_cli.store.lease import GRACE, Lease
from checkout_cli.store.notes import Notes
from checkout_cli.store.own_writes import OwnWrite, OwnWrites
from checkout_cli.store.protocol.value import Kind, Value
from checkout_cli.store.publisher import Publisher
from checkout_cli.store.records import Record
from checkout_cli.store.redis.opened import Opened
from checkout_cli.store.redis.pending import is_dirty, written_at
from checkout_cli.store.redis.tier import RedisTier

AT_ONCE = 100
"""Sessions in one transaction."""
LONGEST_TURN = 2.0
"""Seconds after which a turn ends, though more is left: the lease is to be renewed, and a store may be closing."""
LONGEST_GOODBYE = 5.0
"""Seconds for which a store that is closed flushes; what is left by then is in ``checkout:pending``."""
BUSY_FOR, REFUSED_FOR = 5.0, 60.0
"""Seconds for which a session is let be whose row is locked, or which the database cannot hold."""
MOST_INTERVALS = 4
"""Intervals without a turn after which the thread counts as stuck."""
BETWEEN_LOOKS = 2.0
"""Seconds between two looks for what other processes have left."""

_log = logging.getLogger("checkout_cli.store")


class Unflushed(msgspec.Struct, frozen=True):
    """A dirty value at its server, and its end (ms)."""

    checkout_id: str
    opened: Opened
    value: Value
    expires_at: int


@dataclass(eq=False)
class WriteBehind:
    """One store's flusher. Thread-safe; ``interval`` and ``trust`` are in seconds."""

    redis: RedisTier
    own: OwnWrites
    flusher: Flusher
    publisher: Publisher
    lease: Lease
    notes: Notes
    clock: Clock
    interval: float
    trust: float
    session_ttl: int
    """Milliseconds."""

    flushed: int = 0
    """Values flushed since the store was opened."""
    failures: int = 0
    """Turns that ended in an error."""
    _thread: threading.Thread | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _starting: threading.Lock = field(default_factory=threading.Lock)
    _turning: threading.Lock = field(default_factory=threading.Lock)
    _paused: bool = False
    _put_off: dict[str, float] = field(default_factory=dict)
    """Sessions whose flush failed alone, and until when (elapsed seconds) they are let be."""
    _until: float = float("-inf")
    _looked_at: float = float("-inf")
    _turned_at: float = float("-inf")

    @property
    def is_running(self) -> bool:
        """Whether the thread is there."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_at_work(self) -> bool:
        """Whether it makes its turns, so that nobody else needs to do its work."""
        late = self.clock.elapsed() - self._turned_at > MOST_INTERVALS * self.interval + LONGEST_TURN
        return self.is_running and not late

    def start(self) -> None:
        """Start the thread, unless it is there or the store is closed."""
        if self.is_running or self._stop.is_set():
            return
        with self._starting:
            if not self.is_running:
                self._thread = threading.Thread(target=self._run, name="checkoutctl-flusher", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the thread, and flush what is left."""
        self._stop.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(LONGEST_GOODBYE)
        if len(self.own):
            self.turn(longest=LONGEST_GOODBYE)
        if len(self.own):
            _log.warning("%d sessions are left to other processes, or to: checkoutctl sync", len(self.own))

    def pause(self) -> None:
        """Wait for the end of a turn, and let none begin."""
        self._paused = self._turning.acquire(timeout=LONGEST_TURN)

    def resume(self) -> None:
        """Let turns begin again."""
        if self._paused:
            self._paused = False
            self._turning.release()

    def forked(self) -> None:
        """In a new process: no thread came along, and the locks are anybody's."""
        self._thread, self._paused = None, False
        self._starting, self._turning = threading.Lock(), threading.Lock()

    def _run(self) -> None:
        while not self.clock.wait(self._stop, self.interval):
            self.turn()

    def turn(self, *, longest: float = LONGEST_TURN) -> None:
        """Renew the lease, flush all that waits, and look for what others have left; raises nothing."""
        with self._turning:
            try:
                self._turn(self.clock.elapsed() + longest)
            except (DatabaseUnavailable, RedisUnavailable) as error:
                self.failures += 1
                _log.debug("dirty sessions stay dirty: %s", error)
            except Exception:  # noqa: BLE001  (whatever it is must not end the flusher)
                self.failures += 1
                _log.exception("the flusher goes on after an error")
            self._turned_at = self.clock.elapsed()

    def _turn(self, until: float) -> None:
        if not self._stop.is_set():
            due = self.lease.renew(ahead=self.trust / 2)
            if due:
                self.publisher.publish_due(due)
        self._until = until
        self._put_off = {name: at for name, at in self._put_off.items() if at > self.clock.elapsed()}
        while batch := self._next_batch():
            self._flush(batch)
            if self.clock.elapsed() >= until:
                return
        if self.clock.elapsed() - self._looked_at >= BETWEEN_LOOKS and not self._stop.is_set():
            self._looked_at = self.clock.elapsed()
            while self.adopt() == AT_ONCE and self.clock.elapsed() < until:
                pass

    def _next_batch(self) -> list[Unflushed]:
        waiting = self.own.oldest(AT_ONCE + len(self._put_off))
        return [_unflushed(name, own) for name, own in waiting if name not in self._put_off][:AT_ONCE]

    # One batch

    def _flush(self, batch: Sequence[Unflushed]) -> None:
        """Flush them together, or where one of them keeps the others, each alone."""
        try:
            self._flush_together(batch)
        except DatabasePoolExhausted:
            raise
        except (NotStorable, DatabaseBusy) as error:
            self._flush_alone(batch, error)
        except (DatabaseUnavailable, RedisUnavailable):
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is, it may be of one of them only)
            self._flush_alone(batch, error)

    def _flush_alone(self, batch: Sequence[Unflushed], error: Exception) -> None:
        """Flush each of several alone; the one that fails even so is put off."""
        if len(batch) > 1:
            for one in batch:
                if self.clock.elapsed() >= self._until:
                    raise error
                self._flush([one])
            return
        name, is_busy = batch[0].checkout_id, isinstance(error, DatabaseBusy)
        self._put_off[name] = self.clock.elapsed() + (BUSY_FOR if is_busy else REFUSED_FOR)
        if is_busy:
            _log.info("session %s is locked: its flush is put off", id_beginning(name))
            return
        what = type(error).__name__
        _log.warning("session %s is left to checkoutctl sync: %s: %s", id_beginning(name), what, error)
        self.own.accounted(name, batch[0].value.ids)

    def _flush_together(self, batch: Sequence[Unflushed]) -> None:
        """One transaction, one round trip to publish, one note."""
        done = self.flusher.flush_all([(one.checkout_id, one.value, one.expires_at) for one in batch])
        self.flushed += len(batch)
        published: list[tuple[Record, Opened]] = []
        for one in batch:
            flushed = done[one.checkout_id]
            if flushed.record is None:  # only the conflict log has it
                self.publisher.publish_settled(one.checkout_id, Settled(one.opened, one.opened.raw, flushed))
            else:
                self.notes.known_expiry(one.checkout_id, flushed.record.expires_at)
                published.append((flushed.record, one.opened))
        outcomes = self.publisher.publish_all(published, accounted=True)
        for (record, opened), outcome in zip(published, outcomes, strict=True):
            if not outcome.is_published:  # somebody else's write lies there: it is settled, and the row published
                self.publisher.publish(record, Settled(opened))
        self.notes.write_down()

    # What others have left

    def adopt(self) -> int:
        """Flush some dirty sessions whose writers have had time for it; returns how many were."""
        some = self.flusher.pending.some_ids(AT_ONCE)
        names = [name for name in some if not self.own.ids(name) and name not in self._put_off]
        adopted: list[Unflushed] = []
        for name, look in zip(names, self.redis.look(names), strict=True):
            if look.copy is not None and look.value is not None and is_dirty(look) and look.copy.kind is Kind.OURS:
                if self._is_left(look.copy):
                    opened = Opened(look.value, self.redis.last_identity(name), value=look.copy)
                    ends_at = self.clock.wall() + (self.session_ttl if look.ttl is None else look.ttl)
                    adopted.append(Unflushed(name, opened, look.copy, ends_at))
                continue
            try:
                self.publisher.flush_seen(name, look)
            except CheckoutError as error:
                if isinstance(error, (DatabaseUnavailable, RedisUnavailable)):
                    raise
                _log.info("session %s stays among the pending: %s", id_beginning(name), error)
        if adopted:
            self._flush(adopted)
        return len(adopted)

    def _is_left(self, value: Value) -> bool:
        """Whether a write is older, or by a clock that was set newer, than any that its own writer still flushes."""
        moment = written_at(value, self.session_ttl)
        return moment is None or abs(self.clock.wall() - moment) > GRACE + self.interval * 1000


def _unflushed(checkout_id: str, own: OwnWrite) -> Unflushed:
    value = own.value
    return Unflushed(checkout_id, Opened(own.raw, own.identity, value=value), value, own.expires_at)
