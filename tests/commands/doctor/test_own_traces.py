"""What our own commands do is no finding; the same by anybody else is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from checkout_cli.checks import Status
from checkout_cli.files.own_traces import is_extended, monitors_since, note_extension, note_monitor
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl
from tests.support.doctoring import finding
from tests.support.servers import ValkeyServer

STATE = Path(".local") / "state" / "checkoutctl"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where ``finding`` keeps its state, which the commands of these tests use too."""
    there = tmp_path / "state"
    (tmp_path / STATE).parent.mkdir(parents=True)
    (tmp_path / STATE).symlink_to(there)
    there.mkdir()
    return there


def test_our_own_monitor_is_no_finding_and_anybody_elses_is(
    valkey_server: Callable[..., ValkeyServer],
    store: CheckoutStore,
    checkoutctl: Checkoutctl,
    tmp_path: Path,
    state: Path,
) -> None:
    server = valkey_server()
    settings = replace(store.settings, redis_port=server.port)
    for _ in range(2):
        assert checkoutctl("monitor", "--seconds", "0.1", env={"REDIS_PORT": str(server.port)}).returncode == 0
        assert finding(settings, "blocking-commands", tmp_path).status is Status.OK
    with server.client() as client, client.monitor():
        pass
    found = finding(settings, "blocking-commands", tmp_path)
    assert (found.status, found.numbers) == (Status.WARN, {"MONITOR": 1})


def test_an_extended_session_is_no_finding_and_one_that_lives_as_long_is(
    store: CheckoutStore, checkoutctl: Checkoutctl, tmp_path: Path, state: Path
) -> None:
    store.create({}, checkout_id="extended-1")
    assert checkoutctl("sessions", "extend", "extended-1", "--by", "3h").returncode == 0
    assert finding(store.settings, "session-ttl", tmp_path).status is Status.OK
    store.create({}, checkout_id="foreign-01")
    store.redis.ask(("EXPIRE", "checkout:session:foreign-01", 14_000))
    assert finding(store.settings, "session-ttl", tmp_path).numbers["tooLong"] == 1
    store.redis.ask(("EXPIRE", "checkout:session:extended-1", 86_000))  # longer than it was extended
    assert finding(store.settings, "session-ttl", tmp_path).numbers["tooLong"] == 2


def test_what_is_noted_is_of_its_server_and_its_moment(tmp_path: Path) -> None:
    note_monitor("a:1", 1000, tmp_path)
    note_monitor("a:1", 2000, tmp_path)
    note_monitor("b:1", 3000, tmp_path)
    assert [monitors_since("a:1", moment, tmp_path) for moment in (0, 1500, 2500)] == [2, 1, 0]
    note_extension("one", 0, 500_000, tmp_path)
    assert is_extended("one", 500_000, tmp_path)
    assert not is_extended("one", 600_000, tmp_path)
    assert not is_extended("other", 1, tmp_path)
