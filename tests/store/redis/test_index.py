from __future__ import annotations

from itertools import chain

import pytest

from checkout_cli.keys import INDEX
from checkout_cli.session import TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.records import Count
from checkout_cli.store.redis import index as redis_index
from checkout_cli.store.redis.index import Entry, RedisIndex
from checkout_cli.store.redis.index_moves import Adopted, IndexMoves
from tests.support.stores import LONG_AGO, ManualClock, evict


@pytest.fixture
def index(store: CheckoutStore) -> RedisIndex:
    return store.index


def ids(index: RedisIndex) -> list[str]:
    return list(chain.from_iterable(index.newest()))


def adopt(store: CheckoutStore) -> None:
    moves = IndexMoves(store.redis, store.index)
    assert moves.adopt() is Adopted.ADOPTED
    list(moves.finish(store.redis.time()))


def scores(store: CheckoutStore) -> dict[str, float]:
    return {entry.checkout_id: entry.score for entry in store.index.due(10**15, limit=100_000)}


def test_the_newest_come_first(store: CheckoutStore, clock: ManualClock) -> None:
    for number in range(3):
        clock.advance(1)
        store.create({}, checkout_id=f"session-{number}")
    assert ids(store.index) == ["session-2", "session-1", "session-0"]


def test_pages_miss_and_repeat_nothing(index: RedisIndex) -> None:
    names = [f"session-{number:05}" for number in range(redis_index.PAGE * 2 + 3)]
    index.add([Entry(name, float(LONG_AGO + number)) for number, name in enumerate(names)])
    assert [len(page) for page in index.newest() if page] == [redis_index.PAGE, redis_index.PAGE, 3]
    assert ids(index) == names[::-1]


def test_a_session_that_is_created_between_two_pages_repeats_nothing(index: RedisIndex) -> None:
    index.add([Entry(f"session-{number:05}", float(LONG_AGO + number)) for number in range(redis_index.PAGE + 5)])
    pages = index.newest()
    seen = next(pages)
    index.add([Entry("session-newer", LONG_AGO + 10.0**6)])
    seen += chain.from_iterable(pages)
    assert sorted(seen) == sorted(set(seen))
    assert len(seen) == redis_index.PAGE + 5


def test_a_session_that_ends_between_two_pages_hides_no_other(index: RedisIndex) -> None:
    index.add([Entry(f"session-{number:05}", float(LONG_AGO + number)) for number in range(redis_index.PAGE + 5)])
    pages = index.newest()
    seen = next(pages)
    index.remove_expired([Entry(name, LONG_AGO + 10.0**6) for name in seen[:3]])
    seen += chain.from_iterable(pages)
    assert len(set(seen)) == redis_index.PAGE + 5


def test_settling_takes_the_dead_out_and_moves_the_living(store: CheckoutStore) -> None:
    store.index.add([Entry("dead-0001", 5), Entry("alive-001", 5)])
    assert store.index.remove_expired([Entry("dead-0001", 5)], [(Entry("alive-001", 5), 900)]) == 1
    assert scores(store) == {"alive-001": 900}


def test_settling_leaves_entries_alone_that_moved_on_meanwhile(store: CheckoutStore) -> None:
    store.index.add([Entry("moved-001", 700), Entry("moved-002", 700)])
    assert store.index.remove_expired([Entry("moved-001", 5)], [(Entry("moved-002", 5), 6)]) == 0
    assert scores(store) == {"moved-001": 700, "moved-002": 700}


def test_settling_enters_nothing(store: CheckoutStore) -> None:
    assert store.index.remove_expired([Entry("gone-0001", 5)], [(Entry("gone-0002", 5), 900)]) == 0
    assert scores(store) == {}


def test_writing_moves_an_entry_forward_and_never_backwards(store: CheckoutStore, clock: ManualClock) -> None:
    store.create({}, checkout_id="session-1")
    first = scores(store)["session-1"]
    clock.advance(60)
    store.update("session-1", {"a": 1})
    assert scores(store)["session-1"] == first + 60_000
    clock.advance(-120)
    store.update("session-1", {"a": 2})
    assert scores(store)["session-1"] == first + 60_000


def test_reading_does_not_touch_the_index(store: CheckoutStore, clock: ManualClock) -> None:
    store.create({}, checkout_id="session-1")
    before = scores(store)
    clock.advance(60)
    store.get("session-1")
    store.get("session-1")
    assert scores(store) == before


def test_count_knows_who_slid_on_and_who_died(store: CheckoutStore, clock: ManualClock) -> None:
    for number in range(3):
        store.create({}, checkout_id=f"session-{number}")
    clock.advance(3600)  # all entries are due now, and the keys still live by Redis' own clock
    evict(store, "session-0")
    store.create({}, checkout_id="session-3")
    assert store.index.count(clock.milliseconds) == Count(3, TierName.REDIS)


def test_count_says_when_it_was_cut_short(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_index, "COUNTED_DUE", 10)
    store.index.add([Entry(f"session-{number:05}", LONG_AGO) for number in range(600)])
    assert not store.index.count(LONG_AGO).exact


# What Redis lost, and what else lies there


@pytest.mark.parametrize("lost", ["index", "index and keys", "keys"])
def test_what_redis_lost_is_listed_once(store: CheckoutStore, lost: str) -> None:
    store.create({}, checkout_id="session-1")
    store.create({}, checkout_id="session-2")
    store.notes.write_down()
    if "index" in lost:
        store.redis.ask(("DEL", INDEX))
    if "keys" in lost:
        evict(store, "session-1")
    if lost == "index and keys":
        evict(store, "session-2")
    assert sorted(sighting.checkout_id for sighting in store.admin.iterate()) == ["session-1", "session-2"]
    assert store.admin.count().number == 2


def test_members_that_are_no_text_survive(store: CheckoutStore) -> None:
    store.redis.ask(("SADD", INDEX, b"\xff\xfe-id", "session-1"))
    assert sorted(ids(store.index)) == ["session-1", "\udcff\udcfe-id"]
    adopt(store)
    assert sorted(store.redis.ask(("ZRANGE", INDEX, 0, -1))) == [b"session-1", b"\xff\xfe-id"]
    assert sorted(ids(store.index)) == ["session-1", "\udcff\udcfe-id"]
