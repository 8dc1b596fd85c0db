"""Redis looked for as what it is not: a cluster that is none, one node of one, a primary that no Sentinel knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.cluster import Cluster
from tests.support.in_process import Outcome, run_here
from tests.support.sentinel import Replicated
from tests.support.servers import ValkeyServer
from tests.support.stores import make_tables

NEEDS_REDIS = (
    "info server",
    "memory show",
    "memory families",
    "sessions index check",
    "migrate plan",
    "migrate verify",
    "cache delivery list",
)
FALLS_BACK = (
    "health",
    "sessions list",
    "cleanup --expired",
    "sync",
    "stats",
    "sessions create --file - --id created-01",
)
"""What the database can answer, or take, while there is no Redis."""
SESSIONS = [f"session-{number:04}" for number in range(12)]


@dataclass
class Wrong:
    """Settings that lead to something else than they say, and how every command begins to say so."""

    environment: Mapping[str, str]
    directory: Path
    said: str
    hint: str

    def run(self, words: str) -> Outcome:
        return run_here(words.split(), self.environment, self.directory, given="{}")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    directory = tmp_path_factory.mktemp("wrong")
    url = f"sqlite:///{directory / 'checkout.db'}"
    with CheckoutStore.open(Settings(redis_port=1, redis_host=HOST, database_url=url)) as store:
        make_tables(store.database)
        for name in SESSIONS:
            store.create({}, checkout_id=name)
    return directory, {"HOME": str(directory), "PATH": "", "DATABASE_URL": url, "REDIS_HOST": HOST}


@pytest.fixture(scope="module")
def cluster_that_is_none(base: tuple[Path, dict[str, str]]) -> Iterator[Wrong]:
    directory, environment = base
    with ValkeyServer(directory / "single") as server:
        mode = {"REDIS_PORT": str(server.port), "REDIS_MODE": "cluster"}
        place = f"Redis at {HOST}:{server.port} is no node of a cluster"
        yield Wrong(environment | mode, directory, place, "set REDIS_MODE=standalone")


@pytest.fixture(scope="module")
def node_of_a_cluster(base: tuple[Path, dict[str, str]]) -> Iterator[Wrong]:
    directory, environment = base
    with Cluster(directory / "cluster") as cluster:
        port = cluster.primaries[0].port
        place = f"Redis at {HOST}:{port} is a node of a cluster"
        yield Wrong(environment | {"REDIS_PORT": str(port)}, directory, place, "set REDIS_MODE=cluster")


@pytest.fixture(scope="module")
def unknown_primary(base: tuple[Path, dict[str, str]]) -> Iterator[Wrong]:
    directory, environment = base
    with Replicated(directory / "sentinel") as servers:
        variables = {"REDIS_SENTINELS": f"{HOST}:{servers.port}", "REDIS_SENTINEL_SERVICE": "no-such-shop"}
        yield Wrong(environment | variables, directory, "no primary", "REDIS_SENTINEL_SERVICE")


def is_told(outcome: Outcome, wrong: Wrong) -> bool:
    """In one line, and the next says what to do."""
    lines = outcome.err.splitlines()
    at = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    return len(at) == 1 and wrong.said in lines[at[0]] and wrong.hint in "".join(lines[at[0] :])


@pytest.mark.parametrize("kind", ["cluster_that_is_none", "unknown_primary"])
@pytest.mark.parametrize("words", NEEDS_REDIS)
def test_what_needs_redis_says_in_one_line_what_is_wrong(kind: str, words: str, request: pytest.FixtureRequest) -> None:
    wrong: Wrong = request.getfixturevalue(kind)
    outcome = wrong.run(words)
    assert outcome.code == 78 or (kind == "unknown_primary" and outcome.code == 69), outcome
    assert is_told(outcome, wrong), outcome


@pytest.mark.parametrize(
    "words", ["sessions list", "cleanup --expired", "sync", "stats", "migrate plan", "migrate verify"]
)
def test_one_node_is_not_taken_for_all_of_a_cluster(words: str, node_of_a_cluster: Wrong) -> None:
    outcome = node_of_a_cluster.run(words)
    assert outcome.code == 78, outcome
    assert is_told(outcome, node_of_a_cluster), outcome


@pytest.mark.parametrize("kind", ["cluster_that_is_none", "node_of_a_cluster", "unknown_primary"])
def test_health_is_not_well_and_says_why(kind: str, request: pytest.FixtureRequest) -> None:
    wrong: Wrong = request.getfixturevalue(kind)
    outcome = wrong.run("health")
    assert outcome.code in {1, 78}, outcome
    assert wrong.said in outcome.out
    assert wrong.hint in outcome.out + outcome.err


@pytest.mark.parametrize("kind", ["cluster_that_is_none", "node_of_a_cluster", "unknown_primary"])
@pytest.mark.parametrize("words", FALLS_BACK)
def test_nothing_is_lost_or_half_written(
    kind: str, words: str, request: pytest.FixtureRequest, base: tuple[Path, dict[str, str]]
) -> None:
    wrong: Wrong = request.getfixturevalue(kind)
    outcome = wrong.run(words)
    assert outcome.code in {0, 1, 69, 78, 2}, outcome
    assert "Traceback" not in outcome.err
    with CheckoutStore.open(Settings(redis_port=1, redis_host=HOST, database_url=base[1]["DATABASE_URL"])) as store:
        assert all(store.get(name).version == 1 for name in SESSIONS)
