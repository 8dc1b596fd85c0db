"""The files in completions/ are what the command itself hands out, and a shell that loads them completes.

To write them again, from the top of the repository:

    _CHECKOUTCTL_COMPLETE=source_bash checkoutctl | grep . > completions/checkoutctl.bash
    _CHECKOUTCTL_COMPLETE=source_zsh  checkoutctl | grep . > completions/_checkoutctl
    _CHECKOUTCTL_COMPLETE=source_fish checkoutctl | grep . > completions/checkoutctl.fish

(``grep .`` drops empty lines: zsh looks for ``#compdef`` in the very first one.)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

COMPLETIONS = Path(__file__).parent.parent / "completions"
FILES = {"bash": "checkoutctl.bash", "zsh": "_checkoutctl", "fish": "checkoutctl.fish"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``checkoutctl`` is this very installation."""
    command = tmp_path / "bin" / "checkoutctl"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m checkout_cli "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return {"PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}


def complete_in_bash(words: list[str], environment: dict[str, str], tmp_path: Path) -> list[str]:
    """What bash offers after these words, through the function that the file registers for the command."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    script = """
        source "$1"; shift
        registered=$(complete -p checkoutctl) || exit 9
        function=${registered#*-F }; function=${function%% *}
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        "$function" checkoutctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    file = str(COMPLETIONS / FILES["bash"])
    done = subprocess.run(
        [bash, "--norc", "--noprofile", "-c", script, "bash", file, *words],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(("shell", "name"), list(FILES.items()))
def test_each_file_is_what_the_command_hands_out(
    shell: str, name: str, environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        ["checkoutctl"],
        env={**environment, "_CHECKOUTCTL_COMPLETE": f"source_{shell}"},
        executable=shutil.which("checkoutctl", path=environment["PATH"]),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 0
    fresh = "".join(line for line in done.stdout.splitlines(keepends=True) if line.strip())
    stored = (COMPLETIONS / name).read_text(encoding="utf-8")
    command = f"_CHECKOUTCTL_COMPLETE=source_{shell} checkoutctl | grep . > completions/{name}"
    assert stored == fresh, f"completions/{name} is out of date; write it again with:\n  {command}"


def test_zsh_finds_its_directive_in_the_first_line() -> None:
    assert (COMPLETIONS / "_checkoutctl").read_text(encoding="utf-8").startswith("#compdef checkoutctl\n")


def test_an_installation_puts_each_file_where_its_shell_looks() -> None:
    project = tomllib.loads((COMPLETIONS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    targets = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert set(targets) == {f"completions/{path.name}" for path in COMPLETIONS.iterdir()}
    assert set(FILES.values()) == {path.name for path in COMPLETIONS.iterdir()}


def test_bash_completes_a_command(environment: dict[str, str], tmp_path: Path) -> None:
    assert complete_in_bash(["checkoutctl", "clea"], environment, tmp_path) == ["cleanup"]


def test_bash_completes_the_command_of_a_group(environment: dict[str, str], tmp_path: Path) -> None:
    assert sorted(complete_in_bash(["checkoutctl", "config", ""], environment, tmp_path)) == ["check", "show"]


def test_bash_completes_an_option(environment: dict[str, str], tmp_path: Path) -> None:
    assert complete_in_bash(["checkoutctl", "cleanup", "--expi"], environment, tmp_path) == ["--expired"]


def test_bash_offers_nothing_where_nothing_fits(environment: dict[str, str], tmp_path: Path) -> None:
    assert complete_in_bash(["checkoutctl", "no-such-comm"], environment, tmp_path) == []


@pytest.mark.parametrize(
    ("shell", "variables"),
    [
        ("zsh", {"_TYPER_COMPLETE_ARGS": "checkoutctl clea"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "checkoutctl clea", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_the_other_shells_get_an_answer_in_their_own_form(
    shell: str, variables: dict[str, str], environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        ["checkoutctl"],
        env={**environment, **variables, "_CHECKOUTCTL_COMPLETE": f"complete_{shell}"},
        executable=shutil.which("checkoutctl", path=environment["PATH"]),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "cleanup" in done.stdout
    assert "Remove expired sessions" in done.stdout


@pytest.mark.parametrize(("shell", "option"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")])
def test_each_shell_accepts_its_file(shell: str, option: str) -> None:
    executable = shutil.which(shell)
    if executable is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([executable, option, str(COMPLETIONS / FILES[shell])], capture_output=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, b"")


def test_completion_is_no_option_in_the_help(environment: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "checkout_cli", "--help"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 0
    assert "completion" not in done.stdout
