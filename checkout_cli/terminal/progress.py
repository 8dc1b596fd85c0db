"""Progress of a long operation: a bar on stderr where a person looks at it, and nothing anywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from checkout_cli.terminal.output import console, is_terminal
from checkout_cli.terminal.safe import safe


@contextmanager
def progress(title: str, total: int | None = None, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Hands out ``advance(done, total)``, whose calls show the bar; in between, a person may be asked (:func:`hide`).

    The bar goes away when the block ends, however it ends.

    ``total`` is what is known beforehand; ``None`` until the first ``advance`` says it. Without a terminal on stderr,
    on a dumb one, or when ``quiet``, ``advance`` does nothing.
    """
    if quiet or not is_terminal(sys.stderr) or os.environ.get("TERM") == "dumb":
        yield _nothing
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console(sys.stderr), transient=True)
    task = bar.add_task(safe(title), total=total)

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
    """Take the bar away until there is progress again, so that a question can be read and answered."""
    for stop in _hide:
        stop()


def _nothing(done: int, total: int) -> None:
    """The progress of who does not want to see it."""
