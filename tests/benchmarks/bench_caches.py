"""What the caches cost: a hit, and invalidating everything, however much is cached.

``python -m tests.benchmarks.bench_caches``
"""

from __future__ import annotations

import random
from typing import Any

import redis

from checkout_cli.domain.delivery import DeliveryCharges
from tests.benchmarks.harness import Place, Result, in_turn, place, show

READS = 5_000
INVALIDATIONS = 2_000
FEW, MANY = 10, 100_000
BAR_HIT = 1.5
"""A hit reads the generation too, and judges and decodes what it finds."""
BAR_CONSTANT = 1.1
CHARGE = {"charge": 3.9, "currency": "INR", "zone": "inner"}

_FILL = """
local value = redis.call('GET', KEYS[1])
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  redis.call('SET', ARGV[3] .. number, value, 'PX', ARGV[4])
end
"""


def fill(where: Place, charges: DeliveryCharges, count: int) -> None:
    """Cache so many charges: one as the library does, and copies of it by the server itself."""
    charges.charge(1, 1, lambda *_: CHARGE)
    prefix = f"{charges.prefix}2:"
    with where.client() as client:
        for first in range(1, count, 2_000):
            client.eval(_FILL, 1, charges.key(1, 1), first, min(first + 1_999, count - 1), prefix, 3_600_000)
        cached = client.dbsize()
    assert cached >= count, cached


def sent(client: redis.Redis, work: Any) -> dict[str, int]:
    """The commands that reach the server while something is done, also those that scripts run."""
    client.config_resetstat()
    work()
    found = client.info("commandstats")
    names = {name.removeprefix("cmdstat_"): int(stats["calls"]) for name, stats in found.items()}
    return {name: calls for name, calls in names.items() if name not in {"info", "config|resetstat"}}


def bench_hit() -> Result:
    """A hit against redis-py's own GET of the same entry."""
    with place() as where, where.client() as bare:
        charges = DeliveryCharges(where.store)
        charges.charge("5.2", "24.5", lambda *_: CHARGE)
        key = charges.key("5.2", "24.5")
        hit, get = in_turn(
            READS, lambda _: charges.charge("5.2", "24.5", lambda *_: None), lambda _: bare.get(key), warm_up=200
        )
        return Result("hit / bare GET", hit, get, bar=BAR_HIT)


def bench_hit_beside_scopes() -> Result:
    """The same hit while 64 single ranges are invalidated, which is as long as a generation gets."""
    with place() as where, place() as other:
        beside, alone = DeliveryCharges(where.store), DeliveryCharges(other.store)
        for distance in range(100, 200):
            beside.invalidate_range(distance, distance)
        for charges in (beside, alone):
            charges.charge("5.2", "24.5", lambda *_: CHARGE)
        slow, fast = in_turn(
            READS,
            lambda _: beside.charge("5.2", "24.5", lambda *_: None),
            lambda _: alone.charge("5.2", "24.5", lambda *_: None),
            warm_up=200,
        )
        return Result("hit, 64 ranges invalidated / none", slow, fast)


def bench_invalidate_all() -> Result:
    """Invalidating everything: one round trip of one script, and no scan."""
    with place() as where, place() as other:
        many, few = DeliveryCharges(where.store), DeliveryCharges(other.store)
        fill(where, many, MANY)
        fill(other, few, FEW)
        many.invalidate_all()  # the server has the script from now on
        with where.client() as client:
            commands = sent(client, many.invalidate_all)
        print(f"commands of one invalidation of {MANY:,} entries: {commands}")
        assert commands.pop("evalsha") == 1
        assert set(commands) <= {"get", "set", "time"}, commands  # within the script
        assert all(calls == 1 for calls in commands.values()), commands
        at_many, at_few = in_turn(INVALIDATIONS, lambda _: many.invalidate_all(), lambda _: few.invalidate_all())
        return Result(f"invalidate all, {MANY:,} entries / {FEW}", at_many, at_few, bar=BAR_CONSTANT)


def main() -> None:
    """Run them all; each pair in turn, within one run."""
    random.seed(1)
    show("Caches", [bench_hit(), bench_hit_beside_scopes(), bench_invalidate_all()])


if __name__ == "__main__":
    main()
