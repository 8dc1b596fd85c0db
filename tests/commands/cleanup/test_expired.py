from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from checkout_cli.commands.cleanup import expired as cleanup
from checkout_cli.commands.cleanup.expired import CleanupReport, clean_up
from checkout_cli.commands.sessions.index import repair_index
from checkout_cli.config.settings import Settings
from checkout_cli.errors import AccessDenied, ExitCode, Locked, TierUnavailable, WrongClock
from checkout_cli.jobs import clocks
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.keys import INDEX, INDEX_ASIDE, INDEX_BESIDE, LOCK_PREFIX
from checkout_cli.session import Durability
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.index import Entry
from tests.support.servers import ValkeyServer
from tests.support.stores import (
    LONG_AGO,
    ManualClock,
    count_calls,
    database_away,
    evict,
    key_of,
    make_store,
    make_tables,
    put_raw,
    raw,
    redis_away,
    without_database,
    without_redis,
)

FOREIGN = b'{"checkoutId":"x","subtotal":1}'
HOUR = 3600


@pytest.fixture
def clock() -> ManualClock:
    """An hour ago, so that what is created has expired by the servers' own clocks when the test says so."""
    started = ManualClock()
    started.advance(-HOUR)
    return started


@pytest.fixture(autouse=True)
def _an_hour_is_tolerated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "TOLERATED", 2 * HOUR)  # the servers' own clocks show now


@pytest.fixture
def another(settings: Settings, clock: ManualClock) -> Iterator[Callable[..., CheckoutStore]]:
    stores: list[CheckoutStore] = []

    def make(changed: Settings | None = None) -> CheckoutStore:
        made = make_store(changed or settings, clock)
        stores.append(made)
        return made

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def store(another: Callable[..., CheckoutStore]) -> CheckoutStore:
    first = another()
    make_tables(first.database)
    return first


def fill(store: CheckoutStore, number: int, *, beginning: str = "session") -> list[str]:
    """Sessions that are an hour old for everybody but Redis, whose keys the test ends."""
    names = [f"{beginning}-{position:04}" for position in range(number)]
    for name in names:
        store.create({}, checkout_id=name)
    return names


def expire(store: CheckoutStore, clock: ManualClock, names: list[str]) -> None:
    for name in names:
        evict(store, name)
    store.notes.write_down()
    clock.advance(HOUR)


def entries(store: CheckoutStore) -> dict[str, float]:
    return {entry.checkout_id: entry.score for entry in store.index.due(10**15, limit=100_000)}


def everything(store: CheckoutStore) -> list[Any]:
    """What all tiers hold, to be compared."""
    keys = sorted(key for key in store.redis.ask(("KEYS", "*")) if not key.startswith(LOCK_PREFIX.encode()))
    rows = [record for page in store.database.newest() for record in page]
    kind = store.index.layout().kind
    members = sorted(store.redis.ask(("SMEMBERS", INDEX))) if kind == "set" else []
    return [keys, rows, kind, entries(store), members, len(store.memory)]


def test_there_is_nothing_to_do(store: CheckoutStore, clock: ManualClock) -> None:
    clock.advance(HOUR)
    assert clean_up(store) == CleanupReport()


def test_the_dead_go_from_everywhere_and_the_living_stay(store: CheckoutStore, clock: ManualClock) -> None:
    dead = fill(store, 5)
    expire(store, clock, dead)
    alive = fill(store, 3, beginning="alive")
    report = clean_up(store)
    assert (report.removed_from_index, report.removed_from_database) == (5, 5)
    assert (report.finished, report.unreachable, report.still_alive) == (True, [], 0)
    assert sorted(entries(store)) == alive
    assert [store.database.read(name) for name in dead] == [None] * 5
    assert [store.get(name).version for name in alive] == [1, 1, 1]


