"""Databases are shared: a table of our names that is somebody else's is refused, and no statement reaches it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, String, Table, create_engine, event, inspect, make_url, text
from sqlalchemy.engine import Connection, Engine

from checkout_cli.config.settings import Settings
from checkout_cli.errors import DatabaseNotReady, DatabaseUnavailable, ForeignTable
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database import admin as database_admin
from checkout_cli.store.database import migrations as schema_version
from checkout_cli.store.database import schema
from checkout_cli.store.database import tier as database_tier
from checkout_cli.store.database.admin import DatabaseAdmin
from checkout_cli.store.database.own_tables import Found, OwnTables, lacking_columns
from checkout_cli.store.database.schema import metadata
from checkout_cli.store.records import Record

NOW = 1_800_000_000_000
SESSION = Record("session-1", 1, b'{"a":1}', NOW, NOW + 1000)
CHANGED = Record("session-1", 2, b'{"a":2}', NOW, NOW + 1000)

SESSIONS = (
    "CREATE TABLE checkoutctl_sessions (checkout_id varchar unique, user_id varchar, items text, expires_at timestamp)",
    "INSERT INTO checkoutctl_sessions (checkout_id, user_id) VALUES ('theirs', 'user-1')",
)
"""A table for sessions as a shop makes it for itself, under our name."""
RECORD_LIKE_OURS = "CREATE TABLE checkoutctl_schema (program varchar(32) PRIMARY KEY, version integer NOT NULL)"

BESIDE_NOTHING: dict[str, tuple[str, tuple[str, ...]]] = {
    "a table of the shop": ("checkoutctl_sessions", SESSIONS),
    "a view of the shop": (
        "checkoutctl_totals",
        ("CREATE VIEW checkoutctl_totals AS SELECT 'a' AS name, 1 AS number",),
    ),
    "a record of other columns": (
        "checkoutctl_schema",
        (*SESSIONS, "CREATE TABLE checkoutctl_schema (version integer)"),
    ),
    "a record of another type": (
        "checkoutctl_schema",
        (*SESSIONS, "CREATE TABLE checkoutctl_schema (program integer, version integer)"),
    ),
    "a record of another program": (
        "checkoutctl_schema",
        (*SESSIONS, RECORD_LIKE_OURS, "INSERT INTO checkoutctl_schema VALUES ('another', 1)"),
    ),
    "an empty record": ("checkoutctl_schema", (*SESSIONS, RECORD_LIKE_OURS)),
}
BESIDE_OURS: dict[str, tuple[str, tuple[str, ...]]] = {
    "our record removed": ("checkoutctl_sessions", ("DROP TABLE checkoutctl_schema",)),
    "one of ours replaced": ("checkoutctl_sessions", ("DROP TABLE checkoutctl_sessions", *SESSIONS)),
    "one of ours with a column of another type": (
        "checkoutctl_locks",
        (
            "DROP TABLE checkoutctl_locks",
            "CREATE TABLE checkoutctl_locks (job varchar(64), owner varchar(256), expires_at timestamp)",
        ),
    ),
}
"""What makes a table somebody else's, and which one: in a database without any of ours, and in one with all of them."""

ATTEMPTS: dict[str, Callable[[DatabaseAdmin], Any]] = {
    "ping": lambda tier: tier.ping(),
    "read": lambda tier: tier.read("session-1"),
    "read_many": lambda tier: tier.read_many(["session-1"]),
    "insert": lambda tier: tier.insert(SESSION, now=NOW, write_id="w"),
    "update": lambda tier: tier.update(CHANGED, seen=1, now=NOW, write_id="w"),
    "delete": lambda tier: tier.delete("session-1", seen=1, now=NOW, write_id="w"),
    "pending": lambda tier: tier.pending(10),
    "note_published": lambda tier: tier.note_published({"session-1": 1}),
    "newest": lambda tier: list(tier.newest()),
    "count": lambda tier: tier.count(NOW),
    "totals": lambda tier: tier.totals(),
    "purge": lambda tier: tier.purge(["session-1"], NOW),
    "purge_tombstones": lambda tier: tier.purge_tombstones(NOW, 10),
    "lock": lambda tier: tier.lock("cleanup", "us", now=NOW, until=NOW + 1),
    "check_schema": lambda tier: tier.check_schema(),
    "schema_present": lambda tier: tier.schema_present(),
    "upgrade_schema": lambda tier: tier.upgrade_schema(),
}


