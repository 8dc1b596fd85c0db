"""The specification's claims about Redis, beside the measurements (spec, "Performance Improvements")."""

from __future__ import annotations

from dataclasses import dataclass

from checkout_cli.commands.bench.shopper import VISIT, WRITES_OF_A_VISIT

FASTER, USERS, LOAD, UPTIME = 10.0, 5.0, 0.5, 0.999
"""The bar of each claim: times as fast, times as many shoppers, share of the queries saved, share served."""
SPECIFIED_READ = 0.05
"""The shortest read of the specification's database, in seconds ("Before Redis": 50-100 ms)."""
_NO_CORE_LEFT = 0.85
"""From this share of their cores' time on, our own processes were the limit."""
_NO_REDIS = "there is no Redis"


@dataclass(frozen=True)
class Claim:
    """One line of the specification. ``measured`` is ``None`` where it could not be measured; ``why`` explains it."""

    JSON_KEYS = "id claim=text atLeast=bar measured:5 holds why?"

    id: str
    text: str
    bar: float
    measured: float | None
    why: str = ""

    @property
    def holds(self) -> bool | None:
        return None if self.measured is None else self.measured >= self.bar


def faster_retrieval(database: float, redis: float | None, served_by_redis: float | None) -> Claim:
    """From the medians of a read in seconds, and the share of the reads that Redis served."""
    text = "10-20x faster session retrieval"
    if redis is None:
        return Claim("retrieval", text, FASTER, None, _NO_REDIS)
    why = ""
    if database / redis < FASTER:
        why = (
            f"the database answers in {database * 1000:.2f} ms here, not in 50-100 ms; "
            f"of 50 ms, the {redis * 1000:.2f} ms with Redis would be {SPECIFIED_READ / redis:.0f}x"
        )
        if served_by_redis is not None and served_by_redis < 0.5:
            why = "the database had to be asked all the same: checkoutctl doctor"
    return Claim("retrieval", text, FASTER, database / redis, why)


def more_users(without: float, with_redis: float | None, busy: float) -> Claim:
    """From the steps a second, and how busy our own processes were with Redis (0 to 1)."""
    text = "5x more concurrent users"
    if with_redis is None:
        return Claim("users", text, USERS, None, _NO_REDIS)
    ratio = with_redis / without
    why = ""
    if ratio < USERS:
        writes = f"{WRITES_OF_A_VISIT} of {len(VISIT)} steps are writes, which wait for the database either way"
        ours = f"the shoppers' own processes were {busy:.0%} busy, and so part of the limit"
        why = f"{writes}; {ours}" if busy > _NO_CORE_LEFT else writes
    return Claim("users", text, USERS, ratio, why)


def less_load(without: float, with_redis: float | None) -> Claim:
    """From the database's queries for each step."""
    text = "50% less database load"
    if with_redis is None:
        return Claim("load", text, LOAD, None, _NO_REDIS)
    why = f"a step took {without:.2f} queries without Redis and {with_redis:.2f} with it"
    return Claim("load", text, LOAD, 1 - with_redis / without, why)


def uptime(served: float | None, why: str) -> Claim:
    """From the share of steps that were served with Redis unavailable for a third of the time."""
    return Claim("uptime", "99.9% uptime with fallbacks", UPTIME, served, why)
