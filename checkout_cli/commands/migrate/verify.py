"""``migrate verify``: every living row against what Redis has of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from checkout_cli.commands.migrate.run import ATTEMPTS, PAGE, Progress, State, need_redis, silent, state_of
from checkout_cli.errors import ExitCode
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.bodies import SessionBodies
from checkout_cli.store.records import Record
from checkout_cli.store.redis.opened import Look

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
class Verified:
    """What a comparison found; ``differences`` are the first ones, by id, ``number`` all of them."""

    compared: int = 0
    untrusted: int = 0
    number: int = 0
    differences: list[tuple[str, Difference]] = field(default_factory=list)

    @property
    def exit_code(self) -> ExitCode:
        """A finding where something differs."""
        return ExitCode.FINDING if self.number else ExitCode.OK


MOST_NAMED = 100


def verify(store: CheckoutStore, *, sample: int | None = None, progress: Progress = silent) -> Verified:
    """Compare every living row, or about ``sample`` of them evenly, with Redis: version, content, time to live.

    What differs is looked at again, because the shop writes meanwhile.

    Raises:
        TierUnavailable: one of the two cannot be reached.
        ConfigurationError: Redis is switched off for sessions.
    """
    need_redis(store)
    found = Verified()
    now = store.clock.wall()
    total = store.database.count(now)
    step = 1 if sample is None else max(total // sample, 1)
    last, place = "", 0
    while rows := store.database.living_after(last, store.clock.wall(), PAGE):
        last = rows[-1].checkout_id
        chosen = [row for at, row in enumerate(rows, place) if at % step == 0]
        place += len(rows)
        different = _compare(store, chosen, found)
        for _ in range(ATTEMPTS if different else 0):
            later = store.database.read_many(list(different))
            still = [row for row in later.values() if row.body is not None and row.expires_at > store.clock.wall()]
            different = _compare(store, still, Verified())
        found.compared += len(chosen)
        found.number += len(different)
        found.differences += list(different.items())[: MOST_NAMED - len(found.differences)]
        progress(place, max(total, place))
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
