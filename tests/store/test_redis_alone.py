"""Writes that Redis alone acknowledges: their ids, the versions that callers see, and how they come to the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    DurabilityUnavailable,
    RedisUnavailable,
    SessionDeleted,
    SessionExists,
    TransitionRefused,
    WriteConflict,
)
from checkout_cli.keys import PENDING
from checkout_cli.session import Durability, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.ids import MOST_IDS
from checkout_cli.store.protocol.value import Value
from checkout_cli.store.write_behind import WriteBehind
from tests.support.servers import ValkeyServer
from tests.support.stores import (
    ID,
    ManualClock,
    copy_of,
    count_calls,
    database_away,
    evict,
    flush_all,
    look_around,
    make_store,
    make_tables,
    put_raw,
    raw,
    row_fields,
    row_of,
    under_another_identity,
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A shop that prefers Redis' durability."""
    return replace(settings, durability="redis")


def copy(store: CheckoutStore) -> Value:
    found = copy_of(store, ID)
    assert found is not None
    return found


def waiting(store: CheckoutStore) -> set[bytes]:
    """The ids of sessions that wait for the database."""
    return set(store.redis.ask(("SMEMBERS", PENDING)))


# Ids and versions


def test_each_write_is_one_version_and_no_row(store: CheckoutStore) -> None:
    look_around(store)
    created = store.create({"n": 1})
    checkout_id = created.session.checkout_id
    assert (created.durability, created.published, created.session.version) == (Durability.REDIS, True, 1)
    for number in (2, 3):
        written = store.update(checkout_id, {"n": number})
        assert (written.durability, written.session.version) == (Durability.REDIS, number)
    assert store.database.read(checkout_id) is None
    assert waiting(store) == {checkout_id.encode()}


