"""Asking a person, and only a person."""

from __future__ import annotations

import sys

from checkout_cli.errors import InvalidInput
from checkout_cli.terminal.output import is_terminal
from checkout_cli.terminal.progress import hide
from checkout_cli.terminal.safe import safe

_YES = frozenset({"y", "yes"})
_NO = frozenset({"n", "no"})


def can_ask() -> bool:
    """Whether somebody sees the question and can answer it: a terminal on both stdin and stderr."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def confirm(question: str, *, default: bool = False, hint: str = "--yes") -> bool:
    """Ask on stderr and wait for yes or no; a bare Enter means ``default``, the end of input means no.

    Raises:
        InvalidInput: there is no terminal to ask on; ``hint`` is what to type instead.
    """
    if not can_ask():
        raise InvalidInput("nothing was changed: there is no terminal to ask on", hint=hint)
    hide()
    choices = "[Y/n]" if default else "[y/N]"
    while True:
        sys.stderr.write(f"{safe(question)} {choices} ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            sys.stderr.write("\n")
            return False
        answer = line.strip().lower()
        if not answer:
            return default
        if answer in _YES | _NO:
            return answer in _YES
