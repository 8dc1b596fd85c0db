"""The parties at one Redis, each a process: the older program, ours, and a person who types our command."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.support.forked import Module
from tests.support.in_process import run_here

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds after which a process that does not answer is a failure."""
DONE, FINDING = 0, 1
"""Exit codes of a command that has done its work."""


class Refused(Exception):
    """A party has refused an order."""


class Party:
    """A process that takes orders; a context manager that leaves no process behind.

    Nobody waits for it to be ready until it gets its first order, so that several start at the same time.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], directory: Path) -> None:
        """``directory`` is where it runs, and where the file with its last words is.

        ``command`` begins with a program, or it is a module of the tests and its arguments.
        """
        self.name = name
        self._command = list(command)
        self._environment = {**environment, "PARTY": name, "PYTHONPATH": str(ROOT)}
        self._directory = directory
        self._words = directory / f"{name}.log"
        self._process: subprocess.Popen[str] | Module | None = None
        self._is_ready = False

    def __enter__(self) -> Self:
        if self._command[0].startswith("tests."):
            self._process = Module(self._command, self._environment, self._directory, self._words)
            return self
        with self._words.open("w", encoding="utf-8") as words:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self._directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                text=True,
                encoding="utf-8",
            )
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def __call__(self, do: str, /, **arguments: Any) -> Any:
        """What the party answers to an order.

        Raises:
            Refused: it refuses.
        """
        self.order(do, **arguments)
        return self.answer()

    def order(self, do: str, /, **arguments: Any) -> None:
        """Give an order, and do not wait."""
        assert self._process is not None
        assert self._process.stdin is not None
        if not self._is_ready:
            self._is_ready = self.answer() == "ready"
        self._process.stdin.write(json.dumps({"do": do, "with": arguments}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """The answer to the oldest order that has none yet."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        limit = threading.Timer(PATIENCE, process.kill)
        limit.start()
        try:
            line = process.stdout.readline()
        finally:
            limit.cancel()
        assert line, f"{self.name} has ended: {self._words.read_text(encoding='utf-8')[-2000:]}"
        answer = json.loads(line)
        if "refused" in answer:
            raise Refused(f"{self.name}: {answer['refused']}")
        return answer["answer"]


class Operator:
    """A person who types ``checkoutctl``: a run of it for each of the shop's calls. It answers as a party does."""

    name = "checkoutctl"

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        """``directory`` is where the commands are typed."""
        self._environment = dict(environment)
        self._directory = directory

    def __call__(self, do: str, /, **arguments: Any) -> Any:
        """As :meth:`Party.__call__`, for the calls of a shop."""
        return getattr(self, do)(**arguments)

    def run(self, *arguments: str, given: str = "", codes: tuple[int, ...] = (DONE,)) -> str:
        """What a command says; an exit code that is none of these is a refusal."""
        done = run_here(arguments, self._environment, self._directory, given=given)
        if done.code not in codes:
            raise Refused(f"checkoutctl {' '.join(arguments)}: {done.code}: {done.err[-2000:]}")
        return done.out

    def create(self, checkout_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        self.run("sessions", "create", "--file", "-", "--id", checkout_id, given=json.dumps(fields))
        return {}

    def update(self, checkout_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        assignments = [f"--set={name}={json.dumps(value)}" for name, value in changes.items()]
        self.run("sessions", "update", checkout_id, *assignments)
        return {}

    def pay(self, checkout_id: str, order_id: str) -> dict[str, Any]:
        return self.update(checkout_id, {"paymentStatus": "paid", "databaseOrderId": order_id})

    def get(self, checkout_id: str) -> dict[str, Any] | None:
        fields: dict[str, Any] | None = json.loads(
            self.run("sessions", "show", checkout_id, "--json", "--reveal", codes=(DONE, FINDING))
        )["fields"]
        return fields

    def listed(self) -> list[str]:
        """The ids of all sessions."""
        return self.run("sessions", "list", "--limit", "100000", "--output", "ids").split()

    def sync(self) -> None:
        """Let the servers have what they lack of each other."""
        self.run("sync", "--quiet", codes=(DONE, FINDING))


def process_environment(directory: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a party: these settings, and nothing of ours."""
    return {"PATH": os.environ.get("PATH", ""), "HOME": str(directory), **settings}


def older_program(settings: Mapping[str, str], directory: Path, name: str = "it") -> Party:
    """The imitation of the older program."""
    command = ["tests.older_program"]
    return Party(name, command, process_environment(directory, settings), directory)


def our_program(settings: Mapping[str, str], directory: Path, name: str = "we") -> Party:
    """A process that uses our library."""
    command = ["tests.beside.our_program"]
    return Party(name, command, process_environment(directory, settings), directory)
