"""A clean-up of a real cluster while one primary is dead: what may live there waits, all else is cleaned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from checkout_cli.commands.cleanup.expired import clean_up
from checkout_cli.config.settings import Settings
from checkout_cli.keys import INDEX, session_key
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.commands import encoded
from tests.support.cluster import Cluster
from tests.support.servers import ValkeyServer
from tests.support.stores import LONG_AGO, ManualClock, evict, make_store, make_tables, wait_until

NAMES = [f"session-{number:04}" for number in range(60)]
TTL = 1800
JUST_ENDED = 60
"""Seconds; less than the tenth of the TTL by which a row may not know of a read yet."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


def settings_for(cluster: Cluster, directory: Path) -> Settings:
    nodes = ",".join(f"{HOST}:{server.port}" for server in cluster.primaries)
    return Settings(
        redis_host=HOST,
        redis_port=cluster.primaries[0].port,
        redis_cluster_nodes=nodes,
        redis_mode="cluster",
        timeout=2.0,
        session_ttl=float(TTL),
        database_url=f"sqlite:///{directory}/checkout.db",
    )


def rows(store: CheckoutStore) -> set[str]:
    return set(store.database.read_many(NAMES))


def entries(store: CheckoutStore) -> set[str]:
    return {name.decode() for name in store.redis.ask(("ZRANGE", INDEX, 0, -1))}


def test_what_a_dead_primary_may_have_waits_and_the_rest_goes(cluster: Cluster, tmp_path: Path) -> None:
    long_ago = ManualClock()
    long_ago.advance(-TTL - JUST_ENDED)
    with make_store(settings_for(cluster, tmp_path), long_ago) as store:
        make_tables(store.database)
        for name in NAMES:
            store.create({}, checkout_id=name)
            evict(store, name)
        store.redis.ask(("ZADD", INDEX, *(part for name in NAMES for part in (LONG_AGO, encoded(name)))))
    dead: ValkeyServer = next(server for server in cluster.primaries if server is not cluster.owner(INDEX))
    waiting = {name for name in NAMES if cluster.owner(session_key(name)) is dead}
    assert 5 < len(waiting) < 40
    dead.kill()
    with make_store(settings_for(cluster, tmp_path)) as store:
        preview = clean_up(store, dry_run=True, batch=1)
        report = clean_up(store, batch=1)  # so that whole steps are of nothing but such sessions
        assert preview.removed_from_database == report.removed_from_database == len(NAMES) - len(waiting)
        assert report.missing == (f"{HOST}:{dead.port}",)
        assert report.finished
        assert rows(store) == entries(store) == waiting
        assert (report.still_alive, report.left) == (0, len(waiting))
    later = ManualClock()
    later.advance(TTL / 10 + JUST_ENDED)
    with make_store(settings_for(cluster, tmp_path), later) as store:
        store.redis.time = store.database.now = lambda: later.milliseconds  # type: ignore[method-assign]  # all clocks agree
        assert clean_up(store, batch=1).removed_from_database == len(waiting)  # no read of them can still be unnoted
        assert rows(store) == set()
        assert entries(store) == waiting
    dead.start()
    wait_until(lambda: all(cluster.is_up(server) for server in cluster.primaries), 15)
    with make_store(settings_for(cluster, tmp_path)) as store:
        report = clean_up(store)
        assert (report.missing, report.removed_from_index) == ((), len(waiting))
        assert entries(store) == set()
