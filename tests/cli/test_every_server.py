from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.every_server import COMMANDS, LONGEST, run
from tests.support.in_process import Outcome
from tests.support.next_steps import insist_on_command
from tests.support.odd_servers import each_odd_server, odd_server

ANSWERS = {0, 1}
REFUSALS = {4, 69}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", each_odd_server())
def test_every_command_answers_or_says_in_one_line_why_not(name: str, tmp_path: Path) -> None:
    with odd_server(name, tmp_path) as odd:
        outcomes = {command: run(odd, arguments, tmp_path) for command, arguments in COMMANDS.items()}
    for command, outcome in outcomes.items():
        said = f"{command} on {name}: exit {outcome.code} in {outcome.seconds:.1f} s\n{outcome.out}\n{outcome.err}"
        assert "Traceback" not in outcome.err, said
        assert outcome.seconds < LONGEST, said
        if outcome.code in ANSWERS:
            assert all(isinstance(document, dict) for document in outcome.documents), said
        else:
            assert outcome.code in REFUSALS, said
            assert is_one_line(outcome), said
    assert {command for command, outcome in outcomes.items() if outcome.code in REFUSALS} == refused(name)
    for command, outcome in outcomes.items():
        steps = next_steps(outcome)
        assert len(steps) == bool(outcome.code) or (not outcome.code and command in {"health", "doctor"}), outcome
        for step in steps:
            insist_on_command(step)
            assert step != f"checkoutctl {command}", f"{command} on {name} advises itself"


def next_steps(outcome: Outcome) -> list[str]:
    """What an answer says to type next: as the last line on stderr, or in its document."""
    told = re.findall(r"^next: (.*)$", outcome.err, re.MULTILINE)
    assert not told or outcome.err.endswith(f"next: {told[-1]}\n"), outcome
    documents = outcome.documents if outcome.out else []
    return told + [document["next"] for document in documents if document.get("next")]


def is_one_line(outcome: Outcome) -> bool:
    """The error in one line, and what to type next in the last; a warning may stand before them, advice between."""
    lines = [line for line in outcome.err.splitlines() if not line.startswith("warning: ")]
    rest = [line for line in lines[1:-1] if not line.startswith("  hint: ")]
    return len(lines) > 1 and not rest and lines[0].startswith("error: ") and lines[-1].startswith("next: ")


def refused(name: str) -> set[str]:
    """What has no answer on such a server: its only question is refused, or nobody answers at all."""
    if name == "hung":
        return set(COMMANDS) - {"health", "top", "doctor", "incident"}
    if name == "loading":
        return {"acl check", "memory families", "memory families --sample", "latency", "migrate plan", "migrate verify"}
    return {
        "CONFIG": {"memory tune --policy"},
        "INFO": {"info"},
        "SLOWLOG": {"slowlog", "slowlog --reset"},
    }.get(name.partition(" ")[2], set())
