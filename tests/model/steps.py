"""What all steps have in common: how a thread goes on, what its process knows, and what its server holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.model.guards import Decisions, Guards
from tests.model.letters import bit
from tests.model.scripts import Replacement, Reply, replace
from tests.model.state import (
    Call,
    Opened,
    Server,
    State,
    Step,
    Thread,
    kept,
    letters,
    mask,
    present,
    put,
    row_mask,
    without,
)

Run = Callable[[State, int, Thread, Call], Iterator[Step]]


class Steps:
    """The parts of the model build on this one. ``sentinel``: two primaries, so that only T bounds what others see."""

    def __init__(
        self,
        guards: Guards,
        *,
        sentinel: bool = False,
        raw: bool = False,
        no_false_conflicts: bool = False,
        no_conflicts: bool = False,
        no_loss: bool = False,
    ) -> None:
        """``raw``: bytes of ours are written back as they were, which nobody can tell, so that reads are not judged.

        ``no_loss``: nothing that was acknowledged is excused, whatever Redis loses, as its writer lives.
        """
        self.guards = guards
        self.decisions = Decisions(guards)
        self.sentinel = sentinel
        self.raw = raw
        self.no_false_conflicts = no_false_conflicts
        self.no_conflicts = no_conflicts
        self.no_loss = no_loss
        self.fenced = sentinel and guards.fence
        self.run_at: dict[str, Run] = {name[4:]: getattr(self, name) for name in dir(self) if name.startswith("_at_")}

    # Threads

    def _go(self, state: State, number: int, at: str, **call: Any) -> State:
        process, program, _, held = state.threads[number]
        thread = Thread(process, program, at, held._replace(**call) if call else held)
        return state._replace(threads=put(state.threads, number, thread))

    def _run(self, state: State, number: int) -> Iterator[Step]:
        """Go on at once: nothing was asked of anybody yet."""
        thread = state.threads[number]
        if thread.at == "begin":  # a step of its own: the call has ended, or begins anew
            yield "goes on", state
        else:
            yield from self.run_at[thread.at](state, number, thread, thread.call)

    def _end(self, state: State, number: int, *, verified: bool = False) -> State:
        """The call returns; ``verified``: with an answer that the database stands behind."""
        thread = state.threads[number]
        if verified:
            settled = row_mask(state) | state.database.conflicts | state.gone
            lost = thread.call.seen_external & ~settled
            if lost:
                state = state._replace(broken=f"an external write that was seen is nowhere: {letters(lost)}")
        return state._replace(threads=put(state.threads, number, Thread(thread.process, thread.program[1:])))

    def _kind(self, thread: Thread) -> str:
        return thread.program[0].partition(" ")[0]

    def _write(self, thread: Thread) -> str:
        return thread.program[0].partition(" ")[2]

    def _name(self, number: int, thread: Thread, call: Call) -> str:
        """A token that nobody has used."""
        return f"{'ijklm'[number]}{len(thread.program)}{call.names}"

    @staticmethod
    def _alone(state: State, number: int) -> bool:
        """Whether no other thread of its process can tell when the process comes to know something."""
        process = state.threads[number].process
        return not any(
            each.process == process and each.program for place, each in enumerate(state.threads) if place != number
        )

    # Processes and servers

    def _know(self, state: State, thread: Thread, **fields: Any) -> State:
        process = state.processes[thread.process]._replace(**fields)
        return state._replace(processes=put(state.processes, thread.process, process))

    def _cut(self, state: State, thread: Thread) -> bool:
        return state.processes[thread.process].cut

    def _server(self, state: State, thread: Thread) -> Server:
        return state.servers[state.processes[thread.process].server]

    def _set(self, state: State, thread: Thread, server: Server) -> State:
        return state._replace(servers=put(state.servers, state.processes[thread.process].server, server))

    def _reaches(self, state: State, thread: Thread, opened: Opened) -> bool:
        """Whether the very server that answered *open* still does."""
        return self._server(state, thread).identity == opened.identity or not self.guards.bound

    def _fenced_off(self, state: State, thread: Thread, identity: bytes | None) -> bool:
        """``Lease.is_fenced_off``."""
        return self.fenced and identity != state.processes[thread.process].epoch

    def _sent(self, state: State, thread: Thread, script: Replacement) -> tuple[State, Reply]:
        server, reply = replace(self.guards, self._server(state, thread), script)
        return self._set(state, thread, server), reply

    def _unheard(self, state: State, thread: Thread, script: Replacement) -> State:
        """A script whose reply did not come: it may still arrive."""
        at = state.processes[thread.process].server
        message = ("script", at, state.servers[at].identity, script)
        return state._replace(faults=without(state.faults, "late"), late=(*state.late, message))

    # What is promised

    def lost_by_redis(self, state: State) -> State:
        """After a fault: what was owed and is nowhere any more is not owed, and nobody can see it."""
        gone = state.gone | (0 if self.no_loss else state.owed & ~present(state))
        there = row_mask(state)
        for server in state.servers:
            if server.value is not None:
                there |= mask(server.value.body)
        threads = tuple(_without_lost(each, there | kept(state.processes[each.process])) for each in state.threads)
        processes = tuple(
            each._replace(own=each.own & (there | kept(each))) if each.own else each for each in state.processes
        )
        return state._replace(gone=gone, visible=state.visible & there, threads=threads, processes=processes)

    def _promise(self, state: State, thread: Thread, write: str) -> State:
        """The caller has an acknowledgement: this process must see its write from now on."""
        own = state.processes[thread.process].own | bit(write)
        return self._know(state, thread, own=own)


def _without_lost(thread: Thread, there: int) -> Thread:
    call = thread.call
    if not (call.needed | call.seen_external) & ~there:
        return thread
    return thread._replace(call=call._replace(needed=call.needed & there, seen_external=call.seen_external & there))
