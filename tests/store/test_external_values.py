"""What an external writer may leave at a session's key, and the store has to live with: it believes nobody's bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, InvalidInput, SessionCorrupt, SessionExpired, WrongKeyType
from checkout_cli.session import MAX_BODY_BYTES, STORE_FIELD, iso
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.flush_log import Conflict
from checkout_cli.store.protocol.flushing import Result
from checkout_cli.store.protocol.ids import MOST_IDS
from checkout_cli.store.records import Problem
from tests.support.stores import ID, ManualClock, copy_of, external_write, flush_all, put_raw, raw, row_fields, row_of

NO_SESSIONS = {
    "nothing": b"",
    "no JSON": b"\x00\xff not a session",
    "half of it": b'{"checkoutId":"session-0001",',
    "null": b"null",
    "an array": b'[{"checkoutId":"session-0001"}]',
    "a number": b"7",
    "not UTF-8": b'{"notes":"\xff"}',
    "too deep": b'{"a":' * 50_000,
}


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Two kinds of databases, which refuse different things."""
    if request.param == "SQLite":
        return settings
    return replace(settings, database_url=request.getfixturevalue("emptied_database"), database_timeout=5.0)


@pytest.fixture
def ours(store: CheckoutStore) -> CheckoutStore:
    """A store with a session of version 3."""
    store.create({"subtotal": 5}, checkout_id=ID)
    store.update(ID, {"notes": "first"})
    store.update(ID, {"notes": "ours"})
    return store


def conflicts(store: CheckoutStore) -> list[Conflict]:
    return store.flush_log.conflicts(10)


def header_of(store: CheckoutStore) -> str:
    header: str = json.loads(raw(store, ID) or b"{}")[STORE_FIELD]
    return header


def is_whole(store: CheckoutStore) -> bool:
    """Whether our session is as it was, in Redis too."""
    copy, fields = copy_of(store, ID), store.get(ID).fields
    return copy is not None and not copy.is_external and (fields["subtotal"], fields["notes"]) == (5, "ours")


# No session at all


@pytest.mark.parametrize("value", NO_SESSIONS.values(), ids=NO_SESSIONS)
def test_bytes_that_are_no_session_are_kept_in_the_conflict_log_and_the_row_takes_their_place(
    ours: CheckoutStore, value: bytes
) -> None:
    before = row_of(ours)
    put_raw(ours, ID, value)
    session = ours.get(ID)
    assert (session.version, session.verified) == (3, True)
    assert is_whole(ours)
    (conflict,) = conflicts(ours)
    assert (conflict.written, conflict.found_body, conflict.fields) == (value, before.body, None)
    assert (conflict.source, conflict.result, conflict.found_version) == ("external", Result.CONFLICT, 3)
    put_raw(ours, ID, value)
    ours.update(ID, {"more": 1})
    assert (row_of(ours).version, len(conflicts(ours))) == (4, 1), "the same bytes are told once"


@pytest.mark.parametrize("value", NO_SESSIONS.values(), ids=NO_SESSIONS)
def test_where_there_is_no_row_they_stay_and_are_named(store: CheckoutStore, value: bytes) -> None:
    put_raw(store, ID, value)
    for call in (lambda: store.get(ID), lambda: store.update(ID, {"a": 1})):
        with pytest.raises(SessionCorrupt):
            call()
    assert store.admin.inspect(ID).problem is Problem.CORRUPT
    assert raw(store, ID) == value
    assert conflicts(store) == []


def test_bytes_of_a_deleted_session_are_kept_too(ours: CheckoutStore) -> None:
    ours.delete(ID)
    put_raw(ours, ID, b"rubbish")
    with pytest.raises(CheckoutError, match="deleted"):
        ours.get(ID)
    assert raw(ours, ID) is None
    assert [conflict.written for conflict in conflicts(ours)] == [b"rubbish"]


def test_more_than_the_conflict_log_keeps_is_neither_replaced_nor_served(ours: CheckoutStore) -> None:
    value = b"x" * (MAX_BODY_BYTES + 1)
    put_raw(ours, ID, value)
    assert ours.get(ID).fields["notes"] == "ours"
    assert ours.update(ID, {"notes": "more"}).published is False
    assert ours.get(ID).fields["notes"] == "more"
    assert raw(ours, ID) == value


# A large one


