"""Where the model is searched: a few processes with something to do, and a few things that go wrong, at any moment.

Each scenario is as small as it can be while still showing what it is for; together they give every fault to every kind
of call. ``update a`` and the like name the write; the same program is one thread's, call after call. Larger ones, which
take minutes, are in ``run_long.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from checkout_cli.store.protocol.row import Row
from checkout_cli.store.protocol.value import NO_IDENTITY, Kind, Value
from tests.model.letters import mask
from tests.model.state import Database, Process, Server, State, Thread

FIRST = b"S1"
"""The server that there is at first."""
PUBLISHED = Value(1, FIRST, b"")
IN_DATABASE = Row(1, "z-1", b"")
DIRTY = Value(1, FIRST, b"w", ("w-1",))
"""Version 1 with a write that only Redis has."""
OVERTAKEN = Row(2, "b-1", b"b", 1, b"")
"""Version 2, which Redis may lack."""
EXTERNAL = Value(0, NO_IDENTITY, b"x", kind=Kind.UNSTAMPED)
"""An external program's session."""


@dataclass(frozen=True)
class Scenario:
    """What is there at first, who does what, and what may go wrong (each fault once for each time it is named)."""

    programs: tuple[tuple[str, ...], ...]
    faults: tuple[str, ...] = ()
    processes: tuple[int, ...] = ()
    """Which process each program runs in; by default each in its own."""
    value: Value | None = PUBLISHED
    row: Row | None = IN_DATABASE
    published: int = 1
    """Up to which version Redis is known to have the row."""
    pending: bool = False
    """``checkout:pending`` has the id although nothing is dirty."""
    sentinel: bool = False
    left_behind: bool = False
    """There was a failover already, everybody else has found it, and process 0 has not."""
    raw: bool = False
    """Bytes of ours are written back as they were: nobody can tell, so that reads are not judged."""
    no_false_conflicts: bool = False
    """Nothing that the row contains may be in the conflict log."""
    no_conflicts: bool = False
    """Nothing at all may be there."""
    no_loss: bool = False
    """Nothing that was acknowledged may be lost, whatever Redis loses: no writer ends."""

    def begin(self) -> State:
        """The first state."""
        belongs = self.processes or tuple(range(len(self.programs)))
        dirty = self.value is not None and self.value.is_dirty
        servers = [Server(FIRST, self.value, b"", self.pending or dirty, (self.value, self.pending or dirty))]
        processes = [Process() for _ in range(max(belongs) + 1)]
        epochs = [FIRST] if self.sentinel else []
        if self.left_behind:
            second = FIRST + b"x"
            servers.append(Server(second, Value(1, second, b"")))
            processes = [Process(lease=True, epoch=FIRST), *(Process(epoch=second, server=1) for _ in processes[1:])]
            epochs.append(second)
        published = 0 if self.row is None else self.published
        durable = 0 if self.row is None else mask(self.row.body)
        return State(
            servers=tuple(servers),
            database=Database(self.row, published, epochs=tuple(epochs)),
            processes=tuple(processes),
            threads=tuple(map(Thread, belongs, self.programs)),
            faults=tuple(sorted(self.faults)),
            durable=durable,
            owed=0 if self.value is None else mask(self.value.body) & ~durable,
            visible=durable if published else 0,
        )


