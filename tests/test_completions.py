"""The files in completions/ are what the command itself writes, and each works in its real shell.

To write them again: ``checkoutctl completion show bash > completions/checkoutctl.bash``, and so on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pexpect
import pytest

from checkout_cli.commands.completion.files import installation, usual_shell
from checkout_cli.errors import InvalidInput
from checkout_cli.store.checkout_store import CheckoutStore
from tests.support.command import Checkoutctl

COMPLETIONS = Path(__file__).parent.parent / "completions"
FILES = {"bash": "checkoutctl.bash", "zsh": "_checkoutctl", "fish": "checkoutctl.fish"}
LINES = [
    ("checkoutctl clea", {"cleanup"}),
    ("checkoutctl config ", {"check", "set", "show", "unset"}),
    ("checkoutctl cleanup --expi", {"--expired"}),
    ("checkoutctl sessions index ", {"adopt", "check", "repair"}),
    ("checkoutctl --directory /tmp sessions sh", {"show"}),
    ("checkoutctl sessions list --status p", {"pending", "processing", "paid"}),
    ("checkoutctl sessions list -o c", {"csv"}),
    ("checkoutctl sessions list --status paid --so", {"--sort"}),
    ("checkoutctl doctor --fail-on ", {"warn", "crit"}),
    ("checkoutctl monitor --family de", {"delivery"}),
    ("checkoutctl doctor --explain evictio", {"eviction-policy", "evictions"}),
    ("checkoutctl no-such-comm", set()),
    ("checkoutctl latency --samples ", set()),
]
"""What is typed, and all that is offered then."""


def needing(name: str, *values: object) -> Any:
    """A parameter, a shell, and what goes with it; not every laptop has them all."""
    return pytest.param(name, *values, marks=pytest.mark.needs(name))


@pytest.fixture
def environment(checkoutctl: Checkoutctl, tmp_path: Path) -> dict[str, str]:
    """One in which ``checkoutctl`` is this very installation, and says where it was run."""
    command = tmp_path / "bin" / "checkoutctl"
    command.parent.mkdir()
    script = f'#!/bin/sh\necho "$@" >> {tmp_path}/ran\nexec "{sys.executable}" -m checkout_cli "$@"\n'
    command.write_text(script, encoding="utf-8")
    command.chmod(0o755)
    return checkoutctl.environment | {"PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}", "TERM": "dumb"}


def in_bash(line: str, environment: dict[str, str], directory: Path) -> set[str]:
    """Through the function that the file registers, as bash calls it."""
    script = """
        source "$1"; shift
        registered=$(complete -p checkoutctl) || exit 9
        function=${registered#*-F }; function=${function%% *}
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        "$function" checkoutctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    words = line.split(" ")
    file = str(COMPLETIONS / FILES["bash"])
    return _said(["bash", "--norc", "--noprofile", "-c", script, "bash", file, *words], environment, directory)


def in_fish(line: str, environment: dict[str, str], directory: Path) -> set[str]:
    """Through fish's own question for completions."""
    script = f"source {COMPLETIONS / FILES['fish']}; complete -C {_quoted(line)}"
    said = _said(["fish", "--no-config", "-c", script], environment, directory, whole_lines=True)
    return {offered.split("\t")[0] for offered in said}


def in_zsh(line: str, environment: dict[str, str], directory: Path) -> set[str]:
    """Through the function itself, with zsh's own ways of offering replaced by ones that print what fits."""
    script = """
        compdef() { }
        fits() { local each; for each in "$@"; do [[ $each == ${words[CURRENT]}* ]] && print -r -- "$each"; done }
        _describe() { shift $(( $# - 1 )); local each; for each in "${(@P)1}"; do fits "${each%%:*}"; done }
        compadd() { shift; fits "$@" }
        _files() { fits *(N) }
        source "$1"; shift
        words=("$@") CURRENT=$#
        _checkoutctl
        true
    """
    file = str(COMPLETIONS / FILES["zsh"])
    return _said(["zsh", "-f", "-c", script, "zsh", file, *line.split(" ")], environment, directory)


SHELLS = {"bash": in_bash, "fish": in_fish, "zsh": in_zsh}
EACH = [needing(name) for name in SHELLS]


def _said(command: list[str], environment: dict[str, str], directory: Path, *, whole_lines: bool = False) -> set[str]:
    done = subprocess.run(command, env=environment, cwd=directory, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, ""), done
    return set(done.stdout.splitlines() if whole_lines else done.stdout.split())


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "\\'") + "'"


