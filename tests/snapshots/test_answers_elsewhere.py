"""What each command answers without a Redis, with nothing in it, and with a bit of everything in it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.snapshots.frozen import Place
from tests.snapshots.runs import WITH_EVERYTHING, WITH_NOTHING, WITHOUT_REDIS, Case
from tests.snapshots.support import TextFile


@pytest.mark.parametrize("case", [*WITHOUT_REDIS, *WITH_NOTHING, *WITH_EVERYTHING], ids=lambda case: case.name)
def test_as_before(case: Case, frozen_place: Place, snapshot: Any) -> None:
    assert case.answer(frozen_place) == snapshot(extension_class=TextFile)
