"""The flush log: a dirty value comes to the database once, whoever brings it; what cannot stand is kept beside it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from checkout_cli.config.settings import Settings
from checkout_cli.errors import DatabaseUnavailable
from checkout_cli.store.database.admin import DatabaseAdmin
from checkout_cli.store.database.external_writers import ExternalWriters, ExternalWrites
from checkout_cli.store.database.flush_log import Conflict, Dirty, Flushed, FlushLog, Source
from checkout_cli.store.protocol.bodies import SessionBodies
from checkout_cli.store.protocol.flushing import Result, decide
from checkout_cli.store.protocol.value import NO_IDENTITY, Value, digest_of
from checkout_cli.store.protocol.writing import taken_in
from checkout_cli.store.records import Record, Totals

NOW = 1_800_000_000_000
ID = "session-1"
FIRST = (
    b'{"checkoutId":"session-1","createdAt":"2024-01-15T10:30:00.000Z","paymentStatus":"pending","a":1,"price":10.50}'
)


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def where(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    settings = replace(settings, database_timeout=5.0)
    if request.param == "PostgreSQL":
        return replace(settings, database_url=request.getfixturevalue("emptied_database"))
    return settings


class Place:
    """One process: its database, and its flush log."""

    def __init__(self, settings: Settings, name: str = "fresh") -> None:
        self.database = DatabaseAdmin(settings)
        self.external = ExternalWriters(self.database)
        tokens = itertools.count(1)
        self.log = FlushLog(self.database, self.external, lambda: f"{name}{next(tokens)}")

    def close(self) -> None:
        self.database.close()

    def insert(self, body: bytes = FIRST, write_id: str = "row1-1") -> None:
        record = Record(ID, 1, body, NOW, NOW + 1000)
        assert self.database.insert(record, now=NOW, write_id=write_id)

    def update(self, body: bytes, seen: int, write_id: str) -> None:
        record = Record(ID, seen + 1, body, NOW, NOW + 1000)
        assert self.database.update(record, seen=seen, now=NOW, write_id=write_id)

    def flush(self, base: int, body: bytes, *ids: str, now: int = NOW, source: Source = Source.REDIS) -> Flushed:
        value = Value(base, b"server", body, ids)
        return self.log.apply(Dirty(ID, value, NOW, NOW + 5000, source), now)

    def take_in(self, base: int, body: bytes, raw: bytes, identity: bytes = b"server", by: str = "x1") -> Flushed:
        value = taken_in(Value(base, identity, body), digest_of(raw), b"server", by)
        return self.log.apply(Dirty(ID, value, NOW, NOW + 5000, Source.REDIS), NOW)

    def row(self) -> Record:
        record = self.database.read(ID)
        assert record is not None
        return record

    def state(self) -> tuple[Record, list[Conflict], int]:
        """All that a flush may change."""
        return self.row(), self.log.conflicts(100), self.log.count(NOW + 10**9)


@pytest.fixture
def place(where: Settings) -> Iterator[Place]:
    with closing(Place(where)) as made:
        made.database.create_schema()
        yield made


def changed(body: bytes, old: bytes, new: bytes) -> bytes:
    assert old in body
    return body.replace(old, new)


# Applied


def test_a_write_on_the_rows_version_becomes_the_version_that_its_caller_saw(place: Place) -> None:
    place.insert()
    body = changed(FIRST, b'"a":1', b'"a":2')
    flushed = place.flush(1, body, "t-3")
    assert (flushed.result, flushed.conflict, flushed.wrote, flushed.before) == (Result.APPLIED, False, True, FIRST)
    row = place.row()
    assert (row.version, row.body, row.write_id) == (4, body, "t-3")
    assert (row.created_at, row.expires_at) == (NOW, NOW + 5000)
    assert flushed.record == row


def test_writes_of_several_processes_in_one_value_count_together(place: Place) -> None:
    place.insert()
    assert place.flush(1, FIRST, "t-2", "u-3").result is Result.APPLIED
    assert (place.row().version, place.row().write_id) == (6, "u-3")


def test_a_session_that_only_redis_has_becomes_a_row(place: Place) -> None:
    flushed = place.flush(0, FIRST, "t-2")
    assert (flushed.result, flushed.before) == (Result.APPLIED, None)
    assert (place.row().version, place.row().body) == (2, FIRST)
    assert place.database.totals() == Totals(1, 0, 0)
    assert [row.version for row in place.database.pending(10)] == [2]


def test_a_flush_leaves_the_version_pending_until_it_is_published(place: Place) -> None:
    """Noting it here would be a promise that Redis has it."""
    place.insert()
    place.database.note_published({ID: 1})
    place.flush(1, FIRST, "t-1")
    assert [(row.version, row.write_id) for row in place.database.pending(10)] == [(2, "t-1")]


def test_who_waits_for_the_version_hears_of_it_before_it_is_committed(where: Settings, place: Place) -> None:
    place.insert()
    heard: list[tuple[Record, Record | None]] = []
    with closing(Place(where)) as other:
        value = Value(1, b"server", changed(FIRST, b'"a":1', b'"a":2'), ("t-1",))
        dirty = Dirty(ID, value, NOW, NOW + 5000, Source.REDIS)
        place.log.apply(dirty, NOW, committing=lambda record: heard.append((record, other.database.read(ID))))
        ((told, seen),) = heard
        assert told == place.row()
        assert seen is not None
        assert seen.version == 1
        place.log.apply(dirty, NOW, committing=lambda _: pytest.fail("nothing is committed"))


# Once


def test_the_same_write_again_changes_nothing(place: Place) -> None:
    place.insert()
    place.flush(1, FIRST, "t-1")
    before = place.state()
    for _ in range(2):
        flushed = place.flush(1, FIRST, "t-1")
        assert (flushed.result, flushed.wrote, flushed.conflict) == (Result.ALREADY, False, False)
    assert place.state() == before


def test_an_earlier_write_of_the_same_process_is_in_the_later_one(place: Place) -> None:
    """As a snapshot brings it back."""
    place.insert()
    place.flush(1, changed(FIRST, b'"a":1', b'"a":3'), "t-3")
    before = place.state()
    assert place.flush(1, changed(FIRST, b'"a":1', b'"a":2'), "t-2").result is Result.ALREADY
    assert place.state() == before


def test_a_later_write_of_it_goes_on_from_there(place: Place) -> None:
    place.insert()
    place.flush(1, changed(FIRST, b'"a":1', b'"a":2'), "t-2")
    body = changed(FIRST, b'"a":1', b'"a":3')
    assert place.flush(1, body, "t-3").result is Result.APPLIED
    assert (place.row().version, place.row().body) == (4, body)


def test_a_write_that_the_database_has_and_only_its_answer_was_lost_is_there_already(place: Place) -> None:
    place.insert()
    place.update(changed(FIRST, b'"a":1', b'"a":2'), 1, "w-1")
    before = place.state()
    assert place.flush(1, FIRST, "w-1").result is Result.ALREADY
    assert place.state() == before


def test_without_the_log_an_old_write_would_be_a_conflict_with_itself(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control."""
    monkeypatch.setattr(place.log, "_log_all", lambda *_: None)
    place.insert()
    place.flush(1, changed(FIRST, b'"a":1', b'"a":2'), "t-1")
    place.update(changed(FIRST, b'"a":1', b'"a":3'), 2, "w-1")
    assert place.flush(1, changed(FIRST, b'"a":1', b'"a":2'), "t-1").result is not Result.ALREADY


