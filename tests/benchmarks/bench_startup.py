"""The start of the command, as whole processes, against what any program with the same libraries pays.

Most of a short command is its start: loading Typer, and for ``ping`` redis-py. The baselines do that and nothing else.

``python -m tests.benchmarks.bench_startup``
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

from checkout_cli.servers.embedded import HOST
from tests.benchmarks.harness import Result, in_turn, show
from tests.support.servers import ValkeyServer

ROUNDS = 31


def main() -> None:
    """Measure, and print the table."""
    with (
        tempfile.TemporaryDirectory(prefix="checkoutctl-benchmark-") as directory,
        ValkeyServer(Path(directory) / "server") as server,
    ):
        process = _starter(Path(directory), {"REDIS_HOST": HOST, "REDIS_PORT": str(server.port)})
        pinging = f"import redis; redis.Redis(host={HOST!r}, port={server.port}).ping()"
        version, help_text, typer, ping, bare_ping = in_turn(
            ROUNDS,
            process(*_command(), "--version"),
            process(*_command(), "--help"),
            process(sys.executable, "-c", "import typer"),
            process(*_command(), "ping", "--count", "1"),
            process(sys.executable, "-c", pinging),
            warm_up=3,
        )
    results = [
        Result("checkoutctl --version / import typer", version, typer, 1.2),
        Result("checkoutctl --help / import typer", help_text, typer, 1.3),
        Result("checkoutctl ping --count 1 / redis.Redis().ping()", ping, bare_ping, 1.25),
    ]
    show(f"Start-up, medians of {ROUNDS} processes each, in turn", results)


def _command() -> list[str]:
    """The installed script, as a person calls it; where it is not installed, the module."""
    name = "checkoutctl.exe" if os.name == "nt" else "checkoutctl"
    script = Path(sysconfig.get_path("scripts")) / name
    return [str(script)] if script.exists() else [sys.executable, "-m", "checkout_cli"]


def _starter(directory: Path, settings: dict[str, str]) -> Callable[..., Callable[[int], object]]:
    """Processes in an empty directory, with no other settings than these."""
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(directory), **settings}

    def process(*command: str) -> Callable[[int], object]:
        return lambda _: subprocess.run(
            command, env=environment, cwd=directory, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )

    return process


if __name__ == "__main__":
    main()
