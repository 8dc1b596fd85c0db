"""Processes of the tests' own, each forked from one that has imported the library and done nothing else.

They share nothing with the test: no connection, no thread, no state of a module. Importing is what takes longest where
a process is started anew, and it is then no part of what is tested.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

FORKED = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
"""Starts such processes: ``FORKED.Process(target=…, args=…)``, whose function and arguments can be pickled."""

if sys.platform != "win32":
    FORKED.set_forkserver_preload(["tests.support.preloaded"])


class Module:
    """``python -m`` a module of the tests, with pipes at its stdin and stdout, as ``Popen`` has them."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], directory: Path, stderr: Path) -> None:
        """``words`` are the module and its arguments; ``stderr`` is the file for what it says there."""
        its_input, self._input = FORKED.Pipe(duplex=False)
        self._output, its_output = FORKED.Pipe(duplex=False)
        arguments = ([*words], {**environment}, directory, stderr, its_input, its_output)
        self._process = FORKED.Process(target=_run, args=arguments, daemon=True)
        self._process.start()
        for end in (its_input, its_output):
            end.close()
        self.stdin = os.fdopen(self._input.fileno(), "w", encoding="utf-8", closefd=False)
        self.stdout = os.fdopen(self._output.fileno(), encoding="utf-8", closefd=False)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def communicate(self) -> None:
        """Wait for its end, and close the pipes."""
        self._process.join()
        self._process.close()
        for end in (self._input, self._output):
            end.close()


def _run(
    words: list[str],
    environment: dict[str, str],
    directory: Path,
    stderr: Path,
    its_input: Connection,
    its_output: Connection,
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    os.dup2(its_input.fileno(), 0)
    os.dup2(its_output.fileno(), 1)
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
    sys.stdin, sys.stdout = os.fdopen(0, encoding="utf-8"), os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    sys.argv = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
