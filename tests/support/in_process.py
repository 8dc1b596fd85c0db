"""The command line within the test's own process, as the installed command would run: starting one takes longest.

What a run leaves behind in a process, which is nothing to a command that ends with it, is put back: the next run finds
an interpreter as good as new.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock


@dataclass(frozen=True)
class Outcome:
    """What came of a command; ``seconds`` is without the interpreter's start."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def returncode(self) -> int:
        """The exit code, by the name that a process that has ended has for it; so are the next two."""
        return self.code

    @property
    def stdout(self) -> str:
        return self.out

    @property
    def stderr(self) -> str:
        return self.err

    @property
    def documents(self) -> list[Any]:
        """The JSON on stdout: one document, or one a line."""
        try:
            return [json.loads(self.out)]
        except ValueError:
            return [json.loads(line) for line in self.out.splitlines()]


class _Terminal(io.TextIOWrapper):
    """Bytes in memory that say of themselves that a person looks at them."""

    def isatty(self) -> bool:
        return True


def run_here(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    directory: Path,
    *,
    given: str = "",
    columns: int | None = None,
) -> Outcome:
    """Run a command; ``directory`` is where it looks for its files of settings, ``given`` what it reads from stdin.

    With ``columns``, stdout is a terminal of that width; else it is a pipe, as stderr always is.
    """
    from checkout_cli.cli.main import main

    assert threading.current_thread() is threading.main_thread(), "streams and signals are the whole process'"
    stdin = io.TextIOWrapper(io.BytesIO(given.encode()), encoding="utf-8")
    out = (_Terminal if columns else io.TextIOWrapper)(io.BytesIO(), encoding="utf-8")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    if columns:
        environment = {"TERM": "xterm-256color", "LINES": "50", **environment, "COLUMNS": str(columns)}
    started = time.monotonic()
    with (
        contextlib.chdir(directory),
        mock.patch.dict("os.environ", environment, clear=True),
        mock.patch.object(sys, "argv", ["checkoutctl", *arguments]),
        mock.patch.object(sys, "stdin", stdin),
        mock.patch.object(sys, "stdout", out),
        mock.patch.object(sys, "stderr", err),
        mock.patch("checkout_cli.jobs.priority.NICENESS", 0),  # nobody can take back what it has given way
        mock.patch.dict("checkout_cli.terminal.output._style"),
        _logging_as_new(),
    ):
        code = 0
        with contextlib.suppress(SystemExit):
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
                raise
        out.flush()
        err.flush()
    texts = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return Outcome(code, *texts, time.monotonic() - started)


@contextlib.contextmanager
def _logging_as_new() -> Iterator[None]:
    """Logging that nobody has set up: warnings go to stderr. Afterwards it is as the test had it."""
    root, ours, sql = (logging.getLogger(name) for name in (None, "checkout_cli", "sqlalchemy"))
    before = [(one, one.handlers[:], one.level, one.propagate) for one in (root, ours, sql)]
    for one in (root, ours, sql):
        one.handlers = []
        one.propagate = True
    root.setLevel(logging.WARNING)
    ours.setLevel(logging.NOTSET)
    try:
        yield
    finally:
        for handler in ours.handlers:
            handler.close()
        for one, handlers, level, propagate in before:
            one.handlers = handlers
            one.setLevel(level)
            one.propagate = propagate
