"""Our index at its own place once an older program is retired, and beside a SET again when one comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import redis

from checkout_cli.commands.cleanup.expired import clean_up
from checkout_cli.commands.sessions.index_adoption import AdoptionReport, StillInUse, adopt_index
from checkout_cli.errors import ExitCode, Locked, RedisUnavailable
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.jobs.job_lock import job_lock
from checkout_cli.keys import INDEX, INDEX_ASIDE, INDEX_BESIDE, session_key
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis import index_moves
from checkout_cli.store.redis.admin import FIRST_CURSOR
from checkout_cli.store.redis.index_moves import IndexMoves
from checkout_cli.store.redis.index_place import Place
from tests.support.divergence import note_seen
from tests.support.servers import ValkeyServer
from tests.support.stores import LONG_AGO, database_away, make_store

DAY = 86_400_000


@pytest.fixture
def client(valkey: ValkeyServer) -> Iterator[redis.Redis]:
    with valkey.client() as opened:
        yield opened


def sadd(client: redis.Redis, *names: str) -> None:
    """What an older program does for new sessions."""
    for name in names:
        client.set(session_key(name), b'{"totalAmount":1}', px=600_000)
        client.sadd(INDEX, name)


def adopt(store: CheckoutStore, run: BoundedRun | None = None, **options: Any) -> AdoptionReport:
    return adopt_index(store, run, agreed=lambda _: True, **options)


def ids(raw: Any) -> set[str]:
    return {member.decode() for member in raw}


def index_keys(client: redis.Redis) -> set[str]:
    return ids(client.keys("checkout:*index*"))


def listed(store: CheckoutStore) -> list[str]:
    return sorted(sighting.checkout_id for sighting in store.admin.iterate())


def test_the_set_goes_and_no_session_loses_its_entry(store: CheckoutStore, client: redis.Redis) -> None:
    store.create({}, checkout_id="session-01")
    client.rename(INDEX, INDEX_BESIDE)
    sadd(client, "older-0001", "older-0002")
    client.sadd(INDEX, "session-01", "leaked-001")
    moment = client.zscore(INDEX_BESIDE, "session-01")
    report = adopt(store)
    assert (report.done, report.finished, report.exit_code) == (True, True, ExitCode.OK)
    assert (report.members, report.entries, report.taken.entered, report.taken.removed) == (4, 1, 2, 1)
    assert index_keys(client) == {INDEX}
    assert ids(client.zrange(INDEX, 0, -1)) == {"session-01", "older-0001", "older-0002"}
    assert client.zscore(INDEX, "session-01") == moment
    assert 0 < (client.zscore(INDEX, "older-0001") or 0) - store.clock.wall() <= 600_000
    again = adopt(store)
    assert (again.done, again.is_needed, again.exit_code) == (False, False, ExitCode.OK)


def test_it_is_asked_for_and_a_refusal_changes_nothing(store: CheckoutStore, client: redis.Redis) -> None:
    sadd(client, "older-0001")
    shown: list[AdoptionReport] = []

    def refuse(report: AdoptionReport) -> bool:
        shown.append(report)
        return False

    assert not adopt_index(store, agreed=refuse).done
    assert [report.members for report in shown] == [1]
    assert client.smembers(INDEX) == {b"older-0001"}


@pytest.mark.parametrize(("age", "refused"), [(0, True), (DAY - 60_000, True), (DAY + 60_000, False), (None, False)])
def test_while_another_program_was_seen_within_a_day_it_needs_force(
    store: CheckoutStore, client: redis.Redis, age: int | None, refused: bool
) -> None:
    if age is not None:
        note_seen(store, store.clock.wall() - age)
    sadd(client, "older-0001")
    if refused:
        with pytest.raises(StillInUse) as raised:
            adopt(store)
        assert raised.value.exit_code is ExitCode.FINDING
        assert "--force" in raised.value.hint
        assert client.smembers(INDEX) == {b"older-0001"}
    assert adopt(store, force=refused).finished
    assert client.type(INDEX) == b"zset"


def test_somebody_elses_key_is_left_alone(store: CheckoutStore, client: redis.Redis) -> None:
    client.zadd(INDEX, {"alice-0001": 3})
    before = client.dump(INDEX)
    store.create({}, checkout_id="session-01")
    report = adopt(store)
    assert (report.done, report.exit_code) == (False, ExitCode.FINDING)
    assert client.dump(INDEX) == before
    assert ids(client.zrange(INDEX_BESIDE, 0, -1)) == {"session-01"}


def test_when_its_owner_has_taken_it_away_ours_is_put_there(store: CheckoutStore, client: redis.Redis) -> None:
    client.set(INDEX, "x")
    store.create({}, checkout_id="session-01")
    client.delete(INDEX)
    assert adopt(store).finished
    assert index_keys(client) == {INDEX}
    assert ids(client.zrange(INDEX, 0, -1)) == {"session-01"}


def test_it_never_runs_beside_a_clean_up(store: CheckoutStore, client: redis.Redis) -> None:
    sadd(client, "older-0001")
    with job_lock(store, "cleanup", "somebody"), pytest.raises(Locked):
        adopt(store)


def test_without_redis_it_is_unavailable(store: CheckoutStore) -> None:
    with make_store(replace(store.settings, redis_port=1)) as cut_off, pytest.raises(RedisUnavailable):
        adopt(cut_off)


def test_without_the_database_nothing_is_taken_for_dead(
    store: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    sadd(client, "older-0001")
    client.sadd(INDEX, "perhaps-01")
    monkeypatch.setattr(store.database, "expiries", database_away)
    assert adopt(store).finished
    assert ids(client.zrange(INDEX, 0, -1)) == {"older-0001", "perhaps-01"}


# Interrupted


def many(client: redis.Redis, number: int) -> list[str]:
    names = [f"older-{place:05}" for place in range(number)]
    pipeline = client.pipeline()
    for name in names:
        pipeline.set(session_key(name), b'{"totalAmount":1}', px=600_000)
    pipeline.sadd(INDEX, *names)
    pipeline.execute()
    return names


@pytest.mark.parametrize("finisher", [adopt, clean_up])
@pytest.mark.parametrize("steps", range(9))
def test_interrupted_anywhere_every_session_stays_listed_once_and_it_is_finished(
    store: CheckoutStore, client: redis.Redis, steps: int, finisher: Callable[[CheckoutStore], Any]
) -> None:
    names = many(client, 1200)

    class Killed(Exception):
        pass

    left = steps
    exchange = store.redis.exchange

    def until_killed(*commands: Any, **options: Any) -> Any:
        nonlocal left
        moves = any(str(command[0]) in {"EVALSHA", "ZADD", "SADD"} and INDEX in str(command) for command in commands)
        if moves:
            if not left:
                raise Killed
            left -= 1
        return exchange(*commands, **options)

    store.redis.exchange = until_killed  # type: ignore[method-assign]
    try:
        adopt(store)
        finished = True
    except Killed:
        finished = False
    store.redis.exchange = exchange  # type: ignore[method-assign]
    client.delete("checkout:lock:cleanup")
    assert listed(store) == names
    with make_store(store.settings) as another:
        finisher(another)
        if finisher is clean_up and another.index.layout().place is Place.BESIDE_SET:
            assert not finished  # a clean-up finishes an adoption, and begins none
            adopt(another)
        assert listed(another) == names
    assert index_keys(client) == {INDEX}
    assert ids(client.zrange(INDEX, 0, -1)) == set(names)


def test_it_stops_when_its_time_is_up_and_the_next_run_goes_on(
    store: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = many(client, 1200)
    ticks = iter(range(1000))
    with monkeypatch.context() as patch:
        patch.setattr(store, "clock", replace(store.clock, elapsed=lambda: float(next(ticks))))
        report = adopt(store, BoundedRun(store.clock, max_seconds=1.5))
    assert (report.finished, report.exit_code) == (False, ExitCode.FINDING)
    assert 0 < client.zcard(INDEX_BESIDE) < 1200
    assert client.type(INDEX) == b"set"
    read: list[str] = []
    member_page = store.index.member_page
    monkeypatch.setattr(store.index, "member_page", lambda cursor: read.append(cursor) or member_page(cursor))
    assert adopt(store).finished
    assert read[0] != FIRST_CURSOR, "it begins where the last one has stopped"
    assert ids(client.zrange(INDEX, 0, -1)) == set(names)


def test_a_set_that_was_put_aside_earlier_is_not_overwritten(store: CheckoutStore, client: redis.Redis) -> None:
    sadd(client, "older-0001")
    client.rename(INDEX, INDEX_ASIDE)
    sadd(client, "older-0002")
    assert IndexMoves(store.redis, store.index).adopt() == "waiting"
    assert (client.smembers(INDEX), client.smembers(INDEX_ASIDE)) == ({b"older-0002"}, {b"older-0001"})
    assert listed(store) == ["older-0001", "older-0002"]
    assert adopt(store).finished
    assert ids(client.zrange(INDEX, 0, -1)) == {"older-0001", "older-0002"}


def test_while_shops_and_an_older_program_write_no_session_is_ever_unlisted(
    store: CheckoutStore, client: redis.Redis, valkey: ValkeyServer
) -> None:
    many(client, 600)
    stop = threading.Event()
    alive: list[str] = []

    def shop(name: str) -> None:
        with make_store(store.settings) as its:
            number = 0
            while not stop.is_set():
                its.create({}, checkout_id=f"{name}-{number:05}")
                alive.append(f"{name}-{number:05}")
                if number % 3 == 0:
                    its.delete(alive.pop(alive.index(f"{name}-{number:05}")))
                number += 1

    def older() -> None:
        with valkey.client() as its:
            number = 0
            while not stop.is_set():
                name = f"beside-{number:05}"
                its.set(session_key(name), b'{"totalAmount":1}', px=600_000)
                try:
                    its.sadd(INDEX, name)
                    alive.append(name)
                except redis.ResponseError:
                    its.delete(session_key(name))  # nobody would know of it before a clean-up
                number += 1

    threads = [threading.Thread(target=shop, args=("first-0",)), threading.Thread(target=shop, args=("second",))]
    threads.append(threading.Thread(target=older))
    for thread in threads:
        thread.start()
    try:
        for _ in range(4):
            known = list(alive)
            assert adopt(store).finished
            assert not store.index.missing([name for name in known if name in alive])
            list(IndexMoves(store.redis, store.index).make_room())
            known = list(alive)
            assert not store.index.missing([name for name in known if name in alive])
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert len(alive) > 20
    assert adopt(store).finished
    assert index_keys(client) == {INDEX}
    assert not store.index.missing(alive)
    assert all(score is not None for score in store.index.scores(alive))


# Room for an older program that has come back


def test_an_older_program_gets_a_set_of_all_ids_and_ours_lies_beside_it(
    store: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_moves, "NEWEST", 3)
    names = [f"session-{number:02}" for number in range(8)]
    for name in names:
        store.create({}, checkout_id=name)
    moments = dict(client.zrange(INDEX, 0, -1, withscores=True))
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.sadd(INDEX, "older-0001")
    steps = IndexMoves(store.redis, store.index).make_room()
    assert next(steps) == 3
    assert client.type(INDEX) == b"set"
    sadd(client, "older-0001")  # it works from the first step on
    assert listed(store) == ["older-0001", *names]
    assert sum(steps) == 5
    assert ids(client.smembers(INDEX)) == {*names, "older-0001"}
    assert dict(client.zrange(INDEX_BESIDE, 0, -1, withscores=True)) == moments
    assert list(IndexMoves(store.redis, store.index).make_room()) == [0, 0]


def test_interrupted_it_goes_on_and_what_the_older_program_has_deleted_stays_out(
    store: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_moves, "NEWEST", 1)
    names = [f"session-{number:02}" for number in range(4)]
    for name in names:
        store.create({}, checkout_id=name)
    list(islice(IndexMoves(store.redis, store.index).make_room(), 1))
    client.delete(session_key(names[0]))
    assert sum(IndexMoves(store.redis, store.index).make_room()) == 2
    assert ids(client.smembers(INDEX)) == set(names[1:])


def test_where_there_is_no_index_of_ours_nothing_is_moved(store: CheckoutStore, client: redis.Redis) -> None:
    assert list(IndexMoves(store.redis, store.index).make_room()) == [0]
    client.zadd(INDEX, {"alice-0001": 3})
    assert list(IndexMoves(store.redis, store.index).make_room()) == [0]
    assert client.zrange(INDEX, 0, -1, withscores=True) == [(b"alice-0001", 3.0)]


def test_what_lies_beside_already_is_brought_over_first(store: CheckoutStore, client: redis.Redis) -> None:
    store.create({}, checkout_id="session-01")
    client.zadd(INDEX_BESIDE, {"left-00001": LONG_AGO})
    list(IndexMoves(store.redis, store.index).make_room())
    assert ids(client.zrange(INDEX_BESIDE, 0, -1)) == {"session-01", "left-00001"}
    assert client.type(INDEX) == b"set"


def test_a_process_that_has_not_heard_of_it_enters_into_both(store: CheckoutStore, client: redis.Redis) -> None:
    with make_store(store.settings) as another:
        another.create({}, checkout_id="session-01")
        list(IndexMoves(store.redis, store.index).make_room())
        another.create({}, checkout_id="session-02")
        assert ids(client.smembers(INDEX)) == ids(client.zrange(INDEX_BESIDE, 0, -1)) == {"session-01", "session-02"}
        another.delete("session-01")
        assert ids(client.smembers(INDEX)) == ids(client.zrange(INDEX_BESIDE, 0, -1)) == {"session-02"}
