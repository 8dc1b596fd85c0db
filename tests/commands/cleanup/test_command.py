from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from checkout_cli.commands.cleanup.cleanup import Cleanup
from checkout_cli.commands.cleanup.expired import CleanupReport
from checkout_cli.commands.cleanup.view import show_cleanup
from checkout_cli.config.settings import Settings
from checkout_cli.jobs.clocks import Clocks
from checkout_cli.keys import INDEX, INDEX_BESIDE, lock_key
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl
from tests.support.ports import free_port
from tests.support.servers import ValkeyServer
from tests.support.stores import ManualClock, evict, make_store, make_tables, put_raw

CLEANUP = ("cleanup", "--expired")


@pytest.fixture
def store(settings: Settings) -> Iterator[CheckoutStore]:
    """Two sessions that ended hours ago, and one that lives."""
    clock = ManualClock()
    clock.advance(-10_800)
    with make_store(settings, clock) as opened:
        make_tables(opened.database)
        for name in ("expired-1", "expired-2"):
            opened.create({"userEmail": "ada@example.com"}, checkout_id=name)
            evict(opened, name)
        clock.advance(10_800)
        opened.create({}, checkout_id="living-01")
        yield opened


def test_it_says_how_many_of_each_it_removed(checkoutctl: Checkoutctl, store: CheckoutStore) -> None:
    done = checkoutctl(*CLEANUP)
    assert done.returncode == 0
    assert done.stdout == "removed 2 expired sessions from the index, 2 from the database, 0 from memory\n"
    assert done.stderr == ""
    assert [page for page in store.index.newest() if page] == [["living-01"]]


