"""The store's protocol, one session of it, as a model that can be searched exhaustively.

It mirrors the code: a step is one script, one transaction, one look at the clock, or one fault. Between two steps of a
thread anything else may happen. Where the code is

* ``scripts/*.lua``: :func:`publish`, and the branches of ``open``, ``replace``, ``drained`` and ``forget``;
* ``CheckoutStore``: the read, the update, the deletion, the creation, and the replacement of another program's value;
* ``HandOver``: the look for pending rows, the lease, the distrust, the notes, and the hand-over by somebody else;
* ``RedisAlone`` and ``DrainLog``: writing without the database, and the transaction that brings it there;
* ``DatabaseTier._settled``: a COMMIT whose answer is lost, or that arrives late;
* ``Reigns``: the fence of Sentinel.

A body is the tuple of the writes in it, so that a lost write and a write that is in there twice can be seen. Time is
one kind of step, the *tick*: T passes. Every lease and every look that began before it are over, and everything that
was acknowledged before it must be visible to everybody.

What is promised is looked at in every state (:meth:`Model.judge`): no durable write is lost or is there twice, a
deleted session stays deleted, a trusted read is as new as it must be, a write that Redis alone acknowledged is in Redis
(and ``checkout:pending`` knows of it), in the database or in the conflict log; and when everybody has finished, a few
reads in peace end with a copy that can be trusted.

Not modelled: sliding expiry and its notes; the ends of sessions by age; purges; counters; the index; the memory tier
(it drains by the same transaction); the breaker, and Redis out of reach for *open* (the same as a publish that fails);
the deletion of a session that only another program wrote; Cluster; a failover of the database; more than one session;
and a foreign program that writes back, unchanged, the very bytes that it read earlier, which nobody can tell from ours.
A marker that ends after its 10 s, an expired key and a deleted one are all the same step: *evict*. A hand-over does not
wait for the grace. What is found holds within the bounds of ``scenarios.py``, and is no proof beyond them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

Body = tuple[str, ...]


@dataclass(frozen=True)
class Protocol:
    """The mechanisms; each can be switched off, to see what it is for."""

    version_check: bool = True
    """The database replaces only the version that was seen."""
    stamp: bool = True
    """A copy is trusted, and built upon, only under the identity of the server that it was published to."""
    stamp_of_first_step: bool = True
    """That identity is taken before the database is asked, not when the copy is sent."""
    lease: bool = True
    """Trust ends T after the last look for pending rows."""
    lease_from_start: bool = True
    """T counts from the start of that look, not from its end."""
    look_before_open: bool = True
    """The look comes before the value is read."""
    judged_from_before: bool = True
    """A read trusts by the lease, and the distrust, of the moment before it asked Redis; not only by what other threads
    have made of them since."""
    newer_stays: bool = True
    """A publish replaces only what is older."""
    publish_never_creates: bool = True
    """A publish finds the key missing and leaves it missing, unless it holds the marker."""
    restamps: bool = True
    """A publish replaces the same version under another stamp."""
    marker: bool = True
    """Who finds the key missing marks it, and fills it only if the marker is still there."""
    own_distrust: bool = True
    """After a write, a process distrusts the copy until a publish has succeeded."""
    tombstone: bool = True
    """A deleted session keeps its row."""
    drain_log: bool = True
    """A write that was drained is not drained again."""
    drain_takes_out: bool = True
    """A drained value is removed, not replaced by what the database has now."""
    undrained_stays: bool = True
    """A publish never replaces a value that the database lacks writes of."""
    own_row_follows_base: bool = True
    """A chain of writes takes a row for its own by the write id only if that row directly follows what it grew from."""
    same_base: bool = True
    """A write that goes to Redis alone is not moved onto a version that others have published meanwhile."""
    write_id: bool = True
    """A lost answer to COMMIT is settled by the write id in the row, not by trying again."""
    forget_looks_again: bool = True
    """An id is taken out of ``checkout:pending`` only if nothing undrained lies there at that very moment."""
    fence: bool = True
    """Behind Sentinel, only the latest registered primary is trusted, and only its publishes are noted."""
    notes_of_this_reign: bool = True
    """A publish to an earlier primary is never noted under a later one, whichever thread looked meanwhile."""


# What is in Redis, in the database, and in a process


class Copy(NamedTuple):
    """A session as the store wrote it."""

    version: int
    stamp: int
    body: Body
    undrained: Body = ()
    intact: bool = True


class Foreign(NamedTuple):
    """A session as another program wrote it."""

    body: Body


class Marker(NamedTuple):
    """The right to fill the key."""

    token: str


Value = Copy | Foreign | Marker | None


class Server(NamedTuple):
    """One Redis: who it is, the session's key, whether ``checkout:pending`` has the id, and what was saved of both."""

    identity: int
    value: Value = None
    pending: bool = False
    saved: tuple[Value, bool] = (None, False)


