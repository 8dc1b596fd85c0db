"""How a row gets into Redis: ``RedisTier.publish``, ``Publisher.bring`` and what it notes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from checkout_cli.store.protocol.publishing import Move, Outcome, Publication
from checkout_cli.store.protocol.row import Row
from tests.model.scripts import Replacement
from tests.model.state import Call, State, Step, Thread, clean, found, make_opened, shown, shown_row
from tests.model.steps import Steps

ATTEMPTS = 3
"""As ``publisher.ATTEMPTS``."""


class Publishing(Steps):
    """The steps from a row to an outcome, and what follows that."""

    def _publish(self, state: State, number: int, row: Row, *, then: str) -> State:
        """Begin to publish; ``then``: the call ends, begins again, or reads the row."""
        call = state.threads[number].call
        if call.there is None:
            return self._go(state, number, "unpublished", then=then)
        publication = Publication(row, call.there.identity, call.there.found, call.accounted)
        return self._go(state, number, "publish", publication=publication, then=then, brings=0)

    def _at_unpublished(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """Redis was away when the call began."""
        yield "publishes nothing", self._not_published(state, number)

    def _at_publish(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """One script, over the very server that answered *open*; then what its reply means."""
        publication, there = call.publication, call.there
        assert publication is not None
        assert there is not None
        if self._fenced_off(state, thread, there.identity) or not self._reaches(state, thread, there):
            failed = self._know(state, thread, lease=False)
            yield "cannot publish", self._not_published(failed, number)
            return
        move = self.decisions.next(publication)
        if publication.seen is None and not there.token and not self.guards.looks_again:
            move = Outcome.MISSING
        if isinstance(move, Outcome):  # by a guard that is switched off
            yield f"takes it for {move}", self._outcome(state, number, move)
            return
        script = self._script(state, thread, call, move)
        following, reply = self._sent(state, thread, script)
        name = f"publishes {shown_row(publication.row)}"
        if reply.done:
            yield name, self._outcome(following, number, Outcome.SET)
        elif reply.there is None:
            yield f"{name}: missing", self._outcome(following, number, Outcome.MISSING)
        else:
            yield (
                f"{name}: {shown(reply.there)}",
                self._refused(following, number, publication.refused(found(reply.there))),
            )
        if "late" in state.faults:
            lost = self._know(self._unheard(state, thread, script), thread, lease=False)
            yield f"loses sight of {shown_row(publication.row)}", self._not_published(lost, number)

    def _script(self, state: State, thread: Thread, call: Call, move: Move) -> Replacement:
        """``RedisTier._publishing``."""
        publication, there = call.publication, call.there
        assert publication is not None
        assert there is not None
        row, seen = publication.row, publication.seen
        identity = there.identity if self.guards.bound else self._server(state, thread).identity
        assert identity is not None
        new = None if row.body is None else clean(row, identity)
        if move is Move.SWAP and seen is not None:
            entry = "remove" if seen.value.is_dirty and not seen.value.is_external else "keep"
            return Replacement(False, seen.value, b"", new, entry, blind=not self.guards.publish_compares)
        return Replacement(True, None, there.token if move is Move.FILL else b"", new)

    def _refused(self, state: State, number: int, publication: Publication) -> State:
        """Other bytes lie there: what they are decides what comes next."""
        assert publication.seen is not None
        call = state.threads[number].call
        assert call.there is not None
        there = make_opened(call.there.identity, publication.seen.value)
        state = self._go(state, number, "publish", publication=publication, there=there)
        move = self.decisions.next(publication)
        return self._outcome(state, number, move) if isinstance(move, Outcome) else state

    def _outcome(self, state: State, number: int, outcome: Outcome) -> State:
        """``Publisher._note``, and what ``Publisher.bring`` makes of it."""
        call = state.threads[number].call
        if self.decisions.is_published(outcome):
            return self._note(state, number) if self._alone(state, number) else self._go(state, number, "note")
        if outcome in {Outcome.EXTERNAL, Outcome.DIRTY} and not self._is_a_discard(call):
            fresh: dict[str, Any] = {"settles": 0, "flushed": None, "accounted": None}
            return self._go(state, number, "settle", then="bring", after=call.then, **fresh)
        return self._not_published(state, number)

    @staticmethod
    def _is_a_discard(call: Call) -> bool:
        """``Publisher.discard`` asks once."""
        return call.publication is not None and call.publication.row.version == 0

    def _go_on_publishing(self, state: State, number: int) -> State:
        """``Publisher.bring`` after what was in the way was settled: the row, as it is now."""
        flushed = state.threads[number].call.flushed
        if flushed is None:
            return self._go(state, number, "newer")
        return self._bring_again(state, number, flushed.row)

    def _at_newer(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        if self._cut(state, thread):
            yield from self._no_database(state, number, thread, call)
        else:
            yield f"finds {shown_row(state.database.row)}", self._bring_again(state, number, state.database.row)

    def _bring_again(self, state: State, number: int, row: Row | None) -> State:
        call = state.threads[number].call
        state = self._go(state, number, "publish", then=call.after, after="", brings=call.brings + 1)
        if row is None or call.brings + 1 >= ATTEMPTS:
            return self._not_published(state, number)
        assert call.there is not None
        publication = Publication(row, call.there.identity, call.there.found, call.accounted)
        return self._go(state, number, "publish", publication=publication)

    def _at_note(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """A step of its own where another thread of the process may act between."""
        assert call.publication is not None
        yield f"notes {call.publication.row.version}", self._note(state, number)

    def _note(self, state: State, number: int) -> State:
        """``Lease.note_published``."""
        thread = state.threads[number]
        publication, there, process = thread.call.publication, thread.call.there, state.processes[thread.process]
        assert publication is not None
        assert there is not None
        version = publication.row.version
        fenced_off = self._fenced_off(state, thread, there.identity) and self.guards.notes_of_this_epoch
        if self._is_a_discard(thread.call) or fenced_off:
            return self._published(state, number, ok=True)
        fields: dict[str, Any] = {}
        for name in ("pending", "unpublished"):
            known = getattr(process, name)
            if known is not None and (known.version <= version or not self.guards.older_publish_proves_nothing):
                fields[name] = None
        latest = process.noted[0] if process.noted is not None else 0
        noted = self._know(state, thread, noted=(max(version, latest), process.epoch), **fields)
        return self._published(noted, number, ok=True)

    def _not_published(self, state: State, number: int) -> State:
        return self._published(state, number, ok=False)

    def _published(self, state: State, number: int, *, ok: bool) -> State:
        """What the call does once its row is published, or stays pending."""
        thread = state.threads[number]
        call = thread.call
        if call.wrote:
            return self._acknowledge(state, number, published=ok)
        then = call.after or call.then
        if then == "row":
            return self._go(state, number, "row", then="")
        if then == "again":
            again = ok and call.rounds + 1 < ROUNDS
            return self._go(state, number, "begin", **FRESH, rounds=call.rounds + 1, to_database=not again)
        return self._end(state, number, verified=call.there is not None)


ROUNDS = 3
"""As ``checkout_store.REFRESHES``."""
FRESH: dict[str, Any] = {
    "opened": None,
    "there": None,
    "accounted": None,
    "flushed": None,
    "publication": None,
    "then": "",
    "after": "",
}
"""What a call forgets when it begins again."""
