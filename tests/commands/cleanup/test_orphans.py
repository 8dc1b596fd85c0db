"""What no session stands behind is found, and removed only if it still is what was seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
import redis

from checkout_cli.commands.cleanup.orphans import OrphanReport, find_orphans, remove_orphans
from checkout_cli.errors import DatabaseUnavailable, ExitCode
from checkout_cli.keys import INDEX, PENDING, claim_key, session_key
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.value import decode, encode_value
from tests.support.divergence import create_in_redis_alone, write_externally
from tests.support.servers import ValkeyServer
from tests.support.stores import make_store

ID = "orphan-001"
KEY = session_key(ID)


@pytest.fixture
def client(valkey: ValkeyServer) -> Any:
    with valkey.client() as opened:
        yield opened


def orphan(store: CheckoutStore, client: redis.Redis) -> None:
    """A copy that a restart brought back, of a session whose row is gone."""
    store.create({}, checkout_id=ID)
    store.database.erase(ID)
    value = client.get(KEY)
    assert isinstance(value, bytes)
    elsewhere = msgspec.structs.replace(decode(value), identity=b"another:server")
    client.set(KEY, encode_value(elsewhere), keepttl=True)


def agree(_: OrphanReport) -> bool:
    return True


def test_a_copy_that_no_row_stands_behind_and_no_read_believes_is_removed(
    store: CheckoutStore, client: redis.Redis
) -> None:
    orphan(store, client)
    found = find_orphans(store)
    assert (found.copies.examples, found.believed.number, found.exit_code) == ([ID], 0, ExitCode.FINDING)
    assert found.bytes > 0
    assert not remove_orphans(store, agreed=lambda _: False).removed
    assert client.exists(KEY)
    removed = remove_orphans(store, agreed=agree)
    assert (removed.removed, removed.copies.number, removed.exit_code) == (True, 1, ExitCode.OK)
    assert not client.exists(KEY)
    assert client.zscore(INDEX, ID) is None


def test_a_copy_that_reads_may_be_served_is_told_and_left_alone(store: CheckoutStore, client: redis.Redis) -> None:
    store.create({}, checkout_id=ID)
    store.database.erase(ID)
    report = remove_orphans(store, agreed=agree)
    assert (report.believed.examples, report.copies.number, report.exit_code) == ([ID], 0, ExitCode.FINDING)
    assert client.exists(KEY)


def test_what_has_a_row_or_is_another_programs_or_waits_is_no_orphan(store: CheckoutStore, client: redis.Redis) -> None:
    store.create({}, checkout_id="living-001")
    client.set(session_key("foreign-01"), b'{"totalAmount":1}', px=600_000)
    create_in_redis_alone(store.settings, "waiting-01")
    store.create({}, checkout_id="deleted-01")
    store.delete("deleted-01")
    report = remove_orphans(store, agreed=agree)
    assert (report.number, report.believed.number) == (0, 0)
    assert client.sismember(PENDING, "waiting-01")
    assert client.exists(session_key("foreign-01"), session_key("living-001"), session_key("waiting-01")) == 3


def test_a_pending_name_for_which_nothing_waits_is_removed(store: CheckoutStore, client: redis.Redis) -> None:
    create_in_redis_alone(store.settings, "waiting-01", "written-01", "broken-001")
    write_externally(store, "written-01", notes="theirs")  # on top of our write, which is still named in it
    client.set(session_key("broken-001"), "{", px=600_000)
    client.sadd(PENDING, "nobody-001", "a-list-001", "theirs-001")
    client.rpush(session_key("a-list-001"), "x")
    client.set(session_key("theirs-001"), "{}", px=600_000)
    report = remove_orphans(store, agreed=agree)
    assert sorted(report.names.examples) == ["nobody-001", "theirs-001"]
    assert client.smembers(PENDING) == {b"waiting-01", b"written-01", b"broken-001", b"a-list-001"}
    assert client.get(session_key("theirs-001")) == b"{}"
    assert store.database.read("written-01") is None  # it only takes names out


def test_a_fill_claim_is_no_session_and_no_orphan(store: CheckoutStore, client: redis.Redis) -> None:
    client.set(claim_key(ID), "somebody", px=600_000)
    report = remove_orphans(store, agreed=agree)
    assert (report.number, report.believed.number) == (0, 0)
    assert client.exists(claim_key(ID))


def test_a_copy_that_is_written_meanwhile_stays(
    store: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphan(store, client)
    discard = store.redis.discard

    def and_write(checkout_id: str, value: bytes) -> bool:
        client.set(KEY, b'{"totalAmount":2}', px=600_000)
        return discard(checkout_id, value)

    monkeypatch.setattr(store.redis, "discard", and_write)
    assert remove_orphans(store, agreed=agree).copies.number == 0
    assert client.get(KEY) == b'{"totalAmount":2}'


def test_without_the_database_nobody_can_tell(store: CheckoutStore, client: redis.Redis) -> None:
    orphan(store, client)
    nowhere = replace(store.settings, database_url="postgresql://nobody@127.0.0.1:1/none")
    with make_store(nowhere) as cut_off, pytest.raises(DatabaseUnavailable):
        remove_orphans(cut_off, agreed=agree)
    assert client.exists(KEY)
