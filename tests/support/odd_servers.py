"""Servers as operators meet them: with commands renamed away or denied, full, loading, hung, or a mere replica."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from checkout_cli.config.settings import Settings
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.servers import REDIS, RedisServer, ValkeyServer
from tests.support.stores import make_tables

SESSIONS = 20
"""How many sessions there are, before the server turns odd."""
USER, PASSWORD = "limited", "limited-password"
COMMANDS = ("CONFIG", "INFO", "CLIENT", "MEMORY", "SLOWLOG")


@dataclass(frozen=True)
class OddServer:
    """A server, and how to log in to it."""

    name: str
    server: ValkeyServer
    database_url: str
    username: str = ""
    password: str = ""

    def settings(self, timeout: float = 0.5) -> Settings:
        """Settings for it."""
        return Settings(
            redis_host=HOST,
            redis_port=self.server.port,
            redis_username=self.username,
            redis_password=self.password,
            database_url=self.database_url,
            timeout=timeout,
            database_timeout=2.0,
        )

    @property
    def environment(self) -> dict[str, str]:
        """The same for a process."""
        return {
            "REDIS_HOST": HOST,
            "REDIS_PORT": str(self.server.port),
            "REDIS_USERNAME": self.username,
            "REDIS_PASSWORD": self.password,
            "DATABASE_URL": self.database_url,
        }


def each_odd_server(*without: str) -> list[Any]:
    """What a test of all of them is parametrised with; Debian's Redis may be missing."""
    return [REDIS if name == "redis" else name for name in ODD_SERVERS if name not in without]


@contextmanager
def odd_server(name: str, directory: Path) -> Iterator[OddServer]:
    """Start the server of a name in :data:`ODD_SERVERS`, with sessions in it and in its database."""
    servers: list[ValkeyServer] = []
    database_url = f"sqlite:///{directory / 'odd.db'}"

    def start(*arguments: str, kind: type[ValkeyServer] = ValkeyServer) -> ValkeyServer:
        server = kind(directory / f"odd-{len(servers)}", *arguments)
        servers.append(server)
        server.start()
        return server

    try:
        made = ODD_SERVERS[name](start, database_url)
        username, password = (USER, PASSWORD) if name.startswith("denied") else ("", "")
        yield OddServer(name, made, database_url, username, password)
    finally:
        for server in servers:
            server.kill()


Start = Callable[..., ValkeyServer]


def _fill(server: ValkeyServer, database_url: str) -> None:
    settings = Settings(redis_host=HOST, redis_port=server.port, database_url=database_url, timeout=5)
    with CheckoutStore.open(settings) as store:
        make_tables(store.database)
        for number in range(SESSIONS):
            store.create({"userId": f"user-{number}", "totalAmount": 10.5 + number}, checkout_id=f"session-{number:04}")


def _plain(start: Start, database_url: str) -> ValkeyServer:
    server = start()
    _fill(server, database_url)
    return server


def _debian(start: Start, database_url: str) -> ValkeyServer:
    server = start(kind=RedisServer)
    _fill(server, database_url)
    return server


def _renamed(command: str) -> Callable[[Start, str], ValkeyServer]:
    def make(start: Start, database_url: str) -> ValkeyServer:
        server = start("--rename-command", command, "")
        _fill(server, database_url)
        return server

    return make


def _denied(command: str) -> Callable[[Start, str], ValkeyServer]:
    def make(start: Start, database_url: str) -> ValkeyServer:
        server = _plain(start, database_url)
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all", f"-{command}")
        return server

    return make


def _replica(start: Start, database_url: str) -> ValkeyServer:
    primary = start("--repl-diskless-sync-delay", "0")  # else a replica waits five seconds for others to join it
    _fill(primary, database_url)
    replica = start("--replicaof", f"{HOST} {primary.port}")
    with replica.client(socket_timeout=2) as client:
        _until(lambda: client.info("replication")["master_link_status"] == "up")
    return replica


def _loading(start: Start, database_url: str) -> ValkeyServer:
    server = _plain(start, database_url)
    with server.client(socket_timeout=10) as client:
        pipeline = client.pipeline()
        for number in range(8000):
            pipeline.set(f"filler:{number}", "x" * 1024)
        pipeline.execute()
        client.save()
    server.kill()
    slow = ("--key-load-delay", "4000", "--loading-process-events-interval-bytes", "1024", "--rdbcompression", "no")
    server._arguments = (*server._arguments, *slow)
    server._launch(server.port)
    with server.client(socket_timeout=2) as client:
        _until(lambda: _is_loading(client))
    return server


def _is_loading(client: redis.Redis) -> bool:
    try:
        client.get("x")
    except redis.exceptions.BusyLoadingError:
        return True
    except redis.RedisError:
        return False
    return False


def _full(policy: str) -> Callable[[Start, str], ValkeyServer]:
    def make(start: Start, database_url: str) -> ValkeyServer:
        server = _plain(start, database_url)
        with server.client(socket_timeout=5) as client:
            for number in range(200):
                client.set(f"filler:{number}", "x" * 4096)
            client.config_set("maxmemory-policy", policy)
            used = int(client.info("memory")["used_memory"])
            client.config_set("maxmemory", used - 100_000)
            if policy != "noeviction":
                client.set("filler:last", "x")  # which evicts, until all of it fits again
        return server

    return make


def _hung(start: Start, database_url: str) -> ValkeyServer:
    server = _plain(start, database_url)
    server.pause()
    return server


def _until(condition: Callable[[], bool], patience: float = 10.0) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "the server did not get into its odd state"
        time.sleep(0.02)


ODD_SERVERS: dict[str, Callable[[Start, str], ValkeyServer]] = {
    "valkey": _plain,
    "redis": _debian,
    **{f"no {command}": _renamed(command) for command in COMMANDS},
    **{f"denied {command}": _denied(command.lower()) for command in COMMANDS},
    "replica": _replica,
    "loading": _loading,
    "full, noeviction": _full("noeviction"),
    "full, allkeys-lru": _full("allkeys-lru"),
    "hung": _hung,
}
"""Every kind of server by its name."""
