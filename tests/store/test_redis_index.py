from __future__ import annotations

from collections.abc import Callable
from itertools import chain

import pytest

from checkout_cli.errors import WrongKeyType
from checkout_cli.keys import INDEX, LEGACY_INDEX
from checkout_cli.session import TierName
from checkout_cli.store import redis_index
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.records import Count
from checkout_cli.store.redis_index import Entry, RedisIndex
from tests.store.support import ManualClock, evict, put_raw

FOREIGN = b'{"checkoutId":"x","subtotal":1}'


@pytest.fixture
def index(store: CheckoutStore) -> RedisIndex:
    return store.index


def ids(index: RedisIndex) -> list[str]:
    return list(chain.from_iterable(index.newest()))


def add_legacy(store: CheckoutStore, *names: str, key: str = INDEX) -> None:
    store.redis.ask(("SADD", key, *names))


def adopt(store: CheckoutStore) -> int:
    return sum(store.index.adopt_legacy(store.redis.time()))


def scores(store: CheckoutStore) -> dict[str, float]:
    return {entry.checkout_id: entry.score for entry in store.index.due(10**15, limit=100_000)}


def test_the_newest_come_first(store: CheckoutStore, clock: ManualClock) -> None:
    for number in range(3):
        clock.advance(1)
        store.create({}, checkout_id=f"session-{number}")
    assert ids(store.index) == ["session-2", "session-1", "session-0"]


def test_pages_miss_and_repeat_nothing(index: RedisIndex) -> None:
    names = [f"session-{number:05}" for number in range(redis_index.PAGE * 2 + 3)]
    index.enter([Entry(name, float(number)) for number, name in enumerate(names)])
    assert [len(page) for page in index.newest() if page] == [redis_index.PAGE, redis_index.PAGE, 3]
    assert ids(index) == names[::-1]


def test_a_session_that_is_created_between_two_pages_repeats_nothing(index: RedisIndex) -> None:
    index.enter([Entry(f"session-{number:05}", float(number)) for number in range(redis_index.PAGE + 5)])
    pages = index.newest()
    seen = next(pages)
    index.enter([Entry("session-newer", 10.0**12)])
    seen += chain.from_iterable(pages)
    assert sorted(seen) == sorted(set(seen))
    assert len(seen) == redis_index.PAGE + 5


def test_a_session_that_ends_between_two_pages_hides_no_other(index: RedisIndex) -> None:
    index.enter([Entry(f"session-{number:05}", float(number)) for number in range(redis_index.PAGE + 5)])
    pages = index.newest()
    seen = next(pages)
    index.settle([Entry(name, 10.0**12) for name in seen[:3]], [])
    seen += chain.from_iterable(pages)
    assert len(set(seen)) == redis_index.PAGE + 5


def test_settling_takes_the_dead_out_and_moves_the_living(store: CheckoutStore) -> None:
    store.index.enter([Entry("dead-0001", 5), Entry("alive-001", 5)])
    assert store.index.settle([Entry("dead-0001", 5)], [(Entry("alive-001", 5), 900)]) == 1
    assert scores(store) == {"alive-001": 900}


def test_settling_leaves_entries_alone_that_moved_on_meanwhile(store: CheckoutStore) -> None:
    store.index.enter([Entry("moved-001", 700), Entry("moved-002", 700)])
    assert store.index.settle([Entry("moved-001", 5)], [(Entry("moved-002", 5), 6)]) == 0
    assert scores(store) == {"moved-001": 700, "moved-002": 700}


def test_settling_enters_nothing(store: CheckoutStore) -> None:
    assert store.index.settle([Entry("gone-0001", 5)], [(Entry("gone-0002", 5), 900)]) == 0
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
    store.index.enter([Entry(f"session-{number}", 5) for number in range(600)])
    assert not store.index.count(1000).exact


# A legacy SET


def test_a_legacy_set_is_read_as_it_is(store: CheckoutStore) -> None:
    add_legacy(store, "alive-001", "dead-0001")
    put_raw(store, "alive-001", FOREIGN)
    assert sorted(ids(store.index)) == ["alive-001", "dead-0001"]
    assert store.index.count(0) == Count(1, TierName.REDIS)
    assert store.index.kind() == "set"


