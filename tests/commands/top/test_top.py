"""One look at everything, and what it says where something is away, denied or strange."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from checkout_cli.commands.health.health import HealthCheck, Status
from checkout_cli.commands.memory.show import COMMAND
from checkout_cli.commands.sessions import ending_soon as module
from checkout_cli.commands.sessions.ending_soon import ending_soon
from checkout_cli.commands.top.top import Top
from checkout_cli.domain.statistics import Source
from checkout_cli.files.last_look import LastLook, Reading
from checkout_cli.keys import INDEX, INDEX_BESIDE, LOCK_PREFIX
from checkout_cli.session import PaymentStatus, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.servers import ValkeyServer
from tests.support.stores import ManualClock, key_of, make_store, without_database, without_redis


def top_of(store: CheckoutStore, directory: Path) -> Top:
    return Top(store, HealthCheck(lambda: store.settings, clock=store.clock).look, last_look=LastLook(directory))


def test_a_look_tells_what_moves(store: CheckoutStore, tmp_path: Path) -> None:
    ids = [store.create({"totalAmount": number}).session.checkout_id for number in range(12)]
    store.set_payment_status(ids[0], PaymentStatus.PAID)
    store.bookkeeping.flush()
    look = top_of(store, tmp_path).look()
    assert look.snapshot.health.status is Status.HEALTHY
    assert look.snapshot.statuses == {"pending": 11, "paid": 1}
    assert look.snapshot.report is not None
    assert look.snapshot.report.total("created") == 12
    assert [memory.used > 0 for memory in look.memory] == [True]
    assert look.ending is not None
    assert len(look.ending.sightings) == 10
    assert look.slow is not None


def test_memory_grows_between_looks_and_says_when_it_is_full(valkey: ValkeyServer, store: CheckoutStore) -> None:
    with valkey.client() as client:
        client.config_set("maxmemory", "50mb")
        try:
            time = ManualClock()
            own = make_store(store.settings, time)
            looking = top_of(own, Path(store.settings.database_url.removeprefix("sqlite:///")).parent)
            assert looking.look().memory[0].growth is None
            for number in range(100):
                client.set(f"{LOCK_PREFIX}filler-{number}", b"x" * 98_000)  # a large one would stay in a buffer too
            time.advance(30)
            memory = looking.look().memory[0]
        finally:
            client.config_set("maxmemory", "0")
    assert memory.growth is not None
    assert memory.growth.seconds == pytest.approx(30, abs=0.1)
    assert memory.growth.size == pytest.approx(10_000_000, rel=0.2)
    left = 50 * 1024**2 - memory.used  # a server that earlier tests have used holds more than an empty one
    assert memory.minutes_until_full == pytest.approx(left / (2 * memory.growth.size), rel=0.01)


def test_the_first_look_compares_with_what_memory_show_saw(
    valkey: ValkeyServer, store: CheckoutStore, tmp_path: Path
) -> None:
    first = top_of(store, tmp_path).look()
    run = first.snapshot.servers[first.memory[0].place].text("run_id") or ""
    earlier = Reading(store.clock.wall() - 60_000, run, {"used_memory": 0.0, "evicted_keys": 0.0})
    LastLook(tmp_path).remember(COMMAND, first.memory[0].place, earlier)
    memory = top_of(store, tmp_path).look().memory[0]
    assert memory.growth is not None
    assert memory.growth.size == memory.used


def test_a_restart_is_no_growth(
    valkey_server: Callable[..., ValkeyServer], store: CheckoutStore, tmp_path: Path
) -> None:
    server = valkey_server()
    time = ManualClock()
    own = make_store(replace(store.settings, redis_port=server.port), time)
    looking = top_of(own, tmp_path)
    looking.look()
    server.kill()
    time.advance(20)
    away = looking.look()
    assert (away.snapshot.health.status, away.memory, away.slow) == (Status.DEGRADED, (), None)
    server.start()
    time.advance(20)
    back = looking.look()
    assert back.snapshot.health.status is Status.HEALTHY
    assert back.memory[0].growth is None


def test_without_redis_the_database_knows_who_ends_soon(store: CheckoutStore, tmp_path: Path) -> None:
    ids = [store.create({}).session.checkout_id for _ in range(3)]
    own = make_store(without_redis(store.settings))
    look = top_of(own, tmp_path).look()
    assert look.snapshot.health.status is Status.DEGRADED
    assert look.ending is not None
    assert {each.checkout_id for each in look.ending.sightings} == set(ids)
    assert all(each.tier is TierName.DATABASE for each in look.ending.sightings)
    assert (look.slow, look.why_no_slow) == (None, "")


def test_without_any_tier_there_is_a_look_all_the_same(store: CheckoutStore, tmp_path: Path) -> None:
    own = make_store(without_database(without_redis(store.settings)))
    look = top_of(own, tmp_path).look()
    assert look.snapshot.health.status is Status.UNHEALTHY
    assert (look.ending, look.slow, look.memory, look.snapshot.report) == (None, None, (), None)


def test_with_a_wrong_password_the_database_tells_how_sales_go(store: CheckoutStore, tmp_path: Path) -> None:
    store.create({})
    look = top_of(make_store(replace(store.settings, redis_password="wrong")), tmp_path).look()
    assert look.snapshot.report is not None
    assert (look.snapshot.report.source, look.snapshot.report.total("created")) == (Source.DATABASE, 1)


def test_a_look_at_a_hung_redis_costs_one_time_out(
    store: CheckoutStore, valkey_server: Callable[..., ValkeyServer], tmp_path: Path
) -> None:
    server = valkey_server()
    own = make_store(replace(store.settings, redis_port=server.port, timeout=0.3, database_timeout=0.3))
    server.pause()
    try:
        with mock.patch.object(own.redis, "ask_all", side_effect=AssertionError("asked a second time")):
            look = top_of(own, tmp_path).look()
    finally:
        server.resume()
    assert look.snapshot.health.status is Status.DEGRADED
    assert look.snapshot.report is not None


def test_what_is_denied_says_what_it_needs(valkey: ValkeyServer, store: CheckoutStore, tmp_path: Path) -> None:
    store.create({})
    with valkey.client() as client:
        client.execute_command("ACL", "SETUSER", "blind", "on", ">secret", "~*", "+@all", "-slowlog", "-zrange")
        try:
            own = make_store(replace(store.settings, redis_username="blind", redis_password="secret"))
            look = top_of(own, tmp_path).look()
        finally:
            client.execute_command("ACL", "DELUSER", "blind")
    assert look.slow is None
    assert "slowlog" in look.why_no_slow.lower()
    assert look.ending is None
    assert "zrange" in look.why_no_ending.lower()


# Who ends next


def test_the_real_ends_count_and_not_the_earliest_that_the_index_knows(store: CheckoutStore) -> None:
    ids = [store.create({}).session.checkout_id for _ in range(4)]
    with_ttl = dict(zip(ids, (400_000, 100_000, 300_000, 200_000), strict=True))
    for checkout_id, ttl in with_ttl.items():
        store.redis.ask(("PEXPIRE", key_of(checkout_id), ttl))
    found = ending_soon(store, 3, use_redis=True)
    assert found.exact
    assert [each.checkout_id for each in found.sightings] == [ids[1], ids[3], ids[2]]


def test_a_later_end_that_redis_has_not_heard_of_counts(store: CheckoutStore) -> None:
    ids = [store.create({}).session.checkout_id for _ in range(3)]
    for place, checkout_id in enumerate(ids):
        store.redis.ask(("PEXPIRE", key_of(checkout_id), 100_000 + place * 1000))
    away = make_store(without_redis(store.settings))
    away.update(ids[0], {"notes": "on the telephone"})  # 30 more minutes, of which Redis has not heard
    found = ending_soon(store, 2, use_redis=True)
    assert ([each.checkout_id for each in found.sightings], found.exact) == ([ids[1], ids[2]], True)


def test_without_an_index_and_with_many_keys_of_others_a_count_is_bounded(store: CheckoutStore) -> None:
    store.create({})
    store.redis.ask(("DEL", INDEX))
    keys = [part for number in range(30_000) for part in (f"other:{number}", 1)]
    store.redis.ask(("MSET", *keys))
    assert not store.index.count(store.clock.wall()).exact
    store.redis.ask(("FLUSHDB",))
    assert store.index.count(store.clock.wall()).exact


def test_the_dead_and_the_endless_are_none_of_them(store: CheckoutStore) -> None:
    living, dead, endless = (store.create({}).session.checkout_id for _ in range(3))
    store.redis.ask(("DEL", key_of(dead)))
    store.redis.ask(("PERSIST", key_of(endless)))
    assert [each.checkout_id for each in ending_soon(store, 5, use_redis=True).sightings] == [living]


def test_a_look_at_very_many_due_entries_is_bounded_and_says_so(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = store.clock.wall()
    store.redis.ask(("ZADD", INDEX, *(part for n in range(30) for part in (now - 1000 + n, f"gone-{n:06}"))))
    last = store.create({}).session.checkout_id
    monkeypatch.setattr(module, "PAGE", 10)
    monkeypatch.setattr(module, "MOST_LOOKED_AT", 20)
    with mock.patch.object(store.redis, "remaining", wraps=store.redis.remaining) as asked:
        found = ending_soon(store, 5, use_redis=True)
    assert (found.sightings, found.exact, asked.call_count) == ((), False, 2)
    monkeypatch.setattr(module, "MOST_LOOKED_AT", 40)
    found = ending_soon(store, 5, use_redis=True)
    assert ([each.checkout_id for each in found.sightings], found.exact) == ([last], True)


def test_what_only_an_older_programs_set_names_ends_soon_too(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = store.create({}).session.checkout_id
    store.redis.ask(("RENAME", INDEX, INDEX_BESIDE))
    for name, life in (("older-0001", 60_000), ("older-0002", 30_000)):
        store.redis.ask(("SET", key_of(name), b'{"totalAmount":1}', "PX", life))
        store.redis.ask(("SADD", INDEX, name))
    found = ending_soon(store, 5, use_redis=True)
    assert [seen.checkout_id for seen in found.sightings] == ["older-0002", "older-0001", later]
    assert found.exact
    store.redis.ask(("SADD", INDEX, *(f"older-{number:05}" for number in range(5000))))
    monkeypatch.setattr(module, "COUNTED_DUE", 10)
    assert not ending_soon(store, 5, use_redis=True).exact


def test_without_any_index_the_database_answers(store: CheckoutStore) -> None:
    checkout_id = store.create({}).session.checkout_id
    store.redis.ask(("DEL", INDEX))
    (seen,) = ending_soon(store, 5, use_redis=True).sightings
    assert (seen.checkout_id, seen.tier) == (checkout_id, TierName.DATABASE)


def test_looking_extends_no_life(store: CheckoutStore, tmp_path: Path) -> None:
    checkout_id = store.create({}).session.checkout_id
    store.redis.ask(("PEXPIRE", key_of(checkout_id), 60_000))
    top_of(store, tmp_path).look()
    assert store.redis.ask(("PTTL", key_of(checkout_id))) <= 60_000
