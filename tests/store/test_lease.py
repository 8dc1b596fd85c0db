"""The lease, own distrust, and pending rows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    DatabaseUnavailable,
    DurabilityUnavailable,
    SessionDeleted,
)
from checkout_cli.session import Durability, TierName
from checkout_cli.store import lease, publisher
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.servers import ValkeyServer
from tests.support.stores import (
    ID,
    ManualClock,
    copy_of,
    database_away,
    evict,
    key_of,
    make_store,
    make_tables,
    raw,
    redis_away,
    save,
    trusted,
    wait_until,
)


def pending_write(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """A write that is committed and not published."""
    with monkeypatch.context() as patch:
        patch.setattr(store.redis, "publish", redis_away)
        acknowledgement = store.update(ID, {"n": n})
    assert (acknowledgement.published, acknowledgement.durability) == (False, Durability.DATABASE)


def test_a_process_sees_its_own_write_though_it_could_not_be_published(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"n": 1}, checkout_id=ID)
    assert trusted(store) is not None
    pending_write(store, monkeypatch, 2)
    with monkeypatch.context() as patch:
        patch.setattr(store.redis, "publish", redis_away)
        assert store.get(ID).fields["n"] == 2
        patch.setattr(store.lease, "invalidate", lambda _: None)
        assert store.get(ID).fields["n"] == 2
    assert store.get(ID).fields["n"] == 2
    assert trusted(store) is not None


def test_others_see_an_unpublished_write_when_their_lease_has_run_out(
    store: CheckoutStore, another: Callable[..., CheckoutStore], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"n": 1}, checkout_id=ID)
    store.notes.write_down()
    other = another()
    assert trusted(other) is None or other.get(ID).fields["n"] == 1
    pending_write(store, monkeypatch, 2)
    assert other.get(ID).fields["n"] == 1, "until its lease ends it may (G3)"
    clock.advance(store.settings.trust)
    assert other.get(ID).fields["n"] == 2


def test_a_lease_counts_from_the_start_of_the_look(
    store: CheckoutStore, another: Callable[..., CheckoutStore], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"n": 1}, checkout_id=ID)
    store.notes.write_down()
    other = another()
    look = other.database.look

    def slowly(limit: int) -> Any:
        found = look(limit)
        clock.advance(store.settings.trust)
        return found

    monkeypatch.setattr(other.database, "look", slowly)
    assert other.get(ID).tier is TierName.DATABASE, "a look that takes longer than the lease gives none"
    pending_write(store, monkeypatch, 2)
    assert other.get(ID).fields["n"] == 2


def test_a_young_pending_row_is_distrusted_and_left_to_its_writer(
    store: CheckoutStore, another: Callable[..., CheckoutStore], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"n": 1}, checkout_id=ID)
    store.create({}, checkout_id="session-0002")
    store.notes.write_down()
    pending_write(store, monkeypatch, 2)
    other = another()
    other.get("session-0002")
    copy = copy_of(store, ID)
    assert copy is not None
    assert copy.version == 1
    assert other.get(ID).fields["n"] == 2


def test_an_older_pending_row_is_handed_over_by_whoever_finds_it(
    store: CheckoutStore, another: Callable[..., CheckoutStore], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"n": 1}, checkout_id=ID)
    store.create({}, checkout_id="session-0002")
    store.notes.write_down()
    pending_write(store, monkeypatch, 2)
    clock.advance(3)
    other = another()
    other.get("session-0002")
    copy = copy_of(store, ID)
    assert copy is not None
    assert copy.version == 2
    assert trusted(other) is not None
    other.notes.write_down()
    assert other.database.pending(10) == []


def test_a_pending_deletion_is_handed_over_too(
    store: CheckoutStore, another: Callable[..., CheckoutStore], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"n": 1}, checkout_id=ID)
    store.create({}, checkout_id="session-0002")
    with monkeypatch.context() as patch:
        patch.setattr(store.redis, "publish", redis_away)
        store.delete(ID)
    assert raw(store, ID) is not None
    clock.advance(3)
    other = another()
    other.get("session-0002")
    assert raw(store, ID) is None
    with pytest.raises(SessionDeleted):
        other.get(ID)


def test_too_many_pending_rows_mean_no_lease(
    store: CheckoutStore, another: Callable[..., CheckoutStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "MOST_PENDING", 2)
    with monkeypatch.context() as patch:
        patch.setattr(store.redis, "publish", redis_away)
        for number in range(4):
            store.create({}, checkout_id=f"session-000{number}")
    reader = another()
    reader.get("session-0001")
    reader.notes.write_down()
    assert len(reader.database.pending(10)) == 3
    assert reader.get("session-0001").tier is TierName.DATABASE, "three others are pending"
    for number in range(4):
        reader.get(f"session-000{number}")
    reader.notes.write_down()
    assert reader.get("session-0001").tier is TierName.REDIS


def test_a_row_that_cannot_be_published_does_not_hinder_the_others(
    store: CheckoutStore, another: Callable[..., CheckoutStore], clock: ManualClock
) -> None:
    store.create({"n": 1}, checkout_id=ID)
    store.create({"n": 1}, checkout_id="session-0002")
    evict(store, ID)
    store.redis.ask(("LPUSH", key_of(ID), "a list"))
    assert store.update(ID, {"n": 2}).published is False
    clock.advance(3)
    other = another()
    assert other.get(ID).fields["n"] == 2
    assert other.get("session-0002").version == 1
    assert trusted(other, "session-0002") is not None


def test_without_the_database_nothing_is_verified_and_redis_still_serves(
    store: CheckoutStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"n": 1}, checkout_id=ID)
    assert store.get(ID).verified
    for method in ("look", "read", "update", "insert", "note_published", "touch", "transaction"):
        monkeypatch.setattr(store.database, method, database_away)
    clock.advance(2)
    session = store.get(ID)
    assert (session.verified, session.tier, session.fields["n"]) == (False, TierName.REDIS, 1)
    with pytest.raises(DatabaseUnavailable):
        store.delete(ID)
    for insisting in (
        lambda: store.update(ID, {"n": 9}, require=Durability.DATABASE),
        lambda: store.create({}, checkout_id="session-0002", require=Durability.DATABASE),
    ):
        with pytest.raises(DurabilityUnavailable):
            insisting()
    assert store.redis.ask(("KEYS", "*session-0002*")) == [], "no claim is left behind"
    written = store.update(ID, {"n": 2})
    assert (written.durability, written.session.verified) == (Durability.REDIS, False)
    assert store.create({}, checkout_id="session-0002").durability is Durability.REDIS
    session = store.get(ID)
    assert (session.verified, session.fields["n"]) == (False, 2)


def test_what_was_written_without_redis_is_there_when_redis_is_back(
    valkey_server: Callable[..., ValkeyServer], settings: Settings, clock: ManualClock
) -> None:
    server = valkey_server()
    there = replace(settings, redis_port=server.port)
    with make_store(there, clock) as store, make_store(there, clock) as other:
        make_tables(store.database)
        store.create({"n": 1}, checkout_id=ID)
        other.get(ID)
        save(server)
        server.kill()
        assert store.update(ID, {"n": 2}).published is False
        assert store.create({"n": 1}, checkout_id="session-0002").published is False
        assert store.get(ID).fields["n"] == 2
        server.start()
        clock.advance(10)
        for reader in (store, other):
            assert reader.get(ID).fields["n"] == 2
            assert reader.get("session-0002").fields["n"] == 1
        assert trusted(store) is not None


def test_a_long_outage_does_not_fill_memory(
    store: CheckoutStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(store.redis, "publish", redis_away)
        for number in range(20):
            store.create({}, checkout_id=f"session-{number:04}")
    store.create({}, checkout_id="session-9999")
    assert len(store.lease._unpublished) == len(store.lease._unpublished_at) == 20
    clock.advance(lease.LONGEST_WRITE + 1)
    monkeypatch.setattr(publisher, "AT_ONCE", 0)
    store.get("session-9999")
    assert len(store.lease._unpublished) == len(store.lease._unpublished_at) == 0
    assert store.get("session-0001").tier is TierName.DATABASE, "the look found it pending"


class CountingLock:
    """A lock that counts who has come to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.arrived = 0

    def __enter__(self) -> None:
        self.arrived += 1
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_many_threads_wait_for_one_look_of_a_slow_database_and_not_for_one_each(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that takes longer than a lease gives none: whoever has waited for it asks the database at once."""
    looks: list[float] = []
    began, end = threading.Event(), threading.Event()

    def slow(*_: object) -> object:
        looks.append(store.clock.elapsed())
        began.set()
        assert end.wait(10)
        raise DatabaseUnavailable("it took too long")

    door = CountingLock()
    monkeypatch.setattr(store.lease, "_looking", door)
    monkeypatch.setattr(store.database, "look", slow)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(store.lease.renew)
        assert began.wait(10)
        others = [pool.submit(store.lease.renew) for _ in range(7)]
        wait_until(lambda: door.arrived == 8)
        end.set()
        assert [call.result(10) for call in (first, *others)] == [None] * 8
    assert len(looks) == 1
    store.lease.renew()
    assert len(looks) == 2  # whoever comes later looks again
