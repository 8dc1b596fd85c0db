from __future__ import annotations

import contextlib
import io
import sys

import pytest

from checkout_cli.errors import Declined, ExitCode, InvalidInput
from checkout_cli.terminal.prompt import confirm


class Terminal(io.StringIO):
    """Somebody types here, or looks at it."""

    def isatty(self) -> bool:
        return True


def ask(
    answers: str, monkeypatch: pytest.MonkeyPatch, *, question: str = "Delete it?", default: bool = False
) -> tuple[bool, str]:
    """The answer, and what the person has seen."""
    monkeypatch.setattr(sys, "stdin", Terminal(answers))
    with contextlib.redirect_stderr(Terminal()) as stream:
        try:
            agreed = confirm((), question, yes=False, default=default)
        except Declined:
            agreed = False
        return agreed, stream.getvalue()


@pytest.mark.parametrize("answer", ["y", "Y", "yes", " YES "])
def test_yes_is_yes(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(f"{answer}\n", monkeypatch) == (True, "Delete it? [y/N] ")


@pytest.mark.parametrize("answer", ["n", "no", "NO"])
def test_no_is_no(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(f"{answer}\n", monkeypatch, default=True) == (False, "Delete it? [Y/n] ")


def test_a_no_ends_the_command_with_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    with contextlib.redirect_stderr(Terminal()), pytest.raises(Declined, match="nothing was changed") as caught:
        confirm((), "Delete it?", yes=False)
    assert caught.value.exit_code == ExitCode.FINDING


@pytest.mark.parametrize("default", [True, False])
def test_a_bare_enter_is_the_default(default: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask("\n", monkeypatch, default=default)[0] is default


def test_the_end_of_input_is_no(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask("", monkeypatch, default=True)[0] is False


def test_anything_else_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask("perhaps\nyes\n", monkeypatch) == (True, "Delete it? [y/N] " * 2)


def test_nothing_in_the_question_acts_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask("y\n", monkeypatch, question="Delete \x1b[2J?")[1] == "Delete \\x1b[2J? [y/N] "


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("yes", [True, False])
def test_what_is_about_to_change_is_always_shown_first(
    yes: bool, dry_run: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    with contextlib.redirect_stderr(Terminal()) as stream:
        assert confirm(["one session", "on \x1b[2J"], "Delete it?", yes=yes, dry_run=dry_run) is not dry_run
    question = "" if yes or dry_run else "Delete it? [y/N] "
    assert stream.getvalue() == f"one session\non \\x1b[2J\n{question}"


@pytest.mark.parametrize(("stdin", "stderr"), [(io.StringIO, Terminal), (Terminal, io.StringIO)])
def test_without_a_terminal_nobody_is_asked(
    stdin: type[io.StringIO], stderr: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin("y\n"))
    with contextlib.redirect_stderr(stderr()) as stream, pytest.raises(InvalidInput) as caught:
        confirm(["one session"], "Delete it?", yes=False, hint="checkoutctl sessions delete ID --yes")
    assert stream.getvalue() == "one session\n"
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.hint == "checkoutctl sessions delete ID --yes"


def test_the_usual_hint_names_the_options_that_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(InvalidInput) as caught:
        confirm((), "Delete it?", yes=False)
    assert caught.value.hint == "the same command with --yes, or with --dry-run to look only"
