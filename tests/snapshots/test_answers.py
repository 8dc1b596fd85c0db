"""What each command answers on the states in which it says something else: exit code, stdout and stderr.

On terminals of 80 (without colour) and 120 columns, into a pipe, and in every other shape that the command has.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.snapshots.frozen import Place
from tests.snapshots.runs import NOT_RUN, ON_STATES, Case
from tests.snapshots.support import TextFile, commands


@pytest.mark.parametrize("case", ON_STATES, ids=lambda case: case.name)
def test_as_before(case: Case, frozen_place: Place, snapshot: Any) -> None:
    assert case.answer(frozen_place) == snapshot(extension_class=TextFile)


def test_no_command_is_missing() -> None:
    assert set(commands()) - {case.run.command for case in ON_STATES} == NOT_RUN
