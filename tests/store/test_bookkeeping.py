"""What a write counts, the switches, and that neither what lies there nor who is away stops a write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, SessionNotFound, TransitionRefused
from checkout_cli.keys import minute_key, tiers_key, user_key
from checkout_cli.session import Durability, iso
from checkout_cli.store.bookkeeping import MINUTES_KEPT, TRACKS_AT_ONCE, TRACKS_KEPT
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.books import USER, by_tier, counted, hash_at, meanwhile, minutes, times, user
from tests.support.stores import (
    ID,
    ManualClock,
    count_calls,
    database_away,
    external_write,
    flush_all,
    foreign_session,
    make_tables,
    put_raw,
    raw,
    redis_away,
    row_of,
    send_counts,
    without_redis,
)

# What is counted


def test_a_creation_is_counted_and_its_user_tracked(store: CheckoutStore, clock: ManualClock) -> None:
    store.create({"userId": USER, "subtotal": 5}, checkout_id=ID)
    now = iso(clock.milliseconds)
    assert hash_at(store, minute_key(clock.milliseconds // 60_000)) == {"created": "1", "create:0": "1"}
    assert user(store) == {"firstSeen": now, "lastSeen": now, "checkoutsStarted": "1", "lastStatus": "pending"}


Changes = list[Mapping[str, Any]]


@pytest.mark.parametrize(
    ("first", "changes", "expected"),
    [
        ({}, [{"notes": "ring"}], {"created": 1, "updated": 1}),
        ({}, [{"paymentStatus": "processing"}], {"created": 1, "updated": 1}),
        ({}, [{"paymentStatus": "paid"}], {"created": 1, "updated": 1, "completed": 1}),
        ({}, [{"databaseOrderId": "o-1"}], {"created": 1, "updated": 1, "completed": 1}),
        ({}, [{"databaseOrderId": "o-1"}, {"paymentStatus": "paid"}], {"created": 1, "updated": 2, "completed": 1}),
        ({}, [{"paymentStatus": "paid"}, {"paymentStatus": "paid"}], {"created": 1, "updated": 2, "completed": 1}),
        ({}, [{"paymentStatus": "failed"}], {"created": 1, "updated": 1, "failed": 1}),
        ({}, [{"paymentStatus": "failed"}, {"notes": "ring"}], {"created": 1, "updated": 2, "failed": 1}),
        ({}, [{"paymentStatus": status} for status in ("failed", "pending", "failed")],
         {"created": 1, "updated": 3, "failed": 2}),
        ({}, [{"paymentStatus": "cancelled"}], {"created": 1, "updated": 1, "cancelled": 1}),
        ({}, [{"paymentStatus": "cancelled", "databaseOrderId": "o-1"}],
         {"created": 1, "updated": 1, "cancelled": 1, "completed": 1}),
        ({"paymentStatus": "paid"}, [], {"created": 1, "completed": 1}),
        ({"paymentStatus": "failed"}, [{"paymentStatus": "paid"}],
         {"created": 1, "failed": 1, "updated": 1, "completed": 1}),
    ],
)  # fmt: skip
def test_a_transition_is_counted_when_the_session_becomes_so_and_not_again(
    store: CheckoutStore, first: Mapping[str, Any], changes: Changes, expected: dict[str, int]
) -> None:
    store.create(first, checkout_id=ID)
    for change in changes:
        store.update(ID, change)
    assert counted(store) == expected


def test_what_is_refused_is_not_counted(store: CheckoutStore) -> None:
    store.create({"userId": USER, "paymentStatus": "cancelled"}, checkout_id=ID)
    before = (minutes(store), user(store))
    with pytest.raises(TransitionRefused):
        store.set_payment_status(ID, "paid")
    with pytest.raises(CheckoutError):
        store.create({"userId": USER}, checkout_id=ID)
    with pytest.raises(SessionNotFound):
        store.update("session-0002", {"paymentStatus": "paid", "userId": USER})
    assert (minutes(store), user(store)) == before


def test_reads_looks_and_deletions_count_nothing_and_take_nothing_back(store: CheckoutStore) -> None:
    store.create({"userId": USER, "paymentStatus": "paid"}, checkout_id=ID)
    before = (minutes(store), user(store))
    store.get(ID)
    store.admin.inspect(ID)
    store.delete(ID)
    assert (minutes(store), user(store)) == before


def test_an_update_that_others_outran_is_counted_once(
    store: CheckoutStore, another: Callable[..., CheckoutStore]
) -> None:
    store.create({}, checkout_id=ID)
    other = another()
    meanwhile(store.database, "update", lambda: other.update(ID, {"theirs": 1}))
    store.update(ID, {"paymentStatus": "failed"})
    assert counted(store) == {"created": 1, "updated": 2, "failed": 1}


def test_reads_and_writes_are_counted_by_tier(
    another: Callable[..., CheckoutStore], store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({}, checkout_id=ID)
    store.update(ID, {"n": 1})
    for _ in range(3):
        store.get(ID)
    assert by_tier(store) == {"write:database": 2, "read:redis": 3}
    with monkeypatch.context() as away:
        away.setattr(store.redis, "open", redis_away)
        store.get(ID)
        assert not store.update(ID, {"n": 2}).published
    assert by_tier(store) == {"write:database": 3, "read:redis": 3, "read:database": 1, "unpublished": 1}
    with monkeypatch.context() as away:
        away.setattr(store.database, "update", database_away)
        away.setattr(store.database, "read", database_away)
        assert store.update(ID, {"n": 3}).durability is Durability.REDIS
    assert by_tier(store)["write:redis"] == 1


def test_what_was_read_while_redis_was_away_is_counted_in_its_own_minute(
    store: CheckoutStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({}, checkout_id=ID)
    send_counts()
    minute = clock.milliseconds // 60_000
    with monkeypatch.context() as away:
        away.setattr(type(store.redis.breaker), "is_open", True)
        away.setattr(store.redis, "open", redis_away)
        for _ in range(2):
            clock.advance(60)
            store.get(ID)
            store.get(ID)
            store.bookkeeping.flush()
    send_counts()
    found = [hash_at(store, tiers_key(minute + later)) for later in (1, 2)]
    assert found == [{"read:database": "2"}] * 2


def test_writes_are_counted_in_their_own_minute(store: CheckoutStore, clock: ManualClock) -> None:
    minute = clock.milliseconds // 60_000
    store.create({}, checkout_id=ID)
    clock.advance(60)
    store.update(ID, {"paymentStatus": "failed"})
    assert hash_at(store, minute_key(minute + 1)) == {"updated": "1", "failed": "1", "update:0": "1"}
    assert hash_at(store, minute_key(minute)) == {"created": "1", "create:0": "1"}


def test_each_write_grants_both_hashes_their_full_time_to_live(
    another: Callable[..., CheckoutStore], settings: Settings
) -> None:
    store = another(replace(settings, statistics_ttl=100, user_ttl=200))
    make_tables(store.database)
    store.create({"userId": USER}, checkout_id=ID)
    minute, tiers = sorted(store.redis.ask(("KEYS", "stats:*")))
    keys = (minute, user_key(USER), tiers)
    for key in keys:
        store.redis.ask(("PEXPIRE", key, 1000))
    store.set_payment_status(ID, "failed")
    send_counts()
    statistics_ttl, user_ttl, tiers_ttl = (store.redis.ask(("PTTL", key)) for key in keys)
    assert 90_000 < statistics_ttl <= 100_000
    assert 90_000 < tiers_ttl <= 100_000
    assert 190_000 < user_ttl <= 200_000


# Other programs' sessions


def test_taking_in_another_programs_session_is_an_update_and_no_creation(
    store: CheckoutStore, clock: ManualClock
) -> None:
    put_raw(store, ID, foreign_session(clock))
    store.get(ID)
    assert counted(store) == {}, "nothing was taken in"
    store.update(ID, {"notes": "ring", "userId": USER})
    assert counted(store) == {"updated": 1 + 1}, "what was taken in, and our change"
    assert user(store) == {}


def test_a_session_that_was_completed_when_it_was_taken_in_is_counted_by_who_took_it_in(store: CheckoutStore) -> None:
    put_raw(store, ID, b'{"paymentStatus":"paid","userId":"user-1"}')
    store.update(ID, {"databaseOrderId": "o-1"})
    assert counted(store) == {"updated": 2, "completed": 1}
    put_raw(store, "session-0002", b'{"paymentStatus":["odd"],"userId":"user-1"}')
    store.update("session-0002", {"databaseOrderId": "o-2"})
    assert counted(store) == {"updated": 4, "completed": 2}
    assert user(store)["checkoutsCompleted"] == "2"


def test_a_status_that_is_none_of_ours_is_not_kept_of_a_user(store: CheckoutStore) -> None:
    put_raw(store, ID, b'{"paymentStatus":["odd"],"userId":"user-1"}')
    store.update(ID, {"databaseOrderId": "o-2"})
    assert user(store).keys() == {"firstSeen", "lastSeen", "checkoutsCompleted"}


def test_a_payment_that_another_program_made_is_counted_once_by_whoever_takes_it_in(
    store: CheckoutStore, another: Callable[..., CheckoutStore]
) -> None:
    store.create({"userId": USER}, checkout_id=ID)
    written = external_write(store, {"paymentStatus": "paid", "databaseOrderId": "o-1"})
    for process in (another(), store):
        assert process.get(ID).version == 2
    put_raw(store, ID, written)
    assert another().get(ID).version == 2
    assert counted(store) == {"created": 1, "updated": 1, "completed": 1}
    assert user(store)["checkoutsCompleted"] == "1"
    assert store.database.totals().completed == 1


def test_a_payment_that_was_refused_is_not_counted(store: CheckoutStore) -> None:
    store.create({"paymentStatus": "cancelled"}, checkout_id=ID)
    external_write(store, {"paymentStatus": "paid", "notes": "theirs"})
    store.get(ID)
    assert counted(store) == {"created": 1, "cancelled": 1, "updated": 1}


def test_a_write_that_was_refused_in_part_is_counted_once_though_it_comes_back(
    store: CheckoutStore, another: Callable[..., CheckoutStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({}, checkout_id=ID)
    store.set_payment_status(ID, "paid")
    external_write(store, {"paymentStatus": "pending", "notes": "theirs"})
    with monkeypatch.context() as patch:
        patch.setattr(store.redis, "publish", redis_away)
        assert store.get(ID).version == 3
    dirty = raw(store, ID)
    assert dirty is not None
    flush_all(another())
    put_raw(store, ID, dirty)
    assert another().get(ID).version == 3
    assert counted(store) == {"created": 1, "updated": 2, "completed": 1}, "only who commits counts"


def test_a_write_is_counted_once_though_another_program_goes_on_writing(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"userId": USER}, checkout_id=ID)
    publish, publishes = store.redis.publish, 0

    def publish_over_another_write(*arguments: Any, **options: Any) -> Any:
        nonlocal publishes
        publishes += 1
        if publishes < 3:
            external_write(store, {"again": publishes})
        return publish(*arguments, **options)

    monkeypatch.setattr(store.redis, "publish", publish_over_another_write)
    store.update(ID, {"paymentStatus": "paid", "userId": USER})
    assert publishes == 3
    assert row_of(store).version == 3, "the second of them grew from what a merge had changed: it is a conflict"
    assert store.flush_log.conflict_count() == 1
    assert counted(store) == {"created": 1, "updated": 2, "completed": 1}
    assert user(store)["checkoutsCompleted"] == "1"


# Nothing that lies there, and nobody who is away, stops a write


@pytest.mark.parametrize("value", [("SET", "theirs"), ("SADD", "theirs"), ("HSET", "created", "many")])
def test_another_programs_value_at_the_minutes_key_stays_and_stops_nothing(
    store: CheckoutStore, clock: ManualClock, value: tuple[str, ...]
) -> None:
    key = minute_key(clock.milliseconds // 60_000)
    store.redis.ask((value[0], key, *value[1:]))
    before = store.redis.ask(("DUMP", key))
    assert store.create({"userId": USER}, checkout_id=ID).published
    assert store.redis.ask(("DUMP", key)) == before
    assert store.redis.ask(("PTTL", key)) == -1, "it would end with our time to live"
    assert user(store)["checkoutsStarted"] == "1"


@pytest.mark.parametrize("value", [("SET", "theirs"), ("SADD", "theirs")])
def test_another_programs_value_at_the_users_key_stays_and_stops_nothing(
    store: CheckoutStore, value: tuple[str, ...]
) -> None:
    store.redis.ask((value[0], user_key(USER), *value[1:]))
    before = store.redis.ask(("DUMP", user_key(USER)))
    assert store.create({"userId": USER}, checkout_id=ID).published
    assert store.set_payment_status(ID, "failed").published
    assert store.redis.ask(("DUMP", user_key(USER))) == before
    assert store.redis.ask(("PTTL", user_key(USER))) == -1
    assert counted(store) == {"created": 1, "updated": 1, "failed": 1}


def test_who_may_not_write_statistics_writes_sessions(
    another: Callable[..., CheckoutStore], store: CheckoutStore, settings: Settings
) -> None:
    store.redis.ask(("ACL", "SETUSER", "restricted", "on", ">secret", "+@all", "~checkout:*"))
    try:
        restricted = another(replace(settings, redis_username="restricted", redis_password="secret"))
        assert restricted.create({"userId": USER}, checkout_id=ID).published
        assert restricted.set_payment_status(ID, "failed").published
        restricted.close()
    finally:
        store.redis.ask(("ACL", "DELUSER", "restricted"))
    assert (minutes(store), user(store)) == ({}, {})


def test_while_redis_is_away_writes_go_on_and_what_is_kept_stays_small(
    another: Callable[..., CheckoutStore], settings: Settings, clock: ManualClock
) -> None:
    store = another(without_redis(settings))
    make_tables(store.database)
    store.create({"userId": USER}, checkout_id=ID)
    for _ in range(3 * MINUTES_KEPT):
        assert not store.set_payment_status(ID, "failed").published
        clock.advance(60)
    assert len(store.bookkeeping._minutes) == MINUTES_KEPT
    for number in range(TRACKS_KEPT + 1):
        store.bookkeeping.count(None, {"userId": f"user-{number}"})
    assert len(store.bookkeeping._users) == TRACKS_KEPT


def test_when_redis_is_back_what_happened_in_the_last_minutes_is_counted(
    store: CheckoutStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setattr(type(store.redis.breaker), "is_open", True)
        away.setattr(store.redis, "open", redis_away)
        away.setattr(store.redis, "claim", redis_away)
        store.create({"userId": USER}, checkout_id=ID)
        store.set_payment_status(ID, "failed")
        store.bookkeeping.flush()
    clock.advance(60)
    store.update(ID, {"notes": "ring"})
    assert counted(store) == {"created": 1, "failed": 1, "updated": 2}
    assert times(store) == {"create:0": 1, "update:0": 2}
    assert (user(store)["checkoutsStarted"], user(store)["checkoutsFailed"]) == ("1", "1")


def test_many_users_are_not_kept_waiting(store: CheckoutStore) -> None:
    for number in range(TRACKS_AT_ONCE + 1):
        store.create({"userId": f"user-{number}"}, checkout_id=f"session-{number:04}")
    assert len(store.redis.ask(("KEYS", "user:*"))) == TRACKS_AT_ONCE + 1


@pytest.mark.parametrize("how", ["away", "chosen"])
def test_what_redis_accepted_alone_is_counted_once_by_whoever_flushes_it(
    another: Callable[..., CheckoutStore],
    settings: Settings,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    store = another(replace(settings, durability="redis") if how == "chosen" else settings)
    make_tables(store.database)
    with monkeypatch.context() as away:
        if how == "away":
            away.setattr(store.database, "insert", database_away)
        written = store.create({"userId": USER, "paymentStatus": "paid"}, checkout_id=ID)
    assert written.durability is Durability.REDIS
    assert (counted(store), user(store)) == ({}, {})
    dirty = raw(store, ID)
    assert dirty is not None
    flush_all(another())
    put_raw(store, ID, dirty)
    other = another()
    assert other.get(ID).version == 1
    assert other.update(ID, {"notes": "ring"}).session.version == 2
    assert counted(store) == {"created": 1, "completed": 1, "updated": 1}
    assert user(store)["checkoutsStarted"] == user(store)["checkoutsCompleted"] == "1"


def test_a_commit_whose_answer_was_lost_is_counted_once(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create({}, checkout_id=ID)
    transaction, lost = store.database.transaction, 0

    @contextmanager
    def losing_the_answer() -> Iterator[Any]:
        nonlocal lost
        with transaction() as connection:
            yield connection
        if not lost:
            lost += 1
            database_away()

    monkeypatch.setattr(store.database, "transaction", losing_the_answer)
    store.set_payment_status(ID, "failed")
    assert lost == 1
    assert counted(store) == {"created": 1, "updated": 1, "failed": 1}


# What it costs, and the switches


def test_counting_and_tracking_add_a_round_trip_once_a_second(
    another: Callable[..., CheckoutStore], store: CheckoutStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = another(replace(settings, enable_statistics=False, enable_user_sessions=False))
    told = []
    for process, checkout_id in ((store, "session-0001"), (off, "session-0002")):
        exchanges = count_calls(process.redis.servers()[0], "_send", monkeypatch)
        process.create({"userId": USER}, checkout_id=checkout_id)
        process.set_payment_status(checkout_id, "failed")
        process.update(checkout_id, {"notes": "ring"})
        told.append([len(commands) for commands, *_ in exchanges])
    on, without = told
    assert len(on) == len(without) + 1
    assert sum(on) == sum(without) + 4, "the minute, the user, and the tiers with their time to live"


def test_the_switch_of_the_statistics(another: Callable[..., CheckoutStore], settings: Settings) -> None:
    store = another(replace(settings, enable_statistics=False))
    make_tables(store.database)
    store.create({"userId": USER}, checkout_id=ID)
    store.close()
    assert (minutes(store), user(store)["checkoutsStarted"]) == ({}, "1")


def test_the_switch_of_the_tracking(another: Callable[..., CheckoutStore], settings: Settings) -> None:
    store = another(replace(settings, enable_user_sessions=False))
    make_tables(store.database)
    store.create({"userId": USER}, checkout_id=ID)
    assert (counted(store), user(store)) == ({"created": 1}, {})


def test_where_sessions_are_not_kept_in_redis_nothing_is(
    another: Callable[..., CheckoutStore], store: CheckoutStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = another(replace(settings, enable_checkout_sessions=False))
    exchanges = count_calls(off.redis, "exchange", monkeypatch)
    off.create({"userId": USER}, checkout_id=ID)
    off.close()
    assert exchanges == []
