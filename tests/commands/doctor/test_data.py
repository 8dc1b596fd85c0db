"""The checks of the data: sessions, the database, jobs, and what must not be stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from checkout_cli.checks import Finding, Status
from checkout_cli.commands.cleanup.expired import clean_up
from checkout_cli.commands.doctor import database as database_checks
from checkout_cli.commands.doctor.check import Group
from checkout_cli.commands.doctor.run import all_checks
from checkout_cli.jobs.heartbeat import beat
from checkout_cli.jobs.job_lock import new_owner
from checkout_cli.keys import INDEX, heartbeat_key, lock_key, minute_key
from checkout_cli.session import iso
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.divergence import create_in_redis_alone, locked, make_conflict, write_externally
from tests.support.doctoring import examined, finding
from tests.support.odd_servers import OddServer, each_odd_server
from tests.support.servers import PostgresServer, ValkeyServer
from tests.support.stores import make_store, make_tables

GROUPS = (Group.SESSIONS, Group.DATABASE, Group.JOBS, Group.PRIVACY)
CHECKS = [name for name, item in all_checks().items() if item.group in GROUPS]
CARD = "4111 1111 1111 1111"

Look = Callable[[str], Finding]


@pytest.fixture
def look(store: CheckoutStore, tmp_path: Path) -> Look:
    """What a check finds on the test's own servers, which have a few sessions."""
    for number in range(5):
        store.create({"userId": f"user-{number}"}, checkout_id=f"session-{number:04}")
    clean_up(store)
    return lambda name: finding(store.settings, name, tmp_path)


@pytest.mark.parametrize("name", CHECKS)
def test_where_all_is_well_a_check_says_so(name: str, look: Look) -> None:
    found = look(name)
    assert found.status in {Status.OK, Status.SKIPPED}, found
    assert (found.status is Status.SKIPPED) == (name in {"stampede", "cache-hit-rate", "database-encoding"}), found


@pytest.mark.parametrize("name", [name for name in CHECKS if name != "database"])
def test_a_database_that_is_not_there_is_one_finding_and_not_many(
    name: str, store: CheckoutStore, tmp_path: Path
) -> None:
    nowhere = replace(store.settings, database_url=f"sqlite:///{tmp_path / 'nowhere.db'}")
    assert finding(nowhere, name, tmp_path).status is not Status.CRIT
    found = finding(nowhere, "database", tmp_path)
    assert (found.status, found.fix) == (Status.CRIT, "checkoutctl setup")


# Sessions


def test_a_session_without_an_end_is_critical(look: Look, store: CheckoutStore) -> None:
    store.redis.ask(("PERSIST", "checkout:session:session-0001"))
    found = look("session-ttl")
    assert (found.status, found.numbers["withoutTtl"]) == (Status.CRIT, 1)
    assert "session-…" in found.evidence
    assert "session-0001" not in found.evidence


def test_a_session_that_lives_far_too_long_is_a_warning(look: Look, store: CheckoutStore) -> None:
    store.redis.ask(("EXPIRE", "checkout:session:session-0001", 86_400))
    assert look("session-ttl").status is Status.WARN


@pytest.mark.parametrize(
    ("make", "status"), [("SADD", Status.WARN), ("LPUSH", Status.WARN), (None, Status.WARN)], ids=str
)
def test_an_index_of_another_kind_is_told(look: Look, store: CheckoutStore, make: str | None, status: Status) -> None:
    store.redis.ask(("DEL", INDEX))
    if make is not None:
        store.redis.ask((make, INDEX, "session-0001"))
    assert look("index-kind").status is status


def test_entries_of_sessions_that_are_gone_are_a_warning_unless_they_are_due(look: Look, store: CheckoutStore) -> None:
    store.redis.ask(("ZADD", INDEX, store.clock.wall() - 1, "gone-and-due"))
    assert (look("index-dangling").status, look("index-dangling").numbers["due"]) == (Status.OK, 1)
    store.redis.ask(("DEL", "checkout:session:session-0001"))
    found = look("index-dangling")
    assert (found.status, found.numbers["dangling"]) == (Status.WARN, 1)


def test_a_session_that_is_not_listed_is_a_warning_and_a_clean_up_mends_it(look: Look, store: CheckoutStore) -> None:
    store.redis.ask(("ZREM", INDEX, "session-0001"))
    found = look("index-missing")
    assert (found.status, found.fix) == (Status.WARN, "checkoutctl cleanup --expired")
    clean_up(store)
    assert look("index-missing").status is Status.OK


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (("SET", "checkout:session:session-0001", "not json"), Status.CRIT),
        (("SET", "checkout:session:session-0001", json.dumps({"x": "y" * 100_001})), Status.WARN),
        (("LPUSH", "checkout:session:another-type", "x"), Status.CRIT),
    ],
)
def test_a_value_that_is_no_session_or_too_large_is_told(
    look: Look, store: CheckoutStore, command: tuple[str, ...], status: Status
) -> None:
    store.redis.ask(command)
    assert look("payload").status is status


