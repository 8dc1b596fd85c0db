"""The command line within the test's own process, as the installed command would run: starting takes longest."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from collections.abc import Mapping, Sequence
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
