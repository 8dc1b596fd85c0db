"""``checkoutctl bench`` as a person and a script run it."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pexpect
import pytest

from checkout_cli.commands.bench.stage import PREFIX
from checkout_cli.config.settings import Settings
from checkout_cli.keys import SESSION_PREFIX
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.inspection import number_starting_with
from tests.support.command import Checkoutctl
from tests.support.servers import ValkeyServer
from tests.support.stores import ID, wait_until

SHORT = ("bench", "--seconds", "2", "--shoppers", "3")


def remains(store: CheckoutStore, server: ValkeyServer) -> tuple[int, int]:
    """Rows and sessions of a benchmark; the claim of a creation that was interrupted is none, and ends after 10 s."""
    with server.client(socket_timeout=5) as client:
        sessions = len(list(client.scan_iter(f"{SESSION_PREFIX}{PREFIX}*")))
        return number_starting_with(store.database, PREFIX), sessions


def test_a_shops_servers_are_not_loaded_without_consent(
    store: CheckoutStore, checkoutctl: Checkoutctl, valkey: ValkeyServer
) -> None:
    store.create({}, checkout_id=ID)
    run = checkoutctl(*SHORT)
    assert run.returncode == 2
    assert "1 live checkouts are there" in run.stderr
    assert "error: nothing was changed" in run.stderr
    assert run.stdout == ""
    assert remains(store, valkey) == (0, 0)


@pytest.mark.timeout(120)
def test_on_a_terminal_it_asks_and_goes_on_with_a_yes_only(
    store: CheckoutStore, checkoutctl: Checkoutctl, valkey: ValkeyServer
) -> None:
    store.create({}, checkout_id=ID)
    for answer, code, said in (("n", 1, "nothing was changed"), ("y", 0, "the documentation says")):
        program, *arguments = checkoutctl.command(*SHORT)
        child = pexpect.spawn(
            program,
            arguments,
            env=checkoutctl.environment | {"TERM": "xterm", "COLUMNS": "100"},
            cwd=checkoutctl.environment["HOME"],
            encoding="utf-8",
            timeout=60,
            dimensions=(24, 100),
        )
        child.expect("as 3 busy shoppers, over up to 3 connections to each")
        child.sendline(answer)
        child.expect(said)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == code
    assert remains(store, valkey) == (0, 0)


def test_the_answer_as_json(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl.process(*SHORT, "--json", timeout=60)
    assert (run.returncode, run.stderr) == (0, ""), run
    document = json.loads(run.stdout)
    assert document["schemaVersion"] == 1
    assert document["shoppers"] == 3
    assert {claim["id"] for claim in document["claims"]} == {"retrieval", "users", "load", "uptime"}
    assert document["outage"]["sessionsLost"] == 0
    assert (
        sum(part["byRedis"] + part["byDatabase"] + part["failed"] for part in document["outage"]["overTime"])
        == (document["outage"]["steps"])
    )
    for way in ("databaseOnly", "withRedis"):
        assert document["traffic"][way]["stepsPerSecond"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("seconds", "sessions"), [("60", 50), ("5", 150)], ids=["while creating", "while shopping"])
def test_interrupted_it_ends_at_once_and_leaves_nothing(
    store: CheckoutStore,
    checkoutctl: Checkoutctl,
    valkey: ValkeyServer,
    number: signal.Signals,
    seconds: str,
    sessions: int,
) -> None:
    process = checkoutctl.start("bench", "--seconds", seconds, "--shoppers", "3")
    wait_until(lambda: remains(store, valkey)[1] > sessions, 20)
    for _ in range(3):  # an impatient user, or a supervisor that tells the whole group of processes
        process.send_signal(number)
        time.sleep(0.02)
    begun = time.monotonic()
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - begun < 10
    assert "Traceback" not in out + err
    assert remains(store, valkey) == (0, 0)


def test_killed_it_leaves_nothing_that_the_next_run_does_not_remove(
    store: CheckoutStore, checkoutctl: Checkoutctl, valkey: ValkeyServer
) -> None:
    process = checkoutctl.start("bench", "--seconds", "60", "--shoppers", "3")
    wait_until(lambda: remains(store, valkey)[1] > 50, 20)
    process.kill()
    process.communicate(timeout=5)  # its own processes hold the pipes, and end with it
    with valkey.client() as client:
        for lock in client.scan_iter("checkout:lock:*"):  # it would end by itself, after half a minute
            client.delete(lock)
    run = checkoutctl.process(*SHORT, timeout=60)
    assert run.returncode == 0
    assert "that an earlier one had left were removed too" in run.stdout
    assert remains(store, valkey) == (0, 0)


def test_without_redis_it_measures_the_database_and_says_so(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl.process(*SHORT, env={"REDIS_PORT": "1"}, timeout=60)
    assert run.returncode == 1
    assert "warning: only the database was measured: Redis at" in run.stderr
    assert "not measured" in run.stdout


def test_without_the_database_there_is_nothing_to_compare(checkoutctl: Checkoutctl) -> None:
    run = checkoutctl(*SHORT)
    assert run.returncode == 69
    assert run.stderr.splitlines()[0].startswith("error: there is no database")


def test_a_server_of_its_own_needs_no_other_and_is_really_killed(checkoutctl: Checkoutctl, settings: Settings) -> None:
    run = checkoutctl.process(*SHORT, "--embedded", env={"REDIS_PORT": "1"}, timeout=60)
    assert run.returncode == 0, run
    assert "Redis killed (SIGKILL) and started again" in run.stdout
    assert not Path(settings.database_url.removeprefix("sqlite:///")).exists()
