"""The larger searches, by hand: ``python -m tests.model.run_long [PART OF A NAME …]``, minutes and gigabytes each.

It says how many states there are, and ends with 1 where one of them breaks a promise.
"""

from __future__ import annotations

import sys
import time

from tests.model.guards import Guards
from tests.model.scenarios import DIRTY, OVERTAKEN, Scenario
from tests.model.search import explore

MOST_STATES = 6_000_000

LONG = {
    # External programs
    "external, all that Redis can do": Scenario(
        (("update a",), ("external x",), ("get",)), ("tick", "evict", "late", "crash")
    ),
    "external, two of each": Scenario((("update a", "update b"), ("external x", "external y"), ("get",)), ("evict",)),
    "external, the same bytes twice, read twice": Scenario(
        (("update a",), ("external x",), ("external x",), ("get", "get")), ("evict",)
    ),
    "external, deleted by us": Scenario((("delete d",), ("external x",), ("get", "get")), ("tick", "late", "evict")),
    "external, deleted by us beside a writer": Scenario(
        (("delete d",), ("fresh x",), ("update a",), ("get",)), ("tick",)
    ),
    "external, a restart": Scenario((("update a",), ("external x",), ("get", "get")), ("restart", "save", "tick")),
    "external without our header, a restart": Scenario(
        (("update a",), ("fresh x",), ("get", "get")), ("restart", "save", "tick")
    ),
    "external, the database away": Scenario((("update a",), ("external x",), ("get",), ("flush",)), ("cut", "tick")),
    "external, the database away and a restart": Scenario(
        (("update a", "update b"), ("external x",), ("flush",)), ("cut", "save", "restart")
    ),
    "external, restored": Scenario(
        (("get", "update a", "get"), ("external x",)), ("save", "restart", "tick"), no_false_conflicts=True
    ),
    "external, a failover": Scenario((("update a",), ("external x",), ("get",)), ("failover", "tick"), sentinel=True),
    "external, a late COMMIT": Scenario((("update a",), ("external x",), ("update b",)), ("late commit", "tick")),
    "external, deleted by itself": Scenario(
        (("update a",), ("external x", "remove"), ("get", "get")), ("tick", "evict", "late")
    ),
    "rewritten without a change": Scenario((("update a",), ("rewrite",), ("get", "get")), ("tick", "evict", "late")),
    "external payments": Scenario((("update P",), ("external C",), ("write a",), ("get",)), ("tick",)),
    "created under an external program": Scenario(
        (("create c",), ("fresh x",), ("get",)), ("cut", "evict"), value=None, row=None
    ),
    # Write-behind, alone and beside the others
    "write-behind": Scenario((("write v",), ("write w",), ("get",)), ("tick", "evict"), no_false_conflicts=True),
    "write-behind, a restart": Scenario((("write v", "get"), ("write w",)), ("save", "restart", "tick")),
    "write-behind beside the database": Scenario(
        (("write w",), ("update a",), ("get",)), ("tick", "evict", "crash"), no_false_conflicts=True
    ),
    "write-behind beside everybody": Scenario((("write w",), ("update a",), ("external x",), ("get",)), ("tick",)),
    "write-behind, deleted, external": Scenario((("write w",), ("delete d",), ("external x",), ("get",)), ("tick",)),
    "write-behind and rewritten": Scenario((("write v",), ("rewrite",), ("write w",), ("get",)), ("tick",)),
    "write-behind and external": Scenario((("write v",), ("external x",), ("write w",), ("get",)), ("tick",)),
    "write-behind, a failover": Scenario((("write w",), ("write v", "get")), ("failover", "tick"), sentinel=True),
    "write-behind, out of sight": Scenario((("write v", "write w"), ("get",), ("flush",)), ("late", "tick", "evict")),
    "overtaken, everybody": Scenario(
        (("get", "get"), ("handover",), ("flush",), ("update a",)), ("tick",), value=DIRTY, row=OVERTAKEN
    ),
    "overtaken, an external program": Scenario(
        (("get", "get"), ("flush",), ("external x",)), ("tick", "evict", "late"), value=DIRTY, row=OVERTAKEN
    ),
    "flushed behind": Scenario(
        (("write v", "write w", "get"), ("behind", "behind"), ("get", "get")), ("tick",), (0, 0, 1), no_conflicts=True
    ),
    "flushed behind beside everybody": Scenario(
        (("write w",), ("behind",), ("update a",), ("external x",)), ("evict",), (0, 0, 1, 2)
    ),
    "flushed behind, a failover": Scenario(
        (("write w", "get"), ("behind",), ("get",)), ("failover", "tick"), (0, 0, 1), sentinel=True
    ),
    "flushed behind, all that Redis can do": Scenario(
        (("write w", "get"), ("behind",), ("get",)), ("save", "restart", "evict", "late", "tick"), (0, 0, 1)
    ),
    "two that write behind, a restart": Scenario(
        (("write v", "get"), ("behind",), ("write w", "get"), ("behind",)),
        ("save", "restart"),
        (0, 0, 1, 1),
        no_loss=True,
    ),
    "paid": Scenario((("pay P", "get"), ("write w", "get"), ("get",)), ("tick", "evict"), no_conflicts=True),
    "paid beside the database": Scenario((("pay P", "get"), ("update a",), ("get", "get")), ("tick", "evict")),
    "paid beside an external program": Scenario(
        (("pay P", "get"), ("external x",), ("get",)), ("save", "restart", "tick")
    ),
    "written from what was read, beside the database": Scenario(
        (("get", "write w"), ("update a",), ("get",)), ("tick", "evict", "late"), no_false_conflicts=True
    ),
    # Commits that are lost or late
    "late and lost COMMIT": Scenario((("update a",), ("write w",), ("get",)), ("late commit", "lost commit", "tick")),
    "a late COMMIT and a restart": Scenario(
        (("update a",), ("update b",), ("get",)), ("late commit", "save", "restart")
    ),
    "a lost answer, then cut off": Scenario(
        (("update a",), ("write w",), ("get",)), ("lost commit", "cut", "tick", "evict")
    ),
    # Threads and crashes
    "two threads, cut off": Scenario(
        (("update a", "get"), ("update b", "get")), ("cut", "lost commit", "tick"), (0, 0)
    ),
    "two threads, write-behind": Scenario((("write v", "get"), ("write w", "get")), ("late", "tick"), (0, 0)),
    "two threads, write-behind, flushed": Scenario(
        (("write v", "write u"), ("write w", "get"), ("flush",)), ("late",), (0, 0, 1)
    ),
    "crashes": Scenario((("write w",), ("update a",), ("get",), ("flush",)), ("crash", "tick")),
    # Yesterday's bytes
    "yesterday's bytes": Scenario((("write v", "write w"), ("raw",), ("update a",), ("flush",)), ("evict",), raw=True),
    "yesterday's bytes, cut off": Scenario((("update v", "update w"), ("raw",), ("update a",)), ("cut",), raw=True),
}


def main(parts: list[str]) -> int:
    """Search those whose names have one of these parts in them, or all; 1: a promise broke."""
    broken = False
    for name, scenario in LONG.items():
        if parts and not any(part in name for part in parts):
            continue
        started = time.process_time()
        try:
            told = str(explore(scenario, Guards(), most_states=MOST_STATES))
        except RuntimeError as error:
            told = f"{error} (none of them broken)"
        broken = broken or "→" in told
        print(f"{name}: {told} ({time.process_time() - started:.0f} s)", flush=True)  # noqa: T201
    return int(broken)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
