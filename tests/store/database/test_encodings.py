"""Databases whose encoding is another than UTF-8, and text that a database cannot hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy

from checkout_cli.checks import Status
from checkout_cli.commands.doctor.database import encoding_finding
from checkout_cli.config.settings import Settings
from checkout_cli.errors import NotStorable
from checkout_cli.session import Durability
from checkout_cli.store.database.admin import DatabaseAdmin
from checkout_cli.store.database.inspection import Encodings
from checkout_cli.store.records import Record
from tests.support.command import Checkoutctl
from tests.support.servers import PostgresServer
from tests.support.stores import ManualClock, make_store, make_tables

WIDE = "für 5 € – 東京"
BODY = f'{{"notes":"{WIDE}"}}'.encode()


@pytest.fixture
def encoded(postgres_server: PostgresServer) -> Iterator[Callable[[str], str]]:
    """Makes a database of an encoding."""
    urls: list[str] = []

    def make(encoding: str) -> str:
        urls.append(postgres_server.create_database(f"ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"))
        return urls[-1]

    yield make
    for url in urls:
        postgres_server.drop_database(url)


def tier(url: str) -> DatabaseAdmin:
    return DatabaseAdmin(Settings(database_url=url))


@pytest.mark.parametrize(
    ("encoding", "status"), [("UTF8", Status.OK), ("SQL_ASCII", Status.WARN), ("LATIN1", Status.CRIT)]
)
def test_the_servers_encoding_is_judged_by_what_it_lacks(
    encoded: Callable[[str], str], encoding: str, status: Status
) -> None:
    with closing(tier(encoded(encoding))) as database:
        database.create_schema()
        found = encoding_finding(database)
    assert found is not None
    assert found.status is status
    assert encoding in found.evidence


def test_what_is_sent_must_be_unicode_too(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setattr("checkout_cli.commands.doctor.database.encodings", lambda _: Encodings("UTF8", "SQL_ASCII"))
    with closing(DatabaseAdmin(settings)) as database:
        found = encoding_finding(database)
    assert found is not None
    assert found.status is Status.CRIT


def test_sqlite_holds_every_character(settings: Settings) -> None:
    with closing(DatabaseAdmin(settings)) as database:
        assert encoding_finding(database) is None


@pytest.mark.parametrize("encoding", ["UTF8", "SQL_ASCII"])
@pytest.mark.parametrize("client", ["SQL_ASCII", "LATIN1", ""])
def test_text_comes_back_as_it_was_whatever_the_locale_says(
    encoded: Callable[[str], str], encoding: str, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", client)
    monkeypatch.setenv("LC_ALL", "C")
    with closing(tier(encoded(encoding))) as database:
        database.create_schema()
        database.insert(Record("session-1", 1, BODY, 1, 10**15), now=1, write_id="w")
        record = database.read("session-1")
    assert record is not None
    assert record.body == BODY


@pytest.mark.parametrize("command", [("setup", "--yes"), ("doctor", "--only", "database-encoding")])
def test_the_commands_name_the_encoding_and_the_way_out(
    encoded: Callable[[str], str], checkoutctl: Checkoutctl, command: tuple[str, ...]
) -> None:
    url = encoded("LATIN1")
    with closing(tier(url)) as database:
        database.create_schema()
    done = checkoutctl(*command, env={"DATABASE_URL": url})
    assert done.returncode == 1
    assert "LATIN1" in done.out
    assert "--encoding=UTF8" in done.out


def test_a_session_that_the_database_cannot_hold_stays_in_redis_and_keeps_no_other_back(
    encoded: Callable[[str], str], settings: Settings
) -> None:
    clock = ManualClock()
    settings = replace(settings, database_url=encoded("LATIN1"))
    with closing(make_store(settings, clock)) as store:
        make_tables(store.database)
        written = store.create({"notes": WIDE}, checkout_id="session-wide")
        assert written.durability is Durability.REDIS
        assert store.update("session-wide", {"more": "€"}).durability is Durability.REDIS
        assert store.create({"notes": "für"}, checkout_id="session-narrow").durability is Durability.DATABASE
        clock.advance(6)
        assert store.get("session-narrow").verified
        assert store.get("session-wide").fields["notes"] == WIDE
        assert store.flusher.pending.count() == 1, "it was forgotten"
        assert not store.database.breaker.is_open
        assert store.update("session-wide", {"notes": "5 EUR", "more": ""}).session.fields["notes"] == "5 EUR"
        clock.advance(6)
        assert store.get("session-wide").fields["notes"] == "5 EUR"
        store.publisher.look_around([])
        assert store.flusher.pending.count() == 0, "it could be kept now, and was not"


def test_one_that_it_cannot_hold_does_not_keep_the_next_from_being_flushed(
    encoded: Callable[[str], str], settings: Settings
) -> None:
    settings = replace(settings, database_url=encoded("LATIN1"), durability="redis")
    with closing(make_store(settings, ManualClock())) as store:
        make_tables(store.database)
        for number in range(4):
            store.create({"notes": WIDE if number % 2 else "für"}, checkout_id=f"session-{number}")
        store.publisher.look_around([])
        assert store.flusher.pending.count() == 2
        assert {name for name in map("session-{}".format, range(4)) if store.database.read(name)} == {
            "session-0",
            "session-2",
        }


@pytest.mark.parametrize("text", ["a\0b", "half \ud83d", "x" * 5_000_000], ids=["NUL", "surrogate", "5 MB"])
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_what_no_column_can_hold_is_an_error_of_ours(
    text: str, kind: str, settings: Settings, request: pytest.FixtureRequest
) -> None:
    url = settings.database_url if kind == "sqlite" else request.getfixturevalue("postgres_url")
    with closing(DatabaseAdmin(replace(settings, database_url=url))) as database:
        database.create_schema()
        calls: list[Callable[[], Any]] = [
            lambda: database.lock(text, text, now=1, until=2),
            lambda: database.unlock(text, text),
            lambda: database.matching(text, 5),
            lambda: database.present([text]),
            lambda: database.erase(text),
            lambda: database.note_proofs({"session-1": text}),
        ]
        for call in calls:
            with suppress(NotStorable):  # what one database refuses, another may hold
                call()
        assert not database.breaker.is_open
        assert database.read("session-1") is None


def test_bytes_of_another_program_that_are_no_text_are_an_error_of_ours(
    encoded: Callable[[str], str],
) -> None:
    with closing(tier(encoded("SQL_ASCII"))) as database:
        database.create_schema()
        database.insert(Record("session-1", 1, b"{}", 1, 10**15), now=1, write_id="w")
        with database.transaction() as connection:
            spoilt = "UPDATE checkoutctl_sessions SET body = convert_from('\\xe9'::bytea, 'SQL_ASCII')"
            connection.execute(sqlalchemy.text(spoilt))
        with pytest.raises(NotStorable):
            database.read("session-1")
        assert not database.breaker.is_open