def test_what_is_dirty_is_trusted_and_says_so(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create({}, checkout_id=ID)
    flush_all(store)
    store.get(ID)
    store.update(ID, {"n": 2})
    store.update(ID, {"n": 3})
    with monkeypatch.context() as patch:
        for method in ("read", "look", "transaction"):
            patch.setattr(store.database, method, database_away)
        session = store.get(ID)
    assert (session.verified, session.tier, session.version, session.dirty) == (True, TierName.REDIS, 3, 2)


def test_consecutive_writes_of_a_process_have_one_id(
    store: CheckoutStore, another: Callable[..., CheckoutStore]
) -> None:
    other = another()
    for process in (store, other):
        look_around(process)
    store.create({}, checkout_id=ID)
    first = copy(store).ids
    for number in range(3):
        store.update(ID, {"n": number})
    (one,) = copy(store).ids
    assert one == first[0].replace("-1", "-4")
    other.update(ID, {"theirs": 1})
    store.update(ID, {"n": 4})
    ids = copy(store).ids
    assert (ids[0], [name.rpartition("-")[2] for name in ids]) == (one, ["4", "1", "1"])
    assert copy(store).version == 6


def test_who_may_have_failed_to_write_begins_another_token(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one id would name two states."""
    look_around(store)
    store.create({}, checkout_id=ID)
    monkeypatch.setattr(WriteBehind, "is_at_work", True)  # else who looks flushes what is dirty
    swap = store.redis.swap

    def lose_the_answer(*arguments: object, **options: object) -> object:
        swap(*arguments, **options)  # type: ignore[arg-type]
        raise RedisUnavailable("the answer is lost, the test says")

    before = copy(store).ids
    with monkeypatch.context() as patch:
        patch.setattr(store.redis, "swap", lose_the_answer)
        with pytest.raises(RedisUnavailable):
            store.update(ID, {"n": 1})
    assert copy(store).ids == (before[0].replace("-1", "-2"),)
    store.update(ID, {"n": 2})
    assert len(copy(store).ids) == 2


def test_a_refused_swap_is_tried_on_what_is_there_by_now(
    store: CheckoutStore, another: Callable[..., CheckoutStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"n": 0}, checkout_id=ID)
    other, swap = another(), store.redis.swap

    def overtaken(*arguments: object, **options: object) -> object:
        monkeypatch.setattr(store.redis, "swap", swap)
        other.update(ID, lambda fields: {"n": fields["n"] + 1})
        return swap(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(store.redis, "swap", overtaken)
    assert store.update(ID, lambda fields: {"n": fields["n"] + 1}).session.version == 3
    assert store.get(ID).fields["n"] == 2


def test_too_many_writes_that_wait_are_refused_before_the_header_is_full(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in ("insert", "read", "look", "update", "transaction"):
        monkeypatch.setattr(store.database, method, database_away)
    store.create({}, checkout_id=ID)
    for number in range(1, MOST_IDS - 1):
        store.redis_alone._issued.clear()  # as if each write were another process'
        store.update(ID, {"n": number})
    assert len(copy(store).ids) == MOST_IDS - 1
    with pytest.raises(WriteConflict, match="too many writes that wait"):
        store.update(ID, {"n": MOST_IDS})
    assert store.get(ID).fields["n"] == MOST_IDS - 2


def test_a_transition_is_refused_here_too(store: CheckoutStore) -> None:
    store.create({"paymentStatus": "paid"}, checkout_id=ID)
    with pytest.raises(TransitionRefused):
        store.set_payment_status(ID, "pending")
    assert copy(store).version == 1


def test_a_value_of_another_server_is_built_upon_and_trusted_by_nobody(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"n": 1}, checkout_id=ID, require=Durability.DATABASE)
    put_raw(store, ID, under_another_identity(raw(store, ID) or b""))
    with monkeypatch.context() as patch:
        for method in ("read", "look", "update", "transaction"):
            patch.setattr(store.database, method, database_away)
        assert store.update(ID, {"n": 2}).session.version == 2
        assert copy(store).questionable
        assert store.get(ID).verified is False
        store.update(ID, {"n": 3})
        assert copy(store).questionable, "as long as the database was not asked"
    session = store.get(ID)
    assert (session.version, session.verified, session.fields["n"]) == (3, True, 3)
    assert not copy(store).questionable


# Coming to the database


def test_a_flush_keeps_the_version_that_callers_saw_and_leaves_the_session_in_redis(
    store: CheckoutStore, another: Callable[..., CheckoutStore]
) -> None:
    store.create({"n": 1}, checkout_id=ID)
    seen = store.update(ID, {"n": 2}).session
    flush_all(another())
    row = row_of(store)
    assert (row.version, row_fields(store)["n"]) == (seen.version, 2)
    clean = copy(store)
    assert (clean.base, clean.body, clean.is_dirty, clean.questionable) == (2, row.body, False, False)
    assert waiting(store) == set()
    assert store.get(ID).version == 2
    another().notes.write_down()


def test_whoever_looks_for_pending_rows_flushes_what_waits(
    store: CheckoutStore, another: Callable[..., CheckoutStore], clock: ManualClock
) -> None:
    for number in range(3):
        store.create({}, checkout_id=f"session-{number:04}")
    look_around(another())
    assert waiting(store) == set()
    assert len(store.database.read_many([f"session-{number:04}" for number in range(3)])) == 3


def test_an_entry_of_what_is_no_longer_dirty_is_taken_out(
    store: CheckoutStore, another: Callable[..., CheckoutStore]
) -> None:
    store.create({}, checkout_id=ID)
    flush_all(store)
    store.redis.ask(("SADD", PENDING, ID, "gone-0001"))
    look_around(another())
    assert waiting(store) == set()


def test_a_write_after_the_flush_grows_from_the_row(store: CheckoutStore) -> None:
    store.create({"n": 1}, checkout_id=ID)
    flush_all(store)
    assert store.update(ID, {"n": 2}).session.version == 2
    assert (copy(store).base, len(copy(store).ids)) == (1, 1)
    flush_all(store)
    assert row_of(store).version == 2
    assert store.flush_log.conflicts(1) == []


def test_who_requires_the_database_has_everything_flushed_first(store: CheckoutStore) -> None:
    store.create({"n": 1}, checkout_id=ID)
    store.update(ID, {"n": 2})
    written = store.update(ID, {"m": 1}, require=Durability.DATABASE)
    assert (written.durability, written.published, written.session.version) == (Durability.DATABASE, True, 3)
    assert row_fields(store).items() >= {"n": 2, "m": 1}.items()
    assert waiting(store) == set()
    assert not copy(store).is_dirty


def test_who_requires_more_than_there_is_gets_an_error_and_nothing_is_written(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"n": 1}, checkout_id=ID)
    before = raw(store, ID)
    for method in ("insert", "read", "look", "update", "transaction"):
        monkeypatch.setattr(store.database, method, database_away)
    with pytest.raises(DurabilityUnavailable):
        store.update(ID, {"n": 2}, require=Durability.DATABASE)
    assert raw(store, ID) == before


def test_deleting_what_only_redis_has_flushes_it_and_leaves_a_tombstone(store: CheckoutStore) -> None:
    store.create({"n": 1}, checkout_id=ID)
    store.update(ID, {"n": 2})
    store.delete(ID)
    assert (row_of(store).version, row_of(store).body, raw(store, ID)) == (3, None, None)
    assert waiting(store) == set()
    with pytest.raises(SessionDeleted):
        store.get(ID)


def test_an_id_that_was_chosen_and_is_taken_is_refused(store: CheckoutStore) -> None:
    store.create({}, checkout_id=ID)
    flush_all(store)
    evict(store, ID)
    with pytest.raises(SessionExists):
        store.create({}, checkout_id=ID)
    store.delete(ID)
    with pytest.raises(SessionDeleted):
        store.create({}, checkout_id=ID)


def test_what_redis_loses_before_it_is_flushed_is_gone_and_its_entry_too(
    store: CheckoutStore, another: Callable[..., CheckoutStore]
) -> None:
    """That is what this durability is worth."""
    store.create({"n": 1}, checkout_id=ID)
    evict(store, ID)
    look_around(another())
    assert waiting(store) == set()
    assert store.database.read(ID) is None


# What it costs


@pytest.mark.parametrize(("held", "trips"), [(True, 1), (False, 2)])
def test_a_write_on_a_trusted_value_asks_no_database_and_one_on_what_is_held_reads_nothing(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch, held: bool, trips: int
) -> None:
    store.create({"n": 1}, checkout_id=ID)
    store.update(ID, {"n": 2})
    if not held:
        store.held.drop(ID)
    exchanges = count_calls(store.redis, "exchange", monkeypatch)
    for method in ("read", "look", "update", "transaction"):
        monkeypatch.setattr(store.database, method, database_away)
    assert store.update(ID, {"n": 3}).session.version == 3
    assert len(exchanges) == trips


# A real restart


def test_a_dirty_value_that_a_restart_brings_back_is_built_upon_without_losing_the_row(
    valkey_server: Callable[..., ValkeyServer], settings: Settings, clock: ManualClock
) -> None:
    server = valkey_server()
    with make_store(replace(settings, redis_port=server.port), clock) as store:
        make_tables(store.database)
        store.create({"n": 1}, checkout_id=ID)
        with server.client(socket_timeout=5) as client:
            client.save()
        store.update(ID, {"m": 1}, require=Durability.DATABASE)
        server.kill()
        server.start()
        clock.advance(10)
        written = store.update(ID, {"k": 1})
        assert written.session.version == 3
        flush_all(store)
        assert row_fields(store).items() >= {"n": 1, "m": 1, "k": 1}.items()
        assert store.flush_log.conflicts(1) == []
