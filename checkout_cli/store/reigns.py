"""The fence against an old primary (DESIGN section 5, point 11): for Redis behind Sentinel only.

Sentinel can promote a replica while some clients still reach the old primary. Each primary's identity is therefore
registered in the database before its first use, and only the latest is trusted: whoever is left behind with the old
one finds that out within one lease.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.engine import Connection

from checkout_cli.store.clock import Clock
from checkout_cli.store.database_tier import DatabaseTier
from checkout_cli.store.redis_tier import RedisTier
from checkout_cli.store.schema import reigns


class Reigns:
    """Which primary is the latest. Methods raise ``DatabaseUnavailable`` or ``RedisUnavailable``."""

    def __init__(self, redis: RedisTier, database: DatabaseTier, clock: Clock) -> None:
        """Nothing is registered before :meth:`current` is asked."""
        self._redis = redis
        self._database = database
        self._clock = clock

    def current(self) -> bytes | None:
        """The identity of the primary that we reach, if it is the latest one; else ``None``.

        A primary that nobody has seen before becomes the latest.
        """
        identity = self._redis.look_again()
        if identity is None:
            return None
        with self._database.transaction() as connection:
            if self._latest(connection) == identity.decode():
                return identity
            values = {"stamp": identity.decode(), "began_at": self._clock.wall()}
            return identity if self._database.insert_once(connection, reigns, values) else None

    def _latest(self, connection: Connection) -> str | None:
        return connection.execute(select(reigns.c.stamp).order_by(reigns.c.number.desc()).limit(1)).scalar()
