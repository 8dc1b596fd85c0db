"""Every command of ours that the package prints is one that can be typed."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import checkout_cli
from checkout_cli.typed import is_typeable
from tests.support.next_steps import insist_on_command

PACKAGE = Path(checkout_cli.__file__).parent


NO_COMMANDS = {"checkoutctl config set", "checkoutctl undo", "checkoutctl completion show"}
"""Beginnings of commands, and the name of a file's kind."""


def printed() -> list[str]:
    """The literals of the package that are whole commands of ours; ``{}`` stands for data."""
    found: set[str] = set()
    for file in PACKAGE.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        parts = {part for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        texts = [node.value for node in nodes if isinstance(node, ast.Constant) and node not in parts]
        found |= {text for text in texts if isinstance(text, str) and text.startswith("checkoutctl ")}
    return sorted(text for text in found - NO_COMMANDS if is_typeable(text))


def test_there_are_many() -> None:
    assert len(printed()) > 60


@pytest.mark.parametrize("line", printed())
def test_it_is_known_with_its_options(line: str) -> None:
    line = (
        re.sub("    .*|>.*", "", line)
        .replace("--keep {}", "--keep written")
        .replace("--output {}", "--output csv")
        .replace("cache {}", "cache coupon")
        .replace("-C {}", "-C .")
    )
    insist_on_command(re.sub("(?<==)[{][}]|[{][}]", "1", line))


@pytest.mark.parametrize(
    "line",
    ["checkoutctl helth", "checkoutctl doctor --onli x", "checkoutctl cache list", "look at it", "checkoutctl sync X"],
)
def test_what_is_none_is_found(line: str) -> None:
    with pytest.raises(AssertionError):
        insist_on_command(line)
