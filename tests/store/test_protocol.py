"""DESIGN section 5 on real servers, point by point."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from checkout_cli.errors import SessionNotFound
from checkout_cli.session import Durability, TierName
from checkout_cli.store.checkout_store import CheckoutStore
from tests.store.support import (
    count_calls,
    database_away,
    evict,
    put_raw,
    raw,
)

ID = "session-0001"
LEGACY = (
    b'{"checkoutId":"session-0001","subtotal":10.50,"weight":1.000000000000000000001,"big":12345678901234567890123,'
    b'"odd \\u00e9":{"deep":[1.0,2e3,null]},"paymentStatus":"pending","createdAt":"%s"}'
)


def trusted(store: CheckoutStore, checkout_id: str = ID) -> dict[str, Any] | None:
    """The fields, if a read believes Redis."""
    session = store.get(checkout_id)
    return session.fields if session.tier is TierName.REDIS and session.version else None


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
        put_raw(store, ID, LEGACY % b"2026-11-22T10:00:00.000Z")
        return read(checkout_id)

    monkeypatch.setattr(store.database, "read", read_while_another_program_writes)
    with pytest.raises(SessionNotFound):
        store.get(ID)
    assert raw(store, ID) == LEGACY % b"2026-11-22T10:00:00.000Z"


def test_a_miss_while_the_database_is_away_keeps_the_index_entry_of_an_evicted_session(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({}, checkout_id=ID)
    evict(store, ID)
    monkeypatch.setattr(store.database, "read", database_away)
    with pytest.raises(Exception, match="the test says"):
        store.get(ID)
    assert store.index.missing([ID]) == []


# Foreign programs


@pytest.mark.parametrize("version", [1, 99])
def test_what_another_program_writes_under_our_stamp_is_noticed_and_replaced(
    store: CheckoutStore, another: Callable[..., CheckoutStore], version: int
) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    value = raw(store, ID)
    assert value is not None
    changed = value.replace(b'"subtotal":5', b'"subtotal":6').replace(b'"version":1', b'"version":%d' % version)
    put_raw(store, ID, changed)
    assert store.peek(ID).session.fields["subtotal"] == 5
    assert [sighting.session.fields["subtotal"] for sighting in store.iterate()] == [5]
    assert store.get(ID).fields["subtotal"] == 5
    assert raw(store, ID) == value
    assert trusted(store) is not None


def test_a_version_that_another_program_raised_is_noticed(store: CheckoutStore) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    value = raw(store, ID)
    assert value is not None
    put_raw(store, ID, value.replace(b'"version":1', b'"version":7'))
    assert store.get(ID).version == 1
    assert store.update(ID, {"subtotal": 6}).session.version == 2
    assert json.loads(raw(store, ID) or b"")["version"] == 2


def test_deleting_removes_what_another_program_wrote_whichever_version_it_claims(store: CheckoutStore) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    value = raw(store, ID)
    assert value is not None
    put_raw(store, ID, value.replace(b'"version":1', b'"version":99'))
    store.delete(ID)
    assert raw(store, ID) is None
