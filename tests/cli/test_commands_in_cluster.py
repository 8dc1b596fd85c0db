"""Every command of an operator on a real cluster: whole, with one primary dead, and while slots move."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from checkout_cli.arguments import options
from checkout_cli.config.settings import Settings
from checkout_cli.domain import Coupons, DeliveryCharges
from checkout_cli.keys import INDEX, PENDING, session_key
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.cluster import Cluster
from tests.support.in_process import Outcome, run_here
from tests.support.operator_runs import RUNS, Run
from tests.support.servers import ValkeyServer
from tests.support.stores import make_tables, wait_until

SESSIONS = [f"living-{number:04}" for number in range(30)]
TIMEOUT = "0.5"
TOLD = {"health", "top", "doctor", "info", "slowlog", "latency", "monitor", "memory", "cleanup", "acl"}
"""Commands that are told this time-out; the others have that of all commands."""
LONGEST = 5.0
"""Seconds; a command that waited once for each question to a server that is away would need far more."""
LONGEST_WITH_PROCESSES = 20.0
"""The same where it starts processes, and measures for two seconds."""


PARTIAL = (
    "health --json",
    "info --json",
    "slowlog --json",
    "slowlog --reset --yes --json",
    "latency --samples 3 --json",
    "monitor --seconds 0.1 --json",
    "acl check --role reader --json",
    "memory show --json",
    "memory families --json",
    "memory families --sample 1000 --json",
    "memory tune --advise --json",
    "sessions list --json",
    "sessions list --tier redis --json",
    "users list --limit 500 --json",
    "cache stats --since 60m --json",
    "cache delivery list --limit 500 --json",
    "cache coupon list --limit 500 --json",
    "cleanup --expired --json",
    "cleanup --orphans --yes --json",
)
"""What asks all servers, and says which of them are missing."""


@dataclass
class Field:
    """A cluster with sessions, caches and users in it, and the way of a command to it."""

    cluster: Cluster
    directory: Path
    runs: int = field(default=0)

    @property
    def settings(self) -> Settings:
        return Settings(
            redis_host=HOST,
            redis_port=self.cluster.primaries[0].port,
            redis_mode="cluster",
            timeout=2.0,
            database_url=f"sqlite:///{self.directory}/checkout.db",
        )

    def fill(self) -> None:
        """Begin anew."""
        self.cluster.flush()
        (self.directory / "checkout.db").unlink(missing_ok=True)
        with CheckoutStore.open(self.settings) as store:
            make_tables(store.database)
            for number, name in enumerate(SESSIONS):
                store.create({"userId": f"user-{number}", "totalAmount": 24.5}, checkout_id=name)
                DeliveryCharges(store).charge(number, 20, lambda *_: {"fee": 1})
                Coupons(store).validate(f"SAVE{number}", {}, lambda *_: {"valid": True})

    def run(self, words: str, given: str = "") -> Outcome:
        """A command, told of all nodes."""
        environment = {
            "REDIS_HOST": HOST,
            "REDIS_PORT": str(self.cluster.primaries[0].port),
            "REDIS_CLUSTER_NODES": ",".join(f"{HOST}:{server.port}" for server in self.cluster.primaries[1:]),
            "REDIS_MODE": "cluster",
            "DATABASE_URL": self.settings.database_url,
            "HOME": str(self.directory),
            "XDG_STATE_HOME": str(self.directory / "state"),
            "PATH": "",
        }
        arguments = words.split()
        if arguments[0] in TOLD:
            arguments += ["--timeout", TIMEOUT]
        outcome = run_here(arguments, environment, self.directory, given=given)
        assert "Traceback" not in outcome.out + outcome.err, outcome
        assert outcome.seconds < (LONGEST_WITH_PROCESSES if arguments[0] == "bench" else LONGEST), outcome
        return outcome


@pytest.fixture(scope="module")
def field_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    directory = tmp_path_factory.mktemp("cluster")
    with Cluster(directory / "nodes") as cluster:
        yield Field(cluster, directory)


# Whole


@pytest.fixture(scope="module")
def whole(field_of: Field) -> Field:
    field_of.fill()
    return field_of


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.words)
def test_every_command_works(run: Run, whole: Field) -> None:
    outcome = whole.run(run.words, run.given)
    assert outcome.code == run.code, outcome
    assert "partial" not in outcome.err


def test_lists_have_what_all_servers_have(whole: Field) -> None:
    whole.fill()
    listed = whole.run("sessions list --tier redis --limit 500 --output ids").out.split()
    assert sorted(listed) == SESSIONS
    assert len(json.loads(whole.run("users list --limit 500 --json").out)["users"]) == len(SESSIONS)
    assert len(json.loads(whole.run("cache coupon list --limit 500 --json").out)["entries"]) == len(SESSIONS)


def test_a_deletion_is_taken_back_on_all_servers(whole: Field) -> None:
    whole.fill()
    before = whole.run("sessions export --reveal").out
    deleted = whole.run("sessions delete --status pending --yes --undo-file all.undo")
    assert deleted.code == 0, deleted
    assert whole.run("sessions list --output ids").out == ""
    restored = whole.run("sessions restore all.undo")
    assert restored.code == 0, restored
    assert sorted(whole.run("sessions list --tier redis --limit 500 --output ids").out.split()) == SESSIONS
    kept = [json.loads(line) for line in whole.run("sessions export --reveal").out.splitlines()]
    fields = {document["checkoutId"]: document for document in map(json.loads, before.splitlines())}
    assert len(kept) == len(fields) == len(SESSIONS)
    for session in kept:
        assert session["session"]["userId"] == fields[session["checkoutId"]]["session"]["userId"]
    assert whole.run("sessions index check").code == 0


# While slots move


@pytest.fixture(scope="class")
def moving(field_of: Field) -> Iterator[Field]:
    """The slot of every key that there is moves: of some, no key has arrived yet, of the others all."""
    field_of.fill()
    cluster = field_of.cluster
    slots: dict[int, ValkeyServer] = {}
    for server in cluster.primaries:
        with server.client(socket_timeout=5) as client:
            slots |= {key_slot(key): server for key in client.scan_iter(count=1000)}
    moves = []
    for slot, source in sorted(slots.items()):
        target = cluster.primaries[(cluster.primaries.index(source) + 1) % len(cluster.primaries)]
        cluster.begin_move(slot, source, target)
        if slot % 3:
            cluster.move_keys(slot, source, target)
        moves.append((slot, source, target))
    yield field_of
    for slot, source, target in moves:
        cluster.move_keys(slot, source, target)
        cluster.end_move(slot, source, target)


class TestWhileSlotsMove:
    @pytest.mark.parametrize("run", RUNS, ids=lambda run: run.words)
    def test_no_command_shows_it(self, run: Run, moving: Field) -> None:
        outcome = moving.run(run.words, run.given)
        assert outcome.code == (run.code if run.moving is None else run.moving), outcome
        for sign in ("error", "MOVED", "ASK ", "TRYAGAIN", "partial"):
            assert sign not in outcome.err, outcome


def test_a_primary_that_hangs_costs_one_time_out(field_of: Field) -> None:
    field_of.fill()
    hung = other_than(field_of.cluster, field_of.cluster.primaries[0])
    assert hung.pid is not None
    os.kill(hung.pid, signal.SIGSTOP)
    try:
        for words in (
            "info",
            "slowlog",
            "memory show",
            "memory families",
            "health",
            "acl check",
            "monitor --seconds 0.1",
        ):
            outcome = field_of.run(words)
            assert outcome.code in {0, 1}, outcome
            assert outcome.seconds < 2 * float(TIMEOUT), outcome
        outcome = field_of.run("sessions list")
        assert (outcome.code, outcome.seconds < 1.5 * options.TIMEOUT) == (1, True), outcome
    finally:
        os.kill(hung.pid, signal.SIGCONT)
    wait_until(lambda: all(field_of.cluster.is_up(server) for server in field_of.cluster.primaries), 15)


# One primary dead


def other_than(cluster: Cluster, *servers: ValkeyServer) -> ValkeyServer:
    return next(server for server in cluster.primaries if server not in servers)


WHICH: dict[str, Callable[[Cluster], ValkeyServer]] = {
    "that of the index": lambda cluster: cluster.owner(INDEX),
    "another": lambda cluster: other_than(cluster, cluster.owner(INDEX), cluster.primaries[0]),
    "the one that the settings name": lambda cluster: cluster.primaries[0],
}


@dataclass
class Maimed:
    """A cluster without one of its primaries."""

    field: Field
    dead: ValkeyServer
    on_the_dead: set[str]
    """Sessions."""
    has_index: bool
    has_pending: bool

    @property
    def place(self) -> str:
        return f"{HOST}:{self.dead.port}"


@pytest.fixture(scope="class", params=WHICH.values(), ids=WHICH)
def maimed(request: pytest.FixtureRequest, field_of: Field) -> Iterator[Maimed]:
    cluster = field_of.cluster
    field_of.fill()
    dead: ValkeyServer = request.param(cluster)
    lost = {name for name in SESSIONS if cluster.owner(session_key(name)) is dead}
    assert lost
    has_index, has_pending = cluster.owner(INDEX) is dead, cluster.owner(PENDING) is dead
    dead.kill()
    yield Maimed(field_of, dead, lost, has_index, has_pending)
    dead.start()
    wait_until(lambda: all(cluster.is_up(server) for server in cluster.primaries), 15)


def documents(outcome: Outcome) -> dict[str, Any]:
    """The part of an answer that says what is missing: health's of Redis, the last line of a stream."""
    document: dict[str, Any] = outcome.documents[-1]
    for name in ("redis", "summary", "orphans"):
        if isinstance(document.get(name), dict) and "partial" in document[name]:
            return dict(document[name])
    return document


