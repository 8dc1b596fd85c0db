"""The parts of the documents that are made from the code.

The documents are the README and the help topics. ``python -m tests.readme`` writes the parts anew; a test compares.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from checkout_cli.cli.main import app
from checkout_cli.commands.record import records
from checkout_cli.config.settings import VARIABLES
from checkout_cli.errors import ExitCode
from tests.guarantees import DURABILITIES, GUARANTEES

ROOT = Path(__file__).parent.parent
PATH = ROOT / "README.md"
HELP = ROOT / "checkout_cli" / "help"
DOCUMENTS = (PATH, *sorted(HELP.glob("*.md")))


def commands() -> str:
    """Every command with those under it."""
    root: Any = typer.main.get_command(app)
    rows = ["| command | what it is for |", "|---|---|"]
    for group, members in itertools.groupby(records(), key=lambda record: record.group):
        rows.append(f"| **{group}** | |")
        for record in members:
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


def durabilities() -> str:
    """What each durability means."""
    rows = ["| durability | acknowledged when | survives |", "|---|---|---|"]
    rows += [f"| `{name}` | {when} | {survives} |" for name, (when, survives) in DURABILITIES.items()]
    return "\n".join(rows) + "\n"


def guarantees() -> str:
    """Each guarantee."""
    return "\n".join(f"- **{name}** {guarantee.words}" for name, guarantee in GUARANTEES.items()) + "\n"


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings,
    "exit codes": exit_codes,
    "durabilities": durabilities,
    "guarantees": guarantees,
}


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- made from the code: {name} -->\n", "<!-- until here -->\n"


def document(name: str) -> Path:
    """The document that has a part."""
    begin, _ = _marks(name)
    return next(path for path in DOCUMENTS if begin in path.read_text(encoding="utf-8"))


def part(name: str) -> str:
    """The text between the marks of a part."""
    begin, end = _marks(name)
    return document(name).read_text(encoding="utf-8").split(begin, 1)[1].split(end, 1)[0]


def put(name: str, text: str) -> None:
    """Replace it."""
    begin, end = _marks(name)
    path = document(name)
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    path.write_text(before + begin + text + end + rest.split(end, 1)[1], encoding="utf-8")


if __name__ == "__main__":
    for each, make in PARTS.items():
        put(each, make())
