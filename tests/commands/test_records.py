"""A command is entered in one place: what is in its folder's record appears everywhere, and a wrong word is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from checkout_cli import commands
from checkout_cli.commands.acl.needs import table
from checkout_cli.commands.acl.roles import COMMANDS
from checkout_cli.commands.record import Command, Use, names, records

ROOT = Path(__file__).parents[2]
RECORD = """
from checkout_cli.commands.record import Command, Use

RECORD = Command(
    "newword",
    place=34,
    summary="Do what nobody has done before.",
    example="checkoutctl newword --often 3",
    uses=(
        Use("--dry-run", "reader", "ping"),
        Use("", "operator", "ping sessions:pexpire", run="--often 2"),
    ),
)
"""
COMMAND = '''
import typer


def newword(dry_run: bool = typer.Option(False, help="Only look."), often: int = typer.Option(1, help="How often.")):
    """Do it, here and now."""
'''
EVERYWHERE = """
import json
import typer
from checkout_cli.cli.main import app
from checkout_cli.commands.acl.roles import COMMANDS, ROLES
from checkout_cli.commands.completion import scripts, words
from tests import readme
from tests.support.role_runs import RUNS, name_of

root = typer.main.get_command(app)
places = list(words.places(root))
print(json.dumps({
    "table": {name: sorted(need.command for need in entry.everything) for name, entry in COMMANDS.items()},
    "roles": {role: list(its.entries) for role, its in ROLES.items()},
    "runs": [[name_of(run), run.words] for run in RUNS],
    "completions": {shell: scripts.script(shell, places) for shell in ("bash", "fish", "zsh")},
    "readme": readme.commands(),
}))
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package, with a folder for a new word that has a command."""
    shutil.copytree(ROOT / "checkout_cli", tmp_path / "checkout_cli", ignore=shutil.ignore_patterns("__pycache__"))
    folder = tmp_path / "checkout_cli" / "commands" / "newword"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "command.py").write_text(COMMAND, encoding="utf-8")
    return tmp_path


def enter(copy: Path, record: str) -> None:
    (copy / "checkout_cli" / "commands" / "newword" / "__init__.py").write_text(record, encoding="utf-8")


def python(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(map(str, (copy, ROOT)))
    environment = {"PATH": os.environ["PATH"], "HOME": str(copy), "PYTHONPATH": path, "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=copy, capture_output=True, text=True, timeout=60
    )


def test_a_new_folder_with_a_record_appears_everywhere(copy: Path) -> None:
    enter(copy, RECORD)
    done = python(copy, "-c", EVERYWHERE)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert (found["table"]["newword"], found["table"]["newword --dry-run"]) == (["pexpire", "ping"], ["ping"])
    in_roles = {role: [name for name in its if "newword" in name] for role, its in found["roles"].items()}
    assert in_roles == {
        "reader": ["newword --dry-run"],
        "operator": ["newword --dry-run", "newword"],
        "application": [],
    }
    assert ["newword --dry-run", ["newword", "--dry-run"]] in found["runs"]
    assert ["newword", ["newword", "--often", "2"]] in found["runs"]
    assert all("newword" in script and "--often" in script for script in found["completions"].values())
    assert "| `checkoutctl newword` | Do what nobody has done before. |\n" in found["readme"]
    shown = python(copy, "-m", "checkout_cli", "--help").stdout.partition("\nRedis:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in shown.splitlines()][-3:] == ["monitor", "newword", "bench"]
    text = python(copy, "-m", "checkout_cli", "newword", "--help").stdout
    assert "\n\n  Example: checkoutctl newword --often 3\n\n  Do it, here and now.\n\n" in text


def test_a_folder_without_a_record_is_named(copy: Path) -> None:
    for words in (["--help"], ["newword", "--help"]):
        done = python(copy, "-m", "checkout_cli", *words)
        assert done.returncode != 0
        assert "ValueError: commands/newword has no record: a RECORD in its __init__.py" in done.stderr
    assert python(copy, "-m", "checkout_cli", "health", "--help").returncode == 0, "it is no concern of the others"


@pytest.mark.parametrize(
    ("word", "wrong", "said"),
    [
        ('"newword"', '"oldword"', "commands/newword has the record of oldword"),
        ('"reader"', '"root"', "the record of newword names a role that does not exist: 'root'"),
        ('"reader"', '"application"', "the record of newword names a role that does not exist: 'application'"),
        ('"reader"', '""', "the record of newword names a role that does not exist: ''"),
    ],
)
def test_a_wrong_name_or_role_is_named(copy: Path, word: str, wrong: str, said: str) -> None:
    enter(copy, RECORD.replace(word, wrong))
    assert f"ValueError: {said}\n" in python(copy, "-m", "checkout_cli", "--help").stderr


def test_every_folder_has_a_command_and_a_record() -> None:
    folders = {each.name for each in Path(commands.__path__[0]).iterdir() if (each / "__init__.py").exists()}
    assert folders == names() == {record.name for record in records()}
    assert len({record.place for record in records()}) == len(records()), "two have the same place"
    assert {name.split()[0] for name in COMMANDS} == folders


def command(*uses: Use) -> Command:
    return Command("newword", 1, "Do it.", "checkoutctl newword", uses)


@pytest.mark.parametrize("word", ["pingg", "LOCKED", "sessions:gte", "session:get", "get", "sessions:ping", ":get"])
@pytest.mark.parametrize("field", ["needs", "helps", "fenced"])
def test_a_need_that_does_not_exist_is_named(word: str, field: str) -> None:
    record = command(Use("", "reader", **{field: f"ping {word}"}))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"^the record of newword names a need that does not exist: '{word}'$"):
        table([record])


@pytest.mark.parametrize("field", ["does", "tries"])
def test_another_use_that_does_not_exist_is_named(field: str) -> None:
    record = command(Use("", "reader", **{field: ("helth",)}))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^the record of newword names a need that does not exist: 'helth'$"):
        table([record])
