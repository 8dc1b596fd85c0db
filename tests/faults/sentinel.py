"""A primary, a replica and a Sentinel that watches them, each a real process."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from checkout_cli.operations.embedded import HOST, free_port, valkey_binary
from tests.servers import ValkeyServer
from tests.store.support import wait_until

SERVICE = "checkout"

_CONFIGURATION = """\
bind {host}
port {port}
dir {directory}
sentinel monitor {service} {host} {primary} 1
sentinel down-after-milliseconds {service} 400
sentinel failover-timeout {service} 2000
"""


class Replicated:
    """Two servers, ``first`` the primary at the start; a context manager that leaves no process behind."""

    def __init__(self, directory: Path) -> None:
        options = ("--repl-diskless-sync-delay", "0")
        self.first = ValkeyServer(directory / "first", *options)
        self.second = ValkeyServer(directory / "second", *options)
        self.port = free_port()
        self._directory = directory / "sentinel"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.first.start()
            self.second.start()
            with self.second.client(socket_timeout=5) as client:
                client.replicaof(HOST, self.first.port)
                wait_until(lambda: client.info("replication")["master_link_status"] == "up", 10)
            self._start_sentinel()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.first.kill()
        self.second.kill()

    def _start_sentinel(self) -> None:
        self._directory.mkdir()
        configuration = self._directory / "sentinel.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                host=HOST, port=self.port, directory=self._directory, service=SERVICE, primary=self.first.port
            )
        )
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [valkey_binary(), configuration, "--sentinel"], stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._knows_the_replica, 15)

    def sentinel(self) -> redis.Redis:
        """A client of the Sentinel."""
        return redis.Redis(host=HOST, port=self.port, retry=Retry(NoBackoff(), 0), protocol=2, socket_timeout=5)

    def _knows_the_replica(self) -> bool:
        try:
            with self.sentinel() as client:
                (replica,) = client.sentinel_slaves(SERVICE)
                return bool(replica["flags"] == "slave" and replica["master-link-status"] == "ok")
        except (redis.RedisError, ValueError):
            return False

    def primary_port(self) -> int:
        """Whom the Sentinel calls the primary, once it has done all that a failover takes."""
        with self.sentinel() as client:
            return int(client.sentinel_master(SERVICE)["port"])

    def wait_for_primary(self, server: ValkeyServer) -> None:
        """Until a server is the primary, by the Sentinel's word and its own."""
        with server.client() as client:
            wait_until(
                lambda: self.primary_port() == server.port and client.info("replication")["role"] == "master", 20
            )

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