@pytest.mark.parametrize("outcome", ["partly", "conflict", "merged"])
def test_whatever_became_of_it_the_same_write_again_changes_nothing(place: Place, outcome: str) -> None:
    place.insert(changed(FIRST, b"pending", b"paid"))
    body = {
        "partly": changed(FIRST, b'"a":1', b'"a":2'),
        "conflict": changed(FIRST, b'"a":1', b'"a":2'),
        "merged": changed(FIRST, b"pending", b"paid")[:-1] + b',"b":1}',
    }[outcome]
    if outcome != "partly":
        place.update(changed(FIRST, b"pending", b"paid")[:-1] + b',"c":1}', 1, "w-1")
        if outcome == "conflict":
            place.update(changed(FIRST, b"pending", b"paid")[:-1] + b',"c":2}', 2, "w-2")
    first = place.flush(1, body, "t-1")
    assert first.result is {"partly": Result.PARTLY, "conflict": Result.CONFLICT, "merged": Result.MERGED}[outcome]
    before = place.state()
    again = place.flush(1, body, "t-1")
    assert again.result is (Result.ALREADY if outcome == "merged" else first.result)
    assert (again.conflict, again.wrote) == (False, False)
    assert place.state() == before


# Merged


def test_two_changes_of_different_fields_become_one_version(place: Place) -> None:
    place.insert()
    place.update(changed(FIRST, b'"a":1', b'"a":2'), 1, "w-1")
    flushed = place.flush(1, changed(FIRST, b"10.50", b"11.50"), "t-1")
    assert (flushed.result, flushed.conflict) == (Result.MERGED, False)
    row = place.row()
    assert row.version == 3
    assert row.body == changed(changed(FIRST, b'"a":1', b'"a":2'), b"10.50", b"11.50")
    assert row.write_id not in {"w-1", "t-1"}, "one id names one state"
    assert place.log.conflicts(10) == []


