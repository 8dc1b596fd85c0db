"""No option that takes a number takes one that bounds nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import typer

from checkout_cli.cli.main import app, main

FLAGS = {"--redis-port", "--redis-db"}
"""They are settings like those of the environment, and checked with them: exit code 78."""


MAY_BE_ZERO = {
    ("memory", "families", "--biggest"),
    ("cron", "run", "--jitter"),
    ("ping", "--count"),
    ("ping", "--interval"),
}


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, child in getattr(command, "commands", {}).items():
        yield from walk(child, (*path, name))
    for parameter in command.params:
        yield path, parameter


NUMBERS = [
    pytest.param((*path, parameter.opts[0]), parameter.type, id=" ".join((*path, parameter.opts[0])))
    for path, parameter in walk(typer.main.get_command(app))
    if any(kind in parameter.type.name for kind in ("int", "float")) and parameter.opts[0] not in FLAGS
]


def test_the_walk_finds_the_options_of_every_kind() -> None:
    names = {item.values[0][-1] for item in NUMBERS}
    assert {"--max-seconds", "--limit", "--batch", "--timeout", "--watch", "--seconds", "--rate", "--interval"} <= names
    assert {"--max-load", "--jitter", "--diff", "--samples", "--sample", "--count", "--biggest", "--port"} <= names


@pytest.mark.parametrize(("words", "kind"), NUMBERS)
def test_what_is_no_number_is_a_usage_error_of_one_line_and_zero_where_it_would_bound_nothing(
    words: tuple[str, ...], kind: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in ("nan", "inf", "-inf", "-1", "soon"):
        arguments = [*words[:-1], f"{words[-1]}={wrong}"]
        with mock.patch.object(sys, "argv", ["checkoutctl", *arguments]), pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        assert (end.value.code, out) == (2, ""), arguments
        assert [line for line in err.splitlines() if line.startswith("Error: ")] == err.splitlines()[-1:]
        assert words[-1] in err.splitlines()[-1]
    takes_zero = kind.min is None or kind.min < 0 or (kind.min == 0 and not kind.min_open)
    assert takes_zero == (words in MAY_BE_ZERO)
