"""The databases that checkoutctl is pointed at: older, newer, read-only, guarded, and the many forms of their URLs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from checkout_cli.config.settings import Settings
from checkout_cli.keys import INDEX
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database import migrations as schema_version
from checkout_cli.store.database import schema
from checkout_cli.store.database import tier as database_tier
from checkout_cli.store.database.own_tables import OwnTables
from tests.support.in_process import Outcome, run_here
from tests.support.proxy import proxied
from tests.support.servers import PostgresServer, ValkeyServer
from tests.support.stores import make_tables, wait_until

Run = Callable[..., Outcome]
Database = tuple[str, Callable[[Sequence[str]], None]]

OLDER = ("UPDATE checkoutctl_schema SET version = 1", "DROP INDEX checkoutctl_sessions_buried")
NEWER = ("UPDATE checkoutctl_schema SET version = 99",)


@pytest.fixture
def run(settings: Settings, tmp_path: Path) -> Run:
    """Runs a command on the test's Valkey and a database."""
    home = tmp_path / "home"
    home.mkdir()

    def run_it(*arguments: str, url: str, given: str = "", **more: str) -> Outcome:
        environment = {
            "REDIS_HOST": settings.redis_host,
            "REDIS_PORT": str(settings.redis_port),
            "DATABASE_URL": url,
            "HOME": str(home),
            "XDG_STATE_HOME": str(home),
            "PATH": "",
            **more,
        }
        return run_here(arguments, environment, home, given=given)

    return run_it


@pytest.fixture
def database(
    postgres_server: PostgresServer, postgres_url: str, settings: Settings
) -> tuple[str, Callable[[Sequence[str]], None]]:
    """The URL of a database with a session, and a way to change it as its owner."""
    with CheckoutStore.open(replace(settings, database_url=postgres_url, database_timeout=10.0)) as store:
        make_tables(store.database)
        store.create({}, checkout_id="living-0001")

    def change(statements: Sequence[str]) -> None:
        for statement in statements:
            postgres_server.execute(statement, database=postgres_url)

    return postgres_url, change


def one_line(outcome: Outcome) -> str:
    """The answer of a command that does nothing: an error, perhaps a hint, and what to type."""
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    lines = outcome.err.splitlines()
    assert [line.split(":")[0].strip() for line in lines] in (["error", "next"], ["error", "hint", "next"])
    return outcome.err