def test_where_both_changed_a_field_the_row_wins_and_both_contents_are_kept(place: Place) -> None:
    place.insert()
    ours, theirs = changed(FIRST, b'"a":1', b'"a":2'), changed(FIRST, b'"a":1', b'"a":3')
    place.update(ours, 1, "w-1")
    flushed = place.flush(1, changed(theirs, b"10.50", b"11.50"), "t-2")
    assert (flushed.result, flushed.conflict) == (Result.MERGED, True)
    assert place.row().body == changed(ours, b"10.50", b"11.50")
    (conflict,) = place.log.conflicts(10)
    assert conflict == Conflict(
        write_id="t-2",
        checkout_id=ID,
        source="redis",
        result="merged",
        base_version=1,
        found_version=2,
        written=changed(theirs, b"10.50", b"11.50"),
        found_body=ours,
        detected_at=NOW,
    )


def test_without_the_version_that_both_grew_from_only_a_payment_moves(place: Place) -> None:
    place.insert()
    for number in (2, 3):
        place.update(changed(FIRST, b'"a":1', b'"a":%d' % number), number - 1, f"w-{number}")
    flushed = place.flush(1, changed(changed(FIRST, b"pending", b"paid"), b"10.50", b"11.50"), "t-1")
    assert (flushed.result, flushed.conflict) == (Result.MERGED, True)
    assert place.row().body == changed(changed(FIRST, b"pending", b"paid"), b'"a":1', b'"a":3')
    assert place.database.totals() == Totals(1, 1, 0)


# A conflict


def test_a_write_to_a_deleted_session_is_a_conflict(place: Place) -> None:
    place.insert()
    place.database.delete(ID, seen=1, now=NOW, write_id="d-1")
    flushed = place.flush(1, FIRST, "t-1")
    assert (flushed.result, flushed.conflict, flushed.wrote) == (Result.CONFLICT, True, False)
    assert (place.row().version, place.row().body) == (2, None)
    (conflict,) = place.log.conflicts(10)
    assert (conflict.found_version, conflict.found_body, conflict.written) == (2, None, FIRST)


