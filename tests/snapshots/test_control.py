"""That the comparison sees what it is there to see, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from checkout_cli.terminal import output
from tests.snapshots.frozen import Place
from tests.snapshots.runs import ON_STATES, Case
from tests.support.role_runs import Run

USERS = next(case for case in ON_STATES if case.run == Run("users list"))
RECORDED = Path(__file__).parent / "__snapshots__/test_answers" / f"test_as_before[{USERS.name}].txt"


def test_one_changed_word_of_a_table_is_not_the_recorded_answer(
    frozen_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = RECORDED.read_text(encoding="utf-8")
    assert USERS.answer(frozen_place) == recorded

    safe = output.safe
    monkeypatch.setattr(output, "safe", lambda text: safe(text).replace("pending", "waiting"))

    assert USERS.answer(frozen_place) != recorded


@pytest.mark.parametrize("command", ["doctor", "info", "latency --samples 3"])
def test_two_runs_of_what_looks_at_a_living_server_say_the_same(command: str, frozen_place: Place) -> None:
    case = Case(command, Run(*command.split(maxsplit=1)))
    assert case.answer(frozen_place) == case.answer(frozen_place)