# Older and newer


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program whose tables are of version 2."""
    monkeypatch.setattr(schema, "VERSION", 2)
    monkeypatch.setattr(schema_version, "STEPS", (schema_version.Step(2, lambda _: None),))


@pytest.mark.usefixtures("later")
def test_an_older_schema_serves_and_is_told_of_until_setup_has_upgraded_it(run: Run, database: Database) -> None:
    url, change = database
    change(OLDER)
    health = run("health", "--json", url=url)
    told = json.loads(health.out)["database"]
    assert (health.code, told["connected"], told["hint"]) == (0, True, "checkoutctl setup")
    assert "version 1" in told["advice"]
    assert "version 1" in run("health", url=url).out
    doctor = json.loads(run("doctor", "--only", "database", "--json", url=url).out)
    (found,) = [check for check in doctor["checks"] if check["id"] == "database"]
    assert (found["status"], found["fix"]) == ("warn", "checkoutctl setup")
    looked = run("setup", "--check", url=url)
    assert looked.code == 1
    assert "version 1" in looked.out
    assert run("sessions", "show", "living-0001", url=url).code == 0
    done = run("setup", "--yes", url=url)
    assert done.code == 0
    assert "upgraded from version 1 to 2" in done.out
    for command in (("setup", "--check"), ("health",), ("doctor", "--only", "database")):
        assert "version 1" not in run(*command, url=url).out
    assert run("sessions", "show", "living-0001", url=url).code == 0


@pytest.mark.parametrize(
    "command",
    [
        ("sessions", "list"),
        ("sessions", "create", "--file", "-"),
        ("sessions", "update", "living-0001", "--set", "notes=x"),
        ("sessions", "delete", "living-0001", "--yes"),
        ("cleanup", "--expired"),
        ("sync",),
    ],
    ids=" ".join,
)
def test_a_newer_schema_is_refused_in_one_line(command: tuple[str, ...], database: Database, run: Run) -> None:
    url, change = database
    change(NEWER)
    refused = run(*command, url=url, given="{}")
    said = one_line(refused)
    assert refused.code == 78
    assert "version 99" in said
    assert "upgrade checkoutctl" in said


def test_health_doctor_and_setup_say_that_a_schema_is_newer(database: Database, run: Run) -> None:
    url, change = database
    change(NEWER)
    health = run("health", "--json", url=url)
    assert health.code == 78
    assert "version 99" in json.loads(health.out)["database"]["error"]
    for command, code in ((("setup", "--check"), 78), (("setup", "--yes"), 78), (("doctor", "--only", "database"), 1)):
        told = run(*command, url=url)
        assert (told.code, "version 99" in told.out) == (code, True), told
        assert "upgrade checkoutctl" in told.out.replace("\n", " ")


def test_a_cleanup_leaves_redis_alone_where_the_database_is_newer(
    database: Database, run: Run, valkey: ValkeyServer
) -> None:
    url, change = database
    with valkey.client() as client:
        client.delete(INDEX)
        client.sadd(INDEX, "leaked-001")  # which a clean-up would remove
        change(NEWER)
        assert run("cleanup", "--expired", url=url).code == 78
        assert client.smembers(INDEX) == {b"leaked-001"}
        change((f"UPDATE checkoutctl_schema SET version = {schema.VERSION}",))  # noqa: S608  (a number of ours)
        assert run("cleanup", "--expired", url=url).code == 0
        assert client.type(INDEX) != b"set"


# The shop's own tables in the same database


SHOPS = "CREATE TABLE {} (checkout_id varchar UNIQUE, user_id varchar, items jsonb, expires_at timestamptz)"
WAY_OUT = "CHECKOUT_DATABASE_SCHEMA=checkoutctl checkoutctl setup"


@pytest.fixture
def foreign(postgres_url: str, postgres_server: PostgresServer) -> Iterator[str]:
    """A database in which the shop has a table of our name, with a lock: whatever reaches it waits, and fails."""
    import psycopg

    postgres_server.execute(SHOPS.format("checkoutctl_sessions"), database=postgres_url)
    with psycopg.connect(postgres_url) as shop:
        shop.execute("LOCK TABLE checkoutctl_sessions IN ACCESS EXCLUSIVE MODE")
        yield postgres_url


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("setup", "--check"), 78),
        (("setup", "--yes"), 78),
        (("health",), 78),
        (("doctor", "--only", "database"), 1),
        (("cleanup", "--expired"), 78),
        (("cleanup", "--expired", "--dry-run"), 78),
        (("migrate", "plan"), 78),
        (("migrate", "run"), 78),
        (("sync",), 78),
        (("sessions", "list"), 78),
        (("sessions", "create", "--file", "-"), 78),
        (("sessions", "delete", "living-0001", "--yes"), 78),
        (("stats", "--by", "status"), 78),
        (("bench",), 78),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_table_of_our_name_that_the_shop_made_is_told_with_the_way_out_and_never_touched(
    command: tuple[str, ...], code: int, foreign: str, run: Run
) -> None:
    told = run(*command, url=foreign, given="{}")
    said = " ".join((told.out + told.err).split())
    assert (told.code, "Traceback" in said) == (code, False), told
    assert "has a table public.checkoutctl_sessions that this program did not make" in said
    assert WAY_OUT in said
    assert "timeout" not in said


def test_a_command_that_took_the_shops_table_for_ours_would_wait_for_it(
    foreign: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_tier, "own_tables", lambda _: OwnTables(schema.VERSION, frozenset()))
    told = run("sessions", "list", "--tier", "database", url=foreign, CHECKOUT_DATABASE_TIMEOUT="0.2")
    assert told.code == 75
    assert "timeout" in told.err


def test_the_way_out_works_when_typed_and_is_remembered(foreign: str, run: Run) -> None:
    variable, value = WAY_OUT.split(maxsplit=1)[0].split("=")
    done = run("setup", "--yes", url=foreign, **{variable: value})
    assert done.code == 0, done
    assert run("health", url=foreign).code == 0
    assert run("sessions", "create", "--file", "-", url=foreign, given="{}").code == 0
    assert json.loads(run("cleanup", "--expired", "--json", url=foreign).out)["finished"]


def test_the_shops_own_table_of_sessions_is_no_obstacle(
    postgres_url: str, postgres_server: PostgresServer, run: Run
) -> None:
    import psycopg

    postgres_server.execute(SHOPS.format("checkout_sessions"), database=postgres_url)
    with psycopg.connect(postgres_url) as shop:
        shop.execute("LOCK TABLE checkout_sessions IN ACCESS EXCLUSIVE MODE")
        assert "no checkout tables yet" in run("setup", "--check", url=postgres_url).out
        assert run("setup", "--yes", url=postgres_url).code == 0
        for command in (("setup", "--check"), ("health",), ("cleanup", "--expired"), ("migrate", "plan"), ("sync",)):
            assert run(*command, url=postgres_url).code == 0


# A schema of our own


def test_a_role_that_may_not_make_the_schema_is_told_the_statements_which_help(
    postgres_role: str, postgres_url: str, run: Run, postgres_server: PostgresServer
) -> None:
    code, line = setup_says(run("setup", "--yes", url=postgres_role, CHECKOUT_DATABASE_SCHEMA="order"))
    statements = 'CREATE SCHEMA "order"; GRANT USAGE, CREATE ON SCHEMA "order" TO shop'
    assert code == 4
    assert statements in line
    postgres_server.execute(statements, database=postgres_url)
    assert run("setup", "--yes", url=postgres_role, CHECKOUT_DATABASE_SCHEMA="order").code == 0
    assert run("health", url=postgres_role).code == 0


def test_a_grant_names_the_schema(
    postgres_role: str, postgres_url: str, run: Run, postgres_server: PostgresServer
) -> None:
    assert run("setup", "--yes", url=postgres_url, CHECKOUT_DATABASE_SCHEMA="apart").code == 0
    for grant in (
        "GRANT USAGE, CREATE ON SCHEMA apart TO shop",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA apart TO shop",
    ):
        refused = run("sessions", "list", url=postgres_role)
        assert refused.code == 4
        assert grant in one_line(refused)
        postgres_server.execute(grant, database=postgres_url)
    assert run("sessions", "list", url=postgres_role).code == 0


def test_sqlite_has_no_schemas(run: Run, tmp_path: Path) -> None:
    refused = run("sessions", "list", url=f"sqlite:///{tmp_path / 'checkout.db'}", CHECKOUT_DATABASE_SCHEMA="shop")
    assert refused.code == 78
    assert "CHECKOUT_DATABASE_SCHEMA SQLite has no schemas" in one_line(refused)


# What PostgreSQL refuses


@contextmanager
def demanding_a_password(server: PostgresServer, url: str) -> Iterator[None]:
    """For the block, the role of a URL must give its password; the tests' PostgreSQL believes everybody else."""
    import psycopg

    file = server.directory / "pg_hba.conf"
    before = file.read_text()

    def believed() -> bool:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            return False
        return True

    file.write_text(f"local all {make_url(url).username} scram-sha-256\n{before}")
    server.execute("SELECT pg_reload_conf()")
    wait_until(lambda: not believed())
    try:
        yield
    finally:
        file.write_text(before)
        server.execute("SELECT pg_reload_conf()")
        wait_until(believed)


