"""Sessions are deleted for good, and a deletion can be taken back where nothing has happened since."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from checkout_cli.commands.sessions import delete as module
from checkout_cli.commands.sessions.delete import (
    Deletion,
    Outcome,
    Plan,
    Restoration,
    delete_all,
    restore_all,
)
from checkout_cli.commands.sessions.delete import plan as make_plan
from checkout_cli.commands.sessions.sessions import Selection
from checkout_cli.commands.sessions.undo_file import read_undo
from checkout_cli.errors import (
    CheckoutError,
    DatabaseUnavailable,
    ExitCode,
    InvalidInput,
    SessionDeleted,
    SessionNotFound,
)
from checkout_cli.jobs.bounded_run import BoundedRun, Stopped
from checkout_cli.keys import INDEX, session_key
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.divergence import create_in_redis_alone, set_columns, write_externally
from tests.support.servers import ValkeyServer
from tests.support.stores import ManualClock, make_store, make_tables, put_raw

ID = "deleted-01"
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))


@pytest.fixture
def undo(tmp_path: Path) -> Path:
    return tmp_path / "undo" / "deletion.ndjson"


@pytest.fixture
def client(valkey: ValkeyServer) -> Any:
    with valkey.client() as opened:
        yield opened


def delete(store: CheckoutStore, undo: Path, *checkout_ids: str) -> Deletion:
    return delete_all(store, make_plan(store, checkout_ids or [ID], undo_file=undo), agreed=lambda _: True)


def restore(store: CheckoutStore, undo: Path, **options: Any) -> Restoration:
    return restore_all(store, undo, **options)


# Deleting


def test_a_deletion_asks_first_and_is_for_good(store: CheckoutStore, client: redis.Redis, undo: Path) -> None:
    store.create({}, checkout_id=ID)
    asked: list[Plan] = []

    def refuse(plan: Plan) -> bool:
        asked.append(plan)
        return False

    refused = delete_all(store, make_plan(store, [ID], undo_file=undo), agreed=refuse)
    assert (refused.done, [plan.number for plan in asked]) == (False, [1])
    assert client.exists(session_key(ID))
    assert not undo.exists()

    agreed = delete(store, undo)
    assert (agreed.done, agreed.deleted, agreed.degraded, agreed.exit_code) == (True, [ID], False, ExitCode.OK)
    assert not client.exists(session_key(ID))
    assert client.zscore(INDEX, ID) is None
    for again in (lambda: make_plan(store, [ID]), lambda: store.create({}, checkout_id=ID)):
        with pytest.raises(SessionDeleted):
            again()


def test_a_deletion_takes_the_beginning_of_an_id_that_no_other_shares(store: CheckoutStore, undo: Path) -> None:
    store.create({}, checkout_id="begins-0001")
    store.create({}, checkout_id="begins-0002")
    with pytest.raises(InvalidInput, match="begins-0001, begins-0002"):
        delete(store, undo, "begins-")
    assert delete(store, undo, "begins-0001", "begins-0001").deleted == ["begins-0001"]
    undo.unlink()
    assert delete(store, undo, "begins-").deleted == ["begins-0002"]


def test_one_unknown_id_stops_a_deletion_of_several(store: CheckoutStore, undo: Path) -> None:
    store.create({}, checkout_id=ID)
    with pytest.raises(SessionNotFound):
        delete(store, undo, ID, "unknown-")
    assert store.admin.inspect(ID).session is not None


@pytest.mark.parametrize("command", ["SET", "RPUSH"])
def test_what_is_no_session_can_be_deleted_and_cannot_come_back(
    store: CheckoutStore, client: redis.Redis, undo: Path, command: str
) -> None:
    client.execute_command(command, session_key("broken-001"), "{")
    gone = delete(store, undo, "broken-001")
    assert (gone.deleted, gone.irreversible) == (["broken-001"], 1)
    assert not client.exists(session_key("broken-001"))
    assert restore(store, undo).outcomes[Outcome.NO_SESSION] == ["broken-001"]


def test_a_selection_is_counted_with_its_baskets(store: CheckoutStore, undo: Path) -> None:
    for number in range(4):
        store.create({"totalAmount": 2.5, "userId": "user-1"}, checkout_id=f"deleted-{number:02}")
    store.set_payment_status("deleted-00", "failed")
    store.set_payment_status("deleted-01", "failed")
    plan = make_plan(store, wanted=Selection(user="user-1"), undo_file=undo)
    assert (plan.number, plan.value, plan.by_status) == (4, 10.0, {"failed": 2, "pending": 2})
    failed = make_plan(store, wanted=Selection(status="failed"), undo_file=undo)
    assert set(failed.checkout_ids) == {"deleted-00", "deleted-01"}
    assert make_plan(store, wanted=Selection(status="failed", older_than=3600.0), undo_file=undo).number == 0
    done = delete_all(store, failed, agreed=lambda _: True)
    assert sorted(done.deleted) == ["deleted-00", "deleted-01"]
    assert {sighting.checkout_id for sighting in store.admin.iterate()} == {"deleted-02", "deleted-03"}


def test_a_selection_of_everything_is_refused(store: CheckoutStore) -> None:
    for wanted in (Selection(), Selection(older_than=60.0)):
        with pytest.raises(InvalidInput, match=r"say whose|either ids"):
            make_plan(store, wanted=wanted)


def test_more_than_anybody_means_is_refused(store: CheckoutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_DELETED", 1)
    for number in range(2):
        store.create({}, checkout_id=f"deleted-{number:02}")
    with pytest.raises(InvalidInput, match="more than 1 session"):
        make_plan(store, wanted=Selection(status="pending"))


def test_what_has_changed_since_it_was_looked_at_is_left_alone(store: CheckoutStore, undo: Path) -> None:
    store.create({}, checkout_id=ID)
    store.create({}, checkout_id="deleted-02")
    plan = make_plan(store, [ID, "deleted-02"], undo_file=undo)

    def shop_writes(done: int, _total: int) -> None:
        if done == 1:
            store.update("deleted-02", {"notes": "x"})

    result = delete_all(store, plan, BoundedRun(progress=shop_writes), agreed=lambda _: True)
    assert (result.deleted, result.changed, result.exit_code) == ([ID], ["deleted-02"], ExitCode.FINDING)
    assert store.get("deleted-02").fields["notes"] == "x"


def pay(store: CheckoutStore, checkout_id: str = ID) -> None:
    """What an external writer does: it marks a session as paid, on what it has read."""
    write_externally(store, checkout_id, paymentStatus="paid", databaseOrderId="ORD-1")


class TestWhatAnExternalWriterHasPaid:
    def test_is_not_among_the_pending(self, store: CheckoutStore, undo: Path) -> None:
        store.create({}, checkout_id=ID)
        store.create({}, checkout_id="deleted-02")
        pay(store)
        plan = make_plan(store, wanted=Selection(status="pending"), undo_file=undo)
        assert plan.checkout_ids == ("deleted-02",)
        assert delete_all(store, plan, agreed=lambda _: True).deleted == ["deleted-02"]
        assert store.get(ID).fields["databaseOrderId"] == "ORD-1"

    def test_is_deleted_and_restored_as_paid(self, store: CheckoutStore, undo: Path) -> None:
        store.create({}, checkout_id=ID)
        pay(store)
        plan = make_plan(store, wanted=Selection(status="paid"), undo_file=undo)
        assert (plan.checkout_ids, plan.by_status) == ((ID,), {"paid": 1})
        assert delete_all(store, plan, agreed=lambda _: True).deleted == [ID]
        _, lines = read_undo(undo)
        (line,) = lines
        assert line.database is not None
        assert json.loads(line.database.body)["paymentStatus"] == "paid"
        assert restore(store, undo).outcomes[Outcome.RESTORED] == [ID]
        session = store.get(ID)
        assert (session.status, session.fields["databaseOrderId"]) == ("paid", "ORD-1")

    def test_is_left_alone_where_it_was_paid_while_a_person_thought_about_it(
        self, store: CheckoutStore, undo: Path
    ) -> None:
        names = ["adopted-01", "theirs-001", "ours-00001", "pending-01"]
        for name in names:
            store.create({}, checkout_id=name)
        store.database.erase("theirs-001")
        put_raw(store, "theirs-001", b'{"paymentStatus":"pending"}')
        plan = make_plan(store, wanted=Selection(status="pending"), undo_file=undo)
        assert sorted(plan.checkout_ids) == sorted(names)

        def think(_: Plan) -> bool:
            pay(store, "adopted-01")
            pay(store, "theirs-001")
            store.set_payment_status("ours-00001", "paid")
            return True

        result = delete_all(store, plan, agreed=think)
        assert (result.deleted, sorted(result.changed)) == (["pending-01"], sorted(names[:3]))
        assert result.exit_code is ExitCode.FINDING
        assert {name: store.get(name).status for name in names[:3]} == dict.fromkeys(names[:3], "paid")

    @pytest.mark.parametrize("with_row", [True, False])
    def test_is_left_alone_where_it_was_paid_after_the_undo_file_was_written(
        self, store: CheckoutStore, undo: Path, with_row: bool
    ) -> None:
        store.create({}, checkout_id=ID)
        store.create({}, checkout_id="deleted-02")
        if not with_row:
            store.database.erase("deleted-02")
            put_raw(store, "deleted-02", b'{"paymentStatus":"pending"}')

        def pays(done: int, _total: int) -> None:
            if done == 1:
                pay(store, "deleted-02")

        plan = make_plan(store, [ID, "deleted-02"], undo_file=undo)
        result = delete_all(store, plan, BoundedRun(progress=pays), agreed=lambda _: True)
        assert (result.deleted, result.changed) == ([ID], ["deleted-02"])
        assert store.get("deleted-02").status == "paid"


def test_where_redis_is_away_the_selection_is_judged_by_the_database(store: CheckoutStore, undo: Path) -> None:
    store.create({}, checkout_id=ID)
    store.create({}, checkout_id="deleted-02")

    with make_store(replace(store.settings, redis_port=1)) as cut_off:
        plan = make_plan(cut_off, wanted=Selection(status="pending"), undo_file=undo)

        def think(_: Plan) -> bool:
            store.set_payment_status("deleted-02", "paid")
            return True

        result = delete_all(cut_off, plan, agreed=think)
    assert (result.deleted, result.changed, result.degraded) == ([ID], ["deleted-02"], True)


def test_writes_that_only_redis_has_are_brought_to_the_database_first(store: CheckoutStore, undo: Path) -> None:
    create_in_redis_alone(store.settings, ID, notes="precious")
    assert delete(store, undo).deleted == [ID]
    assert restore(store, undo).outcomes[Outcome.RESTORED] == [ID]
    assert store.get(ID).fields["notes"] == "precious"


def test_without_an_undo_file_nothing_is_deleted(store: CheckoutStore, tmp_path: Path, undo: Path) -> None:
    store.create({}, checkout_id=ID)
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "undo", Path("/dev/full/x"), Path("/proc/undo")):
        with pytest.raises(CheckoutError, match="nothing was deleted"):
            delete(store, path)
    undo.parent.mkdir()
    undo.write_text("older")
    with pytest.raises(InvalidInput, match="there already"):
        delete(store, undo)
    assert undo.read_text() == "older"
    assert store.admin.inspect(ID).session is not None


def test_a_disk_that_fills_up_leaves_neither_half_a_file_nor_a_deletion(
    store: CheckoutStore, undo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({}, checkout_id=ID)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(CheckoutError, match="No space left"):
        delete(store, undo)
    assert not undo.exists()
    assert store.admin.inspect(ID).session is not None


def test_the_undo_file_is_for_its_owner_alone(store: CheckoutStore, undo: Path) -> None:
    store.create({"userEmail": "ada@shop.example"}, checkout_id=ID)
    delete(store, undo)
    assert stat.S_IMODE(undo.stat().st_mode) == 0o600
    assert stat.S_IMODE(undo.parent.stat().st_mode) == 0o700


def test_undo_files_of_no_use_any_more_are_removed_from_their_own_directory_alone(
    store: CheckoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "state" / "undo"
    own.mkdir(parents=True)
    monkeypatch.setattr("checkout_cli.commands.sessions.undo_file.state_directory", lambda: tmp_path / "state")
    old, new, elsewhere = own / "old.undo.ndjson", own / "new.undo.ndjson", tmp_path / "old.undo.ndjson"
    for path in (old, new, elsewhere):
        path.write_text("")
    for path in (old, elsewhere):
        os.utime(path, (1, 1))
    store.create({}, checkout_id=ID)
    delete(store, tmp_path / "this.undo.ndjson")
    assert not old.exists()
    assert new.exists()
    assert elsewhere.exists(), "nobody named it"


def test_without_the_database_nothing_is_deleted(store: CheckoutStore, undo: Path) -> None:
    store.create({}, checkout_id=ID)
    with make_store(replace(store.settings, database_url=NOWHERE)) as cut_off:
        with pytest.raises(DatabaseUnavailable):
            delete(cut_off, undo)
        with pytest.raises(DatabaseUnavailable):
            make_plan(cut_off, wanted=Selection(status="pending"))
    assert store.get(ID)


# Restoring


def test_what_was_deleted_comes_back_as_it_was(store: CheckoutStore, client: redis.Redis, undo: Path) -> None:
    store.create({"totalAmount": 7.5, "loyalty": {"points": 3}}, checkout_id=ID)
    store.update(ID, {"notes": "x"})
    client.pexpire(session_key(ID), 600_000)
    set_columns(store, ID, expires_at=store.clock.wall() + 600_000)
    before = store.admin.inspect(ID)
    assert before.session is not None
    delete(store, undo)

    looked = restore(store, undo, dry_run=True)
    assert looked.outcomes[Outcome.RESTORED] == [ID]
    with pytest.raises(SessionDeleted):
        store.admin.inspect(ID)

    assert restore(store, undo).outcomes[Outcome.RESTORED] == [ID]
    after = store.admin.inspect(ID)
    assert after.session is not None
    assert after.session.fields == before.session.fields
    assert after.session.version == before.session.version + 2
    assert after.expires_at is not None
    assert abs(after.expires_at - (before.expires_at or 0)) < 2000
    assert client.zscore(INDEX, ID) is not None
    assert restore(store, undo).outcomes[Outcome.ALIVE] == [ID]  # once more changes nothing


def test_an_external_session_comes_back_as_ours(store: CheckoutStore, client: redis.Redis, undo: Path) -> None:
    client.set(session_key(ID), b'{"totalAmount":3,"odd":[1,2]}', px=600_000)
    delete(store, undo)
    assert not client.exists(session_key(ID))
    assert restore(store, undo).outcomes[Outcome.RESTORED] == [ID]
    session = store.get(ID)
    assert (session.version, session.fields["odd"], session.fields["totalAmount"]) == (2, [1, 2], 3)


def test_the_totals_count_a_session_once_whatever_is_done_to_it(store: CheckoutStore, undo: Path) -> None:
    store.create({}, checkout_id=ID)
    store.set_payment_status(ID, "failed")
    before = store.database.totals()
    delete(store, undo)
    restore(store, undo)
    assert store.database.totals() == before


def test_what_has_happened_since_is_left_alone(store: CheckoutStore, client: redis.Redis, undo: Path) -> None:
    store.create({"notes": "first"}, checkout_id=ID)
    delete(store, undo)
    client.set(session_key(ID), b'{"notes":"another program"}', px=600_000)
    assert restore(store, undo).outcomes[Outcome.CHANGED] == [ID]
    assert client.get(session_key(ID)) == b'{"notes":"another program"}'

    client.delete(session_key(ID))
    restore(store, undo)
    delete(store, undo.with_name("second"))
    again = restore(store, undo)  # the tombstone is of another deletion now
    assert (again.outcomes[Outcome.CHANGED], again.exit_code) == ([ID], ExitCode.FINDING)
    with pytest.raises(SessionDeleted):
        store.admin.inspect(ID)
    assert restore(store, undo.with_name("second")).outcomes[Outcome.RESTORED] == [ID]


def test_a_later_tombstone_is_never_taken_for_the_one_of_the_file(store: CheckoutStore, undo: Path) -> None:
    store.create({}, checkout_id=ID)
    delete(store, undo)
    set_columns(store, ID, write_id="another-deletion")  # of the same version: only the name tells them apart
    assert restore(store, undo).outcomes[Outcome.CHANGED] == [ID]
    with pytest.raises(SessionDeleted):
        store.admin.inspect(ID)


def test_what_would_have_ended_meanwhile_stays_away(
    store: CheckoutStore, undo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create({}, checkout_id=ID)
    delete(store, undo)
    later = store.clock.wall() + 1_801_000
    monkeypatch.setattr(store, "clock", replace(store.clock, wall=lambda: later))
    result = restore(store, undo)
    assert (result.outcomes[Outcome.EXPIRED], result.exit_code) == ([ID], ExitCode.OK)
    row = store.database.read(ID)
    assert row is not None
    assert row.body is None


def test_without_redis_they_come_back_in_the_database_and_are_published_later(store: CheckoutStore, undo: Path) -> None:
    store.create({}, checkout_id=ID)
    delete(store, undo)
    with make_store(replace(store.settings, redis_port=1)) as cut_off:
        result = restore(cut_off, undo)
    assert (result.outcomes[Outcome.RESTORED], result.degraded) == ([ID], True)
    assert [row.checkout_id for row in store.database.pending(10)] == [ID]
    assert store.get(ID).version == 3


def test_a_restore_that_was_interrupted_goes_on(store: CheckoutStore, undo: Path) -> None:
    ids = [f"deleted-{number:02}" for number in range(6)]
    for checkout_id in ids:
        store.create({}, checkout_id=checkout_id)
    delete(store, undo, *ids)

    def interrupt(done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    first = restore(store, undo, run=BoundedRun(progress=interrupt))
    assert (len(first.outcomes[Outcome.RESTORED]), first.finished, first.exit_code) == (3, False, ExitCode.INTERRUPTED)
    again = restore(store, undo)
    assert (len(again.outcomes[Outcome.ALIVE]), len(again.outcomes[Outcome.RESTORED])) == (3, 3)


def test_a_deletion_that_was_interrupted_is_in_the_file_whole(store: CheckoutStore, undo: Path) -> None:
    ids = [f"deleted-{number:02}" for number in range(6)]
    for checkout_id in ids:
        store.create({}, checkout_id=checkout_id)

    def interrupt(done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    plan = make_plan(store, ids, undo_file=undo)
    deleted = delete_all(store, plan, BoundedRun(progress=interrupt), agreed=lambda _: True)
    assert (deleted.deleted, deleted.finished, deleted.exit_code) == (ids[:3], False, ExitCode.INTERRUPTED)
    result = restore(store, undo)
    assert (len(result.outcomes[Outcome.RESTORED]), len(result.outcomes[Outcome.ALIVE])) == (3, 3)


def test_both_stop_when_their_time_is_up_and_a_persons_own_does_not_count(store: CheckoutStore, undo: Path) -> None:
    ids = [f"deleted-{number:02}" for number in range(3)]
    for checkout_id in ids:
        store.create({}, checkout_id=checkout_id)
    time = ManualClock()

    def run() -> BoundedRun:
        return BoundedRun(time.clock, max_seconds=2, progress=lambda *_: time.advance(1))

    def think(_: Plan) -> bool:
        time.advance(60)
        return True

    deleted = delete_all(store, make_plan(store, ids, undo_file=undo), run(), agreed=think)
    assert (deleted.deleted, deleted.stopped, deleted.exit_code) == (ids[:2], Stopped.TIME, ExitCode.FINDING)
    restored = restore(store, undo, run=run())
    assert (restored.outcomes[Outcome.RESTORED], restored.exit_code) == (ids[:2], ExitCode.FINDING)
    assert restore(store, undo, dry_run=True).resumed_after == 0
    rest = restore(store, undo)
    assert (rest.resumed_after, rest.outcomes[Outcome.ALIVE], rest.finished) == (2, ids[2:], True)
    again = restore(store, undo)
    assert (again.resumed_after, again.outcomes[Outcome.ALIVE]) == (0, ids)


# The file


def damaged(path: Path, change: Callable[[bytes], bytes]) -> Path:
    other = path.with_name("damaged")
    other.write_bytes(change(path.read_bytes()))
    return other


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content[: len(content) // 2], "cut off"),
        (lambda content: content.rsplit(b"\n", 2)[0] + b"\n", "cut off"),
        (lambda content: content[:-1], "cut off"),
        (lambda content: content.replace(b'"version":1', b'"version":7'), "changed"),
        (lambda content: b"".join(content.splitlines(keepends=True)[:1] + content.splitlines(keepends=True)[2:]), "ch"),
        (lambda content: content + b"{}\n", "goes on"),
        (lambda _: b"", "empty"),
        (lambda _: b'{"a": 1}\n', "no undo file"),
        (lambda _: b"\xff\xfe\x00binary\n", "no undo file"),
        (lambda content: content.replace(b'"schemaVersion":1', b'"schemaVersion":9'), "another version"),
    ],
    ids=["half", "footer", "newline", "edited", "line", "more", "empty", "json", "binary", "format"],
)
def test_a_damaged_file_is_refused_whole(
    store: CheckoutStore, undo: Path, change: Callable[[bytes], bytes], reason: str
) -> None:
    store.create({}, checkout_id=ID)
    delete(store, undo)
    with pytest.raises(InvalidInput, match=reason) as refused:
        restore(store, damaged(undo, change))
    assert refused.value.exit_code == ExitCode.USAGE
    with pytest.raises(SessionDeleted):
        store.admin.inspect(ID)


def test_a_file_of_another_database_is_refused(store: CheckoutStore, undo: Path, tmp_path: Path) -> None:
    store.create({}, checkout_id=ID)
    delete(store, undo)
    elsewhere = replace(store.settings, database_url=f"sqlite:///{tmp_path / 'another.db'}")
    with make_store(elsewhere) as other:
        make_tables(other.database)
        with pytest.raises(InvalidInput, match="another database"):
            restore(other, undo)


def test_a_file_that_is_not_there_or_a_directory_is_one_clear_error(store: CheckoutStore, tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(InvalidInput, match="cannot read"):
            restore(store, path)


def test_if_its_own_directory_were_the_one_of_the_undo_file_those_of_others_would_go(
    store: CheckoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = tmp_path / "old.undo.ndjson"
    theirs.write_text("")
    os.utime(theirs, (1, 1))
    for own, is_kept in ((tmp_path / "state", True), (tmp_path, False)):
        monkeypatch.setattr("checkout_cli.commands.sessions.undo_file._default_directory", lambda own=own: own)
        store.create({}, checkout_id=f"swept-{is_kept}-01")
        plan = make_plan(store, [f"swept-{is_kept}-01"], Selection(), undo_file=tmp_path / f"{is_kept}.undo.ndjson")
        module.delete_all(store, plan, agreed=lambda _: True)
        assert theirs.exists() is is_kept


def test_what_an_external_writer_deleted_is_restored_by_the_beginning_of_its_id(store: CheckoutStore) -> None:
    for number, body in ((1, '{"totalAmount":1}'), (2, '{"totalAmount":2}'), (3, None)):
        name = f"begins-000{number}"
        store.create({}, checkout_id=name)
        store.notes.write_down()
        store.redis.ask(("DEL", session_key(name)))
        set_columns(store, name, body=None, previous_body=body, previous_version=1, version=2)
    with pytest.raises(InvalidInput, match="2 sessions begin with 'begin': begins-0001, begins-0002"):
        module.restore(store, Path("begin"), dry_run=True)
    found = module.restore(store, Path("begins-0001"), dry_run=True)
    assert found.outcomes[Outcome.RESTORED] == ["begins-0001"]
    set_columns(store, "begins-0002", previous_body=None)
    assert module.restore(store, Path("begin"), dry_run=True).outcomes[Outcome.RESTORED] == ["begins-0001"]
    with pytest.raises(SessionNotFound):
        module.restore(store, Path("begins-0003"), dry_run=True)


@pytest.mark.parametrize("by", ["shop", "external"])
def test_what_changes_while_a_person_thinks_is_left_alone_also_where_it_was_named(
    store: CheckoutStore, client: redis.Redis, undo: Path, by: str
) -> None:
    store.create({"totalAmount": 1}, checkout_id=ID)
    store.create({"totalAmount": 1}, checkout_id="deleted-02")
    client.set(session_key("foreign-01"), b'{"totalAmount":1}', px=600_000)
    store.notes.write_down()

    def agree_late(_: Plan) -> bool:
        if by == "shop":
            store.set_payment_status(ID, "paid")
        else:
            write_externally(store, ID, paymentStatus="paid")
        store.get("deleted-02")  # a read changes nothing that was shown
        client.set(session_key("foreign-01"), b'{"totalAmount":2}', px=600_000)
        return True

    wanted = make_plan(store, [ID, "deleted-02", "foreign-01"], undo_file=undo)
    done = delete_all(store, wanted, agreed=agree_late)
    assert (done.deleted, done.changed) == (["deleted-02"], [ID, "foreign-01"])
    assert done.exit_code == ExitCode.FINDING
    assert store.get(ID).status == "paid"


def test_writes_that_the_database_lacks_are_no_change(store: CheckoutStore, undo: Path) -> None:
    create_in_redis_alone(store.settings, ID, totalAmount=1)
    store.create({"totalAmount": 1}, checkout_id="deleted-02")
    store.notes.write_down()
    write_externally(store, "deleted-02", notes="theirs")
    assert delete(store, undo, ID, "deleted-02").deleted == [ID, "deleted-02"]
