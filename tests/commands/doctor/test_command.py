from __future__ import annotations

import json
import os
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from checkout_cli.commands.doctor.run import all_checks
from checkout_cli.files.last_look import FILE
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl
from tests.support.odd_servers import OddServer
from tests.support.servers import ValkeyServer

AS_IT_SHOULD_BE = ("--maxmemory", "200mb", "--maxmemory-policy", "noeviction")


def test_a_check_that_finds_nothing_exits_0(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("doctor", "--only", "loading,write", "--only", "topology")
    assert run.returncode == 0
    assert run.stdout.splitlines()[-1] == "0 critical, 0 warnings, 3 ok, 0 skipped"
    assert run.stderr == ""


def test_a_warning_exits_1_unless_only_the_worse_is_to_fail(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    assert checkoutctl("doctor", "--only", "memory-limit").returncode == 1
    assert checkoutctl("doctor", "--only", "memory-limit", "--fail-on", "crit").returncode == 0


def test_the_whole_of_it_as_json(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("doctor", "--json")
    shown = json.loads(run.stdout)
    assert run.returncode == (1 if shown["summary"]["warn"] + shown["summary"]["crit"] else 0)
    assert sum(shown["summary"].values()) == len(shown["checks"]) > 20
    for check in shown["checks"]:
        assert check["evidence"]
        assert (check["fix"] is not None) == (check["status"] in {"warn", "crit"})


def test_skip_leaves_checks_out(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    some = ("doctor", "--only", "memory-limit", "--only", "eviction-policy", "--json")
    assert checkoutctl(*some).returncode == 1, "the server has no limit"
    run = checkoutctl(*some, "--skip", "memory-limit")
    assert [check["id"] for check in json.loads(run.stdout)["checks"]] == ["eviction-policy"]
    assert run.returncode == 0


@pytest.mark.parametrize("option", ["--only", "--skip", "--explain"])
def test_an_unknown_check_is_a_usage_error(checkoutctl: Checkoutctl, option: str) -> None:
    run = checkoutctl("doctor", option, "evict")
    assert run.returncode == 2
    assert run.stderr.splitlines()[0] == "error: no check is called 'evict'"


def test_explain_needs_no_server(checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("doctor", "--explain", "evictions", env={"REDIS_PORT": "1"})
    assert run.returncode == 0
    assert run.stdout.startswith("evictions (memory)\n  Nothing was evicted since the last look.")
    everything = checkoutctl("doctor", "--explain", "all", env={"REDIS_PORT": "1"}).stdout
    assert all(f"\n{name} (" in f"\n{everything}" for name in all_checks())


def test_the_counters_are_kept_for_their_owner_alone(
    store: CheckoutStore, checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    checkoutctl("doctor", "--only", "evictions", env={"XDG_STATE_HOME": str(tmp_path / "state")})
    kept = tmp_path / "state" / "checkoutctl" / FILE
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    kept.write_bytes(b'{"doctor x": {"taken_at": 1e999}')  # damaged: as if there were none
    run = checkoutctl("doctor", "--only", "evictions", env={"XDG_STATE_HOME": str(tmp_path / "state")})
    assert (run.returncode, run.stderr) == (0, "")
    assert "first look" in run.stdout


def test_no_password_is_ever_shown(
    valkey_server: Callable[..., ValkeyServer], store: CheckoutStore, checkoutctl: Checkoutctl
) -> None:
    server = valkey_server("--requirepass", "canary-7f3a")
    for password in ("canary-7f3a", "canary-wrong"):
        environment = {"REDIS_PORT": str(server.port), "REDIS_PASSWORD": password, "DEBUG": "redis:*"}
        for arguments in (["doctor"], ["doctor", "--json"]):
            run = checkoutctl(*arguments, env=environment)
            assert "canary" not in run.stdout + run.stderr


@pytest.mark.parametrize("odd", ["valkey", "hung", "denied CONFIG", "no INFO"], indirect=True)
def test_a_server_that_lacks_something_is_examined_in_time(odd: OddServer, checkoutctl: Checkoutctl) -> None:
    started = time.monotonic()
    run = checkoutctl("doctor", "--json", "--timeout", "1", env=odd.environment)
    spent = time.monotonic() - started
    shown = json.loads(run.stdout)
    assert run.returncode == (1 if shown["summary"]["warn"] + shown["summary"]["crit"] else 0)
    assert run.stderr == ""
    assert spent < 8  # start-up on a busy machine included
    assert shown["summary"]["crit"] == (odd.name in {"hung", "no INFO"})


def test_ctrl_c_ends_it_with_130(
    valkey_server: Callable[..., ValkeyServer], store: CheckoutStore, checkoutctl: Checkoutctl
) -> None:
    server = valkey_server()
    server.pause()
    process = checkoutctl.start("doctor", "--timeout", "30", env={"REDIS_PORT": str(server.port)})
    while not _connected(server):
        assert process.poll() is None
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in errors


def _connected(server: ValkeyServer) -> bool:
    """Whether somebody waits for an answer of the frozen server."""
    port = f":{server.port:04X} "
    return any(port in line and " 01 " in line for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
