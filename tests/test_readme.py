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
from checkout_cli.commands.help.topics import names
from checkout_cli.config.settings import Settings
from tests.guarantees import GUARANTEES
from tests.readme import DOCUMENTS, HELP, PARTS, PATH, part
from tests.recording import record, shape

README = PATH.read_text(encoding="utf-8")


def blocks(language: str, path: Path = PATH) -> list[str]:
    """All fenced blocks of a language in a document."""
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def command_lines(path: Path) -> list[str]:
    """Every checkoutctl command line of a document."""
    text = path.read_text(encoding="utf-8")
    lines = [line for block in blocks("bash", path) for line in block.splitlines()]
    lines += [line.removeprefix("$ ") for block in blocks("console", path) for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", text.replace(part("commands"), ""))
    return [line for line in lines if line.startswith("checkoutctl ") and "TOPIC" not in line]


@pytest.mark.parametrize("name", PARTS)
def test_what_is_made_from_the_code_is_current(name: str) -> None:
    assert part(name) == PARTS[name](), "python -m tests.readme"


@pytest.mark.skipif(os.name == "nt", reason="there is no embedded server")
def test_the_recording_is_of_this_program(tmp_path: Path) -> None:
    recorded = part("recording").removeprefix("```console\n").removesuffix("```\n")
    assert shape(record(tmp_path)) == shape(recorded), "python -m tests.recording"


def test_a_recording_of_another_program_would_be_noticed() -> None:
    recorded = part("recording")
    assert shape(recorded) != shape(recorded.replace("statistics", "turnover"))
    assert shape(recorded.replace("113", "99")) == shape(recorded)


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_a_guarantee_names_tests_that_there_are(guarantee: str) -> None:
    tests = GUARANTEES[guarantee].tests
    assert len(tests) > 1
    assert [path for path in tests if not (PATH.parent / path).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_every_topic_is_linked_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(checkout_cli/help/([^)]+)\.md\)", README))
    assert linked == set(names())


def test_the_readme_has_250_lines_at_most_and_a_topic_120() -> None:
    lengths = {path.stem: len(path.read_text(encoding="utf-8").splitlines()) for path in DOCUMENTS}
    assert {name: length for name, length in lengths.items() if length > (250 if name == "README" else 120)} == {}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_a_topic_that_a_document_names_exists(path: Path) -> None:
    named = set(re.findall(r"checkoutctl help ([a-z-]+)", path.read_text(encoding="utf-8")))
    assert named <= set(names())


def test_its_contents_name_every_chapter() -> None:
    chapters = re.findall(r"^## (.+)$", README, re.MULTILINE)
    listed = re.findall(r"\[([^]]+)\]\(#([a-z0-9-]+)\)", README.replace("\n", " "))
    anchors = [re.sub(r"[^a-z0-9 -]", "", chapter.lower()).replace(" ", "-") for chapter in chapters]
    assert listed == list(zip(chapters, anchors, strict=True))


def test_troubleshooting_begins_with_the_headings_of_the_specification() -> None:
    headings = re.findall(r"^## (.+)$", (HELP / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[:4] == ["Redis connection failed", "Permission denied", "Port already in use", "Memory issues"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_every_command_line_exists_with_its_options(path: Path) -> None:
    root = typer.main.get_command(app)
    for line in command_lines(path):
        words = shlex.split(line.partition("|")[0], comments=True)[1:]
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
    shown = " ".join(line for path in DOCUMENTS for line in command_lines(path))
    for name in root.commands:  # type: ignore[attr-defined]
        assert f"checkoutctl {name}" in shown


def test_the_test_line_is_marked_once_and_ends_in_pytest() -> None:
    found = re.findall(r"<!-- test line: [^\n]*-->\n```bash\n([^\n]+)\n```\n", README)
    assert len(found) == 1
    assert found[0].startswith("python3 -m venv .venv && ")
    assert found[0].endswith("/pytest")


@pytest.mark.parametrize(
    ("path", "shown"), [(PATH, "paid in redis\n"), (HELP / "library.md", "paid in redis\n10.4 True\n")]
)
def test_the_library_examples_run(path: Path, shown: str, settings: Settings, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "".join(blocks("python", path))],
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
    assert done.stdout == shown
