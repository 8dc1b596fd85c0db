"""Everything that there is in the model, as values: two states are the same if nothing tells them apart.

What lies at the session's key is a ``Value`` of the protocol, and its row a ``Row``; their bodies are letters.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from checkout_cli.store.protocol.flushing import Logged
from checkout_cli.store.protocol.publishing import Found, Publication
from checkout_cli.store.protocol.row import Row
from checkout_cli.store.protocol.trust import Distrust
from checkout_cli.store.protocol.value import NO_IDENTITY, Value, digest_of
from checkout_cli.store.redis.opened import Opened
from tests.model.letters import letters, mask


class Server(NamedTuple):
    """One Redis: who it is, the session's key, its fill claim, its entry in ``checkout:pending``, and a snapshot."""

    identity: bytes
    value: Value | None = None
    claim: bytes = b""
    pending: bool = False
    saved: tuple[Value | None, bool] = (None, False)


class Database(NamedTuple):
    """The row and up to which version Redis is known to have it; the flush log; both contents of conflicts; epochs."""

    row: Row | None
    published: int = 0
    flushed: tuple[tuple[str, Logged], ...] = ()
    conflicts: int = 0
    epochs: tuple[bytes, ...] = ()


class Process(NamedTuple):
    """What the threads of one process share. ``epoch`` is the primary that its lease is for; ``own``: its writes."""

    lease: bool = False
    pending: Distrust | None = None
    unpublished: Distrust | None = None
    noted: tuple[int, bytes] | None = None
    epoch: bytes = b""
    issued: str | None = None
    own: int = 0
    undo: Row | None = None
    """What it has deleted, to be restored."""
    copies: tuple[Value, ...] = ()
    """Its own dirty writes, until the database has them."""
    held: Value | None = None
    """What it has just read or written: the next write begins there."""
    cut: bool = False
    server: int = 0


class Flushed(NamedTuple):
    """What a flush has left: the row as it is then, and whether that very flush wrote it."""

    row: Row | None
    wrote: bool


class Call(NamedTuple):
    """What one running call has in its hands."""

    needed: int = 0
    dead: bool = False
    seen_external: int = 0
    look: bool = False
    lease: bool = False
    distrusted: tuple[Distrust, ...] = ()
    own: tuple[str, ...] = ()
    """What its process had written, and the database did not have, before Redis was asked."""
    opened: Opened | None = None
    """What the operation began with; ``None``: Redis is away."""
    there: Opened | None = None
    """What lies there since, as far as is known."""
    accounted: bytes | None = None
    flushed: Flushed | None = None
    seen: Row | None = None
    """The row that a write begins from."""
    from_copy: bool = False
    attempted: bool = False
    undo: Row | None = None
    wrote: bool = False
    publication: Publication | None = None
    then: str = ""
    """What comes once what lies there is settled, or published."""
    after: str = ""
    """What comes once a publish has gone on, after something in its way was settled."""
    settles: int = 0
    brings: int = 0
    rounds: int = 0
    names: int = 0
    """How many names of this call are in use: each is given once."""
    from_held: bool = False
    """What the write begins from was not read by it, but held since an earlier call."""
    to_database: bool = False
    """A write that may be acknowledged by Redis alone goes to the database after all."""


class Thread(NamedTuple):
    """A program that is run call by call: the first of ``program`` is under way, at step ``at``."""

    process: int
    program: tuple[str, ...]
    at: str = "begin"
    call: Call = Call()


class State(NamedTuple):
    """Everything. The last fields are what was promised: masks of writes, and what is broken already."""

    servers: tuple[Server, ...]
    database: Database
    processes: tuple[Process, ...]
    threads: tuple[Thread, ...]
    faults: tuple[str, ...] = ()
    late: tuple[Any, ...] = ()
    durable: int = 0
    """Acknowledged by the database."""
    owed: int = 0
    """Acknowledged by Redis alone, or written by an external program: to be kept as long as Redis keeps them."""
    gone: int = 0
    """Lost with Redis, overwritten by an external program, or deleted with their session."""
    visible: int = 0
    """What each trusted read has to show that begins now."""
    deleted: bool = False
    buried: bool = False
    """No trusted read that begins now may show the session."""
    broken: str = ""


Step = tuple[str, State]


def make_opened(identity: bytes | None, value: Value | None, token: bytes = b"") -> Opened:
    """What *open* returns."""
    return Opened(None if value is None else raw_of(value), identity, token, None, value)


def found(value: Value) -> Found:
    """The bytes at the key and what they are, for the protocol."""
    return Found(raw_of(value), value)


@cache
def raw_of(value: Value) -> bytes:
    """Stands for the exact bytes of a value: no two values have the same."""
    ids, flag = ",".join(value.ids), "?" if value.questionable else "-"
    text = f"{value.kind} {value.base} {flag} {value.identity.decode()} {ids} "
    return text.encode() + value.body


@cache
def digest(value: Value) -> str:
    """What the exact bytes of an external value are known by; shortened, to be read in traces."""
    return digest_of(raw_of(value))[:4]


def clean(row: Row, identity: bytes) -> Value:
    """A row as it is published."""
    assert row.body is not None
    return Value(row.version, identity or NO_IDENTITY, row.body)


def present(state: State) -> int:
    """The writes that are anywhere: in the row, in the conflict log, in Redis, or kept by their writer."""
    row, everywhere = state.database.row, state.database.conflicts
    for process in state.processes:
        everywhere |= kept(process)
    if row is not None:
        everywhere |= mask(row.body)
    for server in state.servers:
        if server.value is not None:
            everywhere |= mask(server.value.body)
    return everywhere


def kept(process: Process) -> int:
    """The writes that a process keeps a copy of."""
    everything = 0
    for value in process.copies:
        everything |= mask(value.body)
    return everything


def row_mask(state: State) -> int:
    """The writes in the row."""
    row = state.database.row
    return 0 if row is None else mask(row.body)


def put(items: tuple[Any, ...], position: int, item: Any) -> tuple[Any, ...]:
    """The tuple with one item replaced."""
    return (*items[:position], item, *items[position + 1 :])


def without(faults: tuple[str, ...], fault: str) -> tuple[str, ...]:
    """The faults that are left after one has happened."""
    position = faults.index(fault)
    return faults[:position] + faults[position + 1 :]


def with_ids(log: tuple[tuple[str, Logged], ...], entries: tuple[tuple[str, Logged], ...]) -> Any:
    """The flush log with more entries; of each token the highest number stays."""
    merged = dict(log)
    for token, logged in entries:
        if token not in merged or merged[token].number < logged.number:
            merged[token] = logged
    return tuple(sorted(merged.items()))


@cache
def shown(value: Value | None) -> str:
    """A value, for people."""
    if value is None:
        return "nothing"
    ids = f"+{'+'.join(value.ids)}" if value.ids else ""
    kind = f"{value.kind} " if value.is_external else ""
    return f"{kind}{value.base}{ids}{'?' if value.questionable else ''} [{letters(mask(value.body))}]"


@cache
def shown_row(row: Row | None) -> str:
    """A row, for people."""
    if row is None:
        return "no row"
    return f"row {row.version} " + ("deleted" if row.body is None else f"[{letters(mask(row.body))}]")
