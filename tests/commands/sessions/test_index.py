"""The index against the keys, both ways, and its repair while traffic runs."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from checkout_cli.commands.sessions import index
from checkout_cli.commands.sessions.index import IndexReport, check_index, preview_repair, repair_index
from checkout_cli.errors import ExitCode, InvalidInput, Locked, RedisUnavailable, WrongKeyType
from checkout_cli.jobs.bounded_run import BoundedRun, Stopped
from checkout_cli.jobs.job_lock import job_lock
from checkout_cli.keys import INDEX, INDEX_ASIDE, INDEX_BESIDE, session_key
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis import index as redis_index
from checkout_cli.store.redis.admin import FIRST_CURSOR
from checkout_cli.store.redis.index import Entry
from checkout_cli.store.redis.index_place import Place
from tests.support.servers import ValkeyServer
from tests.support.stores import LONG_AGO, make_store

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
ID = "indexed-01"


@pytest.fixture
def client(valkey: ValkeyServer) -> Any:
    with valkey.client() as opened:
        yield opened


def numbers(report: IndexReport) -> dict[str, int]:
    """What was found, but for what is zero."""
    found = {
        "missing": report.missing.number,
        "dangling": report.dangling.number,
        "due": report.due,
        "late": report.late.number,
        "endless": report.endless.number,
        "wrong": report.wrong_type.number,
        "unlisted": report.unlisted.number,
        "unfilled": report.unfilled.number,
        "unfinished": report.unfinished,
    }
    return {name: number for name, number in found.items() if number}


def test_what_the_store_leaves_is_sound(store: CheckoutStore) -> None:
    for number in range(5):
        store.create({}, checkout_id=f"indexed-{number:02}")
    store.get("indexed-00")
    report = check_index(store)
    assert (numbers(report), report.keys, report.entries) == ({}, 5, 5)
    assert report.is_sound
    assert report.exit_code == ExitCode.OK


def test_a_check_changes_nothing_and_a_repair_mends_it(store: CheckoutStore, client: redis.Redis) -> None:
    for number in range(4):
        store.create({}, checkout_id=f"indexed-{number:02}")
    now = store.clock.wall()
    client.zrem(INDEX, "indexed-00")  # not listed
    client.zadd(INDEX, {"gone-00001": now + 900_000, "ended-0001": now - 900_000})  # without a session, and an old one
    client.pexpire(session_key("indexed-01"), 60_000)  # ends earlier than the index says
    client.persist(session_key("indexed-02"))
    client.rpush(session_key("a-list-001"), "x")
    before = client.zrange(INDEX, 0, -1, withscores=True)

    found = check_index(store)
    assert numbers(found) == {"missing": 1, "dangling": 2, "due": 1, "late": 1, "endless": 1, "wrong": 1}
    assert found.exit_code == ExitCode.FINDING
    assert client.zrange(INDEX, 0, -1, withscores=True) == before

    repaired = repair_index(store)
    assert numbers(repaired) == numbers(found)
    assert repaired.exit_code == ExitCode.FINDING  # one never ends, one is a list
    assert client.pttl(session_key("indexed-02")) == -1
    assert numbers(check_index(store)) == {"endless": 1, "wrong": 1}
    scores = dict(client.zrange(INDEX, 0, -1, withscores=True))
    assert set(scores) == {b"indexed-00", b"indexed-01", b"indexed-02", b"indexed-03"}
    assert abs(scores[b"indexed-01"] - (now + 60_000)) < 5000

    mended = repair_index(store, fix_ttl=True)
    assert mended.endowed == 1
    assert 0 < client.pttl(session_key("indexed-02")) <= 1_800_000
    assert client.ttl(session_key("a-list-001")) == -1  # another program's: not ours to end


def test_an_entry_whose_session_only_the_database_has_is_kept(store: CheckoutStore, client: redis.Redis) -> None:
    store.create({}, checkout_id=ID)
    client.delete(session_key(ID))
    assert numbers(check_index(store)) == {}
    repair_index(store)
    assert client.zscore(INDEX, ID) is not None


def test_without_the_database_nobody_can_tell_and_nothing_is_taken_out(
    store: CheckoutStore, client: redis.Redis
) -> None:
    client.zadd(INDEX, {"gone-00001": store.clock.wall() + 900_000})
    with make_store(replace(store.settings, database_url=NOWHERE)) as cut_off:
        report = repair_index(cut_off)
    assert (numbers(report), report.unknown, report.exit_code) == ({}, 1, ExitCode.FINDING)
    assert report.away
    assert client.zscore(INDEX, "gone-00001") is not None


def test_an_older_programs_set_is_sound_and_what_it_adds_is_told(store: CheckoutStore, client: redis.Redis) -> None:
    for name in ("older-0001", "older-0002"):
        client.set(session_key(name), b'{"totalAmount":1}', px=600_000)
        client.sadd(INDEX, name)
    store.create({}, checkout_id=ID)
    report = check_index(store)
    assert (report.place, report.kind, report.members) == (Place.BESIDE_SET, "set", 3)
    assert (numbers(report), report.unlisted.examples) == ({"unlisted": 2}, ["older-0001", "older-0002"])
    assert (report.is_sound, report.exit_code) == (True, ExitCode.OK)


def test_a_repair_keeps_the_set_and_brings_both_in_line(store: CheckoutStore, client: redis.Redis) -> None:
    for name in ("older-0001", "forgotten1"):
        client.set(session_key(name), b'{"totalAmount":1}', px=600_000)
    client.sadd(INDEX, "older-0001", "leaked-001")
    store.create({}, checkout_id=ID)
    client.srem(INDEX, ID)
    before = {key: client.dump(key) for key in (INDEX, INDEX_BESIDE)}
    found = check_index(store)
    assert numbers(found) == {"missing": 1, "dangling": 1, "due": 1, "unlisted": 1, "unfilled": 1}
    assert found.exit_code is ExitCode.FINDING
    assert {key: client.dump(key) for key in (INDEX, INDEX_BESIDE)} == before
    repaired = repair_index(store)
    assert (numbers(repaired), repaired.exit_code) == (numbers(found), ExitCode.OK)
    assert client.smembers(INDEX) == {ID.encode(), b"older-0001", b"forgotten1"}
    assert set(client.zrange(INDEX_BESIDE, 0, -1)) == client.smembers(INDEX)
    moments = dict(client.zrange(INDEX_BESIDE, 0, -1, withscores=True))
    assert 500_000 < moments[b"older-0001"] - store.clock.wall() <= 600_000
    assert numbers(check_index(store)) == {}


def test_what_an_older_program_has_deleted_is_not_put_into_its_set_again(
    store: CheckoutStore, client: redis.Redis
) -> None:
    client.sadd(INDEX, "older-0001")
    store.create({}, checkout_id=ID)
    client.delete(session_key(ID))
    client.srem(INDEX, ID)
    repair_index(store)
    assert ID.encode() not in client.smembers(INDEX)


def test_what_an_interrupted_move_has_left_is_told_and_brought_over(store: CheckoutStore, client: redis.Redis) -> None:
    for number in range(4):
        store.create({}, checkout_id=f"indexed-{number:02}")
    client.zrem(INDEX, "indexed-00", "indexed-01")
    client.sadd(INDEX_ASIDE, "indexed-00", "indexed-02")
    client.zadd(INDEX_BESIDE, {"indexed-01": store.clock.wall() + 1000})
    found = check_index(store)
    assert (found.unfinished, found.missing.number, found.is_sound) == (3, 0, False)
    assert repair_index(store).exit_code is ExitCode.OK
    assert set(client.zrange(INDEX, 0, -1)) == {f"indexed-{number:02}".encode() for number in range(4)}
    assert not client.exists(INDEX_BESIDE, INDEX_ASIDE)
    assert check_index(store).is_sound


@pytest.mark.parametrize("make", [("ZADD", INDEX, 5, "alice-0001"), ("SET", INDEX, "x")])
def test_somebody_elses_key_stays_as_it_is(
    store: CheckoutStore, client: redis.Redis, make: tuple[str | int, ...]
) -> None:
    client.execute_command(*make)
    before = client.dump(INDEX)
    store.create({}, checkout_id=ID)
    client.set(session_key("forgotten1"), b'{"totalAmount":1}', px=600_000)
    found = check_index(store)
    assert (found.place, numbers(found)) == (Place.BESIDE_OTHER, {"missing": 1})
    assert repair_index(store).exit_code is ExitCode.OK
    assert client.dump(INDEX) == before
    assert set(client.zrange(INDEX_BESIDE, 0, -1)) == {ID.encode(), b"forgotten1"}


def test_a_claim_to_fill_a_key_is_no_session(store: CheckoutStore) -> None:
    store.redis.claim(ID)
    assert numbers(check_index(store)) == {}


def test_with_agreement_it_is_checked_first_and_asked_only_where_something_is_wrong(
    store: CheckoutStore, client: redis.Redis
) -> None:
    store.create({}, checkout_id=ID)
    shown: list[IndexReport] = []

    def refuse(report: IndexReport) -> bool:
        shown.append(report)
        return False

    assert not repair_index(store, agreed=refuse).repaired
    assert shown == []
    client.zrem(INDEX, ID)
    assert not repair_index(store, agreed=refuse).repaired
    assert [report.missing.number for report in shown] == [1]
    assert client.zscore(INDEX, ID) is None
    assert repair_index(store, agreed=lambda _: True).repaired
    assert client.zscore(INDEX, ID) is not None


def test_a_repair_mends_exactly_what_was_agreed_to_and_still_is_so(store: CheckoutStore, client: redis.Redis) -> None:
    for number in range(3):
        store.create({}, checkout_id=f"indexed-{number:02}")
    client.zrem(INDEX, "indexed-00", "indexed-01")
    late = store.clock.wall() + 900_000
    client.zadd(INDEX, {"gone-00001": late, "gone-00002": late})

    def agree_while_others_write(found: IndexReport) -> bool:
        assert (found.missing.number, found.dangling.number) == (2, 2)
        client.zrem(INDEX, "indexed-02")  # not shown
        client.zadd(INDEX, {"gone-00003": late})  # not shown
        client.zadd(INDEX, {"indexed-01": late})  # shown, and mended by somebody else
        client.set(session_key("gone-00002"), b"{}", px=600_000)  # shown, and a session by now
        client.persist(session_key("indexed-00"))  # shown as missing alone
        return True

    repaired = repair_index(store, agreed=agree_while_others_write, fix_ttl=True)
    assert (repaired.missing.examples, repaired.dangling.examples) == (["indexed-00"], ["gone-00001"])
    assert set(client.zrange(INDEX, 0, -1)) == {b"indexed-00", b"indexed-01", b"gone-00002", b"gone-00003"}
    assert client.pttl(session_key("indexed-00")) == -1
    assert repaired.finished


@pytest.mark.parametrize("limit", ["time", "number"])
def test_an_agreed_repair_that_is_cut_off_is_gone_on_with(
    store: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(redis_index, "PAGE", 4)
    monkeypatch.setattr(index, "PAGE", 4)
    for number in range(60):
        store.create({}, checkout_id=f"indexed-{number:02}")
    client.delete(INDEX)
    if limit == "number":
        monkeypatch.setattr(index, "MOST_AGREED", 10)
    ticks = iter(range(100_000))
    clock = replace(store.clock, elapsed=lambda: float(next(ticks)))
    listed = [0]
    for _ in range(60):
        run = BoundedRun(clock, max_seconds=8) if limit == "time" else BoundedRun(clock)
        report = repair_index(store, run, agreed=lambda _: True)
        listed.append(client.zcard(INDEX))
        if report.finished and not report.resumed and report.is_sound:
            break
        assert report.sound is None or report.repaired
    assert len(listed) > 4
    assert all(before < after for before, after in itertools.pairwise(listed[:4])), "each run gets further"
    assert listed[-1] == 60


def test_a_part_is_neither_sound_nor_unsound(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_index, "PAGE", 2)
    for number in range(60):
        store.create({}, checkout_id=f"indexed-{number:02}")
    ticks = iter(range(1000))
    clock = replace(store.clock, elapsed=lambda: float(next(ticks)))
    part = check_index(store, BoundedRun(clock, max_seconds=4))
    assert (part.sound, part.finished) == (None, False)
    assert part.cursor is not None
    assert check_index(store, cursor=part.cursor).sound is None
    assert check_index(store).sound is True


def test_a_preview_begins_where_the_next_repair_does(
    store: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_index, "PAGE", 2)
    for number in range(60):
        store.create({}, checkout_id=f"indexed-{number:02}")
    client.delete(INDEX)
    ticks = iter(range(1000))
    clock = replace(store.clock, elapsed=lambda: float(next(ticks)))
    first = repair_index(store, BoundedRun(clock, max_seconds=4))
    shown = preview_repair(store)
    assert shown.resumed
    assert first.missing.number + shown.missing.number == 60


def test_two_never_run_at_once(store: CheckoutStore) -> None:
    with job_lock(store, "cleanup", "somebody"), pytest.raises(Locked):
        repair_index(store)


def test_where_no_place_is_left_for_an_index_it_is_refused(store: CheckoutStore, client: redis.Redis) -> None:
    client.set(INDEX, "x")
    client.set(INDEX_BESIDE, "x")
    with pytest.raises(WrongKeyType, match="holds a string, not an index"):
        check_index(store)


def test_without_redis_it_is_unavailable(store: CheckoutStore) -> None:
    with make_store(replace(store.settings, redis_port=1)) as cut_off, pytest.raises(RedisUnavailable):
        check_index(cut_off)


def test_it_stops_when_its_time_is_up_and_the_next_run_goes_on(
    store: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_index, "PAGE", 2)
    for number in range(60):
        store.create({}, checkout_id=f"indexed-{number:02}")
    client.delete(INDEX)
    ticks = iter(range(1000))
    clock = replace(store.clock, elapsed=lambda: float(next(ticks)))
    first = repair_index(store, BoundedRun(clock, max_seconds=4))
    assert (first.finished, first.stopped, first.exit_code) == (False, Stopped.TIME, ExitCode.FINDING)
    assert 0 < client.zcard(INDEX) == first.keys < 60
    rest = repair_index(store)
    assert (rest.resumed, rest.finished, first.keys + rest.keys) == (True, True, 60), (
        "it goes on, and not from the start"
    )
    assert client.zcard(INDEX) == 60
    assert not repair_index(store).resumed


def test_a_check_says_where_it_stopped_and_goes_on_there(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_index, "PAGE", 2)
    for number in range(60):
        store.create({}, checkout_id=f"indexed-{number:02}")
    keys, cursor, ticks = 0, FIRST_CURSOR, iter(range(1000))
    for _ in range(100):
        clock = replace(store.clock, elapsed=lambda: float(next(ticks)))
        report = check_index(store, BoundedRun(clock, max_seconds=4), cursor=cursor)
        keys += report.keys
        if report.cursor is None:
            break
        cursor = report.cursor
    assert (keys, report.finished, report.is_sound) == (60, True, True)
    for wrong in ("a", "3:0", "0:", "1:x"):
        with pytest.raises(InvalidInput):
            check_index(store, cursor=wrong)


# While others write


def test_an_entry_that_was_written_since_it_was_seen_is_not_taken_out(
    store: CheckoutStore, client: redis.Redis
) -> None:
    client.zadd(INDEX, {ID: LONG_AGO + 1000, "another-01": LONG_AGO})
    assert (
        store.index.remove_entries([Entry(ID, LONG_AGO), Entry("another-01", LONG_AGO), Entry("nowhere-01", 1.0)]) == 1
    )
    assert client.zrange(INDEX, 0, -1) == [ID.encode()]


def test_an_entry_is_brought_forward_and_never_back(store: CheckoutStore, client: redis.Redis) -> None:
    client.zadd(INDEX, {ID: LONG_AGO})
    assert store.index.bring_forward([Entry(ID, LONG_AGO + 1000), Entry("nowhere-01", 1.0)]) == 0
    assert store.index.bring_forward([Entry(ID, LONG_AGO - 500)]) == 1
    assert client.zscore(INDEX, ID) == LONG_AGO - 500


def test_a_key_that_got_an_end_meanwhile_keeps_it(store: CheckoutStore, client: redis.Redis) -> None:
    client.set(session_key(ID), b"{}", px=7_200_000)
    assert not store.redis.set_missing_ttl(ID, 1000)
    assert client.pttl(session_key(ID)) > 7_000_000
    client.persist(session_key(ID))
    assert store.redis.set_missing_ttl(ID, 60_000)
    assert client.pttl(session_key(ID)) <= 60_000


def test_a_session_that_another_program_writes_at_the_very_moment_is_listed_again(
    store: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.zadd(INDEX, {ID: store.clock.wall() + 900_000})
    unlist: Callable[[Any], int] = store.index.remove_entries

    def and_write(entries: Any) -> int:
        client.set(session_key(ID), b'{"totalAmount":1}', px=600_000)
        return unlist(entries)

    monkeypatch.setattr(store.index, "remove_entries", and_write)
    repair_index(store)
    assert client.zscore(INDEX, ID) is not None


def test_while_a_shop_creates_and_deletes_no_living_session_loses_its_entry(store: CheckoutStore) -> None:
    stop = threading.Event()
    alive: list[str] = []

    def shop() -> None:
        with make_store(store.settings) as its:
            number = 0
            while not stop.is_set():
                checkout_id = f"traffic-{number:05}"
                its.create({}, checkout_id=checkout_id)
                if number % 3:
                    alive.append(checkout_id)
                else:
                    its.delete(checkout_id)
                number += 1

    thread = threading.Thread(target=shop)
    thread.start()
    try:
        reports = [repair_index(store) for _ in range(15)]
    finally:
        stop.set()
        thread.join()
    assert len(alive) > 5
    assert all(score is not None for score in store.index.scores(alive))
    assert all(report.dangling.number == 0 for report in reports), [report.dangling for report in reports]
