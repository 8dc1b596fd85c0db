"""What a command returns is how the process exits."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from checkout_cli import commands
from checkout_cli.cli.main import app
from checkout_cli.cli.tree import CommandTree
from checkout_cli.errors import ExitCode

RETURNED = {"None", "Report", "Report | None", "ExitCode", "int", "Report | int"}


def ending(returned: Any, *, standalone: bool = True) -> int | None:
    """How the tree exits with a command that returns this."""

    class Tree(CommandTree):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.commands = {"it": made}

    single = typer.Typer(rich_markup_mode=None)
    single.command("it")(lambda: returned)
    made: Any = typer.main.get_command(single)
    root = typer.Typer(cls=Tree, rich_markup_mode=None)
    root.callback()(lambda: None)
    if standalone:
        return CliRunner().invoke(root, ["it"]).exit_code
    code: int | None = typer.main.get_command(root)(["it"], standalone_mode=False)
    return code


@pytest.mark.parametrize(
    ("returned", "code"),
    [
        (None, 0),
        (0, 0),
        (3, 3),
        (ExitCode.TRY_AGAIN, 75),
        (SimpleNamespace(exit_code=ExitCode.OK), 0),
        (SimpleNamespace(exit_code=ExitCode.FINDING), 1),
        (SimpleNamespace(exit_code=ExitCode.INTERRUPTED), 130),
    ],
)
def test_a_code_or_a_report_that_has_one_is_the_exit_code(returned: Any, code: int) -> None:
    assert ending(returned) == code
    assert (ending(returned, standalone=False) or 0) == code, "as for a monitoring plugin"


def leaves(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", {})
    if not children:
        yield path, command
    for name in children:
        yield from leaves(children[name], f"{path} {name}".strip())


def test_every_command_returns_a_report_a_code_or_nothing() -> None:
    returned = {
        path: str(inspect.signature(inspect.unwrap(command.callback)).return_annotation)
        for path, command in leaves(typer.main.get_command(app))
    }
    assert {path: what for path, what in returned.items() if what not in RETURNED} == {}
    with_a_code = {path for path, what in returned.items() if what != "None"}
    assert with_a_code >= {
        *("acl check", "bench", "cache coupon get", "cache delivery get", "cleanup", "config check", "cron run"),
        *("cron status", "demo", "doctor", "health", "memory families", "memory show", "memory tune", "migrate plan"),
        *("migrate run", "migrate verify", "monitor", "ping", "sessions delete", "sessions index adopt"),
        *("sessions index check", "sessions index repair", "sessions restore", "sessions show", "sessions why"),
        *("setup", "sync", "top", "users show"),
    }


def test_no_command_ends_the_process_or_hears_ctrl_c_itself() -> None:
    texts = {str(path): path.read_text() for path in Path(commands.__path__[0]).glob("*/*command.py")}
    assert len(texts) > 20
    assert [path for path, text in texts.items() if "typer.Exit" in text or "except KeyboardInterrupt" in text] == []
