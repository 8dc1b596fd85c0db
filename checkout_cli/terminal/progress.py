"""A progress bar on stderr for a person, and nothing anywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from checkout_cli.terminal.output import console, is_terminal
from checkout_cli.terminal.safe import safe


@contextmanager
def progress(title: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yield ``advance(done, total)``, whose calls show a bar on a terminal, unless ``quiet``."""
    if quiet or not is_terminal(sys.stderr) or os.environ.get("TERM") == "dumb":
        yield lambda _done, _total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console(sys.stderr), transient=True)
    task = bar.add_task(safe(title), total=None)

    def advance(done: int, total: int) -> None:
        bar.start()  # which is nothing where it is shown
        bar.update(task, completed=done, total=total)

    _hide.append(bar.stop)
    try:
        yield advance
    finally:
        _hide.remove(bar.stop)
        bar.stop()


_hide: list[Callable[[], None]] = []


def hide() -> None:
    """Take the bar away until there is more progress, so that a question can be read and answered."""
    for stop in _hide:
        stop()
