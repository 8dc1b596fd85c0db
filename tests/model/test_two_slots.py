"""``checkout:pending`` in a cluster: it cannot change together with a session, and no dirty write may be forgotten.

Two writers, or a writer and an external program, and two processes that flush: every interleaving of their single
commands. What lies at the key, what is flushed and what is published is decided by the protocol's own functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from checkout_cli.store.protocol.flushing import Logged, decide
from checkout_cli.store.protocol.publishing import Move, Publication
from checkout_cli.store.protocol.row import Row
from checkout_cli.store.protocol.value import Kind, Value
from checkout_cli.store.protocol.writing import taken_in, written
from tests.model.explorer import Explored, Explorer
from tests.model.letters import BODIES, bit, letters, mask, with_write
from tests.model.state import clean, digest, put, raw_of, with_ids
from tests.model.state import found as found_at

HERE = b"S1"


class Process(NamedTuple):
    """Where a process is, and what it has read. Writers and external programs have a write; who flushes has none."""

    at: str
    write: str = ""
    read: Value | None = None
    row: Row | None = None
    names: int = 0


class State(NamedTuple):
    """The session's value, whether its id is among the pending, and the database."""

    value: Value
    pending: bool
    row: Row
    flushed: tuple[tuple[str, Logged], ...]
    conflicts: int
    processes: tuple[Process, ...]
    owed: int = 0


class Rules(NamedTuple):
    """The guards, each of which can be switched off; ``crashes`` lets a writer die between its steps."""

    enters_before: bool = True
    enters_again: bool = True
    looks_after_forgetting: bool = True
    publish_compares: bool = True
    crashes: bool = False


