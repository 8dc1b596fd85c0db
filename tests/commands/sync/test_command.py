"""``checkoutctl sync`` as a process: exit codes, streams, two at once, and a person who settles conflicts."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from checkout_cli.commands.sync import command
from checkout_cli.commands.sync.conflicts import Keep
from checkout_cli.session import Durability
from checkout_cli.store.checkout_store import CheckoutStore
from tests.commands.sync.test_sync import ID, OTHER, row_of
from tests.support.divergence import (
    beside_the_database,
    create_in_redis_alone,
    locked,
    make_conflict,
    set_columns,
    update_in_database_alone,
)

if TYPE_CHECKING:
    from tests.support.command import Checkoutctl

NO_REDIS = {"REDIS_PORT": "1"}


def test_the_sides_of_the_command_are_those_of_the_operation() -> None:
    assert command.Side.__args__ == tuple(Keep)  # type: ignore[attr-defined]


def test_with_nothing_to_do_it_exits_0_and_quiet_is_silent(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("sync")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "database to Redis: nothing waits\nRedis to database: nothing waits\nconflicts: none\n"
    quiet = checkoutctl("sync", "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_after_an_outage_of_the_database_all_is_handed_over(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    with locked(store.settings):
        done = checkoutctl("sessions", "create", "--file", "-", "--id", ID, "--json", "--timeout", "0.3", input="{}")
        assert done.returncode == 0
        assert json.loads(done.stdout)["durability"] == "redis"
        assert json.loads(done.stdout)["degraded"] is True
        assert "Redis alone has it" in done.stderr

    listed = checkoutctl("sessions", "list")
    assert "waits for the database" in listed.stdout
    assert "1 session waits for the database; checkoutctl sync" in listed.stderr
    pending = json.loads(checkoutctl("health", "--json").stdout)["pending"]
    assert pending.pop("oldestSince") is not None
    assert pending == {
        "toRedis": 0,
        "toDatabase": 1,
        "conflicts": 0,
    }
    assert checkoutctl("sync", "--dry-run").returncode == 1
    run = checkoutctl("sync", "--json")
    assert run.returncode == 0
    assert json.loads(run.stdout)["handedOver"]["toDatabase"]["flushed"] == 1
    assert row_of(store, ID)["version"] == 1
    assert checkoutctl("sessions", "list").stderr == ""


def test_after_an_outage_of_redis_health_says_what_waits(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    store.create({}, checkout_id=ID)
    update_in_database_alone(store.settings, ID, notes="new")
    set_columns(store, ID, updated_at=1000)
    shown = checkoutctl("health")
    assert "pending: 1 session waits for Redis, the oldest for " in shown.stdout
    assert shown.stderr == "next: checkoutctl sync\n"
    assert checkoutctl("sync", "--quiet").returncode == 0
    assert "pending" not in checkoutctl("health").stdout


def test_where_a_tier_is_away_it_exits_69_and_shows_what_waits(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    create_in_redis_alone(store.settings, OTHER)
    without_redis = checkoutctl("sync", env=NO_REDIS)
    assert without_redis.returncode == 69
    assert "Redis to database: unknown" in without_redis.stdout
    assert "not synced" in without_redis.stderr
    assert without_redis.stderr.endswith("\nnext: checkoutctl doctor\n")
    without_database = checkoutctl("sync", env={"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"})
    assert without_database.returncode == 69
    assert "Redis to database: 1 session waits" in without_database.stdout


def test_a_wrong_password_exits_4(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("sync", env={"REDIS_USERNAME": "nobody", "REDIS_PASSWORD": "canary-7f3a"})
    assert done.returncode == 4
    assert "canary-7f3a" not in done.stdout + done.stderr


def test_two_at_once_hand_everything_over_exactly_once(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    ids = [f"session-{number:04}" for number in range(250)]
    create_in_redis_alone(store.settings, *ids)
    processes = [checkoutctl.start("sync", "--json", "--timeout", "10") for _ in range(2)]
    answers = [process.communicate(timeout=50) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    synced = [json.loads(out)["handedOver"] for out, _ in answers]
    assert sum(one["toDatabase"]["flushed"] for one in synced) >= len(ids)
    assert all((one["toDatabase"]["lost"], one["conflicts"]) == (0, 0) for one in synced)
    rows = store.database.read_many(ids)
    assert {row.version for row in rows.values()} == {1}
    assert len(rows) == len(ids)
    assert store.flusher.pending.count() == 0


def test_conflicts_are_shown_masked_and_settled(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    conflict = make_conflict(store)
    shown = checkoutctl("sync", "--conflicts")
    assert shown.returncode == 1
    assert conflict.write_id in shown.stdout
    assert "notes  ********  ********" in shown.stdout
    revealed = checkoutctl("sync", "--conflicts", "--json", "--reveal")
    (listed,) = json.loads(revealed.stdout)["conflicts"]
    assert listed["differences"] == [{"field": "notes", "database": "database", "written": "written"}]
    assert "revealing personal data" in revealed.stderr

    asking = checkoutctl("sync", "--resolve", conflict.write_id, "--keep", "written")
    assert asking.returncode == 2
    assert "--yes" in asking.stderr
    looking = checkoutctl("sync", "--resolve", conflict.write_id, "--keep", "written", "--dry-run")
    assert looking.returncode == 0
    assert row_of(store, ID)["notes"] == "database"
    settled = checkoutctl("sync", "--resolve", conflict.write_id[:8], "--keep", "written", "--yes", "--json")
    assert settled.returncode == 0
    assert json.loads(settled.stdout)["version"] == 3
    assert row_of(store, ID)["notes"] == "written"
    assert checkoutctl("sync", "--conflicts").returncode == 0


@pytest.mark.parametrize(
    "options",
    [
        ("--resolve", "3f2b9c1e"),
        ("--keep", "database"),
        ("--resolve", "3f2b9c1e", "--keep", "nothing"),
        ("--resolve", "3f2b9c1e", "--keep", "database", "--conflicts"),
        ("--resolve", "%", "--keep", "database", "--yes"),
        ("--max-seconds", "0"),
        ("--limit", "0"),
        ("--limit", "3"),
        ("--reveal",),
        ("--yes",),
        ("--conflicts", "--max-seconds", "3"),
        ("--conflicts", "--quiet"),
    ],
)
def test_wrong_options_are_a_usage_error(
    store: CheckoutStore, checkoutctl: Checkoutctl, options: tuple[str, ...]
) -> None:
    assert checkoutctl("sync", *options).returncode == 2


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_on_a_terminal_settling_asks(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    import pexpect

    conflict = make_conflict(store)
    words = checkoutctl.command("sync", "--resolve", conflict.write_id, "--keep", "database")
    environment = checkoutctl.environment | {"TERM": "dumb", "COLUMNS": "200"}
    for answer, code, said in (("n", 1, "nothing was changed"), ("y", 0, "settled")):
        asking = pexpect.spawn(words[0], words[1:], env=environment, timeout=15, dimensions=(24, 200))
        asking.expect_exact("Settle it for good? [y/N] ")
        asking.sendline(answer)
        asking.expect_exact(said)
        asking.expect(pexpect.EOF)
        asking.close()
        assert asking.exitstatus == code


def test_a_shop_that_chose_redis_is_not_told_that_its_writes_are_degraded(
    store: CheckoutStore, checkoutctl: Checkoutctl
) -> None:
    done = checkoutctl("sessions", "create", "-f", "-", "--json", env={"CHECKOUT_DURABILITY": "redis"}, input="{}")
    assert json.loads(done.stdout)["durability"] == "redis"
    assert json.loads(done.stdout)["degraded"] is False
    assert "warning" not in done.stderr


def test_without_the_command_the_database_would_lack_it(store: CheckoutStore) -> None:
    with beside_the_database(store.settings) as writer:
        assert writer.create({}, checkout_id=ID).durability is Durability.REDIS
    assert store.database.read(ID) is None