def test_what_waits_is_told_in_both_directions(look: Look, store: CheckoutStore) -> None:
    store.redis.ask(("SADD", "checkout:pending", "session-0001"))
    found = look("pending")
    assert (found.status, found.fix) == (Status.WARN, "checkoutctl sync")
    assert found.numbers["toDatabase"] == 1


def test_conflicts_wait_for_a_person(look: Look, store: CheckoutStore) -> None:
    make_conflict(store, "session-0009")
    found = look("conflicts")
    assert (found.status, found.fix) == (Status.WARN, "checkoutctl sync --conflicts")
    assert found.numbers == {"conflicts": 1}


class TestExternalWriters:
    def test_where_none_was_seen_that_is_said(self, look: Look) -> None:
        found = look("external-writers")
        assert (found.status, found.evidence, found.numbers["lastSeenSeconds"]) == (Status.OK, "none was seen", None)

    def test_what_was_taken_in_is_counted_and_is_well(self, look: Look, store: CheckoutStore) -> None:
        write_externally(store, "session-0001", notes="theirs")
        assert look("external-writers").numbers["takenIn"] == 0  # a look takes nothing in
        store.get("session-0001")
        found = look("external-writers")
        assert (found.status, found.numbers["takenIn"], found.numbers["conflicts"]) == (Status.OK, 1, 0)
        assert found.evidence.startswith("last seen 0 s ago; 1 writes taken in, 0 of them conflicts")
        assert found.numbers["lastSeenSeconds"] in range(60)

    def test_new_conflicts_are_a_warning_and_old_ones_are_not(self, look: Look, store: CheckoutStore) -> None:
        write_externally(store, "session-0001", header=False, notes="theirs")
        store.get("session-0001")
        assert look("external-writers").status is Status.OK  # the first look

        write_externally(store, "session-0002", header=False, notes="theirs")
        store.get("session-0002")
        found = look("external-writers")
        assert (found.status, found.fix) == (Status.WARN, "checkoutctl sync --conflicts")
        assert found.evidence.startswith("1 new conflict since the last run ")
        assert look("external-writers").evidence.startswith("1 new conflict until 0 s ago; ")
        assert found.numbers["conflicts"] == 2

    def test_what_came_back_from_the_database_is_told(self, look: Look, store: CheckoutStore) -> None:
        write_externally(store, "session-0001", paymentStatus="paid")
        store.get("session-0001")
        with make_store(store.settings) as shop:
            shop.get("session-0002")  # its look for pending rows learns that an external writer is there
            store.redis.ask(("DEL", "checkout:session:session-0001"))
            assert shop.get("session-0001").status == "paid"
        found = look("external-writers")
        assert found.numbers["refilled"] == 1
        assert "1 sessions with a missing key came back from the database" in found.evidence


def test_sessions_that_end_together_are_a_warning(look: Look, store: CheckoutStore) -> None:
    for number in range(120):
        store.redis.ask(("SET", f"checkout:session:bulk-{number:06}", "{}", "PX", 500_000 if number % 2 else 600_000))
    assert look("stampede").status is Status.WARN
    for number in range(120):
        store.redis.ask(("PEXPIRE", f"checkout:session:bulk-{number:06}", 100_000 + 10_000 * number))
    assert look("stampede").status is Status.OK


# The database


def test_a_missing_index_is_told_with_the_line_that_makes_it(look: Look, store: CheckoutStore) -> None:
    with store.database.transaction() as connection:
        connection.execute(text("DROP INDEX checkoutctl_sessions_expiry"))
    found = look("expiry-index")
    assert found.status is Status.WARN
    with store.database.transaction() as connection:
        connection.execute(text(found.fix))
    assert look("expiry-index").status is Status.OK


