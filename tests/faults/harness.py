"""What every fault test asserts: the shop's calls, with every promise written down, and a reckoning at the end.

Each update sets a field of its own (a *mark*). A session only ever gains marks, so that one that is missing was lost,
and a copy that lacks one is older than it.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
from redis.exceptions import RedisError, ResponseError

from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    CheckoutError,
    SessionNotFound,
)
from checkout_cli.servers.embedded import HOST
from checkout_cli.session import Acknowledgement, Durability, Session, TierName, decode
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.value import Value
from tests.support.sentinel import SERVICE, Replicated
from tests.support.servers import ValkeyServer
from tests.support.stores import ManualClock, copy_of, database_away, make_store, wait_until

ID = "session-0001"
PATIENCE = 10.0
"""Seconds after which a test that waits for itself is broken."""
GRACE = 2.1
"""Seconds after which others publish a pending row; its own writer has had time for it."""
NOISE = 1.0
"""Seconds that a busy machine may add to a call."""


@dataclass(frozen=True)
class Promise:
    """One acknowledged write: which mark it set, in which version, and who may not miss it from when on."""

    mark: str
    version: int
    durability: Durability
    published: bool
    writer: CheckoutStore
    at: float


@dataclass
class Told:
    """All that the shop was told of one session."""

    promises: list[Promise] = field(default_factory=list)
    doubtful: set[str] = field(default_factory=set)
    external: set[str] = field(default_factory=set)
    """Marks of external writers that stood in Redis when one of our processes came to it."""
    deleted_by: CheckoutStore | None = None
    deleted_at: float = 0.0
    deleted_everywhere: bool = False


class Shop:
    """Several processes of a shop on the same servers, as stores with connections, leases and notes of their own."""

    def __init__(self, settings: Settings, clock: ManualClock) -> None:
        self.settings = settings
        self.clock = clock
        self.told: dict[str, Told] = {}
        self.longest = 0.0
        self._marks = {"mark": itertools.count(1), "theirs": itertools.count(1)}
        self._lock = threading.Lock()
        self._stores: list[CheckoutStore] = []

    def process(self, settings: Settings | None = None, *, clock: ManualClock | None = None) -> CheckoutStore:
        """Another process of the shop."""
        made = make_store(settings or self.settings, clock or self.clock)
        self._stores.append(made)
        return made

    def close(self) -> None:
        for store in self._stores:
            store.close()

    # The calls

    def create(
        self, store: CheckoutStore, checkout_id: str = ID, fields: Mapping[str, Any] | None = None, **options: Any
    ) -> Acknowledgement:
        return self._write(
            store,
            checkout_id,
            lambda mark: store.create({**(fields or {}), mark: 1}, checkout_id=checkout_id, **options),
        )

    def update(
        self, store: CheckoutStore, checkout_id: str = ID, fields: Mapping[str, Any] | None = None, **options: Any
    ) -> Acknowledgement:
        return self._write(
            store, checkout_id, lambda mark: store.update(checkout_id, {**(fields or {}), mark: 1}, **options)
        )

    def delete(self, store: CheckoutStore, checkout_id: str = ID, *, everywhere: bool = True) -> None:
        """``everywhere``: Redis could be told too, so that nobody may read the session from now on."""
        with self._bounded():
            store.delete(checkout_id)
        self.note_deletion(store, checkout_id, everywhere=everywhere)

    def note_deletion(self, store: CheckoutStore, checkout_id: str = ID, *, everywhere: bool) -> None:
        """A deletion that is committed, whoever did it."""
        told = self._of(checkout_id)
        told.deleted_by, told.deleted_at, told.deleted_everywhere = store, self.clock.seconds, everywhere

    def get(self, store: CheckoutStore, checkout_id: str = ID) -> Session:
        """Read, and compare with what was promised before the read began."""
        told = self._of(checkout_id)
        with self._lock:
            owed = {promise.mark for promise in told.promises if self._is_owed(promise, store)}
        gone = told.deleted_by is not None and (
            told.deleted_everywhere or told.deleted_by is store or self._is_old(told.deleted_at)
        )
        with self._bounded():
            session = store.get(checkout_id)
        assert not (gone and session.verified), "a deleted session was read"
        missing = owed - set(session.fields)
        assert not (missing and session.verified), f"a stale read from {session.tier}: it lacks {sorted(missing)}"
        return session

    def gone(self, store: CheckoutStore, checkout_id: str = ID) -> None:
        """Assert that a process finds no such session."""
        with self._bounded(), pytest.raises(SessionNotFound):
            store.get(checkout_id)

    def new_mark(self, of: str = "mark") -> str:
        """A field that no other write sets."""
        with self._lock:
            return f"{of}{next(self._marks[of])}"

    def note_external(self, mark: str, checkout_id: str = ID) -> None:
        """An external writer's write; it must end as a version, merged, or in the conflict log with both contents."""
        self._of(checkout_id).external.add(mark)

    def forget_external(self, mark: str, checkout_id: str = ID) -> None:
        """No process of ours ever met that write in Redis, or it was deleted with its session."""
        self._of(checkout_id).external.remove(mark)

    def _write(
        self, store: CheckoutStore, checkout_id: str, write: Callable[[str], Acknowledgement]
    ) -> Acknowledgement:
        told = self._of(checkout_id)
        mark = self.new_mark()
        with self._bounded():
            try:
                done = write(mark)
            except BaseException:
                told.doubtful.add(mark)  # not acknowledged: it may have happened or not
                raise
        durability = Durability(done.durability)
        promise = Promise(mark, done.session.version, durability, done.published, store, self.clock.seconds)
        with self._lock:
            told.promises.append(promise)
        assert mark in done.session.fields
        return done

    def _of(self, checkout_id: str) -> Told:
        with self._lock:
            return self.told.setdefault(checkout_id, Told())

    def _is_owed(self, promise: Promise, reader: CheckoutStore) -> bool:
        if promise.durability is not Durability.DATABASE:
            return False
        return promise.published or promise.writer is reader or self._is_old(promise.at)

    def _is_old(self, moment: float) -> bool:
        return self.clock.seconds - moment > self.settings.trust

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """No call may take longer than its time-outs: two answers of Redis, two of the database."""
        started = time.monotonic()
        try:
            yield
        finally:
            took = time.monotonic() - started
            with self._lock:
                self.longest = max(self.longest, took)
            limit = 2 * self.settings.timeout + 2 * self.settings.database_timeout + NOISE
            assert took < limit, f"a call took {took:.2f} s, more than its {limit:.2f} s"

    # The reckoning

    def check(self, settings: Settings | None = None) -> None:
        """Compare what was promised with what the database has in the end, once every fault is over."""
        auditor = make_store(settings or self.settings, self.clock)
        try:
            for checkout_id, told in self.told.items():
                self._check_session(auditor, checkout_id, told)
            self._check_totals(auditor)
        finally:
            auditor.close()

    def _check_session(self, auditor: CheckoutStore, checkout_id: str, told: Told) -> None:
        row = auditor.database.read(checkout_id)
        self._check_external(auditor, checkout_id, told)
        if told.deleted_by is not None:
            assert row is not None, "the tombstone is lost"
            assert row.body is None, "a deleted session lives in the database"
            with pytest.raises(SessionNotFound):
                auditor.get(checkout_id)
            return
        promised = [promise for promise in told.promises if promise.durability is Durability.DATABASE]
        if not promised:
            return
        assert row is not None, "an acknowledged session is lost"
        assert row.body is not None, "an acknowledged session is deleted"
        lost = {promise.mark for promise in promised} - set(decode(row.body))
        assert not lost, f"acknowledged writes are lost: {sorted(lost)}"
        assert row.version >= max(promise.version for promise in promised)
        read = auditor.get(checkout_id)
        assert {promise.mark for promise in promised} <= set(read.fields), "the last read is stale"

    def _check_external(self, auditor: CheckoutStore, checkout_id: str, told: Told) -> None:
        """What external writers wrote is in the row or in the conflict log."""
        row = auditor.database.read(checkout_id)
        kept = set() if row is None or row.body is None else set(decode(row.body))
        conflicts = [each for each in auditor.flush_log.conflicts(1000) if each.checkout_id == checkout_id]
        for conflict in conflicts:
            kept |= set(conflict.fields or ())
        assert told.external <= kept, f"external writes are lost: {sorted(told.external - kept)}"

    def _check_totals(self, auditor: CheckoutStore) -> None:
        """Exact figures come from the database: one for each session, however often its creation was tried."""
        certain = {
            name
            for name, told in self.told.items()
            if any(promise.durability is Durability.DATABASE for promise in told.promises)
        }
        created = auditor.database.totals().created
        assert len(certain) <= created <= len(self.told), f"{created} created, {len(certain)} for certain"


