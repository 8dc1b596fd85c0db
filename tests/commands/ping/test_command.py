"""``checkoutctl ping`` as a process: what it prints, its exit codes, and that it stays quick."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.support.servers import ValkeyServer

if TYPE_CHECKING:
    from tests.support.command import Checkoutctl


def test_it_prints_each_answer_and_a_summary(checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("ping", "--count", "3", "--interval", "0")
    assert run.returncode == 0
    lines = run.stdout.splitlines()
    assert lines[0].startswith("connected to 127.0.0.1: DNS ")
    assert [line.split(":")[0] for line in lines[1:4]] == ["answer 1", "answer 2", "answer 3"]
    assert lines[5].endswith("3 sent, 3 answered")
    assert lines[6].startswith("min ")
    assert "p99" in lines[6]
    assert run.stderr == ""


def test_json_is_one_document_with_the_samples(checkoutctl: Checkoutctl) -> None:
    document = json.loads(checkoutctl("ping", "--count", "2", "--interval", "0", "--json").stdout)
    assert document["schemaVersion"] == 1
    assert (document["sent"], document["answered"], document["failure"]) == (2, 2, None)
    assert len(document["samplesMs"]) == 2
    assert document["minMs"] == min(document["samplesMs"])
    assert document["maxMs"] == max(document["samplesMs"])


def test_a_failure_is_in_the_json_and_on_stderr(checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("ping", "--json", env={"REDIS_PASSWORD": "canary-7f3a"})
    document = json.loads(run.stdout)
    assert run.returncode == 4
    assert document["failure"]["stage"] == "authentication"
    assert document["failure"]["hint"]
    assert document["minMs"] is None
    assert run.stderr.startswith("error: authentication: ")
    assert "\nnext: " in run.stderr
    assert "canary-7f3a" not in run.stdout + run.stderr


def test_a_refused_port_exits_69_with_the_stage_and_a_command_to_type(checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("ping", env={"REDIS_PORT": "1"})
    assert run.returncode == 69
    assert run.stdout == ""
    assert run.stderr.splitlines()[0].startswith("error: TCP: ")
    assert run.stderr.splitlines()[1:] == ["next: checkoutctl doctor"]


def test_a_hung_server_exits_69_within_the_time_out(
    checkoutctl: Checkoutctl, valkey_server: Callable[..., ValkeyServer]
) -> None:
    server = valkey_server()
    server.pause()
    run = checkoutctl("ping", "--timeout", "0.3", env={"REDIS_PORT": str(server.port)})
    assert run.seconds < 5
    assert run.returncode == 69
    assert "did not answer within 0.3 s" in run.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_or_sigterm_prints_the_summary_and_exits_130(checkoutctl: Checkoutctl, number: signal.Signals) -> None:
    process = checkoutctl.start("ping", "--count", "0", "--interval", "60")
    assert process.stdout is not None
    first = [process.stdout.readline(), process.stdout.readline()]
    assert first[1].startswith("answer 1: ")
    process.send_signal(number)
    rest, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "1 sent, 1 answered" in rest
    assert errors == ""


def test_it_loads_nothing_that_makes_it_slow() -> None:
    """The start is most of a ping; SQLAlchemy, Rich or msgspec would each show."""
    script = (
        "import sys, checkout_cli.cli.main, checkout_cli.commands.ping.ping, checkout_cli.commands.ping.view;"
        "sys.stdout.write(' '.join(sys.modules))"
    )
    loaded = set(
        subprocess.run([sys.executable, "-c", script], text=True, capture_output=True, check=True).stdout.split()
    )
    assert "redis" in loaded
    assert loaded.isdisjoint({"rich", "sqlalchemy", "msgspec", "dotenv", "checkout_cli.session"})
