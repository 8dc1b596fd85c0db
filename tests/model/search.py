"""One search of one scenario, with the guards that are on."""

from __future__ import annotations

from tests.model.explorer import Explored, Explorer
from tests.model.guards import Guards
from tests.model.model import Model
from tests.model.scenarios import SCENARIOS, Scenario


def explore(scenario: Scenario, guards: Guards, *, most_states: int = 500_000) -> Explored:
    """Visit every state of a scenario, or as many as it takes to break a promise."""
    model = Model(
        guards,
        sentinel=scenario.sentinel,
        raw=scenario.raw,
        no_false_conflicts=scenario.no_false_conflicts,
        no_conflicts=scenario.no_conflicts,
        no_loss=scenario.no_loss,
    )
    return Explorer(model.steps, model.judge, most_states=most_states).explore(scenario.begin())


def search(name: str, guards: Guards) -> Explored:
    """The same for one of ``SCENARIOS``, told to whoever reads the output of the tests."""
    explored = explore(SCENARIOS[name], guards)
    print(f"{name}: {explored}")  # noqa: T201  (shown by -rP)
    return explored
