"""Every command of an operator behind three real Sentinels: on a good day, in the middle of a failover, and after."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from checkout_cli.arguments import options
from checkout_cli.config.settings import Settings
from checkout_cli.domain import Coupons, DeliveryCharges
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.in_process import Outcome, run_here
from tests.support.operator_runs import RUNS, Run
from tests.support.sentinel import SERVICE, Replicated
from tests.support.servers import ValkeyServer
from tests.support.stores import make_tables

SESSIONS = [f"living-{number:04}" for number in range(10)]
TIMEOUT = 0.5
TOLD = {"health", "top", "doctor", "info", "slowlog", "latency", "monitor", "memory", "acl"}
"""Commands that are told this time-out; the others have that of all commands."""
BUSY = 1.0
"""Seconds by which a busy machine may be late."""


AFTERWARDS = {
    "sessions why living-0001": 1,  # it was written meanwhile, and waits for Redis
    "sessions why --user user-1": 1,
    "sync --dry-run": 1,
    "migrate verify": 1,
    "cache delivery get 5 20": 1,  # the old primary's, which nobody believes any more
    "cache coupon get SAVE10": 1,
    "sessions create --file - --id created-01": 1,  # it was created meanwhile
    "sessions delete living-0003 --yes": 3,
}
"""How commands end after the failover, where that is not as on a good day."""


@dataclass
class Place:
    """The servers, and the way of a command to them."""

    servers: Replicated
    directory: Path

    @property
    def sentinels(self) -> str:
        return ",".join(f"{HOST}:{port}" for port in self.servers.ports)

    @property
    def settings(self) -> Settings:
        return Settings(
            redis_sentinels=self.sentinels,
            redis_sentinel_service=SERVICE,
            timeout=2.0,
            database_url=f"sqlite:///{self.directory}/checkout.db",
        )

    def fill(self, primary: ValkeyServer) -> None:
        """Begin anew; returns when the replica has it all."""
        primary.flush()
        (self.directory / "checkout.db").unlink(missing_ok=True)
        with CheckoutStore.open(self.settings) as store:
            make_tables(store.database)
            for number, name in enumerate(SESSIONS):
                store.create({"userId": f"user-{number}", "totalAmount": 24.5}, checkout_id=name)
                DeliveryCharges(store).charge(number, 20, lambda *_: {"fee": 1})
                Coupons(store).validate(f"SAVE{number + 1}", {}, lambda *_: {"valid": True})
        with primary.client(socket_timeout=5) as client:
            assert client.wait(1, 5000) == 1

    def run(self, words: str, given: str = "", *, within: float = 3 * options.TIMEOUT) -> Outcome:
        """A command; it ends ``within`` so many seconds."""
        environment = {
            "REDIS_HOST": HOST,
            "REDIS_PORT": "1",  # nothing listens there, and nobody looks
            "REDIS_SENTINELS": self.sentinels,
            "REDIS_SENTINEL_SERVICE": SERVICE,
            "DATABASE_URL": self.settings.database_url,
            "HOME": str(self.directory),
            "XDG_STATE_HOME": str(self.directory / "state"),
            "PATH": "",
        }
        arguments = words.split()
        if arguments[0] in TOLD:
            arguments += ["--timeout", str(TIMEOUT)]
        outcome = run_here(arguments, environment, self.directory, given=given)
        assert "Traceback" not in outcome.out + outcome.err, outcome
        assert outcome.seconds < within, outcome
        return outcome

    def asked_port(self) -> int:
        """Of the server that a command asks."""
        (server,) = json.loads(self.run("info --json").out)["servers"]
        assert server["sections"]["replication"]["role"] == "master"
        return int(server["sections"]["server"]["tcp_port"])


@pytest.fixture(scope="class")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Servers of each class's own: a process of the suite may come back to an earlier class."""
    directory = tmp_path_factory.mktemp("sentinel")
    with Replicated(directory, sentinels=3) as servers:
        yield Place(servers, directory)


def shown(place: Place, name: str) -> tuple[int, str]:
    """The version of a session, and the tier that it comes from."""
    outcome = place.run(f"sessions show {name} --json")
    assert outcome.code == 0, outcome
    document = json.loads(outcome.out)
    return document["version"], document["tier"]


@pytest.fixture(scope="class")
def filled(place: Place) -> Place:
    """Both servers live, and have the same."""
    place.fill(place.servers.first)
    return place


def kill_the_primary(place: Place) -> None:
    """The primary dies before its replica has the last write, and one Sentinel alone cannot replace it."""
    servers = place.servers
    servers.wait_for_primary(servers.first)
    place.fill(servers.first)
    for port in servers.ports[1:]:
        servers.kill_sentinel(port)
    servers.second.pause()
    with servers.first.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "REPLICA")  # else what is under way would still arrive
    assert place.run("sessions update living-0004 --set notes=new").code == 0
    servers.first.kill()
    servers.second.resume()


class TestOnAGoodDay:
    @pytest.mark.parametrize("run", RUNS, ids=lambda run: run.words)
    def test_every_command_works(self, run: Run, filled: Place) -> None:
        outcome = filled.run(run.words, run.given)
        assert outcome.code == run.code, outcome

    def test_the_primary_is_asked(self, filled: Place) -> None:
        assert filled.asked_port() == filled.servers.first.port

    def test_a_server_that_hangs_costs_one_time_out(self, filled: Place) -> None:
        """The replica hangs too, so that nobody takes over."""
        filled.servers.second.pause()
        filled.servers.first.pause()
        try:
            for words in ("health", "info", "slowlog", "memory show", "latency --samples 3"):
                assert filled.run(words, within=TIMEOUT + BUSY).code in {1, 69}
            assert shown(filled, "living-0005") == (1, "database")
            assert filled.run("sessions list", within=options.TIMEOUT + BUSY).code == 0
        finally:
            filled.servers.first.resume()
            filled.servers.second.resume()


class TestInAFailover:
    """One test for all of it: what a command says depends on those before it, and processes share out the tests."""

    @pytest.mark.timeout(180)
    def test_no_command_breaks_without_a_primary_and_each_works_again_with_the_new_one(self, place: Place) -> None:
        kill_the_primary(place)
        for run in RUNS:
            outcome = place.run(
                run.words, run.given, within=2 * TIMEOUT + BUSY if run.words.split()[0] in TOLD else 3.0
            )
            assert outcome.code in {0, 1, 69}, outcome
            assert outcome.code != 69 or len(outcome.err.splitlines()) <= 4, outcome
        assert shown(place, "living-0004") == (2, "database")
        assert "living-0007" in place.run("sessions list --output ids").out

        place.servers.start_sentinel(place.servers.ports[1])
        place.servers.wait_for_primary(place.servers.second)
        assert place.asked_port() == place.servers.second.port
        self.no_read_is_stale(place)
        for run in RUNS:  # what was created or deleted in between is so now
            outcome = place.run(run.words, run.given)
            assert outcome.code == AFTERWARDS.get(run.words, run.code), outcome

    @staticmethod
    def no_read_is_stale(place: Place) -> None:
        """The new primary has the first version, and believes it as the old one would have."""
        with place.servers.second.client() as client:
            value = client.get("checkout:session:living-0004")
        assert isinstance(value, bytes)
        assert b'"notes"' not in value, "it was not left behind"
        assert shown(place, "living-0004") == (2, "database")
        listed = json.loads(place.run("sessions list --json").out)["sessions"]
        assert {one["checkoutId"]: one["version"] for one in listed}["living-0004"] == 2
