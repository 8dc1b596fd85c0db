"""The tables' version: upgrades keep every row, happen once, and a newer database is left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection

from checkout_cli.config.settings import Settings
from checkout_cli.errors import CheckoutError, DatabaseDenied, DatabaseNotReady, DatabaseUnavailable, SchemaTooNew
from checkout_cli.keys import INDEX
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database import migrations as schema_version
from checkout_cli.store.database import schema
from checkout_cli.store.database.admin import DatabaseAdmin
from checkout_cli.store.database.migrations import STEPS, Step, Upgrade
from checkout_cli.store.database.own_tables import own_tables
from checkout_cli.store.records import Record
from tests.support.stores import copy_of, database_away

NOW = 1_800_000_000_000
SESSIONS = [Record(f"session-{number}", 1, b'{"a":1}', NOW, NOW + 1000 * number, "w") for number in range(5)]
OLDER: dict[str, tuple[str, ...]] = {
    "as it was": (),
    "without the later tables": ("DROP TABLE checkoutctl_conflicts", "DROP TABLE checkoutctl_reigns"),
    "without an index on expires_at": ("DROP INDEX checkoutctl_sessions_expiry",),
    "with the first index on expires_at": (
        "DROP INDEX checkoutctl_sessions_expiry",
        "CREATE INDEX checkoutctl_sessions_expiry ON checkoutctl_sessions (expires_at, checkout_id)",
    ),
}
"""What happened to each database of version 1 before it was upgraded."""

Open = Callable[[], DatabaseAdmin]


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def place(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    if request.param == "PostgreSQL":
        settings = replace(settings, database_url=request.getfixturevalue("postgres_url"))
    return replace(settings, database_timeout=10.0)


@pytest.fixture
def opened(place: Settings) -> Iterator[Open]:
    """Opens tiers on the database, each as good as another process."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(DatabaseAdmin(place)))


def run(database: DatabaseAdmin, *statements: str) -> None:
    with database.transaction() as connection:
        for statement in statements:
            connection.execute(text(statement))


def make_version_one(database: DatabaseAdmin, *statements: str) -> None:
    """The first tables, with rows."""
    database.create_schema()
    for record in SESSIONS:
        assert database.insert(record, now=NOW, write_id="w")
    database.delete("session-4", seen=1, now=NOW, write_id="w")
    run(database, *statements)


def rows(database: DatabaseAdmin) -> list[Any]:
    with database.transaction() as connection:
        found = connection.execute(text("SELECT checkout_id, version, body, expires_at FROM checkoutctl_sessions"))
        return sorted(map(tuple, found))


def structure(database: DatabaseAdmin) -> dict[str, Any]:
    """All our tables with their columns and indexes."""
    with database.transaction() as connection:
        seen = inspect(connection)
        return {
            table: (
                [column["name"] for column in seen.get_columns(table)],
                sorted((index["name"] or "", index["column_names"]) for index in seen.get_indexes(table)),
            )
            for table in seen.get_table_names()
        }


def version(database: DatabaseAdmin) -> int:
    with database.transaction() as connection:
        return own_tables(connection).version


def test_a_new_database_is_made_in_the_newest_version_at_once(opened: Open) -> None:
    first = opened()
    with pytest.raises(DatabaseNotReady):
        first.check_schema()
    assert first.upgrade_schema() == Upgrade(0, schema.VERSION)
    assert version(first) == schema.VERSION
    assert first.check_schema() is None
    assert opened().upgrade_schema() is None


def test_tables_and_indexes_that_were_dropped_are_made_again(opened: Open) -> None:
    first = opened()
    first.create_schema()
    new = structure(first)
    run(first, "DROP TABLE checkoutctl_conflicts", "DROP INDEX checkoutctl_sessions_expiry")
    assert first.upgrade_schema() == Upgrade(schema.VERSION, schema.VERSION)
    assert structure(first) == new


# Steps


def test_the_steps_lead_to_the_version_of_the_tables_without_gaps() -> None:
    assert [step.to for step in STEPS] == list(range(2, schema.VERSION + 1))


Second = Callable[[Callable[[Connection], None]], None]


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> Second:
    """Gives the program a second version, by one step."""

    def give(change: Callable[[Connection], None]) -> None:
        monkeypatch.setattr(schema, "VERSION", 2)
        monkeypatch.setattr(schema_version, "STEPS", (Step(2, change),))

    return give


def add_a_note(connection: Connection) -> None:
    if all(column["name"] != "note" for column in inspect(connection).get_columns("checkoutctl_sessions")):
        connection.execute(text("ALTER TABLE checkoutctl_sessions ADD COLUMN note VARCHAR(8) DEFAULT 'none'"))


