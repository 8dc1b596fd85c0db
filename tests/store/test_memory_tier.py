from __future__ import annotations

import threading

import msgspec
import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import DurabilityUnavailable
from checkout_cli.session import TierName
from checkout_cli.store.memory_tier import MemoryTier
from checkout_cli.store.records import Record
from tests.support.stores import ID, make_store, without_database, without_redis

NOW = 1_000_000
WRITES = ("write-1",)
ALIVE = Record("session-1", 1, b"{}", NOW, NOW + 1000)


def named(name: str, expires_at: int = NOW + 1000) -> Record:
    return msgspec.structs.replace(ALIVE, checkout_id=name, expires_at=expires_at)


def test_what_is_kept_is_read() -> None:
    memory = MemoryTier()
    assert memory.keep(ALIVE, WRITES, seen=None, now=NOW)
    kept = memory.read("session-1", NOW)
    assert kept is not None
    assert (kept.record, kept.write_ids) == (ALIVE, WRITES)
    assert len(memory) == 1


def test_a_session_ends_at_its_expiry() -> None:
    memory = MemoryTier()
    memory.keep(ALIVE, WRITES, seen=None, now=NOW)
    assert memory.read("session-1", NOW + 999) is not None
    assert memory.read("session-1", NOW + 1000) is None


def test_an_id_is_created_once() -> None:
    memory = MemoryTier()
    assert memory.keep(ALIVE, WRITES, seen=None, now=NOW)
    assert not memory.keep(ALIVE, WRITES, seen=None, now=NOW)


def test_a_write_that_saw_another_version_is_refused() -> None:
    memory = MemoryTier()
    memory.keep(ALIVE, WRITES, seen=None, now=NOW)
    seen = memory.read("session-1", NOW)
    assert memory.keep(msgspec.structs.replace(ALIVE, version=2), WRITES, seen=seen, now=NOW)
    assert not memory.keep(msgspec.structs.replace(ALIVE, version=2), WRITES, seen=seen, now=NOW)


def test_what_changed_meanwhile_is_not_released() -> None:
    memory = MemoryTier()
    memory.keep(ALIVE, WRITES, seen=None, now=NOW)
    seen = memory.read("session-1", NOW)
    assert seen is not None
    memory.keep(msgspec.structs.replace(ALIVE, version=2), WRITES, seen=seen, now=NOW)
    assert not memory.release("session-1", seen)
    changed = memory.read("session-1", NOW)
    assert changed is not None
    assert memory.release("session-1", changed)
    assert len(memory) == 0


def test_a_full_memory_refuses_and_evicts_nobody() -> None:
    memory = MemoryTier(capacity=2)
    for name in ("session-1", "session-2"):
        memory.keep(named(name), WRITES, seen=None, now=NOW)
    with pytest.raises(DurabilityUnavailable, match="memory holds 2 sessions already"):
        memory.keep(named("session-3"), WRITES, seen=None, now=NOW)
    assert memory.read("session-1", NOW) is not None
    assert memory.keep(named("session-1", NOW + 5000), WRITES, seen=memory.read("session-1", NOW), now=NOW)


def test_the_dead_make_room() -> None:
    memory = MemoryTier(capacity=2)
    memory.keep(named("session-1", NOW + 1), WRITES, seen=None, now=NOW)
    memory.keep(named("session-2"), WRITES, seen=None, now=NOW)
    assert memory.keep(named("session-3"), WRITES, seen=None, now=NOW + 1)
    assert [record.checkout_id for record in memory.newest(NOW + 1)] == ["session-2", "session-3"]


def test_the_newest_come_first_and_the_dead_not_at_all() -> None:
    memory = MemoryTier()
    for name, expires_at in (("session-1", 30), ("session-2", 90), ("session-3", 60), ("session-4", 0)):
        memory.keep(named(name, NOW + expires_at), WRITES, seen=None, now=NOW)
    assert [record.checkout_id for record in memory.newest(NOW)] == ["session-2", "session-3", "session-1"]
    assert memory.purge(NOW) == 1
    assert len(memory) == 3


def test_threads_that_write_one_session_lose_nothing() -> None:
    memory = MemoryTier()
    memory.keep(msgspec.structs.replace(ALIVE, version=0), WRITES, seen=None, now=NOW)

    def add() -> None:
        for _ in range(200):
            while True:
                seen = memory.read("session-1", NOW)
                assert seen is not None
                following = msgspec.structs.replace(seen.record, version=seen.record.version + 1)
                if memory.keep(following, WRITES, seen=seen, now=NOW):
                    break

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = memory.read("session-1", NOW)
    assert kept is not None
    assert kept.record.version == 1600


def test_nobody_vouches_for_what_an_operator_sees_in_memory(settings: Settings) -> None:
    with make_store(without_redis(without_database(settings))) as store:
        store.create({}, checkout_id=ID)
        seen = [
            store.admin.inspect(ID).session,
            *(sighting.session for sighting in store.admin.iterate(tier=TierName.MEMORY)),
        ]
        assert [session.verified for session in seen if session] == [False, False]
