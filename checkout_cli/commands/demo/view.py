"""The demonstration for a reader: narration, and each command line before its own output."""

from __future__ import annotations

import contextlib
import shlex
import sys
import textwrap
from collections.abc import Iterator

from checkout_cli.commands.demo import demo
from checkout_cli.commands.demo.data import Outcome
from checkout_cli.terminal.output import console, is_terminal, show, write_json, write_line
from checkout_cli.terminal.safe import safe

WIDTH = 110
"""Of narration, in columns; it is prose, so it is wrapped in a pipe too."""


def show_event(event: demo.Event) -> None:
    """Show one event of the demonstration on stdout."""
    match event:
        case demo.ServerStarted(again=False):
            _say(
                f"A real Valkey server listens on port {event.port} (process {event.pid}), "
                f"with a SQLite database behind it, in {event.directory}. All of it goes away at the end."
            )
        case demo.ServerStarted():
            _turn(f"The server is started again on the same port and directory (process {event.pid}).")
        case demo.SessionsWritten():
            _say(_written(event))
        case demo.CommandStarted():
            write_line()
            _write(f"$ {shlex.join(('checkoutctl', *event.arguments))}", style="bold")
        case demo.CommandEnded() if event.exit_code != event.expected:
            _say(f"That ended with exit code {event.exit_code}; it should have been {event.expected.value}.")
        case demo.CommandEnded() if event.exit_code:
            _say(f"Exit code {event.exit_code}, so that scripts notice.")
        case demo.ServerKilled():
            _turn(f"Now the server is killed: SIGKILL to process {event.pid}. The shop goes on from the database.")
        case demo.ChangedMeanwhile():
            _turn(f"Meanwhile the shop's own code changed {event.number} more sessions through the library.")
        case demo.Verdict():
            _turn(*_judged(event))
            if event.environment is not None:
                _turn("Everything stays up. To play with it, in another terminal:")
                variables = (f"{name}={shlex.quote(value)}" for name, value in event.environment.items())
                write_line("export " + " ".join(variables))
                _say("Ctrl-C here stops the server and removes the directory.")


def show_result(event: demo.Event) -> None:
    """The verdict as JSON, and nothing of the other events."""
    if isinstance(event, demo.Verdict):
        write_json(event)


@contextlib.contextmanager
def cursor_restored() -> Iterator[None]:
    """Show the cursor again at the end: a command that was interrupted may have hidden it."""
    try:
        yield
    finally:
        if is_terminal(sys.stdout):
            with contextlib.suppress(OSError):  # the terminal has gone
                console().show_cursor(True)


def _written(event: demo.SessionsWritten) -> str:
    total = sum(event.numbers.values()) + event.legacy + event.corrupt
    parts = [f"{event.numbers[outcome]} {outcome}" for outcome in Outcome if event.numbers.get(outcome)]
    parts += [f"{event.legacy} as an older program writes it", f"{event.corrupt} cut off in the middle"]
    return f"{total} sessions were written in {event.seconds:.1f} s: {', '.join(parts)}."


def _judged(verdict: demo.Verdict) -> Iterator[str]:
    kept = verdict.sessions - len(verdict.lost)
    yield f"{verdict.acknowledged} writes were acknowledged, some of them while the server was dead."
    yield f"Read back one by one, {kept} of {verdict.sessions} sessions are exactly as last acknowledged."
    yield f"Of {verdict.expired} sessions that had expired, {len(verdict.risen)} came back."
    for checkout_id in (*verdict.lost, *verdict.risen):
        yield f"WRONG: session {checkout_id}"
    for command in verdict.unexpected:
        yield f"WRONG: checkoutctl {shlex.join(command.arguments)} ended with {command.exit_code}"
    yield "Nothing acknowledged was lost." if verdict.passed else "The demonstration failed its own check."


def _turn(*lines: str) -> None:
    write_line()
    _say(*lines)


def _say(*lines: str) -> None:
    for line in lines:
        for part in textwrap.wrap(safe(line), WIDTH, initial_indent="# ", subsequent_indent="# "):
            _write(part, style="cyan")


def _write(line: str, *, style: str) -> None:
    if not is_terminal(sys.stdout):
        write_line(line)
        return
    from rich.text import Text

    show(Text(line, style=style))
