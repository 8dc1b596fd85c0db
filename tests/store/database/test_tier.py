from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import chain

import msgspec
import pytest
from sqlalchemy import func, select, text

from checkout_cli.config.settings import Settings
from checkout_cli.errors import DatabaseUnavailable
from checkout_cli.store.database import admin as database_admin
from checkout_cli.store.database.admin import DatabaseAdmin, by_end
from checkout_cli.store.database.counts import DatabaseCounts
from checkout_cli.store.database.external_writers import ExternalWriters, ExternalWrites
from checkout_cli.store.database.schema import sessions
from checkout_cli.store.database.tier import Pending
from checkout_cli.store.records import Record, Totals

NOW = 1_800_000_000_000
PAID = b'{"paymentStatus":"paid"}'
SESSION = Record("session-1", 1, b'{"a":1,"price":10.50}', NOW, NOW + 1000)


@pytest.fixture(params=["SQLite", "PostgreSQL", "a schema of PostgreSQL"])
def where(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    if request.param == "SQLite":
        return settings
    schema = "" if request.param == "PostgreSQL" else "checkoutctl"
    return replace(settings, database_url=request.getfixturevalue("emptied_database"), database_schema=schema)


@pytest.fixture
def database(where: Settings) -> Iterator[DatabaseAdmin]:
    with closing(DatabaseAdmin(where)) as opened:
        opened.create_schema()
        yield opened


def named(name: str, *, body: bytes = b"{}", expires_at: int = NOW + 1000) -> Record:
    return msgspec.structs.replace(SESSION, checkout_id=name, body=body, expires_at=expires_at)


def insert(database: DatabaseAdmin, *records: Record) -> None:
    for record in records:
        assert database.insert(record, now=NOW, write_id="w")


def newer(record: Record, version: int, body: bytes = b'{"a":2}') -> Record:
    return msgspec.structs.replace(record, version=version, body=body)


def test_what_was_inserted_is_read_byte_for_byte(database: DatabaseAdmin) -> None:
    body = '{"price":1.10,"name":"Zoë 🛒 \\u00e9 \u202e","big":123456789012345678901234567890}'.encode()
    insert(database, named("session-1", body=body))
    record = database.read("session-1")
    assert record is not None
    assert record.body == body
    assert (record.version, record.created_at, record.expires_at) == (1, NOW, NOW + 1000)


def test_the_schema_is_created_once(database: DatabaseAdmin) -> None:
    assert database.schema_present()
    assert not database.create_schema()


def test_an_id_is_inserted_once_dead_or_alive(database: DatabaseAdmin) -> None:
    insert(database, SESSION)
    assert not database.insert(SESSION, now=NOW, write_id="w")
    database.delete("session-1", seen=1, now=NOW, write_id="w")
    assert not database.insert(SESSION, now=NOW, write_id="w")


def test_an_update_needs_the_version_that_it_has_seen(database: DatabaseAdmin) -> None:
    insert(database, SESSION)
    assert database.update(newer(SESSION, 2), seen=1, now=NOW, write_id="w")
    assert not database.update(newer(SESSION, 2), seen=1, now=NOW, write_id="w")
    assert not database.update(newer(SESSION, 9), seen=8, now=NOW, write_id="w")
    assert not database.update(newer(named("session-2"), 2), seen=1, now=NOW, write_id="w")
    record = database.read("session-1")
    assert record is not None
    assert (record.version, record.body) == (2, b'{"a":2}')


def test_the_dead_cannot_be_written_nor_buried_again(database: DatabaseAdmin) -> None:
    insert(database, SESSION)
    assert not database.delete("session-1", seen=7, now=NOW, write_id="w")
    assert database.delete("session-1", seen=1, now=NOW, write_id="w")
    assert not database.delete("session-1", seen=2, now=NOW, write_id="w")
    assert not database.update(newer(SESSION, 3), seen=2, now=NOW, write_id="w")
    tombstone = database.read("session-1")
    assert tombstone is not None
    assert (tombstone.version, tombstone.body) == (2, None)


def test_of_threads_that_update_one_version_one_succeeds(database: DatabaseAdmin) -> None:
    insert(database, SESSION)
    done: list[bool] = []
    barrier = threading.Barrier(8)

    def update() -> None:
        barrier.wait()
        done.append(database.update(newer(SESSION, 2), seen=1, now=NOW, write_id="w"))

    threads = [threading.Thread(target=update) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [False] * 7 + [True]


def previous(database: DatabaseAdmin) -> tuple[int | None, str | None]:
    """What the row knows of the version before."""
    with database.transaction() as connection:
        columns = select(sessions.c.previous_version, sessions.c.previous_body)
        row = connection.execute(columns.where(sessions.c.checkout_id == "session-1")).one()
        return row.previous_version, row.previous_body


def test_a_row_keeps_the_version_that_it_followed_so_that_late_writes_can_be_merged(database: DatabaseAdmin) -> None:
    insert(database, SESSION)
    assert previous(database) == (None, None)
    database.update(newer(SESSION, 2), seen=1, now=NOW, write_id="w")
    assert previous(database) == (1, '{"a":1,"price":10.50}')
    database.update(newer(SESSION, 3, b'{"a":3}'), seen=2, now=NOW, write_id="w")
    assert previous(database) == (2, '{"a":2}')
    database.update(newer(SESSION, 9), seen=2, now=NOW, write_id="w")
    assert previous(database) == (2, '{"a":2}')


def test_of_what_was_deleted_nothing_is_kept(database: DatabaseAdmin) -> None:
    insert(database, SESSION)
    database.update(newer(SESSION, 2), seen=1, now=NOW, write_id="w")
    database.delete("session-1", seen=2, now=NOW, write_id="d-1")
    assert previous(database) == (None, None)
    assert database.deleted_body("session-1") is None
    database.restore(newer(SESSION, 4), deletion="d-1", now=NOW, write_id="u-1")
    assert previous(database) == (None, None)


def test_of_what_an_external_writer_deleted_the_body_is_kept(database: DatabaseAdmin) -> None:
    insert(database, SESSION)
    assert not database.delete("session-1", seen=2, now=NOW, write_id="d-1", by_external_writer=True)
    assert database.delete("session-1", seen=1, now=NOW, write_id="d-1", by_external_writer=True)
    assert not database.delete("session-1", seen=2, now=NOW, write_id="d-2", by_external_writer=True)
    assert previous(database) == (1, '{"a":1,"price":10.50}')
    kept = database.deleted_body("session-1")
    assert kept is not None
    assert (kept.version, kept.body, kept.write_id) == (2, SESSION.body, "d-1")
    tombstone = database.read("session-1")
    assert tombstone is not None
    assert tombstone.body is None
    assert database.totals() == Totals(1, 0, 0)


def test_several_are_read_at_once(database: DatabaseAdmin) -> None:
    insert(database, named("session-1"), named("session-2"))
    assert sorted(database.read_many(["session-1", "session-2", "session-3"])) == ["session-1", "session-2"]
    assert database.read_many([]) == {}


# Pending


def test_a_version_is_pending_until_it_is_noted_as_published(database: DatabaseAdmin) -> None:
    insert(database, SESSION)
    assert database.pending(10) == [Pending("session-1", 1, NOW, "w")]
    database.note_published({"session-1": 1, "unknown-1": 5})
    assert database.pending(10) == []
    database.update(newer(SESSION, 2), seen=1, now=NOW + 5, write_id="w")
    assert database.pending(10) == [Pending("session-1", 2, NOW + 5, "w")]
    database.note_published({"session-1": 1})
    assert len(database.pending(10)) == 1


def test_a_note_never_goes_backwards(database: DatabaseAdmin) -> None:
    insert(database, SESSION)
    database.note_published({"session-1": 1})
    database.note_published({"session-1": 0})
    assert database.pending(10) == []


def test_a_tombstone_is_pending_too(database: DatabaseAdmin) -> None:
    insert(database, SESSION)
    database.note_published({"session-1": 1})
    database.delete("session-1", seen=1, now=NOW + 9, write_id="w")
    assert database.pending(10) == [Pending("session-1", 2, NOW + 9, "w")]


def test_pending_rows_are_told_up_to_a_limit(database: DatabaseAdmin) -> None:
    insert(database, *(named(f"session-{number}") for number in range(5)))
    assert len(database.pending(3)) == 3
    assert len(database.look(3)[0]) == 3


def test_one_look_tells_the_pending_rows_and_what_external_writers_did(database: DatabaseAdmin) -> None:
    insert(database, SESSION)
    assert database.look(10) == ([Pending("session-1", 1, NOW, "w")], ExternalWrites())
    writers = ExternalWriters(database)
    for at, conflicts in ((NOW + 5, 0), (NOW + 3, 1)):
        with database.transaction() as connection:
            writers.note(connection, at, taken_in=1, conflicts=conflicts)
    database.note_refilled(2)
    seen = ExternalWrites(taken_in=2, conflicts=1, refilled=2, deleted=0, seen_at=NOW + 5)
    with database.counting() as sent:
        assert database.look(10) == ([Pending("session-1", 1, NOW, "w")], seen)
        assert sent() == 2
    assert writers.writes() == seen


def test_processes_that_count_external_writes_at_once_lose_none(where: Settings) -> None:
    with closing(DatabaseAdmin(where)) as first, closing(DatabaseAdmin(where)) as second:
        first.create_schema()

        def count(database: DatabaseAdmin) -> None:
            for number in range(20):
                with database.transaction() as connection:
                    database.lock_for_writing(connection)
                    ExternalWriters(database).note(connection, NOW + number, taken_in=1)

        threads = [threading.Thread(target=count, args=(database,)) for database in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ExternalWriters(first).writes().taken_in == 40


def test_what_was_noted_with_a_version_is_told_until_the_next_one(database: DatabaseAdmin) -> None:
    insert(database, SESSION)
    database.note_proofs({"session-1": "1 proof", "unknown-1": "1 proof"})
    assert database.proof("session-1") == "", "it is pending"
    database.note_published({"session-1": 1})
    assert (database.proof("session-1"), database.proof("session-2")) == ("1 proof", "")
    database.update(newer(SESSION, 2), seen=1, now=NOW, write_id="w")
    assert database.proof("session-1") == ""


def test_processes_that_write_down_the_same_notes_do_not_block_each_other(where: Settings) -> None:
    """Rows locked in different orders would be a deadlock on PostgreSQL."""
    names = [f"session-{number:03}" for number in range(50)]
    with closing(DatabaseAdmin(where)) as first, closing(DatabaseAdmin(where)) as second:
        first.create_schema()
        insert(first, *(named(name) for name in names))
        failures: list[Exception] = []

        def write_down(database: DatabaseAdmin, order: list[str]) -> None:
            try:
                for version in range(1, 20):
                    database.note_published(dict.fromkeys(order, version))
                    database.touch(dict.fromkeys(order, NOW + 1000 + version))
            except DatabaseUnavailable as error:
                failures.append(error)

        threads = [
            threading.Thread(target=write_down, args=(first, names)),
            threading.Thread(target=write_down, args=(second, names[::-1])),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []


# Expiry


def test_a_touch_moves_forward_up_to_the_maximum_age(database: DatabaseAdmin) -> None:
    insert(database, SESSION)
    for touched, expected in ((NOW + 999, NOW + 1000), (NOW + 5000, NOW + 5000), (NOW + 10**12, NOW + 86_400_000)):
        database.touch({"session-1": touched})
        record = database.read("session-1")
        assert record is not None
        assert record.expires_at == expected


def test_a_touch_does_not_make_a_version(database: DatabaseAdmin) -> None:
    insert(database, SESSION)
    database.touch({"session-1": NOW + 5000})
    assert database.update(newer(SESSION, 2), seen=1, now=NOW, write_id="w")


# What operators see


def test_the_newest_come_first_page_by_page_and_the_dead_not_at_all(
    database: DatabaseAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_admin, "PAGE", 3)
    expiries = [50, 20, 50, 50, 10, 50, 40]
    insert(database, *(named(f"session-{place}", expires_at=NOW + at) for place, at in enumerate(expiries)))
    database.delete("session-6", seen=1, now=NOW, write_id="w")
    listed = [record.checkout_id for record in chain.from_iterable(database.newest())]
    assert listed == ["session-5", "session-3", "session-2", "session-0", "session-1", "session-4"]


def test_ids_are_found_by_their_beginning_taken_literally(database: DatabaseAdmin) -> None:
    insert(database, named("abc_def-1"), named("abcXdef-2"), named("abc-dead-3"))
    database.delete("abc-dead-3", seen=1, now=NOW, write_id="w")
    assert database.matching("abc_", 10) == ["abc_def-1"]
    assert database.matching("%", 10) == []
    assert sorted(database.matching("abc", 10)) == ["abcXdef-2", "abc_def-1"]
    assert len(database.matching("abc", 1)) == 1


def test_counting_knows_who_has_expired(database: DatabaseAdmin) -> None:
    insert(database, named("session-1", expires_at=NOW), named("session-2", expires_at=NOW + 1), named("session-3"))
    database.delete("session-3", seen=1, now=NOW, write_id="w")
    assert database.count(NOW) == 1
    assert database.count_due(NOW) == 1
    assert database.due(NOW, 10) == ["session-1"]
    assert database.expiries(["session-1", "session-2", "session-3"], NOW) == {"session-2": NOW + 1}
    assert list(database.living_ids(NOW)) == [{"session-2": NOW + 1}]


def test_tombstones_are_counted_nowhere(database: DatabaseAdmin) -> None:
    counts = DatabaseCounts(database)
    insert(database, *(named(f"session-{number}") for number in range(4)), named("paid-1", body=PAID))
    assert database.delete("session-0", seen=1, now=NOW, write_id="d")
    assert database.insert_tombstone("session-9", now=NOW + 500, write_id="e")
    assert (database.count(NOW), counts.living_by_status(NOW)) == (4, {"pending": 3, "paid": 1})
    assert (database.count(NOW + 1000), counts.living_by_status(NOW + 1000)) == (0, {})
    assert (database.count_due(NOW), database.count_due(NOW + 1000)) == (0, 4)


def test_counting_the_living_and_the_dead_reads_none_of_their_rows(settings: Settings) -> None:
    with closing(DatabaseAdmin(settings)) as database:
        database.create_schema()
        with database.transaction() as connection:
            for statement in (
                *by_end(lambda end: end > NOW, func.count()),
                *by_end(lambda end: end <= NOW, func.count()),
            ):
                raw = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
                plan = " ".join(row[-1] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {raw}")))
                assert "COVERING INDEX checkoutctl_sessions_expiry" in plan or "checkoutctl_sessions_buried" in plan


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", Totals(1, 0, 0)),
        (b'{"paymentStatus":"paid"}', Totals(1, 1, 0)),
        (b'{"databaseOrderId":"o"}', Totals(1, 1, 0)),
        (b'{"databaseOrderId":"o","paymentStatus":"failed"}', Totals(1, 1, 1)),
        (b'{"paymentStatus":"failed"}', Totals(1, 0, 1)),
        (b'{"paymentStatus":["a list"]}', Totals(1, 0, 0)),
        (b'{"paymentStatus":"' + b"x" * 500 + b'"}', Totals(1, 0, 0)),
        (b'{"paymentStatus":null}', Totals(1, 0, 0)),
    ],
)
def test_totals_are_the_same_before_and_after_a_clean_up(
    database: DatabaseAdmin, body: bytes, expected: Totals
) -> None:
    insert(database, named("session-1", body=body))
    assert database.totals() == expected
    assert database.purge(["session-1"], NOW + 1000) == 1
    assert database.read("session-1") is None
    assert database.totals() == expected


def test_a_purge_takes_only_what_is_still_expired(database: DatabaseAdmin) -> None:
    insert(database, named("session-1"), named("session-2", expires_at=NOW + 2000))
    assert database.purge(["session-1", "session-2", "session-3"], NOW + 1000) == 1
    assert database.read("session-2") is not None


def test_old_tombstones_are_purged_and_counted_on(database: DatabaseAdmin) -> None:
    insert(database, named("session-1"), named("session-2"))
    database.delete("session-1", seen=1, now=NOW + 10, write_id="w")
    assert database.count_tombstones(NOW + 9) == database.purge_tombstones(NOW + 9, 10) == 0
    assert database.count_tombstones(NOW + 10) == database.purge_tombstones(NOW + 10, 10) == 1
    assert database.read("session-1") is None
    assert database.totals() == Totals(2, 0, 0)


def test_a_probe_leaves_no_trace(database: DatabaseAdmin) -> None:
    insert(database, SESSION)
    database.erase("session-1")
    assert database.read("session-1") is None
    assert database.totals() == Totals(0, 0, 0)


def test_a_failed_statement_leaves_the_next_one_alone(database: DatabaseAdmin) -> None:
    with pytest.raises(DatabaseUnavailable), database.transaction() as connection:
        connection.exec_driver_sql("SELECT nonsense(1)")
    database.breaker.succeeded()
    assert database.ping() >= 0


# Locks


def test_a_lock_has_one_owner_until_it_ends(database: DatabaseAdmin) -> None:
    assert database.lock("job", "first", now=0, until=100) is None
    assert database.lock("job", "second", now=99, until=200) == "first"
    assert database.lock("other", "second", now=99, until=200) is None
    assert database.lock("job", "first", now=99, until=150) is None
    assert database.lock("job", "second", now=150, until=200) is None
    database.unlock("job", "first")
    assert database.lock("job", "third", now=160, until=300) == "second"
    database.unlock("job", "second")
    assert database.lock("job", "third", now=160, until=300) is None


def test_old_tombstones_go_in_batches_and_are_all_counted(database: DatabaseAdmin) -> None:
    names = [f"session-{number}" for number in range(7)]
    insert(database, *(named(name) for name in names))
    for name in names[:5]:
        database.delete(name, seen=1, now=NOW + 10, write_id="w")
    assert [database.purge_tombstones(NOW + 10, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert sorted(database.read_many(names)) == ["session-5", "session-6"]
    assert database.totals().created == 7


def test_old_tombstones_are_found_by_an_index(database: DatabaseAdmin) -> None:
    """Without it each batch would read all rows."""
    question = "SELECT checkout_id FROM checkoutctl_sessions WHERE body IS NULL AND updated_at <= 5 LIMIT 10"
    with database.transaction() as connection:
        if connection.dialect.name == "sqlite":
            plan = connection.execute(text(f"EXPLAIN QUERY PLAN {question}")).all()
        else:
            connection.execute(text("SET LOCAL enable_seqscan = off"))  # which a small table is read by
            connection.execute(text("SET LOCAL enable_bitmapscan = off"))
            plan = connection.execute(text(f"EXPLAIN {question}")).all()
    assert "checkoutctl_sessions_buried" in str(plan)
