"""What became of a session, in words."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from checkout_cli.commands.sessions.delete import delete_all, plan
from checkout_cli.commands.sessions.why import explain
from checkout_cli.commands.sessions.why_answer import HINTS, Answer, Cause, UserAnswer
from checkout_cli.commands.sessions.why_user import explain_either, explain_user
from checkout_cli.commands.sync.sync import synchronize
from checkout_cli.errors import ExitCode, InvalidInput
from checkout_cli.files.last_look import LastLook
from checkout_cli.keys import claim_key
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.divergence import (
    beside_redis,
    create_in_redis_alone,
    make_conflict,
    set_columns,
    update_in_database_alone,
    update_in_redis_alone,
    write_externally,
)
from tests.support.servers import ValkeyServer
from tests.support.stores import make_store

ID = "why-000001"
KEY = f"checkout:session:{ID}"


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))


@pytest.fixture
def why(store: CheckoutStore, tmp_path: Path) -> Callable[[], Answer]:
    """The answer for the one session of these tests."""

    def ask() -> Answer:
        return explain(store, ID, last_look=LastLook(tmp_path / "state"))

    return ask


Why = Callable[[], Answer]


def create(store: CheckoutStore) -> None:
    store.create({"userId": "user-0001", "totalAmount": 7.5}, checkout_id=ID)
    store.notes.write_down()


def test_a_session_that_is_well_is_alive(store: CheckoutStore, why: Why) -> None:
    create(store)
    assert (why().cause, why().exit_code) == (Cause.ALIVE, ExitCode.OK)


def test_one_that_was_deleted_is_told_with_the_moment(store: CheckoutStore, why: Why) -> None:
    create(store)
    store.delete(ID)
    answer = why()
    assert (answer.cause, answer.exit_code) == (Cause.DELETED, ExitCode.NOT_FOUND)
    assert "0s ago" in answer.sentence


def test_one_whose_row_has_expired_is_told_with_the_moment(store: CheckoutStore, why: Why) -> None:
    create(store)
    store.redis.ask(("DEL", KEY))
    set_columns(store, ID, expires_at=store.clock.wall() - 600_000)
    answer = why()
    assert (answer.cause, answer.exit_code) == (Cause.EXPIRED, ExitCode.NOT_FOUND)
    assert "10m ago" in answer.sentence


def test_one_that_is_too_old_has_ended_though_it_is_still_there(store: CheckoutStore, why: Why) -> None:
    create(store)
    set_columns(store, ID, created_at=store.clock.wall() - 90_000_000)
    assert why().cause is Cause.TOO_OLD


def test_a_write_that_redis_lacks_is_told(store: CheckoutStore, why: Why) -> None:
    create(store)
    update_in_database_alone(store.settings, ID, totalAmount=9.5)
    answer = why()
    assert (answer.cause, answer.exit_code, answer.hint) == (
        Cause.WAITS_FOR_REDIS,
        ExitCode.FINDING,
        "checkoutctl sync",
    )


def test_a_write_that_the_database_lacks_is_told(store: CheckoutStore, why: Why) -> None:
    create_in_redis_alone(store.settings, ID)
    assert why().cause is Cause.WAITS_FOR_DATABASE


def test_an_old_copy_that_is_believed_is_told(store: CheckoutStore, why: Why, valkey: ValkeyServer) -> None:
    create(store)
    with valkey.client() as client:
        old = client.get(KEY)
        store.update(ID, {"totalAmount": 9.5})
        store.notes.write_down()
        client.set(KEY, old, px=60_000)  # type: ignore[arg-type]
    assert why().cause is Cause.STALE
    assert store.get(ID).fields["totalAmount"] == 7.5  # which is what the answer says


def test_a_corrupt_copy_is_told_with_and_without_a_row(store: CheckoutStore, why: Why) -> None:
    create(store)
    store.redis.ask(("SET", KEY, b'{"a":', "PX", 60_000))
    assert why().cause is Cause.CORRUPT_COPY
    store.database.erase(ID)
    assert why().cause is Cause.CORRUPT


def test_an_external_session_is_alive(store: CheckoutStore, why: Why) -> None:
    store.redis.ask(("SET", KEY, b'{"totalAmount":1}', "PX", 60_000))
    answer = why()
    assert (answer.cause, answer.exit_code) == (Cause.EXTERNAL, ExitCode.OK)
    assert "index does not list it" in answer.sentence


def test_an_external_write_is_told_with_what_becomes_of_it(store: CheckoutStore, why: Why) -> None:
    create(store)
    write_externally(store, ID, paymentStatus="paid")
    answer = why()
    assert (answer.cause, answer.exit_code, answer.hint) == (Cause.EXTERNAL_WRITE, ExitCode.OK, "checkoutctl sync")
    assert "becomes the next version" in answer.sentence
    synchronize(store)
    assert why().cause is Cause.ALIVE


@pytest.mark.parametrize(
    ("fields", "header", "told"),
    [
        ({"paymentStatus": "pending", "notes": "theirs"}, True, "but for what may not follow"),
        ({"notes": "theirs"}, False, "changes nothing: both contents go to the conflict log"),
    ],
)
def test_an_external_write_that_cannot_stand_is_a_finding(
    store: CheckoutStore, why: Why, fields: dict[str, str], header: bool, told: str
) -> None:
    create(store)
    store.set_payment_status(ID, "paid")
    write_externally(store, ID, header=header, **fields)
    answer = why()
    assert (answer.cause, answer.exit_code) == (Cause.EXTERNAL_CONFLICT, ExitCode.FINDING)
    assert told in answer.sentence
    synchronize(store)
    assert store.flush_log.conflict_count() == 1


def test_an_external_write_on_a_session_whose_row_is_gone_is_a_conflict(store: CheckoutStore, why: Why) -> None:
    create(store)
    write_externally(store, ID, notes="theirs")
    store.database.erase(ID)
    answer = why()
    assert answer.cause is Cause.EXTERNAL_CONFLICT
    assert "has no row of it" in answer.sentence


def test_a_claim_to_fill_the_key_explains_why_redis_has_nothing(store: CheckoutStore, why: Why) -> None:
    create(store)
    store.redis.ask(("DEL", KEY))
    store.redis.ask(("SET", claim_key(ID), "somebody", "PX", 60_000))
    answer = why()
    assert answer.cause is Cause.ALIVE
    assert "a read is just bringing it to Redis" in answer.sentence


def test_a_copy_whose_row_is_gone_is_an_orphan(store: CheckoutStore, why: Why) -> None:
    create(store)
    store.database.erase(ID)
    assert why().cause is Cause.ORPHAN


def test_a_row_that_was_set_back_is_told(store: CheckoutStore, why: Why) -> None:
    create(store)
    store.update(ID, {"totalAmount": 9.5})
    set_columns(store, ID, version=1, published_version=1)
    assert why().cause is Cause.AHEAD


def test_an_entry_of_the_index_that_is_left_alone_is_told(store: CheckoutStore, why: Why) -> None:
    create(store)
    store.redis.ask(("DEL", KEY))
    store.database.erase(ID)
    assert why().cause is Cause.DANGLING
    store.redis.ask(("ZADD", "checkout:index", store.clock.wall() - 60_000, ID))
    assert why().cause is Cause.EXPIRED


def test_a_name_among_the_pending_that_is_left_alone_is_told(store: CheckoutStore, why: Why) -> None:
    store.redis.ask(("SADD", "checkout:pending", ID))
    assert why().cause is Cause.ONLY_PENDING


def test_a_lost_conflict_is_told(store: CheckoutStore, why: Why) -> None:
    make_conflict(store, ID)
    store.redis.ask(("DEL", KEY))
    store.redis.ask(("ZREM", "checkout:index", ID))
    store.database.erase(ID)
    assert why().cause is Cause.LOST_CONFLICT


def test_what_nobody_has_ever_seen_is_told(why: Why) -> None:
    answer = why()
    assert (answer.cause, answer.exit_code) == (Cause.NEVER_SEEN, ExitCode.NOT_FOUND)


def test_evictions_are_told_where_there_were_any_and_what_is_new_of_them(
    store: CheckoutStore, valkey_server: Callable[..., ValkeyServer], tmp_path: Path
) -> None:
    server = valkey_server()
    with make_store(replace(store.settings, redis_port=server.port)) as full, server.client() as client:
        create(full)
        set_columns(full, ID, updated_at=full.clock.wall() + 3_600_000)  # so that the server is the older of the two
        client.delete(KEY)
        look = LastLook(tmp_path / "state")
        answer = explain(full, ID, last_look=look)
        assert answer.cause is Cause.ONLY_IN_DATABASE  # without evictions, nothing is said of any
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", "4mb")
        for number in range(600):
            client.set(f"filler:{number}", "x" * 10_000)
        answer = explain(full, ID, last_look=look)
        assert answer.cause is Cause.EVICTED
        assert "since the last look; policy allkeys-random" in " ".join(answer.evidence)


def test_a_restart_after_the_last_write_is_told(
    store: CheckoutStore, valkey_server: Callable[..., ValkeyServer], tmp_path: Path
) -> None:
    server = valkey_server()
    with make_store(replace(store.settings, redis_port=server.port)) as other:
        create(other)
        set_columns(other, ID, updated_at=other.clock.wall() - 600_000)
        other.redis.ask(("DEL", KEY))
        answer = explain(other, ID, last_look=LastLook(tmp_path / "state"))
    assert answer.cause is Cause.RESTARTED


def test_of_a_user_every_living_session_is_told(store: CheckoutStore, tmp_path: Path) -> None:
    create(store)
    store.create({"userId": "user-0001"}, checkout_id="why-000002")
    store.create({"userId": "user-0002"}, checkout_id="why-000003")
    store.notes.write_down()
    answer = explain_either(store, "user-0001", last_look=LastLook(tmp_path / "state"))
    assert isinstance(answer, UserAnswer)
    assert {one.trace.checkout_id for one in answer.answers} == {ID, "why-000002"}
    assert answer.tracked is not None
    assert answer.exit_code == ExitCode.OK
    nobody = explain_user(store, "user-0009", last_look=LastLook(tmp_path / "state"))
    assert (nobody.answers, nobody.exit_code) == ((), ExitCode.NOT_FOUND)


def test_where_no_tier_can_tell_that_is_said(store: CheckoutStore, tmp_path: Path) -> None:
    with make_store(replace(store.settings, redis_port=1)) as without_redis:
        answer = explain(without_redis, ID, last_look=LastLook(tmp_path / "state"))
    assert (answer.cause, answer.exit_code) == (Cause.UNKNOWN, ExitCode.UNAVAILABLE)


# By the beginning of an id


@pytest.mark.parametrize("ended", ["deleted", "expired", "index", "conflict"])
def test_the_beginning_of_an_id_finds_what_has_ended(store: CheckoutStore, tmp_path: Path, ended: str) -> None:
    create(store)
    if ended == "deleted":
        store.delete(ID)
    elif ended == "conflict":
        update_in_redis_alone(store.settings, ID, notes="written")
        update_in_database_alone(store.settings, ID, notes="database")
        synchronize(store)
    if ended != "deleted":
        store.redis.ask(("DEL", KEY))
    if ended == "expired":
        set_columns(store, ID, expires_at=store.clock.wall() - 600_000)
    elif ended != "deleted":
        store.database.erase(ID)
    if ended == "conflict":
        store.redis.ask(("ZREM", "checkout:index", ID))
    answer = explain(store, ID[:5], last_look=LastLook(tmp_path / "state"))
    causes = {
        "deleted": Cause.DELETED,
        "expired": Cause.EXPIRED,
        "index": Cause.DANGLING,
        "conflict": Cause.LOST_CONFLICT,
    }
    assert (answer.trace.checkout_id, answer.cause) == (ID, causes[ended])


def test_a_beginning_that_a_living_and_a_deleted_session_share_names_both(store: CheckoutStore, tmp_path: Path) -> None:
    create(store)
    store.create({}, checkout_id="why-000002")
    store.delete("why-000002")
    with pytest.raises(InvalidInput, match="2 sessions begin with 'why-': why-000001, why-000002"):
        explain_either(store, "why-", last_look=LastLook(tmp_path / "state"))


def test_a_short_user_id_is_no_beginning_that_is_too_short(store: CheckoutStore, tmp_path: Path) -> None:
    store.create({"userId": "u1"}, checkout_id=ID)
    store.bookkeeping.flush()
    answer = explain_either(store, "u1", last_look=LastLook(tmp_path / "state"))
    assert isinstance(answer, UserAnswer)
    assert [one.trace.checkout_id for one in answer.answers] == [ID]


# Content, undo files, and what is advised


def delete_with_undo(store: CheckoutStore, *checkout_ids: str, undo_file: Path | None = None) -> Path:
    done = delete_all(store, plan(store, checkout_ids, undo_file=undo_file), agreed=lambda _: True)
    assert done.undo_file is not None
    return done.undo_file


@pytest.mark.parametrize("elsewhere", [False, True])
def test_of_a_deletion_the_content_and_the_undo_file_are_told(
    store: CheckoutStore, why: Why, tmp_path: Path, elsewhere: bool
) -> None:
    create(store)
    undo = delete_with_undo(store, ID, undo_file=tmp_path / "my undo.ndjson" if elsewhere else None)
    answer = why()
    assert (answer.cause, answer.undo_file) == (Cause.DELETED, undo)
    assert answer.fields is not None
    assert answer.fields["totalAmount"] == 7.5
    assert answer.hint == f"checkoutctl sessions restore {shlex.quote(str(undo))}"
    undo.unlink()
    assert why().undo_file is None


def test_the_undo_file_of_another_deletion_is_not_told(store: CheckoutStore, why: Why) -> None:
    create(store)
    store.create({}, checkout_id="why-000002")
    delete_with_undo(store, "why-000002")
    store.delete(ID)
    answer = why()
    assert (answer.undo_file, answer.fields) == (None, None)
    assert "{" not in answer.hint


def test_what_an_external_writer_deleted_is_told_with_its_content(store: CheckoutStore, why: Why) -> None:
    create(store)
    set_columns(store, ID, body=None, previous_body='{"totalAmount": 3.25}', previous_version=1, version=2)
    answer = why()
    assert answer.hint == f"checkoutctl sessions restore {ID}"
    assert answer.fields == {"totalAmount": 3.25}


def test_an_expired_row_is_told_with_its_content(store: CheckoutStore, why: Why) -> None:
    create(store)
    store.redis.ask(("DEL", KEY))
    set_columns(store, ID, expires_at=store.clock.wall() - 600_000)
    answer = why()
    assert answer.fields is not None
    assert answer.fields["totalAmount"] == 7.5
    assert "never" not in answer.sentence


def test_one_that_was_never_published_is_not_told_to_have_run_out_of_time_in_redis(
    store: CheckoutStore, why: Why
) -> None:
    with beside_redis(store.settings) as writer:
        writer.create({}, checkout_id=ID)
    answer = why()
    assert (answer.cause, answer.sentence) == (
        Cause.WAITS_FOR_REDIS,
        "it is alive in the database, and Redis never had it",
    )
    set_columns(store, ID, expires_at=store.clock.wall() - 600_000)
    answer = why()
    assert answer.cause is Cause.EXPIRED
    assert "never published to Redis" in answer.sentence


def test_no_hint_removes_what_the_answer_rests_on() -> None:
    removing = ("cleanup --expired", "cleanup --index", "sessions delete", "index repair", "DEL ", "FLUSH")
    assert [hint for hint in HINTS.values() if any(word in hint for word in removing)] == []
    assert HINTS.keys() | {Cause.ALIVE, Cause.EXTERNAL} == set(Cause)  # the others say what comes next
    assert all("--dry-run" in hint for hint in HINTS.values() if "cleanup" in hint)


# Evictions and restarts


def test_an_eviction_after_a_restart_is_no_loss_at_the_restart(
    store: CheckoutStore, valkey_server: Callable[..., ValkeyServer], tmp_path: Path
) -> None:
    server = valkey_server()
    with make_store(replace(store.settings, redis_port=server.port)) as full:
        create(full)
        set_columns(full, ID, updated_at=full.clock.wall() - 60_000, expires_at=full.clock.wall() + 60_000)
    with server.client() as client:
        client.save()
    server.kill()
    server.start()
    with make_store(replace(store.settings, redis_port=server.port)) as full, server.client() as client:
        assert client.exists(KEY)
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", "4mb")
        for number in range(600):
            client.set(f"filler:{number}", "x" * 10_000)
        client.delete(KEY, "checkout:index")
        answer = explain(full, ID, last_look=LastLook(tmp_path / "state"))
    assert answer.cause is Cause.EVICTED


def test_a_restart_without_data_is_no_eviction_though_there_are_evictions_since(
    store: CheckoutStore, valkey_server: Callable[..., ValkeyServer], tmp_path: Path
) -> None:
    server = valkey_server()
    with make_store(replace(store.settings, redis_port=server.port)) as full:
        create(full)
        ttl = int(full.settings.session_ttl * 1000)
        moment = full.clock.wall() - 60_000
        set_columns(full, ID, updated_at=moment, expires_at=moment + ttl)
    server.kill()
    server.start()
    with make_store(replace(store.settings, redis_port=server.port)) as full, server.client() as client:
        assert not client.exists(KEY)
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", "4mb")
        for number in range(600):
            client.set(f"filler:{number}", "x" * 10_000)
        assert client.info("stats")["evicted_keys"]
        answer = explain(full, ID, last_look=LastLook(tmp_path / "state"))
    assert answer.cause is Cause.RESTARTED


# Of a user


def test_of_a_user_ended_sessions_are_told_after_the_living(store: CheckoutStore, tmp_path: Path) -> None:
    for number in range(1, 6):
        store.create({"userId": "user-0001"}, checkout_id=f"why-00000{number}")
    store.create({"userId": "user-0002"}, checkout_id="why-others")
    store.notes.write_down()
    delete_with_undo(store, "why-000002", "why-others")
    store.redis.ask(("DEL", "checkout:session:why-000003"))
    set_columns(store, "why-000003", expires_at=store.clock.wall() - 600_000)
    set_columns(store, "why-000004", body=None, previous_body='{"userId": "user-0001"}', previous_version=1, version=2)
    store.redis.ask(("DEL", "checkout:session:why-000004"))
    answer = explain_user(store, "user-0001", last_look=LastLook(tmp_path / "state"))
    causes = {one.trace.checkout_id[-1]: one.cause for one in answer.answers}
    assert causes == {
        "1": Cause.ALIVE,
        "5": Cause.ALIVE,
        "3": Cause.EXPIRED,
        "2": Cause.DELETED,
        "4": Cause.DELETED,
    }
    assert list(causes)[:2] in (["1", "5"], ["5", "1"])
    assert (answer.complete, answer.exit_code) == (True, ExitCode.OK)


def test_a_user_whose_sessions_have_all_ended_is_not_found(store: CheckoutStore, tmp_path: Path) -> None:
    create(store)
    delete_with_undo(store, ID)
    answer = explain_user(store, "user-0001", last_look=LastLook(tmp_path / "state"))
    assert [one.cause for one in answer.answers] == [Cause.DELETED]
    assert answer.exit_code == ExitCode.NOT_FOUND