SCENARIOS = {
    # Writers, readers and one fault
    "two writers": Scenario((("update a",), ("update b",), ("get", "get"))),
    "a publish out of sight": Scenario((("update a", "get"), ("update b",), ("get",)), ("late",)),
    "a slow look": Scenario((("update a",), ("get", "get")), ("late", "tick")),
    "a slow reader": Scenario((("update a", "get"), ("get",)), ("tick",)),
    "a late writer and a restart": Scenario((("update a",), ("update b",), ("get", "get")), ("restart",)),
    "a restart between reads": Scenario((("update a",), ("get", "get")), ("restart",)),
    "restored, then cut off": Scenario(
        (("update u",), ("get", "get")), ("cut",), value=Value(1, b"S0", b""), row=OVERTAKEN, published=2
    ),
    "a restart and nothing else": Scenario((("get",),), ("restart",)),
    "an eviction between reads": Scenario((("update a",), ("update b",), ("get", "get")), ("evict",)),
    "two fillers": Scenario((("update a",), ("get", "get"), ("get",)), ("evict",), value=None),
    "Redis out of reach": Scenario((("update a", "get"), ("update b", "get")), ("away", "tick")),
    "a crash": Scenario((("update a",), ("update b",), ("get", "handover")), ("crash", "tick")),
    "handed over by somebody else": Scenario((("update a",), ("handover",), ("get", "get")), ("late", "tick")),
    "outrun by readers": Scenario((("update a",), ("get", "touch", "touch", "touch", "get"))),
    "the end is moved": Scenario((("update a",), ("touch",), ("get",)), ("late",)),
    # Threads of one process
    "two threads": Scenario((("update a", "get"), ("get",)), ("late", "tick"), processes=(0, 0)),
    "two threads and a restart": Scenario((("update a", "get"), ("get", "get")), ("restart", "late"), (0, 0)),
    "two threads beside a writer": Scenario((("get",), ("get",), ("update a",)), ("late", "tick"), (0, 0, 1)),
    "two threads that write": Scenario((("update a", "get"), ("update b",)), ("late", "evict"), (0, 0)),
    # Deleted, created
    "deleted": Scenario((("delete d",), ("update b",), ("get",)), ("late", "tick")),
    "deleted and restored": Scenario((("delete d", "restore r"), ("get",), ("update b",)), ("late",)),
    "deleted while one is cut off": Scenario((("delete d",), ("update b",), ("flush",)), ("cut", "evict")),
    "deleted under an external program": Scenario((("delete d",), ("update b", "get"), ("external x",)), ()),
    "deleted beside a dirty write": Scenario((("delete d",), ("write w",), ("get",)), ("tick",)),
    "created": Scenario((("create c",), ("create k",), ("get",)), ("evict", "late"), value=None, row=None),
    "created without the database": Scenario(
        (("create c",), ("create k",), ("flush",)), ("cut", "late commit"), value=None, row=None
    ),
    "created in Redis": Scenario((("start c", "get"), ("create k",), ("flush",)), ("late",), value=None, row=None),
    # Commits
    "a lost answer to COMMIT": Scenario((("update a",), ("update b",), ("get",)), ("lost commit", "late")),
    "a lost answer, then cut off": Scenario((("update a",), ("update b",), ("flush",)), ("cut", "lost commit")),
    "a late COMMIT": Scenario((("update a",), ("update b",), ("flush",)), ("late commit", "cut")),
    "a late COMMIT beside a dirty write": Scenario((("update a",), ("write w",), ("flush",)), ("late commit",)),
    "a late COMMIT beside a dirty write, without copies": Scenario(
        (("update a",), ("write w",), ("flush",)), ("late commit", "drop", "drop")
    ),
    "a late COMMIT on what was merged": Scenario(
        (("update a",), ("get",)), ("late commit", "tick"), value=DIRTY, row=OVERTAKEN
    ),
    # Redis alone, and write-behind
    "the database out of reach for one": Scenario(
        (("update a",), ("update b",), ("get", "get")), ("cut",), no_false_conflicts=True
    ),
    "written twice to Redis alone": Scenario(
        (("update a", "update c"), ("flush",), ("flush",)), ("cut",), no_false_conflicts=True
    ),
    "two that flush": Scenario((("update a",), ("get",), ("flush",)), ("cut",), no_false_conflicts=True),
    "a snapshot of what was flushed": Scenario(
        (("write w",), ("flush",), ("update b",)), ("save", "restart"), no_false_conflicts=True
    ),
    "a pending id without its value": Scenario((("write w",), ("flush",), ("get",)), pending=True),
    "write-behind": Scenario((("write v", "get"), ("write w",), ("flush",)), ("tick",), no_false_conflicts=True),
    "write-behind beside the database": Scenario(
        (("write w",), ("update a",), ("get", "get")), ("tick",), no_false_conflicts=True
    ),
    "flushed while it is filled": Scenario((("flush",), ("get",), ("get",)), ("evict", "tick"), value=DIRTY),
    "write-behind and an eviction": Scenario(
        (("write w", "get"), ("get",), ("flush",)), ("evict", "tick"), no_false_conflicts=True
    ),
    "write-behind and a restart": Scenario(
        (("write v", "write w"), ("get",)), ("save", "restart"), no_false_conflicts=True
    ),
    "a dirty write out of sight": Scenario((("write v", "write w"), ("flush",)), ("late",)),
    "the end of a dirty value is moved": Scenario((("flush",), ("touch",), ("get",)), value=DIRTY, row=OVERTAKEN),
    "a dirty value is overtaken": Scenario((("get",), ("handover",)), ("tick", "late"), value=DIRTY, row=OVERTAKEN),
    "payments": Scenario((("update P",), ("write C",), ("get",))),
    # The flusher of a process, and its own copies
    "flushed behind": Scenario(
        (("write v", "write w"), ("behind",), ("get", "get")), ("tick",), (0, 0, 1), no_conflicts=True
    ),
    "flushed behind by two threads": Scenario(
        (("write v", "write w"), ("behind",), ("behind",), ("get",)), (), (0, 0, 0, 1), no_conflicts=True
    ),
    "two that write behind": Scenario(
        (("write v", "get"), ("behind",), ("write w", "get"), ("behind",)), (), (0, 0, 1, 1), no_conflicts=True
    ),
    "flushed behind, and an eviction": Scenario(
        (("write w", "get"), ("behind",), ("get",)), ("evict", "tick"), (0, 0, 1), no_conflicts=True, no_loss=True
    ),
    "flushed behind, and a restart": Scenario(
        (("write w", "get"), ("behind",), ("get",)), ("save", "restart"), (0, 0, 1), no_loss=True
    ),
    "flushed behind, and a crash": Scenario((("write w",), ("behind",), ("get",)), ("crash", "evict"), (0, 0, 1)),
    "flushed behind beside the database": Scenario(
        (("write w",), ("behind",), ("update a",), ("get",)), (), (0, 0, 1, 2), no_false_conflicts=True
    ),
    "flushed behind beside a deletion": Scenario(
        (("write w",), ("behind",), ("delete d",), ("get",)), (), (0, 0, 1, 2)
    ),
    "flushed behind, out of sight": Scenario((("write v", "write w"), ("behind",), ("get",)), ("late",), (0, 0, 1)),
    "flushed behind, the COMMIT unheard of": Scenario(
        (("write w", "get"), ("behind", "behind"), ("get",)), ("lost commit",), (0, 0, 1), no_conflicts=True
    ),
    "flushed behind, the database away": Scenario(
        (("write v", "write w"), ("behind",), ("get",)), ("cut", "drop"), (0, 0, 1)
    ),
    "flushed behind an external program": Scenario(
        (("write w", "get"), ("behind",), ("external x",)), (), (0, 0, 1), no_loss=True
    ),
    "copies of two branches": Scenario(
        (("update a", "update b"), ("external x",), ("behind",)), ("cut",), (0, 1, 0), no_loss=True
    ),
    "a copy is dropped": Scenario((("write v", "write w"), ("behind",), ("get",)), ("drop", "evict"), (0, 0, 1)),
    "own writes after a restart": Scenario((("write w",), ("write v", "get")), ("save", "restart"), no_loss=True),
    # Payments in a write-behind shop
    "paid": Scenario((("pay P", "get"), ("write w",), ("get",)), ("tick",), no_conflicts=True),
    "paid beside the database": Scenario((("pay P",), ("update a",), ("get",)), ("tick",)),
    "paid beside an external program": Scenario((("pay P",), ("external x",), ("get",))),
    "paid, and refused": Scenario((("pay P",), ("update C",), ("get",))),
    "paid after a write": Scenario((("write w", "pay P"), ("behind",), ("get",)), (), (0, 0, 1), no_conflicts=True),
    "paid, evicted": Scenario((("pay P", "get"), ("get",)), ("evict",)),
    "paid, the COMMIT unheard of": Scenario((("pay P", "get"), ("behind",), ("write w",)), ("lost commit",), (0, 0, 1)),
    "paid, the database away": Scenario((("pay P", "get"), ("write w",), ("flush",)), ("cut",)),
    # Writes from a held copy
    "written from what was read": Scenario(
        (("get", "write v", "write w"), ("write u",), ("get",)), ("tick",), no_conflicts=True
    ),
    "written from what was read, beside the database": Scenario(
        (("get", "write w"), ("update a",), ("get",)), ("tick",), no_false_conflicts=True
    ),
    "written from what was read, then restarted": Scenario((("get", "write w"), ("get",)), ("save", "restart", "tick")),
    "written from what was read, beside an external program": Scenario((("get", "write w"), ("external x",), ("get",))),
    "written from what was read, deleted": Scenario((("get", "write w"), ("delete d",), ("get",)), ("tick",)),
    # External programs
    "external": Scenario((("update a",), ("external x",), ("get", "get"))),
    "external, at the same time": Scenario((("update a",), ("update b",), ("external x",))),
    "external, twice": Scenario((("update a",), ("external x", "external y"))),
    "two external programs": Scenario((("update a",), ("external x",), ("external y",))),
    "external, the same bytes twice": Scenario((("update a",), ("external x",), ("external x",)), ("evict",)),
    "external, and a slow publish": Scenario((("update a",), ("external x",), ("get",)), ("late",)),
    "external, evicted": Scenario((("update a",), ("external x",), ("get",)), ("evict",)),
    "external, restored": Scenario(
        (("get", "update a", "get"), ("external x",)), ("save", "restart"), no_false_conflicts=True
    ),
    "external, deleted": Scenario((("update a",), ("external x", "remove"), ("get",)), ("tick",)),
    "rewritten without a change": Scenario((("update a",), ("rewrite",), ("get", "get")), ("tick",)),
    "a forged header": Scenario((("write w",), ("forge x",), ("flush",))),
    "filled under an external program": Scenario((("get",), ("fresh x",), ("update a", "get")), ("evict",), value=None),
    "filled after a deletion": Scenario((("get",), ("garbage g",), ("delete d", "get")), value=None),
    "external over a dirty value": Scenario((("write w",), ("external x",), ("get",)), ("evict",)),
    "external, the database away": Scenario((("update a",), ("external x",), ("flush",)), ("cut",)),
    "external, a crash": Scenario((("update a",), ("external x",), ("flush",)), ("crash",)),
    "external payments": Scenario((("update P",), ("external C",), ("get",))),
    "external, the payment taken back": Scenario((("update P", "get"), ("external -",))),
    "external without our header": Scenario((("update a",), ("plain x",), ("get",)), ("tick",)),
    "an external program's session": Scenario(
        (("update a", "get"), ("update b",)), ("late",), value=EXTERNAL, row=None
    ),
    "an external program's session, deleted": Scenario(
        (("delete d",), ("update b",), ("fresh y",)), value=EXTERNAL, row=None
    ),
    "written where there is nothing": Scenario((("get", "update a"), ("fresh x",)), ("evict",), value=None),
    "no session at all": Scenario((("get", "update a"), ("garbage g",)), ("tick",)),
    "yesterday's bytes": Scenario((("write v", "write w"), ("raw",), ("write u",), ("flush",)), raw=True),
    "yesterday's bytes, and a write out of sight": Scenario(
        (("write u", "write v", "write w"), ("raw",), ("flush", "write x")), ("late",), raw=True
    ),
    "yesterday's bytes, without copies": Scenario(
        (("write v", "write w"), ("raw",), ("write u",), ("flush",)), ("drop",) * 2, raw=True
    ),
    "yesterday's bytes, out of sight, without copies": Scenario(
        (("write u", "write v", "write w"), ("raw",), ("flush", "write x")), ("drop", "late"), raw=True
    ),
    "yesterday's bytes, after a commit": Scenario((("update a",), ("raw",), ("update b",)), ("evict",), raw=True),
    # Sentinel
    "a failover": Scenario((("update a", "get"), ("get", "get")), ("failover", "tick"), sentinel=True),
    "a failover of a dirty value": Scenario((("write w", "get"), ("get",)), ("failover", "tick"), sentinel=True),
    "left behind with the old primary": Scenario(
        (("update a",), ("get", "get")), ("tick",), (0, 0), sentinel=True, left_behind=True
    ),
}
"""What the protocol as built must survive."""

