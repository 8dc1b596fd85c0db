from __future__ import annotations

from pathlib import Path

import pytest

from checkout_cli.commands.demo.data import Outcome
from checkout_cli.commands.demo.demo import (
    CommandEnded,
    CommandStarted,
    ServerStarted,
    SessionsWritten,
    Verdict,
)
from checkout_cli.commands.demo.view import WIDTH, show_event
from checkout_cli.errors import ExitCode


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_a_command_line_can_be_pasted_into_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    show_event(CommandStarted(("sessions", "update", "x", "--set", "notes=a b")))
    assert shown(capsys) == "\n$ checkoutctl sessions update x --set 'notes=a b'\n"


def test_the_numbers_of_sessions_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    show_event(
        SessionsWritten({Outcome.PAID: 2, Outcome.EXPIRED: 3, Outcome.FAILED: 0}, corrupt=1, legacy=1, seconds=0.25)
    )
    assert shown(capsys) == (
        "# 7 sessions were written in 0.2 s: 2 paid, 3 expired, 1 as an older program writes it, 1 cut off in the\n"
        "# middle.\n"
    )


def test_a_good_verdict_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    show_event(Verdict(acknowledged=9, sessions=4, lost=(), expired=2, risen=(), unexpected=()))
    text = shown(capsys)
    assert "4 of 4 sessions are exactly as last acknowledged" in text
    assert text.endswith("# Nothing acknowledged was lost.\n")
    assert "WRONG" not in text


def test_a_bad_verdict_names_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    ended = CommandEnded(("health",), 69, ExitCode.OK)
    show_event(Verdict(acknowledged=9, sessions=4, lost=("gone",), expired=2, risen=("undead",), unexpected=(ended,)))
    text = shown(capsys)
    assert "3 of 4 sessions" in text
    for wrong in ("session gone", "session undead", "checkoutctl health ended with 69"):
        assert f"# WRONG: {wrong}\n" in text
    assert text.endswith("# The demonstration failed its own check.\n")


def test_narration_is_wrapped_and_every_line_is_a_comment(capsys: pytest.CaptureFixture[str]) -> None:
    show_event(ServerStarted(pid=1, port=2, directory=Path("/" + "long/" * 30)))
    lines = shown(capsys).splitlines()
    assert len(lines) > 1
    assert all(line.startswith("# ") and len(line) <= WIDTH for line in lines)


def test_kept_servers_come_with_a_line_to_paste(capsys: pytest.CaptureFixture[str]) -> None:
    environment = {"REDIS_PORT": "1", "DATABASE_URL": "sqlite:////a b/c.db"}
    show_event(Verdict(1, 1, (), 0, (), (), environment))
    assert "\nexport REDIS_PORT=1 DATABASE_URL='sqlite:////a b/c.db'\n" in shown(capsys)
