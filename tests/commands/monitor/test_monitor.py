from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from checkout_cli.commands.monitor import monitor
from checkout_cli.commands.monitor.monitor import Monitor, Seen, Stopped
from checkout_cli.config.settings import Settings
from checkout_cli.errors import CommandDenied, CommandUnknown, InvalidInput, RedisUnavailable
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.cluster import Cluster
from tests.support.odd_servers import OddServer
from tests.support.servers import ValkeyServer
from tests.support.stores import make_tables


@pytest.fixture
def server(valkey_server: Callable[..., ValkeyServer]) -> ValkeyServer:
    return valkey_server()


@pytest.fixture
def mine(server: ValkeyServer, settings: Settings) -> Settings:
    return replace(settings, redis_port=server.port, timeout=5)


def watch(watching: Monitor, *work: Callable[[], object]) -> list[Seen]:
    """What is seen while the work is done, a piece each time that nothing more is there; it ends when all is done."""
    pieces = iter(work)
    seen: list[Seen] = []
    for event in watching.events():
        if event is not None:
            seen.append(event)
            continue
        piece = next(pieces, None)
        if piece is None:
            break
        piece()
    return seen


def watchers(server: ValkeyServer) -> int:
    with server.client() as client:
        return sum("O" in found["flags"] for found in client.client_list())


def test_before_it_begins_it_has_watched_for_no_time() -> None:
    assert Monitor(Settings(), seconds=5).summary().seconds == 0


def test_commands_are_seen_without_their_values(server: ValkeyServer, mine: Settings) -> None:
    with server.client() as client:
        seen = watch(
            Monitor(mine),
            lambda: client.set("checkout:session:1234", 'canary " ] \n 4111111111111111'),
            lambda: client.memory_usage("checkout:session:1234"),
            lambda: None,
        )
    told = {(event.shape.name, event.shape.key, event.shape.others) for event in seen}
    assert {("SET", b"checkout:session:1234", 1), ("MEMORY USAGE", b"checkout:session:1234", 0)} <= told
    assert "canary" not in repr(seen)
    assert all(event.client.startswith("127.0.0.1:") for event in seen)


def test_clients_are_told_with_the_names_that_they_had_or_give_themselves(server: ValkeyServer, mine: Settings) -> None:
    with server.client(client_name="reports") as before, server.client() as later:
        before.ping()

        def named() -> None:
            later.client_setname("late-one")
            later.get("checkout:session:1")

        seen = watch(Monitor(mine, commands=["GET"]), lambda: before.get("checkout:session:2"), named, lambda: None)
        addresses = {found["name"]: found["addr"] for found in before.client_list()}
    assert [(each.client, each.client_name) for each in seen] == [
        (addresses["reports"], "reports"),
        (addresses["late-one"], "late-one"),
    ]


def test_only_what_is_asked_for_is_told_and_all_is_counted(server: ValkeyServer, mine: Settings) -> None:
    watching = Monitor(mine, families=["users"], commands=["get", "CONFIG"])
    with server.client() as client:
        seen = watch(
            watching,
            lambda: client.get("user:session:1"),
            lambda: client.get("checkout:session:1"),
            lambda: client.strlen("user:session:1"),
            lambda: None,
        )
    assert [(event.shape.name, event.shape.key) for event in seen] == [("GET", b"user:session:1")]
    summary = watching.summary()
    assert summary.matched == 1
    assert summary.seen >= 3
    assert [(rate.command, rate.family, rate.count) for rate in summary.rates] == [("GET", "users", 1)]


def test_what_scripts_run_is_not_counted_again(mine: Settings) -> None:
    with CheckoutStore.open(mine) as store:
        make_tables(store.database)
        store.create({}, checkout_id="session-0000")  # what the store needs is asked once
        seen = watch(Monitor(mine), lambda: store.create({}, checkout_id="session-0001"), lambda: None)
    names = [event.shape.name for event in seen]
    assert "EVALSHA publish" in names
    assert "SET" not in names


def test_it_ends_when_enough_was_seen(server: ValkeyServer, mine: Settings) -> None:
    watching = Monitor(mine, count=2, commands=["PING"])
    with server.client() as client:
        seen = watch(watching, *[client.ping] * 5)
    assert len(seen) == 2
    assert watching.summary().stopped is Stopped.COUNT


def test_it_ends_when_its_time_is_up(mine: Settings) -> None:
    ticks: Iterator[float] = (float(number) for number in itertools.count())
    watching = Monitor(mine, seconds=5, elapsed=lambda: next(ticks))
    assert [event for event in watching.events() if event is not None] == []
    assert watching.summary().stopped is Stopped.TIME


def test_it_ends_when_it_falls_behind(server: ValkeyServer, mine: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "MOST_BEHIND", -1.0)  # it is always so late
    watching = Monitor(mine)
    with server.client() as client:
        watch(watching, client.ping, lambda: None, lambda: None)
    assert watching.summary().stopped is Stopped.BEHIND
    assert watchers(server) == 0


def test_no_monitor_is_left_behind_however_it_ends(server: ValkeyServer, mine: Settings) -> None:
    events = Monitor(mine).events()
    next(events)
    assert watchers(server) == 1
    events.close()  # type: ignore[attr-defined]  # a generator
    assert watchers(server) == 0
    events = Monitor(mine).events()
    next(events)
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt())  # type: ignore[attr-defined]
    assert watchers(server) == 0


def test_a_server_that_goes_away_ends_it(server: ValkeyServer, mine: Settings) -> None:
    watching = Monitor(mine)
    watch(watching, server.kill, *[lambda: None] * 50)
    assert watching.summary().stopped is Stopped.BROKEN


def test_every_primary_of_a_cluster_is_watched(settings: Settings, cluster: Cluster) -> None:
    mine = replace(settings, redis_port=cluster.primaries[0].port, redis_mode="cluster", timeout=5)

    def ping_all() -> None:
        for primary in cluster.primaries:
            with primary.client() as client:
                client.ping()

    seen = watch(Monitor(mine, commands=["PING"]), ping_all, lambda: None, lambda: None)
    assert {event.place for event in seen} == {f"127.0.0.1:{primary.port}" for primary in cluster.primaries}


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 301])
def test_a_time_that_is_none_is_refused(settings: Settings, seconds: float) -> None:
    with pytest.raises(InvalidInput):
        Monitor(settings, seconds=seconds)


def test_a_family_that_is_none_is_refused(settings: Settings) -> None:
    with pytest.raises(InvalidInput, match="'session'"):
        Monitor(settings, families=["session"])


@pytest.mark.parametrize("odd", ["hung"], indirect=True)
def test_a_hung_server_is_unavailable(odd: OddServer) -> None:
    with pytest.raises(RedisUnavailable, match="in time"):
        next(Monitor(odd.settings()).events())


def test_without_the_permission_or_the_command_there_is_an_error_of_its_own_kind(
    valkey_server: Callable[..., ValkeyServer], settings: Settings
) -> None:
    server = valkey_server()
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "limited", "on", ">x", "~*", "+@all", "-monitor")
    limited = replace(settings, redis_port=server.port, redis_username="limited", redis_password="x")
    with pytest.raises(CommandDenied) as denied:
        next(Monitor(limited).events())
    assert denied.value.grant == "+monitor"
    renamed = valkey_server("--rename-command", "MONITOR", "")
    with pytest.raises(CommandUnknown):
        next(Monitor(replace(settings, redis_port=renamed.port)).events())
