"""What the tests of a cluster share: its settings, who has what, and a slot that moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from redis.crc import key_slot

from checkout_cli.config.settings import Settings
from checkout_cli.keys import session_key
from tests.faults.conftest import settings_for
from tests.faults.harness import ID
from tests.support.cluster import Cluster
from tests.support.servers import ValkeyServer

MANY = [f"session-{number:04}" for number in range(30)]


def settings_of(cluster: Cluster, database_url: str, **changes: Any) -> Settings:
    first, *others = cluster.primaries
    nodes = ",".join(f"127.0.0.1:{server.port}" for server in others)
    return replace(settings_for(first, database_url), redis_mode="cluster", redis_cluster_nodes=nodes, **changes)


def others_than(cluster: Cluster, *keys: str) -> list[ValkeyServer]:
    owners = {cluster.owner(key).port for key in keys}
    return [server for server in cluster.primaries if server.port not in owners]


def ids_of(cluster: Cluster, server: ValkeyServer) -> list[str]:
    return [name for name in MANY if cluster.owner(session_key(name)) is server]


def give_back(cluster: Cluster, slot: int, holder: ValkeyServer, owner: ValkeyServer) -> None:
    cluster.begin_move(slot, holder, owner)
    cluster.move_keys(slot, holder, owner)
    cluster.end_move(slot, holder, owner)


class MovingSlot:
    """The slot of the test's session, on its way from one primary to another; at the end it is where it was."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.slot = key_slot(session_key(ID).encode())
        self.source = cluster.owner(session_key(ID))
        self.target = others_than(cluster, session_key(ID))[0]
        self.is_open = False

    def begin(self) -> None:
        """From here on the slot has two homes, and all its keys are in the old one."""
        self.cluster.begin_move(self.slot, self.source, self.target)
        self.is_open = True

    def move_keys(self) -> None:
        """From here on, all keys that it has are in the new one."""
        assert self.cluster.move_keys(self.slot, self.source, self.target) == [session_key(ID).encode()]

    def end(self) -> None:
        """The new owner is known to all."""
        self.cluster.end_move(self.slot, self.source, self.target)

    def end_with_its_keys(self) -> None:
        """The same, after whatever is left in the old home."""
        self.cluster.move_keys(self.slot, self.source, self.target)
        self.end()

    def restore(self) -> None:
        if self.is_open:
            self.cluster.move_keys(self.slot, self.source, self.target)
            self.end()
            give_back(self.cluster, self.slot, self.target, self.source)
