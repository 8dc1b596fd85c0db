"""Where both sides meet: a Redis of each kind, which can be saved and started again, and a database."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from checkout_cli.config.settings import Settings
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.cluster import Cluster
from tests.support.proxy import proxied
from tests.support.sentinel import SERVICE, Replicated
from tests.support.servers import ValkeyServer
from tests.support.stores import make_tables, save, wait_until


@dataclass(frozen=True)
class Place:
    """The servers, and the environment in which every party finds them."""

    settings: Mapping[str, str]
    save: Callable[[], None] = field(repr=False)
    """Have what Redis holds now kept for :attr:`restart`."""
    restart: Callable[[], None] = field(repr=False)
    """Put another server in Redis' place: killed and started from its snapshot, or its replica."""
    lose_database: Callable[[], None] | None = field(default=None, repr=False)
    restore_database: Callable[[], None] = field(default=lambda: None, repr=False)

    def with_settings(self, **settings: str) -> Place:
        """The same servers, with more settings for whoever uses them."""
        return replace(self, settings={**self.settings, **settings})

    def lasting(self, durability: str) -> Place:
        """The same servers, for writes of ours that wait for this much."""
        return self.with_settings(CHECKOUT_DURABILITY=durability)

    def on_database(self, url: str, **directions: Callable[[], None]) -> Place:
        """The same Redis before a database, which has our tables then."""
        place = replace(self.with_settings(DATABASE_URL=url), **directions)  # type: ignore[arg-type]
        with CheckoutStore.open(Settings.load(environ=place.settings)) as store:
            make_tables(store.database)
        return place


def _settings(port: int, **more: str) -> dict[str, str]:
    """Time-outs that nobody reaches on a busy machine: what is unseen for a moment is not what is looked at here."""
    patience = {"CHECKOUT_TIMEOUT": "5", "CHECKOUT_DATABASE_TIMEOUT": "10"}
    return {"REDIS_HOST": HOST, "REDIS_PORT": str(port), **patience, **more}


@contextlib.contextmanager
def standalone(directory: Path) -> Iterator[Place]:
    """One server."""
    with ValkeyServer(directory / "redis") as server:

        def restart() -> None:
            server.kill()
            server.start()

        yield Place(_settings(server.port), lambda: save(server), restart)


@contextlib.contextmanager
def sentinel(directory: Path) -> Iterator[Place]:
    """A primary and its replica, which change places at each restart."""
    directory.mkdir(parents=True, exist_ok=True)
    with Replicated(directory) as servers:
        primary, replica = servers.first, servers.second

        def in_step() -> None:
            with primary.client(socket_timeout=5) as first, replica.client(socket_timeout=5) as second:
                wait_until(lambda: _offset(first) == _offset(second), 20)

        def change_places() -> None:
            nonlocal primary, replica
            servers.fail_over(replica)
            servers.wait_for_primary(replica)
            primary, replica = replica, primary

        more = {"REDIS_SENTINELS": f"{HOST}:{servers.port}", "REDIS_SENTINEL_SERVICE": SERVICE}
        yield Place(_settings(primary.port, **more), in_step, change_places)


def _offset(client: object) -> int:
    return int(client.info("replication")["master_repl_offset"])  # type: ignore[attr-defined]


@contextlib.contextmanager
def cluster(directory: Path) -> Iterator[Place]:
    """Three primaries, of which one is started again."""
    with Cluster(directory / "cluster") as servers:
        first, *others = servers.primaries

        def save_all() -> None:
            for server in servers.primaries:
                save(server)

        def restart() -> None:
            first.kill()
            first.start()
            wait_until(lambda: all(servers.is_up(server) for server in servers.primaries), 20)

        nodes = ",".join(f"{HOST}:{server.port}" for server in others)
        more = {"REDIS_MODE": "cluster", "REDIS_CLUSTER_NODES": nodes}
        yield Place(_settings(first.port, **more), save_all, restart)


KINDS = {"standalone": standalone, "sentinel": sentinel, "cluster": cluster}
"""Each kind of Redis that we support."""


@contextlib.contextmanager
def before_postgres(place: Place, url: str) -> Iterator[Place]:
    """The same Redis before a PostgreSQL database that can be lost, for our side alone."""
    with proxied(url) as database:
        faults = {"lose_database": database.proxy.refuse, "restore_database": database.proxy.restore}
        yield place.on_database(database.proxied_url, **faults)
