"""How the database gets what lies at the key: taking in, flushing, and the ids in ``checkout:pending``.

``Flusher.settle`` and ``flush``, ``FlushLog.apply``, ``Publisher.flush_seen``, ``RedisPending.forget``.
"""

from __future__ import annotations

from collections.abc import Iterator

from checkout_cli.store.protocol import flushing
from checkout_cli.store.protocol.flushing import Flush, Result
from checkout_cli.store.protocol.ids import contains, number_of, token_of
from checkout_cli.store.protocol.row import Row
from checkout_cli.store.protocol.trust import Distrust
from checkout_cli.store.protocol.value import Kind, Value
from tests.model.guards import Guards
from tests.model.letters import BODIES, mask
from tests.model.scripts import Replacement, forget
from tests.model.state import (
    Call,
    Database,
    Flushed,
    State,
    Step,
    Thread,
    digest,
    make_opened,
    raw_of,
    shown,
    with_ids,
    without,
)
from tests.model.steps import Steps

ATTEMPTS = 3
"""As ``flusher.ATTEMPTS``."""
ALL_ON = Guards()


class Settling(Steps):
    """The steps from what was opened to what the database has accounted for."""

    def _at_settle(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """One round of ``Flusher.settle``, up to the first thing that it asks of anybody."""
        there, value = call.there, None if call.there is None else call.there.value
        if there is None or value is None or there.is_settled or call.settles >= ATTEMPTS:
            yield from self._run(self._settled(state, number), number)
        elif value.kind is Kind.UNREADABLE:
            yield from self._keep_unreadable(state, number, thread, value)
        elif value.kind is Kind.UNSTAMPED and not self._adopts(thread, call) and self._cut(state, thread):
            yield from self._no_database(state, number, thread, call)
        elif value.kind is Kind.UNSTAMPED and not self._adopts(thread, call) and state.database.row is None:
            yield "leaves it alone", self._settled(state, number)
        elif value.is_external:
            yield from self._take_in(state, number, thread, value)
        else:
            yield from self._run(self._go(state, number, "flush"), number)

    def _adopts(self, thread: Thread, call: Call) -> bool:
        """An external session without a row is taken in by writes, by publishes that meet it, and by ``sync``."""
        return call.then != "opened" or self._kind(thread) not in {"get", "delete"}

    def _take_in(self, state: State, number: int, thread: Thread, value: Value) -> Iterator[Step]:
        call = state.threads[number].call
        assert call.there is not None
        assert call.there.identity is not None
        if not self._reaches(state, thread, call.there):
            yield from self._no_redis(state, number, thread)
            return
        token = self._name(number, thread, call)
        taken = self.decisions.taken_in(value, digest(value), call.there.identity, token)
        script = Replacement(False, value, b"", taken, "add")
        following, reply = self._sent(state, thread, script)
        if reply.done:
            there = make_opened(call.there.identity, taken)
            yield f"takes {shown(value)} in", self._go(following, number, "flush", there=there, names=call.names + 1)
        else:
            there = make_opened(call.there.identity, reply.there)
            outrun = self._go(following, number, "settle", there=there, settles=call.settles + 1)
            yield f"finds {shown(reply.there)} instead", outrun
        if "late" in state.faults:
            lost = self._go(self._unheard(state, thread, script), number, "settle", names=call.names + 1)
            for _, after in self._no_redis(lost, number, thread):
                yield "hears nothing of taking in", after

    def _keep_unreadable(self, state: State, number: int, thread: Thread, value: Value) -> Iterator[Step]:
        """Its bytes go to the conflict log, where there is a row to replace them; a row never goes away again."""
        if self._cut(state, thread):
            yield from self._no_database(state, number, thread, state.threads[number].call)
            return
        row, database = state.database.row, state.database
        if row is None:
            yield "leaves it alone", self._settled(state, number)
            return
        kept = database._replace(conflicts=database.conflicts | mask(value.body) | mask(row.body))
        state = self._go(state._replace(database=kept), number, "settle", accounted=raw_of(value))
        yield "keeps what is no session", self._settled(state, number)

    # FlushLog.apply

    def _at_flush(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """One transaction; whose COMMIT is unheard of, the caller takes the database for away."""
        if self._cut(state, thread):
            yield from self._no_database(state, number, thread, call)
            return
        assert call.there is not None
        value = call.there.value
        assert value is not None
        if self._has_copies(state, thread, value):
            yield from self._own_first(state, number, thread, value)
            return
        flush, state = self._flushed(state, number, thread, value)
        done = Flushed(state.database.row, flush.row is not None)
        name = f"flushes {shown(value)}: {flush.result}"
        settled = self._go(self._without_copies(state, thread, value), number, "flush", accounted=raw_of(value))
        yield name, self._settled(self._go(settled, number, "flush", flushed=done), number)
        if "lost commit" in state.faults and flush.log:
            lost = state._replace(faults=without(state.faults, "lost commit"))
            for _, after in self._no_database(lost, number, thread, call):
                yield f"{name}, unheard", after

    def _flushed(self, state: State, number: int, thread: Thread, value: Value) -> tuple[Flush, State]:
        call, database = state.threads[number].call, state.database
        logged, row = dict(database.flushed), database.row
        fresh_id = f"m{self._name(number, thread, call)}-1"
        flush = self.decisions.flush(value, row, logged, fresh_id)
        conflicts = database.conflicts
        if flush.conflict:
            conflicts |= mask(value.body) | (0 if row is None else mask(row.body))
        after = Database(
            flush.row or row,
            database.published,
            with_ids(database.flushed, flush.log),
            conflicts,
            database.epochs,
        )
        if not self.guards.noted_after_publish and flush.row is not None:
            after = after._replace(published=flush.row.version)
        broken = state.broken or self._wrong(value, database, flush, after)
        named = flush.row is not None and flush.row.write_id == fresh_id
        state = self._go(state._replace(database=after, broken=broken), number, "flush", names=call.names + named)
        if flush.row is not None and (self._kind(thread) != "behind" or self.guards.flusher_distrusts):
            state = self._distrusts(state, thread, flush.row)
        return flush, state

    # A process' own writes

    def _has_copies(self, state: State, thread: Thread, value: Value | None = None) -> bool:
        """Whether it has writes that the database may lack; those in ``value`` are about to be flushed with that."""
        return self.guards.own_copies_first and bool(self._lacking(state, thread, value))

    @staticmethod
    def _lacking(state: State, thread: Thread, value: Value | None) -> list[Value]:
        ids = () if value is None else value.ids
        return [each for each in state.processes[thread.process].copies if not contains(ids, each.ids[-1])]

    def _own_first(self, state: State, number: int, thread: Thread, value: Value | None = None) -> Iterator[Step]:
        """``OwnWrites.flush``: one of them, in a transaction of its own; nothing is published."""
        own = self._lacking(state, thread, value)[0]
        flush, state = self._flushed(state, number, thread, own)
        state = self._go(self._without_copies(state, thread, own), number, thread.at)
        yield f"brings its own {shown(own)} first: {flush.result}", state

    def _without_copies(self, state: State, thread: Thread, value: Value) -> State:
        """The database has accounted for a value, and so for what that contains."""
        copies = state.processes[thread.process].copies
        left = tuple(each for each in copies if not contains(value.ids, each.ids[-1]))
        return self._know(state, thread, copies=left) if len(left) < len(copies) else state

    def _at_copy(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """The flusher of a process: one own write, and its publish over the server that it was written to."""
        process = state.processes[thread.process]
        if process.cut or not process.copies:
            yield "has nothing to flush", self._end(state, number)
            return
        value = process.copies[0]
        there = make_opened(value.identity, value)
        taken = self._go(state, number, "flush", there=there, opened=there, then="picked")
        yield from self._run(taken, number)

    def _wrong(self, value: Value, before: Database, flush: Flush, after: Database) -> str:
        """What a flush breaks, whoever looks."""
        row, last = before.row, value.ids[-1]
        known = dict(before.flushed).get(token_of(last))
        if flush.row is not None:
            if known is not None and known.number >= number_of(last):
                return "a write is applied twice"
            if row is not None and flush.row.version <= row.version:
                return "the version does not grow"
            if flush.result in {Result.APPLIED, Result.PARTLY} and flush.row.version != value.version:
                return f"callers saw version {value.version}, which has become {flush.row.version}"
        alive = row is not None and row.body is not None
        if flush.conflict and self.no_conflicts:
            return "a conflict, although all of them write behind"
        if flush.conflict and self.no_false_conflicts and alive and not mask(value.body) & ~mask(row.body):
            return "a conflict, although all of it is in the row"
        if self.guards == ALL_ON:
            again = flushing.decide(value, after.row, dict(after.flushed), BODIES, "again-1")
            if again.row is not None or again.conflict:
                return "a flush that is repeated changes something"
        return ""

    def _distrusts(self, state: State, thread: Thread, row: Row) -> State:
        """``Lease.note_unpublished``."""
        known = state.processes[thread.process].unpublished
        if not self.guards.own_distrust:
            return state
        if known is not None and known.version > row.version:
            return state
        return self._know(state, thread, unpublished=Distrust(row.version, row.write_id))

    # What comes then

    def _settled(self, state: State, number: int) -> State:
        """The database has accounted for it, or it cannot be settled."""
        thread = state.threads[number]
        call, kind = thread.call, self._kind(thread)
        if call.then == "bring":
            return self._go_on_publishing(state, number)
        flushed = call.flushed
        if flushed is not None and flushed.row is None:
            then = "row" if call.then == "opened" else "end"
            return self._publish(state, number, Row(0, "", None), then=then)  # only the conflict log has it
        if call.then == "picked":
            if flushed is None or flushed.row is None:
                return self._end(state, number)
            return self._publish(state, number, flushed.row, then="end")
        if flushed is not None and flushed.wrote and kind != "delete":
            assert flushed.row is not None
            if kind in {"update", "write", "pay"} and (kind == "update" or call.to_database):
                on_copy = not self.guards.attempted_on_copy
                return self._go(state, number, "commit", seen=flushed.row, from_copy=on_copy)
            again = kind in {"write", "pay"}
            return self._publish(state, number, flushed.row, then="again" if again else "end")
        copy = None if call.there is None or flushed is not None else call.there.standing
        if copy is not None and (kind == "update" or (kind in {"write", "pay"} and call.to_database)):
            return self._go(state, number, "commit", seen=Row(copy.version, "", copy.body), from_copy=True)
        return self._go(state, number, "row")

    def _no_redis(self, state: State, number: int, thread: Thread) -> Iterator[Step]:
        """``RedisUnavailable`` while something is settled."""
        call = state.threads[number].call
        state = self._know(state, thread, lease=False)
        if call.then == "opened":
            yield "goes on without Redis", self._go(state, number, "row", there=None, then="")
        elif call.then == "bring":
            yield "cannot publish", self._not_published(state, number)
        else:
            yield "fails", self._end(state, number)

    # Publisher.flush_seen

    def _at_pick(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        server = self._server(state, thread)
        if not server.pending:
            yield "finds no id", self._end(state, number)
            return
        there = make_opened(None, server.value)
        yield f"looks at {shown(server.value)}", self._go(state, number, "picked", there=there)

    def _at_picked(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """Who the server is, asked after the look; then what the look has found is settled, or forgotten."""
        assert call.there is not None
        value = call.there.value
        there = make_opened(self._server(state, thread).identity, value)
        settles = value is not None and (value.is_dirty or value.is_external)
        at = "settle" if settles else "forget"
        yield "asks who it is", self._go(state, number, at, there=there, opened=there, then="picked")

    def _at_forget(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        assert call.there is not None
        server = forget(self.guards, self._server(state, thread), call.there.value)
        yield "forgets the id", self._end(self._set(state, thread, server), number)
