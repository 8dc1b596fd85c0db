from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from checkout_cli.cli.main import app
from checkout_cli.keys import user_key
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl
from tests.support.servers import ValkeyServer

UUID = "4645c59d-c428-4017-af90-a43ee2787c34"


@pytest.fixture
def tracked(store: CheckoutStore) -> CheckoutStore:
    """One user who paid, among what another program left."""
    created = store.create({"userId": UUID, "userEmail": "ada@example.com"}).session
    store.set_payment_status(created.checkout_id, "paid", order_id="O-1")
    store.create({"userId": "ada@example.com"})
    store.bookkeeping.flush()
    store.redis.ask(("SET", user_key("json-0001"), "{}"))
    return store


def test_users_are_listed_and_shown(tracked: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("users", "list", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert {user["userId"] for user in document["users"]} == {"4645…", "json…"}
    assert "ada" not in done.stdout
    shown = checkoutctl("users", "show", "4645…", "--json")
    assert shown.returncode == 0
    assert json.loads(shown.stdout)["checkoutsCompleted"] == 1
    assert checkoutctl("users", "show", "json-0001").returncode == 1


@pytest.mark.parametrize("output", ["table", "json", "ndjson", "csv", "ids"])
def test_every_format_is_on_stdout_and_shortened(output: str, tracked: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("users", "list", "--output", output)
    assert (done.returncode, done.stderr) == (0, "")
    assert "4645" in done.stdout
    assert UUID not in done.stdout


def test_revealing_is_told_and_leaves_a_trail(
    tracked: CheckoutStore, checkoutctl: Checkoutctl, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = checkoutctl("users", "list", "--output", "ids", "--reveal")
    assert UUID in done.stdout
    assert "revealing personal data of 2 users" in done.stderr
    monkeypatch.setattr("getpass.getuser", lambda: "oscar")
    monkeypatch.setenv("REDIS_PORT", str(tracked.settings.redis_port))
    monkeypatch.setenv("REDIS_HOST", tracked.settings.redis_host)
    with caplog.at_level(logging.INFO, "checkout_cli.audit"):
        result = CliRunner().invoke(app, ["users", "show", UUID, "--reveal"])
    assert result.exit_code == 0
    assert "oscar reveals personal data of one user by users show" in caplog.text
    assert UUID not in caplog.text


def test_the_exit_codes_are_those_of_the_table(
    tracked: CheckoutStore, checkoutctl: Checkoutctl, valkey_server: Callable[..., ValkeyServer]
) -> None:
    assert checkoutctl("users", "show", "nobody-1").returncode == 3
    assert checkoutctl("users", "show", "no").returncode == 2
    assert checkoutctl("users", "list", "--cursor", "x").returncode == 2
    assert checkoutctl("users", "list", "--json", "--output", "csv").returncode == 2
    assert checkoutctl("users", "list", env={"REDIS_PASSWORD": "wrong"}).returncode == 4
    for arguments in (("list",), ("show", UUID, "--json")):
        away = checkoutctl("users", *arguments, env={"REDIS_PORT": "1"})
        assert (away.returncode, away.stdout) == (69, "")
        assert "Redis alone" in away.stderr
        assert "Traceback" not in away.stderr


def test_a_redis_that_hangs_costs_no_more_than_the_timeout(
    checkoutctl: Checkoutctl, valkey_server: Callable[..., ValkeyServer]
) -> None:
    hung = valkey_server()
    hung.pause()
    done = checkoutctl("users", "list", "--timeout", "0.3", env={"REDIS_PORT": str(hung.port)})
    assert done.seconds < 15
    assert done.returncode == 69
    assert "in time" in done.stderr
