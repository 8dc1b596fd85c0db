from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from checkout_cli.cli.main import app
from checkout_cli.config.settings import Settings
from tests.guarantees import GUARANTEES
from tests.readme import PARTS, PATH, part
from tests.recording import record, shape

README = PATH.read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text under one heading."""
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def blocks(language: str) -> list[str]:
    """All fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def command_lines() -> list[str]:
    """Every checkoutctl command line of the README."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    lines += [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", README.replace(part("commands"), ""))
    return [line for line in lines if line.startswith("checkoutctl ")]


@pytest.mark.parametrize("name", PARTS)
def test_what_is_made_from_the_code_is_current(name: str) -> None:
    assert part(name) == PARTS[name](), "python -m tests.readme"


@pytest.mark.skipif(os.name == "nt", reason="there is no embedded server")
def test_the_recording_is_of_this_program(tmp_path: Path) -> None:
    recorded = part("recording").removeprefix("```console\n").removesuffix("```\n")
    assert shape(record(tmp_path)) == shape(recorded), "python -m tests.recording"


def test_a_recording_of_another_program_would_be_noticed() -> None:
    recorded = part("recording")
    assert shape(recorded) != shape(recorded.replace("conversion", "turnover"))
    assert shape(recorded.replace("113", "99")) == shape(recorded)


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_a_guarantee_names_tests_that_there_are(guarantee: str) -> None:
    tests = GUARANTEES[guarantee].tests
    assert len(tests) > 1
    assert [path for path in tests if not (PATH.parent / path).exists()] == []


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (PATH.parent / link).exists()] == []


def test_its_contents_name_every_chapter() -> None:
    chapters = re.findall(r"^## (.+)$", README, re.MULTILINE)
    listed = re.findall(r"\[([^]]+)\]\(#([a-z0-9-]+)\)", README.replace("\n", " "))
    anchors = [re.sub(r"[^a-z0-9 -]", "", chapter.lower()).replace(" ", "-") for chapter in chapters]
    assert listed == list(zip(chapters, anchors, strict=True))


def test_its_troubleshooting_has_the_headings_of_the_specification() -> None:
    headings = re.findall(r"^### (.+)$", section("Troubleshooting"), re.MULTILINE)
    assert headings == ["Redis connection failed", "Permission denied", "Port already in use", "Memory issues"]


def test_every_command_line_exists_with_its_options() -> None:
    root = typer.main.get_command(app)
    assert len(command_lines()) > 10
    for line in command_lines():
        words = shlex.split(line, comments=True)[1:]
        command, depth = root, 0
        while hasattr(command, "commands"):
            if words[depth:] == ["--help"] or (
                command.invoke_without_command and (depth == len(words) or words[depth].startswith("-"))
            ):
                break
            assert words[depth] in command.commands, line
            command, depth = command.commands[words[depth]], depth + 1
        known = {"--help"} | {name for parameter in command.params for name in parameter.opts}
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