class TwoSlots:
    """The model: what each process may do next, and what must hold."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def steps(self, state: State) -> Iterator[tuple[str, State]]:
        for number, process in enumerate(state.processes):
            step = getattr(self, "_" + process.at.replace(" ", "_"), None)
            if step is not None:
                for after, following in step(state, process):
                    yield f"{number} {process.at}", self._with(after, number, following)
            if self.rules.crashes and process.write and process.at in {"swap", "enter again"}:
                yield f"{number} dies", self._with(state, number, process._replace(at="dead"))

    @staticmethod
    def _with(state: State, number: int, process: Process) -> State:
        return state._replace(processes=put(state.processes, number, process))

    # A writer: Flusher.put

    def _open(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        following = "enter" if not state.value.is_external else "flush it first"
        yield state, process._replace(at=self._entering(following), read=state.value)

    def _entering(self, at: str) -> str:
        return "swap" if at == "enter" and not self.rules.enters_before else at

    def _enter(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        yield state._replace(pending=True), process._replace(at="swap")

    def _swap(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        read = process.read
        assert read is not None
        if process.write:
            new = written(read, with_write(read.body, process.write), HERE, issued=None, token=process.write)
        else:
            new = taken_in(read, digest(read), HERE, f"t{process.names}{len(read.ids)}")
        done = state.value == read
        after = state._replace(value=new, owed=state.owed | mask(new.body)) if done else state
        following = "enter again" if self.rules.enters_again else "entered"
        yield after, process._replace(at=following, read=new if done else None)

    def _enter_again(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        yield from self._entered(state._replace(pending=True), process)

    def _entered(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        if process.write:
            yield state, process._replace(at="open" if process.read is None else "done", read=None)
        else:
            yield state, process._replace(at="look" if process.read is None else "apply")

    # An external program

    def _get(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        yield state, process._replace(at="set", read=state.value)

    def _set(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        read = process.read
        assert read is not None
        body = with_write(read.body, process.write)
        new = Value(read.base, read.identity, body, read.ids, read.questionable, Kind.TAMPERED)
        lost = mask(state.value.body) & ~(mask(body) | mask(state.row.body) | state.conflicts)
        owed = (state.owed & ~lost) | bit(process.write)
        yield state._replace(value=new, owed=owed), process._replace(at="done", read=None)

    # Who flushes, once, where there is anything to find: Publisher.flush_seen, Publisher.bring

    def _find(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        if state.pending:
            yield state, process._replace(at="look")

    def _flush_it_first(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        """A writer leaves an external value to who flushes; in the store it would do the same itself."""
        yield state, process._replace(at="done", read=None)

    def _look(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        value = state.value
        if value.is_external:
            yield state, process._replace(at=self._entering("enter"), read=value, names=process.names + 1)
        else:
            yield state, process._replace(at="apply" if value.is_dirty else "forget", read=value)

    def _apply(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        value = process.read
        assert value is not None
        flush = decide(value, state.row, dict(state.flushed), BODIES, f"m{len(state.flushed)}-1")
        row = flush.row or state.row
        both = mask(value.body) | mask(state.row.body)
        conflicts = state.conflicts | (both if flush.conflict else 0)
        after = state._replace(row=row, flushed=with_ids(state.flushed, flush.log), conflicts=conflicts)
        yield after, process._replace(at="publish", row=row)

    def _publish(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        """One swap; a refusal is judged, and what is in the way is flushed as well."""
        row, read = process.row, process.read
        assert row is not None
        assert read is not None
        publication = Publication(row, HERE, found_at(read), raw_of(read))
        assert publication.next() is Move.SWAP
        if state.value == read or not self.rules.publish_compares:
            yield state._replace(value=clean(row, HERE)), process._replace(at="forget", read=None, row=None)
            return
        outcome = publication.refused(found_at(state.value)).next()
        if outcome is Move.SWAP:
            yield state, process._replace(read=state.value)
        else:
            published = isinstance(outcome, Move) or outcome.is_published
            yield state, process._replace(at="forget" if published else "look", read=None, row=None)

    # RedisPending.forget

    def _forget(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        if self.rules.looks_after_forgetting:
            yield state._replace(pending=False), process._replace(at="look after", read=None)
        elif self._is_dirty(state):  # the tempting order: a look, and then the removal
            yield state, process._replace(at="done", read=None)
        else:
            yield state, process._replace(at="remove", read=None)

    def _remove(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        yield state._replace(pending=False), process._replace(at="done")

    def _look_after(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        yield state, process._replace(at="put back" if self._is_dirty(state) else "done")

    def _put_back(self, state: State, process: Process) -> Iterator[tuple[State, Process]]:
        yield state._replace(pending=True), process._replace(at="done")

    @staticmethod
    def _is_dirty(state: State) -> bool:
        """``redis_pending.is_dirty``."""
        return state.value.is_dirty and not state.value.is_external

    def judge(self, state: State) -> str | None:
        """What is broken, once nobody is in the middle of anything."""
        lost = state.owed & ~(mask(state.value.body) | mask(state.row.body) | state.conflicts)
        if lost:
            return f"lost: {letters(lost)}"
        if any(process.at not in {"done", "dead", "find"} for process in state.processes):
            return None
        if self._is_dirty(state) and not state.pending:
            return "forgotten: a write waits, and nobody can find it"
        return None


WRITERS = (Process("open", "a"), Process("open", "b"), Process("find"), Process("find"))
EXTERNAL = (Process("open", "a"), Process("get", "x"), Process("find"), Process("find"))


def search(rules: Rules, processes: tuple[Process, ...] = WRITERS) -> Explored:
    begin = State(Value(1, HERE, b""), False, Row(1, "z-1", b""), (), 0, processes)
    model = TwoSlots(rules)
    explored = Explorer(model.steps, model.judge).explore(begin)
    print(f"two slots: {explored}")  # noqa: T201  (shown by -rP)
    return explored


@pytest.mark.parametrize("processes", [WRITERS, EXTERNAL], ids=["two writers", "an external program"])
def test_no_write_is_forgotten_or_lost(processes: tuple[Process, ...]) -> None:
    found = search(Rules(), processes)
    assert found.broken is None, str(found)
    assert found.states > 1000, "hardly anything happened"


@pytest.mark.parametrize(
    ("guard", "expected"),
    [("enters_again", "forgotten"), ("looks_after_forgetting", "forgotten"), ("publish_compares", "lost")],
)
def test_without_this_guard_one_is(guard: str, expected: str) -> None:
    found = search(Rules(**{guard: False}))
    assert found.broken is not None
    assert found.broken.startswith(expected), str(found)


def test_a_writer_that_dies_may_leave_one_that_is_found_when_its_session_is_next_used() -> None:
    """The guarantee as it is documented, and no stronger: the value itself says that it is dirty."""
    found = search(Rules(crashes=True))
    assert found.broken is not None
    assert found.broken.startswith("forgotten"), str(found)


def test_entering_before_is_for_who_dies_after_replacing() -> None:
    """Without it, a crash alone is enough; with it, somebody must forget the id at that very moment."""
    alone = (Process("open", "a"),)
    assert search(Rules(crashes=True), alone).broken is None
    assert search(Rules(crashes=True, enters_before=False), alone).broken is not None
