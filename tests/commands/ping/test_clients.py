"""A server that has as many clients as it may have: named as such, with whose they are, as far as that can be known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from checkout_cli.commands.ping.clients import Clients, clients_within, connected_clients
from checkout_cli.config.settings import Settings
from checkout_cli.errors import TooManyClients
from checkout_cli.files.last_look import LastLook, Reading
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.redis.admin import RedisAdmin
from tests.support.command import Checkoutctl
from tests.support.doctoring import FakeMachine, finding
from tests.support.servers import ValkeyServer

LIMIT = 10


@pytest.fixture(params=["", "hush"])
def full(request: pytest.FixtureRequest, valkey_server: Callable[..., ValkeyServer]) -> Iterator[Full]:
    """A server whose ten connections are taken, with a password and without."""
    secret = ["--requirepass", request.param] if request.param else []
    server = valkey_server("--maxclients", str(LIMIT), *secret)
    held = [
        server.client(client_name=f"shop-{number % 2}", password=request.param or None, socket_timeout=5)
        for number in range(LIMIT)
    ]
    for client in held:
        client.ping()
    yield Full(server, held, request.param)
    for client in held:
        client.close()


class Full:
    def __init__(self, server: ValkeyServer, held: list[redis.Redis], password: str) -> None:
        self.server = server
        self.held = held
        self.settings = Settings(redis_host=HOST, redis_port=server.port, redis_password=password, timeout=2)
        self.environment = {"REDIS_HOST": HOST, "REDIS_PORT": str(server.port), "REDIS_PASSWORD": password}


def test_the_store_names_it_and_does_not_call_it_an_outage_or_a_wrong_password(full: Full) -> None:
    tier = RedisAdmin(full.settings)
    with pytest.raises(TooManyClients, match="maxclients"):
        tier.ping()
    tier.close()


@pytest.mark.parametrize(("words", "code"), [("ping --count 1", 69), ("health", 1), ("doctor --only connect", 1)])
def test_each_command_names_it_in_words_and_in_json(
    words: str, code: int, full: Full, checkoutctl: Checkoutctl
) -> None:
    checkoutctl("setup", "--yes")  # the tables, on the shared server
    for form in ([], ["--json"]):
        done = checkoutctl(*words.split(), *form, env=full.environment)
        assert done.returncode == code
        assert "takes no more clients: its limit (maxclients) is reached" in done.stdout + done.stderr
    if words != "doctor --only connect":
        assert "checkoutctl doctor --only connect" in done.stdout
    else:
        (told,) = json.loads(done.stdout)["checks"]
        assert told["numbers"]["trouble"] == "too many clients"
        assert f"{LIMIT} of 127.0.0.1" in told["evidence"]
        assert "CONFIG SET maxclients 20" in told["fix"]


def test_a_connection_that_gets_in_learns_whose_the_others_are(full: Full) -> None:
    def one_leaves(_: float) -> None:
        full.held.pop().close()

    found = clients_within(full.settings, None, sleep=one_leaves)
    assert found is not None
    assert (found.number, found.limit) == (LIMIT, LIMIT)
    assert dict(found.groups) == {"127.0.0.1 (shop-0)": 5, "127.0.0.1 (shop-1)": 4, "127.0.0.1": 1}
    assert "10 of 10 connections: 5 of 127.0.0.1 (shop-0)" in str(found)


def test_where_nobody_gets_in_and_the_server_is_elsewhere_what_was_seen_before_is_told(
    full: Full, tmp_path: Path
) -> None:
    stranger = FakeMachine(tmp_path / "machine")
    stranger.own = set()
    LastLook(tmp_path / "state").remember("doctor", full.settings.redis_place, Reading(1, "x", {"maxclients": LIMIT}))
    found = finding(full.settings, "connect", tmp_path, machine=stranger)
    assert "no connection got in" in found.evidence
    assert "maxclients was 10 when doctor last asked" in found.evidence
    assert found.fix == f"ssh {HOST} ss -Htn 'sport = :{full.server.port}'"


def test_the_limit_is_remembered_by_a_look_at_a_server_that_is_not_full(
    valkey_server: Callable[..., ValkeyServer], tmp_path: Path
) -> None:
    server = valkey_server("--maxclients", str(LIMIT))
    settings = Settings(redis_host=HOST, redis_port=server.port, timeout=2)
    finding(settings, "clients", tmp_path)
    last = LastLook(tmp_path / "state").previous("doctor", settings.redis_place)
    assert last is not None
    assert last.counters["maxclients"] == LIMIT


def test_a_server_that_is_nearly_full_says_whose_the_connections_are(
    valkey_server: Callable[..., ValkeyServer], tmp_path: Path
) -> None:
    server = valkey_server("--maxclients", str(LIMIT))
    held = [server.client(client_name="shop") for _ in range(LIMIT - 1)]
    for client in held:
        client.ping()
    found = finding(Settings(redis_host=HOST, redis_port=server.port, timeout=2), "clients", tmp_path)
    for client in held:
        client.close()
    assert found.status == "warn"
    assert "9 of 127.0.0.1 (shop)" in found.evidence
    assert found.fix.startswith(f"redis-cli -h {HOST} -p {server.port} CONFIG SET maxclients 20")


@pytest.mark.parametrize(
    ("line", "called"),
    [
        (b"id=1 addr=10.0.0.1:4000 laddr=1:1 name=shop db=0", "10.0.0.1 (shop)"),
        (b"id=1 addr=[::1]:4000 name= db=0", "::1"),
        (b"id=1 addr=/run/redis.sock:0 name= db=0", "a Unix socket"),
        (b"id=1 addr=/run/r.sock:0 name=\xff\xfe", "a Unix socket (\ufffd\ufffd)"),
    ],
)
def test_a_client_is_called_by_its_address_and_name(line: bytes, called: str) -> None:
    assert connected_clients(line + b"\n") == [called]


def test_few_groups_are_named_and_the_rest_counted() -> None:
    found = Clients.of([f"10.0.0.{number}" for number in range(8)] + ["10.0.0.1"], 9)
    assert found.by_whom.startswith("2 of 10.0.0.1, 1 of 10.0.0.0")
    assert found.by_whom.endswith("3 of others")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"id=1 addr=10.0.0.7:51234 name=shop-web", "10.0.0.7 (shop-web)"),
        (b"id=1 addr=[::1]:51234 name=", "::1"),
        (b"id=1 addr=/run/redis.sock:0 name=cron", "a Unix socket (cron)"),
        (b"id=1 addr=10.0.0.7:51234 name=jane@example.org", "10.0.0.7 (********)"),
        (b"id=1 addr=10.0.0.7:51234 name=till-01515550199", "10.0.0.7 (********)"),
        (b"id=1 addr=jane@example.org:1 name=", "an unknown address"),
        (b"id=1 addr=\xff\x1b:1 name=", "an unknown address"),
    ],
)
def test_a_client_is_told_by_its_address_and_a_name_that_is_nobodys(line: bytes, shown: str) -> None:
    assert connected_clients(line) == [shown]