def test_a_second_run_finds_nothing(store: CheckoutStore, clock: ManualClock) -> None:
    expire(store, clock, fill(store, 5))
    clean_up(store)
    assert clean_up(store) == CleanupReport()


def test_totals_go_on_counting_what_was_removed(store: CheckoutStore, clock: ManualClock) -> None:
    names = fill(store, 4)
    store.set_payment_status(names[0], "paid", order_id="o-1")
    store.set_payment_status(names[1], "failed")
    before = store.database.totals()
    expire(store, clock, names)
    assert clean_up(store).removed_from_database == 4
    assert store.database.totals() == before
    assert (before.created, before.completed, before.failed) == (4, 1, 1)


def test_a_dry_run_counts_the_same_and_changes_nothing(store: CheckoutStore, clock: ManualClock) -> None:
    dead = fill(store, 5)
    kept = fill(store, 2, beginning="kept")
    expire(store, clock, dead)
    before = everything(store)
    preview = clean_up(store, dry_run=True)
    assert everything(store) == before
    assert preview.dry_run
    report = clean_up(store)
    assert (preview.removed_from_index, preview.removed_from_database) == (5, 5)
    assert (preview.removed_from_index, preview.removed_from_database, preview.still_alive) == (
        report.removed_from_index,
        report.removed_from_database,
        report.still_alive,
    )
    assert sorted(entries(store)) == kept


def test_sessions_in_use_are_kept_and_get_their_real_expiry(store: CheckoutStore, clock: ManualClock) -> None:
    names = fill(store, 3)
    store.notes.write_down()
    clock.advance(HOUR)  # their keys live on in Redis: somebody has read them, and told neither index nor database
    report = clean_up(store)
    assert (report.removed_from_index, report.removed_from_database, report.still_alive) == (0, 0, 3)
    for name in names:
        score = entries(store)[name]
        row = store.database.read(name)
        assert row is not None
        assert abs(clock.milliseconds + 1_800_000 - score) < 60_000
        assert abs(clock.milliseconds + 1_800_000 - row.expires_at) < 60_000
    assert clean_up(store).still_alive == 0


def test_what_redis_evicted_and_the_database_has_is_kept(store: CheckoutStore, clock: ManualClock) -> None:
    clock.advance(HOUR)
    names = fill(store, 3)
    row = store.database.read(names[0])
    assert row is not None
    evict(store, names[0])
    store.redis.ask(("ZADD", INDEX, LONG_AGO, names[0]))
    report = clean_up(store)
    assert (report.removed_from_index, report.still_alive) == (0, 1)
    assert entries(store)[names[0]] == row.expires_at
    assert store.get(names[0]).version == 1


def test_a_key_without_an_end_keeps_its_session_and_is_reported(store: CheckoutStore, clock: ManualClock) -> None:
    names = fill(store, 2)
    store.redis.ask(("PERSIST", key_of(names[0])))
    expire(store, clock, names[1:])
    report = clean_up(store)
    assert report.without_expiry == 1
    assert report.removed_from_database == 1
    assert list(entries(store)) == names[:1]
    assert store.get(names[0]).version == 1


@pytest.mark.parametrize("size", [1, 2, 7])
def test_any_size_of_batch_does_the_same(store: CheckoutStore, clock: ManualClock, size: int) -> None:
    dead, in_use = fill(store, 11), fill(store, 3, beginning="in-use")
    expire(store, clock, dead)
    report = clean_up(store, batch=size)
    assert (report.removed_from_index, report.removed_from_database, report.still_alive) == (11, 11, 3)
    assert sorted(entries(store)) == in_use


