"""``checkoutctl health`` as a process: exit codes, valid JSON whatever is wrong, and Ctrl-C."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from checkout_cli.store.checkout_store import CheckoutStore

if TYPE_CHECKING:
    from tests.support.command import Checkoutctl


def test_healthy_exits_0(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    store.create({})
    run = checkoutctl("health", "--json")
    shown = json.loads(run.stdout)
    assert run.returncode == 0
    assert run.stderr == ""
    assert shown["status"] == "healthy"
    assert shown["sessions"]["count"] == 1


def test_degraded_exits_1(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("health", env={"REDIS_PORT": "1"})
    assert run.returncode == 1
    assert run.stdout.startswith("status: degraded\n")
    assert run.stderr == "next: checkoutctl doctor\n"


def test_unhealthy_exits_69(checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("health", "--json", env={"REDIS_PORT": "1"})
    assert run.returncode == 69
    assert json.loads(run.stdout)["status"] == "unhealthy"


@pytest.mark.parametrize("port", ["0", "70000", "abc", "-1"])
def test_a_wrong_port_exits_78_with_valid_json(checkoutctl: Checkoutctl, port: str) -> None:
    run = checkoutctl("health", "--json", env={"REDIS_PORT": port, "REDIS_DB": "-1"})
    shown = json.loads(run.stdout)
    assert run.returncode == 78
    assert shown["status"] == "unhealthy"
    assert shown["environment"]["configured"] is False
    assert [error.split()[0] for error in shown["environment"]["errors"]] == ["REDIS_PORT", "REDIS_DB"]


@pytest.mark.parametrize("format_option", [[], ["--json"]], ids=["text", "json"])
def test_no_password_is_ever_shown(store: CheckoutStore, checkoutctl: Checkoutctl, format_option: list[str]) -> None:
    environment = {"REDIS_PASSWORD": "canary-7f3a", "DEBUG": "redis:*"}
    run = checkoutctl("health", *format_option, env=environment)
    assert run.returncode == 1
    assert "canary-7f3a" not in run.stdout + run.stderr


def test_debug_logs_each_operation_to_stderr_only(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("health", "--json", env={"DEBUG": "redis:*", "LOG_FORMAT": "json"})
    json.loads(run.stdout)
    commands = [json.loads(line)["command"] for line in run.stderr.splitlines()]
    assert commands[:2] == ["PING", "PING"]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process")
def test_watching_writes_lines_until_ctrl_c_and_exits_130(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    process = checkoutctl.start("health", "--watch", "0.5", "--json")
    assert process.stdout is not None
    looks = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert [look["status"] for look in looks] == ["healthy", "healthy"]
    assert process.returncode == 130
    assert errors == ""


def test_watching_faster_than_every_half_second_is_a_usage_error(checkoutctl: Checkoutctl) -> None:
    assert checkoutctl("health", "--watch", "0.1").returncode == 2
