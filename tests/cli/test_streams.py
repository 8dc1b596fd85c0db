from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import Checkoutctl

FULL = Path("/dev/full")


def run_in_shell(checkoutctl: Checkoutctl, redirection: str) -> subprocess.CompletedProcess[str]:
    """``config show``, which needs no server, with its streams redirected by a shell."""
    line = shlex.join([sys.executable, "-m", "checkout_cli", "config", "show"]) + redirection
    return subprocess.run(
        ["sh", "-c", line], env=checkoutctl.environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


@pytest.mark.parametrize("redirection", [" >&-", " 2>&-", " <&-", " <&- >&- 2>&-"])
def test_closed_streams_are_no_problem(checkoutctl: Checkoutctl, redirection: str) -> None:
    done = run_in_shell(checkoutctl, redirection)
    assert done.returncode == 0
    assert done.stderr == ""


def test_a_reader_that_has_gone_is_no_problem(checkoutctl: Checkoutctl) -> None:
    done = run_in_shell(checkoutctl, " | head -1")
    assert done.stdout.startswith("variable")
    assert done.stderr == ""


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_told_in_one_line(checkoutctl: Checkoutctl) -> None:
    done = run_in_shell(checkoutctl, " >/dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "error: the answer cannot be written: No space left on device"
    assert "Traceback" not in done.stderr
