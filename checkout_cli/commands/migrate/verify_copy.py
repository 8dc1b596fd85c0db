"""``migrate verify --to``: every session of one Redis against another one."""

from __future__ import annotations

from collections.abc import Sequence

from checkout_cli.commands.migrate.copy import Fate, fate_of, look_there, refuse_same
from checkout_cli.commands.migrate.run import ATTEMPTS, PAGE, need_redis
from checkout_cli.commands.migrate.verify import TOLERANCE, Difference, Verified
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.jobs.cursors import checked_cursor
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.admin import FIRST_CURSOR, RedisAdmin
from checkout_cli.store.redis.index import RedisIndex
from checkout_cli.store.redis.opened import Look

_FATES = {Fate.COPY: Difference.MISSING, Fate.REPLACE: Difference.OLDER, Fate.DIRTY: Difference.DIRTY}


def verify_at(
    store: CheckoutStore,
    target: RedisAdmin,
    place: str,
    run: BoundedRun | None = None,
    *,
    sample: int | None = None,
    cursor: str = "",
) -> Verified:
    """Compare every session, or about ``sample`` of them evenly, with the other server: content, end, index.

    Differences are checked again, because the shop writes meanwhile. Raises InvalidInput for the same server or a bad
    cursor, RedisUnavailable, ConfigurationError.
    """
    need_redis(store)
    refuse_same(store, target, place)
    found = Verified()
    found.compare(
        run or BoundedRun(store.clock),
        store.index.session_ids_step,
        lambda names: _different(store, target, names),
        store.index.count(store.clock.wall()).number,
        sample=sample,
        cursor=checked_cursor(cursor or FIRST_CURSOR),
    )
    return found


def _different(store: CheckoutStore, target: RedisAdmin, names: Sequence[str]) -> dict[str, Difference]:
    found: dict[str, Difference] = {}
    for start in range(0, len(names), PAGE):
        different = _compare(store, target, names[start : start + PAGE])
        for _ in range(ATTEMPTS if different else 0):
            different = _compare(store, target, list(different))
        found |= different
    return found


def _compare(store: CheckoutStore, target: RedisAdmin, names: Sequence[str]) -> dict[str, Difference]:
    mine, there = store.redis.look(names), look_there(target, names)
    found = {
        name: difference
        for name, here, other in zip(names, mine, there, strict=True)
        if (difference := _difference(here, other)) is not None
    }
    kept = [name for name, other in zip(names, there, strict=True) if name not in found and other.ttl is not None]
    return found | dict.fromkeys(RedisIndex(target).missing(kept), Difference.UNLISTED)


def _difference(mine: Look, there: Look) -> Difference | None:
    fate = fate_of(mine, there)
    if fate is Fate.DIFFERS:
        return Difference.MISSING if there.value is None and there.problem is None else Difference.EXTERNAL
    if fate is not Fate.KEEP:
        return _FATES.get(fate)
    if mine.ttl is None or there.ttl is None:
        return Difference.ENDLESS if there.ttl is None else None
    return Difference.SHORT if there.ttl < mine.ttl - TOLERANCE else None