class Checkpoint:
    """Stops the first call of a method, before or after it does its work, until the test lets it go on."""

    def __init__(self, target: Any, name: str, *, after: bool = False) -> None:
        self._reached, self._released = threading.Event(), threading.Event()
        self._used = False
        original = getattr(target, name)

        def stopping(*arguments: Any, **options: Any) -> Any:
            if self._used:
                return original(*arguments, **options)
            self._used = True
            if not after:
                self._stop()
                return original(*arguments, **options)
            result = original(*arguments, **options)
            self._stop()
            return result

        setattr(target, name, stopping)

    def _stop(self) -> None:
        self._reached.set()
        assert self._released.wait(PATIENCE), "nobody let it go on"

    def wait(self) -> None:
        """Until the call has come here."""
        assert self._reached.wait(PATIENCE), "the call never came here"

    def release(self) -> None:
        self._released.set()


class Background:
    """Runs calls in threads of their own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=8)

    def __call__(self, work: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        return self._threads.submit(work, *arguments, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()


def outcome(future: Future[Any]) -> Any:
    """What a call in the background came to: its result, or one of our own errors."""
    try:
        return future.result(PATIENCE)
    except CheckoutError as error:
        return error


def trusted_again(shop: Shop, store: CheckoutStore, checkout_id: str = ID) -> bool:
    """Whether reads come to be answered by Redis alone: one may renew the lease, and one bring Redis up to date."""
    return any(shop.get(store, checkout_id).tier is TierName.REDIS for _ in range(3))


def value_in_redis(store: CheckoutStore, checkout_id: str = ID) -> Value:
    """What lies at a session's key."""
    value = copy_of(store, checkout_id)
    assert value is not None, "nothing lies there"
    return value


