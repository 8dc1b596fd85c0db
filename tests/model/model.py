"""The store's protocol, one session of it, as a model that can be searched exhaustively.

A step is one script, one transaction, one look at the clock, or one fault; between two steps of a thread anything else
may happen. What lies in Redis and in the database are the protocol's own ``Value`` and ``Row``, and every decision is
the core's (``checkout_cli/store/protocol``), asked through :class:`~tests.model.guards.Decisions`. What is modelled
here is the I/O around it (``reading.py``, ``settling.py``, ``publish.py``, ``writing.py``), and what is not ours
(``outside.py``).

A body is the letters of the writes in it, so that a lost write can be seen. Time is one kind of step, the *tick*: T
passes. ``promises.py`` says what must hold in every state.

Not modelled: the ends of sessions by age; purges; counters; the index; the memory tier (its values are flushed by the
same decision); the breaker; wrong types; Cluster (``test_two_slots.py``); a failover of the database; more than one
session. A claim that ends after its 10 s, an expired key and a deleted one are all the same step: *evict*. A hand-over
does not wait for the grace. What is found holds within the bounds of ``scenarios.py``, and is no proof beyond them.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.outside import Faults, Outside
from tests.model.promises import Promises
from tests.model.publish import Publishing
from tests.model.reading import Reading
from tests.model.settling import Settling
from tests.model.state import State, Step
from tests.model.writing import Writing


class Model(Reading, Settling, Publishing, Writing, Outside, Faults, Promises):
    """The steps of one protocol, and what it promises."""

    def steps(self, state: State) -> Iterator[Step]:
        """Everything that may happen next; each with its name."""
        for number, thread in enumerate(state.threads):
            if thread.program:
                at = "outside" if thread.at == "begin" and self.is_outside(thread) else thread.at
                for name, following in self.run_at[at](state, number, thread, thread.call):
                    yield f"{thread.process}{'abcde'[number]} {name}", following
        yield from self.faults(state)
