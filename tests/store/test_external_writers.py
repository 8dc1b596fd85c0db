"""External writers: what another program writes to a session on the same Redis is read, taken in, and never dropped.

Each such write becomes the session's next version, is merged, or is in the conflict log with both contents (G6).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.errors import DatabaseUnavailable, DurabilityUnavailable, InvalidInput, SessionDeleted
from checkout_cli.servers.embedded import HOST
from checkout_cli.session import Durability, TierName, iso, milliseconds_of
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.external_writers import ExternalWrites
from checkout_cli.store.database.flush_log import Conflict
from checkout_cli.store.protocol.flushing import Result
from checkout_cli.store.protocol.value import Kind
from tests.support.servers import REDIS
from tests.support.stores import (
    ID,
    ManualClock,
    copy_of,
    database_away,
    evict,
    external_write,
    flush_all,
    foreign_session,
    key_of,
    make_tables,
    put_raw,
    raw,
    redis_away,
    row_fields,
    row_of,
    under_another_identity,
)

PAID = {"paymentStatus": "paid", "databaseOrderId": "ORD-1"}


@pytest.fixture
def settings(settings: Settings, any_server_port: int) -> Settings:
    """Every kind of server, and fakeredis, which is never trusted because it does not tell who it is; and is slow."""
    return replace(settings, redis_host=HOST, redis_port=any_server_port, timeout=5.0)


real_servers = pytest.mark.parametrize("any_server_port", ["valkey", REDIS], indirect=True)
"""For where the index gives way to an older program's: fakeredis says ``ERR WRONGTYPE``, as no server does."""


def conflicts(store: CheckoutStore) -> list[Conflict]:
    return store.flush_log.conflicts(10)


def is_clean(store: CheckoutStore) -> bool:
    """Whether Redis has the row as it is, and nothing that the database lacks."""
    copy, row = copy_of(store, ID), row_of(store)
    return (
        copy is not None
        and not (copy.is_external or copy.is_dirty)
        and (copy.base, copy.body)
        == (
            row.version,
            row.body,
        )
    )


# Sessions that have no row


def test_a_session_of_another_program_is_read_and_seen_as_it_is(store: CheckoutStore, clock: ManualClock) -> None:
    put_raw(store, ID, foreign_session(clock))
    session = store.get(ID)
    assert (session.version, session.tier, session.external) == (0, TierName.REDIS, True)
    assert session.fields == json.loads(foreign_session(clock))
    sighting = store.admin.inspect(ID)
    assert sighting.session is not None
    assert sighting.session.fields == session.fields
    assert [seen.checkout_id for seen in store.admin.iterate()] == [ID]
    assert raw(store, ID) == foreign_session(clock)
    assert store.database.read(ID) is None


def test_the_first_write_takes_it_in_and_keeps_every_other_byte(
    store: CheckoutStore, another: Callable[..., CheckoutStore], clock: ManualClock
) -> None:
    put_raw(store, ID, foreign_session(clock))
    acknowledgement = store.update(ID, {"notes": "ours"})
    assert (acknowledgement.session.version, acknowledgement.published) == (2, True), "one is the other program's"
    copy, body = copy_of(store, ID), foreign_session(clock)
    assert copy is not None
    assert copy.body.startswith(body[:-1])
    assert json.loads(copy.body[len(body) - 1 :].replace(b",", b"{", 1)).keys() == {"notes", "expiresAt"}
    evict(store, ID)
    assert another().get(ID).fields["notes"] == "ours"
    assert conflicts(store) == []


def test_its_program_sees_our_change_at_once(store: CheckoutStore, clock: ManualClock) -> None:
    put_raw(store, ID, foreign_session(clock))
    store.update(ID, {"notes": "ours"})
    seen = json.loads(raw(store, ID) or b"")
    assert (seen["notes"], seen["subtotal"]) == ("ours", 10.5)
    assert is_clean(store)


