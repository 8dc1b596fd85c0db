"""``migrate plan``: what a run would do, whether Redis has room for it, and how long it takes."""

from __future__ import annotations

from dataclasses import dataclass, field

from checkout_cli.commands.migrate.run import PAGE, RATE, State, need_redis, state_of
from checkout_cli.errors import CommandDenied, CommandUnknown
from checkout_cli.jobs.bounded_run import BoundedRun, Ended, Step
from checkout_cli.servers.inspection import Inspector
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.protocol.value import encode


@dataclass
class Plan(Ended):
    """What a run would do; ``needed``, ``used`` and ``limit`` (0: none, ``None``: unknown) are in bytes."""

    JSON_KEYS = (
        "living redis=states expired tombstones pending toDo sampledBodies=states_missing bodyBytes neededBytes=needed "
        "usedBytes=used limitBytes=limit fits rate durationSeconds=seconds:1 finished nextCursor=cursor"
    )

    rate: int
    living: int = 0
    states: dict[State, int] = field(default_factory=lambda: dict.fromkeys(State, 0))
    expired: int = 0
    tombstones: int = 0
    pending: int = 0
    body_bytes: int = 0
    needed: int = 0
    limit: int | None = None
    used: int | None = None

    @property
    def to_do(self) -> int:
        return self.states[State.MISSING] + self.states[State.OLDER] + self.states[State.UNTRUSTED]

    @property
    def states_missing(self) -> int:
        return self.states[State.MISSING]

    @property
    def seconds(self) -> float:
        """An estimate: every living row is read."""
        return self.living / self.rate

    @property
    def fits(self) -> bool | None:
        """``None`` where Redis does not tell."""
        if self.limit == 0:
            return True
        if self.limit is None or self.used is None:
            return None
        if self.used + self.needed > self.limit:
            return False
        return True if self.finished else None

    @property
    def has_finding(self) -> bool:
        return self.fits is False

    @property
    def next_step(self) -> str:
        return "checkoutctl memory tune --advise"


KEY_OVERHEAD = 150
"""Bytes of a key beside its name and value: its entries in the tables of keys and expiries, and the allocator's."""
INDEX_OVERHEAD = 110
"""Bytes of an entry of the index beside the id: in a list and a table."""


def plan(store: CheckoutStore, run: BoundedRun | None = None, *, rate: int = RATE, cursor: str = "") -> Plan:
    """Compare every living row with Redis, and change nothing. Raises TierUnavailable, ConfigurationError."""
    need_redis(store)
    run, found = run or BoundedRun(store.clock), Plan(rate)
    now = store.clock.wall()
    found.expired, found.tombstones, found.pending = store.database.aside(now)

    def look(last: str) -> Step:
        rows = store.database.living_after(last, now, PAGE)
        if not rows:
            return Step(0, None)
        names = [row.checkout_id for row in rows]
        identities = store.redis.identities(names)
        for row, seen in zip(rows, store.redis.look(names), strict=True):
            state = state_of(row, seen, identities.get(row.checkout_id))
            found.states[state] += 1
            if state is State.MISSING:
                value = len(encode(row.version, b"-" * 81, row.body or b"{}"))
                names_size = 2 * len(row.checkout_id.encode())
                found.body_bytes += value
                found.needed += value * 9 // 8 + names_size + KEY_OVERHEAD + INDEX_OVERHEAD  # rounded up to classes
        found.living += len(rows)
        return Step(len(rows), names[-1])

    run.expect(store.database.count(now))
    found.follow(run, look, cursor=cursor)
    _room(store, found)
    return found


def _room(store: CheckoutStore, found: Plan) -> None:
    """The limit of all servers together, from INFO; unknown where it is denied."""
    try:
        infos = [Inspector(server).info() for server in store.redis.servers()]
    except (CommandDenied, CommandUnknown):
        return
    limits = [info.integer("maxmemory") for info in infos]
    if 0 in limits:
        found.limit = 0
    elif None not in limits:
        found.limit = sum(limit or 0 for limit in limits)
    used = [info.integer("used_memory") for info in infos]
    if None not in used:
        aside = sum(info.integer("mem_not_counted_for_evict") or 0 for info in infos)
        found.used = max(sum(one or 0 for one in used) - aside, 0)
