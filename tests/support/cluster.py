"""A cluster of primaries, each a real process."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from redis.crc import key_slot

from checkout_cli.servers.embedded import HOST
from tests.support.ports import free_port
from tests.support.servers import ValkeyServer
from tests.support.stores import wait_until

SLOTS = 16_384
NODE_TIMEOUT = "1000"


class Cluster:
    """Primaries that share the slots evenly; a context manager that leaves no process behind.

    The slots of a dead primary are missed alone: with ``cluster-require-full-coverage`` the others would stop too.
    """

    def __init__(self, directory: Path, *, kind: type[ValkeyServer] = ValkeyServer, size: int = 3) -> None:
        self.primaries = [self._node(directory / f"node-{number}", kind) for number in range(size)]
        self._directory = directory
        self._kind = kind
        self._replicas: list[ValkeyServer] = []

    @staticmethod
    def _node(directory: Path, kind: type[ValkeyServer]) -> ValkeyServer:
        return kind(
            directory,
            *("--cluster-enabled", "yes", "--cluster-node-timeout", NODE_TIMEOUT),
            *("--cluster-require-full-coverage", "no", "--cluster-port", str(free_port())),
            *("--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0"),
        )

    def __enter__(self) -> Self:
        try:
            for server in self.primaries:
                server.start()
            self._share_slots()
            self._meet()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in (*self.primaries, *self._replicas):
            server.kill()

    def _share_slots(self) -> None:
        share = -(-SLOTS // len(self.primaries))
        for place, server in enumerate(self.primaries):
            last = min((place + 1) * share, SLOTS) - 1
            with server.client(socket_timeout=5) as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", place * share, last)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)

    def _meet(self) -> None:
        with self.primaries[0].client(socket_timeout=5) as client:
            for server in self.primaries[1:]:
                client.execute_command("CLUSTER", "MEET", HOST, server.port, bus_port(server))
        wait_until(lambda: all(len(self.nodes(server)) == len(self.primaries) for server in self.primaries), 15)
        wait_until(lambda: all(self.is_up(server) for server in self.primaries), 15)

    def add_replica(self, of: ValkeyServer) -> ValkeyServer:
        """A replica of a primary, which takes over when that dies; returns when it is in step."""
        replica = self._node(self._directory / f"replica-{len(self._replicas)}", self._kind)
        self._replicas.append(replica)
        self._introduce(replica, of)
        with replica.client(socket_timeout=5) as client:
            client.execute_command("CLUSTER", "REPLICATE", node_id(of))
            wait_until(lambda: client.info("replication").get("master_link_status") == "up", 15)
        return replica

    def add_primary(self) -> ValkeyServer:
        """A primary that has no slots yet."""
        first = self.primaries[0]
        primary = self._node(self._directory / f"node-{len(self.primaries)}", self._kind)
        self.primaries.append(primary)
        self._introduce(primary, first)
        wait_until(lambda: self.is_up(primary), 15)
        return primary

    def _introduce(self, node: ValkeyServer, to: ValkeyServer) -> None:
        node.start()
        with node.client(socket_timeout=5) as client:
            client.execute_command("CLUSTER", "MEET", HOST, to.port, bus_port(to))
        servers = (*self.primaries, *self._replicas)
        wait_until(lambda: all(len(self.nodes(server)) == len(servers) for server in servers), 15)

    def nodes(self, server: ValkeyServer) -> dict[str, Any]:
        """What a node knows of the others, those left out that it has not shaken hands with yet."""
        with server.client(socket_timeout=5) as client:
            known: dict[str, Any] = client.cluster("nodes")
        return {address: node for address, node in known.items() if "handshake" not in node["flags"]}

    def is_up(self, server: ValkeyServer) -> bool:
        """Whether a node says that the cluster is up."""
        with server.client(socket_timeout=5) as client:
            return bool(client.cluster("info")["cluster_state"] == "ok")

    def owner(self, key: str) -> ValkeyServer:
        """The primary that has a key, by the word of one that lives."""
        living = next(server for server in (*self.primaries, *self._replicas) if server.pid is not None)
        with living.client(socket_timeout=5) as client:
            slot = key_slot(key.encode())
            for first, last, (_, port, *_), *_ in client.execute_command("CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    return next(server for server in (*self.primaries, *self._replicas) if server.port == port)
        raise AssertionError(f"nobody has {key}")

    def begin_move(self, slot: int, source: ValkeyServer, target: ValkeyServer) -> None:
        """Open a slot for its keys to be moved one by one."""
        with source.client() as giving, target.client() as taking:
            taking.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", node_id(source))
            giving.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", node_id(target))

    def move_keys(self, slot: int, source: ValkeyServer, target: ValkeyServer) -> list[bytes]:
        """Move all keys that the slot has now."""
        with source.client(socket_timeout=5) as giving:
            keys: list[bytes] = giving.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10_000)
            if keys:
                giving.execute_command("MIGRATE", HOST, target.port, "", 0, 5000, "KEYS", *keys)
            return keys

    def end_move(self, slot: int, source: ValkeyServer, target: ValkeyServer) -> None:
        """Give the slot to its new owner, and let every node know."""
        for server in (target, source, *(other for other in self.primaries if other not in (source, target))):
            if server.pid is not None:
                with server.client() as client:
                    client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", node_id(target))

    def flush(self) -> None:
        """Empty all primaries."""
        for server in self.primaries:
            server.flush()


def node_id(server: ValkeyServer) -> str:
    """A node's own name."""
    with server.client(socket_timeout=5) as client:
        return str(client.execute_command("CLUSTER", "MYID").decode())


def bus_port(server: ValkeyServer) -> int:
    """The port that the nodes talk to each other on."""
    with server.client(socket_timeout=5) as client:
        return int(client.config_get("cluster-port")["cluster-port"])
