"""The protocol of ARCHITECTURE.md on real servers: reads, fill claims, publishing, versions."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import SessionDeleted, SessionNotFound
from checkout_cli.keys import PENDING, claim_key
from checkout_cli.session import Durability, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.publishing import MOST_TRIES, Outcome
from checkout_cli.store.protocol.value import encode
from checkout_cli.store.records import Record
from checkout_cli.store.redis.opened import Opened
from checkout_cli.store.redis.tier import FILL_TIME
from tests.support.servers import ValkeyServer
from tests.support.stores import (
    ID,
    ManualClock,
    count_calls,
    database_away,
    evict,
    key_of,
    make_store,
    make_tables,
    put_raw,
    raw,
    row_of,
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
    monkeypatch.setattr(store.database, "look", database_away)
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


# Fill claims


def claim_of(store: CheckoutStore) -> bytes | None:
    value: bytes | None = store.redis.ask(("GET", claim_key(ID)))
    return value


def put_claim(store: CheckoutStore) -> None:
    store.redis.ask(("SET", claim_key(ID), "somebody else's", "PX", FILL_TIME))


def test_a_claim_leaves_the_sessions_key_missing_for_every_program(store: CheckoutStore) -> None:
    opened = store.redis.open(ID)
    assert claim_of(store) == opened.token
    assert re.fullmatch(rb"[0-9a-f]{16}", opened.token)
    assert raw(store, ID) is None
    with pytest.raises(SessionNotFound):
        store.admin.inspect(ID)
    assert list(store.admin.iterate()) == []


def test_of_two_who_miss_one_may_fill(store: CheckoutStore, another: Callable[..., CheckoutStore]) -> None:
    first, second = store.redis.open(ID), another().redis.open(ID)
    assert first.token
    assert second.token == b""
    assert first.value is second.value is None


def test_a_filler_that_died_is_followed_when_its_claim_ends_and_readers_do_not_slide_it(
    store: CheckoutStore, another: Callable[..., CheckoutStore]
) -> None:
    other = another()
    store.redis.open(ID)
    store.redis.ask(("PEXPIRE", claim_key(ID), 5_000))
    assert other.redis.open(ID).token == b""
    assert 0 < store.redis.ask(("PTTL", claim_key(ID))) <= 5_000
    store.redis.ask(("PEXPIRE", claim_key(ID), 1))
    wait_until(lambda: claim_of(store) is None)
    assert other.redis.open(ID).token
    assert 5_000 < store.redis.ask(("PTTL", claim_key(ID))) <= FILL_TIME


def test_who_lost_the_claim_fills_nothing(store: CheckoutStore, another: Callable[..., CheckoutStore]) -> None:
    store.create({"n": 1}, checkout_id=ID)
    record = row_of(store)
    evict(store, ID)
    stalled = store.redis.open(ID)
    other = another()
    assert other.update(ID, {"n": 2}).published
    outcome, _ = store.redis.publish(record, stalled, 0)
    assert outcome is Outcome.MISSING, "the other's publish ended the claim that it did not own"
    assert raw(store, ID) is None
    assert store.get(ID).fields["n"] == 2


def test_a_claim_of_an_id_that_no_row_can_have_is_never_made(store: CheckoutStore) -> None:
    assert store.redis.open("odd:id").token == b""
    assert store.redis.ask(("DBSIZE",)) == 0


def test_a_claim_that_led_to_nothing_is_given_up_and_another_ones_is_not(
    store: CheckoutStore, another: Callable[..., CheckoutStore]
) -> None:
    opened = store.redis.open(ID)
    put_claim(store)
    store.redis.release(ID, opened)
    assert claim_of(store) == b"somebody else's"
    with pytest.raises(SessionNotFound):
        another().get(ID)
    assert claim_of(store) == b"somebody else's"


def overwrite(store: CheckoutStore, record: Record, seen: Opened) -> None:
    assert store.redis.publish(newer(record), seen, NOW)[0] is Outcome.SET


def delete(store: CheckoutStore, record: Record, seen: Opened) -> None:
    assert store.redis.publish(newer(record, None), seen, NOW)[0] is Outcome.SET


def find_missing(store: CheckoutStore, record: Record, seen: Opened) -> None:
    evict(store, ID)
    assert store.redis.publish(newer(record), seen, NOW)[0] is Outcome.MISSING


def find_missing_and_delete(store: CheckoutStore, record: Record, seen: Opened) -> None:
    evict(store, ID)
    assert store.redis.publish(newer(record, None), seen, NOW)[0] is Outcome.MISSING


def fill_without_a_claim(store: CheckoutStore, record: Record, seen: Opened) -> None:
    evict(store, ID)
    assert store.redis.publish(newer(record), seen.now_with(None), NOW)[0] is Outcome.MISSING


def write_dirty(store: CheckoutStore, record: Record, seen: Opened) -> None:
    assert store.redis.swap(ID, seen, b"{}", now=NOW, expires_at=NOW + 1000, dirty=True).done


def fail_to_write_dirty(store: CheckoutStore, record: Record, seen: Opened) -> None:
    evict(store, ID)
    assert not store.redis.swap(ID, seen, b"{}", now=NOW, expires_at=NOW + 1000, dirty=True).done


@pytest.mark.parametrize(
    "script",
    [
        overwrite,
        delete,
        find_missing,
        find_missing_and_delete,
        fill_without_a_claim,
        write_dirty,
        fail_to_write_dirty,
    ],
    ids=lambda script: script.__name__,
)
def test_whoever_writes_or_deletes_a_session_or_finds_it_missing_ends_every_claim(
    store: CheckoutStore, script: Callable[[CheckoutStore, Record, Opened], None]
) -> None:
    """Else a stalled filler would bring back what it has read before that."""
    store.create({"n": 1}, checkout_id=ID)
    seen = store.redis.open(ID)
    put_claim(store)
    script(store, row_of(store), seen)
    assert claim_of(store) is None


def test_who_is_refused_leaves_claims_alone(store: CheckoutStore) -> None:
    store.create({"n": 1}, checkout_id=ID)
    seen = store.redis.open(ID)
    put_raw(store, ID, b"another program's")
    put_claim(store)
    assert store.redis.publish(newer(row_of(store)), seen, NOW)[0] is Outcome.EXTERNAL
    assert claim_of(store) is not None


# Publishing

NOW = 1_800_000_000_000
ROW = Record(ID, 3, b'{"n":3}', NOW, NOW + 90_000, "w3-2")
ACCOUNTED = b'{"n":"accounted for"}'


def newer(record: Record, body: bytes | None = b'{"n":9}') -> Record:
    return msgspec.structs.replace(record, version=record.version + 1, body=body, expires_at=NOW + 90_000)


def there(case: str, identity: bytes | None) -> bytes:
    """What lies at the key."""
    cases = {
        "older": encode(2, identity, b"{}"),
        "older, of another server": encode(2, b"another:server", b"{}"),
        "older and questionable": encode(2, identity, b"{}", questionable=True),
        "the same": encode(3, identity, b"{}"),
        "the same, of another server": encode(3, b"another:server", b"{}"),
        "the same and questionable": encode(3, identity, b"{}", questionable=True),
        "newer": encode(4, identity, b"{}"),
        "newer, of another server": encode(4, b"another:server", b"{}"),
        "newer and questionable": encode(4, identity, b"{}", questionable=True),
        "dirty, the row's own write": encode(1, identity, b"{}", ["w3-2"]),
        "dirty, the row's own write on top of another's": encode(1, identity, b"{}", ["w1-1", "w3-2"]),
        "dirty, with the row's write in it": encode(1, identity, b"{}", ["w3-3"]),
        "dirty, with the row's write and another": encode(1, identity, b"{}", ["w3-2", "w4-1"]),
        "dirty, with an earlier write than the row's": encode(1, identity, b"{}", ["w3-1"]),
        "dirty, grown from the row": encode(3, identity, b"{}", ["w4-1"]),
        "dirty, grown from a newer row": encode(4, identity, b"{}", ["w4-1"], questionable=True),
        "dirty, unrelated": encode(2, identity, b"{}", ["w4-1"]),
        "tampered with": encode(2, identity, b"{}").replace(b'" ', b'"'),
        "tampered with, newer": encode(9, identity, b"{}").replace(b'" ', b'"'),
        "without our header": b'{"n":1}',
        "no session": b"rubbish",
        "empty": b"",
        "accounted for": ACCOUNTED,
    }
    return cases[case]


OUTCOMES = {
    "older": Outcome.SET,
    "older, of another server": Outcome.SET,
    "older and questionable": Outcome.SET,
    "the same": Outcome.NEWER,
    "the same, of another server": Outcome.SET,
    "the same and questionable": Outcome.SET,
    "newer": Outcome.NEWER,
    "newer, of another server": Outcome.NEWER,
    "newer and questionable": Outcome.NEWER,
    "dirty, the row's own write": Outcome.SET,
    "dirty, the row's own write on top of another's": Outcome.NEWER,
    "dirty, with the row's write in it": Outcome.NEWER,
    "dirty, with the row's write and another": Outcome.NEWER,
    "dirty, with an earlier write than the row's": Outcome.DIRTY,
    "dirty, grown from the row": Outcome.NEWER,
    "dirty, grown from a newer row": Outcome.NEWER,
    "dirty, unrelated": Outcome.DIRTY,
    "tampered with": Outcome.EXTERNAL,
    "tampered with, newer": Outcome.EXTERNAL,
    "without our header": Outcome.EXTERNAL,
    "no session": Outcome.EXTERNAL,
    "empty": Outcome.EXTERNAL,
    "accounted for": Outcome.SET,
}
SEEN = ("it was seen", "something else was seen", "nothing was seen", "nothing was seen, and claimed")


@pytest.fixture
def anywhere(
    any_redis_server: ValkeyServer, settings: Settings, another: Callable[..., CheckoutStore]
) -> CheckoutStore:
    return another(replace(settings, redis_port=any_redis_server.port))


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("case", OUTCOMES)
@pytest.mark.parametrize("deletion", [False, True])
def test_each_outcome_of_a_publish(anywhere: CheckoutStore, case: str, seen: str, deletion: bool) -> None:
    """It depends on what lies there when it is asked, and not on what was seen before."""
    redis, identity = anywhere.redis, anywhere.redis.identity(ID)
    value, row = there(case, identity), msgspec.structs.replace(ROW, body=None) if deletion else ROW
    opened = redis.open(ID)
    if "else" in seen:
        put_raw(anywhere, ID, encode(1, identity, b'{"n":"else"}'))
        opened = redis.open(ID)
    put_raw(anywhere, ID, value, seconds=50)
    if seen == "it was seen":
        opened = redis.open(ID)
        anywhere.redis.ask(("PEXPIRE", key_of(ID), 50_000))
    if seen == "nothing was seen":
        opened = msgspec.structs.replace(opened, token=b"")
    outcome, now_there = redis.publish(row, opened, NOW, accounted=ACCOUNTED)
    assert outcome is OUTCOMES[case]
    after = raw(anywhere, ID)
    if outcome is not Outcome.SET:
        assert (after, now_there.raw) == (value, value)
        assert anywhere.redis.ask(("PTTL", key_of(ID))) <= 50_000, "who writes nothing grants nothing"
    elif deletion:
        assert after is None
    else:
        assert after == encode(3, identity, b'{"n":3}')
        assert 80_000 < anywhere.redis.ask(("PTTL", key_of(ID))) <= 90_000


def test_in_one_round_trip_each_of_many_comes_to_the_same(
    anywhere: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = anywhere.redis
    names = dict(zip((f"session-{number:04}" for number in range(len(OUTCOMES))), OUTCOMES, strict=True))
    some = []
    for name, case in names.items():
        put_raw(anywhere, name, there(case, redis.identity(name)))
        some.append((msgspec.structs.replace(ROW, checkout_id=name), redis.open(name)))
    outcomes = [outcome for outcome, _ in redis.publish_all(some, NOW)]
    expected = [outcome if case != "accounted for" else Outcome.EXTERNAL for case, outcome in OUTCOMES.items()]
    assert outcomes == expected
    assert redis.publish_all([], NOW) == []
    older = [(msgspec.structs.replace(row, version=4), redis.open(row.checkout_id)) for row, _ in some[:5]]
    exchanges = count_calls(redis, "exchange", monkeypatch)
    assert [outcome for outcome, _ in redis.publish_all(older, NOW)] == [Outcome.SET] * 5
    assert len(exchanges) == 1


@pytest.mark.parametrize(
    ("deletion", "claimed", "outcome"),
    [
        (False, True, Outcome.SET),
        (False, False, Outcome.MISSING),
        (True, True, Outcome.SET),
        (True, False, Outcome.MISSING),
    ],
)
def test_only_who_holds_the_claim_fills_a_missing_key(
    anywhere: CheckoutStore, deletion: bool, claimed: bool, outcome: Outcome
) -> None:
    row = msgspec.structs.replace(ROW, body=None) if deletion else ROW
    opened = anywhere.redis.open(ID)
    if not claimed:
        put_claim(anywhere)
    assert anywhere.redis.publish(row, opened, NOW)[0] is outcome
    filled = claimed and not deletion
    assert raw(anywhere, ID) == (encode(3, opened.identity, b'{"n":3}') if filled else None)
    assert claim_of(anywhere) is None


def test_an_old_newer_is_not_believed_where_the_key_is_missing_by_now(anywhere: CheckoutStore) -> None:
    put_raw(anywhere, ID, encode(4, anywhere.redis.identity(ID), b"{}"))
    opened = anywhere.redis.open(ID)
    evict(anywhere, ID)
    assert anywhere.redis.publish(ROW, opened, NOW)[0] is Outcome.MISSING


def test_who_is_overtaken_three_times_leaves_the_row_pending_and_what_is_there_alone(
    anywhere: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis, identity = anywhere.redis, anywhere.redis.identity(ID)
    put_raw(anywhere, ID, encode(1, identity, b'{"n":0}'))
    opened, with_index, numbers = redis.open(ID), redis.with_index, iter(range(1, 100))

    def overtaken(*arguments: Any, **options: Any) -> Any:
        put_raw(anywhere, ID, encode(1, identity, b'{"n":%d}' % next(numbers)))
        return with_index(*arguments, **options)

    monkeypatch.setattr(redis, "with_index", overtaken)
    outcome, _ = redis.publish(ROW, opened, NOW)
    assert (outcome, outcome.is_published) == (Outcome.EXHAUSTED, False)
    assert raw(anywhere, ID) == encode(1, identity, b'{"n":%d}' % MOST_TRIES)


def test_a_row_that_takes_the_place_of_its_dirty_write_takes_its_id_out_of_the_pending(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(store.database, "insert", database_away)
        store.create({"n": 1}, checkout_id=ID)
    assert store.redis.ask(("SMEMBERS", PENDING)) == [ID.encode()]
    assert store.update(ID, {"n": 2}).published
    assert store.redis.ask(("SMEMBERS", PENDING)) == []
    assert store.get(ID).version == 2


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
        make_tables(store.database)
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
    put_raw(store, ID, old)  # what a partition or a bug may leave behind, with a header that is right
    assert store.update(ID, {"ours": 1}).session.version == 3
    assert store.get(ID).fields["theirs"] == 1
