"""``migrate verify``: every living row against Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from checkout_cli.commands.migrate.run import ATTEMPTS, PAGE, State, need_redis, state_of
from checkout_cli.jobs.bounded_run import BoundedRun, Ended, Step
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.bodies import SessionBodies
from checkout_cli.store.records import Record
from checkout_cli.store.redis.opened import Look

T = TypeVar("T")
TOLERANCE = 2_000
"""Milliseconds by which a key may end before its row says."""


class Difference(StrEnum):
    """How Redis differs from the database."""

    MISSING = "missing in Redis"
    OLDER = "older in Redis"
    DIRTY = "has writes that the database lacks"
    EXTERNAL = "an external writer's value"
    BODY = "same version, other content"
    SHORT = "ends too early in Redis"
    ENDLESS = "never ends in Redis"
    UNLISTED = "not in the index"


@dataclass
class Verified(Ended):
    """What a comparison found: the first ``differences`` by id, ``number`` of all."""

    compared: int = 0
    untrusted: int = 0
    number: int = 0
    differences: list[tuple[str, Difference]] = field(default_factory=list)

    @property
    def has_finding(self) -> bool:
        return self.number > 0

    def compare(
        self,
        run: BoundedRun,
        page_after: Callable[[str], tuple[list[T], str | None]],
        different: Callable[[list[T]], dict[str, Difference]],
        total: int,
        *,
        sample: int | None,
        cursor: str,
    ) -> None:
        """Compare all of about ``total``, or about ``sample`` of them evenly, page by page from a cursor on."""
        every, seen = 1 if sample is None else max(total // sample, 1), 0

        def step(position: str) -> Step:
            nonlocal seen
            page, following = page_after(position)
            chosen = [one for at, one in enumerate(page, seen) if at % every == 0]
            seen += len(page)
            here = different(chosen)
            self.compared += len(chosen)
            self.number += len(here)
            self.differences += list(here.items())[: MOST_NAMED - len(self.differences)]
            return Step(len(page), following)

        run.expect(total)
        self.follow(run, step, cursor=cursor)


MOST_NAMED = 100


def verify(
    store: CheckoutStore, run: BoundedRun | None = None, *, sample: int | None = None, cursor: str = ""
) -> Verified:
    """Compare every living row, or about ``sample`` of them evenly: version, content, TTL.

    Differences are checked again, because the shop writes meanwhile. Raises TierUnavailable, ConfigurationError.
    """
    need_redis(store)
    found = Verified()

    def page_after(last: str) -> tuple[list[Record], str | None]:
        rows = store.database.living_after(last, store.clock.wall(), PAGE)
        return rows, rows[-1].checkout_id if rows else None

    def different(rows: Sequence[Record]) -> dict[str, Difference]:
        found_here = _compare(store, rows, found)
        for _ in range(ATTEMPTS if found_here else 0):
            later = store.database.read_many(list(found_here))
            still = [row for row in later.values() if row.body is not None and row.expires_at > store.clock.wall()]
            found_here = _compare(store, still, Verified())
        return found_here

    total = store.database.count(store.clock.wall())
    found.compare(run or BoundedRun(store.clock), page_after, different, total, sample=sample, cursor=cursor)
    return found


def _compare(store: CheckoutStore, rows: Sequence[Record], found: Verified) -> dict[str, Difference]:
    names = [row.checkout_id for row in rows]
    if not names:
        return {}
    identities = store.redis.identities(names)
    different = {}
    for row, look in zip(rows, store.redis.look(names), strict=True):
        state = state_of(row, look, identities.get(row.checkout_id))
        found.untrusted += state is State.UNTRUSTED
        difference = _difference(row, look, state, store.clock.wall())
        if difference is not None:
            different[row.checkout_id] = difference
    return different


def _difference(row: Record, look: Look, state: State, now: int) -> Difference | None:
    plain = {
        State.MISSING: Difference.MISSING,
        State.OLDER: Difference.OLDER,
        State.DIRTY: Difference.DIRTY,
        State.EXTERNAL: Difference.EXTERNAL,
    }
    if state in plain:
        return plain[state]
    copy, body = look.copy, row.body or b"{}"
    if copy is not None and copy.version == row.version and not SessionBodies(row.checkout_id).same(copy.body, body):
        return Difference.BODY
    if copy is not None and copy.version > row.version:
        return Difference.BODY  # the database issues versions, so that nothing newer than it can be right
    if look.ttl is None:
        return Difference.ENDLESS
    return Difference.SHORT if now + look.ttl < row.expires_at - TOLERANCE else None
