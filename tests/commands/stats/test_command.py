"""``checkoutctl stats`` as a process: with and without a terminal, and with Redis gone, hung or refusing."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pexpect
import pytest

from checkout_cli.errors import ExitCode
from checkout_cli.session import PaymentStatus
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.servers import ValkeyServer

if TYPE_CHECKING:
    from tests.support.command import Checkoutctl

GONE = {"REDIS_PORT": "1"}


@pytest.fixture
def sold(store: CheckoutStore) -> CheckoutStore:
    """A shop where one of two checkouts was paid."""
    paid, _ = (store.create({}).session.checkout_id for _ in range(2))
    store.set_payment_status(paid, PaymentStatus.PAID)
    store.bookkeeping.flush()
    return store


def test_the_answer_is_one_document(sold: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("stats", "--json")
    shown = json.loads(run.stdout)
    assert (run.returncode, run.stderr) == (0, "")
    assert (shown["schemaVersion"], shown["source"], shown["minutes"]) == (1, "redis", 15)
    assert shown["totals"] == {"created": 2, "completed": 1, "failed": 0, "cancelled": 0, "updated": 1}
    assert shown["conversionRate"] == 0.5
    assert len(shown["perMinute"]) == 15
    assert shown["createTimes"]["count"] == 2


def test_a_pipe_gets_plain_text(sold: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("stats", "--since", "1h")
    assert (run.returncode, run.stderr) == (0, "")
    assert "source: redis\nconversion: 50.0%\n" in run.stdout
    assert "(60 minutes)" in run.stdout
    assert run.stdout.isascii()
    assert "\x1b" not in run.stdout


def test_by_minute_is_a_line_a_minute(sold: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("stats", "--by", "minute", "--since", "5m")
    title, *minutes = run.stdout.splitlines()
    assert title.split() == ["minute", "created", "completed", "failed", "cancelled", "updated", "conversion"]
    assert len(minutes) == 5
    assert sum(int(minute.split()[1]) for minute in minutes) == 2


def test_by_status_is_from_the_database_and_needs_no_redis(sold: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("stats", "--by", "status", "--json", env=GONE)
    shown = json.loads(run.stdout)
    assert run.returncode == 0
    assert (shown["source"], shown["created"]) == ("database", 2)
    assert {status: number for status, number in shown["statuses"].items() if number} == {"paid": 1, "pending": 1}


def test_without_redis_the_database_answers_and_unknown_is_null(sold: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("stats", "--json", env=GONE)
    shown = json.loads(run.stdout)
    assert run.returncode == 0
    assert shown["source"] == "database"
    assert "cannot be reached" in shown["sourceReason"]
    assert shown["totals"] == {"created": 2, "completed": 1, "failed": 0, "cancelled": 0, "updated": None}
    assert (shown["createTimes"], shown["updateTimes"], shown["caches"]) == (None, None, None)


def test_without_redis_text_says_what_the_figures_are(sold: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("stats", env=GONE)
    assert run.returncode == 0
    assert "source: database\n" in run.stdout
    assert "updated    unknown" in run.stdout
    assert "from the database, because Redis at" in run.stderr


def test_a_redis_that_hangs_costs_one_time_out(
    sold: CheckoutStore, checkoutctl: Checkoutctl, valkey_server: Callable[..., ValkeyServer]
) -> None:
    server = valkey_server()
    server.pause()
    run = checkoutctl("stats", "--json", "--timeout", "0.3", env={"REDIS_PORT": str(server.port)})
    assert run.seconds < 8
    shown = json.loads(run.stdout)
    assert (run.returncode, shown["source"]) == (0, "database")
    assert "did not answer in time" in shown["sourceReason"]


def test_with_both_away_it_exits_69(checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("stats", "--json", env=GONE)
    assert (run.returncode, run.stdout) == (ExitCode.UNAVAILABLE, "")
    assert "neither tier knows the figures" in run.stderr
    assert "next: checkoutctl doctor" in run.stderr


@pytest.mark.parametrize("options", [[], ["--watch", "0.5", "--json"]], ids=["once", "watching"])
def test_a_wrong_password_exits_4_and_is_not_shown(
    sold: CheckoutStore, checkoutctl: Checkoutctl, options: list[str]
) -> None:
    run = checkoutctl("stats", *options, env={"REDIS_USERNAME": "nobody", "REDIS_PASSWORD": "canary-7f3a"})
    assert (run.returncode, run.stdout) == (ExitCode.DENIED, "")
    assert "canary-7f3a" not in run.stderr


@pytest.mark.parametrize("since", ["0m", "59s", "61m", "2h", "15", "-5m", "1e1m", "٥m", ""])
def test_a_window_that_is_not_kept_is_a_usage_error(checkoutctl: Checkoutctl, since: str) -> None:
    run = checkoutctl("stats", f"--since={since}", env=GONE)
    assert (run.returncode, run.stdout) == (ExitCode.USAGE, "")


@pytest.mark.parametrize("options", [["--watch", "0"], ["--watch", "nan"], ["--watch", "inf"], ["--by", "hour"]])
def test_options_that_make_no_sense_are_usage_errors(checkoutctl: Checkoutctl, options: list[str]) -> None:
    assert checkoutctl("stats", *options).returncode == ExitCode.USAGE


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process")
@pytest.mark.parametrize("by", [[], ["--by", "status"]], ids=["summary", "status"])
def test_watching_as_json_is_a_line_a_look_until_ctrl_c(
    sold: CheckoutStore, checkoutctl: Checkoutctl, by: list[str]
) -> None:
    process = checkoutctl.start("stats", "--watch", "0.5", "--json", *by)
    assert process.stdout is not None
    looks = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (ExitCode.INTERRUPTED, "")
    assert [look["schemaVersion"] for look in looks] == [1, 1]
    assert looks[0]["timestamp"] < looks[1]["timestamp"]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process")
def test_watching_outlives_an_outage_of_redis(
    sold: CheckoutStore, checkoutctl: Checkoutctl, valkey_server: Callable[..., ValkeyServer]
) -> None:
    server = valkey_server()
    process = checkoutctl.start(
        "stats", "--watch", "0.5", "--json", "--timeout", "0.3", env={"REDIS_PORT": str(server.port)}
    )
    assert process.stdout is not None

    def wait_for(source: str) -> None:
        assert process.stdout is not None
        while json.loads(process.stdout.readline())["source"] != source:
            pass

    wait_for("redis")
    server.pause()
    wait_for("database")
    server.resume()
    wait_for("redis")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (ExitCode.INTERRUPTED, "")


def test_on_a_terminal_watching_leaves_the_last_look_and_a_visible_cursor(
    sold: CheckoutStore, checkoutctl: Checkoutctl
) -> None:
    (python, *arguments) = checkoutctl.command("stats", "--watch", "0.5")
    environment = checkoutctl.environment | {"TERM": "xterm", "LANG": "C.UTF-8"}
    terminal = pexpect.spawn(python, arguments, env=environment, encoding="utf-8", timeout=20, dimensions=(24, 80))
    try:
        terminal.expect_exact("counted in Redis")
        terminal.expect_exact("counted in Redis")
        terminal.sendintr()
        rest = terminal.read()
        terminal.wait()
    finally:
        terminal.close(force=True)
    assert terminal.exitstatus == ExitCode.INTERRUPTED
    assert "\x1b[?25h" in rest
    after = rest.rpartition("\x1b[?1049l")[2]  # the window is the shell's again
    assert "checkouts of the last 15 minutes" in after
    assert "counted in Redis" in after
    assert "Traceback" not in rest


def test_a_terminal_of_24_lines_shows_it_all_without_a_wrapped_line(
    sold: CheckoutStore, checkoutctl: Checkoutctl
) -> None:
    (python, *arguments) = checkoutctl.command("--no-color", "stats", "--since", "60m")
    environment = checkoutctl.environment | {"TERM": "xterm", "LANG": "C.UTF-8"}
    terminal = pexpect.spawn(python, arguments, env=environment, encoding="utf-8", timeout=20, dimensions=(24, 80))
    try:
        lines = terminal.read().splitlines()
        terminal.wait()
    finally:
        terminal.close(force=True)
    assert terminal.exitstatus == 0
    assert len(lines) <= 22  # and two for the prompts around it
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