class TestOnePrimaryDead:
    @pytest.mark.parametrize("words", PARTIAL)
    def test_what_asks_all_servers_answers_for_the_others_and_names_the_dead_one(
        self, words: str, maimed: Maimed
    ) -> None:
        with_json = maimed.field.run(words)
        assert with_json.code in {0, 1}, with_json
        said = documents(with_json)
        assert (said["partial"], said["missingServers"]) == (True, [maimed.place]), with_json
        plain = maimed.field.run(words.removesuffix(" --json"))
        assert plain.code == with_json.code
        assert f"no answer from {maimed.place}" in plain.err + plain.out

    def test_doctor_finds_it_critical_and_examines_the_others(self, maimed: Maimed) -> None:
        if maimed.dead is maimed.field.cluster.primaries[0]:
            pytest.skip("then its own words say why: see the tests of doctor")
        report = json.loads(maimed.field.run("doctor --json").out)
        checks = {check["id"]: check for check in report["checks"]}
        assert checks["connect"]["status"] == "crit"
        assert maimed.place in checks["connect"]["evidence"]
        for name in ("topology", "persistence", "memory-limit", "clients"):
            assert checks[name]["status"] in {"ok", "warn"}, checks[name]
            assert checks[name]["numbers"]["servers"] == 2

    @pytest.mark.parametrize("run", RUNS, ids=lambda run: run.words)
    def test_no_command_breaks(self, run: Run, maimed: Maimed) -> None:
        """It answers, or says in one line which server it would have needed."""
        outcome = maimed.field.run(run.words, run.given)
        assert outcome.code in {0, 1, 69}, outcome
        if outcome.code == 69:
            assert maimed.place in outcome.err + outcome.out, outcome

    def test_every_session_is_served_those_of_the_living_from_redis(self, maimed: Maimed) -> None:
        for name in ("living-0000", *SESSIONS[4:20]):
            shown = maimed.field.run(f"sessions show {name} --json")
            assert shown.code == 0, shown
            tier = json.loads(shown.out)["tier"]
            assert tier == ("database" if name in maimed.on_the_dead else "redis"), (name, tier)

    def test_lists_have_every_session_once(self, maimed: Maimed) -> None:
        listed = maimed.field.run("sessions list --limit 500 --output ids").out.split()
        assert len(listed) == len(set(listed))
        assert set(SESSIONS[4:]) <= set(listed)
        in_redis = set(maimed.field.run("sessions list --tier redis --limit 500 --output ids").out.split())
        assert in_redis & set(SESSIONS[4:]) == set(SESSIONS[4:]) - maimed.on_the_dead
