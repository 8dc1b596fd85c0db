"""A person who types what the tool says, in a shell on a terminal, until nothing is left to type."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from checkout_cli.typed import is_typeable

if TYPE_CHECKING:
    import pexpect

HEALTH, DOCTOR = "checkoutctl health", "checkoutctl doctor"
MOST_STEPS = 100
MOST_ROUNDS = 4
PATIENCE = 60
"""Seconds for one command; far more than any needs on a busy machine."""
_PROMPT = "a-person-types> "
_NEXT = re.compile(r"^\s*next: (.+?)\s*$", re.MULTILINE)
_ASKED = re.compile(r"\[y/N\] $|\[Y/n\] $")


@dataclass(frozen=True)
class Step:
    """A command that was typed, its exit code, and what it said."""

    command: str
    code: int
    said: str

    @property
    def next(self) -> str:
        """What it says to type next; empty where it says nothing."""
        found = _NEXT.findall(self.said)
        assert len(found) <= 1, f"more than one next step:\n{self}"
        return str(found[0]) if found else ""

    def __str__(self) -> str:
        return f"$ {self.command}\n{self.said}\n(exit code {self.code})"


@dataclass
class Person:
    """Somebody in a shell in a directory. ``answers`` are given to questions (a pattern), ``by_hand`` done instead.

    ``by_hand`` maps a command of the system, which a test must not run, to what it does.
    """

    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    by_hand: Mapping[str, Callable[[], object]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    def __enter__(self) -> Self:
        import pexpect

        programs = self.directory.parent / "programs"
        programs.mkdir(exist_ok=True)
        for name, words in {
            "checkoutctl": [sys.executable, "-m", "checkout_cli"],
            "redis-cli": [sys.executable, str(Path(__file__).with_name("redis_cli.py"))],
        }.items():
            (programs / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            (programs / name).chmod(0o755)
        environment = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "HOME": str(self.directory.parent),
            "TERM": "dumb",
            "PS1": _PROMPT,
            **self.environment,
        }
        self._shell: pexpect.spawn[str] = pexpect.spawn(
            "/bin/bash",
            ["--norc", "--noprofile"],
            cwd=str(self.directory),
            env=environment,  # type: ignore[arg-type]  # os.environ's type, of which a dictionary is one
            dimensions=(60, 500),
            encoding="utf-8",
            echo=False,
            timeout=PATIENCE,
        )
        self._shell.expect_exact(_PROMPT)
        return self

    def __exit__(self, *_: object) -> None:
        self._shell.close(force=True)

    def type(self, command: str) -> Step:
        """Type one command, and answer whatever it asks."""
        done = next((do for words, do in self.by_hand.items() if command.startswith(words)), None)
        if done is not None:
            done()
            step = Step(command, 0, "(done by hand)")
        else:
            said = self._said(command)
            step = Step(command, int(self._said("echo $?")), said)
        self.steps.append(step)
        return step

    def _said(self, command: str) -> str:
        shell, said = self._shell, ""
        shell.sendline(command)
        questions = [*self.answers]
        while True:
            found = shell.expect([re.escape(_PROMPT), _ASKED.pattern, *questions])
            said += str(shell.before)
            if found == 0:
                return said.replace("\r\n", "\n").strip("\n")
            said += str(shell.after)
            shell.sendline("y" if found == 1 else self.answers[questions[found - 2]])

    def walk(self, is_over: Callable[[], bool], *, start: str = HEALTH) -> None:
        """Follow every ``next:`` from ``start`` on, until the situation is over; again, where new steps come of it."""
        walked: list[list[str]] = []
        for _ in range(MOST_ROUNDS):
            walked.append(self._one_way(start))
            if is_over():
                return
            assert walked[-1] not in walked[:-1], f"the same way again, and nothing is mended:\n{self}"
        raise AssertionError(f"after {MOST_ROUNDS} ways nothing is mended:\n{self}")

    def _one_way(self, command: str) -> list[str]:
        typed: list[str] = []
        while command:
            assert command not in typed, f"a circle: {command}\n{self}"
            assert is_typeable(command), f"not a command: {command}\n{self}"
            typed.append(command)
            if command.startswith("sleep "):  # time goes by: the same may be typed again
                typed = typed[-1:]
            assert len(self.steps) < MOST_STEPS, str(self)
            step = self.type(command)
            assert "Traceback" not in step.said, str(step)
            is_ours = command.rpartition("&& ")[2].startswith("checkoutctl")
            assert step.code in {0, 130} or not is_ours or step.next, f"no next step:\n{step}"
            command = step.next
        return typed

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.steps))


def typed_of(person: Person) -> list[str]:
    """All that a person has typed."""
    return [step.command for step in person.steps]


def has_pexpect() -> Any:
    """The library, or a skip."""
    import pytest

    if os.name == "nt":
        pytest.skip("a pseudo-terminal is needed")
    return pytest.importorskip("pexpect")
