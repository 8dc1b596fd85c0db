"""How writes are committed and acknowledged: by the database, or by Redis alone.

``CheckoutStore.update``, ``create``, ``delete``, ``restore``; ``DatabaseAdmin``, ``RedisAlone``, ``ExpiryField.move``.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from checkout_cli.store.protocol.ids import contains, first_of
from checkout_cli.store.protocol.row import Row
from checkout_cli.store.protocol.value import Kind, Value
from tests.model.letters import bit, mask, may_follow, renewed, with_write
from tests.model.publish import FRESH
from tests.model.scripts import Replacement
from tests.model.state import Call, State, Step, Thread, digest, make_opened, raw_of, shown, shown_row, without
from tests.model.steps import Steps

OUTRUN = 3
"""How often a write to Redis alone is tried again; ``redis_alone.ATTEMPTS`` is more than any scenario needs."""


class Writing(Steps):
    """The steps of a write, until it is acknowledged or fails."""

    # The database's commit

    def _at_commit(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """Its answer arrives, or is lost, or the commit itself comes late."""
        if self._has_copies(state, thread) and not self._cut(state, thread):
            yield from self._own_first(state, number, thread)
            return
        kind, write = self._kind(thread), self._write(thread)
        following = self._following(state, kind, write, call)
        if following is None:
            yield "is refused the transition", self._give_up(state, number, thread)
            return
        noted = self._go(self._distrusts(state, thread, following), number, "commit", attempted=True)
        if self._cut(state, thread):
            yield from self._no_database(noted, number, noted.threads[number], noted.threads[number].call)
            return
        committed = self._committed(noted, call.seen, following)
        if committed is None:
            yield "is refused", self._refused_by_row(noted, number, thread, kind)
            return
        if kind == "get":
            committed = committed._replace(broken="a session is deleted that nobody has deleted")
        if call.seen is None and following.body is None and call.there is not None and call.there.value is not None:
            # An external session: these very bytes are what is deleted.
            committed = committed._replace(gone=committed.gone | mask(call.there.value.body))
        if kind == "delete":
            committed = self._go(committed, number, "commit", undo=call.seen)
        committed = self._go(committed, number, "commit", wrote=True, seen=following)
        yield f"commits {shown_row(following)}", self._publish_own(committed, number, following)
        if "lost commit" in state.faults:
            lost = committed._replace(faults=without(state.faults, "lost commit"))
            yield f"commits {shown_row(following)}, unheard", self._go(lost, number, "asked")
        if "late commit" in state.faults:
            waiting = noted._replace(
                faults=without(state.faults, "late commit"), late=(*state.late, ("commit", call.seen, following))
            )
            yield "hears nothing", self._go(waiting, number, "asked", wrote=True, seen=following)

    def _following(self, state: State, kind: str, write: str, call: Call) -> Row | None:
        """The row that the commit makes; ``None``: the payment may not go there."""
        seen = call.seen
        if kind in {"delete", "get"}:  # a read deletes only where a missing key is honoured
            return Row(1 if seen is None else seen.version + 1, first_of(write or "d"), None)
        if seen is None:
            return Row(1, first_of(write), with_write(b"", write))
        assert seen.body is not None
        if kind == "restore":
            return Row(seen.version + 2, first_of(write), seen.body)
        if write.isupper() and not may_follow(seen.body, write.encode()):
            return None
        return Row(seen.version + 1, first_of(write), with_write(seen.body, write))

    def _committed(self, state: State, seen: Row | None, following: Row) -> State | None:
        """The transaction; ``None``: the row is not what was seen."""
        database, row = state.database, state.database.row
        if seen is None:
            if row is not None:
                return None
        elif following.version == seen.version + 2:
            if row is None or row.body is not None or row.version != seen.version + 1:
                return None
            threads = tuple(each._replace(call=each.call._replace(dead=False)) for each in state.threads)
            restored = database._replace(row=following)
            return state._replace(database=restored, deleted=False, buried=False, threads=threads)
        elif row is None or row.body is None or (row.version != seen.version and self.guards.version_check):
            return None
        if following.body is None:
            gone = state.gone | (0 if row is None else mask(row.body))
            tombstone = following if self.guards.tombstone_stays else None
            state = state._replace(gone=gone, deleted=True)
            return state._replace(database=database._replace(row=tombstone))
        if row is not None:
            if bit(following.write_id[0]) & mask(row.body):
                state = state._replace(broken="a write is applied twice")
            following = msgspec.structs.replace(following, previous_version=row.version, previous_body=row.body)
        return state._replace(database=database._replace(row=following))

    def _refused_by_row(self, state: State, number: int, thread: Thread, kind: str) -> State:
        if kind in {"create", "start", "get", "restore"}:
            return self._give_up(state, number, thread)
        return self._go(state, number, "row", from_copy=False, attempted=False)

    def _publish_own(self, state: State, number: int, row: Row) -> State:
        if row.body is None and row.version == 1:  # an external session: what was seen of it may go
            there = state.threads[number].call.there
            state = self._go(state, number, "commit", accounted=None if there is None else there.raw)
        return self._publish(state, number, row, then="end")

    def _at_asked(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """``DatabaseAdmin._settled``: does the row have our write id?"""
        row, following = state.database.row, call.seen
        assert following is not None
        if not self.guards.write_id_settles and not self._cut(state, thread):
            yield "tries again", self._go(state, number, "row", wrote=False, seen=None, attempted=False)
        elif not self._cut(state, thread) and row is not None and row.write_id == following.write_id:
            yield "finds its write", self._publish_own(state, number, following)
        else:
            unknown = self._go(state, number, "asked", wrote=False)
            yield from self._no_database(unknown, number, unknown.threads[number], unknown.threads[number].call)

    def _acknowledge(self, state: State, number: int, *, published: bool) -> State:
        """Promise what an acknowledgement with durability ``database`` promises."""
        thread = state.threads[number]
        kind, write = self._kind(thread), self._write(thread)
        state = self._end(state, number, verified=thread.call.there is not None)
        if kind in {"delete", "get"}:
            state = self._know(state, thread, undo=thread.call.undo)
            return state._replace(buried=state.buried or (published and not self.sentinel))
        if kind == "restore":
            return self._know(state, thread, undo=None)
        visible = bit(write) if published and not self.sentinel else 0
        state = state._replace(durable=state.durable | bit(write), visible=state.visible | visible)
        return self._promise(state, thread, write)

    # Redis alone

    def _without_database(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """``WithoutDatabase.update``, and what ``CheckoutStore.update`` decides before it."""
        creates = self._kind(thread) in {"create", "start"}
        if call.opened is None or (call.attempted and not call.from_copy and not creates):
            yield "finds no database, and fails", self._end(state, number)
            return
        yield from self._run(self._go(state, number, "alone", there=call.opened), number)

    def _at_free(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """``CheckoutStore._is_free``: an id that the caller has chosen may be taken, or dead."""
        if self._cut(state, thread):
            yield "finds no database", self._go(state, number, "alone")
        elif state.database.row is None:
            yield "finds the id free", self._go(state, number, "alone")
        else:
            yield "finds the id taken", self._go(state, number, "commit")

    def _at_alone(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """``RedisAlone``: one script, on exactly the bytes that were read."""
        opened = call.there
        assert opened is not None
        new = self._next_value(state, number, thread, call)
        if new is None or opened.identity is None:
            yield "cannot build upon it", self._give_up(state, number, thread)
            return
        blind = call.from_held and not self.guards.held_is_compared
        known = [each.ids[-1] for each in state.processes[thread.process].copies]
        is_new = opened.value is None or not opened.value.ids or opened.value.ids[-1] not in known
        entry = "add" if is_new else "keep"
        script = Replacement(opened.value is None, opened.value, opened.token, new, entry, blind)
        if not self._reaches(state, thread, opened):  # so that nothing was sent
            failed = self._know(state, thread, lease=False, issued=None)
            if self._kind(thread) in {"write", "pay"} and not call.to_database:
                yield "goes to the database", self._go(failed, number, "begin", **FRESH, to_database=True)
            else:
                yield "fails", self._end(failed, number)
            return
        following, reply = self._sent(self._know(state, thread, issued=None), thread, script)
        if reply.done and call.attempted and opened.value is not None and self._has(opened.value, thread):
            following = following._replace(broken="a write is applied twice")
        if reply.done:
            following = self._know(following, thread, issued=new.ids[-1], held=new)
            yield f"writes {shown(new)} to Redis alone", self._written_alone(following, number, new)
        elif self._kind(thread) in {"create", "start"}:
            at = "commit" if self._kind(thread) == "start" and not self._cut(state, thread) else "release"
            yield "cannot fill the key", self._go(following, number, at)
        elif call.from_held:
            yield f"holds what is gone: {shown(reply.there)}", self._reloaded(following, number, reply.there)
        else:
            yield "was outrun", self._go(following, number, "reopen", settles=0)
        if "late" in state.faults:
            kept = state.processes[thread.process].issued if not self.guards.failed_write_ends_token else None
            lost = self._know(self._unheard(state, thread, script), thread, lease=False, issued=kept)
            yield f"hears nothing of {shown(new)}", self._end(lost, number)

    def _reloaded(self, state: State, number: int, there: Value | None) -> State:
        """A held copy was refused: what lies there instead is judged as if it had been read."""
        thread = state.threads[number]
        assert thread.call.opened is not None
        forgotten = self._know(state, thread, held=None)
        if there is None:
            return self._go(forgotten, number, "open", from_held=False)
        opened = make_opened(thread.call.opened.identity, there)
        seen = mask(there.body) if there.is_external else 0
        return self._go(forgotten, number, "judge", from_held=False, opened=opened, there=opened, seen_external=seen)

    def _written_alone(self, state: State, number: int, value: Value) -> State:
        """Redis has it: that is acknowledged, or flushed first."""
        thread = state.threads[number]
        if self._kind(thread) != "pay":
            return self._acknowledge_alone(self._keep(state, thread, value), number, value)
        there = make_opened(value.identity, value)
        return self._go(state, number, "pay", opened=there, there=there, from_held=False)

    def _keep(self, state: State, thread: Thread, value: Value) -> State:
        """``OwnWrites.keep``: instead of what it contains."""
        if not self.guards.keeps_own_copies:
            return state
        copies = state.processes[thread.process].copies if self.guards.own_copies_are_a_list else ()
        left = [each for each in copies if not contains(value.ids, each.ids[-1])]
        return self._know(state, thread, copies=(*left, value))

    def _at_pay(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """The synchronous flush of a write that needs the database: of its own bytes."""
        assert call.there is not None
        value = call.there.value
        assert value is not None
        if self._cut(state, thread):
            yield "finds no database, and may still take effect", self._end(self._keep(state, thread, value), number)
            return
        if self._has_copies(state, thread, value):
            yield from self._own_first(state, number, thread, value)
            return
        lying = self._server(state, thread).value
        if not self.guards.pays_its_own_bytes and lying is not None and lying.is_dirty:
            value = lying
        flush, flushed = self._flushed(state, number, thread, value)
        flushed = self._without_copies(flushed, thread, value)
        row, name = flushed.database.row, f"pays with {shown(value)}: {flush.result}"
        if "lost commit" in state.faults and flush.log:
            lost = flushed._replace(faults=without(state.faults, "lost commit"))
            yield f"{name}, unheard", self._end(self._keep(lost, thread, value), number)
        stands = flush.is_whole or not self.guards.payment_needs_its_change
        if row is None or row.body is None:
            yield name, self._end(flushed, number)
        elif stands or mask(row.body) & bit(self._write(thread)):
            paid = self._go(flushed, number, "pay", accounted=raw_of(value), wrote=True, seen=row)
            yield name, self._publish(paid, number, row, then="end")
        else:
            again = self._go(flushed, number, "row", accounted=raw_of(value), to_database=True, attempted=False)
            yield f"{name}, so once more", self._go(again, number, "row", from_copy=False)

    def _has(self, value: Value, thread: Thread) -> bool:
        """Whether what the write is about to be built on has it already."""
        return bool(mask(value.body) & bit(self._write(thread)))

    def _next_value(self, state: State, number: int, thread: Thread, call: Call) -> Value | None:
        """What the write makes of what lies there; ``None``: it cannot be built upon."""
        opened, write = call.there, self._write(thread)
        assert opened is not None
        value, identity, token = opened.value, opened.identity, write
        if self._kind(thread) in {"create", "start"}:
            if not opened.token or value is not None:
                return None
            return Value(0, identity or b"-", with_write(b"", write), (first_of(write),))
        if value is None or value.kind is Kind.UNREADABLE or identity is None:
            return None
        if write.isupper() and not may_follow(value.body, write.encode()):
            return None
        body = with_write(value.body, write)
        if call.attempted:
            assert call.opened is not None
            first = call.opened.value
            if self.guards.attempted_on_same_base and (first is None or value.is_external or value.base != first.base):
                return None
            other = value.questionable or value.identity != identity
            return Value(value.base, identity, body, (*value.ids, first_of(write)), other)
        issued = state.processes[thread.process].issued
        return self.decisions.written(
            value, body, identity, issued=issued, token=token, digest=digest(value) if value.is_external else ""
        )

    def _acknowledge_alone(self, state: State, number: int, value: Value) -> State:
        """Promise what an acknowledgement with durability ``redis`` promises, where Redis can keep it."""
        thread = state.threads[number]
        write = self._write(thread)
        last = state.processes[thread.process].server == len(state.servers) - 1
        state = self._end(state, number)
        if not last:  # the old primary: what it has is lost
            return state
        visible = 0 if self.sentinel else bit(write)
        state = state._replace(owed=state.owed | bit(write), visible=state.visible | visible)
        return self._promise(state, thread, write)

    def _at_reopen(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """The same write once more, on fresh bytes."""
        server = self._server(state, thread)
        if call.rounds >= OUTRUN:
            yield "gives up", self._end(state, number)
            return
        there = make_opened(server.identity, server.value)
        again = self._go(state, number, "alone", there=there, rounds=call.rounds + 1)
        yield f"reads {shown(server.value)}", again

    # ExpiryField.move

    def _at_touch(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """The same state with another ``expiresAt``: the base and the ids stay."""
        opened = call.opened
        if opened is None or opened.value is None or opened.is_external or not self._reaches(state, thread, opened):
            yield "moves nothing", self._end(state, number)
            return
        moved = msgspec.structs.replace(opened.value, body=renewed(opened.value.body))
        following, reply = self._sent(state, thread, Replacement(False, opened.value, b"", moved))
        yield "moves the end" if reply.done else "was outrun", self._end(following, number)
