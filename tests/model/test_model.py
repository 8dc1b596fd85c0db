"""The protocol as built holds in every state of every scenario.

``pytest -rP tests/model`` shows how many states were visited; ``test_mutations.py`` what each guard is for.
"""

from __future__ import annotations

import pytest

from tests.model.explorer import Explored, Explorer
from tests.model.guards import Guards
from tests.model.scenarios import SCENARIOS
from tests.model.search import search


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_protocol_holds(name: str) -> None:
    """No state that can be reached breaks a promise."""
    explored = search(name, Guards())
    assert explored.broken is None, str(explored)
    assert explored.states > len(SCENARIOS[name].programs) * 10, "hardly anything happened"


def count_to_three(state: int) -> list[tuple[str, int]]:
    return [("one", state + 1), ("two", state + 2)] if state < 3 else []


def test_a_search_visits_every_state_once() -> None:
    assert Explorer(count_to_three, lambda _: None).explore(0) == Explored(5)


def test_a_search_finds_the_shortest_way() -> None:
    found = Explorer(count_to_three, lambda state: "too far" if state == 4 else None).explore(0)
    assert (found.broken, found.trace) == ("too far", ("two", "two"))


def test_a_search_that_is_too_large_is_an_error_and_no_success() -> None:
    with pytest.raises(RuntimeError, match="more than 100 states"):
        Explorer(lambda state: [("on", state + 1)], lambda _: None, most_states=100).explore(0)
