"""``migrate verify``: every living row against Redis; with ``--to``, one Redis against another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from checkout_cli.commands.migrate.copy import Action, action_for, look_there, refuse_same
from checkout_cli.commands.migrate.run import ATTEMPTS, PAGE, State, need_redis, state_of
from checkout_cli.jobs.bounded_run import BoundedRun, Ended, Step
from checkout_cli.jobs.cursors import checked_cursor
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.bodies import SessionBodies
from checkout_cli.store.records import Record
from checkout_cli.store.redis.admin import FIRST_CURSOR, RedisAdmin
from checkout_cli.store.redis.index import RedisIndex
from checkout_cli.store.redis.opened import Look

T = TypeVar("T")
MOST_NAMED = 100
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


_STATES = {
    State.MISSING: Difference.MISSING,
    State.OLDER: Difference.OLDER,
    State.DIRTY: Difference.DIRTY,
    State.EXTERNAL: Difference.EXTERNAL,
}
_ACTIONS = {Action.COPY: Difference.MISSING, Action.REPLACE: Difference.OLDER, Action.DIRTY: Difference.DIRTY}


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

    @property
    def next_step(self) -> str:
        return "checkoutctl migrate run --restart"

    def compare(
        self,
        run: BoundedRun,
        page_after: Callable[[str], tuple[list[T], str | None]],
        different: Callable[[list[T]], dict[str, Difference]],
        again: Callable[[list[str]], dict[str, Difference]],
        total: int,
        *,
        sample: int | None,
        cursor: str,
    ) -> None:
        """Compare about ``total``, or ``sample`` of them evenly; differences ``again``, as the shop goes on."""
        every, seen = 1 if sample is None else max(total // sample, 1), 0

        def step(position: str) -> Step:
            nonlocal seen
            page, following = page_after(position)
            chosen = [one for at, one in enumerate(page, seen) if at % every == 0]
            seen += len(page)
            here = different(chosen)
            for _ in range(ATTEMPTS if here else 0):
                here = again(list(here))
            self.compared += len(chosen)
            self.number += len(here)
            self.differences += list(here.items())[: MOST_NAMED - len(self.differences)]
            return Step(len(page), following)

        run.expect(total)
        self.follow(run, step, cursor=cursor)


def verify(
    store: CheckoutStore, run: BoundedRun | None = None, *, sample: int | None = None, cursor: str = ""
) -> Verified:
    """Compare every living row, or about ``sample`` of them evenly: version, content, TTL."""
    need_redis(store)
    found = Verified()

    def page_after(last: str) -> tuple[list[Record], str | None]:
        rows = store.database.living_after(last, store.clock.wall(), PAGE)
        return rows, rows[-1].checkout_id if rows else None

    def again(names: Sequence[str]) -> dict[str, Difference]:
        rows = store.database.read_many(names).values()
        still = [row for row in rows if row.body is not None and row.expires_at > store.clock.wall()]
        return _compare(store, still, Verified())

    found.compare(
        run or BoundedRun(store.clock),
        page_after,
        lambda rows: _compare(store, rows, found),
        again,
        store.database.count(store.clock.wall()),
        sample=sample,
        cursor=cursor,
    )
    return found


def _compare(store: CheckoutStore, rows: Sequence[Record], found: Verified) -> dict[str, Difference]:
    names = [row.checkout_id for row in rows]
    if not names:
        return {}
    identities = store.redis.identities(names)
    different: dict[str, Difference] = {}
    for row, look in zip(rows, store.redis.look(names), strict=True):
        state = state_of(row, look, identities.get(row.checkout_id))
        found.untrusted += state is State.UNTRUSTED
        difference = _difference(row, look, state, store.clock.wall())
        if difference is not None:
            different[row.checkout_id] = difference
    return different


def _difference(row: Record, look: Look, state: State, now: int) -> Difference | None:
    if state in _STATES:
        return _STATES[state]
    copy, body = look.copy, row.body or b"{}"
    if copy is not None and copy.version == row.version and not SessionBodies(row.checkout_id).same(copy.body, body):
        return Difference.BODY
    if copy is not None and copy.version > row.version:
        return Difference.BODY  # the database issues versions, so that nothing newer than it can be right
    if look.ttl is None:
        return Difference.ENDLESS
    return Difference.SHORT if now + look.ttl < row.expires_at - TOLERANCE else None


# One Redis against another


def verify_at(
    store: CheckoutStore,
    target: RedisAdmin,
    place: str,
    run: BoundedRun | None = None,
    *,
    sample: int | None = None,
    cursor: str = "",
) -> Verified:
    """Compare every session, or about ``sample`` evenly, with another server; raises InvalidInput for the same."""
    need_redis(store)
    refuse_same(store, target, place)
    found = Verified()

    def different(names: Sequence[str]) -> dict[str, Difference]:
        parts = (names[start : start + PAGE] for start in range(0, len(names), PAGE))
        return {name: difference for part in parts for name, difference in _compare_at(store, target, part).items()}

    found.compare(
        run or BoundedRun(store.clock),
        store.index.session_ids_step,
        different,
        different,
        store.index.count(store.clock.wall()).number,
        sample=sample,
        cursor=checked_cursor(cursor or FIRST_CURSOR),
    )
    return found


def _compare_at(store: CheckoutStore, target: RedisAdmin, names: Sequence[str]) -> dict[str, Difference]:
    mine, there = store.redis.look(names), look_there(target, names)
    found = {
        name: difference
        for name, here, other in zip(names, mine, there, strict=True)
        if (difference := _difference_at(here, other)) is not None
    }
    kept = [name for name, other in zip(names, there, strict=True) if name not in found and other.ttl is not None]
    return found | dict.fromkeys(RedisIndex(target).missing(kept), Difference.UNLISTED)


def _difference_at(mine: Look, there: Look) -> Difference | None:
    action = action_for(mine, there)
    if action is Action.DIFFERS:
        return Difference.MISSING if there.value is None and there.problem is None else Difference.EXTERNAL
    if action is not Action.KEEP:
        return _ACTIONS.get(action)
    if mine.ttl is None or there.ttl is None:
        return Difference.ENDLESS if there.ttl is None else None
    return Difference.SHORT if there.ttl < mine.ttl - TOLERANCE else None
