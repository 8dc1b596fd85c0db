"""The command, as a test runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checkout_cli.config.settings import Settings
from tests.support.in_process import Outcome, run_here


class Checkoutctl:
    """Runs the installed command with an environment that we made.

    Called, it runs within the test's own process, which takes a tenth of the time. Where the process is what is tested
    (signals, terminals, streams, the interpreter's start and end, several at a time), see :meth:`process` and
    :meth:`start`.
    """

    def __init__(self, settings: Settings, directory: Path) -> None:
        self.environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(directory),
            "REDIS_HOST": settings.redis_host,
            "REDIS_PORT": str(settings.redis_port),
            "DATABASE_URL": settings.database_url,
        }
        self._directory = directory
        self._processes: list[subprocess.Popen[str]] = []

    def __call__(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        input: str = "",  # noqa: A002  (as subprocess.run has it)
    ) -> Outcome:
        """Run it to its end in the test's own process; never raises for an exit code."""
        return run_here(arguments, self.environment | dict(env or {}), self._directory, given=input)

    def process(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        input: str | None = None,  # noqa: A002  (as subprocess.run has it)
        timeout: float = 20,
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end as a process of its own; never raises for an exit code."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment | dict(env or {}),
            cwd=self._directory,
            timeout=timeout,
            text=True,
            encoding="utf-8",
            check=False,
            capture_output=True,
            **({"stdin": subprocess.DEVNULL} if input is None else {"input": input}),  # type: ignore[call-overload]
        )

    def here(self, *arguments: str, env: Mapping[str, str] | None = None, given: str = "") -> Outcome:
        """Run it in the test's own process, where being a process does not matter."""
        return run_here(arguments, self.environment | dict(env or {}), self._directory, given=given)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        """Start it and go on, for a test that sends it signals; it is killed at the end of the test."""
        process: subprocess.Popen[str] = subprocess.Popen(
            self.command(*arguments),
            env=self.environment | dict(env or {}),
            cwd=self._directory,
            text=True,
            encoding="utf-8",
            **{
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "start_new_session": True,
                **options,
            },
        )
        self._processes.append(process)
        return process

    def close(self) -> None:
        """End what a test left running, frozen or not, and give it a chance to clear up first."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
            try:
                process.communicate(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """The command line, for this very installation."""
        return [sys.executable, "-m", "checkout_cli", *arguments]
