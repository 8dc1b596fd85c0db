"""Questions to a person, and only to a person."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TypeVar

from checkout_cli.errors import Declined, InvalidInput
from checkout_cli.terminal.output import is_terminal, narrate
from checkout_cli.terminal.progress import hide
from checkout_cli.terminal.safe import safe

T = TypeVar("T")
LONGEST_SECRET = 4096
_ANSWERS = {"y": True, "yes": True, "n": False, "no": False}


def can_ask() -> bool:
    """Whether there is a person: a terminal on both stdin and stderr."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def confirm(
    preview: Iterable[str],
    question: str,
    *,
    yes: bool,
    dry_run: bool = False,
    default: bool = False,
    hint: str = "the same command with --yes, or with --dry-run to look only",
) -> bool:
    """Show a change on stderr, and return whether to make it: never with ``dry_run``, always with ``yes``.

    Raises ``Declined`` after a no, ``InvalidInput`` (with ``hint``) where there is no terminal to ask on.
    """
    for line in preview:
        narrate(line)
    if dry_run or yes:
        return not dry_run
    if not can_ask():
        raise InvalidInput("nothing was changed: there is no terminal to ask on", hint=hint)
    if not _agrees(question, default):
        raise Declined("nothing was changed")
    return True


def ask(question: str, default: str, checked: Callable[[str], T]) -> T:
    """A person's answer, as ``checked`` returns it, asked again where that raises ValueError; Enter means empty.

    Raises ``Declined`` at the end of the input.
    """
    hide()
    while True:
        sys.stderr.write(f"{safe(question)} [{safe(default)}] ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            sys.stderr.write("\n")
            raise Declined("nothing was changed")
        try:
            return checked(line.strip())
        except ValueError as error:
            narrate(f"it {error}")


def _agrees(question: str, default: bool) -> bool:
    """Wait for yes or no; Enter means ``default``, the end of input no."""
    hide()
    choices = "[Y/n]" if default else "[y/N]"
    while True:
        sys.stderr.write(f"{safe(question)} {choices} ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            sys.stderr.write("\n")
            return False
        answer = {"": default, **_ANSWERS}.get(line.strip().lower())
        if answer is not None:
            return answer


def secret(name: str) -> str:
    """A secret by its name: typed without being seen, or the first line of stdin; raises ``InvalidInput``."""
    if can_ask():
        from getpass import getpass

        hide()
        text = getpass(f"{safe(name)}: ")
    else:
        text = sys.stdin.readline(LONGEST_SECRET + 2).rstrip("\r\n")
    if not text or len(text) > LONGEST_SECRET:
        raise InvalidInput(f"{safe(name)}: a secret is one line of 1 to {LONGEST_SECRET} characters")
    return text