def setup_says(outcome: Outcome) -> tuple[int, str]:
    """The exit code, and what the database's check says together with its fix."""
    assert "Traceback" not in outcome.err + outcome.out
    _, _, answer = outcome.out.partition("\ndatabase ")
    said, _, _ = answer.partition("\nprobe redis")
    return outcome.code, said


def test_a_role_that_may_not_create_is_told_the_grant_which_helps(
    postgres_role: str, postgres_url: str, run: Run, postgres_server: PostgresServer
) -> None:
    code, line = setup_says(run("setup", "--yes", url=postgres_role))
    grant = "GRANT USAGE, CREATE ON SCHEMA public TO shop"
    assert code == 4
    assert grant in line
    postgres_server.execute(grant, database=postgres_url)
    assert run("setup", "--yes", url=postgres_role).code == 0


def test_a_role_without_a_right_on_the_tables_is_told_the_grant_which_helps(
    postgres_role: str, database: Database, run: Run
) -> None:
    _, change = database
    refused = run("sessions", "update", "living-0001", "--set", "notes=x", url=postgres_role)
    grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO shop"
    assert refused.code == 4
    assert grant in one_line(refused)
    change([grant])
    assert run("sessions", "update", "living-0001", "--set", "notes=x", url=postgres_role).code == 0


