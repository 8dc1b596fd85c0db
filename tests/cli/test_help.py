"""Every command of the tree explains itself."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from checkout_cli import session
from checkout_cli.cli.main import app
from checkout_cli.commands.record import GROUPS, records
from checkout_cli.session import PaymentStatus, transitions

ROOT = typer.main.get_command(app)
SECRETIVE = re.compile(r"pass(word|phrase|wd)?$|secret|token|credential|auth")


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from walk(child, (*path, name))


TREE = [pytest.param(path, command, id=" ".join(path) or "checkoutctl") for path, command in walk(ROOT)]
LEAVES = [item for item in TREE if not hasattr(item.values[1], "commands")]
each_command = pytest.mark.parametrize(("path", "command"), TREE)


def help_of(path: tuple[str, ...]) -> str:
    done = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, [*path, "--help"], prog_name="checkoutctl")
    assert done.exit_code == 0
    return done.stdout


def test_the_commands_of_the_main_job_are_there() -> None:
    names = {" ".join(item.values[0]) for item in LEAVES}
    sessions = {f"sessions {name}" for name in ("list", "show", "create", "update")}
    assert {"setup", "ping", "health", "config show", "config check", "cleanup", "demo"} | sessions <= names


@each_command
def test_its_help_exits_0_and_begins_with_how_to_type_it(path: tuple[str, ...], command: Any) -> None:
    assert help_of(path).startswith(f"Usage: {' '.join(('checkoutctl', *path))} ")


@each_command
def test_it_begins_with_an_example_and_then_says_what_it_does_in_one_sentence(
    path: tuple[str, ...], command: Any
) -> None:
    example, first = command.help.split("\n\n")[:2]
    assert example.startswith("Example: ")
    assert help_of(path).split("\n\n")[1].startswith("  Example: ")
    assert first.endswith((".", ":"))
    assert first[0].isupper()


def test_each_command_has_its_line_in_the_list_and_none_is_cut_in_80_columns() -> None:
    done = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["--help"], prog_name="checkoutctl")
    groups = done.stdout.partition(f"{GROUPS[10]}:\n")[2].split("\n\n")
    lines = [line for group in groups for line in group.splitlines() if line.startswith("  ")]
    assert [line.split(maxsplit=1) for line in lines] == [[record.name, record.summary] for record in records()]
    assert re.findall(r"^(\S.*):$", done.stdout.partition("Options:")[2], re.MULTILINE) == list(GROUPS.values())


def test_the_top_help_says_what_to_type_at_night_and_that_is_the_first_command() -> None:
    assert "3 a.m.? checkoutctl doctor" in help_of(())
    assert next(record.name for record in records()) == "doctor"
    assert {record.group for record in records()} == set(GROUPS.values())


def test_listing_the_commands_builds_none() -> None:
    code = (
        "import sys; sys.argv = ['checkoutctl', '--help']\n"
        "from checkout_cli.cli.main import app\n"
        "try: app()\nexcept SystemExit: pass\n"
        "sys.exit('checkout_cli.commands.health.command' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@each_command
def test_every_option_and_argument_says_what_it_is_for(path: tuple[str, ...], command: Any) -> None:
    silent = [parameter.name for parameter in command.params if not (getattr(parameter, "help", None) or "").strip()]
    assert silent == []


@each_command
def test_no_option_takes_a_secret(path: tuple[str, ...], command: Any) -> None:
    options = [option for parameter in command.params for option in parameter.opts]
    assert [option for option in options if SECRETIVE.search(option.replace("-", ""))] == []


@each_command
def test_it_shows_an_example_that_can_be_typed(path: tuple[str, ...], command: Any) -> None:
    examples = re.findall(r"(?:^|\s)(checkoutctl [^\n]*)", command.help.partition("Example")[2])
    assert examples, "no example in its help"
    assert any(" ".join(("checkoutctl", *path)) in example for example in examples)
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for example in examples:
        if example.startswith(" ".join(("checkoutctl", *path))):
            assert set(re.findall(r"(?<!\S)--[a-z-]+", example)) <= options


@pytest.mark.parametrize(("path", "command"), LEAVES)
def test_its_help_fits_into_80_columns_and_is_plain_text(path: tuple[str, ...], command: Any) -> None:
    done = CliRunner(env={"COLUMNS": "80"}).invoke(app, [*path, "--help"], prog_name="checkoutctl")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("path", [("sync",), ("sessions", "update")], ids=" ".join)
def test_the_help_has_the_very_table_of_payment_transitions(
    path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for status, following in transitions():
        assert re.search(rf"^  {status} +{following}$", help_of(path), re.MULTILINE)
    monkeypatch.setattr(session, "_NEXT", {PaymentStatus.PAID: frozenset({PaymentStatus.FAILED})})
    assert help_of(path).endswith("\n  paid  failed\n")


def test_a_secretive_option_would_be_found() -> None:
    for option in ("--password", "--redis-password", "--auth", "--pass", "--api-token"):
        assert SECRETIVE.search(option.replace("-", ""))
    for option in ("--passed", "--timeout", "--yes", "--compass-point"):
        assert not SECRETIVE.search(option.replace("-", ""))
