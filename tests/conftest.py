"""Fixtures that every test may use: real servers, settings for them, and the installed command."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import redis.utils

from checkout_cli.config.settings import Settings
from checkout_cli.servers.embedded import HOST
from tests.support.cluster import Cluster
from tests.support.command import Checkoutctl
from tests.support.forked import FORKED
from tests.support.odd_servers import OddServer, odd_server
from tests.support.servers import REDIS, FakeServer, PostgresServer, RedisServer, ValkeyServer
from tests.support.stores import make_tables

if TYPE_CHECKING:
    from checkout_cli.store.checkout_store import CheckoutStore

# No deadline for one example: on a busy machine it would fail for the neighbours.
hypothesis.settings.register_profile("checkoutctl", deadline=None, database=None)
hypothesis.settings.load_profile("checkoutctl")

# It looks through all that is installed, for each client anew.
redis.utils.get_lib_version = cache(redis.utils.get_lib_version)


def _get_context(kind: str | None = None, *, get: Callable[..., Any] = multiprocessing.get_context) -> Any:
    """Processes that would be spawned, a benchmark's, are forked from one that has imported the library."""
    return FORKED if kind == "spawn" else get(kind)


multiprocessing.get_context = _get_context  # type: ignore[assignment]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="a test that is skipped fails: all that it needs is here")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*programs): without them it is skipped; .ci/run installs them")
    config.addinivalue_line("markers", "mounts: it needs a mount namespace of its own, which takes root")
    config.addinivalue_line("markers", "synchronous: SQLite waits for the disk at each commit, as it does for a shop")
    config.addinivalue_line("markers", "registry: it needs npm's registry")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Half as many again as there are cores: for a third of the time, tests wait for a server or a process."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else ((os.cpu_count() or 1) * 3 + 1) // 2


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture: skip what needs a program that is not on the path, and name it."""
    missing = {name for mark in item.iter_markers("needs") for name in mark.args if shutil.which(name) is None}
    if missing:
        pytest.skip(f"{' and '.join(sorted(missing))} not installed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test has logged travels between processes as UTF-8, and the ids of foreign programs may be none."""
    report = yield
    if report.skipped and item.config.getoption("--no-skips"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {report.longrepr}"
    report.sections = [(title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections]
    return report


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests end processes, and never cut the power: what SQLite waits for at each commit changes nothing here."""
    if request.node.get_closest_marker("synchronous") is None:
        monkeypatch.setattr("checkout_cli.store.database.engine.SYNCHRONOUS", "OFF")


@pytest.fixture(scope="session")
def _shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def _shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def valkey(_shared_valkey: ValkeyServer) -> ValkeyServer:
    """A Valkey that all tests share and each finds empty. Leave it running, with its configuration as it is."""
    _shared_valkey.flush()
    return _shared_valkey


@pytest.fixture(params=["valkey", REDIS])
def any_redis_server(request: pytest.FixtureRequest) -> ValkeyServer:
    """Each kind of server that we support and have here, shared and empty."""
    server: ValkeyServer = request.getfixturevalue(f"_shared_{request.param}")
    server.flush()
    return server


@pytest.fixture(scope="session")
def _shared_fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture(params=["valkey", REDIS, "fake"])
def any_server_port(request: pytest.FixtureRequest) -> int:
    """The port of each kind of server, and of fakeredis, which does not tell who it is; shared and empty."""
    server: ValkeyServer | FakeServer = request.getfixturevalue(f"_shared_{request.param}")
    server.flush()
    return server.port


@pytest.fixture
def valkey_server(tmp_path: Path) -> Iterator[Callable[..., ValkeyServer]]:
    """Starts servers of the test's own, which it may kill or pause: ``valkey_server("--requirepass", "x")``."""
    servers: list[ValkeyServer] = []

    def start(*arguments: str, kind: type[ValkeyServer] = ValkeyServer) -> ValkeyServer:
        server = kind(tmp_path / f"server-{len(servers)}", *arguments)
        servers.append(server)
        server.start()
        return server

    try:
        yield start
    finally:
        for server in servers:
            server.kill()


@pytest.fixture(scope="session")
def _shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster(_shared_cluster: Cluster) -> Cluster:
    """Three primaries, empty, that tests share: leave them running, with the slots where they were."""
    _shared_cluster.flush()
    return _shared_cluster


@pytest.fixture
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OddServer]:
    """The server of a name; every one with ``@pytest.mark.parametrize("odd", each_odd_server(), indirect=True)``."""
    with odd_server(request.param, tmp_path) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty PostgreSQL database of the test's own."""
    url = postgres_server.lend_database()
    yield url
    postgres_server.take_back(url)


@pytest.fixture
def postgres_role(postgres_server: PostgresServer, postgres_url: str) -> Iterator[str]:
    """The URL of the same database for a role ``shop``, which may only connect."""
    postgres_server.execute("CREATE ROLE shop LOGIN")
    yield postgres_url.replace("//postgres:@", "//shop@")
    postgres_server.execute("DROP OWNED BY shop", database=postgres_url)
    postgres_server.execute("DROP ROLE shop")


@pytest.fixture
def settings(valkey: ValkeyServer, tmp_path: Path) -> Settings:
    """Settings for the shared Valkey and a SQLite file that does not exist yet."""
    return Settings(
        redis_host=HOST,
        redis_port=valkey.port,
        database_url=f"sqlite:///{tmp_path / 'checkout.db'}",
        timeout=0.5,  # of a busy machine; more than the default, so that no test fails for its neighbours
    )


@pytest.fixture
def store(settings: Settings) -> Iterator[CheckoutStore]:
    """A store on these settings, with the database's tables in place."""
    from checkout_cli.store.checkout_store import CheckoutStore

    with CheckoutStore.open(settings) as opened:
        make_tables(opened.database)
        yield opened


@pytest.fixture
def checkoutctl(settings: Settings, tmp_path: Path) -> Iterator[Checkoutctl]:
    """``checkoutctl("health", "--json", env={…}, input="…")`` runs the command against the test's servers."""
    runner = Checkoutctl(settings, tmp_path)
    yield runner
    runner.close()