@pytest.mark.usefixtures("later")
def test_an_upgrade_by_a_role_that_owns_nothing_says_who_can(postgres_role: str, database: Database, run: Run) -> None:
    _, change = database
    change([*OLDER, "GRANT USAGE, CREATE ON SCHEMA public TO shop", "GRANT ALL ON ALL TABLES IN SCHEMA public TO shop"])
    code, line = setup_says(run("setup", "--yes", url=postgres_role))
    assert code == 4
    assert "the role that owns the tables" in line


def test_a_wrong_password_is_denied(
    postgres_role: str, postgres_url: str, run: Run, postgres_server: PostgresServer, database: Database
) -> None:
    postgres_server.execute("ALTER ROLE shop PASSWORD 'right'")
    postgres_server.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO shop", database=postgres_url)
    with demanding_a_password(postgres_server, postgres_role):
        for word in ("canary", ""):
            refused = run("sessions", "list", url=postgres_role.replace("//shop@", f"//shop:{word}@"))
            assert refused.code == 4
            assert "refuses the user or password" in one_line(refused)
            assert "canary" not in refused.err
        assert run("sessions", "list", url=postgres_role.replace("//shop@", "//shop:right@")).code == 0


def test_a_database_that_is_read_only_is_read_and_refuses_writes(
    database: Database, run: Run, postgres_server: PostgresServer
) -> None:
    url, _ = database
    name = make_url(url).database
    postgres_server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert run("sessions", "list", url=url).code == 0
    assert "schema there" in setup_says(run("setup", "--yes", url=url))[1]
    deleted = run("sessions", "delete", "living-0001", "--yes", url=url)
    assert (deleted.code, "is read-only" in deleted.err) == (69, True), deleted


def test_an_empty_read_only_database_cannot_be_set_up(
    postgres_url: str, run: Run, postgres_server: PostgresServer
) -> None:
    name = make_url(postgres_url).database
    postgres_server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    code, line = setup_says(run("setup", "--yes", url=postgres_url))
    assert code == 1
    assert "is read-only" in line


def test_a_database_that_is_missing_is_told_with_the_command_that_makes_it(postgres_url: str, run: Run) -> None:
    refused = run("sessions", "list", url=postgres_url.replace("/checkout_", "/nowhere_"))
    assert refused.code == 78
    assert "createdb nowhere_" in one_line(refused)


# Forms of the URL


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_sockets_and_tcp_serve(scheme: str, database: Database, run: Run) -> None:
    url = f"{scheme}://{database[0].partition('://')[2]}"
    assert "living-0001" in run("sessions", "list", "--tier", "database", "--output", "ids", url=url).out
    with proxied(database[0]) as through:
        for mode in ("disable", "prefer", "allow"):
            url = f"{scheme}://{through.proxied_url.partition('://')[2]}".replace("sslmode=disable", f"sslmode={mode}")
            assert "living-0001" in run("sessions", "list", "--tier", "database", "--output", "ids", url=url).out


@pytest.mark.parametrize(
    ("query", "evidence"),
    [
        ("sslmode=require", "does not support SSL"),
        ("sslmode=verify-full", "certificate"),
        ("sslmode=canary", "sslmode"),
        ("nonsense=1", "nonsense"),
    ],
)
def test_tls_that_cannot_be_had_is_a_wrong_setting(query: str, evidence: str, postgres_url: str, run: Run) -> None:
    with proxied(postgres_url) as through:
        refused = run("sessions", "list", url=through.proxied_url.replace("sslmode=disable", query))
    assert refused.code == 78
    assert evidence in one_line(refused)


def test_options_of_the_url_are_kept(postgres_url: str, run: Run, postgres_server: PostgresServer) -> None:
    postgres_server.execute("CREATE SCHEMA shop", database=postgres_url)
    url = f"{postgres_url}&options=-csearch_path%3Dshop"
    assert run("setup", "--yes", url=url).code == 0
    postgres_server.execute("SELECT 1 FROM shop.checkoutctl_sessions", database=postgres_url)