MUTATIONS = {
    # Values and ids
    "rewriting_shows": ("rewritten without a change", "a trusted read"),
    "own_tokens": ("yesterday's bytes, without copies", "a write is lost"),
    "failed_write_ends_token": ("yesterday's bytes, out of sight, without copies", "a write is lost"),
    "other_server_is_questionable": ("restored, then cut off", "a trusted read"),
    "taken_in_is_questionable": ("rewritten without a change", "a trusted read"),
    "restored_bytes_are_known": ("external, restored", "a conflict, although"),
    # Trust
    "identity": ("a restart between reads", "a trusted read"),
    "lease": ("a slow look", "a trusted read"),
    "lease_from_start": ("a slow look", "a trusted read"),
    "look_before_open": ("a slow reader", "a trusted read"),
    "judged_from_before": ("two threads", "a trusted read"),
    "distrust": ("a slow look", "a trusted read"),
    "own_distrust": ("two threads", "a trusted read"),
    "precise_distrust": ("write-behind beside the database", "a trusted read"),
    "own_writes_are_trusted_in": ("flushed behind, and a restart", "a trusted read"),
    "own_writes_from_before": ("flushed behind, and an eviction", "a trusted read"),
    "flusher_distrusts": ("flushed behind, and a restart", "a trusted read"),
    "older_publish_proves_nothing": ("two threads", "a trusted read"),
    # Publishing
    "publish_compares": ("two writers", "a trusted read"),
    "looks_again": ("two fillers", "a trusted read"),
    "exhausted_is_pending": ("outrun by readers", "a trusted read"),
    "bound": ("a late writer and a restart", "a trusted read"),
    "external_stays": ("external", "a write is lost"),
    "dirty_stays": ("write-behind beside the database", "a trusted read"),
    "refused_by_dirty_is_pending": ("write-behind beside the database", "a trusted read"),
    "newer_stays": ("two writers", "a trusted read"),
    "restamps": ("a restart and nothing else", "it never settles"),
    "noted_after_publish": ("flushed while it is filled", "a trusted read"),
    "own_row_has_its_version": ("a late COMMIT beside a dirty write, without copies", "a write is lost"),
    # Fill claims
    "fills_by_claim": ("two fillers", "a trusted read"),
    "claims_end_at_a_write": ("filled under an external program", "it never settles"),
    "claims_end_at_a_deletion": ("filled after a deletion", "a trusted read of a deleted session"),
    "claims_end_at_a_miss": ("two fillers", "a trusted read"),
    # Flushing
    "flush_log": ("a snapshot of what was flushed", "a conflict, although"),
    "version_grows": ("a forged header", "the version does not grow"),
    "base_rule": ("the database out of reach for one", "a durable write is lost"),
    "base_of_both": ("external, at the same time", "a durable write is lost"),
    "tombstone_wins": ("deleted beside a dirty write", "a deleted session is back"),
    "version_adds_up": ("written twice to Redis alone", "callers saw version"),
    "numbers_count": ("copies of two branches", "a write is lost"),
    "fresh_id": ("a dirty value is overtaken", "a trusted read"),
    # Writing
    "version_check": ("two writers", "a durable write is lost"),
    "tombstone_stays": ("deleted", "it never settles"),
    "write_id_settles": ("a lost answer to COMMIT", "a write is applied twice"),
    "attempted_on_same_base": ("a late COMMIT", "a write is applied twice"),
    "attempted_on_copy": ("a late COMMIT on what was merged", "a trusted read"),
    "missing_is_no_deletion": ("an eviction between reads", "a session is deleted that nobody has deleted"),
    "forgets_what_it_saw": ("a pending id without its value", "a dirty value that nobody knows of"),
    # Write-behind
    "keeps_own_copies": ("flushed behind, and an eviction", "a write is lost"),
    "own_copies_are_a_list": ("copies of two branches", "a write is lost"),
    "own_copies_first": ("own writes after a restart", "the database's answer lacks"),
    "pays_its_own_bytes": ("paid beside an external program", "a durable write is lost"),
    "payment_needs_its_change": ("paid, and refused", "a durable write is lost"),
    "held_is_compared": ("written from what was read, beside an external program", "a write is lost"),
    # Sentinel
    "fence": ("a failover", "a trusted read"),
    "lease_has_its_epoch": ("a failover", "a trusted read"),
    "notes_of_this_epoch": ("left behind with the old primary", "a trusted read"),
}
"""Each guard, where its absence shows, and what breaks then."""
