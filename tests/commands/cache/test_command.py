from __future__ import annotations

import csv
import io
import json
import os
import typing
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from checkout_cli.keys import coupon_key, delivery_key
from tests.support.command import Checkoutctl
from tests.support.servers import ValkeyServer

if TYPE_CHECKING:
    import pexpect

KEY = delivery_key("5.2", "24.5")
ANSWER = '{"valid": true, "discount": 5, "note": "Ada Lovelace", "email": "ada@example.com"}'
SECRETS = ("Ada Lovelace", "ada@example.com")
STATS = ("cache", "stats")
NO_REDIS = {"REDIS_PORT": "1"}

GET = ("cache", "delivery", "get", "5.2", "24.5")
SET = ("cache", "delivery", "set", "5.20", "24.50", "3.9")
EVERY_COMMAND = [
    GET,
    ("cache", "coupon", "get", "WELCOME10"),
    (*SET, "--yes"),
    ("cache", "coupon", "set", "WELCOME10", ANSWER, "--yes"),
    ("cache", "delivery", "list"),
    ("cache", "coupon", "list"),
    ("cache", "delivery", "invalidate", "--yes"),
    ("cache", "coupon", "invalidate", "--yes"),
    ("cache", "coupon", "invalidate", "WELCOME10", "--yes"),
    STATS,
]


def test_what_was_set_is_shown_by_get_and_list(checkoutctl: Checkoutctl) -> None:
    written = checkoutctl(*SET, "--yes")
    assert (written.returncode, written.stdout) == (0, f"set {KEY}\n")

    shown = checkoutctl(*GET, "--json")
    document = json.loads(shown.stdout)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert (document["schemaVersion"], document["key"], document["value"], document["served"]) == (1, KEY, 3.9, True)
    assert document["expiresInSeconds"] > 200
    assert document["ageSeconds"] < 60
    (row,) = csv.DictReader(io.StringIO(checkoutctl("cache", "delivery", "list", "-o", "csv").stdout))
    assert (row["distance"], row["orderValue"], row["value"], row["served"]) == ("5.2", "24.5", "3.9", "true")
    assert checkoutctl("cache", "delivery", "list", "-o", "ids").stdout == "5.2 24.5\n"


def test_a_value_can_come_from_stdin(checkoutctl: Checkoutctl) -> None:
    done = checkoutctl("cache", "delivery", "set", "5.2", "24.5", "-", "--yes", input='{"charge": 4}')

    assert done.returncode == 0
    assert json.loads(checkoutctl(*GET, "--json").stdout)["value"] == {"charge": 4}


def test_nothing_there_is_exit_code_3_and_one_clear_line(checkoutctl: Checkoutctl) -> None:
    for command in (GET, ("cache", "coupon", "get", "welcome10")):
        done = checkoutctl(*command)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith("error: no ")
        assert done.stderr.count("\n") == 2


def test_a_stale_entry_says_so_and_is_exit_code_1(checkoutctl: Checkoutctl) -> None:
    checkoutctl(*SET, "--yes")
    invalidated = checkoutctl("cache", "delivery", "invalidate", "--distance-from", "5", "--distance-to", "6", "--yes")
    assert invalidated.returncode == 0
    assert invalidated.stdout.startswith("invalidated delivery charges from 5 to 6 km (1 cached")

    done = checkoutctl(*GET)

    assert done.returncode == 1
    assert "no: invalidated" in done.stdout
    assert " no " in checkoutctl("cache", "delivery", "list").stdout


@pytest.mark.parametrize(
    "command", [SET, ("cache", "delivery", "invalidate"), ("cache", "coupon", "invalidate", "WELCOME10")]
)
def test_without_a_terminal_nothing_changes_unless_yes_is_said(
    command: tuple[str, ...], checkoutctl: Checkoutctl, valkey: ValkeyServer
) -> None:
    done = checkoutctl(*command)

    assert (done.returncode, done.stdout) == (2, "")
    assert "--yes" in done.stderr
    with valkey.client() as client:
        assert client.dbsize() == 0


def test_a_dry_run_shows_everything_and_changes_nothing(checkoutctl: Checkoutctl, valkey: ValkeyServer) -> None:
    checkoutctl(*SET, "--yes")
    with valkey.client() as client:
        before = {key: client.get(key) for key in client.scan_iter()}

        replaced = checkoutctl("cache", "delivery", "set", "5.2", "24.5", "4.5", "--dry-run", "--yes")
        previewed = checkoutctl("cache", "delivery", "invalidate", "--dry-run", "--json")

        assert {key: client.get(key) for key in client.scan_iter()} == before
    assert (replaced.returncode, replaced.stdout) == (0, f"would set {KEY}\n")
    assert "before: 3.9" in replaced.stderr
    assert "after:  4.5" in replaced.stderr
    document = json.loads(previewed.stdout)
    assert (document["count"], document["exact"], document["examples"]) == (1, True, [KEY])
    assert (document["dryRun"], document["invalidated"]) == (True, False)