def hand_over(store: CheckoutStore) -> None:
    """Look for what Redis and the database lack of each other, as a read with an expired lease does."""
    store.reading.look_around()
    store.notes.write_down()


@contextmanager
def busy_with_a_script(server: ValkeyServer, background: Background) -> Iterator[None]:
    """A script that does not end: the server answers BUSY to all commands but a few."""

    def spin() -> None:
        with server.client(socket_timeout=30) as client, suppress(ResponseError):
            client.eval("while true do end", 0)

    def is_busy() -> bool:
        try:
            with server.client() as client:
                return not client.ping()
        except RedisError as error:
            return "BUSY" in str(error)

    with server.client() as client:
        client.config_set("busy-reply-threshold", 50)
    running = background(spin)
    try:
        wait_until(is_busy, 5)
        yield
    finally:
        with server.client(socket_timeout=5) as client:
            client.script_kill()
        running.result(5)


def part(replicated: Replicated) -> None:
    """Two primaries, as after a partition: the old one goes on and knows nothing of the new one."""
    with replicated.second.client() as promoted, replicated.sentinel() as client:
        promoted.replicaof("NO", "ONE")
        client.execute_command("SENTINEL", "REMOVE", SERVICE)
        client.execute_command("SENTINEL", "MONITOR", SERVICE, HOST, replicated.second.port, 1)
        wait_until(lambda: client.sentinel_master(SERVICE)["flags"] == "master", 10)


def without_its_database(store: CheckoutStore, patch: pytest.MonkeyPatch) -> None:
    for method in ("read", "update", "insert", "look", "transaction"):
        patch.setattr(store.database, method, database_away)
