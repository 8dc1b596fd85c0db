from __future__ import annotations

import json
import signal

from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl


def test_info_shows_sections(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("info", "memory")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("memory:\nfield ")
    shown = json.loads(checkoutctl("info", "memory", "--json").stdout)
    assert list(shown["servers"][0]["sections"]) == ["memory"]


def test_an_unknown_section_is_a_usage_error(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("info", "memroy")
    assert run.returncode == 2
    assert run.stderr.splitlines()[0] == "error: no section is called 'memroy'"


def test_a_difference_of_two_looks(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("info", "stats", "--diff", "0.1", "--json")
    fields = {change["field"]: change for change in json.loads(run.stdout)["changes"]}
    assert run.returncode == 0
    assert fields["total_commands_processed"]["after"] > fields["total_commands_processed"]["before"]
    assert checkoutctl("info", "--diff", "nan").returncode == 2


def test_ctrl_c_between_the_looks_exits_130(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    process = checkoutctl.start("-v", "info", "--diff", "60")
    assert process.stderr is not None
    assert "INFO" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_without_redis_it_is_unavailable_and_with_a_wrong_password_denied(checkoutctl: Checkoutctl) -> None:
    for command in ("info", "latency"):
        away = checkoutctl(command, env={"REDIS_PORT": "1"})
        assert (away.returncode, len(away.stderr.splitlines())) == (69, 2)
        denied = checkoutctl(command, env={"REDIS_PASSWORD": "wrong-canary"})
        assert denied.returncode == 4
        assert "canary" not in denied.stderr


def test_latency_measures(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("latency", "--samples", "7", "--json")
    (server,) = json.loads(run.stdout)["servers"]
    assert run.returncode == 0
    assert len(server["samplesMs"]) == 7
    assert checkoutctl("latency", "-n", "3").stdout.startswith("3 round trips: min ")