class Row(NamedTuple):
    """The session's row; a tombstone has no body."""

    version: int
    body: Body | None
    write: str = ""
    published: int = 0


class Database(NamedTuple):
    """The row, the drain log (write and the version that it became), the writes in the conflict log, the reigns."""

    row: Row | None
    drained: tuple[tuple[str, int], ...] = ()
    conflicts: Body = ()
    reigns: tuple[int, ...] = ()


class Process(NamedTuple):
    """What the threads of one process share; versions are 0 where there is none."""

    lease: bool = False
    listed: int = 0
    unpublished: int = 0
    noted: int = 0
    reign: int = 0
    own: int = 0
    cut: bool = False
    server: int = 0


class Call(NamedTuple):
    """What one running call has in its hands."""

    floor: int = 0
    lease: bool = False
    look: bool = False
    identity: int = 0
    value: Value = None
    token: str = ""
    seen: int = 0
    seen_body: Body | None = None
    new: int = 0
    new_body: Body | None = None
    wrote: int = 0
    tries: int = 0
    superseding: bool = False


class Thread(NamedTuple):
    """A program that is run call by call: the first of ``program`` is under way, at step ``at``."""

    process: int
    program: tuple[str, ...]
    at: str = "begin"
    call: Call = Call()


class State(NamedTuple):
    """Everything. The last fields are what was promised, and what may still go wrong."""

    servers: tuple[Server, ...]
    database: Database
    processes: tuple[Process, ...]
    threads: tuple[Thread, ...]
    faults: tuple[str, ...] = ()
    late: tuple[Any, ...] = ()
    durable: Body = ()
    in_redis: Body = ()
    deleted: bool = False
    published: int = 0
    acknowledged: int = 0
    overdue: int = 0
    broken: str = ""


Step = tuple[str, State]


def publish(protocol: Protocol, value: Value, new: Copy, token: str, *, dead: bool, missing: bool) -> Value:
    """``publish.lua``: what lies at the key afterwards. ``missing`` says that *open* had found nothing."""
    put = None if dead else new
    if value is None:
        return put if not protocol.publish_never_creates or (not protocol.marker and missing) else None
    if not protocol.newer_stays and not isinstance(value, Marker):
        return put
    if isinstance(value, Marker):
        return put if value.token == token else None
    if isinstance(value, Foreign):
        return None
    if value.undrained and protocol.undrained_stays:
        return value
    if value.version < new.version:
        return put
    if value.version == new.version and value.stamp != new.stamp and protocol.restamps:
        return put
    return value


