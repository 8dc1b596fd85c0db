"""Where the model is searched: a few processes with something to do, and a few things that go wrong, at any moment.

Each scenario is as small as it can be while still showing what it is for; together they give every fault to every kind
of call. ``update a`` and the like name the write; the same program is one thread's, call after call.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.model.protocol import Copy, Database, Foreign, Process, Row, Server, State, Thread, Value

PUBLISHED = Copy(1, 1, ())
"""Version 1, as the first server has it."""
IN_DATABASE = Row(1, (), published=1)
OTHER_PROGRAMS = Foreign(("x",))


@dataclass(frozen=True)
class Scenario:
    """What is there at first, who does what, and what may go wrong (each fault once for each time it is named)."""

    programs: tuple[tuple[str, ...], ...]
    faults: tuple[str, ...] = ()
    processes: tuple[int, ...] = ()
    """Which process each program runs in; by default each in its own."""
    value: Value = PUBLISHED
    row: Row | None = IN_DATABASE
    pending: bool = False
    """``checkout:pending`` has the id although nothing is undrained: Redis lost such a value, and was filled again."""
    sentinel: bool = False
    left_behind: bool = False
    """There was a failover already, everybody else has found it, and process 0 has not."""

    def begin(self) -> State:
        """The first state."""
        belongs = self.processes or tuple(range(len(self.programs)))
        servers = [Server(1, self.value, self.pending, (self.value, self.pending))]
        processes = [Process() for _ in range(max(belongs) + 1)]
        reigns = [1] if self.sentinel else []
        if self.left_behind:
            servers.append(Server(101, Copy(1, 101, ())))
            processes = [Process(lease=True, reign=1), *(Process(reign=101, server=1) for _ in processes[1:])]
            reigns.append(101)
        return State(
            servers=tuple(servers),
            database=Database(self.row, reigns=tuple(reigns)),
            processes=tuple(processes),
            threads=tuple(map(Thread, belongs, self.programs)),
            faults=tuple(sorted(self.faults)),
        )


SCENARIOS = {
    "two writers": Scenario((("update a",), ("update b",), ("read", "read"))),
    "a publish out of sight": Scenario((("update a", "read"), ("update b",), ("read",)), ("late",)),
    "a slow look": Scenario((("update a",), ("read", "read")), ("late", "tick")),
    "a slow reader": Scenario((("update a", "read"), ("read",)), ("tick",)),
    "a late writer and a restart": Scenario((("update a",), ("update b",), ("read", "read")), ("restart",)),
    "a restart between reads": Scenario((("update a",), ("read", "read")), ("restart",)),
    "a restart and nothing else": Scenario((("read",),), ("restart",)),
    "an eviction between reads": Scenario((("update a",), ("update b",), ("read", "read")), ("evict",)),
    "two fillers": Scenario((("update a",), ("read", "read"), ("read",)), ("evict",), value=None),
    "a crash": Scenario((("update a",), ("update b",), ("read", "handover")), ("crash", "tick")),
    "handed over by somebody else": Scenario((("update a",), ("handover",), ("read", "read")), ("late", "tick")),
    "two threads": Scenario((("update a", "read"), ("read",)), ("late", "tick"), processes=(0, 0)),
    "two threads and a restart": Scenario((("update a", "read"), ("read", "read")), ("restart", "late"), (0, 0)),
    "two threads beside a writer": Scenario((("read",), ("read",), ("update a",)), ("late", "tick"), (0, 0, 1)),
    "deleted": Scenario((("delete d",), ("update b",), ("read",)), ("late", "tick")),
    "deleted while one is cut off": Scenario((("delete d",), ("update b",), ("drain",)), ("cut", "evict")),
    "deleted under a foreign program": Scenario((("delete d",), ("update b", "read")), ("foreign", "late")),
    "the database out of reach for one": Scenario((("update a",), ("update b",), ("read", "read")), ("cut",)),
    "written twice to Redis alone": Scenario((("update a", "update c"), ("drain",), ("drain",)), ("cut",)),
    "two drainers": Scenario((("update a",), ("read",), ("drain",)), ("cut",)),
    "a snapshot of what was drained": Scenario((("update a",), ("update b",), ("drain",)), ("cut", "save", "restart")),
    "a pending id without its value": Scenario((("update a",), ("drain",), ("read",)), ("cut",), pending=True),
    "a lost answer to COMMIT": Scenario((("update a",), ("update b",), ("read",)), ("lost commit", "late")),
    "a lost answer, then cut off": Scenario((("update a",), ("update b",), ("drain",)), ("cut", "lost commit")),
    "a late COMMIT": Scenario((("update a",), ("update b",), ("drain",)), ("late commit", "cut")),
    "created": Scenario((("create c",), ("create k",), ("read",)), ("evict", "late"), value=None, row=None),
    "created without the database": Scenario(
        (("create c",), ("create k",), ("drain",)), ("cut", "late commit"), value=None, row=None
    ),
    "another program's session": Scenario((("update a", "read"), ("update b",)), ("late",), (), OTHER_PROGRAMS, None),
    "another program writes": Scenario((("update a",), ("read", "read")), ("foreign", "late")),
    "another program writes where Redis is alone": Scenario((("update a",), ("update b",)), ("foreign", "cut")),
    "a failover": Scenario((("update a", "read"), ("read", "read")), ("failover", "tick"), sentinel=True),
    "left behind with the old primary": Scenario(
        (("update a",), ("read", "read")), ("tick",), (0, 0), sentinel=True, left_behind=True
    ),
}
"""What the protocol as built must survive."""

MUTATIONS = {
    "version_check": ("two writers", "a durable write is lost"),
    "stamp": ("a restart between reads", "a trusted read"),
    "stamp_of_first_step": ("a late writer and a restart", "a trusted read"),
    "lease": ("a slow look", "a trusted read"),
    "lease_from_start": ("a slow look", "a trusted read"),
    "look_before_open": ("a slow reader", "a trusted read"),
    "judged_from_before": ("two threads", "a trusted read"),
    "newer_stays": ("two writers", "a trusted read"),
    "publish_never_creates": ("an eviction between reads", "a trusted read"),
    "restamps": ("a restart and nothing else", "it never settles"),
    "marker": ("two fillers", "a trusted read"),
    "own_distrust": ("two threads", "a trusted read"),
    "tombstone": ("deleted", "a trusted read"),
    "drain_log": ("two drainers", "a write was drained twice"),
    "drain_takes_out": ("the database out of reach for one", "a trusted read"),
    "undrained_stays": ("the database out of reach for one", "a write that Redis acknowledged is lost"),
    "own_row_follows_base": ("a lost answer, then cut off", "a durable write is lost"),
    "same_base": ("a lost answer, then cut off", "a write was applied twice"),
    "write_id": ("a lost answer to COMMIT", "a write was applied twice"),
    "forget_looks_again": ("a pending id without its value", "an undrained value that nobody knows of"),
    "fence": ("a failover", "a trusted read"),
    "notes_of_this_reign": ("left behind with the old primary", "a trusted read"),
}
"""Each mechanism, where its absence shows, and what breaks then."""
