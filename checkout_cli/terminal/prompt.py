"""Asking a person, and only a person."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from checkout_cli.errors import Declined, InvalidInput
from checkout_cli.terminal.output import is_terminal, narrate
from checkout_cli.terminal.progress import hide
from checkout_cli.terminal.safe import safe

_YES = frozenset({"y", "yes"})
_NO = frozenset({"n", "no"})


def can_ask() -> bool:
    """Whether somebody sees the question and can answer it: a terminal on both stdin and stderr."""
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
    """Show on stderr what is about to change, and say whether to go on: not with ``dry_run``, else if a person agrees.

    With ``yes``, the person has agreed already.

    Raises:
        Declined: the person was asked, and said no.
        InvalidInput: there is no terminal to ask on; ``hint`` is what to type instead.
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


def _agrees(question: str, default: bool) -> bool:
    """Wait for yes or no; a bare Enter means ``default``, the end of input means no."""
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
