"""How a call begins: the look for pending rows, *open*, and whether what was found is trusted.

``Reading.open`` and ``look_around``, ``Lease.renew``, ``before`` and ``doubt``, ``RedisTier.open``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from checkout_cli.store.protocol.trust import Distrust
from tests.model.letters import mask
from tests.model.scripts import claim
from tests.model.state import (
    Call,
    Process,
    State,
    Step,
    Thread,
    letters,
    make_opened,
    row_mask,
    shown,
    shown_row,
    without,
)
from tests.model.steps import Steps


class Reading(Steps):
    """The steps until a call knows what lies there."""

    def _at_begin(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        kind, process = self._kind(thread), state.processes[thread.process]
        if kind == "get" and not call.needed:
            # The look, if there is one, comes later: what must be seen is what was promised before the call.
            needed = process.own | (0 if self.sentinel else state.visible)
            state = self._go(state, number, "begin", needed=needed, dead=state.buried and not self.sentinel)
        looks = kind == "get" or (kind in {"write", "pay"} and not call.to_database) or self.fenced
        later = kind == "get" and not self.guards.look_before_open
        if kind == "behind":
            yield from self._run(self._go(state, number, "copy"), number)
        elif not looks or later or process.lease or process.cut or not self.guards.lease:
            yield from self._run(self._go(state, number, self._after_look(state, thread, call)), number)
        elif "tick" in state.faults:
            yield "begins to look", self._go(state, number, "write_down", look=True)
        else:
            yield from self._run(self._go(state, number, "write_down", look=True), number)

    def _after_look(self, state: State, thread: Thread, call: Call) -> str:
        kind, held = self._kind(thread), state.processes[thread.process].held
        if kind in {"write", "pay"} and held is not None and not call.rounds and not call.to_database:
            return "held"
        return {"handover": "identity", "flush": "pick"}.get(kind, "open")

    def _at_held(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """A write begins from what this process has just read or written, if that would be trusted."""
        process = state.processes[thread.process]
        assert process.held is not None
        opened = make_opened(process.held.identity, process.held)
        before = self._before(process)
        begun = self._go(state, number, "held", opened=opened, there=opened, **before)
        if self._is_trusted(begun, begun.threads[number], begun.threads[number].call):
            yield f"begins from {shown(process.held)}", self._go(begun, number, "alone", from_held=True)
        else:
            yield from self._run(self._go(state, number, "open"), number)

    # Lease.renew

    def _at_write_down(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        process = state.processes[thread.process]
        following = "register" if self.fenced else "pending"
        if process.noted is None:
            yield from self._run(self._go(state, number, following), number)
        elif process.cut:
            yield "finds no database", self._go(state, number, self._after_look(state, thread, call), look=False)
        else:
            version, epoch = process.noted
            noted = self._know(self._noted(state, version, epoch), thread, noted=None)
            yield f"notes down {version}", self._go(noted, number, following)

    def _noted(self, state: State, version: int, epoch: bytes) -> State:
        database = state.database
        fenced = self.fenced and (epoch or self.guards.notes_of_this_epoch)
        if database.row is None or (fenced and epoch != (database.epochs or (b"",))[-1]):
            return state
        return state._replace(database=database._replace(published=max(database.published, version)))

    def _at_register(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        if self._cut(state, thread):
            yield "finds no database", self._go(state, number, self._after_look(state, thread, call), look=False)
            return
        identity, database = self._server(state, thread).identity, state.database
        process, epoch = state.processes[thread.process], identity
        if identity not in database.epochs:
            database = database._replace(epochs=(*database.epochs, identity))
        elif database.epochs[-1] != identity:
            epoch = b""
        # A note of another primary than those that are the latest now says nothing of what they have.
        keep = epoch == process.epoch or not self.guards.notes_of_this_epoch
        known = self._know(
            state._replace(database=database), thread, epoch=epoch, noted=process.noted if keep else None
        )
        yield f"finds epoch {epoch.decode() or 'none'}", self._go(known, number, "pending")

    def _at_pending(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        if self._cut(state, thread):
            yield "finds no database", self._go(state, number, self._after_look(state, thread, call), look=False)
            return
        row = state.database.row
        pending = None
        if row is not None and state.database.published < row.version:
            pending = Distrust(row.version, row.write_id)
        known = self._know(state, thread, pending=pending)
        name, looked = f"finds pending {pending.version if pending else 0}", self._go(known, number, "looked")
        if self._alone(state, number) and self.guards.lease_from_start:
            for _, following in self._run(looked, number):
                yield name, following
        else:
            yield name, looked

    def _at_looked(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        valid = call.look or not self.guards.lease_from_start
        following = self._after_look(state, thread, call) if self.guards.look_before_open else "judge"
        yield "has looked", self._go(self._know(state, thread, lease=valid), number, following, look=False)

    # RedisTier.open, claim

    def _at_open(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """A plain GETEX; what this process trusts by is noted just before."""
        if self._kind(thread) in {"create", "start", "restore"}:
            yield from self._run(self._go(state, number, "claim"), number)
            return
        server, process = self._server(state, thread), state.processes[thread.process]
        before = self._before(process)
        if server.value is None:
            yield "finds nothing", self._go(state, number, "claim", **before)
        else:
            opened = make_opened(server.identity, server.value)
            seen = mask(server.value.body) if server.value.is_external else 0
            read = self._go(state, number, "judge", **before, opened=opened, there=opened, seen_external=seen)
            yield f"reads {shown(server.value)}", read
        if "away" in state.faults:
            away = self._know(state._replace(faults=without(state.faults, "away")), thread, lease=False)
            yield "finds no Redis", self._go(away, number, "judge", **before, opened=None, there=None)

    def _at_claim(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        server = self._server(state, thread)
        if server.value is not None:
            opened = make_opened(server.identity, server.value)
            seen = mask(server.value.body) if server.value.is_external else 0
            read = self._go(state, number, "judge", opened=opened, there=opened, seen_external=seen)
            yield f"reads {shown(server.value)}", read
            return
        token = f"c{self._name(number, thread, call)}".encode()
        claimed, ours = claim(server, token)
        opened = make_opened(server.identity, None, token if ours else b"")
        state = self._go(self._set(state, thread, claimed), number, "judge", opened=opened, there=opened)
        state = self._go(state, number, "judge", names=call.names + ours)
        yield "claims" if ours else "claims nothing", state

    def _before(self, process: Process) -> dict[str, Any]:
        """``Lease.before``, and the own writes."""
        lease = process.lease or not self.guards.lease
        return {"lease": lease, "distrusted": self._distrusted(process), "own": _own(process)}

    def _distrusted(self, process: Process) -> tuple[Distrust, ...]:
        return tuple(each for each in (process.pending, process.unpublished) if each is not None)

    # The reply has arrived

    def _at_judge(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """Trust it, or bring it to the database."""
        kind, process = self._kind(thread), state.processes[thread.process]
        later = kind == "get" and not self.guards.look_before_open and not call.look
        if later and self.guards.lease and not process.lease and not process.cut:
            yield "begins to look", self._go(state, number, "write_down", look=True)
        elif kind in {"create", "start"}:
            if call.opened is not None and call.opened.value is not None:
                yield "finds the id taken", self._end(state, number)
            else:
                yield from self._run(self._go(state, number, "free" if kind == "start" else "commit"), number)
        elif kind == "restore":
            if process.undo is None or (call.opened is not None and call.opened.value is not None):
                yield "finds nothing to restore", self._give_up(state, number, thread)
            else:
                yield from self._run(self._go(state, number, "commit", seen=process.undo), number)
        elif kind == "touch":
            yield from self._run(self._go(state, number, "touch"), number)
        elif kind == "get" and self._is_trusted(state, thread, call):
            yield self._trusted(state, number, thread, call)
        elif kind in {"write", "pay"} and not call.to_database and call.opened is None:
            yield from self._run(self._go(state, number, "begin", to_database=True), number)
        elif kind in {"write", "pay"} and not call.to_database and self._is_trusted(state, thread, call):
            yield from self._run(self._go(state, number, "alone"), number)
        else:
            yield from self._run(self._go(state, number, "settle", then="opened", settles=0), number)

    def _is_trusted(self, state: State, thread: Thread, call: Call) -> bool:
        """``Lease.doubt``: by what was known before Redis was asked, and by what is known now."""
        opened, process, guards = call.opened, state.processes[thread.process], self.guards
        if opened is None or opened.value is None:
            return False
        lease, distrusted = process.lease or not guards.lease, self._distrusted(process)
        if guards.judged_from_before and guards.look_before_open:
            lease, distrusted = lease and call.lease, call.distrusted + distrusted
        if self._fenced_off(state, thread, opened.identity) and guards.lease_has_its_epoch:
            lease = False
        assert opened.identity is not None
        own = _own(process)
        if guards.own_writes_from_before:
            own = (*call.own, *own)
        return self.decisions.doubt(opened.value, opened.identity, distrusted, lease=lease, own=own) is None

    def _trusted(self, state: State, number: int, thread: Thread, call: Call) -> Step:
        """A read that asks nobody: it must show all that it has to."""
        assert call.opened is not None
        value = call.opened.value
        assert value is not None
        missing = call.needed & ~mask(value.body) & ~self._excused(state)
        state = self._end(self._know(state, thread, held=value), number)
        if not self.raw:
            if call.dead:
                state = state._replace(broken="a trusted read of a deleted session")
            elif missing:
                state = state._replace(broken=f"a trusted read that lacks {letters(missing)}")
        return f"trusts {shown(value)}", state

    @staticmethod
    def _excused(state: State) -> int:
        """What nobody has to see: lost with Redis, or in the conflict log, and not in the row."""
        return (state.gone | state.database.conflicts) & ~row_mask(state)

    # Publisher.publish_row

    def _at_identity(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """Who the server is, before the row is read; whatever lies there is judged by the reply of the script."""
        there = make_opened(self._server(state, thread).identity, None)
        yield "begins to hand over", self._go(state, number, "row", there=there)

    # DatabaseAdmin.read

    def _at_row(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """What the database has: to be published, or to be written upon."""
        if self._cut(state, thread):
            yield from self._no_database(state, number, thread, call)
            return
        if self._has_copies(state, thread):
            yield from self._own_first(state, number, thread)
            return
        kind, row, name = self._kind(thread), state.database.row, f"finds {shown_row(state.database.row)}"
        if kind in {"write", "pay"} and not call.to_database:
            if row is None or row.body is None:
                yield name, self._go(state, number, "begin", to_database=True)
            else:
                yield name, self._publish(state, number, row, then="again")
        elif row is None:
            if kind == "delete" and call.there is not None and call.there.value is not None:
                yield name, self._go(state, number, "commit", seen=None)
            else:
                yield name, self._give_up(state, number, thread)
        elif row.body is None:
            yield name, self._publish(state, number, row, then="end")
        elif kind == "get":
            if not self.guards.missing_is_no_deletion and call.opened is not None and call.opened.value is None:
                yield "takes it for deleted", self._go(state, number, "commit", seen=row)
                return
            missing = call.needed & ~mask(row.body) & ~self._excused(state)
            if missing and call.there is not None and not self.raw:
                state = state._replace(broken=f"the database's answer lacks {letters(missing)}")
            yield name, self._publish(state, number, row, then="end")
        elif kind == "handover":
            yield name, self._publish(state, number, row, then="end")
        else:
            yield name, self._go(state, number, "commit", seen=row, from_copy=False, attempted=False)

    def _no_database(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """``DatabaseUnavailable``: a write may be Redis' alone, a read is not verified, and anything else fails."""
        kind = self._kind(thread)
        if call.then == "bring" and kind != "handover":
            yield "finds no database", self._not_published(self._know(state, thread, lease=False), number)
        elif kind in {"update", "write", "pay", "create", "start"}:
            yield from self._without_database(state, number, thread, call)
        else:
            yield "finds no database", self._give_up(state, number, thread)

    def _give_up(self, state: State, number: int, thread: Thread) -> State:
        """``Publisher.release_claim``: our claim, if we have one, is taken back first; then the call ends."""
        call = state.threads[number].call
        if call.opened is not None and call.opened.token:
            return self._go(state, number, "release")
        return self._end(state, number)

    def _at_release(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        server = self._server(state, thread)
        if call.opened is not None and server.claim == call.opened.token:
            state = self._set(state, thread, server._replace(claim=b""))
        yield "gives up", self._end(state, number)


def _own(process: Process) -> tuple[str, ...]:
    """The last ids of its writes that the database does not have."""
    return tuple(each.ids[-1] for each in process.copies)
