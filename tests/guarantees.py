"""What the store promises, in the words of the README, and the tests that hold it to each promise."""

from __future__ import annotations

from typing import NamedTuple

from checkout_cli.session import Durability


class Guarantee(NamedTuple):
    """One promise; ``tests`` are files of tests that break servers and processes to make it fail."""

    words: str
    tests: tuple[str, ...]


DURABILITIES = {
    Durability.DATABASE: (
        "the database committed; then Redis got it (`published`), or it is pending",
        "the total loss of Redis, a crash of the writer",
    ),
    Durability.REDIS: (
        "the database is unavailable, or `CHECKOUT_DURABILITY=redis`: one compare-and-set in Redis, flushed later",
        "a crash of the writer, or of Redis; of both at once only as far as Redis' own persistence",
    ),
    Durability.MEMORY: (
        "neither can be reached",
        "nothing: the library says so, and the command line refuses (exit 75)",
    ),
}
"""When a write is acknowledged, and what it survives then."""

_MODEL, _FAULTS = "tests/model/test_model.py", "tests/faults/test_{}.py"

GUARANTEES = {
    "G1": Guarantee(
        "No `database` write is lost or overwritten by an older one, nor by an external writer. What is deleted stays "
        "deleted, unless a person takes that very deletion back (`sessions restore`), which is a new version.",
        (_MODEL, _FAULTS.format("1_redis_fails"), _FAULTS.format("3_crashes_and_servers"), "tests/store/test_races.py"),
    ),
    "G2": Guarantee(
        "A read that says `verified` returns at least every version that was acknowledged as published before the read "
        "began, and every write of its own process.",
        (_MODEL, _FAULTS.format("4_protocol"), "tests/store/test_promises.py", "tests/store/test_stamps.py"),
    ),
    "G3": Guarantee(
        "A write that was acknowledged as not yet published may be unseen by other processes for at most "
        "`CHECKOUT_TRUST` (one second) after the acknowledgement. Behind Sentinel, while two primaries are alive, "
        "every acknowledgement is worth this much.",
        (_MODEL, "tests/store/test_lease.py", _FAULTS.format("5_sentinel"), _FAULTS.format("6_fence")),
    ),
    "G4": Guarantee(
        "A `redis` write reaches the database, or the conflict log with both contents, unless before its flush Redis "
        "loses the key (by a restart without persistence, a failover, an eviction, or its end of life), or an external "
        "writer overwrites it there, and its writer ends too, or no longer has room for its copy.",
        (
            _MODEL,
            _FAULTS.format("2_database_fails"),
            _FAULTS.format("10_write_behind"),
            "tests/store/test_state_machine.py",
            "tests/commands/sync/test_sync.py",
        ),
    ),
    "G5": Guarantee(
        "No accepted write is counted twice; counts can be too low where Redis loses data. The totals come from the "
        "database, and count each session once.",
        (_MODEL, "tests/store/test_counted_once.py", "tests/store/test_bookkeeping.py"),
    ),
    "G6": Guarantee(
        "A write of an external program that stands in Redis when any process of ours reads or writes that session, or "
        "`sync` looks at it, becomes the session's next version, is merged, or is in the conflict log with both "
        "contents. None is dropped silently. Payment status moves only along the allowed transitions, whoever writes: "
        "a refused step leaves the row's payment fields, and the rest applies.",
        (_MODEL, "tests/store/test_external_writers.py", "tests/beside/test_rolling.py"),
    ),
}
"""By their short names."""
