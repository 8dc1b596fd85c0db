"""The parts of the README that are made from the code. ``python -m tests.readme`` writes them anew; a test compares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from checkout_cli.cli.main import app
from checkout_cli.commands.record import records
from checkout_cli.config.settings import VARIABLES
from checkout_cli.errors import ExitCode
from tests.guarantees import DURABILITIES, GUARANTEES

PATH = Path(__file__).parent.parent / "README.md"


def commands() -> str:
    """Every command with those under it."""
    root: Any = typer.main.get_command(app)
    rows = ["| command | what it is for |", "|---|---|"]
    for record in records():
        inner = getattr(root.commands[record.name], "commands", {})
        words = f" {', '.join(inner)}" if inner else ""
        rows.append(f"| `checkoutctl {record.name}`{words} | {record.summary} |")
    return "\n".join(rows) + "\n"


def settings() -> str:
    """Every variable."""
    rows = ["| variable | meaning | default |", "|---|---|---|"]
    for variable in VARIABLES.values():
        default = variable.masked(variable.default())
        if variable.name == "DATABASE_URL":
            default = "sqlite:///… in your data directory"
        rows.append(f"| `{variable.name}` | {variable.meaning} | {f'`{default}`' if default else ''} |")
    return "\n".join(rows) + "\n"


def exit_codes() -> str:
    """Every exit code."""
    rows = ["| code | name | meaning |", "|---:|---|---|"]
    rows += [f"| {code.value} | {code.name.lower().replace('_', ' ')} | {code.meaning} |" for code in ExitCode]
    return "\n".join(rows) + "\n"


def guarantees() -> str:
    """What an acknowledgement is worth, what is guaranteed, and the tests that hold the store to it."""
    rows = ["| durability | acknowledged when | survives |", "|---|---|---|"]
    rows += [f"| `{name}` | {when} | {survives} |" for name, (when, survives) in DURABILITIES.items()]
    rows += ["", "| | guarantee | held to it by |", "|---|---|---|"]
    for name, guarantee in GUARANTEES.items():
        tests = ", ".join(f"[{Path(path).stem}]({path})" for path in guarantee.tests)
        rows.append(f"| **{name}** | {guarantee.words} | {tests} |")
    return "\n".join(rows) + "\n"


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings,
    "exit codes": exit_codes,
    "guarantees": guarantees,
}


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- made from the code: {name} -->\n", "<!-- until here -->\n"


def part(name: str) -> str:
    """What the README has between the marks of a part."""
    begin, end = _marks(name)
    return PATH.read_text(encoding="utf-8").split(begin, 1)[1].split(end, 1)[0]


def put(name: str, text: str) -> None:
    """Replace it."""
    begin, end = _marks(name)
    before, _, rest = PATH.read_text(encoding="utf-8").partition(begin)
    PATH.write_text(before + begin + text + end + rest.split(end, 1)[1], encoding="utf-8")


if __name__ == "__main__":
    for each, make in PARTS.items():
        put(each, make())
