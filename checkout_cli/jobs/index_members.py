"""Members of an external writer's SET that our index lacks: the living are added to ours, the dead removed from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from checkout_cli.errors import DatabaseNotReady, DatabaseUnavailable
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.redis.index import Entry


@dataclass
class TakenIn:
    """The number of members added and removed; those of unknown state stay."""

    entered: int = 0
    removed: int = 0

    def add(self, other: TakenIn) -> None:
        self.entered += other.entered
        self.removed += other.removed


def take_in(store: CheckoutStore, names: Sequence[str], now: int) -> TakenIn:
    """Add or remove each member that our index lacks; raises ``RedisUnavailable``. ``now`` is past by all clocks."""
    if not names:
        return TakenIn()
    endless = int(store.settings.session_ttl * 1000)
    ttls = dict(zip(names, store.redis.remaining(names), strict=True))
    living = {name: now + (ttl if ttl >= 0 else endless) for name, ttl in ttls.items() if ttl >= -1}
    gone = [name for name, ttl in ttls.items() if ttl == -2]
    rows = _living_rows(store, gone, now)
    if rows is None:
        gone, rows = [], {}
    entered = store.index.add([Entry(name, moment) for name, moment in (living | rows).items()])
    removed = store.index.remove_expired([Entry(name, now) for name in gone if name not in rows])
    return TakenIn(entered, removed)


def _living_rows(store: CheckoutStore, names: Sequence[str], now: int) -> dict[str, int] | None:
    """The sessions that the database has, with their ends (ms); ``None`` where it cannot be asked."""
    try:
        return store.database.expiries(names, now)
    except DatabaseNotReady:  # it was never set up: there are none
        return {}
    except DatabaseUnavailable:
        return None
