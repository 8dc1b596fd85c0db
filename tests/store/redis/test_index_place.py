"""Where our index lies: beside an older program's SET, beside somebody else's key, or at its own place."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import fakeredis
import pytest
import redis

from checkout_cli.config.settings import Settings
from checkout_cli.errors import RedisUnavailable, WrongKeyType
from checkout_cli.keys import INDEX, INDEX_ASIDE, INDEX_BESIDE
from checkout_cli.session import TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.records import Count
from checkout_cli.store.redis import index as redis_index
from checkout_cli.store.redis.commands import SCRIPTS, Command
from checkout_cli.store.redis.connection import translated
from checkout_cli.store.redis.index import Entry
from checkout_cli.store.redis.index_moves import Adopted, IndexMoves
from checkout_cli.store.redis.index_place import Entering, IndexChange, IndexPlace, Place
from tests.support.servers import ValkeyServer
from tests.support.stores import count_calls, evict, put_raw, redis_away, without_database

FOREIGN = b'{"checkoutId":"x","subtotal":1}'
OURS = "session-0001"
SOMEBODYS: dict[str, Callable[[Any], object]] = {
    "a sorted set of small numbers": lambda client: client.zadd(INDEX, {"alice-0001": 3, "bob-000001": 7}),
    "a sorted set of moments in seconds": lambda client: client.zadd(INDEX, {"alice-0001": time.time()}),
    "a sorted set of what are no ids of ours": lambda client: client.zadd(INDEX, {"a@shop.example": _now()}),
    "a sorted set of moments in a year": lambda client: client.zadd(INDEX, {"alice-0001": _now() + 365 * 86_400_000}),
    "a sorted set without an end": lambda client: client.zadd(INDEX, {"alice-0001": float("inf")}),
    "a string": lambda client: client.set(INDEX, "somebody's own"),
    "a list": lambda client: client.rpush(INDEX, OURS),
    "a hash": lambda client: client.hset(INDEX, OURS, "x"),
}


def _now() -> float:
    return time.time() * 1000


@pytest.fixture
def client(valkey: ValkeyServer) -> Any:
    with valkey.client() as opened:
        yield opened


def ids(raw: Any) -> set[str]:
    return {member.decode() for member in raw}


# What is there


class Unit:
    """An index place on fakeredis, and what it was asked."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.client = fakeredis.FakeRedis(protocol=2)
        self.client.response_callbacks.clear()  # the store reads replies as they come
        self.asked: list[Command] = []
        self._settings = settings or Settings()
        for script in SCRIPTS.values():
            self.client.script_load(script.text)
        self.place = IndexPlace(self.ask_all, max_age=86_400, is_cluster=False)

    def ask_all(self, *commands: Command, lenient: bool = False) -> list[Any]:
        assert lenient or len(commands) == 1
        self.asked += commands
        replies: list[Any] = []
        for command in commands:
            try:
                replies.append(self.client.execute_command(*command))
            except redis.ResponseError as error:
                replies.append(translated(error, self._settings))
        if not lenient and isinstance(replies[0], Exception):
            raise replies[0]
        return replies


@pytest.fixture
def unit() -> Unit:
    return Unit()


def test_where_nothing_is_our_index_is_at_its_own_place(unit: Unit) -> None:
    layout = unit.place.find()
    assert (layout.place, layout.key, layout.is_empty) == (Place.OWN, INDEX, True)


@pytest.mark.parametrize(
    "score",
    [1_000_000_000_001, _now() - 86_400_000 * 400, _now(), _now() + 86_400_000],
    ids=["2001", "a year ago", "now", "tomorrow"],  # the same in every process that runs a part of the tests
)
def test_a_sorted_set_of_ids_with_moments_is_ours(unit: Unit, score: float) -> None:
    unit.client.zadd(INDEX, {OURS: score})
    layout = unit.place.find()
    assert (layout.place, layout.has_ours, dict(layout.others)) == (Place.OWN, True, {})


def test_a_few_odd_entries_do_not_take_our_index_from_us(unit: Unit) -> None:
    unit.client.zadd(INDEX, {f"session-{number:04}": _now() for number in range(4)})
    unit.client.zadd(INDEX, {"odd": 1, "b@x": 2, "": 3, "\n": 4})
    assert unit.place.find().place is Place.OWN
    unit.client.zremrangebyrank(INDEX, -1, -1)
    assert unit.place.find().place is Place.BESIDE_OTHER  # most of it is not


