"""What is promised: looked at in every state, and once everybody has finished."""

from __future__ import annotations

from tests.model.letters import BODIES, letters
from tests.model.state import Process, State, Thread, present, row_mask
from tests.model.steps import Steps

READS_IN_PEACE = 4


class Promises(Steps):
    """The judgement of a state."""

    def judge(self, state: State) -> str | None:
        """Which promise a state breaks, if any."""
        return state.broken or self._lost(state) or self._unrest(state)

    def _lost(self, state: State) -> str | None:
        row = state.database.row
        alive = row is not None and row.body is not None
        if state.deleted and alive:
            return "a deleted session is back"
        if alive and state.durable & ~row_mask(state):
            return f"a durable write is lost: {letters(state.durable & ~row_mask(state))}"
        lost = state.owed & ~state.gone & ~present(state)
        if lost:
            return f"a write is lost although Redis kept it: {letters(lost)}"
        if not self.raw:
            for server in state.servers:
                value = server.value
                if value is not None and value.is_dirty and not value.is_external and not server.pending:
                    return "a dirty value that nobody knows of"
        return None

    def _unrest(self, state: State) -> str | None:
        """When everybody has finished, a flush and a few reads must end with a value that can be trusted."""
        if self.raw or any(thread.program for thread in state.threads):
            return None
        rests = self.__dict__.setdefault("rests", {})
        copies = tuple(process.copies for process in state.processes)
        key = (state.servers, state.database, state.owed, state.gone, state.durable, copies)
        if key not in rests:
            rests[key] = self._reads_in_peace(state)
        found: str | None = rests[key]
        return found

    def _reads_in_peace(self, state: State) -> str | None:
        home = len(state.servers) - 1
        servers = tuple(server._replace(claim=b"") for server in state.servers)
        reader = Thread(0, ("flush", *("get",) * READS_IN_PEACE))
        state = state._replace(servers=servers, faults=(), late=(), visible=0)
        kept = tuple(Process(server=home, copies=process.copies) for process in state.processes)
        state = state._replace(processes=kept)
        for number, process in enumerate(kept):
            flusher = Thread(number, ("behind",) * len(process.copies))
            state, broken = self._alone_until_done(state._replace(threads=(flusher,)))
            if broken:
                return broken
        state, broken = self._alone_until_done(state._replace(processes=(Process(server=home),), threads=(reader,)))
        return broken or (None if self._is_settled(state, home) else "it never settles")

    def _alone_until_done(self, state: State) -> tuple[State, str | None]:
        while state.threads[0].program:
            following = list(self.steps(state))
            assert len(following) == 1  # one thread and no fault: nothing is left to chance
            state = following[0][1]
            broken = state.broken or self._lost(state)
            if broken:
                return state, f"{broken} (at rest)"
        return state, None

    def _is_settled(self, state: State, home: int) -> bool:
        """Redis has the row as it is, and it is trusted."""
        row, server, process = state.database.row, state.servers[home], state.processes[0]
        value = server.value
        if row is None:
            return value is None or value.is_external
        if row.body is None:
            return value is None
        if value is None or not process.lease or process.unpublished is not None:
            return False
        distrusted = () if process.pending is None else (process.pending,)
        if self.decisions.doubt(value, server.identity, distrusted, lease=True) is not None:
            return False
        return BODIES.same(value.body, row.body) and value.version == row.version and not value.is_dirty