@pytest.mark.parametrize("schema", ["", "shop"])
def test_the_line_that_makes_an_index_names_the_schema_of_postgresql(
    schema: str, store: CheckoutStore, postgres_url: str, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    settings = replace(store.settings, database_url=postgres_url, database_schema=schema)
    with CheckoutStore.open(settings) as shared:
        make_tables(shared.database)
    postgres_server.execute(f"DROP INDEX {schema or 'public'}.checkoutctl_sessions_expiry", database=postgres_url)
    found = finding(settings, "expiry-index", tmp_path)
    assert found.status is Status.WARN
    assert f"{schema or 'public'}.checkoutctl_sessions" in found.fix
    postgres_server.execute(f"SET search_path = ''; {found.fix}", database=postgres_url)
    assert finding(settings, "expiry-index", tmp_path).status is Status.OK


def test_the_index_is_seen_in_postgresql_too(store: CheckoutStore, postgres_url: str, tmp_path: Path) -> None:
    settings = replace(store.settings, database_url=postgres_url.replace("postgresql://", "postgresql+psycopg://"))
    with CheckoutStore.open(settings) as shared:
        make_tables(shared.database)
    report = {result.check.id: result.finding for result in examined(settings, tmp_path, "database").results}
    assert report["expiry-index"].status is report["database"].status is report["expired-rows"].status is Status.OK
    assert report["database-space"].evidence == "no SQLite file"


def test_expired_rows_that_pile_up_are_a_warning(
    look: Look, store: CheckoutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_checks, "MANY", 3)
    with store.database.transaction() as connection:
        connection.execute(text("UPDATE checkoutctl_sessions SET expires_at = 1"))
    found = look("expired-rows")
    assert (found.status, found.numbers["rows"]) == (Status.WARN, 4)


@pytest.mark.parametrize(("change", "status"), [(-1, Status.CRIT), (1, Status.WARN)])
def test_versions_that_differ_between_the_tiers_are_told(
    look: Look, store: CheckoutStore, change: int, status: Status
) -> None:
    with store.database.transaction() as connection:
        statement = "UPDATE checkoutctl_sessions SET version = version + :by, published_version = version + :by"
        connection.execute(text(statement), {"by": change})
    assert look("drift").status is status


def test_a_row_that_waits_to_be_published_is_no_drift(look: Look, store: CheckoutStore) -> None:
    with store.database.transaction() as connection:
        connection.execute(text("UPDATE checkoutctl_sessions SET version = version + 1"))
    assert look("drift").status is Status.OK


def test_what_only_redis_has_is_critical_at_once_where_the_database_takes_no_writes(
    look: Look, store: CheckoutStore
) -> None:
    create_in_redis_alone(store.settings, "alone-0001")
    assert look("pending").status is Status.OK  # for a minute
    with locked(store.settings):
        found, written = look("pending"), look("database-write")
    assert (found.status, written.status) == (Status.CRIT, Status.CRIT)
    assert found.evidence.startswith("1 are only in Redis, the oldest for ")
    assert "locked" in written.evidence


# Jobs


@pytest.mark.parametrize(
    ("age", "finished", "status"),
    [(0, True, Status.OK), (0, False, Status.WARN), (7201, True, Status.WARN), (86_401, True, Status.CRIT)],
)
def test_a_clean_up_that_has_not_run_is_told(
    look: Look, store: CheckoutStore, age: int, finished: bool, status: Status
) -> None:
    moment = iso(store.clock.wall() - age * 1000)
    beat = {"finishedAt": moment, "seconds": 0.1, "finished": finished, "sessions": 0}
    store.redis.ask(("SET", heartbeat_key("cleanup"), json.dumps(beat)))
    assert look("cleanup-overdue").status is status


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999+00:00", "2100-01-01"])
@pytest.mark.parametrize("field", ["finishedAt", "completedAt"])
@pytest.mark.parametrize("finished", [True, False])
def test_an_end_in_the_future_is_forged(
    look: Look, store: CheckoutStore, moment: str, field: str, finished: bool
) -> None:
    ended = {"finishedAt": iso(store.clock.wall()), "seconds": 0.1, "finished": finished, "sessions": 0}
    if field == "completedAt" and finished:
        pytest.skip("it is not looked at")
    store.redis.ask(("SET", heartbeat_key("cleanup"), json.dumps(ended | {field: moment})))
    found = look("cleanup-overdue")
    assert (found.status, "in the future" in found.evidence) == (Status.CRIT, True)


def test_runs_that_never_finish_are_overdue_all_the_same(look: Look, store: CheckoutStore) -> None:
    now = store.clock.wall()
    beat(store, "cleanup", seconds=1, finished=True, sessions=0)
    kept = json.loads(store.redis.value(heartbeat_key("cleanup")) or b"")
    kept["finishedAt"] = iso(now - 90_000_000)
    store.redis.ask(("SET", heartbeat_key("cleanup"), json.dumps(kept)))
    for _ in range(3):
        beat(store, "cleanup", seconds=1, finished=False, sessions=0)
    found = look("cleanup-overdue")
    assert found.status is Status.CRIT
    assert found.evidence.startswith("the last run that finished ended 25 h ago")
    beat(store, "cleanup", seconds=1, finished=True, sessions=0)
    assert look("cleanup-overdue").status is Status.OK


@pytest.mark.parametrize("value", [None, "not json", "{}"])
def test_without_a_heartbeat_no_run_is_remembered(look: Look, store: CheckoutStore, value: str | None) -> None:
    store.redis.ask(("DEL", heartbeat_key("cleanup")))
    if value is not None:
        store.redis.ask(("SET", heartbeat_key("cleanup"), value))
    found = look("cleanup-overdue")
    assert found.status is Status.WARN
    assert found.evidence.startswith("no run is remembered")
    assert found.fix.endswith("checkoutctl cleanup --expired")


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (("SET", lock_key("cleanup"), "x"), Status.CRIT),
        (("SET", lock_key("cleanup"), "x", "EX", 3600), Status.CRIT),
        (("SET", lock_key("cleanup"), "x", "EX", 20), Status.CRIT),
        (("SET", lock_key("cleanup"), new_owner(), "EX", 20), Status.OK),
        (("SET", lock_key("cleanup"), new_owner(), "EX", 40), Status.CRIT),
        (("LPUSH", lock_key("cleanup"), "x"), Status.CRIT),
    ],
)
def test_a_lock_that_is_left_over_is_told(
    look: Look, store: CheckoutStore, command: tuple[str | int, ...], status: Status
) -> None:
    store.redis.ask(command)
    assert look("job-locks").status is status


