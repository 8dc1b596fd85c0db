"""The command line as a process: what it does before, around and after any command."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

import checkout_cli
from tests.support.in_process import Outcome, run_here

MODULE = [sys.executable, "-m", "checkout_cli"]
Run = Callable[..., subprocess.CompletedProcess[str]]
RunHere = Callable[..., Outcome]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """No settings, no Redis, and a home of its own."""
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "REDIS_PORT": "1"}


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    """``run("--help", LANG="C")`` runs the command to its end."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*MODULE, *arguments],
            env={**environment, **variables},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=30,
        )

    return run


class TestWithoutACommand:
    def test_version_is_the_packages(self, run: Run) -> None:
        done = run("--version")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"checkoutctl {checkout_cli.__version__}\n", "")

    @pytest.mark.parametrize("option", ["--help", "-h"])
    def test_help_shows_every_command(self, option: str, run: Run) -> None:
        done = run(option)
        assert (done.returncode, done.stderr) == (0, "")
        for command in ("setup", "ping", "health", "config", "sessions", "cleanup", "demo"):
            assert f"\n  {command} " in done.stdout

    def test_nothing_at_all_is_a_usage_error_that_shows_the_help(self, run: Run) -> None:
        done = run()
        assert done.returncode == 2
        assert "Something is wrong:" in done.stdout + done.stderr

    def test_the_installed_command_is_the_module(self, environment: dict[str, str], tmp_path: Path) -> None:
        installed = shutil.which("checkoutctl", path=sysconfig.get_path("scripts"))
        if installed is None:
            pytest.skip("the package is not installed, only importable")
        for command in ([installed], MODULE):
            done = subprocess.run([*command, "--help"], env=environment, cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0
            assert done.stdout.startswith("Usage: checkoutctl ")


class TestUsage:
    @pytest.fixture
    def run(self, environment: dict[str, str], tmp_path: Path) -> RunHere:
        """Within the test's own process: nothing of these is a process' matter."""
        return lambda *arguments: run_here(arguments, environment, tmp_path)

    @pytest.mark.parametrize(
        "arguments",
        [
            ["nonsense"],
            ["--nonsense"],
            ["cleanup", "--expired", "surplus"],
            ["cleanup"],
            ["cleanup", "--expired", "--batch", "0"],
            ["cleanup", "--index", "--batch", "10"],
            ["migrate", "run", "--to-mode", "cluster"],
            ["migrate", "verify", "--to-mode", "cluster"],
            ["cleanup", "--expired", "--timeout", "soon"],
            ["--redis-port", "abc", "config", "show"],
            ["-C", "no-such-directory", "config", "show"],
            ["config", "nonsense"],
        ],
        ids=" ".join,
    )
    def test_a_wrong_command_line_exits_2_and_says_why_on_stderr(self, arguments: list[str], run: RunHere) -> None:
        done = run(*arguments)
        assert done.returncode == 2
        assert done.stdout == ""
        assert "rror: " in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("hostile", ["\x1b]0;x\x07", "\x9b2J", "a\nb", "[red]", "[/]"])
    def test_what_was_typed_comes_back_harmless(self, hostile: str, run: RunHere) -> None:
        done = run("sessions", "show", hostile)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert all(line.isprintable() for line in (done.stdout + done.stderr).split("\n"))

    @pytest.mark.parametrize(
        ("flag", "value"), [("--redis-port", "0"), ("--redis-port", "70000"), ("--redis-db", "-1")]
    )
    def test_a_flag_out_of_range_names_the_setting_and_the_flag(self, flag: str, value: str, run: RunHere) -> None:
        done = run(flag, value, "cleanup", "--expired")
        assert done.returncode == 78
        assert "(from flag)" in done.stderr
        assert done.stderr.startswith("error: REDIS_")


class TestSettingsOfARun:
    def test_the_directory_says_where_the_environment_files_are(self, run: Run, tmp_path: Path) -> None:
        shop = tmp_path / "shop"
        shop.mkdir()
        (shop / ".env.local").write_text("CHECKOUT_TRUST=3.5\n", encoding="utf-8")
        (shop / ".env.local").chmod(0o600)
        assert "3.5" not in run("config", "show").stdout
        (line,) = (line for line in run("-C", "shop", "config", "show").stdout.splitlines() if "CHECKOUT_TRUST" in line)
        assert line.split() == ["CHECKOUT_TRUST", "3.5", ".env.local"]

    def test_a_flag_is_stronger_than_the_environment(self, run: Run) -> None:
        done = run("--redis-port", "7777", "config", "show")
        (line,) = (line for line in done.stdout.splitlines() if line.startswith("REDIS_PORT"))
        assert line.split() == ["REDIS_PORT", "7777", "flag"]


@pytest.mark.skipif(os.name == "nt", reason="there is no sh on Windows")
class TestAReaderThatGoesAway:
    @pytest.mark.parametrize("arguments", ["--help", "config show", "config show --json", "cleanup --help"])
    @pytest.mark.parametrize("reader", ["head -1", "true", "exec 0<&-"])
    def test_it_is_told_nothing(self, arguments: str, reader: str, environment: dict[str, str], tmp_path: Path) -> None:
        line = f'"$0" -m checkout_cli {arguments} | {{ {reader}; }}'
        done = subprocess.run(
            ["sh", "-c", line, sys.executable],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.stderr == ""


class TestEncodings:
    ASCII: tuple[dict[str, str], ...] = (
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
    )

    @pytest.mark.parametrize("variables", ASCII, ids=str)
    def test_text_that_the_terminal_cannot_show_is_spelled_out(self, variables: dict[str, str], run: Run) -> None:
        done = run("config", "show", REDIS_USERNAME="日本語", **variables)
        assert done.returncode == 0
        spelled = ("日本語", "\\u65e5\\u672c\\u8a9e", "\\udce6\\udc97\\udca5")  # the last: not even read as text
        assert any(text in done.stdout for text in spelled)
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("variables", ASCII, ids=str)
    def test_so_are_errors(self, variables: dict[str, str], run: Run) -> None:
        done = run("config", "check", REDIS_HOST="日本語 /", **variables)
        assert done.returncode == 78
        assert "Traceback" not in done.stderr

    def test_an_argument_that_is_no_text_is_no_crash(self, environment: dict[str, str], tmp_path: Path) -> None:
        command = [*(os.fsencode(part) for part in MODULE), b"sessions", b"show", b"caf\xe9caf\xe9"]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, timeout=30)
        assert done.returncode != 0
        assert b"Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
@pytest.mark.parametrize("arguments", [["cleanup", "--expired"], ["health"], ["sessions", "list"]], ids=" ".join)
def test_ctrl_c_in_the_middle_exits_130_and_says_nothing(
    arguments: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    """A server that accepts and never answers tells us when the command is in the middle of its work."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        process = subprocess.Popen(
            [*MODULE, *arguments, "--timeout", "30"],
            env={**environment, "REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(listener.getsockname()[1])},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=20)
        finally:
            process.kill()
            process.communicate()
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
