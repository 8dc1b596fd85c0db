"""Lists of what is scattered among all keys of Redis: some at a time, and a cursor to go on with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from checkout_cli.jobs.bounded_run import BoundedRun, Ended, Step
from checkout_cli.jobs.cursors import checked_cursor
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.admin import FIRST_CURSOR

STEP = 1000
"""Keys that Redis reads in one step of a scan: a fraction of a millisecond."""
SMALLEST_STEP = 10
MOST_KEYS = 100_000
"""Keys that one scan reads, so that it is bounded however much else is in Redis."""

T = TypeVar("T")
S = TypeVar("S", bound="KeyScan[Any]")


@dataclass(kw_only=True)
class KeyScan(Ended, Generic[T]):
    """What was ``found`` by name at ``now`` (ms), among about ``looked_at`` keys; ``cursor`` goes on after them.

    Not ``enabled`` where the settings switch off what is listed. ``missing`` servers of a cluster did not answer.
    """

    JSON_KEYS = "nextCursor=cursor lookedAt partial missingServers=missing"

    enabled: bool
    found: dict[str, T] = field(default_factory=dict)
    looked_at: int = 0
    now: int = 0
    missing: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        return bool(self.missing)

    @property
    def has_finding(self) -> bool:
        return self.partial


def scan(
    store: CheckoutStore,
    run: BoundedRun,
    scanned: S,
    page: Callable[[str, int], tuple[Mapping[str, Any], str | None]],
    *,
    limit: float = math.inf,
    cursor: str = FIRST_CURSOR,
) -> S:
    """Find at least ``limit`` if there are so many, in no order: the last step may add some.

    ``page`` reads about so many keys from a cursor on, and returns what it found, and the next cursor. Raises
    InvalidInput for a bad cursor, and as ``page`` does.
    """
    step = int(min(max(limit, SMALLEST_STEP), STEP))

    def read(position: str) -> Step:
        nonlocal step
        found, following = page(position, step)
        scanned.found.update(found)
        scanned.looked_at += step
        done, step = step, step if found else STEP  # among a million sessions, other keys are far between
        return Step(done, following)

    run.expect(MOST_KEYS)
    with run.bounds():
        run.through(
            read,
            cursor=checked_cursor(cursor),
            enough=lambda: len(scanned.found) >= limit or scanned.looked_at >= MOST_KEYS,
        )
    scanned.end(run)
    scanned.now, scanned.missing = store.clock.wall(), tuple(store.redis.missing_servers())
    return scanned
