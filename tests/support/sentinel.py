"""A primary, a replica and the Sentinels that watch them, each a real process."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from checkout_cli.servers.embedded import HOST, valkey_binary
from tests.support.ports import free_port
from tests.support.servers import ValkeyServer
from tests.support.stores import wait_until

SERVICE = "checkout"

_CONFIGURATION = """\
bind {host}
port {port}
dir {directory}
sentinel monitor {service} {host} {primary} {quorum}
sentinel down-after-milliseconds {service} 400
sentinel failover-timeout {service} 2000
"""


class Replicated:
    """Two servers, ``first`` the primary at the start; a context manager that leaves no process behind."""

    def __init__(self, directory: Path, *, sentinels: int = 1) -> None:
        options = ("--repl-diskless-sync-delay", "0")
        self.first = ValkeyServer(directory / "first", *options)
        self.second = ValkeyServer(directory / "second", *options)
        self.ports = [free_port() for _ in range(sentinels)]
        self.port = self.ports[0]
        """Of the Sentinel that the methods ask."""
        self._directory = directory
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self.first.start()
            self.second.start()
            with self.second.client(socket_timeout=5) as client:
                client.replicaof(HOST, self.first.port)
                wait_until(lambda: client.info("replication")["master_link_status"] == "up", 10)
            for port in self.ports:
                self.start_sentinel(port)
            for port in self.ports:
                wait_until(partial(self._knows_everybody, port), 15)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for port in self.ports:
            self.kill_sentinel(port)
        self.first.kill()
        self.second.kill()

    def kill_sentinel(self, port: int) -> None:
        """End one of the Sentinels."""
        process = self._processes.pop(port, None)
        if process is not None:
            process.kill()
            process.wait()

    def start_sentinel(self, port: int) -> None:
        """Start one of the Sentinels, for the first time or again: it keeps what it knows in its configuration."""
        directory = self._directory / f"sentinel-{port}"
        directory.mkdir(exist_ok=True)
        configuration = directory / "sentinel.conf"
        if not configuration.exists():
            configuration.write_text(
                _CONFIGURATION.format(
                    host=HOST,
                    port=port,
                    directory=directory,
                    service=SERVICE,
                    primary=self.first.port,
                    quorum=len(self.ports) // 2 + 1,
                )
            )
        with (directory / "log").open("wb") as log:
            self._processes[port] = subprocess.Popen(
                [valkey_binary(), configuration, "--sentinel"], stdout=log, stderr=log, start_new_session=True
            )

    def sentinel(self, port: int | None = None) -> redis.Redis:
        """A client of a Sentinel."""
        retry = Retry(NoBackoff(), 0)
        return redis.Redis(host=HOST, port=port or self.port, retry=retry, protocol=2, socket_timeout=5)

    def _knows_everybody(self, port: int) -> bool:
        try:
            with self.sentinel(port) as client:
                (replica,) = client.sentinel_slaves(SERVICE)
                others = int(client.sentinel_master(SERVICE)["num-other-sentinels"])
        except (redis.RedisError, ValueError):
            return False
        follows = replica["flags"] == "slave" and replica["master-link-status"] == "ok"
        return bool(follows and others == len(self.ports) - 1)

    def primary_port(self) -> int:
        """Whom the Sentinel calls the primary, once it has done all that a failover takes."""
        with self.sentinel() as client:
            return int(client.sentinel_master(SERVICE)["port"])

    def wait_for_primary(self, server: ValkeyServer) -> None:
        """Until a server is the primary, by its own word and that of all Sentinels, who see nothing wrong with it.

        Just after a failover, they have no connection to it yet, and for a moment take it for dead.
        """
        wait_until(partial(_says_that_it_is_primary, server), 20)
        for port in self._processes:
            wait_until(partial(self._is_content_with, server, port), 20)

    def _is_content_with(self, server: ValkeyServer, port: int) -> bool:
        with self.sentinel(port) as client:
            told = client.sentinel_master(SERVICE)
        return (int(told["port"]), told["flags"]) == (server.port, "master")

    def fail_over(self, server: ValkeyServer) -> None:
        """Make a server the primary while the other one lives, as its replica from then on, and tell the Sentinel.

        The Sentinel's own way to do so takes ten seconds and more before it can be asked again.
        """
        other = self.first if server is self.second else self.second
        with server.client() as promoted, other.client() as demoted, self.sentinel() as client:
            promoted.replicaof("NO", "ONE")
            demoted.replicaof(HOST, server.port)
            client.execute_command("SENTINEL", "REMOVE", SERVICE)
            client.execute_command("SENTINEL", "MONITOR", SERVICE, HOST, server.port, 1)
            wait_until(lambda: demoted.info("replication")["master_link_status"] == "up", 10)
            wait_until(lambda: client.sentinel_master(SERVICE)["flags"] == "master", 10)


def _says_that_it_is_primary(server: ValkeyServer) -> bool:
    """By a connection of its own each time: a Sentinel closes all that there are when it promotes the server."""
    try:
        with server.client() as client:
            return bool(client.info("replication")["role"] == "master")
    except redis.ConnectionError:
        return False
