"""The protocol of ARCHITECTURE.md on real servers: reads, fill markers, publishing, versions."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from checkout_cli.errors import (
    SessionDeleted,
    SessionNotFound,
)
from checkout_cli.session import Durability, TierName
from checkout_cli.settings import Settings
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis_commands import Script
from checkout_cli.store.redis_tier import FILL_TIME
from tests.servers import ValkeyServer
from tests.store.support import (
    ID,
    ManualClock,
    count_calls,
    database_away,
    evict,
    key_of,
    make_store,
    put_raw,
    raw,
    trusted,
    wait_until,
)

# Reads


def test_a_session_that_was_created_is_read_from_redis(store: CheckoutStore) -> None:
    acknowledgement = store.create({"subtotal": 5}, checkout_id=ID)
    assert (acknowledgement.durability, acknowledgement.published) == (Durability.DATABASE, True)
    assert store.get(ID).tier is TierName.REDIS


def test_a_trusted_read_is_one_round_trip_and_asks_no_database(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({}, checkout_id=ID)
    store.get(ID)
    exchanges = count_calls(store.redis, "exchange", monkeypatch)
    monkeypatch.setattr(store.database, "read", database_away)
    monkeypatch.setattr(store.database, "pending", database_away)
    assert store.get(ID).tier is TierName.REDIS
    assert len(exchanges) == 1


def test_an_evicted_session_is_filled_in_again(store: CheckoutStore) -> None:
    store.create({"a": 1}, checkout_id=ID)
    evict(store, ID)
    assert store.get(ID).tier is TierName.DATABASE
    assert trusted(store) is not None


def test_a_miss_leaves_nothing_behind(store: CheckoutStore) -> None:
    with pytest.raises(SessionNotFound):
        store.get(ID)
    assert store.redis.ask(("DBSIZE",)) == 0


def test_a_miss_does_not_remove_a_session_that_another_program_creates_meanwhile(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = store.database.read

    def read_while_another_program_writes(checkout_id: str) -> Any:
        put_raw(store, ID, b'{"subtotal":1}')
        return read(checkout_id)

    monkeypatch.setattr(store.database, "read", read_while_another_program_writes)
    with pytest.raises(SessionNotFound):
        store.get(ID)
    assert raw(store, ID) == b'{"subtotal":1}'


def test_a_miss_while_the_database_is_away_keeps_the_index_entry_of_an_evicted_session(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({}, checkout_id=ID)
    evict(store, ID)
    monkeypatch.setattr(store.database, "read", database_away)
    with pytest.raises(Exception, match="the test says"):
        store.get(ID)
    assert store.index.missing([ID]) == []


# Fill markers


def marker_of(store: CheckoutStore) -> bytes:
    value = raw(store, ID)
    assert value is not None
    assert value.startswith(b"fill:")
    return value


def test_a_marker_is_no_json_so_that_others_see_a_miss(store: CheckoutStore) -> None:
    store.redis.open(ID)
    with pytest.raises(ValueError, match=r"Expecting value"):
        json.loads(marker_of(store))
    assert re.fullmatch(rb"fill:[0-9a-f]{16}:\d{13}", marker_of(store))
    with pytest.raises(SessionNotFound):
        store.peek(ID)
    assert list(store.iterate()) == []


def test_of_two_who_miss_one_may_fill(store: CheckoutStore, another: Callable[..., CheckoutStore]) -> None:
    first, second = store.redis.open(ID), another().redis.open(ID)
    assert first.token
    assert second.token == b""
    assert first.value is second.value is None


def test_a_filler_that_died_is_followed_after_ten_seconds_though_readers_slide_its_marker(
    store: CheckoutStore, another: Callable[..., CheckoutStore]
) -> None:
    other = another()
    store.redis.open(ID)
    other.redis.open(ID)
    assert store.redis.ask(("PTTL", key_of(ID))) > 10_000, "a reader's GETEX has slid the marker"
    old = re.sub(rb"\d+$", b"%d" % (store.redis.time() - FILL_TIME + 1000), marker_of(store))
    put_raw(store, ID, old)
    assert other.redis.open(ID).token == b""
    put_raw(store, ID, re.sub(rb"\d+$", b"%d" % (store.redis.time() - FILL_TIME), old))
    assert other.redis.open(ID).token
    assert marker_of(store) != old


def test_who_lost_the_marker_fills_nothing(store: CheckoutStore, another: Callable[..., CheckoutStore]) -> None:
    store.create({"n": 1}, checkout_id=ID)
    record = store.database.read(ID)
    assert record is not None
    evict(store, ID)
    stalled = store.redis.open(ID)
    other = another()
    assert other.update(ID, {"n": 2}).published
    assert store.redis.publish(record, stalled, 0) == "missing", "the other's publish removed the marker it did not own"
    assert raw(store, ID) is None
    assert store.get(ID).fields["n"] == 2


@pytest.mark.parametrize("value", [b"fill:", b"fill:x", b"fill:x:y", b"fill::", b"fill:x:99999999999999999999"])
def test_a_marker_that_nobody_can_read_is_taken_over_or_ends(store: CheckoutStore, value: bytes) -> None:
    put_raw(store, ID, value)
    opened = store.redis.open(ID)
    assert opened.value is None
    store.create({}, checkout_id=ID)
    assert store.get(ID).version == 1


# Publishing


VALUE = b'{"version":%d,"stamp":"%s","a":1}'
MARKER = b"fill:mine:1"


@pytest.mark.parametrize(
    ("there", "version", "token", "outcome", "after"),
    [
        (None, 3, b"", "missing", None),
        (None, 3, b"mine", "missing", None),
        (MARKER, 3, b"mine", "set", "new"),
        (MARKER, 3, b"", "cleared", None),
        (MARKER, 3, b"min", "cleared", None),
        (b"fill:mine2:1", 3, b"mine", "cleared", None),
        (b"fill:other:1", 3, b"mine", "cleared", None),
        (b'{"a":1}', 3, b"", "cleared", None),
        (b"not json", 3, b"", "cleared", None),
        (b"", 3, b"", "cleared", None),
        (b'{"version": 9,"stamp":"s","a":1}', 3, b"", "cleared", None),
        (VALUE % (2, b"old"), 3, b"", "set", "new"),
        (VALUE % (2, b"new"), 3, b"", "set", "new"),
        (VALUE % (3, b"old"), 3, b"", "set", "new"),
        (VALUE % (3, b"new"), 3, b"", "newer", "same"),
        (VALUE % (4, b"old"), 3, b"", "newer", "same"),
        (VALUE % (10, b"old"), 9, b"", "newer", "same"),
        (VALUE % (4, b"old"), 3, b"mine", "newer", "same"),
    ],
)
@pytest.mark.parametrize("deletion", [False, True])
def test_each_outcome_of_a_publish(
    store: CheckoutStore,
    any_redis_server: ValkeyServer,
    there: bytes | None,
    version: int,
    token: bytes,
    outcome: str,
    after: str | None,
    deletion: bool,
) -> None:
    new = b"" if deletion else VALUE % (version, b"new")
    with any_redis_server.client() as client:
        if there is not None:
            client.set("key", there, px=50_000)
        told = client.eval(Script("publish").text, 1, "key", version, b"new", token, new, 90_000)
        left = client.get("key")
        assert told == outcome.encode()
        assert left == {"new": new or None, "same": there, None: None}[after]
        if outcome == "set" and not deletion:
            assert 80_000 < client.pttl("key") <= 90_000


@pytest.mark.parametrize("loss", ["DEL", "FLUSHALL", "a tombstone"])
def test_a_late_publish_does_not_bring_a_key_back(
    store: CheckoutStore, another: Callable[..., CheckoutStore], monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    store.create({"n": 1}, checkout_id=ID)
    other, publish = another(), store.redis.publish

    def publish_late(*arguments: Any, **options: Any) -> str:
        monkeypatch.setattr(store.redis, "publish", publish)
        if loss == "a tombstone":
            other.delete(ID)
        else:
            other.update(ID, {"n": 3})
            other.redis.ask(("DEL", key_of(ID)) if loss == "DEL" else ("FLUSHALL",))
        return publish(*arguments, **options)

    monkeypatch.setattr(store.redis, "publish", publish_late)
    store.update(ID, {"n": 2})
    assert raw(store, ID) is None
    if loss == "a tombstone":
        with pytest.raises(SessionDeleted):
            other.get(ID)
    else:
        assert other.get(ID).fields["n"] == 3


def test_a_time_out_of_a_publish_that_arrives_later_is_never_trusted(
    valkey_server: Callable[..., ValkeyServer], settings: Settings, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = valkey_server()
    there = replace(settings, redis_port=server.port, timeout=0.1)
    with make_store(there, clock) as store, make_store(there, clock) as other:
        store.database.create_schema()
        store.create({"n": 1}, checkout_id=ID)
        update = store.database.update

        def update_and_freeze(*arguments: Any, **options: Any) -> bool:
            done = update(*arguments, **options)
            server.pause()
            return done

        monkeypatch.setattr(store.database, "update", update_and_freeze)
        assert not store.update(ID, {"n": 2}).published
        assert not other.update(ID, {"n": 3}).published
        server.resume()  # and now the first publish comes through
        with server.client() as client:
            wait_until(lambda: b'"n":2' in client.get(key_of(ID)))
        assert store.get(ID).fields["n"] == 3
        clock.advance(10)
        assert other.get(ID).fields["n"] == 3
        assert trusted(other) is not None
        assert store.get(ID).fields["n"] == 3
        assert trusted(store) is not None


# Threads and versions


def test_threads_that_change_different_fields_lose_nothing(
    store: CheckoutStore, another: Callable[..., CheckoutStore]
) -> None:
    store.create({}, checkout_id=ID)
    stores = [store, another()]
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for value in range(5):
                stores[number % 2].update(ID, {f"field{number}": value})
        except BaseException as error:  # noqa: BLE001  (a thread's error must reach the test)
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    fields = another().get(ID).fields
    assert [fields[f"field{number}"] for number in range(8)] == [4] * 8
    row = store.database.read(ID)
    assert row is not None
    assert row.version == 41


def test_a_stale_copy_never_costs_a_change(store: CheckoutStore, another: Callable[..., CheckoutStore]) -> None:
    store.create({}, checkout_id=ID)
    old = raw(store, ID)
    assert old is not None
    another().update(ID, {"theirs": 1})
    put_raw(store, ID, old)  # what a partition or a bug may leave behind, with a stamp that is right
    assert store.update(ID, {"ours": 1}).session.version == 3
    assert store.get(ID).fields["theirs"] == 1