def test_an_answer_is_masked_in_every_format_unless_revealed_and_that_is_said(checkoutctl: Checkoutctl) -> None:
    checkoutctl("cache", "coupon", "set", "welcome10", ANSWER, "--context", '{"user": "Grace"}', "--yes")
    get, list_ = ("cache", "coupon", "get", "Welcome10"), ("cache", "coupon", "list")

    for command in (get, (*get, "--json"), list_, *((*list_, "-o", output) for output in ("json", "ndjson", "csv"))):
        done = checkoutctl(*command)
        assert (done.returncode, done.stderr) == (0, "")
        assert "WELCOME10" in done.stdout
        assert not any(secret in done.stdout for secret in (*SECRETS, "Grace"))
    revealed = checkoutctl(*get, "--json", "--reveal")
    assert all(secret in revealed.stdout for secret in SECRETS)
    assert revealed.stderr == "revealing personal data of the answers about one coupon\n"


def test_what_is_shown_before_a_coupon_is_set_is_masked_too(checkoutctl: Checkoutctl) -> None:
    for _ in range(2):
        done = checkoutctl("cache", "coupon", "set", "welcome10", ANSWER, "--yes")
        assert not any(secret in done.stdout + done.stderr for secret in SECRETS)
    assert '"discount": 5' in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("delivery", "get", "NaN", "5"),
        ("delivery", "get", "5", "1e10"),
        ("delivery", "set", "5", "5", "nonsense", "--yes"),
        ("delivery", "set", "5", "5", "null", "--yes"),
        ("delivery", "invalidate", "--distance-from", "9", "--distance-to", "1", "--yes"),
        ("coupon", "get", "*"),
        ("coupon", "get", "a\x1b[31mb"),
        ("coupon", "get", "x" * 100_000),
        ("coupon", "set", "X", '{"valid": "yes"}', "--yes"),
        ("coupon", "set", "X", '{"valid": true}', "--context", "[]", "--yes"),
        ("coupon", "invalidate", "two words", "--yes"),
        ("delivery", "list", "--cursor", "x"),
        ("delivery", "list", "--limit", "0"),
        ("delivery", "list", "--json", "-o", "csv"),
        ("stats", "--since", "2h"),
        ("stats", "--since", "5"),
    ],
)
def test_bad_input_is_exit_code_2_short_and_harmless(
    arguments: tuple[str, ...], checkoutctl: Checkoutctl, valkey: ValkeyServer
) -> None:
    done = checkoutctl("cache", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    assert len(done.stderr) < 1000
    with valkey.client() as client:
        assert client.dbsize() == 0


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_without_redis_every_command_is_one_clear_line_and_exit_code_69(
    command: tuple[str, ...], checkoutctl: Checkoutctl
) -> None:
    done = checkoutctl(*command, env=NO_REDIS)

    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.startswith("error: Redis at ")
    assert done.stderr.count("\n") == 2


def test_a_hung_redis_costs_one_time_out_and_a_wrong_password_is_told_from_it(
    checkoutctl: Checkoutctl, valkey_server: Callable[..., ValkeyServer]
) -> None:
    server = valkey_server("--requirepass", "right")
    denied = {"REDIS_PORT": str(server.port), "REDIS_PASSWORD": "canary-word"}
    for command in (GET, (*SET, "--yes"), ("cache", "coupon", "invalidate", "--yes"), ("cache", "stats")):
        done = checkoutctl(*command, env=denied)
        assert (done.returncode, done.stdout) == (4, "")
        assert done.stderr.startswith("error: ")  # nobody is shown, or asked, anything before
        assert "canary-word" not in done.stderr
    server.pause()
    try:
        hung = checkoutctl(*GET, "--timeout", "0.3", env={"REDIS_PORT": str(server.port), "REDIS_PASSWORD": "right"})
    finally:
        server.resume()
    assert hung.returncode == 69
    assert "did not answer in time" in hung.stderr


def test_statistics_are_read_from_the_minutes(checkoutctl: Checkoutctl, valkey: ValkeyServer) -> None:
    with valkey.client() as client:
        seconds, _ = typing.cast("tuple[int, int]", client.time())
        for minute in (seconds // 60, seconds // 60 - 1):
            client.hset(f"stats:minute:{minute}", mapping={"coupon:hit": 3, "coupon:miss": 1, "coupon:stale": 1})

    done = checkoutctl("cache", "stats", "--since", "10m", "--json")

    document = json.loads(done.stdout)
    assert (done.returncode, done.stderr, document["minutes"]) == (0, "", 10)
    assert document["caches"]["coupon"]["reads"] == 10
    assert document["caches"]["coupon"]["hitRate"] == 0.6
    assert checkoutctl("cache", "stats").stdout.splitlines()[2].split()[:4] == ["coupon", "10", "6", "2"]


@pytest.mark.parametrize("since", ["2h", "5", "30s", "", "-5m"])
def test_what_is_not_kept_is_a_usage_error(since: str, checkoutctl: Checkoutctl) -> None:
    done = checkoutctl(*STATS, f"--since={since}")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


def test_redis_away_hung_or_refusing_is_one_clear_line(
    checkoutctl: Checkoutctl, valkey_server: Callable[..., ValkeyServer]
) -> None:
    server = valkey_server("--requirepass", "right")
    there = {"REDIS_PORT": str(server.port)}
    denied = checkoutctl(*STATS, env=there | {"REDIS_PASSWORD": "canary-word"})
    server.pause()
    try:
        hung = checkoutctl(*STATS, "--timeout", "0.3", env=there | {"REDIS_PASSWORD": "right"})
    finally:
        server.resume()
    gone = checkoutctl(*STATS, env={"REDIS_PORT": "1"})

    assert [done.returncode for done in (denied, hung, gone)] == [4, 69, 69]
    for done in (denied, hung, gone):
        assert done.stdout == ""
        assert done.stderr.startswith("error: Redis at ")
        assert done.stderr.count("\n") == 2
        assert "canary-word" not in done.stderr


def test_looking_counts_as_no_read_of_the_shop(checkoutctl: Checkoutctl, valkey: ValkeyServer) -> None:
    checkoutctl(*SET, "--yes")
    checkoutctl(*GET)
    checkoutctl("cache", "delivery", "list")

    with valkey.client() as client:
        assert list(client.scan_iter("stats:*")) == []


def test_the_list_goes_on_where_the_cursor_says(checkoutctl: Checkoutctl, valkey: ValkeyServer) -> None:
    with valkey.client() as client:
        client.mset({coupon_key(f"CODE{number}"): "{}" for number in range(300)})

    found: set[str] = set()
    cursor: str | None = "0"
    while cursor is not None:
        done = checkoutctl("cache", "coupon", "list", "--limit", "100", "--cursor", cursor, "--json")
        document = json.loads(done.stdout)
        found.update(entry["code"] for entry in document["entries"])
        cursor = document["nextCursor"]
        assert (f"--cursor {cursor}" in done.stderr) is (cursor is not None)
    assert len(found) == 300


# On a terminal

pytestmark = pytest.mark.filterwarnings("ignore:.*forkpty:DeprecationWarning")


@pytest.fixture
def terminal(checkoutctl: Checkoutctl, tmp_path: Path) -> Callable[..., pexpect.spawn[str]]:
    """Runs the command on a terminal of its own."""
    pexpect = pytest.importorskip("pexpect")

    def start(*arguments: str) -> pexpect.spawn[str]:
        program, *rest = checkoutctl.command(*arguments)
        environment = {**checkoutctl.environment, "TERM": "xterm"}
        child: pexpect.spawn[str] = pexpect.spawn(
            program, rest, env=environment, cwd=str(tmp_path), encoding="utf-8", timeout=15, dimensions=(40, 120)
        )
        return child

    return start


@pytest.mark.skipif(os.name == "nt", reason="pexpect needs a pseudo-terminal")
@pytest.mark.parametrize(("reply", "code", "value"), [("y", 0, 3.9), ("n", 1, 2.5), ("", 1, 2.5)])
def test_a_terminal_is_shown_before_and_after_and_asked(
    terminal: Callable[..., pexpect.spawn[str]], reply: str, code: int, value: float, checkoutctl: Checkoutctl
) -> None:
    checkoutctl("cache", "delivery", "set", "5.2", "24.5", "2.5", "--yes")
    child = terminal(*SET)
    child.expect("before: 2.5")
    child.expect("after:  3.9")
    child.expect("Put it into the cache")
    child.sendline(reply)
    child.wait()

    assert child.exitstatus == code
    assert json.loads(checkoutctl(*GET, "--json").stdout)["value"] == value