def test_sessions_that_were_created_and_not_counted_are_a_gap(look: Look, store: CheckoutStore) -> None:
    minute = store.clock.wall() // 60_000
    for age in range(-1, 61):
        store.redis.ask(("DEL", minute_key(minute - age)))
    found = look("statistics-gap")
    assert (found.status, found.numbers["created"]) == (Status.WARN, 5)


@pytest.mark.parametrize(("hits", "status"), [(80, Status.OK), (79, Status.WARN)])
def test_a_cache_that_mostly_misses_is_told(look: Look, store: CheckoutStore, hits: int, status: Status) -> None:
    key = minute_key(store.clock.wall() // 60_000)
    store.redis.ask(("HSET", key, "delivery:hit", hits, "delivery:miss", 100 - hits))
    assert look("cache-hit-rate").status is status


# What must not be stored


def test_another_field_of_a_user_is_critical_and_only_its_name_is_told(look: Look, store: CheckoutStore) -> None:
    store.redis.ask(("HSET", "user:session:user-1", "email", "canary@shop.example"))
    found = look("user-fields")
    assert (found.status, found.numbers["fields"]) == (Status.CRIT, 1)
    assert found.evidence.endswith(": email")
    store.redis.ask(("HSET", "user:session:user-1", "canary@shop.example", "x"))
    assert "canary" not in look("user-fields").evidence


def test_card_data_is_found_wherever_another_program_has_put_it(look: Look, store: CheckoutStore) -> None:
    store.redis.ask(("SET", "checkout:session:another-one", json.dumps({"items": [{"notes": f"card {CARD}"}]})))
    found = look("card-data")
    assert (found.status, found.numbers["values"]) == (Status.CRIT, 1)
    assert "items[0].notes" in found.evidence
    assert "4111" not in found.evidence
    store.redis.ask(("DEL", "checkout:session:another-one"))
    store.redis.ask(("SET", f"coupon:cache:{CARD}", "{}"))
    assert look("card-data").numbers["names"] == 1


@pytest.mark.parametrize("key", ["user:session:shopper@shop.example", "checkout:session:+919876543210"])
def test_an_address_in_the_name_of_a_key_is_a_warning(look: Look, store: CheckoutStore, key: str) -> None:
    store.redis.ask(("SET", key, "{}"))
    found = look("key-names")
    assert found.status is Status.WARN
    assert "shop.example" not in found.evidence
    assert "9876" not in found.evidence


def test_personal_data_in_the_slow_log_is_told(
    valkey_server: Callable[..., ValkeyServer], store: CheckoutStore, tmp_path: Path
) -> None:
    server = valkey_server("--slowlog-log-slower-than", "0")
    settings = replace(store.settings, redis_port=server.port)
    with server.client() as client:
        client.set("x", "y")
        client.set("41111111", "11111111")  # two numbers, and no card's
        assert finding(settings, "slow-log-data", tmp_path).status is Status.OK
        client.set("x", "canary@shop.example")
        found = finding(settings, "slow-log-data", tmp_path)
        assert (found.status, found.fix) == (Status.WARN, "checkoutctl slowlog --reset")
        client.set("x", CARD)
        assert finding(settings, "slow-log-data", tmp_path).status is Status.CRIT
    assert "canary" not in found.evidence


@pytest.mark.parametrize("odd", each_odd_server(), indirect=True)
def test_every_server_gets_an_answer_or_a_reason(odd: OddServer, tmp_path: Path) -> None:
    report = examined(odd.settings(), tmp_path, *map(str, GROUPS))
    critical = {result.check.id for result in report.results if result.status is Status.CRIT}
    lossy = {"redis-emptied"} if "allkeys" in odd.name else set()  # which has evicted most of its sessions
    assert critical <= lossy, [result for result in report.results if result.status is Status.CRIT]
    assert all(result.finding.evidence for result in report.results)
