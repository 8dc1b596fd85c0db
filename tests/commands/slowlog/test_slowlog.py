from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from checkout_cli.commands.slowlog.slowlog import empty_slow_log, slow_log
from checkout_cli.errors import CommandDenied, CommandUnknown, RedisUnavailable
from checkout_cli.keys import Family
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl
from tests.support.odd_servers import OddServer
from tests.support.servers import ValkeyServer


@pytest.fixture
def slow(valkey_server: Callable[..., ValkeyServer], store: CheckoutStore) -> CheckoutStore:
    """A store on a server that logs everything."""
    server = valkey_server("--slowlog-log-slower-than", "0", "--slowlog-max-len", "500")
    return CheckoutStore.open(replace(store.settings, redis_port=server.port))


def test_entries_are_told_by_their_shape_the_newest_first(slow: CheckoutStore) -> None:
    with slow:
        slow.create({"userEmail": "canary@shop.example"}, checkout_id="session-0001")
        slow.redis.ask(("SET", "user:session:canary", "canary"))
        (server,) = slow_log(slow.redis, 100).servers
    assert "canary" not in repr([(entry.shape.name, entry.shape.others, entry.client) for entry in server.entries])
    assert server.entries[0].number > server.entries[-1].number
    shapes = {entry.shape.name: entry for entry in server.entries}
    assert shapes["EVALSHA publish"].shape.key == b"checkout:session:session-0001"
    newest = next(entry for entry in server.entries if entry.shape.name == "SET")
    assert newest.shape.family is Family.USERS
    assert newest.client.startswith("127.0.0.1:")
    assert (server.threshold, server.size) == (0.0, 500)


def test_totals_are_by_command_and_family_those_that_cost_most_first(slow: CheckoutStore) -> None:
    with slow:
        for number in range(3):
            slow.redis.ask(("SET", f"checkout:session:{number}", "x"))
        slow.redis.ask(("SET", "other", "x"))
        slow.redis.ask(("DEBUG", "SLEEP", "0.01"))
        (server,) = slow_log(slow.redis, 100).servers
    totals = server.totals
    assert totals[0].name == "DEBUG SLEEP"
    assert {(total.name, total.family): total.calls for total in totals if total.name == "SET"} == {
        ("SET", "sessions"): 3,
        ("SET", "other"): 1,
    }


def test_no_more_entries_are_told_than_are_wanted(slow: CheckoutStore) -> None:
    with slow:
        for _ in range(10):
            slow.redis.ask(("PING",))
        (server,) = slow_log(slow.redis, 3).servers
    assert len(server.entries) == 3
    assert server.length > 3


def test_arguments_that_the_server_has_cut_away_are_counted(slow: CheckoutStore) -> None:
    with slow:
        slow.redis.ask(("MSET", *("x",) * 100))
        (server,) = slow_log(slow.redis).servers
    assert next(entry.shape.others for entry in server.entries if entry.shape.name == "MSET") == 99


def test_a_reset_drops_them_after_consent_only(slow: CheckoutStore) -> None:
    with slow:
        slow.redis.ask(("PING",))
        shown: list[dict[str, int]] = []
        refused = empty_slow_log(slow.redis, agreed=lambda lengths: bool(shown.append(lengths)))
        assert not refused.done
        assert sum(shown[0].values()) > 0
        assert slow_log(slow.redis).servers[0].length > 0
        assert empty_slow_log(slow.redis, agreed=lambda _: True).done
        assert slow_log(slow.redis).servers[0].length <= 4  # of these very commands


@pytest.mark.parametrize("odd", ["no SLOWLOG", "denied SLOWLOG", "hung"], indirect=True)
def test_without_the_command_there_is_an_error_of_its_own_kind(odd: OddServer) -> None:
    kind = {"no SLOWLOG": CommandUnknown, "denied SLOWLOG": CommandDenied, "hung": RedisUnavailable}[odd.name]
    with CheckoutStore.open(odd.settings()) as store:
        with pytest.raises(kind):
            slow_log(store.redis)
        with pytest.raises(kind):
            empty_slow_log(store.redis, agreed=lambda _: True)


@pytest.mark.parametrize("odd", ["no CONFIG", "denied CONFIG"], indirect=True)
def test_without_config_the_threshold_is_unknown_and_the_entries_are_told(odd: OddServer) -> None:
    with CheckoutStore.open(odd.settings()) as store:
        (server,) = slow_log(store.redis).servers
    assert server.threshold is None
    assert "CONFIG" in server.unknown.upper()


def test_the_client_is_told_with_its_name(valkey_server: Callable[..., ValkeyServer], checkoutctl: Checkoutctl) -> None:
    server = valkey_server("--slowlog-log-slower-than", "0")
    with server.client(client_name="reports") as client:
        client.keys("nothing:*")
        (address,) = [found["addr"] for found in client.client_list() if found["name"] == "reports"]
        env = {"REDIS_PORT": str(server.port)}
        shown = checkoutctl("slowlog", "--limit", "100", env=env)
        (document,) = checkoutctl("slowlog", "--limit", "100", "--json", env=env).documents
    assert f"{address} (reports)" in shown.stdout
    assert f"somebody uses KEYS ({address} (reports))" in shown.stderr
    (entry,) = [entry for entry in document["servers"][0]["entries"] if entry["command"] == "KEYS"]
    assert (entry["client"], entry["clientName"]) == (address, "reports")
