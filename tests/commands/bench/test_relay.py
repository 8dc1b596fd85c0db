"""A way to Redis that can be cut: what it carries, and what cutting it does to who uses it."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from checkout_cli.commands.bench.relay import KilledServer, Relay
from checkout_cli.config.settings import Settings
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.redis.admin import RedisAdmin
from checkout_cli.store.redis.connection import connection_pool
from tests.support.certificates import Authority, server_options
from tests.support.ports import free_port
from tests.support.servers import RedisServer, ValkeyServer

BIG = b"x" * 3_000_000


@pytest.fixture
def relay(settings: Settings) -> Iterator[Relay]:
    with Relay(settings) as running:
        yield running


def client_of(settings: Settings) -> redis.Redis:
    return redis.Redis(connection_pool=connection_pool(settings))


def test_it_carries_everything_both_ways(relay: Relay, valkey: ValkeyServer) -> None:
    with client_of(relay.settings) as through, valkey.client(socket_timeout=5) as client:
        through.set("big", BIG)
        assert client.get("big") == BIG
        assert through.get("big") == BIG


def test_cut_it_ends_connections_and_refuses_new_ones(relay: Relay) -> None:
    with client_of(relay.settings) as used:
        used.ping()
        relay.cut()
        with pytest.raises(redis.ConnectionError):
            used.ping()
        with pytest.raises(ConnectionRefusedError), socket.create_connection((HOST, relay.settings.redis_port)):
            pass


def test_mended_it_carries_again_over_the_same_port(relay: Relay) -> None:
    for _ in range(3):
        relay.cut()
        relay.mend()
        with client_of(relay.settings) as through:
            assert through.ping()


def test_while_it_is_cut_nobody_gets_its_port(relay: Relay) -> None:
    relay.cut()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((HOST, relay.settings.redis_port))


def test_a_server_that_is_away_is_as_far_away_as_without_it(settings: Settings) -> None:
    nowhere = replace(settings, redis_port=free_port())
    with Relay(nowhere) as relay, client_of(relay.settings) as through, pytest.raises(redis.ConnectionError):
        through.ping()


def test_it_leaves_no_thread_and_no_socket(settings: Settings) -> None:
    before = threading.active_count()
    with Relay(settings) as relay, client_of(relay.settings) as through:
        through.ping()
        port = relay.settings.redis_port
    assert threading.active_count() == before
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # our old connections may be in TIME_WAIT
        other.bind((HOST, port))


def test_it_leads_to_a_unix_socket(valkey_server: Callable[..., ValkeyServer], settings: Settings) -> None:
    with tempfile.TemporaryDirectory() as short:  # the path of a socket has 108 bytes at most
        path = f"{short}/redis.sock"
        valkey_server("--unixsocket", path)
        with Relay(replace(settings, redis_socket=path)) as relay, client_of(relay.settings) as through:
            assert through.ping()


@pytest.mark.needs("redis-server", "openssl")  # the embedded one speaks no TLS
def test_certificates_are_still_checked_for_the_servers_own_name(tmp_path: Path, settings: Settings) -> None:
    authority, port = Authority(tmp_path / "ca"), free_port()
    certificate = authority.issue("DNS:localhost")
    server = RedisServer(tmp_path / "server", *server_options(port, certificate, authority))
    try:
        server.start()
        secured = replace(
            settings, redis_host="localhost", redis_port=port, redis_tls=True, redis_tls_ca_file=str(authority.path)
        )
        with Relay(secured) as relay:
            tier = RedisAdmin(relay.settings)
            assert tier.ping() > 0
            tier.close()
            assert relay.settings.redis_tls_server_name == "localhost"
    finally:
        server.kill()


def test_a_server_of_our_own_is_really_killed_and_started_again(
    valkey_server: Callable[..., ValkeyServer], settings: Settings
) -> None:
    server = valkey_server()
    outage = KilledServer(server, replace(settings, redis_port=server.port))
    pid = server.pid
    outage.cut()
    assert server.pid is None
    outage.mend()
    assert server.pid not in {None, pid}
    with client_of(outage.settings) as client:
        assert client.ping()