def test_a_session_of_a_megabyte_is_taken_in_whole(ours: CheckoutStore) -> None:
    large = "x" * (1_048_576 - len(raw(ours, ID) or b"") - 100)
    external_write(ours, {"large": large})
    assert ours.get(ID).fields["large"] == large
    assert (row_of(ours).version, row_fields(ours)["large"]) == (4, large)
    with pytest.raises(InvalidInput, match="at most 262,144 are accepted"):
        ours.update(ID, {"notes": "more"})
    assert ours.update(ID, {"large": ""}).published
    assert is_whole(ours)


def test_a_larger_one_is_left_where_it_is_and_the_database_serves(ours: CheckoutStore) -> None:
    value = external_write(ours, {"large": "x" * 1_100_000})
    assert ours.get(ID).fields["notes"] == "ours"
    assert ours.admin.inspect(ID).session is not None
    assert ours.update(ID, {"notes": "more"}).published is False
    assert ours.get(ID).fields["notes"] == "more"
    assert raw(ours, ID) == value


def test_a_larger_one_without_a_row_is_named(store: CheckoutStore) -> None:
    put_raw(store, ID, b'{"large":"%b"}' % (b"x" * 1_100_000))
    with pytest.raises(WrongKeyType, match="too large"):
        store.get(ID)
    with pytest.raises(WrongKeyType, match="too large"):
        store.update(ID, {"a": 1})


# Our header, with something else in it


def with_header(store: CheckoutStore, change: Callable[[str], str], **fields: Any) -> None:
    external_write(store, {STORE_FIELD: change(header_of(store)), **fields})


@pytest.mark.parametrize("base", [0, 1, 2, 4, 99, 10**17, 10**18 - 1])
def test_a_version_that_is_wrong_never_costs_a_write_of_ours(ours: CheckoutStore, base: int) -> None:
    with_header(ours, lambda header: re.sub(r"^\d+", str(base), header), notes="theirs")
    session = ours.get(ID)
    assert is_whole(ours)
    assert (session.version, row_of(ours).version) == (3, 3)
    (conflict,) = conflicts(ours)
    assert (conflict.base_version, conflict.found_version) == (base, 3)
    assert (conflict.fields or {})["notes"] == "theirs"
    assert ours.update(ID, {"more": 1}).session.version == 4


@pytest.mark.parametrize("base", [0, 1, 2, 4, 10**18 - 1])
def test_a_payment_moves_forward_whichever_version_it_names(ours: CheckoutStore, base: int) -> None:
    with_header(ours, lambda header: re.sub(r"^\d+", str(base), header), paymentStatus="paid", databaseOrderId="o-1")
    assert ours.get(ID).version == 4
    assert is_whole(ours)
    assert row_fields(ours)["databaseOrderId"] == "o-1"


def test_a_version_from_the_future_without_a_row_is_a_session_that_has_ended(store: CheckoutStore) -> None:
    put_raw(store, ID, b'{"_store":"7 - x:y 0123456789abcdef","subtotal":1}')
    with pytest.raises(SessionExpired):
        store.get(ID)
    assert raw(store, ID) is None
    (conflict,) = conflicts(store)
    assert (conflict.base_version, conflict.written, conflict.found_version) == (7, b'{"subtotal":1}', None)


@pytest.mark.parametrize("identity", ["-", "another:server", "x" * 160, "'); DROP TABLE x; --".replace(" ", "_")])
def test_an_unknown_identity_is_no_obstacle(ours: CheckoutStore, identity: str) -> None:
    with_header(ours, lambda header: re.sub(r"^(\d+ .) \S+", rf"\1 {identity}", header), more="theirs")
    assert ours.get(ID).version == 4
    assert row_fields(ours)["more"] == "theirs"
    assert is_whole(ours)
    assert conflicts(ours) == []


@pytest.mark.parametrize("number", [1, 10**8, 10**9, 10**18, 10**39])
@pytest.mark.parametrize("base", [0, 3])
def test_ids_that_nobody_has_given_out_break_nothing(ours: CheckoutStore, base: int, number: int) -> None:
    crafted = f"{base} - x:y 0123456789abcdef {'t' * 54}-{number}"
    external_write(ours, {STORE_FIELD: crafted, "more": "theirs"})
    before = ours.get(ID)
    assert is_whole(ours)
    written = ours.update(ID, {"notes": "ours", "last": 1})
    assert written.published
    assert written.session.version == before.version + 1
    assert row_fields(ours)["last"] == 1


@pytest.mark.parametrize("number", [1, 10**8, 10**9, 10**18, 10**39])
def test_such_ids_without_a_row_break_nothing_either(store: CheckoutStore, number: int) -> None:
    put_raw(store, ID, b'{"_store":"0 - x:y 0123456789abcdef %b-%d","subtotal":1}' % (b"t" * 54, number))
    assert store.get(ID).fields["subtotal"] == 1
    assert store.update(ID, {"notes": "ours"}).published
    assert row_fields(store).items() >= {"subtotal": 1, "notes": "ours"}.items()


