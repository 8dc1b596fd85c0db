"""What the endpoints share: one store, and answers that many clients get instead of asking Redis once each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio
import anyio.to_thread

from checkout_cli.commands.health.health import HealthCheck, HealthReport
from checkout_cli.commands.health.snapshot import Snapshot, snapshot
from checkout_cli.config.settings import Settings
from checkout_cli.store.checkout_store import CheckoutStore

SNAPSHOT_EVERY = 15.0
"""Seconds between two snapshots for the metrics: the usual interval of Prometheus."""
FRESH_FOR = 1.0
"""Seconds for which a health report answers all requests."""
AT_ONCE = 4
"""Management actions that run at the same time; the others wait."""

T = TypeVar("T")

_log = logging.getLogger("checkout_cli.commands.serve")


class Shared(Generic[T]):
    """A value that is fetched where it is older than ``fresh_for`` seconds, once for all who ask meanwhile."""

    def __init__(self, fetch: Callable[[], Awaitable[T]], fresh_for: float) -> None:
        self._fetch = fetch
        self._fresh_for = fresh_for
        self._fetched_at = float("-inf")
        self._value: T | None = None
        self._running: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """The value; raises as fetching does."""
        if self._value is not None and time.monotonic() - self._fetched_at < self._fresh_for:
            return self._value
        if self._running is None:
            self._running = asyncio.create_task(self._refresh())
        return await asyncio.shield(self._running)  # who goes away does not end it for the others

    async def _refresh(self) -> T:
        try:
            self._value = value = await self._fetch()
            self._fetched_at = time.monotonic()
            return value
        finally:
            self._running = None


class Service:
    """The store and the shared answers of one HTTP server; close it at the end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = CheckoutStore.open(settings)
        self._slots = anyio.CapacityLimiter(AT_ONCE)
        self._health = Shared(self._look, FRESH_FOR)
        self._snapshot: Snapshot | None = None
        self._has_snapshot = asyncio.Event()

    def close(self) -> None:
        """Close all connections."""
        self.store.close()

    async def keep_looking(self) -> None:
        """Take a snapshot for the metrics again and again, so that no scrape waits for a server."""
        check = HealthCheck(lambda: self.settings)
        while True:
            try:
                self._snapshot = await anyio.to_thread.run_sync(snapshot, self.store, check.look)
                self._has_snapshot.set()
            except Exception as error:  # noqa: BLE001  (whatever it was, this look must not be the last one)
                _log.error("a look for the metrics has failed: %s: %s", type(error).__name__, error)
            await asyncio.sleep(SNAPSHOT_EVERY)

    async def snapshot(self) -> Snapshot:
        """The last snapshot; only the first one is waited for."""
        await self._has_snapshot.wait()
        assert self._snapshot is not None  # noqa: S101  (set before the event)
        return self._snapshot

    async def health(self) -> HealthReport:
        """A health report, at most a second old."""
        return await self._health.get()

    async def _look(self) -> HealthReport:
        return await anyio.to_thread.run_sync(HealthCheck(lambda: self.settings).look)

    async def run(self, action: Callable[[CheckoutStore], T]) -> T:
        """Do something with the store in a thread, since it may wait for a server."""
        return await anyio.to_thread.run_sync(action, self.store, limiter=self._slots)
