"""What no session stands behind is found, and removed only if it still is what was seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest
import redis

from checkout_cli.commands.cleanup import orphans
from checkout_cli.commands.cleanup.orphans import OrphanReport, find_orphans, remove_orphans
from checkout_cli.errors import DatabaseUnavailable, ExitCode
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.keys import INDEX, PENDING, claim_key, session_key
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.value import decode, encode_value
from checkout_cli.store.redis import index as redis_index
from tests.support.divergence import create_in_redis_alone, write_externally
from tests.support.servers import ValkeyServer
from tests.support.stores import make_store

ID = "orphan-001"
KEY = session_key(ID)


@pytest.fixture
def client(valkey: ValkeyServer) -> Any:
    with valkey.client() as opened:
        yield opened


def orphan(store: CheckoutStore, client: redis.Redis, checkout_id: str = ID) -> None:
    """A copy that a restart brought back, of a session whose row is gone."""
    store.create({}, checkout_id=checkout_id)
    store.database.erase(checkout_id)
    value = client.get(session_key(checkout_id))
    assert isinstance(value, bytes)
    elsewhere = msgspec.structs.replace(decode(value), identity=b"another:server")
    client.set(session_key(checkout_id), encode_value(elsewhere), keepttl=True)


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


def test_what_comes_after_the_question_is_not_removed(store: CheckoutStore, client: redis.Redis) -> None:
    orphan(store, client)
    orphan(store, client, "orphan-003")
    client.sadd(PENDING, "name-00001")

    def agree_while_others_come(found: OrphanReport) -> bool:
        assert (found.copies.number, found.names.number) == (2, 1)
        orphan(store, client, "orphan-002")
        client.sadd(PENDING, "name-00002")
        value = client.get(session_key("orphan-003"))
        assert isinstance(value, bytes)
        other = msgspec.structs.replace(decode(value), identity=b"a:third")
        client.set(session_key("orphan-003"), encode_value(other), keepttl=True)
        return True

    report = remove_orphans(store, agreed=agree_while_others_come)
    assert (report.copies.examples, report.names.examples) == ([ID], ["name-00001"])
    assert client.exists(session_key("orphan-002"), session_key("orphan-003")) == 2
    assert client.smembers(PENDING) == {b"name-00002"}
    assert report.finished


@pytest.mark.parametrize("limit", ["time", "number"])
def test_a_removal_that_is_cut_off_is_gone_on_with(
    store: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(redis_index, "PAGE", 2)
    monkeypatch.setattr(orphans, "BATCH", 2)
    for number in range(60):  # one page of a scan may have a dozen, whatever it is asked for
        orphan(store, client, f"orphan-{number:03}")
    if limit == "number":
        monkeypatch.setattr(orphans, "MOST_AGREED", 4)
    ticks = iter(range(100_000))
    clock = replace(store.clock, elapsed=lambda: float(next(ticks)))
    left = [60]
    while left[-1] and len(left) < 200:
        run = BoundedRun(clock, max_seconds=8) if limit == "time" else BoundedRun(clock)
        report = remove_orphans(store, run, agreed=agree)
        left.append(sum(1 for _ in client.scan_iter(match=session_key("orphan-*"), count=1000)))
        assert report.goes_on
        assert report.finished or report.exit_code == ExitCode.FINDING
    assert len(left) > 3
    assert left[-1] == 0
    assert report.removed


def test_a_preview_begins_where_the_next_removal_does(
    store: CheckoutStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "MOST_AGREED", 1)
    monkeypatch.setattr(redis_index, "PAGE", 2)
    for number in range(20):
        orphan(store, client, f"orphan-{number:03}")
    remove_orphans(store, agreed=agree)
    assert find_orphans(store).resumed
