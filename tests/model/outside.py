"""What happens around us: external programs on the same Redis, and everything that goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from checkout_cli.store.protocol.value import NO_IDENTITY, Kind, Value
from tests.model.letters import bit, with_write
from tests.model.scripts import replace
from tests.model.state import Call, Process, Server, State, Step, Thread, make_opened, put, shown, shown_row, without
from tests.model.steps import Steps

EXTERNAL = frozenset({"external", "rewrite", "raw", "plain", "fresh", "garbage", "forge", "remove"})
"""What an external program does: reads and writes with a change, or without one; writes the very bytes back; drops our
header, or never saw it; writes what is no JSON; claims another base in our header; deletes. Each that has to read first
writes later."""


class Outside(Steps):
    """External programs: between their GET and their SET anything may happen."""

    def _at_outside(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        kind, server = self._kind(thread), self._server(state, thread)
        if kind == "remove":
            yield f"DEL {shown(server.value)}", self._overwritten(state, number, thread, None)
        elif kind in {"fresh", "garbage"}:
            yield from self._at_set(state, number, thread, call)
        elif server.value is None or server.value.kind is Kind.UNREADABLE:
            yield "GET: no session", self._end(state, number)
        else:
            opened = make_opened(server.identity, server.value)
            yield f"GET {shown(server.value)}", self._go(state, number, "set", opened=opened)

    def _at_set(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        kind, write = self._kind(thread), self._write(thread)
        read = None if call.opened is None else call.opened.value
        value = self._value(kind, write, read)
        yield f"SET {shown(value)}", self._overwritten(state, number, thread, value, write)

    def _value(self, kind: str, write: str, read: Value | None) -> Value:
        if kind == "garbage":
            return Value(0, NO_IDENTITY, write.encode(), kind=Kind.UNREADABLE)
        if read is None:
            return Value(0, NO_IDENTITY, with_write(b"", write), kind=Kind.UNSTAMPED)
        if kind == "plain":
            return Value(0, NO_IDENTITY, with_write(read.body, write), kind=Kind.UNSTAMPED)
        if kind == "raw":
            return read
        if kind == "forge":
            read = msgspec.structs.replace(read, base=0)
        return self.decisions.rewritten(read, with_write(read.body, write) if write else read.body)

    def _overwritten(self, state: State, number: int, thread: Thread, value: Value | None, write: str = "") -> State:
        """Whatever lay there is lost with it, and nobody's promise holds for that; what is there now is owed."""
        server = self._server(state, thread)
        state = self.lost_by_redis(self._set(state, thread, server._replace(value=value)))
        if write not in {"", "-"}:
            state = state._replace(owed=state.owed | bit(write), gone=state.gone & ~bit(write))
        return self._end(state, number)


