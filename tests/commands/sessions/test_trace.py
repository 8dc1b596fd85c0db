"""One id in every tier side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from checkout_cli.commands.sessions.trace import MISSING, Trust, look_everywhere, trace
from checkout_cli.commands.sync.sync import synchronize
from checkout_cli.errors import InvalidInput, SessionNotFound, TierUnavailable
from checkout_cli.keys import INDEX, INDEX_ASIDE, claim_key
from checkout_cli.session import PaymentStatus
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.flush_log import Source
from checkout_cli.store.protocol.flushing import Result
from checkout_cli.store.protocol.value import decode, encode_value
from checkout_cli.store.records import Problem
from checkout_cli.store.redis.inspection import KeyState
from tests.support.divergence import (
    beside_redis,
    create_in_redis_alone,
    make_conflict,
    set_columns,
    update_in_database_alone,
    write_externally,
)
from tests.support.servers import ValkeyServer
from tests.support.stores import make_store

ID = "trace-0001"
KEY = f"checkout:session:{ID}"


def test_a_session_that_is_well_is_trusted_and_the_same_in_both(store: CheckoutStore) -> None:
    store.create({"totalAmount": 7.5}, checkout_id=ID)
    store.notes.write_down()
    found = trace(store, ID)
    assert found.key is not None
    assert found.row is not None
    assert (found.key.state, found.key.version, found.trust) == (KeyState.OURS, 1, Trust.TRUSTED)
    assert (found.row.version, found.row.published_version, found.row.is_pending) == (1, 1, False)
    assert found.key.score == found.row.expires_at
    assert found.differences == []
    assert not found.key.waits


def test_looking_extends_nothing_and_claims_nothing(store: CheckoutStore) -> None:
    store.create({}, checkout_id=ID)
    store.redis.ask(("PEXPIRE", KEY, 60_000))
    before = store.database.read(ID)
    trace(store, ID)
    assert store.redis.ask(("PTTL", KEY)) <= 60_000
    assert store.database.read(ID) == before
    store.redis.ask(("DEL", KEY))
    trace(store, ID)
    assert not store.redis.ask(("EXISTS", KEY))


def test_what_differs_is_told_field_by_field(store: CheckoutStore) -> None:
    store.create({"totalAmount": 7.5, "notes": "a"}, checkout_id=ID)
    update_in_database_alone(store.settings, ID, totalAmount=9.5, couponCode="SAVE")
    found = trace(store, ID)
    told = {difference.name: (difference.in_redis, difference.in_database) for difference in found.differences}
    assert told["totalAmount"] == (7.5, 9.5)
    assert told["couponCode"] == (MISSING, "SAVE")
    assert "notes" not in told
    assert found.trust is Trust.BEHIND


def test_a_beginning_will_do_where_it_is_the_only_one(store: CheckoutStore) -> None:
    store.create({}, checkout_id="trace-0001")
    store.create({}, checkout_id="tracks-001")
    assert trace(store, "trace-").checkout_id == "trace-0001"
    with pytest.raises(InvalidInput, match="2 sessions"):
        trace(store, "trac")
    with pytest.raises(SessionNotFound):
        trace(store, "nothing-like-it")


def test_a_tombstone_is_found_by_its_whole_id(store: CheckoutStore) -> None:
    store.create({}, checkout_id=ID)
    store.delete(ID)
    found = trace(store, ID)
    assert found.row is not None
    assert found.row.body is None
    assert found.key is not None
    assert found.key.state is KeyState.MISSING


@pytest.mark.parametrize(
    ("value", "state", "problem"),
    [
        (b'{"a":', KeyState.BROKEN, Problem.CORRUPT),
        (b'{"totalAmount":1}', KeyState.UNSTAMPED, None),
        (b"", KeyState.BROKEN, Problem.CORRUPT),
    ],
    ids=["corrupt", "external", "empty"],
)
def test_whatever_lies_at_the_key_is_told(
    store: CheckoutStore, value: bytes, state: KeyState, problem: Problem | None
) -> None:
    store.redis.ask(("SET", KEY, value, "PX", 60_000))
    found = trace(store, ID)
    assert found.key is not None
    assert (found.key.state, found.key.problem) == (state, problem)
    assert found.row is None


def test_a_list_at_the_key_is_told(store: CheckoutStore) -> None:
    store.redis.ask(("RPUSH", KEY, "a"))
    found = trace(store, ID)
    assert found.key is not None
    assert found.key.problem is Problem.WRONG_TYPE


def test_a_copy_that_another_program_changed_is_not_trusted(store: CheckoutStore, valkey: ValkeyServer) -> None:
    store.create({"totalAmount": 7.5}, checkout_id=ID)
    with valkey.client() as client:
        client.set(KEY, client.get(KEY).replace(b"7.5", b"0.5"), keepttl=True)  # type: ignore[union-attr]
    found = trace(store, ID)
    assert found.trust is Trust.EXTERNAL
    assert [difference.name for difference in found.differences] == ["totalAmount"]


def test_a_copy_of_another_server_is_not_trusted(store: CheckoutStore, valkey: ValkeyServer) -> None:
    store.create({}, checkout_id=ID)
    with valkey.client() as client:
        value = client.get(KEY)
        assert isinstance(value, bytes)
        elsewhere = msgspec.structs.replace(decode(value), identity=b"another:server")
        client.set(KEY, encode_value(elsewhere), keepttl=True)
    assert trace(store, ID).trust is Trust.OTHER_SERVER


def test_writes_that_wait_for_the_database_are_told(store: CheckoutStore) -> None:
    create_in_redis_alone(store.settings, ID)
    found = trace(store, ID)
    assert found.key is not None
    assert (found.key.version, found.key.dirty) == (1, 1)
    assert found.key.waits
    assert found.trust is Trust.QUESTIONABLE  # only the database knows whether the id was free
    assert found.row is None
    assert found.expected is not None
    assert (found.expected.result, found.expected.conflict) == (Result.APPLIED, False)


def test_a_claim_to_fill_the_key_is_told(store: CheckoutStore) -> None:
    store.redis.ask(("SET", claim_key(ID), b"somebody", "PX", 60_000))
    found = look_everywhere(store, ID)
    assert found.key is not None
    assert (found.key.state, found.key.is_copy) == (KeyState.CLAIMED, False)


EXTERNAL_WRITES = [
    pytest.param({"notes": "theirs"}, Result.APPLIED, False, id="applied"),
    pytest.param({"paymentStatus": "pending", "notes": "theirs"}, Result.PARTLY, True, id="partly"),
    pytest.param({}, Result.ALREADY, False, id="nothing changed"),
]


@pytest.mark.parametrize(("fields", "result", "conflict"), EXTERNAL_WRITES)
def test_what_becomes_of_an_external_write_is_told_before_it_happens(
    store: CheckoutStore, fields: dict[str, Any], result: Result, conflict: bool
) -> None:
    store.create({"paymentStatus": "paid"}, checkout_id=ID)
    write_externally(store, ID, **fields)
    found = trace(store, ID)
    assert found.key is not None
    assert (found.key.state, found.trust) == (KeyState.TAMPERED, Trust.EXTERNAL)
    assert found.expected is not None
    assert (found.expected.result, found.expected.conflict) == (result, conflict)

    synchronize(store)  # and so it happens

    row = store.database.read(ID)
    assert row is not None
    assert row.version == (1 if found.expected.row is None else found.expected.row.version)
    assert store.flush_log.conflict_count() == int(conflict)


def test_an_external_write_that_the_database_has_overtaken_is_merged_or_a_conflict(store: CheckoutStore) -> None:
    store.create({"notes": "first", "totalAmount": 1}, checkout_id=ID)
    store.notes.write_down()
    write_externally(store, ID, totalAmount=2)
    with beside_redis(store.settings) as other:
        other.update(ID, {"notes": "ours"})
    merged = trace(store, ID).expected
    write_externally(store, ID, notes="theirs", totalAmount=1)
    refused = trace(store, ID).expected
    assert merged is not None
    assert refused is not None
    assert (merged.result, merged.conflict) == (Result.MERGED, False)
    assert (refused.result, refused.conflict, refused.row) == (Result.CONFLICT, True, None)


def test_what_only_an_external_writer_has_waits_for_a_write_of_ours(store: CheckoutStore) -> None:
    store.redis.ask(("SET", KEY, b'{"totalAmount":1}', "PX", 60_000))
    assert trace(store, ID).expected is None


def test_a_lost_conflict_is_told(store: CheckoutStore) -> None:
    make_conflict(store, ID)
    assert [(told.source, told.result) for told in trace(store, ID).conflicts] == [(Source.REDIS, Result.CONFLICT)]


@pytest.mark.parametrize("key", [INDEX, INDEX_ASIDE])
def test_what_only_an_older_programs_set_names_is_listed(store: CheckoutStore, key: str) -> None:
    store.create({}, checkout_id=ID)
    store.redis.ask(("DEL", INDEX))
    store.redis.ask(("SADD", key, ID))
    found = trace(store, ID)
    assert found.key is not None
    assert found.key.score == float("inf")


def test_without_one_tier_the_other_is_told_and_without_both_it_is_an_error(store: CheckoutStore) -> None:
    store.create({"paymentStatus": PaymentStatus.PROCESSING}, checkout_id=ID)
    set_columns(store, ID, published_version=1)
    with make_store(replace(store.settings, redis_port=1)) as without_redis:
        found = trace(without_redis, ID)
    assert found.key is None
    assert "refused" in found.redis_away
    assert found.row is not None
    with make_store(replace(store.settings, database_url="postgresql://nobody@127.0.0.1:1/none")) as without_database:
        found = trace(without_database, ID)
    assert found.key is not None
    assert found.key.is_copy
    assert found.database_away
    away = replace(store.settings, redis_port=1, database_url="postgresql://nobody@127.0.0.1:1/none")
    with make_store(away) as without_both, pytest.raises(TierUnavailable):
        trace(without_both, ID)