def test_a_write_that_grew_from_a_row_which_is_gone_is_a_conflict(place: Place) -> None:
    flushed = place.flush(3, FIRST, "t-1")
    assert (flushed.result, flushed.record) == (Result.CONFLICT, None)
    assert place.database.read(ID) is None
    (conflict,) = place.log.conflicts(10)
    assert (conflict.base_version, conflict.found_version, conflict.found_body) == (3, None, None)


def test_a_payment_that_may_not_follow_is_left_out_and_told(place: Place) -> None:
    place.insert(changed(FIRST, b"pending", b"paid"))
    flushed = place.flush(1, changed(FIRST, b'"a":1', b'"a":2'), "t-2")
    assert (flushed.result, flushed.conflict) == (Result.PARTLY, True)
    row = place.row()
    assert (row.version, row.body) == (3, changed(changed(FIRST, b"pending", b"paid"), b'"a":1', b'"a":2'))
    assert row.write_id != "t-2", "what the row is now is not what that write wrote"
    (conflict,) = place.log.conflicts(10)
    assert (conflict.result, conflict.written) == ("partly applied", changed(FIRST, b'"a":1', b'"a":2'))


def test_a_process_that_did_not_hear_of_it_goes_on_without_taking_the_payment_back(place: Place) -> None:
    place.insert(changed(FIRST, b"pending", b"paid"))
    place.flush(1, changed(FIRST, b'"a":1', b'"a":2'), "t-1")
    place.flush(1, changed(FIRST, b'"a":1', b'"a":3'), "t-2")
    assert b'"paid"' in (place.row().body or b"")
    assert len(place.log.conflicts(10)) == 2


def test_a_conflict_is_found_by_its_beginning_counted_and_settled_once(place: Place) -> None:
    for name in ("abcd-1", "abce-1", "a%cd-1"):
        place.flush(3, FIRST, name)
    assert place.log.conflict_count() == 3
    assert [conflict.write_id for conflict in place.log.conflicts_named("abcd")] == ["abcd-1"]
    assert len(place.log.conflicts_named("abc")) == 2
    assert [conflict.write_id for conflict in place.log.conflicts_named("a%")] == ["a%cd-1"]
    assert place.log.resolve("abcd-1")
    assert not place.log.resolve("abcd-1")
    assert place.log.conflict_count() == 2


def test_the_newest_conflicts_come_first(place: Place) -> None:
    for number in range(4):
        place.flush(3, FIRST, f"t{number}-1", now=NOW + number)
    assert [conflict.write_id for conflict in place.log.conflicts(3)] == ["t3-1", "t2-1", "t1-1"]


# Memory, and external writers


def test_what_memory_had_says_so(place: Place) -> None:
    place.flush(3, FIRST, "t-1", source=Source.MEMORY)
    assert [conflict.source for conflict in place.log.conflicts(10)] == ["memory"]
    assert place.external.writes().taken_in == 0


def test_what_was_taken_in_counts_one_version_and_is_counted(place: Place) -> None:
    place.insert()
    flushed = place.take_in(1, changed(FIRST, b'"a":1', b'"a":2'), b"raw")
    assert (flushed.result, flushed.external) == (Result.APPLIED, True)
    assert place.row().version == 2
    assert place.external.writes() == ExternalWrites(taken_in=1, seen_at=NOW)


def test_restored_bytes_that_were_taken_in_before_are_nothing_new(place: Place) -> None:
    place.insert()
    body = changed(FIRST, b'"a":1', b'"a":2')
    place.take_in(1, body, b"raw")
    place.update(changed(FIRST, b'"a":1', b'"a":3'), 2, "w-1")
    before = place.state()
    flushed = place.take_in(1, body, b"raw", identity=b"before the restart", by="x2")
    assert flushed.result is Result.ALREADY
    assert place.state() == before
    assert place.external.writes().taken_in == 1


