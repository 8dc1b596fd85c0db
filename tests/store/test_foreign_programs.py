"""Other programs write to the same Redis: their sessions are read, adopted, and never broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from checkout_cli.session import TierName
from checkout_cli.store.checkout_store import CheckoutStore
from tests.store.support import (
    ID,
    ManualClock,
    copy_of,
    evict,
    foreign_session,
    put_raw,
    raw,
    trusted,
)


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


# Adoption


def test_a_foreign_session_is_read_and_seen_as_it_is(store: CheckoutStore, clock: ManualClock) -> None:
    put_raw(store, ID, foreign_session(clock))
    session = store.get(ID)
    assert (session.version, session.tier) == (0, TierName.REDIS)
    assert session.fields == json.loads(foreign_session(clock))
    assert raw(store, ID) == foreign_session(clock)
    sighting = store.peek(ID)
    assert sighting.session is not None
    assert sighting.session.fields == session.fields
    assert [seen.checkout_id for seen in store.iterate()] == [ID]


def test_the_first_write_adopts_a_foreign_session_and_keeps_every_other_byte(
    store: CheckoutStore, another: Callable[..., CheckoutStore], clock: ManualClock
) -> None:
    put_raw(store, ID, foreign_session(clock))
    acknowledgement = store.update(ID, {"notes": "ours"})
    assert (acknowledgement.session.version, acknowledgement.published) == (1, True)
    copy = copy_of(store, ID)
    assert copy is not None
    body = foreign_session(clock)
    assert copy.body.startswith(body[:-1])
    assert json.loads(copy.body[len(body) - 1 :].replace(b",", b"{", 1)).keys() == {"notes", "expiresAt"}
    evict(store, ID)
    assert another().get(ID).fields["notes"] == "ours"


def test_another_program_sees_an_adopted_session_at_once(store: CheckoutStore, clock: ManualClock) -> None:
    put_raw(store, ID, foreign_session(clock))
    store.update(ID, {"notes": "ours"})
    seen = json.loads(raw(store, ID) or b"")
    assert seen["notes"] == "ours"
    assert seen["subtotal"] == 10.5
    assert trusted(store) is not None


def test_of_two_processes_that_adopt_at_once_neither_loses_its_change(
    store: CheckoutStore,
    another: Callable[..., CheckoutStore],
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_raw(store, ID, foreign_session(clock))
    insert, second = store.database.insert, another()

    def insert_too_late(*arguments: Any, **options: Any) -> bool:
        monkeypatch.setattr(store.database, "insert", insert)
        second.update(ID, {"theirs": 1})
        return insert(*arguments, **options)

    monkeypatch.setattr(store.database, "insert", insert_too_late)
    assert store.update(ID, {"ours": 1}).session.version == 2
    fields = second.get(ID).fields
    assert (fields["ours"], fields["theirs"]) == (1, 1)


def test_where_a_row_stands_behind_a_foreign_value_the_row_wins(store: CheckoutStore, clock: ManualClock) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    put_raw(store, ID, foreign_session(clock))
    assert store.get(ID).fields["subtotal"] == 5
    assert json.loads(raw(store, ID) or b"")["subtotal"] == 5


def test_another_program_that_goes_on_writing_is_replaced_and_never_left_with_a_miss(
    store: CheckoutStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    put_raw(store, ID, foreign_session(clock))
    discard = store.redis.discard

    def discard_after_another_write(checkout_id: str, value: bytes) -> bool:
        put_raw(store, ID, foreign_session(clock).replace(b"10.50", b"11.50"))
        return discard(checkout_id, value)

    monkeypatch.setattr(store.redis, "discard", discard_after_another_write)
    store.get(ID)
    assert json.loads(raw(store, ID) or b"")["subtotal"] == 5


def test_a_foreign_write_that_spaces_its_json_differently_is_replaced_too(store: CheckoutStore) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    fields = json.loads(raw(store, ID) or b"") | {"subtotal": 6, "version": 9}
    put_raw(store, ID, json.dumps(fields).encode())
    assert store.get(ID).fields["subtotal"] == 5
    assert copy_of(store, ID) is not None


def test_a_foreign_session_with_fields_of_our_names_is_adopted_without_them(store: CheckoutStore) -> None:
    put_raw(store, ID, b'{"version":"2.0","stamp":"passport","subtotal":1}')
    assert store.get(ID).fields == {"subtotal": 1}
    assert store.update(ID, {"notes": "x"}).session.version == 1
    assert store.get(ID).fields["subtotal"] == 1


@pytest.mark.parametrize("stamp", [b"x", b""])
def test_a_foreign_session_that_looks_like_ours_is_adopted_and_seen_at_once(store: CheckoutStore, stamp: bytes) -> None:
    put_raw(store, ID, b'{"version":50,"stamp":"%s","subtotal":1}' % stamp)
    assert store.update(ID, {"notes": "x"}).session.version == 1
    assert json.loads(raw(store, ID) or b"")["notes"] == "x"
    assert trusted(store) is not None


def test_a_foreign_session_is_deleted_by_its_exact_bytes(store: CheckoutStore) -> None:
    for checkout_id in ("odd:id *", "\udcff\udcfe", "a\nb"):
        store.redis.ask(("SET", b"checkout:session:" + checkout_id.encode("utf-8", "surrogateescape"), b'{"a":1}'))
        assert store.get(checkout_id).fields == {"a": 1}
        assert store.peek(checkout_id).session is not None
        store.delete(checkout_id)
    assert store.redis.ask(("DBSIZE",)) == 0
