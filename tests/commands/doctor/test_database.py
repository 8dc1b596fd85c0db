"""The database's checks: its tables, and the room on its disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from checkout_cli.checks import Status
from checkout_cli.servers.machine import Room
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.doctoring import FakeMachine, finding

GIB = 1 << 30


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_database_that_lacks_some_of_its_tables_is_critical_until_they_are_made(
    dialect: str, store: CheckoutStore, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    settings = store.settings
    if dialect == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
        settings = replace(settings, database_url=url.replace("postgresql://", "postgresql+psycopg://"))
    with CheckoutStore.open(settings) as own:
        own.database.create_schema()
        assert finding(settings, "database", tmp_path).status is Status.OK
        with own.database.transaction() as connection:
            connection.execute(text("DROP TABLE checkoutctl_conflicts"))
        found = finding(settings, "database", tmp_path)
        assert (found.status, found.fix) == (Status.CRIT, "checkoutctl setup")
        own.database.create_schema()
    assert finding(settings, "database", tmp_path).status is Status.OK


@pytest.mark.parametrize(
    ("total", "free", "status"),
    [
        (4000 * GIB, 100 * GIB, Status.OK),  # little of it, and plenty
        (100 * GIB, 6 * GIB, Status.OK),
        (100 * GIB, 4 * GIB, Status.WARN),
        (1 * GIB, GIB // 4, Status.OK),
        (100 * GIB, GIB // 16, Status.CRIT),
        (100 * GIB, 0, Status.CRIT),
    ],
)
def test_the_room_on_a_disk_is_judged_by_its_share_and_by_what_is_plenty(
    store: CheckoutStore, tmp_path: Path, total: int, free: int, status: Status
) -> None:
    machine = FakeMachine(tmp_path / "machine")
    machine.disk = Room(total, free)
    found = finding(store.settings, "database-space", tmp_path, machine=machine)
    assert (found.status, found.numbers["diskFreeBytes"]) == (status, free)


def test_holes_in_the_file_are_told_with_the_command_that_closes_them(
    store: CheckoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("checkout_cli.commands.doctor.database.WORTH_A_WORD", 100_000)
    machine = FakeMachine(tmp_path / "machine")

    def look() -> Status:
        return finding(store.settings, "database-space", tmp_path, machine=machine).status

    with store.database.transaction() as connection:
        connection.execute(text("CREATE TABLE ballast AS SELECT zeroblob(1000000) AS filling"))
    assert look() is Status.OK
    with store.database.transaction() as connection:
        connection.execute(text("DROP TABLE ballast"))
    assert look() is Status.WARN