class Faults(Steps):
    """What goes wrong, each as often as the scenario names it."""

    def faults(self, state: State) -> Iterator[Step]:
        """Every fault that may happen now, and everything that is late and arrives now."""
        for fault in dict.fromkeys(state.faults):
            run = getattr(self, f"_fault_{fault.split()[0]}", None)
            if run is not None:
                yield from run(state._replace(faults=without(state.faults, fault)))
        for position, message in enumerate(state.late):
            arrived = state._replace(late=state.late[:position] + state.late[position + 1 :])
            yield from self._arrives(arrived, message)
        for number, process in enumerate(state.processes):
            if process.cut:
                mended = put(state.processes, number, process._replace(cut=False))
                yield f"{number} reaches the database again", state._replace(processes=mended)
            if process.server < len(state.servers) - 1:
                moved = put(state.processes, number, process._replace(server=process.server + 1))
                yield f"{number} moves to the new primary", state._replace(processes=moved)

    def _arrives(self, state: State, message: Any) -> Iterator[Step]:
        if message[0] == "commit":
            committed = self._committed(state, *message[1:])
            if committed is not None:
                yield f"commit of {shown_row(message[2])} arrives", committed
            return
        _, at, identity, script = message
        server = state.servers[at]
        if server.identity == identity or not self.guards.bound:
            server, reply = replace(self.guards, server, script)
            if reply.done:
                yield f"{shown(script.new)} arrives", state._replace(servers=put(state.servers, at, server))

    def _fault_tick(self, state: State) -> Iterator[Step]:
        """T passes: leases and looks that began before are over, and everybody must see what is in the row."""
        threads = tuple(
            each._replace(call=each.call._replace(lease=False, look=False))
            if each.call.lease or each.call.look
            else each
            for each in state.threads
        )
        processes = tuple(process._replace(lease=False) for process in state.processes)
        row = state.database.row
        visible = state.visible | (0 if row is None or row.body is None else sum(1 << each for each in set(row.body)))
        buried = row is not None and row.body is None
        state = state._replace(threads=threads, processes=processes, visible=visible, buried=buried)
        yield "T passes", state

    def _fault_evict(self, state: State) -> Iterator[Step]:
        server = state.servers[0]
        if server.value is not None:
            evicted = put(state.servers, 0, server._replace(value=None))
            yield f"evict {shown(server.value)}", self.lost_by_redis(state._replace(servers=evicted))
        if server.claim:
            ended = put(state.servers, 0, server._replace(claim=b""))
            yield "a claim ends", state._replace(servers=ended)

    def _fault_save(self, state: State) -> Iterator[Step]:
        server = state.servers[0]
        if server.saved != (server.value, server.pending):
            saved = server._replace(saved=(server.value, server.pending))
            yield f"save {shown(server.value)}", state._replace(servers=put(state.servers, 0, saved))

    def _fault_restart(self, state: State) -> Iterator[Step]:
        """Only connections that are new reach it, so that nothing late arrives."""
        server = state.servers[0]
        identity = f"S{int(server.identity[1:]) + 1}".encode()
        for value, pending in dict.fromkeys([server.saved, (None, False)]):
            restarted = Server(identity, value, b"", pending, server.saved)
            lost = state._replace(servers=put(state.servers, 0, restarted))
            yield f"restart with {shown(value)}", self.lost_by_redis(lost)

    def _fault_crash(self, state: State) -> Iterator[Step]:
        for number, process in enumerate(state.processes):
            if any(thread.process == number and thread.program for thread in state.threads):
                threads = tuple(Thread(number, ()) if t.process == number else t for t in state.threads)
                fresh = put(state.processes, number, Process(server=process.server, cut=process.cut))
                crashed = self.lost_by_redis(state._replace(threads=threads, processes=fresh))
                yield f"{number} crashes", crashed

    def _fault_drop(self, state: State) -> Iterator[Step]:
        """A process has too many writes that wait for the database, and keeps no copy of the oldest any more."""
        for number, process in enumerate(state.processes):
            if process.copies:
                dropped = put(state.processes, number, process._replace(copies=process.copies[1:]))
                yield f"{number} drops a copy", self.lost_by_redis(state._replace(processes=dropped))

    def _fault_cut(self, state: State) -> Iterator[Step]:
        for number, process in enumerate(state.processes):
            if not process.cut and any(t.process == number and not self.is_outside(t) for t in state.threads):
                cut = put(state.processes, number, process._replace(cut=True))
                yield f"{number} is cut off from the database", state._replace(processes=cut)

    def _fault_failover(self, state: State) -> Iterator[Step]:
        """A replica is promoted, with what it has by then; the old primary goes on answering whoever is left there."""
        old = state.servers[0]
        for value, pending in dict.fromkeys([(old.value, old.pending), old.saved]):
            promoted = Server(old.identity + b"x", value, b"", pending)
            servers = (*state.servers, promoted)
            yield f"failover to {shown(value)}", self._failed_over(state._replace(servers=servers), promoted)

    def _failed_over(self, state: State, promoted: Server) -> State:
        """What only the old primary has is lost."""
        kept = self.lost_by_redis(state._replace(servers=(promoted,)))
        return kept._replace(servers=state.servers)

    @staticmethod
    def is_outside(thread: Thread) -> bool:
        """Whether it is an external program."""
        return bool(thread.program) and thread.program[0].partition(" ")[0] in EXTERNAL
