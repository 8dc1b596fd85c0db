"""Point 8 in a cluster: a session and ``checkout:pending`` cannot change together, and no write may be forgotten.

Two writers and two processes that hand over, every interleaving of their single commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.model.explorer import Explored, Explorer


class Process(NamedTuple):
    """Where a process is, and what it has read. A writer has a name, who hands over has none."""

    at: str
    write: str = ""
    read: tuple[str, ...] = ()


class State(NamedTuple):
    """What is undrained in the session's value, whether its id is among the pending, and what the database has."""

    value: tuple[str, ...]
    pending: bool
    database: frozenset[str]
    processes: tuple[Process, ...]


class Rules(NamedTuple):
    """The mechanisms, each of which can be switched off; ``crashes`` lets a writer die between its steps."""

    enters_before: bool = True
    enters_again: bool = True
    looks_after_forgetting: bool = True
    takes_out_only_what_it_read: bool = True
    crashes: bool = False


class TwoSlots:
    """The model: what each process may do next, and what must hold."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        for number, process in enumerate(state.processes):
            for following in self._next(state, process):
                name = f"{number} {process.at}"
                yield name, self._with(following[0], number, following[1])
            if self.rules.crashes and process.write and process.at in {"replace", "enter again"}:
                yield f"{number} dies", self._with(state, number, process._replace(at="dead"))

    @staticmethod
    def _with(state: State, number: int, process: Process) -> State:
        processes = list(state.processes)
        processes[number] = process
        return state._replace(processes=tuple(processes))

    def _next(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        step = getattr(self, "_" + process.at.replace(" ", "_"), None)
        if step is not None:
            yield from step(state, process)

    # A writer

    def _open(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        at = "enter" if self.rules.enters_before else "replace"
        yield state, process._replace(at=at, read=state.value)

    def _enter(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        yield state._replace(pending=True), process._replace(at="replace")

    def _replace(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        if state.value != process.read:
            yield state, process._replace(at="open", read=())
        else:
            at = "enter again" if self.rules.enters_again else "done"
            yield state._replace(value=(*state.value, process.write)), process._replace(at=at, read=())

    def _enter_again(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        yield state._replace(pending=True), process._replace(at="done")

    # Who hands over: once, where there is anything to find

    def _find(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        if state.pending:
            yield state, process._replace(at="apply" if state.value else "forget", read=state.value)

    def _apply(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        yield state._replace(database=state.database | set(process.read)), process._replace(at="take out")

    def _take_out(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        if state.value in {process.read, ()} or not self.rules.takes_out_only_what_it_read:
            yield state._replace(value=()), process._replace(at="forget", read=())
        else:
            yield state, process._replace(at="done", read=())

    def _forget(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        if self.rules.looks_after_forgetting:
            yield state._replace(pending=False), process._replace(at="look", read=())
        elif state.value:  # the tempting order: a look, and then the removal
            yield state, process._replace(at="done")
        else:
            yield state, process._replace(at="remove")

    def _remove(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        yield state._replace(pending=False), process._replace(at="done")

    def _look(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        yield state, process._replace(at="enter again" if state.value else "done")

    def judge(self, state: State) -> str | None:
        """What is broken, once nobody is in the middle of anything."""
        if any(process.at not in {"done", "dead", "find"} for process in state.processes):
            return None
        if state.value and not state.pending:
            return "forgotten: a write waits, and nobody can find it"
        written = {process.write for process in state.processes if process.at == "done" and process.write}
        lost = written - set(state.value) - state.database
        return f"lost: {sorted(lost)}" if lost else None


def search(rules: Rules) -> Explored:
    begin = State(
        (), False, frozenset(), (Process("open", "a"), Process("open", "b"), Process("find"), Process("find"))
    )
    model = TwoSlots(rules)
    found = Explorer(model.steps, model.judge).explore(begin)
    print(f"two slots: {found}")  # noqa: T201  (shown by -rP)
    return found


def test_no_write_is_forgotten_or_lost() -> None:
    found = search(Rules())
    assert found.broken is None, str(found)
    assert found.states > 1000, "hardly anything happened"


@pytest.mark.parametrize(
    ("mechanism", "expected"),
    [("enters_again", "forgotten"), ("looks_after_forgetting", "forgotten"), ("takes_out_only_what_it_read", "lost")],
)
def test_without_this_mechanism_one_is(mechanism: str, expected: str) -> None:
    found = search(Rules(**{mechanism: False}))
    assert found.broken is not None
    assert found.broken.startswith(expected), str(found)


def test_a_writer_that_dies_may_leave_one_that_is_found_when_its_session_is_next_used() -> None:
    """The guarantee as it is documented, and no stronger: the value itself says that it is undrained."""
    found = search(Rules(crashes=True))
    assert found.broken is not None
    assert found.broken.startswith("forgotten"), str(found)
    assert found.trace[-1] != "lost"


def test_entering_before_is_for_who_dies_after_replacing() -> None:
    """Without it, a crash alone is enough; with it, somebody must forget the id at that very moment."""
    alone = State((), False, frozenset(), (Process("open", "a"),))
    for rules, broken in ((Rules(crashes=True), False), (Rules(crashes=True, enters_before=False), True)):
        model = TwoSlots(rules)
        assert (Explorer(model.steps, model.judge).explore(alone).broken is not None) is broken
