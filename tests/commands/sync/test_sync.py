"""Syncing what one tier has and the other lacks, on real servers; conflicts, and a person who settles them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from sqlalchemy import update

from checkout_cli.commands.cleanup.expired import clean_up
from checkout_cli.commands.sync.conflicts import Keep, changed, list_conflicts, resolve
from checkout_cli.commands.sync.sync import MOST_NAMED, pending_counts, synchronize
from checkout_cli.config.settings import Settings
from checkout_cli.errors import (
    AccessDenied,
    ExitCode,
    InvalidInput,
    SessionNotFound,
    TierUnavailable,
    TransitionRefused,
)
from checkout_cli.jobs import clocks
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.keys import INDEX, PENDING
from checkout_cli.session import MAX_BODY_BYTES
from checkout_cli.store.backlog import PAGE
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.flush_log import Source
from checkout_cli.store.database.schema import flushes
from checkout_cli.store.protocol.flushing import Result
from checkout_cli.store.protocol.value import Kind
from checkout_cli.store.redis import index as redis_index
from tests.support.divergence import (
    StartServer,
    beside_redis,
    beside_the_database,
    create_in_redis_alone,
    make_conflict,
    set_columns,
    update_in_database_alone,
    update_in_redis_alone,
    write_externally,
)
from tests.support.stores import (
    ManualClock,
    copy_of,
    evict,
    key_of,
    make_store,
    make_tables,
    put_raw,
    raw,
    without_database,
    without_redis,
)

ID = "session-0001"
OTHER = "session-0002"


def row_of(store: CheckoutStore, checkout_id: str) -> dict[str, Any]:
    row = store.database.read(checkout_id)
    assert row is not None
    assert row.body is not None
    return {"version": row.version, **json.loads(row.body)}


def agreed(*_: Any) -> bool:
    return True


class TestToTheDatabase:
    def test_what_redis_alone_has_comes_to_the_database_once(self, store: CheckoutStore) -> None:
        create_in_redis_alone(store.settings, ID, OTHER, totalAmount=3)

        report = synchronize(store)

        assert report.to_database is not None
        assert report.to_database.number == 2
        assert report.to_database.since is not None
        assert 0 <= report.now - report.to_database.since < 60_000
        assert (report.flushed, report.disputed, report.lost) == (2, 0, 0)
        assert report.exit_code is ExitCode.OK
        assert row_of(store, ID)["version"] == 1
        assert row_of(store, ID)["totalAmount"] == 3
        assert store.flusher.pending.count() == 0
        assert synchronize(store).synced == 0

    def test_without_it_the_database_lacks_them(self, store: CheckoutStore) -> None:
        create_in_redis_alone(store.settings, ID)
        assert store.database.read(ID) is None

    def test_a_session_that_is_gone_from_redis_is_lost_and_forgotten(self, store: CheckoutStore) -> None:
        create_in_redis_alone(store.settings, ID, OTHER)
        evict(store, ID)
        report = synchronize(store)
        assert (report.flushed, report.lost) == (1, 1)
        assert store.flusher.pending.count() == 0

    def test_what_an_external_writer_wrote_over_is_lost_and_stays_as_it_is(self, store: CheckoutStore) -> None:
        create_in_redis_alone(store.settings, ID)
        put_raw(store, ID, b'{"checkoutId":"session-0001"}')
        assert synchronize(store).lost == 1
        assert raw(store, ID) == b'{"checkoutId":"session-0001"}'
        assert store.flusher.pending.count() == 0

    def test_a_write_that_comes_while_an_id_is_forgotten_stays_pending(self, store: CheckoutStore) -> None:
        store.redis.ask(("SADD", PENDING, ID))
        (look,) = store.redis.look([ID])
        create_in_redis_alone(store.settings, ID)
        assert store.publisher.flush_seen(ID, look) is None
        assert store.flusher.pending.count() == 1
        assert synchronize(store).flushed == 1

    def test_a_broken_value_is_stuck_and_keeps_nobody_else(self, store: CheckoutStore) -> None:
        create_in_redis_alone(store.settings, ID, OTHER)
        value = raw(store, ID)
        assert value is not None
        put_raw(store, ID, value[:-1])
        report = synchronize(store)
        assert [stuck.checkout_id for stuck in report.stuck] == [ID]
        assert report.flushed == 1
        assert report.exit_code is ExitCode.FINDING
        assert raw(store, ID) == value[:-1]

    def test_a_lost_key_that_somebody_else_has_just_flushed_is_not_lost(self, store: CheckoutStore) -> None:
        create_in_redis_alone(store.settings, ID)
        (look,) = store.redis.look([ID])
        synchronize(store)
        (after,) = store.redis.look([ID])
        assert store.publisher.flush_seen(ID, after) is None
        assert store.publisher.flush_seen(ID, look) is not None  # already there: the flush log knows
        assert row_of(store, ID)["version"] == 1


class TestExternalWriters:
    def test_an_external_write_becomes_the_next_version_once(self, store: CheckoutStore) -> None:
        store.create({"notes": "first"}, checkout_id=ID)
        write_externally(store, ID, paymentStatus="paid", databaseOrderId="ORD-1")

        report = synchronize(store)

        assert (report.external, report.disputed, report.flushed, report.exit_code) == (1, 0, 0, ExitCode.OK)
        assert (row_of(store, ID)["version"], row_of(store, ID)["paymentStatus"]) == (2, "paid")
        copy = copy_of(store, ID)
        assert copy is not None
        assert (copy.kind, copy.base, copy.is_dirty) == (Kind.OURS, 2, False)
        writes = store.external.writes()
        assert (writes.taken_in, writes.conflicts) == (1, 0)
        assert store.flusher.pending.count() == 0
        assert synchronize(store).synced == 0

    def test_without_it_the_database_has_the_older_version(self, store: CheckoutStore) -> None:
        store.create({}, checkout_id=ID)
        write_externally(store, ID, notes="theirs")
        assert row_of(store, ID)["version"] == 1

    def test_the_same_bytes_again_are_no_new_version(self, store: CheckoutStore) -> None:
        store.create({}, checkout_id=ID)
        written = write_externally(store, ID, notes="theirs")
        synchronize(store)
        put_raw(store, ID, written)
        synchronize(store)
        assert row_of(store, ID)["version"] == 2

    def test_a_payment_that_may_not_go_back_stays_and_the_rest_is_taken_in(self, store: CheckoutStore) -> None:
        store.create({"paymentStatus": "pending"}, checkout_id=ID)
        store.set_payment_status(ID, "paid", order_id="ORD-1")
        write_externally(store, ID, paymentStatus="pending", notes="theirs")

        report = synchronize(store)

        assert (report.external, report.disputed, report.exit_code) == (1, 1, ExitCode.FINDING)
        row = row_of(store, ID)
        assert (row["paymentStatus"], row["databaseOrderId"], row["notes"]) == ("paid", "ORD-1", "theirs")
        (conflict,) = list_conflicts(store, limit=2).conflicts
        assert (conflict.source, conflict.result) == (Source.EXTERNAL, Result.PARTLY)
        writes = store.external.writes()
        assert (writes.taken_in, writes.conflicts) == (1, 1)

    def test_without_our_header_no_base_is_assumed_and_nothing_is_dropped_silently(self, store: CheckoutStore) -> None:
        store.create({"notes": "first"}, checkout_id=ID)
        write_externally(store, ID, header=False, notes="theirs")
        report = synchronize(store)
        assert (report.external, report.disputed) == (1, 1)
        (conflict,) = list_conflicts(store, limit=2).conflicts
        assert conflict.fields is not None
        assert conflict.fields["notes"] == "theirs"
        assert row_of(store, ID)["notes"] == "first"
        assert store.get(ID).fields["notes"] == "first"

    def test_a_session_that_only_they_have_is_left_alone(self, store: CheckoutStore) -> None:
        store.create({}, checkout_id=OTHER)  # so that there is an index, and a row of another
        put_raw(store, ID, b'{"checkoutId": "session-0001"}')
        store.redis.ask(("ZADD", INDEX, store.clock.wall() + 60_000, ID))
        assert synchronize(store).external == 0
        assert raw(store, ID) == b'{"checkoutId": "session-0001"}'
        assert store.database.read(ID) is None

    def test_bytes_that_are_no_session_are_kept_and_the_row_takes_their_place(self, store: CheckoutStore) -> None:
        store.create({"notes": "first"}, checkout_id=ID)
        put_raw(store, ID, b"\xff\x00 half a sess")

        report = synchronize(store)

        assert (report.external, report.disputed, report.exit_code) == (1, 1, ExitCode.FINDING)
        assert store.get(ID).fields["notes"] == "first"
        copy = copy_of(store, ID)
        assert copy is not None
        assert (copy.kind, copy.base) == (Kind.OURS, 1)
        (conflict,) = list_conflicts(store, limit=2).conflicts
        assert (conflict.written, conflict.fields) == (b"\xff\x00 half a sess", None)
        with pytest.raises(InvalidInput, match="no session") as refused:
            resolve(store, conflict.write_id, Keep.WRITTEN, agreed=agreed)
        assert refused.value.hint.endswith("--keep database")
        assert resolve(store, conflict.write_id, Keep.DATABASE, agreed=agreed).done
        assert synchronize(store).exit_code is ExitCode.OK

    def test_one_that_is_too_large_to_be_kept_stays_where_it_is(self, store: CheckoutStore) -> None:
        store.create({}, checkout_id=ID)
        large = b"x" * (MAX_BODY_BYTES + 1)
        put_raw(store, ID, large)
        assert synchronize(store).external == 0
        assert raw(store, ID) == large
        assert list_conflicts(store, limit=1).number == 0

    def test_what_they_write_is_told_from_ours_by_its_beginning(self, store: CheckoutStore) -> None:
        store.create({}, checkout_id=ID)
        store.create({}, checkout_id=OTHER)
        write_externally(store, OTHER)  # parsed and written back: nothing else has changed
        assert store.redis.not_ours([ID, OTHER]) == [OTHER]


class TestToRedis:
    def test_a_newer_row_is_published_over_the_older_copy(self, store: CheckoutStore) -> None:
        store.create({"notes": "old"}, checkout_id=ID)
        update_in_database_alone(store.settings, ID, notes="new")
        before = copy_of(store, ID)
        assert before is not None
        assert before.version == 1

        report = synchronize(store)

        copy = copy_of(store, ID)
        assert copy is not None
        assert copy.version == 2
        assert report.to_redis is not None
        assert report.to_redis.number == 1
        assert report.published == 1
        assert report.exit_code is ExitCode.OK
        assert store.database.pending(10) == []

    def test_where_redis_has_no_copy_nothing_is_put_there(self, store: CheckoutStore) -> None:
        with beside_redis(store.settings) as writer:
            writer.create({}, checkout_id=ID)
        report = synchronize(store)
        assert (report.published, report.not_needed) == (0, 1)
        assert raw(store, ID) is None
        assert store.database.pending(10) == []

    def test_what_redis_has_already_does_not_wait_although_nobody_noted_it(self, store: CheckoutStore) -> None:
        store.create({}, checkout_id=ID)
        set_columns(store, ID, published_version=0)
        report = synchronize(store)
        assert report.to_redis is not None
        assert report.to_redis.number == 0
        assert report.already == 1
        assert store.database.pending(10) == []

    def test_an_expired_row_is_noted_and_does_not_stay_pending(self, store: CheckoutStore) -> None:
        with beside_redis(store.settings) as writer:
            writer.create({}, checkout_id=ID)
        set_columns(store, ID, expires_at=1000)
        report = synchronize(store)
        assert report.expired == 1
        assert report.exit_code is ExitCode.OK
        assert store.database.pending(10) == []

    def test_a_row_that_only_seems_expired_does_not_end_the_session_in_redis(self, store: CheckoutStore) -> None:
        store.create({"notes": "old"}, checkout_id=ID)
        update_in_database_alone(store.settings, ID, notes="new")
        set_columns(store, ID, expires_at=1000)  # reads extend the key, and are noted later
        synchronize(store)
        copy = copy_of(store, ID)
        assert copy is not None
        assert copy.version == 2
        assert store.redis.remaining([ID])[0] > 60_000

    def test_a_deletion_is_handed_over(self, store: CheckoutStore) -> None:
        store.create({}, checkout_id=ID)
        with beside_redis(store.settings) as writer:
            writer.delete(ID)
        assert raw(store, ID) is not None
        assert pending_counts(store).to_redis == 0  # a moment ago: its writer may be about to publish it
        report = synchronize(store)
        assert report.to_redis is not None
        assert report.to_redis.number == 1
        assert raw(store, ID) is None

    def test_a_key_that_is_no_string_is_stuck_and_keeps_nobody_else(self, store: CheckoutStore) -> None:
        store.create({}, checkout_id=OTHER)
        for checkout_id in (ID, OTHER):
            with beside_redis(store.settings) as writer:
                if checkout_id == ID:
                    writer.create({}, checkout_id=ID)
                writer.update(checkout_id, {"notes": "new"})
        store.redis.ask(("LPUSH", key_of(ID), "another program's"))
        for _ in range(2):  # it does not loop, and says so every time
            report = synchronize(store)
            assert [stuck.checkout_id for stuck in report.stuck] == [ID]
            assert report.exit_code is ExitCode.FINDING
        copy = copy_of(store, OTHER)
        assert copy is not None
        assert copy.version == 2

    def test_of_many_that_are_stuck_some_are_named_and_all_counted(self, store: CheckoutStore) -> None:
        with beside_redis(store.settings) as writer:
            for number in range(MOST_NAMED + 5):
                writer.create({}, checkout_id=f"stuck-{number:04}")
                store.redis.ask(("LPUSH", key_of(f"stuck-{number:04}"), "x"))
        report = synchronize(store)
        assert (len(report.stuck), report.stuck_number) == (MOST_NAMED, MOST_NAMED + 5)


class TestBounds:
    def test_a_dry_run_changes_nothing_and_finds_what_waits(self, store: CheckoutStore) -> None:
        create_in_redis_alone(store.settings, ID)
        report = synchronize(store, dry_run=True)
        assert report.exit_code is ExitCode.FINDING
        assert report.synced == 0
        assert store.database.read(ID) is None
        assert store.flusher.pending.count() == 1

    def test_it_stops_when_the_time_is_up_and_the_next_run_goes_on(self, settings: Settings) -> None:
        time = ManualClock()
        with make_store(settings, time) as store:
            make_tables(store.database)
            with make_store(without_redis(settings), time) as writer:
                for number in range(PAGE + 1):
                    writer.create({}, checkout_id=f"session-{number:04}")
            first = synchronize(store, BoundedRun(time.clock, max_seconds=10, progress=lambda *_: time.advance(30)))
            assert not first.finished
            assert first.exit_code is ExitCode.FINDING
            assert 0 < first.synced <= PAGE
            second = synchronize(store, BoundedRun(time.clock, max_seconds=10))
            assert second.finished
            assert first.synced + second.synced == PAGE + 1

    def test_the_look_for_external_writes_goes_on_where_it_stopped(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_index, "PAGE", 2)
        time = ManualClock()
        with make_store(settings, time) as store:
            make_tables(store.database)
            for number in range(40):
                store.create({}, checkout_id=f"external-{number:02}")
            store.notes.write_down()  # else the rows name them
            for number in range(40):
                write_externally(store, f"external-{number:02}", notes="theirs")
            taken, runs = 0, 0
            while taken < 40:
                limits = BoundedRun(time.clock, max_seconds=10, progress=lambda *_: time.advance(30))
                report = synchronize(store, limits)
                taken, runs = taken + report.external, runs + 1
                assert runs <= 40, "a run that always begins at the start never comes to the end"
            assert runs > 1
            while not report.finished:
                report = synchronize(store, BoundedRun(time.clock, max_seconds=10))
            assert synchronize(store).external == 0

    def test_ctrl_c_tells_what_was_done(self, store: CheckoutStore) -> None:
        create_in_redis_alone(store.settings, ID)

        def interrupt(_done: int, _total: int) -> None:
            raise KeyboardInterrupt

        report = synchronize(store, BoundedRun(store.clock, progress=interrupt))
        assert (report.flushed, report.finished, report.exit_code) == (1, False, ExitCode.INTERRUPTED)

    def test_it_tells_how_far_it_is(self, store: CheckoutStore) -> None:
        create_in_redis_alone(store.settings, ID, OTHER)
        told: list[tuple[int, int]] = []
        synchronize(store, BoundedRun(store.clock, progress=lambda done, total: told.append((done, total))))
        assert told[-1] == (6, 6)  # two to the database, from there to Redis, and the look for external writes
        assert all(done <= total for done, total in told)

    def test_where_redis_is_away_it_shows_what_waits_and_hands_nothing_over(self, store: CheckoutStore) -> None:
        store.create({}, checkout_id=ID)
        update_in_database_alone(store.settings, ID, notes="new")
        with make_store(without_redis(store.settings)) as alone:
            report = synchronize(alone)
        assert report.to_redis is not None
        assert report.to_redis.number == 1
        assert report.to_database is None
        assert report.exit_code is ExitCode.UNAVAILABLE

    def test_where_the_database_is_away_it_shows_what_waits_and_keeps_it(self, store: CheckoutStore) -> None:
        create_in_redis_alone(store.settings, ID)
        with make_store(without_database(store.settings)) as alone:
            report = synchronize(alone)
        assert report.to_database is not None
        assert report.to_database.number == 1
        assert (report.to_redis, report.conflicts) == (None, None)
        assert report.exit_code is ExitCode.UNAVAILABLE
        assert store.flusher.pending.count() == 1

    def test_a_database_that_only_answers_reads_keeps_what_waits(self, store: CheckoutStore) -> None:
        create_in_redis_alone(store.settings, ID)
        with beside_the_database(store.settings) as alone:
            report = synchronize(alone)
        assert report.exit_code is ExitCode.UNAVAILABLE
        assert store.flusher.pending.count() == 1

    def test_with_both_away_it_is_an_error(self, settings: Settings) -> None:
        with (
            make_store(without_database(without_redis(settings))) as store,
            pytest.raises(TierUnavailable),
        ):
            synchronize(store)

    def test_a_permission_that_is_missing_is_an_error_of_its_own(
        self, store: CheckoutStore, valkey_server: StartServer
    ) -> None:
        server = valkey_server()
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "default", "-scard")
        settings = dataclasses.replace(store.settings, redis_port=server.port)
        with make_store(settings) as denied, pytest.raises(AccessDenied):
            synchronize(denied)

    def test_with_sessions_switched_off_in_redis_nothing_waits_for_it(self, store: CheckoutStore) -> None:
        settings = dataclasses.replace(store.settings, enable_checkout_sessions=False)
        with make_store(settings) as without:
            without.create({}, checkout_id=ID)
            report = synchronize(without)
            assert report.exit_code is ExitCode.OK
            assert pending_counts(without).any is False


class TestCounts:
    def test_only_what_has_waited_for_a_while_counts(self, store: CheckoutStore) -> None:
        store.create({}, checkout_id=ID)
        update_in_database_alone(store.settings, ID, notes="new")
        assert pending_counts(store).to_redis == 0
        set_columns(store, ID, updated_at=store.clock.wall() - 10_000)
        counts = pending_counts(store)
        assert (counts.to_redis, counts.to_database, counts.conflicts) == (1, 0, 0)
        assert counts.exact

    def test_what_a_tier_that_is_away_would_know_is_unknown(self, store: CheckoutStore) -> None:
        with make_store(without_redis(store.settings)) as alone:
            counts = pending_counts(alone)
            assert (counts.to_redis, counts.to_database, counts.conflicts) == (0, None, 0)
        with make_store(without_database(store.settings)) as alone:
            counts = pending_counts(alone)
            assert (counts.to_redis, counts.to_database, counts.conflicts) == (None, 0, None)

    def test_a_session_of_redis_alone_is_seen_as_one_that_waits(self, store: CheckoutStore) -> None:
        create_in_redis_alone(store.settings, ID)
        (sighting,) = store.admin.iterate()
        assert sighting.session is not None
        assert (sighting.session.version, sighting.session.dirty) == (1, 1)
        assert pending_counts(store).to_database == 1


class TestConflicts:
    def test_both_sides_are_kept(self, store: CheckoutStore) -> None:
        conflict = make_conflict(store)
        assert conflict.checkout_id == ID
        assert (conflict.base_version, conflict.found_version) == (1, 2)
        assert conflict.found_body is not None
        assert json.loads(conflict.written)["notes"] == "written"
        assert json.loads(conflict.found_body)["notes"] == "database"
        assert (conflict.source, conflict.result) == (Source.REDIS, Result.CONFLICT)
        assert list_conflicts(store, limit=10).number == 1
        report = synchronize(store)
        assert report.conflicts == 1
        assert report.exit_code is ExitCode.FINDING

    def test_a_run_that_finds_one_says_so(self, store: CheckoutStore) -> None:
        store.create({}, checkout_id=ID)
        update_in_redis_alone(store.settings, ID, notes="written")
        update_in_database_alone(store.settings, ID, notes="database")
        report = synchronize(store)
        assert (report.disputed, report.flushed) == (1, 1)
        assert report.exit_code is ExitCode.FINDING

    def test_changes_of_different_fields_are_merged_and_no_conflict(self, store: CheckoutStore) -> None:
        store.create({"notes": "first", "totalAmount": 1.50}, checkout_id=ID)
        update_in_redis_alone(store.settings, ID, totalAmount=2)
        update_in_database_alone(store.settings, ID, notes="database")
        report = synchronize(store)
        assert (report.flushed, report.disputed, report.exit_code) == (1, 0, ExitCode.OK)
        row = row_of(store, ID)
        assert (row["notes"], row["totalAmount"], row["version"]) == ("database", 2, 3)
        assert store.get(ID).fields["totalAmount"] == 2

    def test_keeping_the_database_forgets_it(self, store: CheckoutStore) -> None:
        conflict = make_conflict(store)
        settled = resolve(store, conflict.write_id, Keep.DATABASE, agreed=agreed)
        assert (settled.done, settled.version) == (True, None)
        assert row_of(store, ID)["notes"] == "database"
        assert synchronize(store).exit_code is ExitCode.OK

    def test_keeping_the_written_side_writes_one_more_version(self, store: CheckoutStore) -> None:
        conflict = make_conflict(store)
        settled = resolve(store, conflict.write_id[:8], Keep.WRITTEN, agreed=agreed)
        assert settled.version == 3
        assert row_of(store, ID)["notes"] == "written"
        assert store.get(ID).fields["notes"] == "written"
        assert list_conflicts(store, limit=10).conflicts == []

    def test_a_payment_never_goes_back(self, store: CheckoutStore) -> None:
        store.create({}, checkout_id=ID)
        update_in_redis_alone(store.settings, ID, paymentStatus="failed")
        update_in_database_alone(store.settings, ID, paymentStatus="processing")
        synchronize(store)
        (conflict,) = store.flush_log.conflicts(2)
        assert list_conflicts(store, limit=10).keep is Keep.WRITTEN
        store.set_payment_status(ID, "paid")
        assert list_conflicts(store, limit=10).keep is Keep.DATABASE  # else what it proposes is refused
        with pytest.raises(TransitionRefused):
            resolve(store, conflict.write_id, Keep.WRITTEN, agreed=agreed)
        assert list_conflicts(store, limit=10).number == 1
        assert row_of(store, ID)["paymentStatus"] == "paid"

    def test_a_session_that_is_deleted_stays_so(self, store: CheckoutStore) -> None:
        conflict = make_conflict(store)
        store.delete(ID)
        assert list_conflicts(store, limit=10).keep is Keep.DATABASE
        with pytest.raises(SessionNotFound):
            resolve(store, conflict.write_id, Keep.WRITTEN, agreed=agreed)
        assert resolve(store, conflict.write_id, Keep.DATABASE, agreed=agreed).done

    def test_who_does_not_agree_changes_nothing(self, store: CheckoutStore) -> None:
        conflict = make_conflict(store)
        settled = resolve(store, conflict.write_id, Keep.DATABASE, agreed=lambda *_: False)
        assert not settled.done
        assert list_conflicts(store, limit=10).number == 1

    @pytest.mark.parametrize("name", ["", "ab", "no-such-write", "%%%%%%", "a b c d e", "\x00" * 8, "é" * 8])
    def test_what_names_no_conflict_is_refused(self, store: CheckoutStore, name: str) -> None:
        make_conflict(store)
        with pytest.raises(InvalidInput):
            resolve(store, name, Keep.DATABASE, agreed=agreed)

    def test_only_fields_that_differ_are_written(self) -> None:
        present = {"a": 1, "b": True, "c": {"x": 1, "y": 2}, "checkoutId": "one", "expiresAt": "then"}
        wanted = {"a": 1, "b": 1, "c": {"y": 2, "x": 1}, "d": None, "checkoutId": "two", "expiresAt": "now"}
        assert changed(present, wanted) == {"b": 1, "d": None}


def test_on_postgresql_it_is_the_same(store: CheckoutStore, postgres_url: str) -> None:
    settings = dataclasses.replace(store.settings, database_url=postgres_url)
    with make_store(settings) as postgres:
        make_tables(postgres.database)
        postgres.create({"notes": "first"}, checkout_id=ID)
        postgres.create({}, checkout_id=OTHER)
        away = dataclasses.replace(settings, database_url="postgresql://127.0.0.1:1/nowhere", database_timeout=0.2)
        with make_store(away) as writer:
            writer.create({}, checkout_id="session-0003")
            writer.update(ID, {"notes": "written"})
        update_in_database_alone(settings, ID, notes="database")
        update_in_database_alone(settings, OTHER, notes="database")

        report = synchronize(postgres)

        assert (report.flushed, report.disputed, report.published) == (2, 1, 1)
        conflict = list_conflicts(postgres, limit=10).conflicts[0]
        assert resolve(postgres, conflict.write_id, Keep.WRITTEN, agreed=agreed).version == 3
        assert synchronize(postgres).exit_code is ExitCode.OK


def test_a_clean_up_forgets_old_entries_of_the_flush_log(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "TOLERATED", settings.session_max_age)  # the server's own clock shows now
    time = ManualClock()
    with make_store(settings, time) as store:
        make_tables(store.database)
        create_in_redis_alone(settings, ID)
        synchronize(store)
        time.advance(settings.session_max_age - 60)
        assert clean_up(store).flush_log == 0
        with store.database.transaction() as connection:
            connection.execute(update(flushes).values(flushed_at=1000))
        assert clean_up(store, dry_run=True).flush_log == 1
        assert clean_up(store).flush_log == 1
        assert store.flush_log.count(store.clock.wall()) == 0
