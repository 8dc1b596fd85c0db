"""Every command of an operator on every kind of server: what came of it, and whether that is an answer."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tests.odd_servers import OddServer

TIMEOUT = 0.5
"""Seconds that a command waits for one answer."""
LONGEST = 5.0
"""Seconds that a command may take here; far above what it needs, and far below one time-out for each question."""

COMMANDS: dict[str, list[str]] = {
    "health": ["health", "--json"],
    "doctor": ["doctor", "--json"],
    "memory show": ["memory", "show", "--json"],
    "memory families": ["memory", "families", "--json"],
    "memory families --sample": ["memory", "families", "--sample", "1000", "--json"],
    "memory tune": ["memory", "tune", "--json"],
    "memory tune --advise": ["memory", "tune", "--advise", "--json"],
    "memory tune --policy": ["memory", "tune", "--policy", "volatile-ttl", "--dry-run", "--json"],
    "info": ["info", "--json"],
    "slowlog": ["slowlog", "--json"],
    "slowlog --reset": ["slowlog", "--reset", "--dry-run", "--json"],
    "latency": ["latency", "--samples", "5", "--json"],
    "monitor": ["monitor", "--seconds", "0.2", "--json"],
    "incident": ["incident", "--out", "-"],
}
"""By what stands in the table."""


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


def run(odd: OddServer, arguments: Sequence[str], place: Path, *, timeout: float = TIMEOUT) -> Outcome:
    """Run a command in this very process, as the installed one would: a start for each would take minutes."""
    from checkout_cli.cli.main import main

    environment = {**odd.environment, "XDG_STATE_HOME": str(place / "state"), "HOME": str(place), "PATH": ""}
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    started = time.monotonic()
    with (
        mock.patch.dict("os.environ", environment, clear=True),
        mock.patch.object(sys, "argv", ["checkoutctl", "-C", str(place), *arguments, "--timeout", str(timeout)]),
        mock.patch.object(sys, "stdin", io.StringIO()),
        mock.patch.object(sys, "stdout", out),
        mock.patch.object(sys, "stderr", err),
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