def test_memory_is_cleaned_too(
    another: Callable[..., CheckoutStore], settings: Settings, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = another(without_redis(settings))
    make_tables(store.database)
    with monkeypatch.context() as patch:
        patch.setattr(store.database, "insert", database_away)
        assert store.create({}, checkout_id="session-1").durability is Durability.MEMORY
    clock.advance(HOUR)
    assert clean_up(store).removed_from_memory == 1


def test_old_tombstones_go_and_young_ones_stay(store: CheckoutStore, clock: ManualClock) -> None:
    clock.advance(-2 * 86_400)
    store.create({}, checkout_id="session-1")
    store.delete("session-1")
    clock.advance(2 * 86_400)
    store.create({}, checkout_id="session-2")
    store.delete("session-2")
    assert clean_up(store, dry_run=True).tombstones == 1
    assert clean_up(store).tombstones == 1
    assert store.database.read("session-1") is None
    assert store.database.read("session-2") is not None


def test_many_old_tombstones_go_in_several_steps(
    store: CheckoutStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One DELETE of them all would keep the shop's writes waiting for as long."""
    clock.advance(-2 * 86_400)
    for name in fill(store, 40):
        store.delete(name)
    clock.advance(2 * 86_400)
    steps = count_calls(store.database, "purge_tombstones", monkeypatch)
    assert clean_up(store, batch=1).tombstones == 40
    assert len(steps) == 4  # 16 in each, and the last finds none


# Beside an older program


def members(store: CheckoutStore) -> list[str]:
    return sorted(member.decode() for member in store.redis.ask(("SMEMBERS", INDEX)))


def test_a_set_stays_and_loses_its_dead_and_its_living_are_entered_beside_it(
    store: CheckoutStore, clock: ManualClock
) -> None:
    store.redis.ask(("SADD", INDEX, *(f"older-{number:04}" for number in range(20))))
    for number in range(5):
        put_raw(store, f"older-{number:04}", FOREIGN, seconds=600)
    ours = fill(store, 1)
    clock.advance(HOUR)  # by the servers' own clocks it is now
    report = clean_up(store)
    living = [f"older-{number:04}" for number in range(5)]
    assert (report.from_set, report.removed_from_index) == (5, 15)
    assert (members(store), sorted(entries(store))) == ([*living, *ours], [*living, *ours])
    assert 0 < entries(store)["older-0000"] - clock.milliseconds < 700_000
    assert clean_up(store).from_set == 0
    assert members(store) == [*living, *ours]


def test_what_has_expired_goes_from_the_set_too(store: CheckoutStore, clock: ManualClock) -> None:
    store.redis.ask(("SADD", INDEX, "older-0001"))
    put_raw(store, "older-0001", FOREIGN)
    names = fill(store, 3)
    expire(store, clock, names)
    report = clean_up(store)
    assert (report.removed_from_index, report.from_set) == (3, 1)
    assert members(store) == sorted(entries(store)) == ["older-0001"]


def test_a_member_whose_session_only_the_database_has_lives(store: CheckoutStore, clock: ManualClock) -> None:
    clock.advance(HOUR)
    (name,) = fill(store, 1)
    evict(store, name)
    store.redis.ask(("DEL", INDEX))
    store.redis.ask(("SADD", INDEX, name, "dead-00001"))
    report = clean_up(store)
    assert (report.from_set, report.removed_from_index) == (1, 1)
    assert entries(store)[name] > clock.milliseconds


def test_without_the_database_no_member_is_taken_for_dead(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.redis.ask(("SADD", INDEX, "older-0001", "perhaps-01"))
    put_raw(store, "older-0001", FOREIGN)
    for method in ("now", "due", "count_due", "expiries", "living_ids", "purge_tombstones", "touch", "note_published"):
        monkeypatch.setattr(store.database, method, database_away)
    report = clean_up(store)
    assert (report.from_set, report.removed_from_index) == (1, 0)
    assert members(store) == ["older-0001", "perhaps-01"]


def test_what_an_older_program_writes_at_that_very_moment_keeps_its_entries(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["older-0001", "older-0002"]
    store.redis.ask(("SADD", INDEX, *names))
    store.redis.ask(("ZADD", INDEX_BESIDE, LONG_AGO, "older-0002"))
    expiries = store.database.expiries

    def and_write(checkout_ids: Any, now: int) -> dict[str, int]:
        found = expiries(checkout_ids, now)
        for name in checkout_ids:
            put_raw(store, name, FOREIGN)
        return found

    monkeypatch.setattr(store.database, "expiries", and_write)
    clean_up(store)
    assert members(store) == sorted(entries(store)) == names


def test_a_run_looks_at_a_part_of_a_large_set_and_the_next_one_goes_on(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "MEMBERS_IN_ONE_RUN", 1)
    names = [f"older-{number:05}" for number in range(3000)]
    store.redis.ask(("SADD", INDEX, *names))
    store.index.layout()
    store.index.add([Entry(name, store.clock.wall() + 2 * HOUR * 1000) for name in names])
    pages = count_calls(store.index, "member_page", monkeypatch)
    for _ in range(20):
        clean_up(store)
    cursors = [cursor for (cursor,) in pages]
    assert len(cursors) == 20
    assert cursors.count("0") in {3, 4}  # six pages or so, one in each run, and then from the beginning again
    assert len(set(cursors)) > 4


def test_all_that_leaked_goes_in_one_run(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "MEMBERS_IN_ONE_RUN", 1)
    store.redis.ask(("SADD", INDEX, *(f"older-{number:05}" for number in range(3000))))
    report = clean_up(store)
    assert (report.removed_from_index, report.from_set) == (3000, 0)
    assert store.redis.ask(("EXISTS", INDEX, INDEX_BESIDE)) == 0


def test_an_interrupted_adoption_is_finished(store: CheckoutStore, clock: ManualClock) -> None:
    clock.advance(HOUR)
    store.create({}, checkout_id="session-0001")
    put_raw(store, "older-0001", FOREIGN)
    store.redis.ask(("SADD", INDEX_ASIDE, "older-0001", "dead-00001", "session-0001"))
    report = clean_up(store)
    assert (report.from_set, report.removed_from_index) == (2, 1)
    assert sorted(entries(store)) == ["older-0001", "session-0001"]
    assert store.redis.ask(("EXISTS", INDEX_ASIDE)) == 0


def test_a_dry_run_leaves_a_set_as_it_is(store: CheckoutStore) -> None:
    store.redis.ask(("SADD", INDEX, "older-0001", "older-0002"))
    put_raw(store, "older-0001", FOREIGN)
    before = everything(store)
    report = clean_up(store, dry_run=True)
    assert (report.removed_from_index, report.still_alive) == (1, 1)
    assert everything(store) == before


def test_foreign_sessions_without_an_entry_are_entered(store: CheckoutStore) -> None:
    put_raw(store, "foreign-01", FOREIGN)
    store.create({}, checkout_id="session-1")
    assert clean_up(store).entered_into_index == 1
    assert sorted(entries(store)) == ["foreign-01", "session-1"]


def test_a_lost_index_is_built_again_from_keys_and_rows(store: CheckoutStore, clock: ManualClock) -> None:
    clock.advance(HOUR)
    fill(store, 4)
    evict(store, "session-0000")
    store.redis.ask(("DEL", INDEX))
    assert clean_up(store).entered_into_index == 4
    assert len(entries(store)) == 4


def test_ids_that_are_no_text_are_cleaned_too(store: CheckoutStore) -> None:
    fill(store, 3)
    store.redis.ask(("ZADD", INDEX, LONG_AGO, b"\xff\xfe dead", LONG_AGO, "odd id:\n*", LONG_AGO, ""))
    assert clean_up(store).removed_from_index == 3


@pytest.mark.parametrize("command", [("SET", INDEX, "hello"), ("ZADD", INDEX, "1", "alice-0001")])
def test_somebody_elses_key_stays_as_it_is_and_all_is_cleaned(
    store: CheckoutStore, another: Callable[..., CheckoutStore], clock: ManualClock, command: tuple[str, ...]
) -> None:
    store.redis.ask(command)
    before = store.redis.ask(("DUMP", INDEX))
    expire(store, clock, fill(store, 3))
    (alive,) = fill(store, 1, beginning="alive")
    put_raw(store, "foreign-01", FOREIGN)
    for dry_run in (True, False):
        report = clean_up(another(), dry_run=dry_run)
        assert (report.removed_from_database, report.removed_from_index, report.unreachable) == (3, 3, [])
    assert store.redis.ask(("DUMP", INDEX)) == before
    assert sorted(entries(store)) == [alive, "foreign-01"]


def test_where_no_place_is_left_for_an_index_that_is_said_and_the_rest_is_cleaned(
    store: CheckoutStore, clock: ManualClock
) -> None:
    expire(store, clock, fill(store, 3))
    for key in (INDEX, INDEX_BESIDE):
        store.redis.ask(("SET", key, "hello"))
    for dry_run in (True, False):
        report = clean_up(store, dry_run=dry_run)
        assert report.removed_from_database == 3
        assert report.unreachable == ["checkout:expiry:{checkout:index} holds a string, not an index"]
    assert store.redis.ask(("GET", INDEX_BESIDE)) == b"hello"
    assert store.redis.ask(("EXISTS", LOCK_PREFIX + "cleanup")) == 0


# A tier is away


def test_without_redis_the_database_is_cleaned_with_time_to_spare(
    store: CheckoutStore, another: Callable[..., CheckoutStore], settings: Settings, clock: ManualClock
) -> None:
    names = fill(store, 2)
    expire(store, clock, names)
    fresh = another(without_redis(settings))
    row = fresh.database.read(names[0])
    assert row is not None
    clock.advance(HOUR)  # the margin, where only this machine's clock is left
    fresh.database.touch(
        {names[0]: clock.milliseconds - clocks.MARGIN - 60_000}
    )  # reads are noted up to a tenth of the TTL late
    report = clean_up(fresh)
    assert report.removed_from_database == 1
    assert report.removed_from_index == 0
    assert len(report.unreachable) == 1
    assert fresh.database.read(names[0]) is not None


def test_without_the_database_the_index_keeps_who_may_live_there(
    store: CheckoutStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = fill(store, 3)
    put_raw(store, "foreign-01", FOREIGN)
    store.redis.ask(("ZADD", INDEX, LONG_AGO, "foreign-01"))
    expire(store, clock, names)
    for method in ("now", "due", "count_due", "expiries", "living_ids", "purge_tombstones", "touch", "note_published"):
        monkeypatch.setattr(store.database, method, database_away)
    report = clean_up(store)
    assert (report.removed_from_index, report.removed_from_database, report.still_alive) == (0, 0, 1)
    assert len(report.unreachable) == 1
    assert set(entries(store)) == {*names, "foreign-01"}
    assert entries(store)["foreign-01"] > clock.milliseconds


def test_where_a_database_was_never_set_up_the_index_is_cleaned(
    another: Callable[..., CheckoutStore], settings: Settings
) -> None:
    store = another()
    put_raw(store, "foreign-01", FOREIGN)
    store.redis.ask(("ZADD", INDEX, LONG_AGO, "foreign-01", LONG_AGO, "foreign-02"))
    report = clean_up(store)
    assert (report.removed_from_index, report.still_alive) == (1, 1)
    assert "there is no database" in report.unreachable[0]


def test_with_both_away_it_fails(another: Callable[..., CheckoutStore], settings: Settings) -> None:
    store = another(without_redis(without_database(settings)))
    with pytest.raises(TierUnavailable):
        clean_up(store)
    with pytest.raises(TierUnavailable):
        clean_up(store, dry_run=True)


def test_redis_that_goes_away_in_the_middle_is_reported(
    store: CheckoutStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire(store, clock, fill(store, 3))
    monkeypatch.setattr(store.redis, "remaining", redis_away)
    report = clean_up(store)
    assert report.unreachable
    assert (report.removed_from_index, report.removed_from_database) == (0, 0)


def test_a_wrong_password_is_no_outage(
    valkey_server: Callable[..., ValkeyServer], another: Callable[..., CheckoutStore], settings: Settings
) -> None:
    server = valkey_server("--requirepass", "right")
    store = another(replace(settings, redis_port=server.port, redis_password="wrong"))
    make_tables(store.database)
    with pytest.raises(AccessDenied):
        clean_up(store)
    with pytest.raises(AccessDenied):
        clean_up(store, dry_run=True)


def test_where_sessions_are_not_kept_in_redis_it_is_left_alone(
    store: CheckoutStore, another: Callable[..., CheckoutStore], settings: Settings, clock: ManualClock
) -> None:
    expire(store, clock, fill(store, 3))
    clock.advance(HOUR)
    switched_off = another(replace(without_redis(settings), enable_checkout_sessions=False))
    report = clean_up(switched_off)
    assert (report.removed_from_database, report.unreachable) == (3, [])
    expected = clean_up(another(replace(settings, enable_checkout_sessions=False)))
    assert expected.unreachable == []
    assert len(entries(store)) == 3


# The lock and the time


def test_a_second_one_does_not_run(store: CheckoutStore, another: Callable[..., CheckoutStore]) -> None:
    store.redis.lock("cleanup", "host:1:token", 30_000)
    with pytest.raises(Locked, match=r"^skipped: locked by host:1:token$"):
        clean_up(another())
    assert clean_up(another(), dry_run=True).finished


def test_the_lock_is_given_back(store: CheckoutStore) -> None:
    clean_up(store)
    assert store.redis.ask(("EXISTS", LOCK_PREFIX + "cleanup")) == 0


def test_the_lock_is_given_back_after_a_failure(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(store.index, "due", broken)
    with pytest.raises(RuntimeError):
        clean_up(store)
    assert store.redis.ask(("EXISTS", LOCK_PREFIX + "cleanup")) == 0


def test_a_lock_that_is_lost_in_the_middle_stops_the_run_and_is_not_taken_from_its_new_owner(
    store: CheckoutStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire(store, clock, fill(store, 6))
    monkeypatch.setattr(cleanup, "ROWS_PER_ENTRY", 1)
    purge = store.database.purge

    def purge_and_lose(*arguments: Any) -> int:
        store.redis.ask(("SET", LOCK_PREFIX + "cleanup", "somebody else"))
        return purge(*arguments)

    monkeypatch.setattr(store.database, "purge", purge_and_lose)
    report = clean_up(store, batch=2)
    assert not report.finished
    assert report.removed_from_database == 2
    assert store.redis.ask(("GET", LOCK_PREFIX + "cleanup")) == b"somebody else"


def test_it_stops_when_the_time_is_up_and_the_next_run_goes_on(
    store: CheckoutStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire(store, clock, fill(store, 6))
    monkeypatch.setattr(cleanup, "ROWS_PER_ENTRY", 1)
    purge = store.database.purge

    def purge_slowly(*arguments: Any) -> int:
        clock.seconds += 4
        return purge(*arguments)

    monkeypatch.setattr(store.database, "purge", purge_slowly)
    report = clean_up(store, BoundedRun(store.clock, max_seconds=5), batch=2)
    assert (report.finished, report.removed_from_database) == (False, 4)
    report = clean_up(store, BoundedRun(store.clock, max_seconds=60), batch=2)
    assert (report.finished, report.removed_from_database) == (True, 2)


def test_progress_ends_at_the_total(store: CheckoutStore, clock: ManualClock) -> None:
    expire(store, clock, fill(store, 6))
    told: list[tuple[int, int]] = []
    run = BoundedRun(store.clock, progress=lambda done, total: told.append((done, total)))
    clean_up(store, run, batch=2)
    assert told[-1][0] == told[-1][1]
    assert all(done <= total for done, total in told)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


# Races


def test_a_session_that_is_written_while_it_is_judged_stays(
    store: CheckoutStore, another: Callable[..., CheckoutStore], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.advance(HOUR)
    store.create({}, checkout_id="session-1")
    store.redis.ask(("ZADD", INDEX, LONG_AGO, "session-1"))
    writer, judged = another(), store.index.remove_expired

    def settle_late(dead: list[Entry], living: list[Any] | tuple[()] = ()) -> int:
        writer.update("session-1", {"a": 1})
        return judged(dead, living)

    expiries = count_calls(store.database, "expiries", monkeypatch)
    evict(store, "session-1")
    monkeypatch.setattr(store.index, "remove_expired", settle_late)
    clean_up(store)
    assert expiries
    assert entries(store)["session-1"] > clock.milliseconds
    assert raw(store, "session-1") is not None


def test_a_row_that_is_used_while_it_is_judged_stays(
    store: CheckoutStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire(store, clock, fill(store, 2))
    purge = store.database.purge

    def purge_late(*arguments: Any) -> int:
        store.database.touch({"session-0000": clock.milliseconds + 60_000})
        return purge(*arguments)

    monkeypatch.setattr(store.database, "purge", purge_late)
    assert clean_up(store).removed_from_database == 1
    assert store.database.read("session-0000") is not None


# Clocks


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch, _an_hour_is_tolerated: None) -> None:
    monkeypatch.setattr(clocks, "TOLERATED", 60.0)


@pytest.fixture
def evicted(store: CheckoutStore, clock: ManualClock) -> list[str]:
    """Living sessions that only the database has, and an entry of each."""
    clock.advance(HOUR)
    names = fill(store, 2)
    for name in names:
        evict(store, name)
    return names


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("hours", [-1, 1, 10])
@pytest.mark.parametrize("remove", [clean_up, partial(clean_up, dry_run=True), repair_index])
def test_nothing_is_removed_where_clocks_differ(
    store: CheckoutStore, clock: ManualClock, evicted: list[str], remove: Callable[..., Any], hours: int
) -> None:
    clock.advance(hours * HOUR)
    before = everything(store)
    with pytest.raises(WrongClock, match=r"is 3?[36],[06]00\.. s ahead of") as refused:
        remove(store)
    assert refused.value.exit_code == ExitCode.TRY_AGAIN
    assert everything(store) == before
    assert len(evicted) == len(store.database.read_many(evicted))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_tolerated_difference_is_told_and_ends_no_living_session(
    store: CheckoutStore, clock: ManualClock, evicted: list[str], sign: int
) -> None:
    """Whose clock it is does not matter: the earliest decides what has ended."""
    if sign < 0:
        ahead = store.redis.time() + 1_900_000
        store.redis.time = lambda: ahead  # type: ignore[method-assign]
    else:
        clock.advance(1900)  # longer than the sessions live
    report = clean_up(store)
    assert (report.removed_from_index, report.removed_from_database) == (0, 0)
    assert report.clocks is not None
    assert report.clocks.difference == pytest.approx(1900, abs=5)
    assert set(store.database.read_many(evicted)) == set(evicted) == entries(store).keys()


def test_an_end_is_not_moved_by_a_clock_that_runs_ahead(store: CheckoutStore, clock: ManualClock) -> None:
    (name,) = fill(store, 1)
    clock.advance(2 * HOUR)  # the row has ended by all clocks, and this process' is an hour ahead
    assert clean_up(store).still_alive == 1
    row = store.database.read(name)
    assert row is not None
    assert row.expires_at == pytest.approx(store.redis.time() + 1_800_000, abs=60_000)
    assert entries(store)[name] == pytest.approx(row.expires_at, abs=60_000)


def test_a_small_difference_is_none(store: CheckoutStore, clock: ManualClock) -> None:
    clock.advance(HOUR + 3)
    assert clean_up(store).clocks is None


def test_with_its_own_clock_alone_it_keeps_a_margin(
    another: Callable[..., CheckoutStore], store: CheckoutStore, settings: Settings, clock: ManualClock
) -> None:
    expire(store, clock, fill(store, 2))  # they ended half an hour ago
    alone = another(without_redis(settings))
    assert clean_up(alone).removed_from_database == 0
    clock.advance(HOUR)
    assert clean_up(alone).removed_from_database == 2


def test_the_databases_clock_counts(store: CheckoutStore, clock: ManualClock) -> None:
    expire(store, clock, fill(store, 2))
    behind = clock.milliseconds - HOUR * 1000
    store.database.own_time = lambda: behind  # type: ignore[method-assign]
    report = clean_up(store)
    assert (report.removed_from_index, report.removed_from_database) == (0, 0)
    assert str(report.clocks).endswith("ahead of the database's")


def test_the_database_away_is_told_once(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.redis.ask(("ZADD", INDEX, LONG_AGO, "gone-0001"))
    monkeypatch.setattr(store.database, "count_due", database_away)
    monkeypatch.setattr(store.database, "expiries", database_away)
    assert len(clean_up(store).unreachable) == 1


@pytest.fixture
def client(valkey: ValkeyServer) -> Iterator[Any]:
    with valkey.client() as opened:
        yield opened


def test_sessions_without_an_entry_are_looked_for_some_at_a_time(
    store: CheckoutStore, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "KEYS_IN_ONE_RUN", 500)
    for number in range(1200):
        client.set(f"checkout:session:unlisted-{number:04}", b"{}", px=600_000)
    client.zadd(INDEX, {"unlisted-0000": store.clock.wall() + 600_000})
    entered = [clean_up(store).entered_into_index for _ in range(4)]
    assert sum(entered) == 1199
    assert all(0 < number < 700 for number in entered[:2])


def test_an_index_that_was_lost_is_made_again_at_once(
    store: CheckoutStore, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "KEYS_IN_ONE_RUN", 500)
    for number in range(1200):
        client.set(f"checkout:session:unlisted-{number:04}", b"{}", px=600_000)
    assert clean_up(store).entered_into_index == 1200


@pytest.mark.parametrize(
    "written", [b"nonsense", b'{"finishedAt":"","seconds":1,"finished":true,"sessions":1,"cursor":"x"}']
)
def test_a_heartbeat_that_another_program_wrote_does_not_stop_it(
    store: CheckoutStore, client: Any, written: bytes
) -> None:
    client.set("checkout:job:cleanup", written)
    client.set("checkout:session:unlisted-0000", b"{}", px=600_000)
    client.zadd(INDEX, {"somebody-01": store.clock.wall() + 600_000})
    assert clean_up(store).entered_into_index == 1


def test_what_a_restart_took_from_the_index_is_entered_again_and_else_no_row_is_read(
    settings: Settings, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(settings)
    make_tables(store.database)
    for number in range(3):
        store.create({}, checkout_id=f"restart-{number:02}")
    clean_up(store)
    rows = store.database.living_ids
    read: list[int] = []

    def count(now: int) -> Iterator[dict[str, int]]:
        read.append(now)
        return rows(now)

    monkeypatch.setattr(store.database, "living_ids", count)
    client.zrem(INDEX, "restart-00")
    client.delete("checkout:session:restart-00")
    assert (clean_up(store).entered_into_index, read) == (0, [])  # the same server: nothing can be missing
    beat = client.get("checkout:job:cleanup")
    client.set("checkout:job:cleanup", beat.replace(b'"server":"', b'"server":"another-'))
    assert clean_up(store).entered_into_index == 1
    assert len(read) == 1
    store.close()
