"""``checkoutctl top`` as a process: on a terminal and without one, with servers that go away and come back."""

from __future__ import annotations

import json
import os
import re
import signal
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pexpect
import pytest

from checkout_cli.errors import ExitCode
from checkout_cli.servers.embedded import HOST
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.servers import ValkeyServer

if TYPE_CHECKING:
    from tests.support.command import Checkoutctl

_LEAVE_SCREEN, _SHOW_CURSOR = "\x1b[?1049l", "\x1b[?25h"
_CANARY = {"contactInfo": {"name": "Canary Bird", "phone": "+49 170 5550199"}, "userEmail": "canary@shop.example"}

Start = Callable[..., "pexpect.spawn[str]"]


@pytest.fixture
def on_terminal(checkoutctl: Checkoutctl, tmp_path: Path) -> Iterator[Start]:
    """Starts ``checkoutctl`` on a terminal of its own, 80 by 24 unless said otherwise."""
    children: list[pexpect.spawn[str]] = []

    def start(*words: str, size: tuple[int, int] = (24, 80), env: dict[str, str] | None = None) -> pexpect.spawn[str]:
        python, *arguments = checkoutctl.command(*words)
        environment: Any = checkoutctl.environment | {"TERM": "xterm-256color"} | (env or {})
        child: pexpect.spawn[str] = pexpect.spawn(
            python, arguments, env=environment, cwd=str(tmp_path), encoding="utf-8", timeout=20, dimensions=size
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.close(force=True)


def ended(child: pexpect.spawn[str]) -> tuple[int | None, str]:
    """Its exit code, and all that it wrote since."""
    child.expect(pexpect.EOF)
    child.wait()
    return child.exitstatus, child.before or ""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda child: child.send("q"), 0),
        (lambda child: child.send("\x1b"), 0),
        (lambda child: child.sendintr(), ExitCode.INTERRUPTED),
        (lambda child: child.kill(signal.SIGTERM), ExitCode.INTERRUPTED),
    ],
    ids=["q", "escape", "ctrl-c", "sigterm"],
)
def test_whatever_ends_it_leaves_the_terminal_as_it_was(
    end: Callable[[Any], object], code: int, on_terminal: Start, store: CheckoutStore
) -> None:
    child = on_terminal("top")
    before = termios.tcgetattr(child.child_fd)
    child.expect_exact("q quit")
    assert termios.tcgetattr(child.child_fd)[3] & termios.ICANON == 0  # keys come without Enter
    end(child)
    child.expect_exact(_LEAVE_SCREEN)
    assert _SHOW_CURSOR in (child.before or "")
    status, rest = ended(child)
    assert status == code
    assert "HEALTHY" in rest  # the last frame stays
    assert "Traceback" not in rest
    assert termios.tcgetattr(child.child_fd)[3] == before[3]


def test_keys_pause_look_and_help(on_terminal: Start, store: CheckoutStore) -> None:
    child = on_terminal("top", "--interval", "0.5")
    child.expect_exact("every 0.5 s")
    child.send(" ")
    child.expect_exact("paused")
    store.create({})
    child.send("r")
    child.expect_exact("1 (from redis)")
    child.send("h")
    child.expect_exact("the last frame stays")
    child.send("h ")
    child.expect_exact("every 0.5 s")
    child.send("xyz\x1b[A")  # other keys do nothing
    store.create({})
    child.expect_exact("2 (from redis)")
    child.send("q")
    assert ended(child)[0] == 0


def test_it_survives_redis_going_away_hanging_and_coming_back(
    on_terminal: Start, store: CheckoutStore, valkey_server: Callable[..., ValkeyServer]
) -> None:
    server = valkey_server()
    child = on_terminal(
        "top", "--interval", "0.5", "--timeout", "0.5", env={"REDIS_PORT": str(server.port), "REDIS_HOST": HOST}
    )
    child.expect_exact("HEALTHY")
    server.kill()
    child.expect_exact("DEGRADED")
    child.expect_exact("checkoutctl doctor")
    server.start()
    child.expect_exact("HEALTHY")
    server.pause()
    child.expect_exact("DEGRADED")
    started = time.monotonic()
    child.send("h")  # keys are answered at once, whatever hangs
    child.expect_exact("the last frame stays")
    assert time.monotonic() - started < 5
    child.send("h")
    server.resume()
    child.expect_exact("HEALTHY")
    child.send("q")
    assert ended(child)[0] == 0


@pytest.mark.parametrize("size", [(24, 80), (8, 20), (2, 20), (60, 200)])
def test_it_fits_any_window_and_follows_its_size(
    size: tuple[int, int], on_terminal: Start, store: CheckoutStore
) -> None:
    child = on_terminal("top", size=size)
    child.expect_exact("HEALTHY")
    child.setwinsize(30, 100)
    child.expect_exact("q quit   space pause   r look now   h help")
    child.send("q")
    assert ended(child)[0] == 0


