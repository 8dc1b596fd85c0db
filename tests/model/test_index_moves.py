"""Where our index lies: writers whose knowledge is old, an older program, and an index that is moved meanwhile.

Every interleaving of single commands. Each writer of ours creates or deletes one session of its own; the older program
adds one to its SET. At the end no session is without an entry, the SET has what ours has, and nothing of ours is left
where nobody looks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.model.explorer import Explored, Explorer

Ids = frozenset[str]
NOTHING: Ids = frozenset()


class Key(NamedTuple):
    """What is at ``checkout:index``; an empty set or sorted set is no key."""

    kind: str = "none"
    ids: Ids = NOTHING

    def __bool__(self) -> bool:
        return bool(self.ids)


class Process(NamedTuple):
    """Where a process is; ``place`` is where it believes our index to be."""

    at: str
    name: str = ""
    place: str = ""
    wrong: bool = False


class State(NamedTuple):
    """The three keys and the processes."""

    index: Key
    beside: Ids
    aside: Ids
    processes: tuple[Process, ...]


class Rules(NamedTuple):
    """The mechanisms, each of which can be switched off."""

    ours_before_the_set: bool = True
    looks_at_replies: bool = True
    repairs_in_one_step: bool = True
    begins_the_set_at_once: bool = True
    enters_before_removing: bool = True
    crashes: bool = False


def put(kind: str, ids: Ids) -> Key:
    return Key(kind, ids) if ids else Key()


def found(state: State) -> str:
    """What a look at the keys says."""
    if state.index.kind == "zset" or (state.index.kind == "none" and not state.beside):
        return "own"
    return "beside"


class IndexMoves:
    """The model: what each process may do next, and what must hold."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        for number, process in enumerate(state.processes):
            step = getattr(self, "_" + process.at.replace(" ", "_"), None)
            if step is None:
                continue
            for following, after in step(state, process):
                processes = list(state.processes)
                processes[number] = after
                yield f"{process.name} {process.at}", following._replace(processes=tuple(processes))
            if self.rules.crashes and process.name == "adopter":
                processes = list(state.processes)
                processes[number] = process._replace(at="finish")  # whoever does it again, or a clean-up
                yield "adopter dies", state._replace(processes=tuple(processes))

    # A writer: its commands go out together, and others' come in between

    def _create(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        yield from self._write(state, process, add=True)

    def _delete(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        yield from self._write(state, process, add=False)

    def _write(self, state: State, process: Process, *, add: bool) -> Iterator[tuple[State, Process]]:
        place = process.place or found(state)
        verb = "add" if add else "remove"
        first = "index" if place == "own" or not self.rules.ours_before_the_set else "beside"
        yield state, process._replace(at=f"{verb} {first}", place=place)

    def _add_index(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        yield from self._at_index(state, process, {process.name}, NOTHING)

    def _remove_index(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        yield from self._at_index(state, process, NOTHING, {process.name})

    def _at_index(
        self, state: State, process: Process, more: set[str] | Ids, less: set[str] | Ids
    ) -> Iterator[tuple[State, Process]]:
        kind = "zset" if process.place == "own" else "set"
        wrong = process.wrong or state.index.kind not in {kind, "none"}
        if state.index.kind in {kind, "none"}:
            state = state._replace(index=put(kind, (state.index.ids | more) - less))
        second = process.place == "beside" and not self.rules.ours_before_the_set
        at = ("add beside" if more else "remove beside") if second else "check"
        yield state, process._replace(at=at, wrong=wrong)

    def _add_beside(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        at = "add index" if self.rules.ours_before_the_set else "check"
        yield state._replace(beside=state.beside | {process.name}), process._replace(at=at)

    def _remove_beside(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        at = "remove index" if self.rules.ours_before_the_set else "check"
        yield state._replace(beside=state.beside - {process.name}), process._replace(at=at)

    def _check(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        done = not process.wrong or not self.rules.looks_at_replies
        yield state, process._replace(at="done" if done else "look again")

    def _look_again(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        yield state, process._replace(at="repair", place=found(state))

    def _repair(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        """The script: at the place that it was told, or nothing."""
        gone = process.name.startswith("deleter")
        mine = frozenset({process.name})
        again = process._replace(at="look again")
        if process.place == "own":
            if state.index.kind != "zset" and (state.index or state.beside):
                yield state, again
                return
            ids = state.index.ids - mine if gone else state.index.ids | mine
            state = state._replace(index=put("zset", ids))
            if self.rules.repairs_in_one_step:
                yield state._replace(beside=state.beside - mine), process._replace(at="done")
            else:
                yield state, process._replace(at="tidy")
        elif state.index.kind == "zset":
            yield state, again
        else:
            index = state.index.ids - mine if gone else state.index.ids | mine
            beside = state.beside - mine if gone else state.beside | mine
            yield state._replace(index=put("set", index), beside=beside), process._replace(at="done")

    def _tidy(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        yield state._replace(beside=state.beside - {process.name}), process._replace(at="done")

    # An older program

    def _sadd(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        """It swallows the error where it meets no SET."""
        if state.index.kind == "zset":
            yield state, process._replace(at="refused")
        else:
            yield state._replace(index=put("set", state.index.ids | {process.name})), process._replace(at="done")

    def _srem(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        """It deletes the session that the SET had at the beginning."""
        index = state.index if state.index.kind == "zset" else put("set", state.index.ids - {"old"})
        yield state._replace(index=index), process._replace(at="done")

    # An adoption

    def _copy(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        beside = state.beside | state.index.ids if state.index.kind == "set" else state.beside
        yield state._replace(beside=beside), process._replace(at="swap")

    def _swap(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        after = process._replace(at="finish")
        if state.index.kind == "zset" or (state.index and state.aside):
            yield state, after
            return
        yield State(put("zset", state.beside), NOTHING, state.aside | state.index.ids, state.processes), after

    def _finish(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        """A page of the SET that was put aside, here of one id."""
        if not state.aside:
            yield state, process._replace(at="absorb")
            return
        for name in state.aside:
            if self.rules.enters_before_removing:
                yield self._entered(state, name)._replace(aside=state.aside - {name}), process
            else:
                yield state._replace(aside=state.aside - {name}), process._replace(at="enter", place=name)

    def _enter(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        yield self._entered(state, process.place), process._replace(at="finish", place="")

    @staticmethod
    def _entered(state: State, name: str) -> State:
        if found(state) == "own":
            return state._replace(index=put("zset", state.index.ids | {name}))
        return state._replace(beside=state.beside | {name})

    def _absorb(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        if state.index.kind == "zset":
            state = state._replace(index=put("zset", state.index.ids | state.beside), beside=NOTHING)
        yield state, process._replace(at="done")

    # Room for an older program's SET

    def _make_room(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        if state.index.kind != "zset":
            yield state, process._replace(at="fill")
        elif state.beside:
            ids = state.index.ids | state.beside
            yield state._replace(index=put("zset", ids), beside=NOTHING), process
        else:
            begun = put("set", state.index.ids) if self.rules.begins_the_set_at_once else Key()
            yield state._replace(index=begun, beside=state.index.ids), process._replace(at="fill")

    def _fill(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        if state.index.kind != "zset" and state.beside:
            living = state.beside - {process.name for process in state.processes if process.name.startswith("deleter")}
            state = state._replace(index=put("set", state.index.ids | living))
        yield state, process._replace(at="done")

    def judge(self, state: State) -> str | None:
        """What is broken, once nobody is in the middle of anything."""
        processes = {process.name: process for process in state.processes}
        if any(process.at not in {"done", "refused"} for process in processes.values()):
            return None
        own = found(state) == "own"
        ours = state.index.ids if own else state.beside
        created = {name for name in processes if name.startswith("creator")}
        if created - ours:
            return f"without an entry: {sorted(created - ours)}"
        if not own and created - state.index.ids:
            return f"not in the set: {sorted(created - state.index.ids)}"
        if own and state.beside:
            return f"a stray: {sorted(state.beside)}"
        # An adoption may enter what was deleted at that moment: as due at once, so that the next clean-up removes it.
        if "deleter" in ours and "deleter" in processes and "adopter" not in processes:
            return "deleted, and has an entry"
        added = {name for name, process in processes.items() if name == "older" and process.at == "done"}
        listed = state.index.ids | state.beside | state.aside
        return f"lost: {sorted(added - listed)}" if added - listed else None


CREATORS = (Process("create", "creator 1", "beside"), Process("create", "creator 2"))
OLDER, ADOPTER, ROOM = Process("sadd", "older"), Process("copy", "adopter"), Process("make room", "maker")
SET = State(Key("set", frozenset({"old", "deleter"})), frozenset({"deleter"}), NOTHING, ())
OURS = State(Key("zset", frozenset({"old", "deleter"})), NOTHING, NOTHING, ())

SCENARIOS = {
    "adopted under writers": (SET, (*CREATORS, OLDER, ADOPTER)),
    "adopted under a deletion": (SET, (Process("delete", "deleter", "beside"), CREATORS[0], ADOPTER)),
    "the set is emptied": (
        State(Key("set", frozenset({"old"})), frozenset({"kept"}), NOTHING, ()),
        (Process("srem", "an older one"), *CREATORS, OLDER),
    ),
    "room is made under writers": (OURS, (Process("create", "creator 1", "own"), CREATORS[1], OLDER, ROOM)),
    "room is made under a deletion": (OURS, (Process("delete", "deleter", "own"), OLDER, ROOM)),
    "adopted, and room is made": (SET, (*CREATORS, ADOPTER, ROOM)),
}


def search(rules: Rules, scenario: str) -> Explored:
    state, processes = SCENARIOS[scenario]
    model = IndexMoves(rules)
    explored = Explorer(model.steps, model.judge).explore(state._replace(processes=processes))
    print(f"{scenario}: {explored}")  # noqa: T201  (shown by -rP)
    return explored


@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_session_has_its_entry_and_nothing_is_left_behind(scenario: str, crashes: bool) -> None:
    explored = search(Rules(crashes=crashes), scenario)
    assert explored.broken is None, str(explored)
    assert explored.states > 20, "hardly anything happened"


@pytest.mark.parametrize(
    ("mechanism", "scenario", "expected"),
    [
        ("looks_at_replies", "adopted under writers", "without an entry"),
        ("ours_before_the_set", "adopted under writers", "a stray"),
        ("repairs_in_one_step", "adopted, and room is made", "without an entry"),
        ("begins_the_set_at_once", "room is made under writers", "without an entry"),
        ("looks_at_replies", "room is made under a deletion", "deleted, and has an entry"),
    ],
)
def test_without_this_mechanism_something_is(mechanism: str, scenario: str, expected: str) -> None:
    explored = search(Rules(**{mechanism: False}), scenario)
    assert explored.broken is not None
    assert explored.broken.startswith(expected), str(explored)


def test_an_adoption_that_dies_between_removing_and_entering_loses_a_session() -> None:
    explored = search(Rules(enters_before_removing=False, crashes=True), "adopted under writers")
    assert explored.broken is not None
    assert explored.broken.startswith("lost"), str(explored)
