"""Fencing of old primaries (ARCHITECTURE.md, point 11), behind Sentinel and in a cluster.

A replica can be promoted while some clients still reach the old primary. Each primary's identity is registered in the
database before its first use, and only the latest of each shard is trusted: clients of the old one find out within one
lease.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from checkout_cli.clock import Clock
from checkout_cli.errors import RedisUnavailable
from checkout_cli.store.database.schema import epochs
from checkout_cli.store.database.tier import DatabaseTier, insert_once, latest_stamp
from checkout_cli.store.records import Epoch
from checkout_cli.store.redis.server import RedisServer
from checkout_cli.store.redis.tier import RedisTier


class Epochs:
    """Which primaries are the latest. Methods raise ``DatabaseUnavailable`` or ``RedisUnavailable``."""

    def __init__(self, redis: RedisTier, database: DatabaseTier, clock: Clock) -> None:
        self._redis = redis
        self._database = database
        self._clock = clock
        self._shards: dict[bytes, str] = {}

    def current(self) -> dict[bytes, Epoch | None]:
        """The latest primaries that we reach, by identity; ``None``: before Redis 7.2, it cannot tell its shard."""
        found = [epoch for epoch in map(self._seen, self._redis.servers()) if epoch is not None]
        self._shards = {epoch.identity: epoch.shard for epoch in found}
        with self._database.transaction() as connection:
            return {
                epoch.identity: epoch if self._is_fenced(epoch) else None
                for epoch in found
                if not self._is_fenced(epoch) or self._is_latest(connection, epoch)
            }

    def _seen(self, server: RedisServer) -> Epoch | None:
        try:
            # A primary that was replaced in an orderly way is the new one's replica, with an identity that nobody has
            # seen before: registered, it would fence off its own successor for good.
            identity = server.look_again()
            return None if identity is None else Epoch(self._shard_of(server, identity), identity)
        except RedisUnavailable:
            if self._redis.is_cluster:
                return None  # the other shards do without it
            raise

    def _shard_of(self, server: RedisServer, identity: bytes) -> str:
        """The shard's name, by identity: an address may return as a replica of another shard, and take over there."""
        if not self._redis.is_cluster:
            return ""
        if identity in self._shards:
            return self._shards[identity]
        _, (shard, state) = server.send([("CLUSTER", "MYSHARDID"), ("CLUSTER", "INFO")])
        if isinstance(state, bytes) and b"cluster_state:ok" not in state:
            # Cut off, or just restarted: it may have been replaced, and thinks itself the primary until it hears of it.
            raise RedisUnavailable(f"Redis at {server.place} serves nothing: it does not see most of its cluster")
        return shard.decode() if isinstance(shard, bytes) else ""

    def _is_fenced(self, epoch: Epoch) -> bool:
        return bool(epoch.shard) or not self._redis.is_cluster

    def _is_latest(self, connection: Connection, epoch: Epoch) -> bool:
        if connection.scalar(latest_stamp(epoch.shard)) == epoch.stamp:
            return True
        values = {"stamp": epoch.stamp, "began_at": self._clock.wall()}
        return insert_once(connection, epochs, values)