@pytest.mark.parametrize("what", SOMEBODYS)
def test_what_is_neither_ours_nor_a_set_is_somebody_elses(unit: Unit, what: str) -> None:
    SOMEBODYS[what](unit.client)
    layout = unit.place.find()
    assert (layout.place, layout.key, layout.is_empty) == (Place.BESIDE_OTHER, INDEX_BESIDE, True)


def test_a_set_is_an_older_programs_and_stays_its_place_when_it_is_empty(unit: Unit) -> None:
    unit.client.sadd(INDEX, OURS)
    layout = unit.place.find()
    assert (layout.place, layout.key, dict(layout.others)) == (Place.BESIDE_SET, INDEX_BESIDE, {INDEX: "set"})
    unit.client.zadd(INDEX_BESIDE, {OURS: _now()})
    unit.client.srem(INDEX, OURS)
    layout = unit.place.find()
    assert (layout.place, layout.kind, layout.has_ours, dict(layout.others)) == (Place.BESIDE_SET, "none", True, {})


def test_what_a_move_has_left_is_known(unit: Unit) -> None:
    unit.client.zadd(INDEX, {OURS: _now()})
    unit.client.zadd(INDEX_BESIDE, {"session-0002": _now()})
    unit.client.sadd(INDEX_ASIDE, "session-0003")
    layout = unit.place.find()
    assert layout.place is Place.OWN
    assert dict(layout.others) == {INDEX_BESIDE: "zset", INDEX_ASIDE: "set"}


def test_somebody_elses_key_beside_is_named_where_we_need_its_place_and_only_there(unit: Unit) -> None:
    unit.client.set(INDEX_BESIDE, "x")
    assert unit.place.find().place is Place.OWN
    unit.client.sadd(INDEX, OURS)
    with pytest.raises(WrongKeyType, match=r"checkout:expiry:\{checkout:index\} holds a string, not an index"):
        unit.place.find()


def test_the_place_is_looked_for_once(unit: Unit) -> None:
    for _ in range(3):
        unit.place.entering(IndexChange(OURS, 5))
    assert len(unit.asked) == 5


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (lambda _: None, {INDEX: "zset"}),
        (lambda client: client.sadd(INDEX, "another-01"), {INDEX: "set", INDEX_BESIDE: "zset"}),
        (lambda client: client.set(INDEX, "x"), {INDEX: "string", INDEX_BESIDE: "zset"}),
    ],
)
@pytest.mark.parametrize("believed", list(Place))
def test_whatever_a_writer_believes_the_session_ends_up_where_it_belongs(
    unit: Unit, believed: Place, made: Callable[[Any], object], expected: dict[str, str]
) -> None:
    if believed is Place.BESIDE_SET:
        unit.client.sadd(INDEX, "another-01")
    elif believed is Place.BESIDE_OTHER:
        unit.client.set(INDEX, "x")
    assert unit.place.find().place is believed
    unit.client.flushdb()
    made(unit.client)
    for change in (IndexChange(OURS, int(_now())), IndexChange("session-0002", int(_now()))):
        entering = unit.place.entering(change)
        unit.place.check(entering, unit.ask_all(*entering.commands, lenient=True))
    if believed is not Place.OWN and expected == {INDEX: "zset"}:
        expected = {INDEX: "set", INDEX_BESIDE: "zset"}  # where nothing is left at all, the first writer decides
    assert {key.decode(): unit.client.type(key).decode() for key in unit.client.keys("*")} == expected
    ours = INDEX_BESIDE if INDEX_BESIDE in expected else INDEX
    assert ids(unit.client.zrange(ours, 0, -1)) == {OURS, "session-0002"}
    entering = unit.place.entering(IndexChange(OURS, None))
    unit.place.check(entering, unit.ask_all(*entering.commands, lenient=True))
    assert ids(unit.client.zrange(ours, 0, -1)) == {"session-0002"}
    if expected[INDEX] == "set":
        assert ids(unit.client.smembers(INDEX)) - {"another-01"} == {"session-0002"}