@pytest.fixture(params=["SQLite", "PostgreSQL", "a schema of PostgreSQL"])
def place(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    if request.param == "SQLite":
        return settings
    named = "" if request.param == "PostgreSQL" else "shop"
    return replace(settings, database_url=request.getfixturevalue("postgres_url"), database_schema=named)


@pytest.fixture
def tier(place: Settings) -> Iterator[Callable[[], DatabaseAdmin]]:
    """Opens tiers on the database, each as good as another process."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(DatabaseAdmin(place)))


@pytest.fixture
def shop(place: Settings) -> Iterator[Callable[..., None]]:
    """Runs statements as the shop, which works in the same schema."""
    url = make_url(place.database_url)
    engine = create_engine(url if place.database_url.startswith("sqlite") else url.set(drivername="postgresql+psycopg"))

    def run(*statements: str) -> None:
        with engine.begin() as connection:
            if place.database_schema:
                connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {place.database_schema}"))
                connection.execute(text(f"SET LOCAL search_path = {place.database_schema}"))
            for statement in statements:
                connection.execute(text(statement))

    yield run
    engine.dispose()


@contextmanager
def statements_on(*tables: str) -> Iterator[list[str]]:
    """For the block: all statements, of any connection, that name one of the tables."""
    found: list[str] = []

    def note(_connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if any(table in statement for table in tables):
            found.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def untouchable(whose: str) -> list[str]:
    """All our names, but not that of a record that has our very columns: only a look at it tells whose it is."""
    readable = whose in {"a record of another program", "an empty record", *BESIDE_OURS} - {"our record removed"}
    return [name for name in metadata.tables if name != "checkoutctl_schema" or not readable]


def make(whose: str, tier: Callable[[], DatabaseAdmin], shop: Callable[..., None]) -> str:
    """Bring the database into a state, and name the table that is not ours."""
    if whose in BESIDE_OURS:
        tier().create_schema()
    table, statements = {**BESIDE_NOTHING, **BESIDE_OURS}[whose]
    shop(*statements)
    return table


@pytest.mark.parametrize("whose", [*BESIDE_NOTHING, *BESIDE_OURS])
def test_a_table_of_somebody_else_is_named_with_the_way_out_and_never_touched(
    whose: str, tier: Callable[[], DatabaseAdmin], shop: Callable[..., None]
) -> None:
    table = make(whose, tier, shop)
    with statements_on(*untouchable(whose)) as touched:
        for attempt in ATTEMPTS.values():
            with pytest.raises(
                ForeignTable, match=rf"has a table (\w+\.)?{table} that this program did not make"
            ) as no:
                attempt(tier())
            assert no.value.exit_code == 78
            assert no.value.hint.endswith(" checkoutctl setup")
    assert touched == []


def test_a_store_reaches_no_table_of_somebody_else(
    place: Settings, tier: Callable[[], DatabaseAdmin], shop: Callable[..., None]
) -> None:
    make("a table of the shop", tier, shop)
    with CheckoutStore.open(place) as store, statements_on("checkoutctl_sessions") as touched:
        for attempt in (
            lambda: store.create({}, checkout_id="session-1"),
            lambda: store.get("session-2"),
            lambda: store.update("session-3", {"notes": "x"}),
            lambda: store.delete("session-4"),
        ):
            with pytest.raises(ForeignTable):
                attempt()
    assert touched == []


@pytest.mark.parametrize("attempt", sorted(ATTEMPTS.keys() - {"check_schema", "schema_present", "lock", "totals"}))
def test_without_the_look_at_the_record_somebody_elses_table_would_be_touched(
    attempt: str, tier: Callable[[], DatabaseAdmin], shop: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    make("a table of the shop", tier, shop)
    believing = OwnTables(schema.VERSION, frozenset({"checkoutctl_totals"}))
    monkeypatch.setattr(database_tier, "own_tables", lambda _: believing)
    monkeypatch.setattr(database_admin, "own_tables", lambda _: believing)
    monkeypatch.setattr(schema_version, "own_tables", lambda _: believing)
    with statements_on("checkoutctl_sessions") as touched, pytest.raises(DatabaseUnavailable):
        ATTEMPTS[attempt](tier())
    assert touched != []


def test_the_shops_table_of_sessions_stands_beside_ours(
    tier: Callable[[], DatabaseAdmin], shop: Callable[..., None]
) -> None:
    shop(*(statement.replace("checkoutctl_sessions", "checkout_sessions") for statement in SESSIONS))
    database = tier()
    with pytest.raises(DatabaseNotReady):
        database.ping()
    with statements_on(" checkout_sessions", ".checkout_sessions") as touched:
        assert database.create_schema()
        for attempt in ATTEMPTS.values():
            attempt(database)
        assert database.schema_present()
    assert touched == []
    shop("UPDATE checkout_sessions SET user_id = 'user-2' WHERE checkout_id = 'theirs'")


def test_a_column_that_somebody_added_leaves_a_table_ours(
    tier: Callable[[], DatabaseAdmin], shop: Callable[..., None]
) -> None:
    tier().create_schema()
    shop("ALTER TABLE checkoutctl_sessions ADD COLUMN remarks varchar(20)")
    assert tier().insert(SESSION, now=NOW, write_id="w")
    assert tier().schema_present()


def test_it_is_looked_at_once_in_the_life_of_a_tier(tier: Callable[[], DatabaseAdmin]) -> None:
    tier().create_schema()
    database = tier()
    with statements_on("") as asked:
        for number in range(3):
            database.read(f"session-{number}")
    looks = ["pg_catalog" in statement or "sqlite_master" in statement for statement in asked if "SELECT" in statement]
    assert looks.count(True) == 1
    assert ["checkoutctl_schema" in statement for statement in asked].count(True) == 1
    assert len([statement for statement in asked if "checkoutctl_sessions" in statement]) == 3


def test_a_tier_serves_as_soon_as_the_table_is_out_of_the_way(
    tier: Callable[[], DatabaseAdmin], shop: Callable[..., None]
) -> None:
    make("a table of the shop", tier, shop)
    database = tier()
    with pytest.raises(ForeignTable):
        database.create_schema()
    shop("ALTER TABLE checkoutctl_sessions RENAME TO theirs")
    assert database.create_schema()
    assert database.insert(SESSION, now=NOW, write_id="w")


def test_a_step_of_a_later_version_excuses_the_column_that_it_adds(tmp_path: Path) -> None:
    later = Table("t", MetaData(), Column("a", String), Column("b", String(9), info={"since": 2}))
    found = Found("t", {"a": "VARCHAR"})
    with create_engine(f"sqlite:///{tmp_path / 'any.db'}").connect() as connection:
        assert lacking_columns(later, found, 1, connection) == []
        assert lacking_columns(later, found, 2, connection) == ["b"]


# The way out


def typed(hint: str, settings: Settings) -> Settings:
    """The settings with what a hint sets before the command."""
    assignment, *command = shlex.split(hint)
    assert command == ["checkoutctl", "setup"]
    environ = {"DATABASE_URL": settings.database_url, "CHECKOUT_DATABASE_SCHEMA": settings.database_schema}
    loaded = Settings.load(environ={**environ, **dict([assignment.split("=", 1)])}, directory=Path("/nowhere"))
    return replace(settings, database_url=loaded.database_url, database_schema=loaded.database_schema)


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_the_way_out_leads_to_tables_of_our_own(
    again: bool, place: Settings, tier: Callable[[], DatabaseAdmin], shop: Callable[..., None]
) -> None:
    """Also where the place that is proposed first is the one that we are in."""
    make("a table of the shop", tier, shop)
    with pytest.raises(ForeignTable) as refusal:
        tier().ping()
    settings = typed(refusal.value.hint, place)
    if again:
        with closing(DatabaseAdmin(settings)) as database:
            database.create_schema()
            with database.transaction() as connection:
                connection.execute(text(f"DROP TABLE {dotted(settings, 'checkoutctl_schema')}"))
        with closing(DatabaseAdmin(settings)) as database, pytest.raises(ForeignTable) as refusal:
            database.ping()
        settings = typed(refusal.value.hint, settings)
    with closing(DatabaseAdmin(settings)) as database:
        assert database.create_schema()
        assert database.insert(SESSION, now=NOW, write_id="w")


def dotted(settings: Settings, table: str) -> str:
    return f"{settings.database_schema}.{table}" if settings.database_schema else table


def test_what_others_have_keeps_its_rows_and_gets_no_index(
    place: Settings, tier: Callable[[], DatabaseAdmin], shop: Callable[..., None]
) -> None:
    make("a table of the shop", tier, shop)
    for attempt in ATTEMPTS.values():
        with pytest.raises(ForeignTable):
            attempt(tier())
    shop("UPDATE checkoutctl_sessions SET user_id = 'user-2'")
    with closing(DatabaseAdmin(place)) as database, database._engine.begin() as connection:
        seen, named = inspect(connection), place.database_schema or None
        assert seen.get_table_names(named) == ["checkoutctl_sessions"]
        assert [index["column_names"] for index in seen.get_indexes("checkoutctl_sessions", named)] in (
            [],
            [["checkout_id"]],  # of its own constraint
        )
        assert len(seen.get_columns("checkoutctl_sessions", named)) == 4
