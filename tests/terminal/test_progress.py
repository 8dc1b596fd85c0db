from __future__ import annotations

import contextlib
import io

import pytest

from checkout_cli.terminal.progress import hide, progress


class Terminal(io.StringIO):
    """Somebody looks at what is written here."""

    def isatty(self) -> bool:
        return True


def run(stream: io.StringIO, *, quiet: bool = False, title: str = "Cleaning up") -> str:
    with contextlib.redirect_stderr(stream), progress(title, quiet=quiet) as advance:
        advance(0, 200)
        advance(200, 200)
    return stream.getvalue()


@pytest.fixture(autouse=True)
def _terminal_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name in ("TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


def test_a_terminal_gets_a_bar_on_stderr_that_goes_away(capsys: pytest.CaptureFixture[str]) -> None:
    shown = run(Terminal())
    assert "Cleaning up" in shown
    assert "200/200" in shown
    assert shown.endswith(("\x1b[2K", "\x1b[1A\x1b[2K"))
    assert capsys.readouterr().out == ""


def test_a_pipe_gets_nothing() -> None:
    assert run(io.StringIO()) == ""


def test_whoever_wants_quiet_gets_nothing() -> None:
    assert run(Terminal(), quiet=True) == ""


def test_a_dumb_terminal_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert run(Terminal()) == ""


@pytest.mark.parametrize("title", ["\x1b]0;x\x07", "[red]", "[/]"])
def test_a_title_is_only_text(title: str) -> None:
    shown = run(Terminal(), title=title)
    assert "\x1b]0;" not in shown
    assert title.replace("\x1b", "\\x1b").replace("\x07", "\\x07") in shown


def test_the_bar_goes_away_when_the_work_fails() -> None:
    stream = Terminal()
    with contextlib.suppress(RuntimeError), contextlib.redirect_stderr(stream), progress("Cleaning up") as advance:
        advance(1, 2)
        raise RuntimeError
    assert stream.getvalue().endswith(("\x1b[2K", "\x1b[1A\x1b[2K"))
    assert "\x1b[?25h" in stream.getvalue()  # the cursor is back


def test_while_a_person_is_asked_the_bar_is_away_and_comes_back_with_the_next_step() -> None:
    stream = Terminal()
    with contextlib.redirect_stderr(stream), progress("Repairing") as advance:
        hide()
        assert stream.getvalue() == ""  # nothing is shown before the first step
        advance(1, 3)
        hide()
        assert stream.getvalue().endswith(("\x1b[2K", "\x1b[1A\x1b[2K"))
        asked = len(stream.getvalue())
        advance(2, 3)
    assert "2/3" in stream.getvalue()[asked:]
    hide()  # of a bar that has gone, there is nothing to hide