def test_the_same_bytes_on_the_same_server_were_written_again(place: Place) -> None:
    """They are no ghost: what they want to change back is a conflict, and never dropped."""
    place.insert()
    body = changed(FIRST, b'"a":1', b'"a":2')
    place.take_in(1, body, b"raw")
    place.update(changed(FIRST, b'"a":1', b'"a":3'), 2, "w-1")
    assert place.take_in(1, body, b"raw", by="x2").result is Result.CONFLICT
    assert place.row().version == 3
    assert len(place.log.conflicts(10)) == 1


def test_what_is_as_the_row_is_makes_no_version(place: Place) -> None:
    place.insert()
    same = changed(FIRST, b"10.50", b"10.5")[:-1] + b',"expiresAt":"2099-01-01T00:00:00.000Z"}'
    flushed = place.take_in(0, same, b"raw", identity=NO_IDENTITY)
    assert (flushed.result, flushed.wrote) == (Result.ALREADY, False)
    assert (place.row().version, place.row().body) == (1, FIRST)
    assert place.log.conflicts(10) == []


def test_bytes_that_are_no_session_are_kept_once(place: Place) -> None:
    place.insert()
    row = place.row()
    for is_new in (True, False):
        kept = place.log.keep_unreadable(ID, b"\x00\xff", row, NOW)
        assert (kept.result, kept.conflict, kept.record, kept.external) == (Result.CONFLICT, is_new, row, True)
    (conflict,) = place.log.conflicts(10)
    assert (conflict.written, conflict.found_body, conflict.fields) == (b"\x00\xff", FIRST, None)
    assert place.external.writes() == ExternalWrites(taken_in=1, conflicts=1, seen_at=NOW)


# Looking


def test_what_a_flush_would_do_is_told_without_doing_it(place: Place) -> None:
    place.insert()
    body = changed(FIRST, b'"a":1', b'"a":2')
    value = Value(1, b"server", body, ("t-1",))
    before = place.state()
    flush = place.log.expected(ID, value, place.row())
    assert flush.row is not None
    assert (flush.result, flush.row.version, flush.row.body) == (Result.APPLIED, 2, body)
    assert place.log.expected("session-2", value, None).result is Result.CONFLICT
    assert place.log.expected_all({}, {}) == {}
    assert place.state() == before
    place.flush(1, body, "t-1")
    assert place.log.expected(ID, value, place.row()).result is Result.ALREADY


# At the same time


