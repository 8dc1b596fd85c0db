from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from checkout_cli.cli.main import app
from checkout_cli.errors import ExitCode
from checkout_cli.settings import VARIABLES, Settings

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text under one heading."""
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def blocks(language: str) -> list[str]:
    """All fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def command_lines() -> list[str]:
    """Every checkoutctl command line of the README."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", README)
    return [line for line in lines if line.startswith("checkoutctl ")]


def settings_table() -> str:
    """The table of settings as the code has it."""
    rows = ["| variable | meaning | default |", "|---|---|---|"]
    for variable in VARIABLES.values():
        default = variable.masked(variable.default())
        if variable.name == "DATABASE_URL":
            default = "sqlite:///… in your data directory"
        rows.append(f"| `{variable.name}` | {variable.meaning} | {f'`{default}`' if default else ''} |")
    return "\n".join(rows) + "\n"


def test_the_table_of_settings_is_that_of_the_code() -> None:
    assert settings_table() in section("Settings")


def test_the_table_of_exit_codes_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| ([a-z ]+) \|", section("Exit codes"), re.MULTILINE)
    names = [(str(code.value), code.name.lower().replace("_", " ")) for code in ExitCode]
    assert rows == names


def test_every_command_line_exists_with_its_options() -> None:
    root = typer.main.get_command(app)
    assert len(command_lines()) > 10
    for line in command_lines():
        words = shlex.split(line, comments=True)[1:]
        command, depth = root, 0
        while hasattr(command, "commands"):
            if command.invoke_without_command and (depth == len(words) or words[depth].startswith("-")):
                break
            assert words[depth] in command.commands, line
            command, depth = command.commands[words[depth]], depth + 1
        known = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words[depth:] if word.startswith("--")} <= known, line


def test_every_command_is_in_the_readme() -> None:
    root = typer.main.get_command(app)
    shown = " ".join(command_lines())
    for name in root.commands:  # type: ignore[attr-defined]
        assert f"checkoutctl {name}" in shown


def test_the_test_line_is_marked_once_and_ends_in_pytest() -> None:
    found = re.findall(r"<!-- test line: [^\n]*-->\n```bash\n([^\n]+)\n```\n", README)
    assert len(found) == 1
    assert found[0].startswith("python3 -m venv .venv && ")
    assert found[0].endswith("/pytest")


def test_the_library_examples_run(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "".join(blocks("python"))],
        cwd=tmp_path,
        env={
            "REDIS_HOST": settings.redis_host,
            "REDIS_PORT": str(settings.redis_port),
            "DATABASE_URL": settings.database_url,
        },
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "paid in redis\n10.4 True\n"