@pytest.mark.parametrize(("shell", "name"), list(FILES.items()))
def test_each_file_is_what_the_command_writes(shell: str, name: str, checkoutctl: Checkoutctl) -> None:
    run = checkoutctl("completion", "show", shell)
    assert (run.returncode, run.stderr) == (0, "")
    stored = (COMPLETIONS / name).read_text(encoding="utf-8")
    command = f"checkoutctl completion show {shell} > completions/{name}"
    assert stored == run.stdout, f"completions/{name} is out of date; write it again with:\n  {command}"


@pytest.mark.parametrize("shell", EACH)
@pytest.mark.parametrize(("line", "offered"), LINES, ids=[line for line, _ in LINES])
def test_commands_options_and_fixed_values_are_offered_without_running_anything(
    shell: str, line: str, offered: set[str], environment: dict[str, str], tmp_path: Path
) -> None:
    assert SHELLS[shell](line, environment, tmp_path) == offered
    assert not (tmp_path / "ran").exists(), "checkoutctl was run"


@pytest.mark.needs("fish")
def test_fish_also_completes_a_value_behind_an_equals_sign(environment: dict[str, str], tmp_path: Path) -> None:
    assert in_fish("checkoutctl sessions list --status=pa", environment, tmp_path) == {"--status=paid"}
    assert in_fish("checkoutctl sessions restore --no=", environment, tmp_path) == set()


@pytest.mark.parametrize("shell", EACH)
def test_ids_of_sessions_are_offered_where_one_is_wanted(
    shell: str, store: CheckoutStore, environment: dict[str, str], tmp_path: Path
) -> None:
    for name in ("session-0001", "session-0002", "another-0001"):
        store.create({}, checkout_id=name)
    found = SHELLS[shell]("checkoutctl sessions show session-", environment, tmp_path)
    assert found == {"session-0001", "session-0002"}