def test_stopped_by_ctrl_z_it_gives_the_terminal_back_and_takes_it_again(
    on_terminal: Start, store: CheckoutStore
) -> None:
    child = on_terminal("top")
    child.expect_exact("q quit")
    child.send("\x1a")
    child.expect_exact(_LEAVE_SCREEN)
    end = time.monotonic() + 10
    while os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is None:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert termios.tcgetattr(child.child_fd)[3] & termios.ICANON
    os.kill(child.pid, signal.SIGCONT)
    child.expect_exact("q quit")
    child.send("q")
    assert ended(child)[0] == 0


def test_no_color_writes_none(on_terminal: Start, store: CheckoutStore) -> None:
    child = on_terminal("top", "--once", env={"NO_COLOR": "1"})
    status, shown = ended(child)
    assert (status, "\x1b" in shown, "HEALTHY" in shown) == (0, False, True)
    live = on_terminal("top", env={"NO_COLOR": "1"})
    live.expect_exact("q quit")
    live.send("q")
    assert not re.search(r"\x1b\[[0-9;]*m", (live.before or "") + ended(live)[1])


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_cannot_is_told_what_to_type(term: str, on_terminal: Start, store: CheckoutStore) -> None:
    status, shown = ended(on_terminal("top", env={"TERM": term}))
    assert status == ExitCode.USAGE
    assert "a live view needs a terminal" in shown
    assert "checkoutctl top --once" in shown
    assert ended(on_terminal("top", "--once", env={"TERM": term}))[0] == 0


def test_a_log_to_the_same_terminal_is_refused(on_terminal: Start, store: CheckoutStore) -> None:
    status, shown = ended(on_terminal("-v", "top"))
    assert status == ExitCode.USAGE
    assert "over the view" in shown
    child = on_terminal("-v", "top", env={"LOG_FILE": "top.log"})
    child.expect_exact("HEALTHY")
    child.send("q")
    assert ended(child)[0] == 0


def test_without_a_terminal_it_is_a_usage_error(checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("top")
    assert (run.returncode, run.stdout) == (ExitCode.USAGE, "")
    assert run.stderr == "error: a live view needs a terminal\nnext: checkoutctl top --once\n"


@pytest.mark.parametrize(("words", "said"), [(["--interval", "0.1"], "0.5<=x<=3600"), (["--interval", "nan"], "nan")])
def test_an_interval_that_is_none_is_refused(words: list[str], said: str, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("top", *words)
    assert run.returncode == ExitCode.USAGE
    assert said in run.stderr


def test_a_pipe_gets_one_plain_frame(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    store.create({"totalAmount": 24.5, **_CANARY})
    run = checkoutctl("top", "--once")
    assert (run.returncode, run.stderr) == (0, "")
    assert "\x1b" not in run.stdout
    assert run.stdout.startswith("HEALTHY")
    assert "24.50" in run.stdout
    assert not any(word in run.stdout for word in ("Canary", "canary", "5550199"))
    assert all(line == line.rstrip() for line in run.stdout.splitlines())


def test_json_is_one_document(store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    store.create({"totalAmount": 24.5, **_CANARY})
    run = checkoutctl("top", "--json")
    shown = json.loads(run.stdout)
    assert (run.returncode, run.stderr) == (0, "")
    assert (shown["schemaVersion"], shown["status"], shown["sessions"]["count"]) == (1, "healthy", 1)
    assert shown["endingSoon"]["sessions"][0]["total"] == 24.5
    assert shown["endingSoon"]["exact"] is True
    assert shown["servers"][0]["usedBytes"] > 0
    assert isinstance(shown["slowCommands"], list)
    assert "anary" not in run.stdout


@pytest.mark.parametrize("words", [["top", "--once"], ["top", "--json"]])
def test_the_exit_code_is_that_of_health(words: list[str], store: CheckoutStore, checkoutctl: Checkoutctl) -> None:
    assert checkoutctl.here(*words).code == 0
    assert checkoutctl.here(*words, env={"REDIS_PORT": "1"}).code == ExitCode.FINDING
    gone = {"REDIS_PORT": "1", "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    assert checkoutctl.here(*words, env=gone).code == ExitCode.UNAVAILABLE
    assert checkoutctl.here(*words, env={"REDIS_PORT": "none"}).code == ExitCode.CONFIGURATION


def test_one_look_waits_for_a_hung_redis_once(
    store: CheckoutStore, checkoutctl: Checkoutctl, valkey_server: Callable[..., ValkeyServer]
) -> None:
    server = valkey_server()
    server.pause()
    env = {"REDIS_PORT": str(server.port), "REDIS_HOST": HOST}
    run = checkoutctl.here("top", "--once", "--timeout", "0.5", env=env)
    server.resume()
    assert run.code == ExitCode.FINDING
    assert run.out.startswith("DEGRADED")
    assert run.seconds < 2.5