def together(*works: Callable[[], Any]) -> list[Any]:
    """Their answers, when all were begun at once."""
    barrier, answers = threading.Barrier(len(works)), [None] * len(works)

    def run(number: int, work: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            answers[number] = work()
        except Exception as error:  # noqa: BLE001  (a thread's error must reach the test)
            answers[number] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_of_processes_that_flush_the_same_write_at_once_one_makes_the_version(where: Settings, place: Place) -> None:
    place.insert()
    places = [Place(where, f"p{number}t") for number in range(4)]
    for each in places:
        each.database.read(ID)
    answers = together(*(lambda one=one: one.flush(1, FIRST, "t-1").result for one in places))
    assert sorted(answers) == sorted([Result.APPLIED, *[Result.ALREADY] * 3])
    assert place.row().version == 2
    for each in places:
        each.close()


def test_of_processes_that_flush_the_first_version_at_once_one_inserts_it(where: Settings, place: Place) -> None:
    places = [Place(where, f"p{number}t") for number in range(4)]
    bodies = [changed(FIRST, b'"a":1', b'"a":%d' % number) for number in range(4)]
    works = [
        lambda one=one, body=body, name=f"t{number}-1": one.flush(0, body, name).result
        for number, (one, body) in enumerate(zip(places, bodies, strict=True))
    ]
    answers = together(*works)
    assert sorted(answers) == sorted([Result.APPLIED, *[Result.CONFLICT] * 3])
    kept = [conflict.written for conflict in place.log.conflicts(10)] + [place.row().body]
    assert sorted(kept) == sorted(bodies), "none is lost"
    for each in places:
        each.close()


def test_a_flush_and_updates_at_once_lose_nothing(where: Settings, place: Place) -> None:
    """The row is locked from when it is read until it is written."""
    place.insert(b'{"a":0}')
    other = Place(where, "other")

    def flush() -> list[Result]:
        results = []
        for number in range(1, 15):
            row = other.row()
            body = msgspec.json.encode({**msgspec.json.decode(row.body or b""), f"f{number}": 1})
            results.append(other.flush(row.version, body, f"t{number}-1").result)
        return results

    def update() -> int:
        done = 0
        while done < 14:
            row = place.row()
            body = msgspec.json.encode({**msgspec.json.decode(row.body or b""), f"u{done}": 1})
            record = Record(ID, row.version + 1, body, NOW, NOW + 1000)
            done += place.database.update(record, seen=row.version, now=NOW, write_id=f"u{done}-1")
        return done

    answers = together(flush, update)
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    fields = set(msgspec.json.decode(place.row().body or b""))
    logged = set().union(*(msgspec.json.decode(conflict.written) for conflict in place.log.conflicts(100)))
    assert {f"u{number}" for number in range(14)} <= fields
    assert {f"f{number}" for number in range(1, 15)} <= fields | logged
    other.close()


def test_on_postgresql_a_flush_waits_for_the_rows_lock_and_decides_afterwards(
    settings: Settings, emptied_database: str
) -> None:
    there = replace(settings, database_url=emptied_database, database_timeout=5.0)
    with closing(Place(there)) as one, closing(Place(there, "other")) as other:
        one.database.create_schema()
        one.insert()
        flushed: list[Flushed] = []
        thread = threading.Thread(target=lambda: flushed.append(other.flush(1, FIRST, "t-1")))
        with one.database.transaction() as connection:
            connection.execute(text(f"UPDATE checkoutctl_sessions SET version = 7 WHERE checkout_id = '{ID}'"))  # noqa: S608
            thread.start()
            waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            with other.database.transaction() as observer:
                while not observer.execute(waiting).scalar():
                    observer.execute(text("SELECT pg_stat_clear_snapshot()"))
            assert flushed == []
        thread.join()
        assert [each.result for each in flushed] == [Result.ALREADY]
        assert one.row().version == 7


def test_a_flush_that_fails_has_changed_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.insert(changed(FIRST, b"pending", b"paid"))
    before = place.state()

    def fail(*_: Any) -> None:
        raise DatabaseUnavailable("the conflict log is full, the test says")

    with monkeypatch.context() as patch:
        patch.setattr(place.log, "_keep_conflict", fail)
        with pytest.raises(DatabaseUnavailable):
            place.flush(1, FIRST, "t-1")
    place.database.breaker.succeeded()
    assert place.state() == before
    assert place.flush(1, FIRST, "t-1").result is Result.PARTLY


# Forgetting


def test_old_entries_are_forgotten_in_batches(place: Place) -> None:
    place.insert()
    for number in range(5):
        place.flush(number + 1, FIRST, f"t{number}-1", now=NOW + number)
    assert place.log.count(NOW + 3) == 4
    assert [place.log.purge(NOW + 3, 3) for _ in range(3)] == [3, 1, 0]
    assert place.log.count(NOW + 10) == 1


def test_a_token_that_goes_on_is_as_young_as_its_last_write(place: Place) -> None:
    place.insert()
    place.flush(1, FIRST, "t-1", now=NOW)
    place.flush(1, FIRST, "t-2", now=NOW + 9)
    assert place.log.purge(NOW + 8, 10) == 0


# Several at once

ONE = "session-0001"


def first_of(name: str) -> bytes:
    return changed(FIRST, b"session-1", name.encode())


def dirty_of(number: int, base: int, body: bytes, *ids: str) -> Dirty:
    body = changed(body, b"session-1", b"session-000%d" % number)
    return Dirty(f"session-000{number}", Value(base, b"server", body, ids), NOW, NOW + 5000, Source.REDIS)


def test_several_sessions_are_flushed_in_one_transaction_each_as_it_would_be_alone(place: Place) -> None:
    second, tombstone = changed(FIRST, b'"a":1', b'"a":2'), "session-0004"
    for name in (ONE, "session-0002", tombstone):
        assert place.database.insert(Record(name, 1, first_of(name), NOW, NOW + 1000), now=NOW, write_id="row1-1")
    assert place.database.delete(tombstone, seen=1, now=NOW, write_id="gone-1")
    some = [
        dirty_of(4, 1, second, "d-1"),
        dirty_of(1, 1, second, "a-1"),
        dirty_of(2, 1, changed(FIRST, b'"a":1', b'"a":3'), "b-2"),
        dirty_of(3, 0, FIRST, "c-1"),
    ]
    with place.database.counting() as sent:
        done = place.log.apply_all(some, NOW)
        assert sent() <= 8, "for four sessions and a conflict"
    results = {name: (flushed.result, flushed.wrote) for name, flushed in done.items()}
    assert results == {
        ONE: (Result.APPLIED, True),
        "session-0002": (Result.APPLIED, True),
        "session-0003": (Result.APPLIED, True),
        tombstone: (Result.CONFLICT, False),
    }
    rows = place.database.read_many([ONE, "session-0002", "session-0003", tombstone])
    assert {name: (row.version, row.write_id) for name, row in rows.items()} == {
        ONE: (2, "a-1"),
        "session-0002": (3, "b-2"),
        "session-0003": (1, "c-1"),
        tombstone: (2, "gone-1"),
    }
    assert {name: flushed.record for name, flushed in done.items()} == rows
    assert [conflict.checkout_id for conflict in place.log.conflicts(10)] == [tombstone]
    again = place.log.apply_all(some, NOW)
    assert [flushed.wrote for flushed in again.values()] == [False] * 4
    assert place.database.read_many(list(rows)) == rows


def test_a_flush_keeps_what_the_row_was_before_it_for_a_later_merge(place: Place) -> None:
    for name in (ONE, "session-0002"):
        assert place.database.insert(Record(name, 1, first_of(name), NOW, NOW + 1000), now=NOW, write_id="row1-1")
    mine, theirs = changed(FIRST, b'"a":1', b'"a":2'), changed(FIRST, b'"price":10.50', b'"price":9.50')
    place.log.apply_all([dirty_of(1, 1, mine, "a-1"), dirty_of(2, 1, mine, "b-1")], NOW)
    done = place.log.apply_all([dirty_of(1, 1, theirs, "x-1"), dirty_of(2, 1, theirs, "y-1")], NOW)
    assert [(flushed.result, flushed.conflict) for flushed in done.values()] == [(Result.MERGED, False)] * 2


def test_a_row_that_another_process_inserts_at_this_moment_is_decided_upon_anew(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [dirty_of(1, 0, FIRST, "a-1"), dirty_of(2, 0, FIRST, "b-1")]
    decided, rounds = place.log._decided, []

    def blind_at_first(connection: Any, dirty: Any) -> Any:
        rounds.append([one.checkout_id for one in dirty])
        found = decided(connection, dirty)
        return [one._replace(row=None, flush=first_time(one)) for one in found] if len(rounds) == 1 else found

    def first_time(one: Any) -> Any:
        return decide(one.dirty.value, None, {}, SessionBodies(one.name), "fresh-1")

    assert place.database.insert(Record(ONE, 3, first_of(ONE), NOW, NOW + 1000), now=NOW, write_id="theirs-1")
    monkeypatch.setattr(place.log, "_decided", blind_at_first)
    done = place.log.apply_all(some, NOW)
    assert rounds == [[ONE, "session-0002"], [ONE]]
    assert place.database.read_many([ONE])[ONE].write_id == "theirs-1"
    assert done["session-0002"].result is Result.APPLIED
