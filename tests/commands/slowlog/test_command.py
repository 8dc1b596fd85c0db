from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl
from tests.support.servers import ValkeyServer


@pytest.fixture
def slow(valkey_server: Callable[..., ValkeyServer]) -> ValkeyServer:
    """A server whose slow log has a shopper's data in it."""
    server = valkey_server("--slowlog-log-slower-than", "0")
    with server.client() as client:
        client.set("checkout:session:4645c59d-c428-4017-af90-a43ee2787c34", "4111111111111111 canary@shop.example")
        client.keys("canary*")
        for _ in range(50):
            client.ping()
    return server


def test_no_argument_is_shown_and_keys_are_shortened(slow: ValkeyServer, checkoutctl: Checkoutctl) -> None:
    for arguments in (["slowlog", "-n", "99"], ["slowlog", "-n", "99", "--json"], ["-v", "slowlog", "-n", "99"]):
        run = checkoutctl(*arguments, env={"REDIS_PORT": str(slow.port)})
        assert run.returncode == 0
        assert "checkout:session:4645c59d…" in run.stdout or "checkout:session:4645c59d\\u2026" in run.stdout
        for secret in ("4111", "canary", "c428-4017"):
            assert secret not in run.stdout + run.stderr
        assert "somebody uses KEYS" in run.stderr


def test_neither_card_numbers_nor_addresses_are_shown_where_they_are_keys(
    slow: ValkeyServer, checkoutctl: Checkoutctl
) -> None:
    with slow.client() as client:
        client.get("coupon:cache:4111111111111111")
        client.get("checkout:session:jo@x.com")
    for arguments in (["slowlog", "-n", "99"], ["slowlog", "-n", "99", "--json"]):
        run = checkoutctl(*arguments, env={"REDIS_PORT": str(slow.port)})
        assert "checkout:session:********" in run.stdout
        assert "4111" not in run.stdout
        assert "jo@x" not in run.stdout


def test_each_entry_is_a_line_in_the_shapes_of_lists(slow: ValkeyServer, checkoutctl: Checkoutctl) -> None:
    def lines(output: str) -> list[str]:
        run = checkoutctl("slowlog", "--limit", "5", "--output", output, env={"REDIS_PORT": str(slow.port)})
        assert run.returncode == 0
        return run.stdout.splitlines()

    documents = [json.loads(line) for line in lines("ndjson")]
    assert [document["server"] for document in documents] == [f"{HOST}:{slow.port}"] * 5
    assert lines("csv")[0] == "server,number,at,durationMs,command,key,family,otherArguments,client"
    assert all(number.isdigit() for number in lines("ids"))
    refused = checkoutctl("slowlog", "--reset", "--output", "csv")
    assert (refused.returncode, refused.stdout) == (2, "")


def test_a_log_that_is_off_is_told(valkey_server: Callable[..., ValkeyServer], checkoutctl: Checkoutctl) -> None:
    server = valkey_server("--slowlog-log-slower-than", "-1")
    run = checkoutctl("slowlog", env={"REDIS_PORT": str(server.port)})
    assert run.stdout == "0 of 0 entries; it is off\n"
    assert run.stderr.startswith("warning: the slow log is off; next: redis-cli CONFIG SET")


def test_a_reset_needs_consent(slow: ValkeyServer, checkoutctl: Checkoutctl) -> None:
    environment = {"REDIS_PORT": str(slow.port)}

    def length() -> int:
        shown = json.loads(checkoutctl("slowlog", "--json", env=environment).stdout)
        return int(shown["servers"][0]["length"])

    assert checkoutctl("slowlog", "--reset", env=environment).returncode == 2
    looked = checkoutctl("slowlog", "--reset", "--dry-run", "--json", env=environment)
    assert json.loads(looked.stdout)["done"] is False
    before = length()
    assert before > 50
    dropped = checkoutctl("slowlog", "--reset", "--yes", env=environment)
    assert (dropped.returncode, dropped.stdout) == (0, "")
    assert "dropped" in dropped.stderr
    assert length() < 20


@pytest.mark.parametrize("arguments", [["--limit", "0"], ["--limit", "1001"], ["--yes"], ["--dry-run"]])
def test_bad_options_are_usage_errors(store: CheckoutStore, checkoutctl: Checkoutctl, arguments: list[str]) -> None:
    assert checkoutctl("slowlog", *arguments).returncode == 2


def test_without_redis_it_is_unavailable(checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("slowlog", env={"REDIS_PORT": "1", "REDIS_HOST": HOST})
    assert (run.returncode, len(run.stderr.splitlines())) == (69, 2)
