"""Without any one of its guards the protocol breaks a promise: the same search finds what that guard prevents.

``pytest -rP tests/model/test_mutations.py`` shows the shortest way to each violation.
"""

from __future__ import annotations

from dataclasses import fields

import pytest

from tests.model.guards import Guards
from tests.model.scenarios import MUTATIONS
from tests.model.search import search


@pytest.mark.parametrize("guard", MUTATIONS)
def test_without_this_guard_a_promise_breaks(guard: str) -> None:
    scenario, expected = MUTATIONS[guard]
    explored = search(scenario, Guards(**{guard: False}))
    assert explored.broken is not None, f"nobody misses {guard} in {scenario!r}: {explored}"
    assert explored.broken.startswith(expected), str(explored)


def test_every_guard_has_its_mutation() -> None:
    assert set(MUTATIONS) == {field.name for field in fields(Guards)}
