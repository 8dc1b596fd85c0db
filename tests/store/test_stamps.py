"""Identities: what a restarted server brings back is never believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    SessionDeleted,
)
from checkout_cli.session import Durability, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol import value
from tests.support.servers import ValkeyServer
from tests.support.stores import (
    ID,
    ManualClock,
    copy_of,
    database_away,
    external_write,
    flush_all,
    make_store,
    make_tables,
    put_raw,
    raw,
    save,
    trusted,
)


@pytest.fixture
def snapshots(valkey_server: Callable[..., ValkeyServer], settings: Settings) -> tuple[ValkeyServer, Settings]:
    """A server that a test may kill, with snapshots when asked."""
    server = valkey_server()
    return server, replace(settings, redis_port=server.port)


def restart(server: ValkeyServer, clock: ManualClock) -> None:
    server.kill()
    server.start()
    clock.advance(10)


def test_an_old_snapshot_is_never_believed_and_one_read_restores_trust(
    snapshots: tuple[ValkeyServer, Settings], clock: ManualClock
) -> None:
    server, there = snapshots
    with make_store(there, clock) as store:
        make_tables(store.database)
        store.create({"n": 1}, checkout_id=ID)
        store.create({"n": 1}, checkout_id="session-0002")
        store.create({"n": 1}, checkout_id="session-0003")
        save(server)
        assert store.update(ID, {"n": 2}).published
        store.delete("session-0003")
        restart(server, clock)
        assert raw(store, ID) is not None, "the snapshot brought the old copy back"
        assert store.get(ID).fields["n"] == 2
        assert store.admin.inspect("session-0002").session is not None
        assert store.get("session-0002").tier is TierName.DATABASE
        assert trusted(store, "session-0002") == {**store.get("session-0002").fields, "n": 1}
        assert trusted(store) is not None
        with pytest.raises(SessionDeleted):
            store.get("session-0003")
        assert raw(store, "session-0003") is None


def test_an_old_snapshot_is_not_listed(snapshots: tuple[ValkeyServer, Settings], clock: ManualClock) -> None:
    server, there = snapshots
    with make_store(there, clock) as store:
        make_tables(store.database)
        store.create({"n": 1}, checkout_id=ID)
        store.create({"n": 1}, checkout_id="session-0002")
        save(server)
        store.update(ID, {"n": 2})
        store.delete("session-0002")
        restart(server, clock)
        assert [seen.session.fields["n"] for seen in store.admin.iterate() if seen.session] == [2]
        sighting = store.admin.inspect(ID)
        assert sighting.session is not None
        assert sighting.session.fields["n"] == 2
        with pytest.raises(SessionDeleted):
            store.admin.inspect("session-0002")


def test_a_write_that_began_before_a_restart_is_not_published_after_it(
    snapshots: tuple[ValkeyServer, Settings], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, there = snapshots
    with make_store(there, clock) as store:
        make_tables(store.database)
        store.create({"n": 1}, checkout_id=ID)
        save(server)
        update = store.database.update

        def update_and_restart(*arguments: Any, **options: Any) -> bool:
            done = update(*arguments, **options)
            restart(server, clock)
            return done

        monkeypatch.setattr(store.database, "update", update_and_restart)
        acknowledgement = store.update(ID, {"n": 2})
        assert (acknowledgement.published, acknowledgement.durability) == (False, Durability.DATABASE)
        copy = copy_of(store, ID)
        assert copy is not None
        assert copy.version == 1
        clock.advance(10)
        assert store.get(ID).fields["n"] == 2


def test_external_bytes_that_a_snapshot_brings_back_are_not_taken_in_again(
    snapshots: tuple[ValkeyServer, Settings], clock: ManualClock
) -> None:
    server, there = snapshots
    with make_store(there, clock) as store:
        make_tables(store.database)
        store.create({"n": 1}, checkout_id=ID)
        written = external_write(store, {"n": 2})
        save(server)
        assert store.get(ID).version == 2
        assert store.update(ID, {"n": 3}).published
        restart(server, clock)
        assert raw(store, ID) == written, "the snapshot brought it back"
        session = store.get(ID)
        assert (session.version, session.fields["n"]) == (3, 3)
        assert store.flush_log.conflicts(1) == []
        assert trusted(store) is not None


def test_a_dirty_value_that_a_snapshot_brings_back_is_flushed_once(
    snapshots: tuple[ValkeyServer, Settings], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, there = snapshots
    with make_store(there, clock) as store:
        make_tables(store.database)
        store.create({"n": 1}, checkout_id=ID)
        with monkeypatch.context() as patch:
            for method in ("update", "read", "transaction"):
                patch.setattr(store.database, method, database_away)
            assert store.update(ID, {"n": 2}).durability is Durability.REDIS
        save(server)
        flush_all(store)
        assert store.update(ID, {"n": 3}).session.version == 3
        restart(server, clock)
        session = store.get(ID)
        assert (session.version, session.fields["n"]) == (3, 3)
        assert store.flush_log.conflicts(1) == []


@pytest.mark.parametrize("guarded", [True, False])
def test_the_checksum_tells_a_change_under_our_header(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """Without it, what nobody has compared with the database would be believed."""
    if not guarded:
        monkeypatch.setattr(value, "_check", lambda _before, _after: b"0" * 16)
    store.create({"subtotal": 5}, checkout_id=ID)
    assert trusted(store) is not None
    put_raw(store, ID, (raw(store, ID) or b"").replace(b'"subtotal":5', b'"subtotal":6'))
    session = store.get(ID)
    assert session.fields["subtotal"] == 6
    assert (session.tier, session.version) == ((TierName.DATABASE, 2) if guarded else (TierName.REDIS, 1))