@pytest.mark.parametrize("number", [MOST_IDS - 2, MOST_IDS - 1, MOST_IDS, MOST_IDS + 1])
def test_more_ids_than_a_value_may_have_break_nothing(ours: CheckoutStore, number: int) -> None:
    ids = ",".join(f"{place:016x}-1" for place in range(number))
    external_write(ours, {STORE_FIELD: f"3 - x:y 0123456789abcdef {ids}", "more": "theirs"})
    ours.get(ID)
    assert is_whole(ours)
    assert ours.update(ID, {"last": 1}).published
    assert (row_fields(ours).get("more") == "theirs") or conflicts(ours)


@pytest.mark.parametrize("header", [None, 7, [], {"a": 1}, "", "mine", "x" * 300])
def test_something_else_in_the_place_of_our_header_is_no_part_of_the_session(
    ours: CheckoutStore, header: object
) -> None:
    external_write(ours, {STORE_FIELD: header, "paymentStatus": "paid"})
    assert ours.get(ID).status == "paid"
    assert STORE_FIELD not in row_fields(ours)
    assert is_whole(ours)


# Fields that no writer changes


def test_another_checkout_id_is_not_taken_over(ours: CheckoutStore) -> None:
    external_write(ours, {"checkoutId": "session-0002", "more": "theirs"})
    session = ours.get(ID)
    assert (session.fields["checkoutId"], session.fields["more"]) == (ID, "theirs")
    (conflict,) = conflicts(ours)
    assert (conflict.result, (conflict.fields or {})["checkoutId"]) == (Result.PARTLY, "session-0002")


def test_nor_is_it_in_a_first_version(store: CheckoutStore) -> None:
    put_raw(store, ID, b'{"checkoutId":"session-0002","subtotal":1.50}')
    assert store.get(ID).fields["checkoutId"] == "session-0002", "it is shown as it is until it is taken in"
    store.update(ID, {"notes": "ours"})
    assert row_fields(store).items() >= {"checkoutId": ID, "subtotal": 1.5, "notes": "ours"}.items()
    assert [conflict.result for conflict in conflicts(store)] == [Result.PARTLY]


@pytest.mark.parametrize("created", ["2020-01-01T00:00:00.000Z", "2099-01-01T00:00:00.000Z", "yesterday", None, 7])
def test_another_moment_of_creation_is_not_taken_over(ours: CheckoutStore, created: object) -> None:
    before = row_of(ours)
    external_write(ours, {"createdAt": created, "more": "theirs"})
    session = ours.get(ID)
    assert (session.created_at, session.fields["more"]) == (before.created_at, "theirs")
    assert row_of(ours).created_at == before.created_at
    assert [conflict.result for conflict in conflicts(ours)] == [Result.PARTLY]


def test_the_same_moment_in_other_words_is_no_change(ours: CheckoutStore, clock: ManualClock) -> None:
    external_write(ours, {"createdAt": iso(row_of(ours).created_at).replace("Z", "+00:00"), "more": "theirs"})
    assert ours.get(ID).version == 4
    assert conflicts(ours) == []


def test_fields_that_are_left_out_are_left_out_but_for_those(ours: CheckoutStore) -> None:
    fields = json.loads(raw(ours, ID) or b"{}")
    for name in ("checkoutId", "createdAt", "notes"):
        del fields[name]
    put_raw(ours, ID, json.dumps(fields).encode())
    after = ours.get(ID).fields
    assert (after["checkoutId"], after["subtotal"], "notes" in after) == (ID, 5, False)
    assert "createdAt" in after


# Redis keeps more than one of them


def test_all_of_them_are_settled_by_whoever_looks_for_pending_rows_and_none_hinders_another(
    store: CheckoutStore, another: Callable[..., CheckoutStore]
) -> None:
    names = [f"session-{number:04}" for number in range(len(NO_SESSIONS))]
    for name, value in zip(names, NO_SESSIONS.values(), strict=True):
        store.create({"subtotal": 5}, checkout_id=name)
        put_raw(store, name, value)
        store.redis.ask(("SADD", "checkout:pending", name))
    flush_all(another())
    for name in names:
        copy = copy_of(store, name)
        assert copy is not None
        assert not copy.is_external
    assert len(conflicts(store)) == len(names)