def test_it_is_silent_on_success_when_asked_to_be(checkoutctl: Checkoutctl, store: CheckoutStore) -> None:
    done = checkoutctl(*CLEANUP, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert store.database.read("expired-1") is None


def test_a_dry_run_changes_nothing(checkoutctl: Checkoutctl, store: CheckoutStore) -> None:
    done = checkoutctl(*CLEANUP, "--dry-run")
    assert done.returncode == 0
    assert done.stdout.startswith("would remove 2 expired sessions from the index, 2 from the database")
    assert store.database.read("expired-1") is not None
    assert store.redis.ask(("ZCARD", INDEX)) == 3


def test_its_json_has_a_schema_version(checkoutctl: Checkoutctl, store: CheckoutStore) -> None:
    done = checkoutctl(*CLEANUP, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {
        "schemaVersion": 1,
        "dryRun": False,
        "removed": {"index": 2, "database": 2, "memory": 0, "tombstones": 0, "flushLog": 0},
        "stillAlive": 0,
        "enteredFromSet": 0,
        "enteredIntoIndex": 0,
        "withoutExpiry": 0,
        "finished": True,
        "unreachable": [],
        "left": 0,
        "partial": False,
        "missingServers": [],
    }


def test_a_second_one_is_skipped_and_says_why(checkoutctl: Checkoutctl, store: CheckoutStore) -> None:
    store.redis.lock("cleanup", "host:1:token", 30_000)
    done = checkoutctl(*CLEANUP, "--quiet")
    assert done.returncode == 75
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "skipped: locked by host:1:token",
        "next: checkoutctl doctor --only job-locks",
    ]
    assert store.redis.ask(("GET", lock_key("cleanup"))) == b"host:1:token"


def test_an_older_programs_set_stays(checkoutctl: Checkoutctl, store: CheckoutStore) -> None:
    store.redis.ask(("DEL", INDEX))
    store.redis.ask(("SADD", INDEX, "older-0001", "older-0002"))
    put_raw(store, "older-0001", b'{"checkoutId":"older-0001"}')
    done = checkoutctl(*CLEANUP)
    assert done.returncode == 0
    assert "removed 1 expired sessions from the index" in done.stdout
    assert "entered 1 sessions that only an older program's SET listed" in done.stdout
    assert set(store.redis.ask(("SMEMBERS", INDEX))) == {b"older-0001", b"living-01"}


def test_without_redis_it_cleans_the_database_and_says_so(checkoutctl: Checkoutctl, store: CheckoutStore) -> None:
    done = checkoutctl(*CLEANUP, "--quiet", env={"REDIS_PORT": str(free_port())})
    assert done.returncode == 1
    assert done.stdout == ""
    assert "not cleaned up: Redis" in done.stderr
    assert store.database.read("expired-1") is None


def test_with_both_away_it_is_unavailable(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    away = {"REDIS_PORT": str(free_port()), "DATABASE_URL": f"postgresql://{HOST}:{free_port()}/checkout"}
    for options in ((), ("--dry-run",), ("--quiet",), ("--json",)):
        done = checkoutctl(*CLEANUP, *options, env=away)
        assert (done.returncode, done.stdout) == (69, "")
        assert "Traceback" not in done.stderr
        assert done.stderr.startswith("error: ")


def test_a_wrong_password_is_a_refusal(
    checkoutctl: Checkoutctl, valkey_server: Callable[..., ValkeyServer], store: CheckoutStore
) -> None:
    server = valkey_server("--requirepass", "right")
    done = checkoutctl(*CLEANUP, env={"REDIS_PORT": str(server.port), "REDIS_PASSWORD": "canary"})
    assert done.returncode == 4
    assert "canary" not in done.stdout + done.stderr
    assert store.database.read("expired-1") is not None


def test_where_no_place_is_left_for_an_index_that_is_a_finding(checkoutctl: Checkoutctl, store: CheckoutStore) -> None:
    store.redis.ask(("SET", INDEX, "hello"))
    store.redis.ask(("SET", INDEX_BESIDE, "hello"))
    done = checkoutctl(*CLEANUP)
    assert done.returncode == 1
    assert "checkout:expiry:{checkout:index} holds a string, not an index" in done.stderr
    assert store.database.read("expired-1") is None


def test_it_says_what_it_cleans_only_when_told(checkoutctl: Checkoutctl, store: CheckoutStore) -> None:
    done = checkoutctl("cleanup")
    assert done.returncode == 2
    assert "checkoutctl cleanup --expired" in done.stderr
    assert store.database.read("expired-1") is not None


@pytest.mark.parametrize(
    "options", [("--max-seconds", "0"), ("--max-seconds", "nan"), ("--batch", "0"), ("--batch", "x")]
)
def test_impossible_bounds_are_a_mistake_of_usage(checkoutctl: Checkoutctl, options: tuple[str, str]) -> None:
    done = checkoutctl(*CLEANUP, *options)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_it_stops_when_the_time_is_up_and_says_so(checkoutctl: Checkoutctl, store: CheckoutStore) -> None:
    done = checkoutctl(*CLEANUP, "--max-seconds", "60", "--batch", "1")
    assert done.returncode == 0
    assert "stopped" not in done.stdout


def test_it_prints_no_personal_data(checkoutctl: Checkoutctl, store: CheckoutStore) -> None:
    for options in ((), ("--json",), ("--dry-run",)):
        done = checkoutctl(*CLEANUP, *options, env={"DEBUG": "redis:*"})
        assert "ada@example.com" not in done.stdout + done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_a_redis_that_hangs_costs_its_time_out(
    checkoutctl: Checkoutctl, valkey_server: Callable[..., ValkeyServer], store: CheckoutStore
) -> None:
    server = valkey_server()
    server.pause()
    done = checkoutctl(*CLEANUP, "--timeout", "0.3", env={"REDIS_PORT": str(server.port)})
    assert done.seconds < 10
    assert done.returncode == 1
    assert "did not answer in time" in done.stderr
    assert store.database.read("expired-1") is None


def test_wrong_clocks_are_said_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    report = CleanupReport(clocks=Clocks(1_000_000, 1_007_000, None, 0))
    show_cleanup(Cleanup(False, report), as_json=True, quiet=False)
    out, err = capsys.readouterr()
    assert json.loads(out)["clocks"]["differenceSeconds"] == 7
    assert "Redis' clock is 7.0 s ahead of this machine's" in err
    show_cleanup(Cleanup(False, report), as_json=False, quiet=True)
    assert "checkoutctl doctor --only clock,database-clock" in capsys.readouterr().err