@pytest.mark.parametrize("moment", ["swap", "apply"])
def test_of_two_processes_that_take_it_in_at_once_neither_loses_its_change(
    store: CheckoutStore,
    another: Callable[..., CheckoutStore],
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    put_raw(store, ID, foreign_session(clock))
    target: Any = store.redis if moment == "swap" else store.flush_log
    original, second = getattr(target, moment), another()

    def too_late(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(target, moment, original)
        second.update(ID, {"theirs": 1})
        return original(*arguments, **options)

    monkeypatch.setattr(target, moment, too_late)
    assert store.update(ID, {"ours": 1}).session.version == 3
    fields = second.get(ID).fields
    assert (fields["ours"], fields["theirs"]) == (1, 1)
    assert conflicts(store) == []


def test_a_session_with_fields_of_names_that_we_once_used_keeps_them(store: CheckoutStore) -> None:
    theirs = {"version": "2.0", "stamp": "passport", "undrained": [], "subtotal": 1}
    put_raw(store, ID, json.dumps(theirs).encode())
    assert store.get(ID).fields == theirs
    store.update(ID, {"notes": "x"})
    fields = store.get(ID).fields
    assert {name: fields[name] for name in theirs} == theirs


def test_an_id_that_we_would_not_accept_is_read_never_written_and_deleted_by_its_exact_bytes(
    store: CheckoutStore,
) -> None:
    for checkout_id in ("odd:id *", "\udcff\udcfe", "a\nb"):
        store.redis.ask(("SET", b"checkout:session:" + checkout_id.encode("utf-8", "surrogateescape"), b'{"a":1}'))
        assert store.get(checkout_id).fields == {"a": 1}
        assert store.admin.inspect(checkout_id).session is not None
        with pytest.raises(InvalidInput):
            store.update(checkout_id, {"b": 1})
        store.delete(checkout_id)
    assert store.redis.ask(("DBSIZE",)) == 0


# Writes to a session of ours, by a program that keeps the fields that it does not know


def test_what_was_written_becomes_the_next_version_when_it_is_read(
    store: CheckoutStore, another: Callable[..., CheckoutStore]
) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    external_write(store, PAID)
    session = store.get(ID)
    assert (session.version, session.verified, session.external, session.status) == (2, True, False, "paid")
    assert row_fields(store)["databaseOrderId"] == "ORD-1"
    assert is_clean(store)
    assert another().get(ID).version == 2
    assert conflicts(store) == []


def test_it_becomes_the_next_version_when_it_is_written_over(store: CheckoutStore) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    external_write(store, PAID)
    acknowledgement = store.update(ID, {"notes": "ours"})
    assert (acknowledgement.session.version, acknowledgement.published) == (3, True)
    assert store.get(ID).fields.items() >= {**PAID, "notes": "ours", "subtotal": 5}.items()
    assert conflicts(store) == []


def test_a_value_that_was_only_written_back_makes_no_version(store: CheckoutStore) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    written = external_write(store, {})
    copy = copy_of(store, ID)
    assert copy is not None
    assert copy.kind is Kind.TAMPERED
    assert store.get(ID).version == 1
    assert raw(store, ID) != written
    assert is_clean(store)
    assert conflicts(store) == []


def test_every_byte_of_an_unchanged_field_survives(store: CheckoutStore) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    value = raw(store, ID) or b""
    put_raw(store, ID, value.replace(b'"subtotal":5', b'"subtotal":5.50,"big":12345678901234567890123,"e":1e2'))
    store.update(ID, {"notes": "ours"})
    body = row_of(store).body
    assert body is not None
    assert b'"subtotal":5.50,"big":12345678901234567890123,"e":1e2' in body


def test_what_both_have_changed_in_different_fields_is_merged(store: CheckoutStore) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    seen = raw(store, ID)
    assert seen is not None
    store.update(ID, {"notes": "ours"})
    put_raw(store, ID, seen)
    external_write(store, PAID)
    session = store.get(ID)
    assert session.version == 3
    assert session.fields.items() >= {**PAID, "notes": "ours"}.items()
    assert is_clean(store)
    assert conflicts(store) == []


def test_what_both_have_changed_in_the_same_field_is_a_conflict_with_both_contents(store: CheckoutStore) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    seen = raw(store, ID)
    assert seen is not None
    store.update(ID, {"notes": "ours"})
    put_raw(store, ID, seen)
    written = json.loads(external_write(store, {"notes": "theirs"}))
    for _ in range(2):
        session = store.get(ID)
        assert (session.version, session.fields["notes"]) == (2, "ours")
    assert is_clean(store)
    (conflict,) = conflicts(store)
    assert (conflict.checkout_id, conflict.source, conflict.result) == (ID, "external", Result.CONFLICT)
    assert (conflict.base_version, conflict.found_version) == (1, 2)
    assert {**(conflict.fields or {}), "_store": written["_store"]} == written
    assert conflict.found_body == row_of(store).body
    writes = store.external.writes()
    assert (writes.taken_in, writes.conflicts) == (1, 1)


def test_of_a_write_that_conflicts_in_part_the_rest_is_merged(store: CheckoutStore) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    seen = raw(store, ID)
    assert seen is not None
    store.update(ID, {"notes": "ours"})
    put_raw(store, ID, seen)
    external_write(store, {"notes": "theirs", **PAID})
    assert store.get(ID).fields.items() >= {**PAID, "notes": "ours"}.items()
    (conflict,) = conflicts(store)
    assert conflict.result == Result.MERGED
    assert (conflict.fields or {})["notes"] == "theirs"


def test_where_nobody_knows_any_more_what_was_changed_a_payment_moves_forward_and_the_rest_is_logged(
    store: CheckoutStore,
) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    seen = raw(store, ID)
    assert seen is not None
    for number in range(2):
        store.update(ID, {"notes": f"ours {number}"})
    put_raw(store, ID, seen)
    external_write(store, {"notes": "theirs", **PAID})
    session = store.get(ID)
    assert session.version == 4
    assert session.fields.items() >= {**PAID, "notes": "ours 1"}.items()
    (conflict,) = conflicts(store)
    assert (conflict.result, (conflict.fields or {})["notes"]) == (Result.MERGED, "theirs")


# It never overwrites a write of ours, and none of ours overwrites it


def test_a_write_between_our_commit_and_our_publish_is_taken_in_and_ours_stays(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    update = store.database.update

    def update_and_be_overtaken(*arguments: Any, **options: Any) -> bool:
        monkeypatch.setattr(store.database, "update", update)
        done = update(*arguments, **options)
        external_write(store, PAID)
        return done

    monkeypatch.setattr(store.database, "update", update_and_be_overtaken)
    acknowledgement = store.update(ID, {"notes": "ours"})
    assert (acknowledgement.session.version, acknowledgement.published) == (2, True)
    session = store.get(ID)
    assert session.version == 3
    assert session.fields.items() >= {**PAID, "notes": "ours"}.items()


def test_a_write_after_ours_was_taken_in_for_publishing_is_left_where_it_is(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    external_write(store, {"notes": "first"})
    publish, written = store.redis.publish, []

    def publish_too_late(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(store.redis, "publish", publish)
        written.append(external_write(store, {"notes": "second"}))
        return publish(*arguments, **options)

    monkeypatch.setattr(store.redis, "publish", publish_too_late)
    store.get(ID)
    assert written
    assert store.get(ID).fields["notes"] == "second"
    assert row_fields(store)["notes"] == "second"
    assert conflicts(store) == []


def test_a_program_that_writes_faster_than_we_do_is_never_overwritten(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    last = external_write(store, {"n": 0})
    swap, numbers = store.redis.swap, iter(range(1, 1000))

    def swap_too_late(*arguments: Any, **options: Any) -> Any:
        nonlocal last
        last = external_write(store, {"n": next(numbers)})
        return swap(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(store.redis, "swap", swap_too_late)
        assert store.get(ID).version == 1
        acknowledgement = store.update(ID, {"notes": "ours"})
        assert (acknowledgement.session.version, acknowledgement.published) == (2, False)
        assert raw(store, ID) == last
    fields = store.get(ID).fields
    assert (fields["notes"], fields["n"]) == ("ours", json.loads(last)["n"])
    assert conflicts(store) == []


# By a program that drops the fields that it does not know


def test_a_write_without_our_header_moves_a_payment_forward(store: CheckoutStore) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    external_write(store, PAID, header=False)
    session = store.get(ID)
    assert (session.version, session.status, session.fields["databaseOrderId"]) == (2, "paid", "ORD-1")
    assert is_clean(store)
    assert conflicts(store) == []


def test_a_write_without_our_header_that_changes_nothing_makes_no_version(store: CheckoutStore) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    external_write(store, {"expiresAt": iso(0)}, header=False)
    assert store.get(ID).version == 1
    assert is_clean(store)
    assert conflicts(store) == []


@pytest.mark.parametrize(
    "changes", [{"notes": "theirs"}, {"paymentStatus": "processing"}, {"items": []}, {"paymentStatus": "bribed"}]
)
def test_whatever_else_it_changes_is_in_the_conflict_log(store: CheckoutStore, changes: dict[str, Any]) -> None:
    store.create({"subtotal": 5}, checkout_id=ID)
    before = row_of(store)
    written = external_write(store, changes, header=False)
    assert store.get(ID).version == 1
    assert row_of(store).body == before.body
    assert is_clean(store)
    (conflict,) = conflicts(store)
    assert (conflict.base_version, conflict.written, conflict.found_body) == (0, written, before.body)


# Payments


@pytest.mark.parametrize(
    ("before", "after"),
    [("paid", "pending"), ("paid", "cancelled"), ("cancelled", "paid"), ("pending", "bribed"), ("paid", None)],
)
def test_a_payment_that_may_not_follow_is_left_out_and_the_rest_applies(
    store: CheckoutStore, before: str, after: str | None
) -> None:
    store.create({"paymentStatus": before, "databaseOrderId": "ORD-1"}, checkout_id=ID)
    written = external_write(store, {"paymentStatus": after, "databaseOrderId": "ORD-2", "notes": "theirs"})
    session = store.get(ID)
    assert (session.version, session.status) == (2, before)
    assert session.fields.items() >= {"databaseOrderId": "ORD-1", "notes": "theirs"}.items()
    (conflict,) = conflicts(store)
    assert conflict.result == Result.PARTLY
    assert (conflict.fields or {})["databaseOrderId"] == "ORD-2"
    put_raw(store, ID, written)  # and once more: nothing changes
    assert store.get(ID).fields == session.fields
    assert row_of(store).version == 2


@pytest.mark.parametrize("after", ["pending", "failed", "cancelled"])
@pytest.mark.parametrize("header", [True, False])
def test_no_external_write_takes_a_payment_back(store: CheckoutStore, after: str, header: bool) -> None:
    store.create({}, checkout_id=ID)
    store.set_payment_status(ID, "paid", order_id="ORD-1")
    external_write(store, {"paymentStatus": after, "databaseOrderId": None}, header=header)
    assert store.get(ID).fields.items() >= PAID.items()
    assert row_fields(store).items() >= PAID.items()
    assert [conflict.checkout_id for conflict in conflicts(store)] == [ID]


# The older program deletes


@real_servers
def test_a_session_that_was_paid_and_deleted_is_not_payable_again(store: CheckoutStore) -> None:
    """It deletes after an order; a missing key may as well have been evicted."""
    put_raw(store, ID, b'{"checkoutId":"session-0001","paymentStatus":"pending"}')
    store.update(ID, {"notes": "x"})
    external_write(store, PAID)
    assert store.get(ID).status == "paid"
    evict(store, ID)
    assert store.get(ID).fields.items() >= {**PAID, "notes": "x"}.items()


def test_a_deleted_session_that_is_written_again_stays_deleted_and_is_in_the_conflict_log(
    store: CheckoutStore, clock: ManualClock
) -> None:
    store.create({}, checkout_id=ID)
    store.delete(ID)
    put_raw(store, ID, foreign_session(clock))
    with pytest.raises(SessionDeleted):
        store.get(ID)
    assert raw(store, ID) is None
    (conflict,) = conflicts(store)
    assert (conflict.written, conflict.found_version, conflict.found_body) == (foreign_session(clock), 2, None)


def test_a_write_just_before_our_deletion_is_flushed_first(store: CheckoutStore) -> None:
    store.create({}, checkout_id=ID)
    external_write(store, PAID)
    store.delete(ID)
    assert (row_of(store).version, row_of(store).body, raw(store, ID)) == (3, None, None)
    assert store.database.totals().completed == 1


def test_a_write_just_after_our_deletion_is_in_the_conflict_log(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({}, checkout_id=ID)
    bury = store.database.delete

    def bury_and_be_overtaken(*arguments: Any, **options: Any) -> bool:
        done = bury(*arguments, **options)
        external_write(store, PAID)
        return done

    monkeypatch.setattr(store.database, "delete", bury_and_be_overtaken)
    store.delete(ID)
    assert (row_of(store).body, raw(store, ID)) == (None, None)
    (conflict,) = conflicts(store)
    assert (conflict.fields or {})["databaseOrderId"] == "ORD-1"


# Without the database


@pytest.fixture
def away(store: CheckoutStore, another: Callable[..., CheckoutStore], monkeypatch: pytest.MonkeyPatch) -> CheckoutStore:
    """A process that cannot reach the database, while ``store`` can."""
    made = another()
    for method in ("read", "insert", "update", "look", "transaction"):
        monkeypatch.setattr(made.database, method, database_away)
    return made


def test_it_is_read_as_it_is_and_not_verified(store: CheckoutStore, away: CheckoutStore) -> None:
    store.create({}, checkout_id=ID)
    written = external_write(store, PAID)
    session = away.get(ID)
    assert (session.verified, session.external, session.status) == (False, True, "paid")
    assert json.loads(raw(store, ID) or b"{}") | {"_store": ""} == json.loads(written) | {"_store": ""}
    assert store.get(ID).version == 2
    assert conflicts(store) == []


@pytest.mark.parametrize("header", [True, False])
def test_a_write_that_redis_alone_acknowledges_is_built_upon_it(
    store: CheckoutStore, away: CheckoutStore, header: bool
) -> None:
    store.create({}, checkout_id=ID)
    external_write(store, PAID, header=header)
    acknowledgement = away.update(ID, {"notes": "ours"})
    assert acknowledgement.durability is Durability.REDIS
    copy = copy_of(store, ID)
    assert copy is not None
    assert (copy.kind, copy.questionable, copy.version) == (Kind.OURS, True, 3 if header else 2)
    assert acknowledgement.session.version == copy.version
    flush_all(store)
    assert row_fields(store).items() >= PAID.items()
    assert is_clean(store)
    noted = [conflict.fields or {} for conflict in conflicts(store)]
    assert (row_fields(store).get("notes") == "ours") is header
    assert [fields.get("notes") for fields in noted] == ([] if header else ["ours"])


def test_a_session_of_another_program_that_was_changed_meanwhile_is_there_once_it_is_flushed(
    store: CheckoutStore, away: CheckoutStore, clock: ManualClock
) -> None:
    put_raw(store, ID, foreign_session(clock))
    away.update(ID, {"notes": "ours"})
    flush_all(store)
    seen = json.loads(raw(store, ID) or b"{}")
    assert (seen["notes"], seen["subtotal"]) == ("ours", 10.5), "the older program goes on with it"
    assert store.get(ID).version == 2


def test_nothing_is_lost_if_the_database_goes_away_when_it_was_taken_in(
    store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({}, checkout_id=ID)
    external_write(store, PAID)
    with monkeypatch.context() as patch:
        patch.setattr(store.flush_log, "apply", database_away)
        patch.setattr(store.database, "read", database_away)
        with pytest.raises(DurabilityUnavailable):
            store.update(ID, {"notes": "ours"}, require=Durability.DATABASE)
        session = store.get(ID)
    assert (session.verified, session.status) == (False, "paid")
    assert store.get(ID).version == 2
    assert row_fields(store).items() >= PAID.items()
    assert conflicts(store) == []


def test_a_write_whose_answer_is_lost_goes_to_redis_only_on_the_copy_that_it_was_built_on(
    store: CheckoutStore, away: CheckoutStore, another: Callable[..., CheckoutStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({}, checkout_id=ID)
    with monkeypatch.context() as patch:
        patch.setattr(store.redis, "publish", redis_away)
        store.update(ID, {"subtotal": 7})
    away.update(ID, {"notes": "while away"})  # on version 1
    unheard = another()
    update = unheard.database.update

    def update_unheard(*arguments: Any, **options: Any) -> bool:
        assert update(*arguments, **options)
        raise DatabaseUnavailable("the answer to the COMMIT is lost")

    monkeypatch.setattr(unheard.database, "update", update_unheard)
    with pytest.raises(DatabaseUnavailable):
        unheard.update(ID, {"couponCode": "SAVE5"})  # on version 3, which the flush has made of both
    there = copy_of(store, ID)
    assert there is not None
    assert row_of(store).write_id not in there.ids, "one id names one state"
    fields = another().get(ID).fields
    assert fields.items() >= {"subtotal": 7, "notes": "while away", "couponCode": "SAVE5"}.items()


# Bytes that come back


def test_bytes_that_were_taken_in_and_come_back_with_a_restart_are_nothing_new(store: CheckoutStore) -> None:
    store.create({}, checkout_id=ID)
    put_raw(store, ID, under_another_identity(raw(store, ID) or b""))
    written = external_write(store, {"notes": "theirs"})
    assert store.get(ID).version == 2
    store.update(ID, {"notes": "ours"})
    put_raw(store, ID, written)
    session = store.get(ID)
    assert (session.version, session.fields["notes"]) == (3, "ours")
    assert is_clean(store)
    assert conflicts(store) == []


def test_bytes_of_yesterday_that_their_program_writes_back_never_cost_a_write_of_ours(store: CheckoutStore) -> None:
    store.create({}, checkout_id=ID)
    old = external_write(store, {"notes": "yesterday"})
    store.get(ID)
    store.update(ID, {"notes": "ours"})
    store.set_payment_status(ID, "paid", order_id="ORD-1")
    put_raw(store, ID, old)
    assert store.get(ID).fields.items() >= {**PAID, "notes": "ours"}.items()
    assert is_clean(store)


# Write-behind


def test_where_redis_acknowledges_it_is_taken_in_first(
    another: Callable[..., CheckoutStore], settings: Settings
) -> None:
    store = another(replace(settings, durability="redis"))
    make_tables(store.database)
    store.create({}, checkout_id=ID)
    external_write(store, PAID)
    assert store.update(ID, {"notes": "ours"}).session.version == 3
    flush_all(store)
    assert row_of(store).version == 3
    assert row_fields(store).items() >= {**PAID, "notes": "ours"}.items()
    assert conflicts(store) == []


# What operators see


@pytest.mark.parametrize("header", [True, False])
def test_a_look_shows_what_a_flush_will_make_of_it_and_writes_nothing(store: CheckoutStore, header: bool) -> None:
    store.create({}, checkout_id=ID)
    written = external_write(store, PAID, header=header)
    before = row_of(store)
    sightings = [store.admin.inspect(ID), *store.admin.iterate(), *store.admin.inspect_all([ID])]
    seen = [(each.session.version, each.session.status, each.session.external) for each in sightings if each.session]
    assert seen == [(2, "paid", True)] * 3
    assert (raw(store, ID), row_of(store), store.external.writes().taken_in) == (written, before, 0)
    assert store.get(ID).version == 2


def test_a_look_at_a_write_that_will_be_a_conflict_shows_the_row(store: CheckoutStore) -> None:
    store.create({"notes": "ours"}, checkout_id=ID)
    external_write(store, {"notes": "theirs"}, header=False)
    for sighting in (store.admin.inspect(ID), *store.admin.iterate()):
        assert sighting.session is not None
        assert (sighting.tier, sighting.session.fields["notes"]) == (TierName.DATABASE, "ours")
    assert conflicts(store) == []


def test_a_look_at_a_refused_payment_shows_the_rows(store: CheckoutStore) -> None:
    store.create(PAID, checkout_id=ID)
    external_write(store, {"paymentStatus": "pending", "notes": "theirs"})
    session = store.admin.inspect(ID).session
    assert session is not None
    assert (session.status, session.fields["notes"]) == ("paid", "theirs")


@real_servers
def test_what_external_writers_do_is_counted(store: CheckoutStore, clock: ManualClock) -> None:
    assert store.external.writes() == ExternalWrites()
    store.create({}, checkout_id=ID)
    for number in range(3):
        external_write(store, {"n": number})
        clock.advance(1)
        store.get(ID)
    external_write(store, {"n": 9}, header=False)
    store.get(ID)
    writes = store.external.writes()
    assert (writes.taken_in, writes.conflicts, writes.seen_at) == (4, 1, clock.milliseconds)
    assert writes.are_recent(clock.milliseconds + 23 * 3_600_000)
    assert not writes.are_recent(clock.milliseconds + 24 * 3_600_000)


# What the older program sees


def test_a_miss_and_a_claim_leave_the_key_missing_for_its_list_of_all_sessions(store: CheckoutStore) -> None:
    opened = store.redis.open(ID)
    assert opened.token
    keys = store.redis.ask(("KEYS", "checkout:session:*"))
    assert keys == []
    assert store.redis.ask(("MGET", key_of(ID))) == [None]


def ends_at(store: CheckoutStore) -> int | None:
    """When the older program will end the session (ms)."""
    return milliseconds_of(json.loads(raw(store, ID) or b"{}").get("expiresAt"))


def test_while_it_is_there_a_read_keeps_the_moment_true_at_which_it_ends_sessions(
    store: CheckoutStore, clock: ManualClock
) -> None:
    store.create({}, checkout_id=ID)
    external_write(store, {"notes": "theirs"})
    store.get(ID)
    for _ in range(4):
        clock.advance(600)
        session = store.get(ID)
        assert ends_at(store) == clock.milliseconds + 1_800_000
        assert session.fields["expiresAt"] == iso(clock.milliseconds + 1_800_000)
    assert (store.get(ID).version, row_of(store).version) == (2, 2)
    assert {**row_fields(store), "expiresAt": session.fields["expiresAt"]} == session.fields


def test_a_read_writes_nothing_where_no_other_program_was_seen_for_a_day(
    store: CheckoutStore, clock: ManualClock
) -> None:
    store.create({}, checkout_id=ID)
    external_write(store, {"notes": "theirs"})
    store.get(ID)
    written = raw(store, ID)
    clock.advance(24 * 3600)
    store.create({}, checkout_id="session-0002")
    store.get("session-0002")
    before = raw(store, "session-0002")
    clock.advance(600)
    store.get("session-0002")
    assert raw(store, "session-0002") == before
    assert raw(store, ID) == written
