"""Deleting a session that an external writer wrote; and an external writer that deletes one of ours."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
import redis

from checkout_cli.config.settings import Settings
from checkout_cli.errors import SessionDeleted, SessionExpired
from checkout_cli.keys import session_key
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.servers import ValkeyServer
from tests.support.stores import ManualClock, evict, external_write, make_tables, raw, redis_away, row_of

ID = "external-session"
VALUE = f'{{"checkoutId":"{ID}","items":[]}}'


def test_it_stays_dead_when_its_program_writes_it_again(store: CheckoutStore, valkey: ValkeyServer) -> None:
    with valkey.client() as client:
        client.set(session_key(ID), VALUE, ex=1000)
        store.delete(ID)
        assert client.get(session_key(ID)) is None
        client.set(session_key(ID), VALUE, ex=1000)
        with pytest.raises(SessionDeleted):
            store.get(ID)


def test_it_is_no_session_that_was_created_here(store: CheckoutStore, valkey: ValkeyServer) -> None:
    with valkey.client() as client:
        client.set(session_key(ID), VALUE, ex=1000)
    store.delete(ID)
    assert store.database.totals().created == 0
    store.database.purge_tombstones(store.clock.wall() + 1, 10)
    assert store.database.totals().created == 0


def test_who_adopts_it_meanwhile_loses_it_too(
    store: CheckoutStore, settings: Settings, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with valkey.client() as client:
        client.set(session_key(ID), VALUE, ex=1000)
    entomb = store.database.insert_tombstone

    def adopted_first(checkout_id: str, *, now: int, write_id: str) -> bool:
        monkeypatch.undo()
        with CheckoutStore.open(settings) as other:
            assert other.update(ID, {"notes": "adopted"}).session.version == 2
        return entomb(checkout_id, now=now, write_id=write_id)

    monkeypatch.setattr(store.database, "insert_tombstone", adopted_first)
    store.delete(ID)
    with CheckoutStore.open(settings) as other, pytest.raises(SessionDeleted):
        other.get(ID)


# An external writer deletes: CHECKOUT_EXTERNAL_DELETES


@pytest.fixture
def server(valkey_server: Callable[..., ValkeyServer]) -> ValkeyServer:
    """One of the test's own: what it counts is its own business."""
    return valkey_server("--maxmemory-policy", "allkeys-lru")


@pytest.fixture
def shop(settings: Settings, server: ValkeyServer, another: Callable[..., CheckoutStore]) -> CheckoutStore:
    """A store that honours proven deletions, with a session whose version was published under a proof."""
    made = another(replace(settings, redis_port=server.port, external_deletes="honour"))
    make_tables(made.database)
    made.create({"notes": "ours"}, checkout_id=ID)
    made.notes.write_down()
    return made


def test_a_proven_deletion_is_one(shop: CheckoutStore, another: Callable[..., CheckoutStore]) -> None:
    evict(shop, ID)
    with pytest.raises(SessionDeleted):
        shop.get(ID)
    assert raw(shop, ID) is None
    assert (row_of(shop, ID).version, row_of(shop, ID).body) == (2, None)
    for call in (lambda: another(shop.settings).get(ID), lambda: shop.update(ID, {"a": 1})):
        with pytest.raises(SessionDeleted):
            call()
    kept = shop.database.deleted_body(ID)
    assert kept is not None
    assert b'"notes":"ours"' in (kept.body or b"")
    assert shop.external.writes().deleted == 1


def test_a_write_that_finds_it_deleted_is_refused(shop: CheckoutStore) -> None:
    evict(shop, ID)
    with pytest.raises(SessionDeleted):
        shop.update(ID, {"notes": "more"})
    assert row_of(shop, ID).body is None


def test_an_external_write_and_then_its_deletion_is_the_deletion_of_what_was_taken_in(shop: CheckoutStore) -> None:
    external_write(shop, {"paymentStatus": "paid"}, ID)
    assert shop.get(ID).version == 2
    shop.notes.write_down()
    evict(shop, ID)
    with pytest.raises(SessionDeleted):
        shop.get(ID)
    kept = shop.database.deleted_body(ID)
    assert kept is not None
    assert b'"paymentStatus":"paid"' in (kept.body or b"")


def nothing_was_chosen(shop: CheckoutStore, server: ValkeyServer, clock: ManualClock) -> None:
    evict(shop, ID)
    shop.publisher.honours_deletes = False


def a_flush(shop: CheckoutStore, server: ValkeyServer, clock: ManualClock) -> None:
    server.flush()


def an_eviction(shop: CheckoutStore, server: ValkeyServer, clock: ManualClock) -> None:
    with server.client() as client:
        client.config_set("maxmemory", "1")
        with suppress(redis.exceptions.OutOfMemoryError):  # all is evicted, and it is still too much
            client.set("anything", "x")
        client.config_set("maxmemory", "0")
    assert raw(shop, ID) is None


def reset_counters(shop: CheckoutStore, server: ValkeyServer, clock: ManualClock) -> None:
    evict(shop, ID)
    with server.client() as client:
        client.config_resetstat()


def a_renaming(shop: CheckoutStore, server: ValkeyServer, clock: ManualClock) -> None:
    with server.client() as client:
        client.rename(session_key(ID), "elsewhere")


def a_restart(shop: CheckoutStore, server: ValkeyServer, clock: ManualClock) -> None:
    server.kill()
    server.start()
    clock.advance(10)


def a_newer_version(shop: CheckoutStore, server: ValkeyServer, clock: ManualClock) -> None:
    """That Redis never got."""
    publish = shop.redis.publish
    shop.redis.publish = redis_away  # type: ignore[method-assign]
    assert not shop.update(ID, {"notes": "newer"}).published
    shop.redis.publish = publish  # type: ignore[method-assign]
    evict(shop, ID)


def another_claim(shop: CheckoutStore, server: ValkeyServer, clock: ManualClock) -> None:
    """Whoever holds it may be about to fill the key."""
    evict(shop, ID)
    assert shop.redis.open(ID).token


@pytest.mark.parametrize(
    "cause",
    [
        nothing_was_chosen,
        a_flush,
        an_eviction,
        reset_counters,
        a_renaming,
        a_restart,
        a_newer_version,
        another_claim,
    ],
    ids=lambda cause: cause.__name__,
)
def test_a_key_that_may_have_gone_otherwise_is_filled_again(
    shop: CheckoutStore,
    server: ValkeyServer,
    clock: ManualClock,
    cause: Callable[[CheckoutStore, ValkeyServer, ManualClock], None],
) -> None:
    cause(shop, server, clock)
    assert shop.get(ID).fields["checkoutId"] == ID
    assert row_of(shop, ID).body is not None
    assert shop.external.writes().deleted == 0


def test_a_key_that_has_come_to_its_end_is_no_deletion(shop: CheckoutStore, clock: ManualClock) -> None:
    evict(shop, ID)
    clock.advance(1800)
    with pytest.raises(SessionExpired):
        shop.get(ID)
    assert row_of(shop, ID).body is not None


def test_a_missing_key_is_filled_and_counted_while_external_writers_are_there(
    store: CheckoutStore, clock: ManualClock
) -> None:
    for number in range(2):
        store.create({}, checkout_id=f"session-{number:04}")
    evict(store, "session-0000")
    store.get("session-0000")
    external_write(store, {"notes": "theirs"}, "session-0001")
    store.get("session-0001")
    clock.advance(2)
    store.get("session-0001")
    evict(store, "session-0000")
    assert store.get("session-0000").version == 1
    store.notes.write_down()
    writes = store.external.writes()
    assert (writes.refilled, writes.deleted) == (1, 0)
