"""Whatever destroys or replaces something shows what first, and does nothing off a terminal without --yes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from checkout_cli.cli.main import app
from checkout_cli.config.settings import Settings
from checkout_cli.servers.embedded import HOST
from tests.support.in_process import Outcome, run_here
from tests.support.role_runs import LIVING, Scene
from tests.support.servers import ValkeyServer


@dataclass(frozen=True)
class Asking:
    """A command that asks, the arguments with which it does, and the state that it finds.

    ``looks`` is how to look only, and ``shown`` is part of what is shown before the question.
    """

    command: str
    arguments: tuple[str, ...]
    shown: str
    state: Callable[[Scene], None] = Scene.apart
    looks: str = "--dry-run"


ASKING = (
    Asking("sessions delete", (LIVING,), LIVING),
    Asking("sessions index repair", (), "not in the index"),
    Asking("sessions index adopt", (), "adopting removes that SET", Scene.beside_a_set),
    Asking("cleanup", ("--expired", "--index", "--orphans"), "would remove 1 copy"),
    Asking("sync", ("--resolve", "{conflict}", "--keep", "written"), "the database"),
    Asking("slowlog", ("--reset",), "they cannot be brought back"),
    Asking("cache delivery set", ("5", "20", "1.5"), "before: "),
    Asking("cache delivery invalidate", (), "1 cached"),
    Asking("cache coupon set", ("SAVE10", '{"valid": true}'), "after: "),
    Asking("cache coupon invalidate", ("SAVE10",), "1 cached"),
    Asking("memory tune", ("--maxmemory", "64mb"), "maxmemory 0 (no limit) -> 64mb"),
    Asking("cron install", (), "+# BEGIN checkoutctl"),
    Asking("cron remove", (), "-# BEGIN checkoutctl"),
    Asking("completion install", ("--shell", "fish"), ""),
    Asking("setup", (), "+++ .env.local", looks="--check"),
    Asking("bench", ("--seconds", "2", "--shoppers", "2"), "live checkouts are there", looks=""),
)
each_asking = pytest.mark.parametrize("asking", ASKING, ids=lambda asking: asking.command)


def leaves(command: Any, path: str = "") -> Iterator[tuple[str, set[str]]]:
    """Each command's words and options."""
    children = getattr(command, "commands", {})
    if not children:
        yield path, {name for each in command.params for name in each.opts}
    for name in children:
        yield from leaves(children[name], f"{path} {name}".strip())


def test_every_command_that_asks_is_here_and_can_be_run_to_look_only() -> None:
    asking = {path: options for path, options in leaves(typer.main.get_command(app)) if "--yes" in options}
    assert set(asking) == {each.command for each in ASKING}, "whoever has --yes is tried below"
    assert {each.command for each in ASKING if not {each.looks or "--embedded"} <= asking[each.command]} == set()
    assert {path for path, options in asking.items() if "--dry-run" not in options} == {"setup", "bench"}


class Place:
    """A scene, and the home of a user with a crontab."""

    def __init__(self, scene: Scene, home: Path, asking: Asking) -> None:
        self.scene, self.home, self.asking = scene, home, asking
        self.table = home / "table"
        program = home / "bin" / "crontab"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\n[ "$1" = -l ] && exec cat {self.table}\ncat > {self.table}\n')
        program.chmod(0o755)
        self.table.write_text("0 0 * * * /usr/bin/true\n")
        scene.empty()
        asking.state(scene)
        if asking.command == "cron remove":
            assert self.run("--yes", command="cron install").code == 0

    def run(self, *options: str, command: str = "") -> Outcome:
        """The command off a terminal; how it comes out does not depend on this machine's own crontab or home."""
        arguments = [] if command else [self.scene.filled_in(word) for word in self.asking.arguments]
        words = [*(command or self.asking.command).split(), *arguments, *options]
        environment = {
            "PATH": f"{self.home / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "REDIS_HOST": HOST,
            "REDIS_PORT": str(self.scene.server.port),
            "DATABASE_URL": self.scene.settings.database_url,
        }
        return run_here(words, environment, self.home)

    def everything(self) -> Any:
        """Keys, rows, the files of this home, and the memory limit."""
        database = self.scene.settings.database_url.removeprefix("sqlite:///")
        files = {
            path: path.read_bytes()
            for path in self.home.rglob("*")
            if path.is_file() and not str(path).startswith(database)
        }
        with self.scene.server.client() as client:
            return self.scene.everything(), files, client.config_get("maxmemory"), client.slowlog_len()


@pytest.fixture
def place(asking: Asking, valkey: ValkeyServer, settings: Settings, tmp_path: Path) -> Place:
    with valkey.client() as client:
        client.slowlog_reset()
    return Place(Scene(valkey, settings), tmp_path, asking)


@each_asking
def test_off_a_terminal_it_shows_what_and_changes_nothing(place: Place, asking: Asking) -> None:
    before = place.everything()
    done = place.run()
    assert place.everything() == before
    assert done.code == 2, done
    assert asking.shown in done.out + done.err
    assert "error: nothing was changed: there is no terminal to ask on\n  hint: " in done.err
    assert done.err.splitlines()[-1].startswith("next: checkoutctl ")
    assert "--yes" in done.err


@pytest.mark.parametrize("asking", [each for each in ASKING if each.looks], ids=lambda asking: asking.command)
def test_whoever_looks_only_is_not_asked_and_changes_nothing(place: Place, asking: Asking) -> None:
    before = place.everything()
    for options in ((asking.looks,), ("--yes", asking.looks)):
        done = place.run(*options)
        assert done.code in {0, 1}, done
        assert "terminal" not in done.err
        assert place.everything() == before


@pytest.mark.parametrize(
    "asking",
    [each for each in ASKING if each.command not in {"slowlog", "memory tune", "bench"}],  # the server is shared
    ids=lambda asking: asking.command,
)
def test_the_control_with_yes_it_changes_something(place: Place, asking: Asking) -> None:
    before = place.everything()
    done = place.run("--yes")
    assert done.code in {0, 1}, (asking.command, done)
    assert place.everything() != before


@pytest.mark.parametrize("asking", ASKING[:1], ids=["cleanup"])
def test_what_has_ended_already_is_removed_without_a_question(place: Place) -> None:
    (done,) = place.run("--json", command="cleanup --expired").documents
    assert done["removed"]["index"] > 0
