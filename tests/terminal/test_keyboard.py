from __future__ import annotations

import os
from pathlib import Path

import pytest

from checkout_cli.terminal.keyboard import ESCAPE, GONE, Keyboard, keys_of


@pytest.mark.parametrize(
    ("raw", "keys"),
    [
        (b"q", ["q"]),
        (b"rh ", ["r", "h", " "]),
        (b"\x1b", [ESCAPE]),
        (b"\x1b[A", []),  # an arrow is no Esc
        (b"\x1bOP", []),
        (b"", [GONE]),
        ("ö".encode(), ["ö"]),
        (b"\xff", []),
    ],
)
def test_keys_of_what_a_terminal_sends(raw: bytes, keys: list[str]) -> None:
    assert keys_of(raw) == keys


def test_without_a_terminal_there_are_no_keys_and_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open(encoding="utf-8") as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        keyboard = Keyboard()
    with keyboard:
        assert keyboard.keys(0) == []
