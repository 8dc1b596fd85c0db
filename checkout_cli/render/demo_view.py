"""The demonstration as a person reads it: what happens, and each command line before its own output."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator

from checkout_cli.operations import demo
from checkout_cli.operations.demo_data import Fate
from checkout_cli.render.output import console, is_terminal, write_line
from checkout_cli.render.safe import safe


def show_event(event: demo.Event) -> None:
    """Show one event of the demonstration on stdout."""
    match event:
        case demo.ServerStarted():
            _say(_started(event))
        case demo.SessionsWritten():
            _say(_written(event))
        case demo.CommandStarted():
            _prompt(event.arguments)
        case demo.CommandEnded():
            if event.exit_code != event.expected:
                _say(f"That ended with exit code {event.exit_code}; it should have been {event.expected.value}.")
            elif event.exit_code:
                _say(f"Exit code {event.exit_code}, so that a script notices.")
        case demo.ServerKilled():
            _say(f"Now the server is killed: SIGKILL to process {event.pid}. The shop goes on from the database.")
        case demo.ChangedMeanwhile():
            _say(f"Meanwhile the shop's own code, through the library, changed {event.number} more sessions.")
        case demo.Verdict():
            _say(*_judged(event))
        case demo.ServersKept():
            _say("Everything stays up. In another terminal:")
            words = " ".join(f"{name}={shlex.quote(value)}" for name, value in event.environment.items())
            write_line(f"export {words}")
            _say("Ctrl-C here stops the server and removes the directory.")


@contextlib.contextmanager
def cursor_restored() -> Iterator[None]:
    """Show the cursor again at the end: a command that was interrupted may have hidden it."""
    try:
        yield
    finally:
        if is_terminal(sys.stdout):
            with contextlib.suppress(OSError):  # the terminal has gone
                console().show_cursor(True)


def _started(event: demo.ServerStarted) -> str:
    if event.again:
        return f"The server is started again, on the same port and directory (process {event.pid}, port {event.port})."
    return (
        f"A real Valkey server runs on port {event.port} (process {event.pid}), with a SQLite database behind it, "
        f"in {event.directory}. All of it goes away at the end."
    )


def _written(event: demo.SessionsWritten) -> str:
    total = sum(event.numbers.values()) + event.legacy + event.corrupt
    parts = [f"{event.numbers[fate]} {fate}" for fate in Fate if event.numbers.get(fate)]
    parts += [f"{event.legacy} as an older program writes it", f"{event.corrupt} cut off in the middle"]
    return f"{total} sessions were written in {event.seconds:.1f} s: {', '.join(parts)}."


def _judged(verdict: demo.Verdict) -> Iterator[str]:
    kept = verdict.sessions - len(verdict.lost)
    yield (
        f"{verdict.acknowledged} writes to {verdict.sessions} sessions were acknowledged before, during and after the "
        f"crash. Read back one by one: {kept} sessions are what was last acknowledged, {len(verdict.lost)} are not."
    )
    yield f"Of {verdict.expired} sessions that had expired, {len(verdict.risen)} came back."
    for checkout_id in (*verdict.lost, *verdict.risen):
        yield f"WRONG: session {checkout_id}"
    for command in verdict.unexpected:
        yield f"WRONG: checkoutctl {shlex.join(command.arguments)} ended with {command.exit_code}"
    yield "Nothing acknowledged was lost." if verdict.passed else "The demonstration failed its own check."


def _say(*lines: str) -> None:
    for line in lines:
        _write(f"# {safe(line)}", style="cyan")


def _prompt(arguments: tuple[str, ...]) -> None:
    write_line()
    _write(f"$ {shlex.join(('checkoutctl', *arguments))}", style="bold")


def _write(line: str, *, style: str) -> None:
    if not is_terminal(sys.stdout):
        write_line(line)
        return
    from rich.text import Text

    from checkout_cli.render.output import show

    show(Text(line, style=style))