class Model:
    """The steps of one protocol.

    ``sentinel`` means two primaries: an acknowledged publish to the old one is seen by others within T, not at once.
    """

    def __init__(self, protocol: Protocol, *, sentinel: bool = False) -> None:
        self.protocol = protocol
        self.sentinel = sentinel
        self._rests: dict[Any, str | None] = {}
        self._run_at = {name[4:]: getattr(self, name) for name in dir(self) if name.startswith("_at_")}

    # What may happen next

    def steps(self, state: State) -> Iterator[Step]:
        """Everything that may happen next; each with its name."""
        for number, thread in enumerate(state.threads):
            if thread.program:
                run = self._run_at[thread.at]
                for name, following in run(state, number, thread, thread.call):
                    yield f"{thread.process}{'abcd'[number]} {name}", following
        yield from self._faults(state)

    def judge(self, state: State) -> str | None:
        """Which promise a state breaks, if any."""
        return state.broken or self._lost(state) or self._unrest(state)

    def _lost(self, state: State) -> str | None:
        row, conflicts = state.database.row, state.database.conflicts
        body = row.body if row else None
        if state.deleted and body is not None:
            return "a deleted session is back"
        if body is not None:
            if len(set(body)) != len(body):
                return "a write was applied twice"
            if any(write not in body for write in state.durable):
                return "a durable write is lost"
        for write in state.in_redis:
            if write in conflicts or (body is not None and write in body):
                continue
            if row is not None and body is None and self._in_database(state, write):
                continue  # it was there when the session was deleted
            if not any(isinstance(server.value, Copy) and write in server.value.body for server in state.servers):
                return "a write that Redis acknowledged is lost although Redis kept its data"
        for server in state.servers:
            if isinstance(server.value, Copy) and server.value.undrained and not server.pending:
                return "an undrained value that nobody knows of"
        return None

    def _unrest(self, state: State) -> str | None:
        """When everybody has finished, a few reads in peace must end with a copy that can be trusted."""
        if any(thread.program for thread in state.threads):
            return None
        home = len(state.servers) - 1
        key = (state.servers, state.database, home)
        if key not in self._rests:
            self._rests[key] = self._reads_in_peace(state, home)
        return self._rests[key]

    def _reads_in_peace(self, state: State, home: int) -> str | None:
        reader = Thread(0, ("read",) * 4)
        state = state._replace(processes=(Process(server=home),), threads=(reader,), faults=(), late=())
        while state.threads[0].program:
            following = list(self.steps(state))
            assert len(following) == 1  # one thread and no fault: nothing is left to chance
            state = following[0][1]
            if state.broken or self._lost(state):
                return state.broken or self._lost(state)
        row, server = state.database.row, state.servers[home]
        if row is None or row.body is None:
            return None
        good = Copy(row.version, server.identity, row.body)
        return None if server.value == good and self._distrusts(state.processes[0]) is False else "it never settles"

    # Small tools

    def _go(self, state: State, number: int, at: str, **call: Any) -> State:
        process, program, _, held = state.threads[number]
        thread = Thread(process, program, at, held._replace(**call) if call else held)
        return state._replace(threads=_put(state.threads, number, thread))

    def _end(self, state: State, number: int) -> State:
        thread = state.threads[number]
        done = Thread(thread.process, thread.program[1:])
        return state._replace(threads=_put(state.threads, number, done))

    def _server(self, state: State, thread: Thread) -> Server:
        return state.servers[state.processes[thread.process].server]

    def _set(self, state: State, thread: Thread, **fields: Any) -> State:
        at = state.processes[thread.process].server
        return state._replace(servers=_put(state.servers, at, state.servers[at]._replace(**fields)))

    def _know(self, state: State, thread: Thread, **fields: Any) -> State:
        process = state.processes[thread.process]._replace(**fields)
        return state._replace(processes=_put(state.processes, thread.process, process))

    def _cut(self, state: State, thread: Thread) -> bool:
        return state.processes[thread.process].cut

    def _distrusts(self, process: Process) -> bool:
        return bool(process.listed or (process.unpublished and self.protocol.own_distrust))

    def _standing(self, call: Call) -> Copy | None:
        copy = call.value
        if not isinstance(copy, Copy) or not copy.intact:
            return None
        return copy if copy.stamp == call.identity or not self.protocol.stamp else None

    # CheckoutStore.get, HandOver.renew

    def _at_begin(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        kind = thread.program[0].split()[0]
        process = state.processes[thread.process]
        if kind == "handover":
            yield from self._identify(state, number, thread)
            return
        if kind == "drain":
            yield from self._look_at_pending(state, number, thread)
            return
        fenced = self.sentinel and self.protocol.fence
        if kind != "read" and not fenced:
            yield from self._at_open(state, number, thread, call)
            return
        floor = max(process.own, 0 if self.sentinel else state.published)
        looks_later = kind == "read" and not self.protocol.look_before_open
        if looks_later or process.lease or process.cut or not self.protocol.lease:
            yield from self._at_open(self._go(state, number, "open", floor=floor), number, thread, call)
        else:
            yield "begins to look", self._go(state, number, "write_down", floor=floor, look=True)

    def _at_write_down(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        process = state.processes[thread.process]
        fenced = self.sentinel and self.protocol.fence
        following = "register" if fenced else "pending"
        if not process.noted:
            yield from self._run_at[following](state, number, thread, call)
        elif process.cut:
            yield "finds no database", self._go(state, number, "open")
        else:
            yield f"marks {process.noted}", self._go(self._marked(state, thread), number, following)

    def _marked(self, state: State, thread: Thread) -> State:
        process, database = state.processes[thread.process], state.database
        row = database.row
        state = self._know(state, thread, noted=0)
        fenced = self.sentinel and self.protocol.fence and (process.reign or self.protocol.notes_of_this_reign)
        if row is None or (fenced and process.reign != (database.reigns or (0,))[-1]):
            return state
        row = row._replace(published=max(row.published, process.noted))
        return state._replace(database=database._replace(row=row))

    def _at_register(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        if self._cut(state, thread):
            yield "finds no database", self._go(state, number, "open")
            return
        identity, database = self._server(state, thread).identity, state.database
        reign = identity
        if identity not in database.reigns:
            database = database._replace(reigns=(*database.reigns, identity))
        elif database.reigns[-1] != identity:
            reign = 0
        process = state.processes[thread.process]
        noted = process.noted if reign == process.reign or not self.protocol.notes_of_this_reign else 0
        state = self._know(state._replace(database=database), thread, reign=reign, noted=noted)
        yield f"finds reign {reign}", self._go(state, number, "pending")

    def _at_pending(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        if self._cut(state, thread):
            yield "finds no database", self._go(state, number, "open")
            return
        row = state.database.row
        listed = row.version if row and row.published < row.version else 0
        state = self._know(state, thread, listed=listed)
        yield f"finds pending {listed}", self._go(state, number, "looked")

    def _at_looked(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        valid = call.look or not self.protocol.lease_from_start
        following = "open" if self.protocol.look_before_open else "judge"
        state = self._go(self._know(state, thread, lease=valid), number, following, look=False)
        yield "has looked", state

    # RedisTier.open and the scripts of claims

    def _at_open(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """A plain GETEX; what this process may trust is noted before it."""
        server, process = self._server(state, thread), state.processes[thread.process]
        lease = (process.lease or not self.protocol.lease) and not self._distrusts(process)
        missing = server.value is None or isinstance(server.value, Marker)
        found: dict[str, Any] = {"value": None if missing else server.value, "identity": server.identity, "token": ""}
        state = self._go(state, number, "claim" if missing else "judge", **found, lease=lease, look=False)
        yield "finds nothing" if missing else f"reads {_named(server.value)}", state

    def _at_claim(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        server = self._server(state, thread)
        identity = server.identity
        following = "row" if call.superseding else "judge"
        if server.value is None and self.protocol.marker:
            token = f"{number}.{len(thread.program)}.{call.tries}"
            state = self._set(state, thread, value=Marker(token))
            yield "claims", self._go(state, number, following, token=token, identity=identity, value=None)
        elif server.value is None or isinstance(server.value, Marker):
            yield "claims nothing", self._go(state, number, following, identity=identity, value=None, token="")
        else:
            state = self._go(state, number, following, identity=identity, value=server.value, token="")
            yield f"reads {_named(server.value)}", state

    def _at_judge(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """The reply has arrived: drain, trust, or ask the database."""
        kind, process = thread.program[0].split()[0], state.processes[thread.process]
        if isinstance(call.value, Copy) and call.value.undrained and not process.cut and call.tries == 0:
            yield from self._at_drain(state, number, thread, call)
        elif kind == "read":
            late_look = not self.protocol.look_before_open and not process.lease and not process.cut
            if late_look and not call.look and self.protocol.lease:
                yield "begins to look", self._go(state, number, "write_down", look=True)
                return
            copy = self._standing(call)
            if copy is not None and not copy.undrained and self._trusts(process, call, copy):
                needed = max(call.floor, state.overdue)
                state = self._end(state, number)
                old = f"a trusted read of {copy.version}, acknowledged was {needed}"
                yield f"trusts {copy.version}", state._replace(broken="" if copy.version >= needed else old)
            elif process.cut or (isinstance(call.value, Copy) and call.value.undrained):
                yield "answers unverified", self._end(state, number)
            else:
                yield from self._at_row(state, number, thread, call)
        elif kind == "delete":
            yield from self._at_row(state, number, thread, call)
        elif kind == "create":
            if call.value is not None:
                yield "finds the id taken", self._end(state, number)
            else:
                prepared = self._go(state, number, "write", seen=0, seen_body=())
                yield from self._at_write(prepared, number, thread, prepared.threads[number].call)
        else:
            copy = self._standing(call)
            if copy is not None and not copy.undrained:
                prepared = self._go(state, number, "write", seen=copy.version, seen_body=copy.body)
                yield from self._at_write(prepared, number, thread, prepared.threads[number].call)
            else:
                yield from self._at_row(state, number, thread, call)

    def _trusts(self, process: Process, call: Call, copy: Copy) -> bool:
        if self.sentinel and self.protocol.fence and copy.stamp != process.reign:
            return False
        now = (process.lease or not self.protocol.lease) and not self._distrusts(process)
        if not self.protocol.judged_from_before or not self.protocol.look_before_open:
            return now
        return now and call.lease

    # The database

    def _at_row(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """Read the row; publish it, or write upon it."""
        kind, row = thread.program[0].split()[0], state.database.row
        if self._cut(state, thread):
            if call.superseding or kind in {"handover", "delete"}:
                yield "finds no database", self._unpublished(state, number, thread)
            elif kind == "read":
                yield "answers unverified", self._end(state, number)
            else:
                yield from self._alone(state, number, thread, call)
        elif row is None:
            if kind == "update" and isinstance(call.value, Foreign) and not call.superseding:
                yield "adopts", self._go(state, number, "write", seen=0, seen_body=call.value.body)
            elif call.superseding:
                yield "finds no row", self._acknowledge(state, number, thread, published=True)
            else:
                yield "finds no row", self._go(state, number, "release")
        elif call.superseding or kind in {"read", "handover"} or row.body is None:
            name = f"finds row {row.version}"
            yield name, self._go(state, number, "publish", new=row.version, new_body=row.body)
        else:
            yield f"finds row {row.version}", self._go(state, number, "write", seen=row.version, seen_body=row.body)

    def _at_release(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        value = self._server(state, thread).value
        if isinstance(value, Marker) and value.token == call.token:
            state = self._set(state, thread, value=None)
        yield "gives up", self._end(state, number)

    def _at_write(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """The commit: its answer arrives, or is lost, or the commit itself comes late."""
        if self._cut(state, thread):
            if thread.program[0].startswith("delete"):
                yield "finds no database", self._end(state, number)
            else:
                yield from self._alone(state, number, thread, call)
            return
        kind, write = thread.program[0].split()
        new, body = call.seen + 1, None if kind == "delete" else (*(call.seen_body or ()), write)
        process = state.processes[thread.process]
        noted = self._know(state, thread, unpublished=max(process.unpublished, new))
        committed = self._committed(noted, call.seen, new, body, write)
        if committed is None:
            yield "is refused", self._go(noted, number, "release" if kind == "create" else "row")
            return
        committed = self._go(committed, number, "publish", new=new, new_body=body, wrote=new)
        yield f"commits {new}", committed
        if "lost commit" in state.faults:
            lost = self._go(committed._replace(faults=_without(state.faults, "lost commit")), number, "settle")
            yield f"commits {new}, unheard", lost
        if "late commit" in state.faults:
            late = (*state.late, ("commit", call.seen, new, body, write))
            waiting = noted._replace(faults=_without(state.faults, "late commit"), late=late)
            yield "hears nothing", self._go(waiting, number, "settle", new=new, new_body=body, wrote=new)

    def _committed(self, state: State, seen: int, new: int, body: Body | None, write: str) -> State | None:
        row = state.database.row
        if seen == 0:
            if row is not None:
                return None
        elif row is None or row.body is None or (row.version != seen and self.protocol.version_check):
            return None
        published = row.published if row else 0
        following = Row(new, body, write, published) if body is not None or self.protocol.tombstone else None
        return state._replace(database=state.database._replace(row=following))

    def _at_settle(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """``DatabaseTier._settled``: does the row have our write id?"""
        kind, write = thread.program[0].split()
        row = state.database.row
        if not self.protocol.write_id and not self._cut(state, thread):
            yield "tries again", self._go(state, number, "row", new=0, new_body=None, wrote=0)
        elif not self._cut(state, thread) and row is not None and row.write == write:
            yield "finds its write", self._go(state, number, "publish")
        elif kind == "delete":
            yield "does not know", self._end(state, number)
        else:
            yield from self._alone(state, number, thread, call)

    # Publishing

    def _at_publish(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """Over the very server that answered *open*, or it has failed."""
        server, process = self._server(state, thread), state.processes[thread.process]
        at_send = not self.protocol.stamp_of_first_step
        fenced_off = self.sentinel and self.protocol.fence and call.identity != process.reign
        if (server.identity != call.identity and not at_send) or fenced_off:
            yield "cannot publish", self._unpublished(state, number, thread)
            return
        foreign = isinstance(call.value, Foreign) or (isinstance(call.value, Copy) and not call.value.intact)
        if foreign and not call.superseding:
            yield "discards", self._discarded(state, number, thread, call)
            return
        copy = Copy(call.new, server.identity if at_send else call.identity, call.new_body or ())
        script = (copy, call.token, call.new_body is None, call.value is None)
        value = self._run(server.value, script)
        done = self._set(state, thread, value=value)
        cleared = isinstance(server.value, Foreign) or (
            isinstance(server.value, Marker) and server.value.token != call.token
        )
        if call.superseding and cleared and call.tries < 3:
            yield "clears", self._go(done, number, "claim", tries=call.tries + 1)
        else:
            yield f"publishes {call.new}", self._go(done, number, "note")
        if "late" in state.faults:
            late = (*state.late, ("publish", process.server, server.identity, *script))
            waiting = state._replace(faults=_without(state.faults, "late"), late=late)
            yield f"loses sight of publish {call.new}", self._unpublished(waiting, number, thread)

    def _run(self, value: Value, script: Any) -> Value:
        copy, token, dead, missing = script
        return publish(self.protocol, value, copy, token, dead=dead, missing=missing)

    def _discarded(self, state: State, number: int, thread: Thread, call: Call) -> State:
        """``Publisher._supersede``: discard exactly that value, claim, read the row again, publish."""
        if self._server(state, thread).value == call.value:
            state = self._set(state, thread, value=None)
        if call.new_body is None:
            return self._go(state, number, "publish", superseding=True)
        return self._go(state, number, "claim", superseding=True, tries=1)

    def _at_note(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """``HandOver.note_published``, and the acknowledgement."""
        process = state.processes[thread.process]
        listed = 0 if process.listed <= call.new else process.listed
        unpublished = 0 if process.unpublished <= call.new else process.unpublished
        noted = max(process.noted, call.new)
        fenced = self.sentinel and self.protocol.fence and self.protocol.notes_of_this_reign
        if fenced and call.identity != process.reign:
            yield "is fenced off", self._unpublished(state, number, thread)
            return
        state = self._know(state, thread, listed=listed, unpublished=unpublished, noted=noted)
        yield f"notes {call.new}", self._acknowledge(state, number, thread, published=True)

    def _unpublished(self, state: State, number: int, thread: Thread) -> State:
        state = self._know(state, thread, lease=False)
        return self._acknowledge(state, number, thread, published=False)

    def _acknowledge(self, state: State, number: int, thread: Thread, *, published: bool) -> State:
        """Promise what an acknowledgement with durability ``database`` promises; other calls only end."""
        kind, _, write = thread.program[0].partition(" ")  # a read writes nothing
        wrote, process = thread.call.wrote, state.processes[thread.process]
        state = self._end(state, number)
        if not wrote:
            return state
        state = self._know(state, thread, own=max(process.own, wrote))
        return state._replace(
            durable=state.durable if kind == "delete" else _with(state.durable, write),
            deleted=state.deleted or kind == "delete",
            acknowledged=max(state.acknowledged, wrote),
            published=max(state.published, wrote) if published else state.published,
        )

    # RedisAlone and DrainLog

    def _alone(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """The database is away: write over exactly what was opened."""
        kind, write = thread.program[0].split()
        copy = self._standing(call)
        if kind == "create" and call.token:
            value = Copy(0, call.identity, (write,), (write,))
        elif kind == "update" and copy is not None:
            value = copy._replace(body=(*copy.body, write), undrained=(*copy.undrained, write), stamp=call.identity)
        else:
            yield "has nothing to build upon", self._go(state, number, "release")
            return
        server = self._server(state, thread)
        expected = Marker(call.token) if kind == "create" else call.value
        if server.identity != call.identity:
            yield "fails", self._end(state, number)
        elif server.value == expected:
            done = self._set(state, thread, value=value, pending=True)
            done = done._replace(in_redis=_with(state.in_redis, write))
            yield f"writes {_named(value)} to Redis alone", self._end(done, number)
        elif kind == "create":
            yield "fails", self._end(state, number)
        else:
            yield "was outrun", self._go(state, number, "reopen", seen=call.value.version)  # type: ignore[union-attr]

    def _at_reopen(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        server = self._server(state, thread)
        copy = server.value
        call = call._replace(identity=server.identity, value=copy)
        standing = self._standing(call)
        if standing is None or call.tries >= 2 or (standing.version != call.seen and self.protocol.same_base):
            yield "fails", self._end(state, number)
        else:
            fields = {"identity": server.identity, "value": copy, "tries": call.tries + 1}
            yield f"reads {_named(copy)}", self._go(state, number, "alone", **fields)

    def _at_alone(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        yield from self._alone(state, number, thread, call)

    def _look_at_pending(self, state: State, number: int, thread: Thread) -> Iterator[Step]:
        server = self._server(state, thread)
        if not server.pending:
            yield "finds none pending", self._end(state, number)
        elif isinstance(server.value, Copy) and server.value.undrained:
            yield f"looks at {_named(server.value)}", self._go(state, number, "drain", value=server.value)
        else:
            yield f"looks at {_named(server.value)}", self._go(state, number, "forget")

    def _at_forget(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        value = self._server(state, thread).value
        if not (self.protocol.forget_looks_again and isinstance(value, Copy) and value.undrained):
            state = self._set(state, thread, pending=False)
        yield "forgets", self._end(state, number)

    def _at_drain(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """``DrainLog.apply``: one transaction."""
        copy, database = call.value, state.database
        assert isinstance(copy, Copy)
        if self._cut(state, thread):
            yield "finds no database", self._end(state, number)
            return
        log, ids = dict(database.drained), copy.undrained
        row, became = database.row, 0
        if ids[-1] in log:
            if self.protocol.drain_log:
                yield "finds it drained", self._go(state, number, "take_out", new=0)
                return
            state = state._replace(broken="a write was drained twice")
        grown = {copy.version} | {log[write] for write in ids if log.get(write)}
        if grown == {0} and row is None:
            became = 1
            row = Row(1, copy.body, ids[-1])
        elif row is not None and row.body is not None:
            ours = row.write in ids and (row.version - 1 in grown or not self.protocol.own_row_follows_base)
            if row.version in grown or ours:
                became = row.version + 1
                row = Row(became, copy.body, ids[-1], row.published)
        for write in ids:
            log[write] = log.get(write) or became
        conflicts = database.conflicts if became else tuple(sorted({*database.conflicts, *copy.body}))
        database = database._replace(row=row, drained=tuple(sorted(log.items())), conflicts=conflicts)
        name = f"drains {_named(copy)} as {became}" if became else f"drains {_named(copy)} as a conflict"
        yield name, self._go(state._replace(database=database), number, "take_out", new=became)

    def _at_take_out(self, state: State, number: int, thread: Thread, call: Call) -> Iterator[Step]:
        """``drained.lua``."""
        server, copy = self._server(state, thread), call.value
        if server.value is None or server.value == copy:
            left: Value = None
            if not self.protocol.drain_takes_out and call.new and isinstance(copy, Copy) and server.value == copy:
                left = Copy(call.new, server.identity, copy.body)
            state = self._set(state, thread, value=left, pending=False)
        if thread.program[0] == "drain":
            yield "takes out", self._end(state, number)
        else:
            yield "takes out", self._go(state, number, "open", tries=1, new=0)

    def _identify(self, state: State, number: int, thread: Thread) -> Iterator[Step]:
        """``HandOver.publish_row`` begins with who the server is."""
        server = self._server(state, thread)
        # It claims nothing: whatever lies there by then is judged by the script.
        state = self._go(state, number, "row", identity=server.identity, value=None, token="")
        yield "begins to hand over", state

    # What goes wrong

    def _faults(self, state: State) -> Iterator[Step]:
        for fault in dict.fromkeys(state.faults):
            run = getattr(self, f"_fault_{fault.split()[0]}", None)
            if run is not None:
                yield from run(state._replace(faults=_without(state.faults, fault)))
        for position, message in enumerate(state.late):
            arrived = state._replace(late=state.late[:position] + state.late[position + 1 :])
            yield from self._arrives(arrived, message)
        for number, process in enumerate(state.processes):
            if process.cut:
                mended = _put(state.processes, number, process._replace(cut=False))
                yield f"{number} reaches the database again", state._replace(processes=mended)
            if process.server < len(state.servers) - 1:
                moved = _put(state.processes, number, process._replace(server=process.server + 1))
                yield f"{number} moves to the new primary", state._replace(processes=moved)

    def _arrives(self, state: State, message: Any) -> Iterator[Step]:
        if message[0] == "commit":
            committed = self._committed(state, *message[1:])
            if committed is not None:
                yield f"commit {message[2]} arrives", committed
            return
        _, at, identity, *script = message
        server = state.servers[at]
        if server.identity == identity:
            server = server._replace(value=self._run(server.value, script))
            yield f"publish {script[0].version} arrives", state._replace(servers=_put(state.servers, at, server))

    def _fault_tick(self, state: State) -> Iterator[Step]:
        threads = tuple(t._replace(call=t.call._replace(lease=False, look=False)) for t in state.threads)
        processes = tuple(process._replace(lease=False) for process in state.processes)
        yield "T passes", state._replace(threads=threads, processes=processes, overdue=state.acknowledged)

    def _fault_evict(self, state: State) -> Iterator[Step]:
        server = state.servers[0]
        if server.value is not None:
            yield f"evict {_named(server.value)}", self._redis_lost(state, server._replace(value=None))

    def _fault_save(self, state: State) -> Iterator[Step]:
        server = state.servers[0]
        saved = server._replace(saved=(server.value, server.pending))
        yield f"save {_named(server.value)}", state._replace(servers=_put(state.servers, 0, saved))

    def _fault_restart(self, state: State) -> Iterator[Step]:
        """Only connections that are new reach it, so that nothing late arrives."""
        server = state.servers[0]
        for value, pending in dict.fromkeys([server.saved, (None, False)]):
            restarted = Server(server.identity + 1, value, pending, server.saved)
            yield f"restart with {_named(value)}", self._redis_lost(state, restarted)

    def _redis_lost(self, state: State, server: Server) -> State:
        """Redis may lose what only Redis has: the promise ends there."""
        kept = server.value.body if isinstance(server.value, Copy) else ()
        in_redis = tuple(write for write in state.in_redis if write in kept or self._in_database(state, write))
        return state._replace(servers=_put(state.servers, 0, server), in_redis=in_redis)

    def _in_database(self, state: State, write: str) -> bool:
        return any(write == drained for drained, _ in state.database.drained)

    def _fault_foreign(self, state: State) -> Iterator[Step]:
        """Another program writes: a session of its own, or ours with a change and the old header."""
        server = state.servers[0]
        yield "foreign SET", self._redis_lost(state, server._replace(value=Foreign(("x",))))
        if isinstance(server.value, Copy):
            edited = server.value._replace(body=(*server.value.body, "x"), intact=False)
            yield "foreign edit", self._redis_lost(state, server._replace(value=edited))

    def _fault_crash(self, state: State) -> Iterator[Step]:
        for number, process in enumerate(state.processes):
            if any(thread.process == number and thread.program for thread in state.threads):
                threads = tuple(Thread(number, ()) if t.process == number else t for t in state.threads)
                fresh = _put(state.processes, number, Process(server=process.server, cut=process.cut))
                yield f"{number} crashes", state._replace(threads=threads, processes=fresh)

    def _fault_cut(self, state: State) -> Iterator[Step]:
        for number, process in enumerate(state.processes):
            cut = _put(state.processes, number, process._replace(cut=True))
            yield f"{number} is cut off from the database", state._replace(processes=cut)

    def _fault_failover(self, state: State) -> Iterator[Step]:
        """A replica is promoted, with what it has by then; the old primary goes on answering whoever is left there."""
        old = state.servers[0]
        for value, pending in dict.fromkeys([(old.value, old.pending), old.saved]):
            promoted = Server(old.identity + 100, value, pending)
            yield f"failover to {_named(value)}", state._replace(servers=(*state.servers, promoted))


def _put(items: tuple[Any, ...], position: int, item: Any) -> tuple[Any, ...]:
    return (*items[:position], item, *items[position + 1 :])


def _with(writes: Body, write: str) -> Body:
    return tuple(sorted({*writes, write}))


def _without(faults: tuple[str, ...], fault: str) -> tuple[str, ...]:
    position = faults.index(fault)
    return faults[:position] + faults[position + 1 :]


def _named(value: Value) -> str:
    if isinstance(value, Copy):
        return f"{value.version}{'+' + ''.join(value.undrained) if value.undrained else ''}"
    return {Foreign: "a foreign value", Marker: "a marker"}.get(type(value), "nothing")
