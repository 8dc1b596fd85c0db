"""Exhaustive search, breadth first: every state that a model can reach, and the shortest way to a broken one."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

State = TypeVar("State", bound=Hashable)


@dataclass(frozen=True)
class Explored:
    """What a search found: how many states, and the first that breaks a promise, with the steps that lead there."""

    states: int
    broken: str | None = None
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.broken is None:
            return f"{self.states:,} states, no violation"
        return f"{self.states:,} states, {self.broken}: {' → '.join(self.trace)}"


class Explorer(Generic[State]):
    """One search. ``steps`` gives what may happen next, each with its name; ``judge`` says what a state breaks."""

    def __init__(
        self,
        steps: Callable[[State], Iterable[tuple[str, State]]],
        judge: Callable[[State], str | None],
        *,
        most_states: int = 2_000_000,
    ) -> None:
        """With more than ``most_states`` the search is given up, with an error: a bound that was not reached."""
        self._steps = steps
        self._judge = judge
        self._most_states = most_states

    def explore(self, initial: State) -> Explored:
        """Visit everything that can be reached from ``initial``, nearest first, until something is broken."""
        collects = gc.isenabled()
        gc.disable()  # nothing here refers to itself, and there is very much of it
        try:
            return self._explore(initial)
        finally:
            if collects:
                gc.enable()

    def _explore(self, initial: State) -> Explored:
        came_from: dict[State, tuple[State, str] | None] = {initial: None}
        frontier = [initial]
        while frontier:
            further: list[State] = []
            for state in frontier:
                for name, following in self._steps(state):
                    if following in came_from:
                        continue
                    came_from[following] = (state, name)
                    broken = self._judge(following)
                    if broken is not None:
                        return Explored(len(came_from), broken, _trace(came_from, following))
                    further.append(following)
            if len(came_from) > self._most_states:
                raise RuntimeError(f"more than {self._most_states:,} states: bound the model more tightly")
            frontier = further
        return Explored(len(came_from))


def _trace(came_from: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    names: list[str] = []
    origin = came_from[state]
    while origin is not None:
        state, name = origin
        names.append(name)
        origin = came_from[state]
    return tuple(reversed(names))
