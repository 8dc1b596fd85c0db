"""Every command of an operator on every kind of server: what came of it, and whether that is an answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.support.in_process import Outcome, run_here
from tests.support.odd_servers import OddServer

TIMEOUT = 0.5
"""Seconds that a command waits for one answer."""
LONGEST = 5.0
"""Seconds that a command may take here; far above what it needs, and far below one time-out for each question."""

COMMANDS: dict[str, list[str]] = {
    "health": ["health", "--json"],
    "top": ["top", "--json"],
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
    "acl check": ["acl", "check", "--json"],
    "monitor": ["monitor", "--seconds", "0.2", "--json"],
    "migrate plan": ["migrate", "plan", "--json"],
    "migrate verify": ["migrate", "verify", "--json"],
    "incident": ["incident", "--out", "-"],
}
"""By what stands in the table."""


def run(odd: OddServer, arguments: Sequence[str], place: Path, *, timeout: float = TIMEOUT) -> Outcome:
    """Run a command on a server; ``timeout`` is how long it waits for one answer, in seconds."""
    environment = {**odd.environment, "XDG_STATE_HOME": str(place / "state"), "HOME": str(place), "PATH": ""}
    return run_here([*arguments, "--timeout", str(timeout)], environment, place)
