"""Deleting a session that another program wrote."""

from __future__ import annotations

import pytest

from checkout_cli.errors import SessionDeleted
from checkout_cli.keys import session_key
from checkout_cli.settings import Settings
from checkout_cli.store.checkout_store import CheckoutStore
from tests.servers import ValkeyServer

ID = "foreign-session"
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
    assert store.totals().created == 0
    store.database.purge_tombstones(store.clock.wall() + 1, 10)
    assert store.totals().created == 0


def test_who_adopts_it_meanwhile_loses_it_too(
    store: CheckoutStore, settings: Settings, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with valkey.client() as client:
        client.set(session_key(ID), VALUE, ex=1000)
    entomb = store.database.entomb

    def adopted_first(checkout_id: str, *, now: int, write_id: str) -> bool:
        monkeypatch.undo()
        with CheckoutStore.open(settings) as other:
            assert other.update(ID, {"notes": "adopted"}).session.version == 1
        return entomb(checkout_id, now=now, write_id=write_id)

    monkeypatch.setattr(store.database, "entomb", adopted_first)
    store.delete(ID)
    with CheckoutStore.open(settings) as other, pytest.raises(SessionDeleted):
        other.get(ID)