@pytest.mark.parametrize("older", OLDER.values(), ids=OLDER)
def test_an_older_database_serves_and_one_step_brings_it_up_with_all_its_rows(
    older: tuple[str, ...], opened: Open, second: Second
) -> None:
    first = opened()
    make_version_one(first)
    new = structure(first)
    run(first, *older)
    before = rows(first)
    second(add_a_note)
    other = opened()
    assert len(other.read_many(["session-1", "session-2"])) == 2  # it serves as it is
    assert "version 1" in str(other.check_schema())
    assert other.upgrade_schema() == Upgrade(1, 2)
    assert (rows(other), version(other), other.check_schema()) == (before, 2, None)
    with other.transaction() as connection:
        assert set(connection.scalars(text("SELECT note FROM checkoutctl_sessions"))) == {"none"}
    run(other, "ALTER TABLE checkoutctl_sessions DROP COLUMN note")
    assert structure(other) == new
    assert opened().upgrade_schema() is None


def test_a_step_that_fails_leaves_everything_as_it_was(opened: Open, second: Second) -> None:
    def fail_half_way(connection: Connection) -> None:
        add_a_note(connection)
        connection.execute(text("DELETE FROM checkoutctl_sessions"))
        database_away()

    first = opened()
    make_version_one(first)
    before = (structure(first), rows(first))
    second(fail_half_way)
    with pytest.raises(DatabaseUnavailable):
        first.upgrade_schema()
    assert (structure(first), rows(first), version(first)) == (*before, 1)


def test_of_several_processes_that_upgrade_at_once_one_does_it(opened: Open, second: Second) -> None:
    taken: list[int] = []

    def note(connection: Connection) -> None:
        taken.append(1)
        add_a_note(connection)

    make_version_one(opened())
    second(note)
    done: list[Upgrade | None] = []
    errors: list[CheckoutError] = []
    barrier = threading.Barrier(4)

    def upgrade(database: DatabaseAdmin) -> None:
        database.schema_present()
        barrier.wait()
        try:
            done.append(database.upgrade_schema())
        except CheckoutError as error:
            errors.append(error)

    threads = [threading.Thread(target=upgrade, args=(opened(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert taken == [1]
    assert [upgrade for upgrade in done if upgrade is not None] == [Upgrade(1, 2)]
    assert len(rows(opened())) == len(SESSIONS)


def test_several_processes_make_a_new_database_at_once(opened: Open) -> None:
    errors: list[CheckoutError] = []
    barrier = threading.Barrier(4)

    def make(database: DatabaseAdmin) -> None:
        barrier.wait()
        try:
            database.create_schema()
        except CheckoutError as error:
            errors.append(error)

    threads = [threading.Thread(target=make, args=(opened(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert version(opened()) == schema.VERSION


# Newer than this program


def test_a_newer_database_is_refused_before_anything_is_written(opened: Open) -> None:
    first = opened()
    first.create_schema()
    run(first, "UPDATE checkoutctl_schema SET version = 99")
    old = opened()
    for attempt in (
        lambda: old.insert(SESSIONS[0], now=NOW, write_id="w"),
        lambda: old.read("session-1"),
        old.ping,
        old.create_schema,
    ):
        with pytest.raises(SchemaTooNew, match="version 99, and this checkoutctl knows them") as refusal:
            attempt()
        assert "upgrade checkoutctl" in refusal.value.hint
    assert rows(first) == []
    run(first, f"UPDATE checkoutctl_schema SET version = {schema.VERSION}")  # noqa: S608  (a number of ours)
    assert opened().insert(SESSIONS[0], now=NOW, write_id="w")


def test_a_store_publishes_nothing_to_redis_for_a_newer_database(place: Settings) -> None:
    with CheckoutStore.open(place) as first:
        first.database.create_schema()
        run(first.database, "UPDATE checkoutctl_schema SET version = 99")
    with CheckoutStore.open(place) as store:
        with pytest.raises(SchemaTooNew):
            store.create({}, checkout_id="session-1")
        assert copy_of(store, "session-1") is None
        assert store.redis.ask(("EXISTS", INDEX)) == 0


def test_a_database_that_was_made_by_a_newer_program_meanwhile_is_refused(opened: Open) -> None:
    database = opened()
    with pytest.raises(DatabaseNotReady):
        database.read("session-1")
    other = opened()
    other.create_schema()
    run(other, "UPDATE checkoutctl_schema SET version = 99")
    with pytest.raises(SchemaTooNew):
        database.read("session-1")


# PostgreSQL's roles


def test_a_role_that_may_not_read_the_record_is_denied_with_the_grant_which_helps(
    postgres_role: str, postgres_url: str, settings: Settings
) -> None:
    """What nobody lets us read cannot tell that the tables are ours."""
    with closing(DatabaseAdmin(replace(settings, database_url=postgres_url, database_timeout=10.0))) as owner:
        make_version_one(owner)
        run(owner, "GRANT SELECT, INSERT, UPDATE, DELETE ON checkoutctl_sessions TO shop")
        with closing(DatabaseAdmin(replace(settings, database_url=postgres_role))) as shop:
            with pytest.raises(DatabaseDenied, match="checkoutctl_schema") as refusal:
                shop.read("session-1")
            run(owner, refusal.value.hint)
            assert shop.read("session-1") == SESSIONS[1]
