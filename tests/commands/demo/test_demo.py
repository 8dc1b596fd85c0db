from __future__ import annotations

import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkout_cli.commands.demo import demo
from checkout_cli.commands.demo.data import Outcome, invented_sessions, legacy_session
from checkout_cli.commands.demo.demo import (
    CommandEnded,
    CommandStarted,
    Demonstration,
    ServerKilled,
    ServerStarted,
    SessionsWritten,
)
from checkout_cli.config.settings import Settings
from checkout_cli.errors import ExitCode
from checkout_cli.session import check_fields
from checkout_cli.store.checkout_store import CheckoutStore

FEW = {Outcome.BROWSING: 6, Outcome.PAID: 3, Outcome.FAILED: 1, Outcome.ENDING: 1, Outcome.EXPIRED: 2}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demonstration's temporary directory will be."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


@pytest.fixture
def quick(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Demonstration]:
    """A small demonstration whose commands do nothing and end as they should."""

    def run(self: Demonstration, *arguments: str, expected: ExitCode = ExitCode.OK) -> Iterator[demo.Event]:
        yield CommandStarted(arguments)
        ended = CommandEnded(arguments, int(expected), expected)
        if arguments[:2] == ("sessions", "update"):
            with CheckoutStore.open(self._settings(self._server.port)) as store:
                store.update(arguments[2], dict([arguments[4].split("=")]))
        yield ended

    monkeypatch.setattr(Demonstration, "_run", run)
    with Demonstration(fast=True, numbers=FEW, chance=random.Random(7)) as demonstration:
        yield demonstration


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_acknowledged_write_is_there_after_the_crash(quick: Demonstration) -> None:
    events = list(quick.events())
    assert quick.verdict is not None
    assert quick.verdict.passed
    open_ones = 6 + 1
    changed = [event.number for event in events if isinstance(event, demo.ChangedMeanwhile)]
    assert changed == [open_ones]
    paid_and_failed = 4
    written = 11 + paid_and_failed + 1  # created, moved on, and the one by an older program
    assert quick.verdict.acknowledged == written + 1 + open_ones
    assert quick.verdict.sessions == 12
    assert quick.verdict.expired == 2


def test_the_server_is_really_killed_and_comes_back_on_its_port(quick: Demonstration) -> None:
    first: ServerStarted | None = None
    for event in quick.events():
        if isinstance(event, ServerStarted) and first is None:
            first = event
        elif isinstance(event, ServerKilled):
            assert not alive(event.pid)
        elif isinstance(event, ServerStarted):
            assert first is not None
            assert (event.port, event.directory) == (first.port, first.directory)
            assert event.pid != first.pid


def test_a_lost_session_fails_the_check(quick: Demonstration) -> None:
    gone = ""
    for event in quick.events():
        if isinstance(event, ServerStarted) and event.again:
            gone = next(iter(quick._promises))
            with CheckoutStore.open(quick._settings(event.port)) as store:
                store.delete(gone)
    assert quick.verdict is not None
    assert quick.verdict.lost == (gone,)
    assert not quick.verdict.passed


def test_a_session_that_lost_one_field_fails_the_check(quick: Demonstration) -> None:
    changed = ""
    for event in quick.events():
        if isinstance(event, ServerStarted) and event.again:
            changed = next(iter(quick._promises))
            promise = quick._promises[changed]
            promise.fields["totalAmount"] += 1
    assert quick.verdict is not None
    assert quick.verdict.lost == (changed,)


def test_a_command_that_ends_otherwise_than_it_should_fails_the_check(place: Path) -> None:
    with Demonstration(fast=True, numbers=FEW) as demonstration:
        events = demonstration.events()
        for event in events:
            if isinstance(event, SessionsWritten):
                break
        (_, ended) = demonstration._run("no-such-command")
    assert isinstance(ended, CommandEnded)
    assert ended.exit_code == ExitCode.USAGE
    assert demonstration._unexpected == [ended]


def test_nothing_is_left_behind(place: Path) -> None:
    pid = 0
    with Demonstration(fast=True, numbers=FEW) as demonstration:
        for event in demonstration.events():
            if isinstance(event, ServerStarted):
                pid = event.pid
                assert alive(pid)
                assert list(place.iterdir())
                break
    assert not alive(pid)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_leaves_nothing_behind(place: Path, number: int) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
    pid = 0
    with pytest.raises(KeyboardInterrupt), Demonstration(numbers=FEW) as demonstration:  # noqa: PT012
        for event in demonstration.events():
            if isinstance(event, ServerStarted):
                pid = event.pid
                signal.raise_signal(number)
    assert not alive(pid)
    assert list(place.iterdir()) == []
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)) == before


def test_commands_see_no_setting_of_the_user(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "of-production")
    monkeypatch.setenv("REDIS_HOST", "production.example.com")
    monkeypatch.setenv("LANG", "C.UTF-8")
    environment = demo._environment(Settings(redis_port=1234, database_url="sqlite:////tmp/x.db"))
    assert "REDIS_PASSWORD" not in environment
    assert environment["REDIS_HOST"] == "localhost"
    assert environment["REDIS_PORT"] == "1234"
    assert environment["LANG"] == "C.UTF-8"


def test_kept_servers_wait_for_the_interrupt(quick: Demonstration) -> None:
    quick._keep = True
    for event in quick.events():
        if isinstance(event, demo.Verdict):
            assert set(event.environment or ()) == {"REDIS_HOST", "REDIS_PORT", "DATABASE_URL"}
            threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
            waited = time.monotonic()
    assert 0.2 < time.monotonic() - waited < 5


def test_invented_sessions_are_the_same_for_the_same_seed() -> None:
    now = 1_700_000_000_000
    once, again = (invented_sessions(FEW, random.Random(1), now) for _ in range(2))
    assert once == again
    assert invented_sessions(FEW, random.Random(2), now) != once


def test_invented_sessions_add_up_and_can_be_stored() -> None:
    now = 1_700_000_000_000
    sessions = invented_sessions(dict.fromkeys(Outcome, 20), random.Random(1), now)
    for session in sessions:
        fields = session.fields
        check_fields(fields)
        assert fields["totalAmount"] == pytest.approx(
            fields["subtotal"] - fields["discount"] + fields["deliveryFee"], abs=0.001
        )
        assert fields["subtotal"] == pytest.approx(sum(item["total_price"] for item in fields["items"]), abs=0.001)
    created = [session.fields["createdAt"] for session in sessions]
    assert [session.life for session in sessions] == sorted(session.life for session in sessions)
    assert created[0] < created[-1]


def test_a_legacy_session_has_no_version_and_ends_after_half_an_hour() -> None:
    checkout_id, fields = legacy_session(random.Random(1), 1_700_000_000_000)
    assert "version" not in fields
    assert fields["checkoutId"] == checkout_id
    assert (fields["createdAt"], fields["expiresAt"]) == ("2023-11-14T22:13:20.000Z", "2023-11-14T22:43:20.000Z")