def test_a_legacy_set_is_adopted_without_losing_a_member(store: CheckoutStore) -> None:
    names = [f"legacy-{number:06}" for number in range(3000)]
    for start in range(0, 3000, 1000):
        add_legacy(store, *names[start : start + 1000])
    assert adopt(store) == 3000
    assert sorted(ids(store.index)) == names
    assert store.index.kind() == "zset"
    assert store.redis.ask(("EXISTS", LEGACY_INDEX)) == 0


def test_an_interrupted_adoption_shows_every_session_once_and_is_taken_up_again(store: CheckoutStore) -> None:
    names = [f"legacy-{number:06}" for number in range(3000)]
    for start in range(0, 3000, 1000):
        add_legacy(store, *names[start : start + 1000])
    adoption = store.index.adopt_legacy(store.redis.time())
    assert 0 < next(adoption) < 3000
    adoption.close()
    assert sorted(ids(store.index)) == names
    adopt(store)
    assert sorted(ids(store.index)) == names
    assert store.redis.ask(("EXISTS", LEGACY_INDEX)) == 0


def test_a_second_set_that_appears_during_an_adoption_is_adopted_too(store: CheckoutStore) -> None:
    names = [f"legacy-{number:06}" for number in range(1500)]
    add_legacy(store, *names[:1000])
    adoption = store.index.adopt_legacy(store.redis.time())
    next(adoption)
    adoption.close()
    store.redis.ask(("DEL", INDEX))  # an older program's set-up removes what it does not know, and begins again
    add_legacy(store, *names[1000:])
    assert sorted(ids(store.index)) == names
    adopt(store)
    assert sorted(ids(store.index)) == names
    assert store.index.kind() == "zset"


def test_an_adopted_entry_that_is_in_the_sorted_set_already_keeps_its_expiry(store: CheckoutStore) -> None:
    add_legacy(store, "session-1", "session-2", key=LEGACY_INDEX)
    store.index.enter([Entry("session-1", 10.0**14)])
    assert adopt(store) == 1
    assert scores(store)["session-1"] == 10.0**14


def test_our_own_sessions_beside_a_legacy_set_are_listed_once(store: CheckoutStore) -> None:
    put_raw(store, "legacy-01", FOREIGN)
    add_legacy(store, "legacy-01")
    store.create({}, checkout_id="session-1")
    store.hand_over.write_down()
    assert sorted(sighting.checkout_id for sighting in store.iterate()) == ["legacy-01", "session-1"]
    add_legacy(store, "session-1", key=LEGACY_INDEX)
    assert sorted(sighting.checkout_id for sighting in store.iterate()) == ["legacy-01", "session-1"]
    assert store.count().number == 2


@pytest.mark.parametrize("lost", ["index", "index and keys", "keys"])
def test_what_redis_lost_is_listed_once(store: CheckoutStore, lost: str) -> None:
    store.create({}, checkout_id="session-1")
    store.create({}, checkout_id="session-2")
    store.hand_over.write_down()
    if "index" in lost:
        store.redis.ask(("DEL", INDEX))
    if "keys" in lost:
        evict(store, "session-1")
    if lost == "index and keys":
        evict(store, "session-2")
    assert sorted(sighting.checkout_id for sighting in store.iterate()) == ["session-1", "session-2"]
    assert store.count().number == 2


def test_something_that_is_no_index_is_named(store: CheckoutStore) -> None:
    store.redis.ask(("SET", INDEX, "hello"))
    with pytest.raises(WrongKeyType, match="checkout:index holds a string"):
        ids(store.index)
    with pytest.raises(WrongKeyType, match="checkout:index holds a string"):
        store.index.count(0)


def test_something_that_is_no_index_does_not_hinder_sessions(
    store: CheckoutStore, another: Callable[..., CheckoutStore]
) -> None:
    store.redis.ask(("SET", INDEX, "hello"))
    assert store.create({"a": 1}, checkout_id="session-1").published
    assert store.update("session-1", {"a": 2}).published
    assert another().get("session-1").fields["a"] == 2
    store.delete("session-1")
    assert store.redis.ask(("GET", INDEX)) == b"hello"


def test_members_that_are_no_text_survive(store: CheckoutStore) -> None:
    store.redis.ask(("SADD", INDEX, b"\xff\xfe-id"))
    adopt(store)
    assert store.redis.ask(("ZRANGE", INDEX, 0, -1)) == [b"\xff\xfe-id"]
    assert ids(store.index) == ["\udcff\udcfe-id"]
