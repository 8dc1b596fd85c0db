"""Fixtures of the fault tests, and ``--matrix``, which prints the fault matrix with the result of each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.servers.embedded import HOST
from tests.faults.harness import Background, Shop
from tests.faults.matrix import ROWS
from tests.support.cluster import Cluster
from tests.support.proxy import ProxiedPostgres, Proxy, proxied
from tests.support.sentinel import SERVICE, Replicated
from tests.support.servers import PostgresServer, ValkeyServer
from tests.support.stores import ManualClock, make_tables

if TYPE_CHECKING:
    from tests.faults.moving import MovingSlot


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--matrix", action="store_true", help="print the fault matrix with the result of each row")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(row): which row of the fault matrix a test is of")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A row that nobody knows would be missing in the matrix."""
    for item in items:
        for mark in item.iter_markers("fault"):
            assert mark.args[0] in ROWS, f"{item.nodeid}: no such row: {mark.args[0]}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report: Any = yield
    mark = item.get_closest_marker("fault")
    if mark is not None:  # with the report, it reaches the process that prints the matrix
        report.user_properties.append(("fault", mark.args[0]))
    return report  # type: ignore[return-value]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not config.getoption("matrix", False):
        return
    results: dict[str, list[str]] = {}
    for kind in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(kind, []):
            if report.when == "call" or report.outcome != "passed":
                row = dict(report.user_properties).get("fault")
                results.setdefault(str(row), []).append(report.outcome)
    terminalreporter.section("fault matrix")
    for row in ROWS:
        outcomes = results.get(row, [])
        tally = ", ".join(
            f"{outcomes.count(kind)} {kind}" for kind in ("passed", "failed", "skipped") if kind in outcomes
        )
        terminalreporter.write_line(f"{row:<48} {tally or 'not run'}")


# The scenario's servers


@pytest.fixture
def clock() -> ManualClock:
    """Time, for all processes of a scenario."""
    return ManualClock()


@pytest.fixture
def background() -> Iterator[Background]:
    with Background() as runner:
        yield runner


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'checkout.db'}"


@dataclass
class Scenario:
    """The servers of one test; ``redis`` is the test's own, to kill and to freeze."""

    redis: ValkeyServer
    settings: Settings

    def through(self, proxy: Proxy) -> Settings:
        """The settings of a process that reaches Redis through a proxy."""
        return replace(self.settings, redis_host=HOST, redis_port=proxy.port)


def settings_for(server: ValkeyServer, database_url: str, **changes: Any) -> Settings:
    """Redis answers within 0.4 s here, as it does on a busy machine; the database within 1 s."""
    fields = {"redis_host": HOST, "redis_port": server.port, "database_url": database_url}
    return Settings(**{**fields, "timeout": 0.4, "database_timeout": 1.0, **changes})


@pytest.fixture
def scenario(valkey: ValkeyServer, sqlite_url: str) -> Scenario:
    """The Valkey that all tests share, which must be left as it was, and a SQLite file."""
    return Scenario(valkey, settings_for(valkey, sqlite_url))


@pytest.fixture
def own_scenario(valkey_server: Callable[..., ValkeyServer], sqlite_url: str) -> Scenario:
    """A Valkey of the test's own, which it may kill, and a SQLite file."""
    server = valkey_server()
    return Scenario(server, settings_for(server, sqlite_url))


@pytest.fixture
def make_shop(clock: ManualClock, request: pytest.FixtureRequest) -> Iterator[Callable[..., Shop]]:
    """``make_shop(settings)``: the shop, its database with our tables; reckoned with when the test has passed."""
    shops: list[Shop] = []

    def make(settings: Settings) -> Shop:
        shop = Shop(settings, clock)
        make_tables(shop.process().database)
        shops.append(shop)
        return shop

    yield make
    for shop in shops:
        try:
            shop.check()
        finally:
            shop.close()


@pytest.fixture
def redis_proxy(scenario: Scenario) -> Iterator[Proxy]:
    """A proxy before the shared Valkey."""
    with Proxy((HOST, scenario.redis.port)) as proxy:
        yield proxy


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[ProxiedPostgres]:
    with proxied(postgres_url) as through:
        yield through


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that a test may crash."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def any_database_url(request: pytest.FixtureRequest) -> str:
    """Each kind of database that we support, without our tables."""
    url: str = request.getfixturevalue({"sqlite": "sqlite_url", "postgres": "postgres_url"}[request.param])
    return url


# Several servers


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three primaries that a test may kill."""
    with Cluster(tmp_path / "cluster") as cluster:
        yield cluster


@pytest.fixture
def moving(cluster: Cluster) -> Iterator[MovingSlot]:
    """The slot of the test's session, which a test may move from one primary to another."""
    from tests.faults.moving import MovingSlot

    slot = MovingSlot(cluster)
    yield slot
    slot.restore()


@pytest.fixture
def replicated(tmp_path: Path) -> Iterator[Replicated]:
    """A primary, its replica and a Sentinel."""
    with Replicated(tmp_path) as servers:
        yield servers


@pytest.fixture
def settings_behind_sentinel(replicated: Replicated, sqlite_url: str) -> Settings:
    """Of a process that asks the Sentinel."""
    return replace(
        settings_for(replicated.first, sqlite_url),
        redis_sentinels=f"{HOST}:{replicated.port}",
        redis_sentinel_service=SERVICE,
    )