def test_an_index_that_is_moved_again_and_again_leaves_the_session_to_a_clean_up(
    unit: Unit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    unit.place.find()
    ask_all = unit.ask_all
    refused = [0]
    monkeypatch.setattr(
        unit.place, "_ask_all", lambda *some, **_: refused if len(some) == 1 else ask_all(*some, lenient=True)
    )
    unit.place.check(unit.place.entering(IndexChange(OURS, 5)), [WrongKeyType("x")])
    assert "stays without its entry in the index: checkout:index was moved 3 times in a row" in caplog.text
    assert OURS not in caplog.text


# A shop beside an older program


def sadd(client: redis.Redis, *names: str) -> None:
    """What an older program does for a new session."""
    for name in names:
        client.set(f"checkout:session:{name}", FOREIGN, ex=1800)
        client.sadd(INDEX, name)


def listed(store: CheckoutStore) -> list[str]:
    return sorted(sighting.checkout_id for sighting in store.admin.iterate())


def test_a_set_stays_a_set_that_works_and_ours_lies_beside_it(store: CheckoutStore, client: redis.Redis) -> None:
    sadd(client, "older-0001")
    store.create({}, checkout_id=OURS)
    store.update(OURS, {"a": 1})
    assert ids(client.smembers(INDEX)) == {"older-0001", OURS}
    assert ids(client.zrange(INDEX_BESIDE, 0, -1)) == {OURS}
    sadd(client, "older-0002")
    assert client.srem(INDEX, "older-0001") == 1
    assert ids(client.smembers(INDEX)) == {"older-0002", OURS}
    store.delete(OURS)
    assert ids(client.smembers(INDEX)) == {"older-0002"}
    assert not client.exists(INDEX_BESIDE)


def test_what_an_older_program_adds_is_listed_and_counted_at_once(store: CheckoutStore, client: redis.Redis) -> None:
    sadd(client, "older-0001", "older-0002")
    assert (listed(store), store.admin.count().number) == (["older-0001", "older-0002"], 2)
    store.create({}, checkout_id=OURS)
    sadd(client, "older-0003")
    assert listed(store) == ["older-0001", "older-0002", "older-0003", OURS]
    count = store.index.count(store.clock.wall())
    assert (count.number, count.exact) == (4, True)


def test_an_older_program_that_empties_its_set_can_begin_it_again(store: CheckoutStore, client: redis.Redis) -> None:
    sadd(client, "older-0001")
    store.create({}, checkout_id=OURS)
    client.srem(INDEX, "older-0001", OURS)
    assert client.sadd(INDEX, "older-0002") == 1
    store.create({}, checkout_id="session-0002")
    assert ids(client.smembers(INDEX)) == {"older-0002", "session-0002"}
    assert store.index.layout().place is Place.BESIDE_SET


@pytest.mark.parametrize("what", ["a set", "a string"])
def test_a_write_costs_no_further_round_trip(
    store: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    trips = count_calls(store.redis, "exchange", monkeypatch)

    def of_an_update() -> int:
        begun = len(trips)
        store.update(OURS, {"a": begun})
        return len(trips) - begun

    store.create({}, checkout_id=OURS)
    at_its_own_place = of_an_update()
    client.delete(INDEX)
    if what == "a set":
        sadd(client, "older-0001")
    else:
        client.set(INDEX, "x")
    store.redis.index_place.find()
    assert of_an_update() == at_its_own_place
    assert client.zscore(INDEX_BESIDE, OURS)


def test_many_are_published_beside_a_set_in_one_round_trip(
    store: CheckoutStore, another: Callable[..., CheckoutStore], client: redis.Redis
) -> None:
    names = [f"session-{number:04}" for number in range(5)]
    for name in names:
        store.create({}, checkout_id=name)
        evict(store, name)
    client.delete(INDEX)
    sadd(client, "older-0001")
    claims = store.redis.claim_all(names)
    records = [store.database.read(name) for name in names]
    pairs = [(record, claims[record.checkout_id]) for record in records if record is not None]
    assert store.publisher.publish_all(pairs) == ["set"] * 5
    assert ids(client.zrange(INDEX_BESIDE, 0, -1)) == set(names)
    assert ids(client.smembers(INDEX)) == {"older-0001", *names}


def test_without_the_database_both_are_kept_too(
    another: Callable[..., CheckoutStore], settings: Settings, client: redis.Redis
) -> None:
    sadd(client, "older-0001")
    with another(without_database(settings)) as alone:
        alone.create({}, checkout_id=OURS)
        assert ids(client.smembers(INDEX)) == {"older-0001", OURS}
        assert ids(client.zrange(INDEX_BESIDE, 0, -1)) == {OURS}


# Somebody else's


@pytest.mark.parametrize("what", SOMEBODYS)
def test_somebody_elses_key_stays_as_it_is_byte_for_byte(
    store: CheckoutStore, another: Callable[..., CheckoutStore], client: redis.Redis, what: str
) -> None:
    SOMEBODYS[what](client)
    before = client.dump(INDEX)
    for name in (OURS, "session-0002"):
        assert store.create({"a": 1}, checkout_id=name).published
    store.update(OURS, {"a": 2})
    store.delete("session-0002")
    put_raw(store, "foreign-01", FOREIGN)
    store.index.add([Entry("foreign-01", _now())])
    assert another().get(OURS).fields["a"] == 2
    assert listed(store) == ["foreign-01", OURS]
    assert (store.admin.count().number, store.index.count(store.clock.wall()).number) == (2, 2)
    store.index.remove_expired([Entry("alice-0001", _now())], [(Entry(OURS, 0), int(_now() + 10**6))])
    store.index.remove_entries([Entry("alice-0001", 3)])
    store.index.remove(["alice-0001", "foreign-01"])
    assert client.dump(INDEX) == before
    assert ids(client.zrange(INDEX_BESIDE, 0, -1)) == {OURS}


def test_without_the_look_at_its_entries_somebody_elses_sorted_set_would_be_written_to(
    store: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    monkeypatch.setattr(IndexPlace, "_is_ours", lambda *_: True)
    client.zadd(INDEX, {"alice-0001": 3})
    before = client.dump(INDEX)
    store.create({}, checkout_id=OURS)
    assert client.dump(INDEX) != before


def test_where_no_place_is_left_sessions_work_without_an_index(store: CheckoutStore, client: redis.Redis) -> None:
    client.set(INDEX, "x")
    client.set(INDEX_BESIDE, "y")
    assert store.create({"a": 1}, checkout_id=OURS).published
    assert store.get(OURS).fields["a"] == 1
    assert store.admin.count().number == 1
    store.delete(OURS)
    assert (client.get(INDEX), client.get(INDEX_BESIDE)) == (b"x", b"y")


# Moved meanwhile, by another process


def adopt(store: CheckoutStore) -> None:
    moves = IndexMoves(store.redis, store.index)
    assert moves.adopt() is Adopted.ADOPTED
    list(moves.finish(store.redis.time()))


@pytest.fixture
def second(store: CheckoutStore, another: Callable[..., CheckoutStore]) -> CheckoutStore:
    return another()


def test_a_process_that_has_not_heard_of_an_adoption_leaves_nothing_beside(
    store: CheckoutStore, second: CheckoutStore, client: redis.Redis
) -> None:
    sadd(client, "older-0001")
    store.create({}, checkout_id=OURS)
    assert store.redis.index_place.known().place is Place.BESIDE_SET
    adopt(second)
    store.create({}, checkout_id="session-0002")
    assert ids(client.zrange(INDEX, 0, -1)) == {"older-0001", OURS, "session-0002"}
    assert ids(client.keys("checkout:*index*")) == {INDEX}
    assert store.redis.index_place.known().place is Place.OWN


def test_a_deletion_by_such_a_process_takes_the_entry_out(
    store: CheckoutStore, second: CheckoutStore, client: redis.Redis
) -> None:
    sadd(client, "older-0001")
    store.create({}, checkout_id=OURS)
    adopt(second)
    store.delete(OURS)
    assert ids(client.zrange(INDEX, 0, -1)) == {"older-0001"}


def test_a_process_that_has_not_heard_of_an_older_program_begins_no_index_over_its_set(
    store: CheckoutStore, client: redis.Redis
) -> None:
    assert store.redis.index_place.find().place is Place.OWN
    sadd(client, "older-0001")
    store.create({}, checkout_id=OURS)
    assert ids(client.smembers(INDEX)) == {"older-0001", OURS}
    assert ids(client.zrange(INDEX_BESIDE, 0, -1)) == {OURS}


def test_without_the_look_at_the_replies_a_session_would_be_left_beside(
    store: CheckoutStore, second: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the tests above."""
    sadd(client, "older-0001")
    store.create({}, checkout_id=OURS)
    adopt(second)
    monkeypatch.setattr(IndexPlace, "check", lambda *_: None)
    store.create({}, checkout_id="session-0002")
    assert ids(client.zrange(INDEX_BESIDE, 0, -1)) == {"session-0002"}
    assert "session-0002" not in ids(client.zrange(INDEX, 0, -1))


def test_when_somebody_else_has_left_and_ours_is_put_there_every_process_follows(
    store: CheckoutStore, second: CheckoutStore, client: redis.Redis
) -> None:
    client.set(INDEX, "x")
    store.create({}, checkout_id=OURS)
    assert store.redis.index_place.known().place is Place.BESIDE_OTHER
    client.delete(INDEX)
    adopt(second)
    store.create({}, checkout_id="session-0002")
    assert ids(client.zrange(INDEX, 0, -1)) == {OURS, "session-0002"}
    assert not client.exists(INDEX_BESIDE)


def test_what_a_process_that_died_has_left_beside_is_listed_counted_and_brought_over(
    store: CheckoutStore, client: redis.Redis
) -> None:
    store.create({}, checkout_id=OURS)
    store.create({}, checkout_id="session-0002")
    client.zrem(INDEX, "session-0002")
    client.zadd(INDEX_BESIDE, {"session-0002": _now(), OURS: 1})
    moment = client.zscore(INDEX, OURS)
    assert listed(store) == [OURS, "session-0002"]
    assert store.index.count(store.clock.wall()).number == 2
    store.index.absorb()
    assert not client.exists(INDEX_BESIDE)
    assert ids(client.zrange(INDEX, 0, -1)) == {OURS, "session-0002"}
    assert client.zscore(INDEX, OURS) == moment  # never earlier than it was


def test_in_a_cluster_whose_server_of_the_index_is_away_a_session_is_written_without_an_entry(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    place = IndexPlace(redis_away, max_age=86_400, is_cluster=True)
    entering = place.entering(IndexChange(OURS, 5))
    assert entering.commands == ()
    place.check(entering, [])
    known = Entering(IndexChange(OURS, 5), Place.OWN, (("ZADD",),))
    place.check(known, [RedisUnavailable("away")])
    place.check(known, [WrongKeyType("moved, and then away")])
    assert caplog.text.count("stays without its entry") == 3
    with pytest.raises(RedisUnavailable):
        IndexPlace(redis_away, max_age=86_400, is_cluster=False).entering(IndexChange(OURS, 5))


# A SET with very many members


def test_a_count_looks_at_a_bounded_number_of_members_and_says_so(
    store: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.sadd(INDEX, *(f"leaked-{number:05}" for number in range(9000)))
    store.create({}, checkout_id=OURS)
    assert store.index.count(store.clock.wall()) == Count(1, TierName.REDIS)
    monkeypatch.setattr(redis_index, "COUNTED_DUE", 4000)
    asked = count_calls(store.redis, "exchange", monkeypatch)
    count = store.index.count(store.clock.wall())
    assert (count.number, count.exact) == (1, False)
    assert len(asked) < 20
    monkeypatch.setattr(redis_index, "COUNTED_DUE", 20_000)
    monkeypatch.setattr(redis_index, "COUNTED_MEMBERS", 4000)
    assert not store.index.count(store.clock.wall()).exact
    assert next(store.index.newest()) == [OURS]  # the first page of a list does not wait for the SET


def test_a_large_set_is_listed_page_by_page_and_each_member_once(store: CheckoutStore, client: redis.Redis) -> None:
    names = [f"older-{number:05}" for number in range(9000)]
    client.sadd(INDEX, *names)
    store.index.layout()
    store.index.add([Entry(name, _now() + 1000) for name in names[:4000]])
    pages = list(store.index.newest())
    assert max(map(len, pages)) < 2 * redis_index.LOOKED_AT
    assert sorted(name for page in pages for name in page) == names
