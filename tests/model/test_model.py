"""The protocol as built holds in every state of every scenario; without any one of its mechanisms it does not.

``pytest -rP tests/model`` shows how many states were visited, and the shortest way to each violation.
"""

from __future__ import annotations

from dataclasses import fields

import pytest

from tests.model.explorer import Explored, Explorer
from tests.model.protocol import Model, Protocol
from tests.model.scenarios import MUTATIONS, SCENARIOS


def search(name: str, protocol: Protocol) -> Explored:
    scenario = SCENARIOS[name]
    model = Model(protocol, sentinel=scenario.sentinel)
    found = Explorer(model.steps, model.judge).explore(scenario.begin())
    print(f"{name}: {found}")  # noqa: T201  (shown by -rP)
    return found


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_protocol_holds(name: str) -> None:
    """No state that can be reached breaks a promise."""
    found = search(name, Protocol())
    assert found.broken is None, str(found)
    assert found.states > len(SCENARIOS[name].programs) * 10, "hardly anything happened"


@pytest.mark.parametrize("mechanism", MUTATIONS)
def test_without_this_mechanism_a_promise_breaks(mechanism: str) -> None:
    """The negative control: the same search finds what the mechanism is there to prevent."""
    scenario, expected = MUTATIONS[mechanism]
    found = search(scenario, Protocol(**{mechanism: False}))
    assert found.broken is not None, f"nobody misses {mechanism} in {scenario!r}: {found}"
    assert found.broken.startswith(expected), str(found)


def test_every_mechanism_has_its_negative_control() -> None:
    assert set(MUTATIONS) == {field.name for field in fields(Protocol)}


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
