"""A user without a home directory, as in many containers, and a shell whose working directory was removed."""

from __future__ import annotations

import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from checkout_cli.config.settings import Settings
from checkout_cli.files.atomic_file import NoHome, state_directory
from tests.support.command import Checkoutctl
from tests.support.in_process import run_here

COMMANDS = {
    "health": 1,
    "doctor --only install": 0,
    "config show": 0,
    "config check": 78,
    "setup --check": 1,
    "sessions list": 0,
    "sessions why session-0001": 69,
    "sessions show session-0001": 69,
    "sessions delete session-0001 --yes": 69,
    "memory show": 0,
    "memory tune": 0,
    "memory tune --policy volatile-ttl --yes": 1,
    "stats": 0,
    "users list": 0,
    "cleanup --expired": 1,
    "sync": 69,
    "migrate status": 0,
    "migrate plan": 69,
    "top --once": 1,
    "cron print": 0,
    "cron status": 1,
    "cron run health --jitter 0": 1,
    "incident --out -": 0,
    "completion install --shell bash": 1,
    "completion show bash": 0,
}
"""Commands that may want a file of their own, and their exit codes without a home directory or a database."""


def nobody(_: int) -> Any:
    raise KeyError("uid not found")


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> dict[str, str]:
    """An environment without HOME, for a user without an entry in the passwd database."""
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.delenv("HOME")
    return {"PATH": "", "REDIS_HOST": settings.redis_host, "REDIS_PORT": str(settings.redis_port)}


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_does_what_it_can_without_a_home_directory(
    words: str, homeless: dict[str, str], tmp_path: Path
) -> None:
    done = run_here(words.split(), homeless, tmp_path)
    assert done.returncode == COMMANDS[words], done
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert "a mistake of this program" not in said
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("words", ["memory show", "doctor --only memory"])
def test_that_nothing_can_be_remembered_is_told_once(words: str, homeless: dict[str, str], tmp_path: Path) -> None:
    done = run_here(words.split(), homeless, tmp_path)
    assert (done.stdout + done.stderr).count("there is no home directory") == 1


def test_a_set_up_without_a_home_directory_makes_no_directory_called_tilde(
    homeless: dict[str, str], tmp_path: Path
) -> None:
    done = run_here(["setup", "--yes"], homeless, tmp_path)
    assert done.returncode == 1
    assert "set DATABASE_URL to a" in done.stdout
    assert not (tmp_path / "~").exists()


def test_nothing_is_revealed_without_a_place_for_the_audit_trail(homeless: dict[str, str], tmp_path: Path) -> None:
    done = run_here(["sessions", "list", "--reveal"], homeless, tmp_path)
    assert done.returncode == 78
    assert "next: XDG_STATE_HOME=" in done.stderr


@pytest.mark.usefixtures("homeless")
def test_there_is_no_state_directory_without_a_home_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    with pytest.raises(NoHome):
        state_directory()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_directory() == tmp_path / "checkoutctl"


@pytest.mark.parametrize(
    "words", ["health", "memory show", "memory tune", "migrate status", "config check", "top --once"]
)
def test_a_home_directory_that_is_a_file_is_no_traceback(words: str, checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    done = checkoutctl(*words.split(), env={"HOME": str(tmp_path / "home"), "DATABASE_URL": ""})
    assert "Traceback" not in done.stderr
    assert "damaged" not in done.stderr


def gone(checkoutctl: Checkoutctl, tmp_path: Path, words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a directory that was removed."""
    (tmp_path / "gone").mkdir()
    script = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
    return subprocess.run(
        ["/bin/sh", "-c", script, "sh", str(tmp_path / "gone"), sys.executable, "-m", "checkout_cli", *words.split()],
        env=checkoutctl.environment | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("words", ["ping --count 1", "sessions list", "config show", "cron print", "-C . health"])
def test_a_working_directory_that_is_gone_is_named_with_the_way_out(
    words: str, checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    done = gone(checkoutctl, tmp_path, words)
    assert done.returncode == 78
    assert "the working directory is gone" in done.stderr
    assert "next: cd ~" in done.stderr


@pytest.mark.parametrize(
    "words", ["--version", "--help", "sessions list --help", "completion show bash", "serve --print-rules"]
)
def test_what_reads_no_settings_works_in_a_directory_that_is_gone(
    words: str, checkoutctl: Checkoutctl, tmp_path: Path
) -> None:
    assert gone(checkoutctl, tmp_path, words).returncode == 0


def test_another_directory_by_option_makes_up_for_one_that_is_gone(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    assert gone(checkoutctl, tmp_path, f"-C {tmp_path} ping --count 1").returncode == 0


def test_the_way_into_the_directory_that_replaced_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from checkout_cli.errors import ConfigurationError
    from checkout_cli.files.directories import working_directory

    def missing() -> Path:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "cwd", missing)
    monkeypatch.setenv("PWD", str(tmp_path))
    with pytest.raises(ConfigurationError) as caught:
        working_directory()
    assert caught.value.hint == f"cd {tmp_path}"