@pytest.mark.parametrize("shell", EACH)
def test_an_id_that_a_shell_could_expand_is_never_offered(
    shell: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """The command is replaced by one that says what a hostile index could make it say."""
    hostile = ("$(touch P)", "`touch P`", "x$(touch P)y", "${IFS}abcdefg", "*", "a b c d e", "short", "caf\u00e9-1234")
    hostile += ("12345678;touch P", "12345678|touch P", "'12345678'", '"12345678"', "\\12345678")
    hostile += ("1" * 129, "a" * 8 + "\t")
    lines = (*hostile, "-leading0", "--reveal", "-n-n-n-n", "good_id-1", "1" * 128)
    (tmp_path / "lines").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    command = tmp_path / "bin" / "checkoutctl"
    command.write_text(f"#!/bin/sh\nexec cat {tmp_path}/lines\n", encoding="utf-8")
    offered = SHELLS[shell]("checkoutctl sessions show ", environment, tmp_path)
    assert offered == {"good_id-1", "1" * 128}, "one with a dash in front would be an option"
    behind = SHELLS[shell]("checkoutctl sessions show -- ", environment, tmp_path)
    assert behind == offered | {"-leading0", "--reveal", "-n-n-n-n"}
    assert SHELLS[shell]("checkoutctl sessions show -- -l", environment, tmp_path) == {"-leading0"}
    assert not (tmp_path / "P").exists()


@pytest.mark.needs("bash")
def test_names_of_files_are_not_expanded_either(environment: dict[str, str], tmp_path: Path) -> None:
    for name in ("$(touch P)", "*", "fine.undo", "a b"):
        (tmp_path / name).touch()
    assert "fine.undo" in in_bash("checkoutctl sessions restore ", environment, tmp_path)
    assert not in_bash("checkoutctl sessions restore $", environment, tmp_path) - {""}
    assert not (tmp_path / "P").exists()


@pytest.mark.parametrize("shell", EACH)
def test_with_nothing_there_nothing_is_offered_and_nothing_said(
    shell: str, environment: dict[str, str], tmp_path: Path
) -> None:
    away = environment | {"REDIS_PORT": "1", "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    assert SHELLS[shell]("checkoutctl sessions show ", away, tmp_path) == set()


@pytest.mark.parametrize("shell", EACH)
def test_files_are_offered_where_one_is_wanted(shell: str, environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "all.undo").touch()
    assert "all.undo" in SHELLS[shell]("checkoutctl sessions restore al", environment, tmp_path)


@pytest.mark.parametrize(
    ("shell", "option"), [needing("bash", "-n"), needing("zsh", "-n"), needing("fish", "--no-execute")]
)
def test_each_shell_accepts_its_file(shell: str, option: str) -> None:
    done = subprocess.run([shell, option, str(COMPLETIONS / FILES[shell])], capture_output=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.needs("shellcheck")
def test_shellcheck_finds_nothing() -> None:
    done = subprocess.run(["shellcheck", COMPLETIONS / FILES["bash"]], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("shell", "options"),
    [needing("bash", ["--norc"]), needing("zsh", ["-f"]), needing("fish", ["--no-config"])],
)
def test_tab_on_a_real_terminal_completes(
    shell: str, options: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    file = COMPLETIONS / FILES[shell]
    load = {"zsh": f"autoload -Uz compinit; compinit -u -d {tmp_path}/dump; source {file}"}.get(shell, f"source {file}")
    terminal = pexpect.spawn(
        shell,
        [*options, "-i"],
        env=environment | {"TERM": "xterm"},
        cwd=str(tmp_path),
        encoding="utf-8",
        timeout=20,
        dimensions=(24, 100),
    )
    try:
        terminal.sendline(f"{load}; echo rea''dy")
        terminal.expect_exact("ready")
        terminal.send("checkoutctl clea\t")
        terminal.send("--expi\t")
        terminal.send("--he\t\r")
        terminal.expect_exact("Remove expired sessions")  # which the help of cleanup begins with
    finally:
        terminal.close(force=True)


def test_zsh_finds_its_directive_in_the_first_line() -> None:
    assert (COMPLETIONS / "_checkoutctl").read_text(encoding="utf-8").startswith("#compdef checkoutctl\n")


def test_an_installation_puts_each_file_where_its_shell_looks() -> None:
    project = tomllib.loads((COMPLETIONS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    targets = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert set(targets) == {f"completions/{path.name}" for path in COMPLETIONS.iterdir()}
    assert set(FILES.values()) == {path.name for path in COMPLETIONS.iterdir()}


# checkoutctl completion install


def test_install_writes_the_file_once_and_says_where(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    path = tmp_path / ".config" / "fish" / "completions" / "checkoutctl.fish"
    shell = {"SHELL": "/usr/bin/fish"}
    assert "would write" in checkoutctl("completion", "install", "--dry-run", env=shell).stderr
    assert checkoutctl("completion", "install", env=shell).returncode == 2, "nobody can be asked"
    assert not path.exists()
    first = checkoutctl("completion", "install", "--yes", env=shell)
    assert (first.returncode, first.stderr) == (0, f"written: {path}; it holds in the next shell\n")
    assert path.read_text() == (COMPLETIONS / "checkoutctl.fish").read_text()
    assert path.stat().st_mode & 0o777 == 0o644, "it is no secret"
    again = checkoutctl("completion", "install", env=shell)
    assert (again.returncode, again.stderr) == (0, f"{path} is there and current\n")


def test_a_place_that_cannot_be_written_is_told(checkoutctl: Checkoutctl, tmp_path: Path) -> None:
    (tmp_path / ".zfunc").write_text("a file")
    run = checkoutctl("completion", "install", "--shell", "zsh", "--yes")
    assert run.returncode == 1
    assert "cannot be written" in run.stderr
    assert (tmp_path / ".zfunc").read_text() == "a file"


def test_each_shell_has_its_place_and_a_foreign_one_none() -> None:
    home = {"HOME": "/home/ada", "XDG_DATA_HOME": "/data"}
    assert str(installation("bash", "", home).path) == "/data/bash-completion/completions/checkoutctl"
    assert str(installation("fish", "", home).path) == "/home/ada/.config/fish/completions/checkoutctl.fish"
    assert "fpath=(/home/ada/.zfunc $fpath)" in installation("zsh", "", home).hint
    assert usual_shell({"SHELL": "/bin/zsh"}) == "zsh"
    for other in ({"SHELL": "/bin/tcsh"}, {}):
        with pytest.raises(InvalidInput, match="no completions for"):
            usual_shell(other)
