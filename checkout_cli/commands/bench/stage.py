"""A benchmark's sessions on the user's servers: they have a prefix of their own, and all of them are removed again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from checkout_cli.commands.demo.data import Outcome, invented_sessions
from checkout_cli.config.addresses import is_loopback
from checkout_cli.config.settings import Settings
from checkout_cli.errors import CommandDenied, CommandUnknown, RedisUnavailable
from checkout_cli.servers.inspection import Inspector
from checkout_cli.session import Durability
from checkout_cli.store.checkout_store import CheckoutStore
from checkout_cli.store.database.inspection import number_starting_with, starting_with

PREFIX = "checkoutctl-bench-"
LIFE = 300.0
"""The time to live of our sessions, in seconds: those of a killed run end by themselves in Redis."""
NEEDED = 64 * 1024 * 1024
"""Bytes that Redis must have free: far more than a run fills, so that no key of the shop is evicted for it."""
_PAGE = 500


@dataclass(frozen=True)
class Target:
    """The servers to measure. ``redis`` is ``None`` where it is unavailable, and ``no_redis`` says why.

    ``sessions`` counts live checkouts of others, ``leftovers`` the rows that a killed run has left; ``headroom`` is in
    bytes.
    """

    redis: str | None
    no_redis: str
    database: str
    is_local: bool
    sessions: int
    leftovers: int
    headroom: int | None

    @property
    def is_production(self) -> bool:
        """Whether it may be a shop's: on another machine, or with checkouts."""
        return not self.is_local or self.sessions > 0

    @property
    def is_full(self) -> bool:
        return self.headroom is not None and self.headroom < NEEDED


def own(settings: Settings, *, use_redis: bool = True) -> Settings:
    """The user's settings without statistics and tracked users, which would outlast the run."""
    return replace(
        settings,
        enable_checkout_sessions=use_redis,
        enable_user_sessions=False,
        enable_statistics=False,
        durability=str(Durability.DATABASE),
        session_ttl=LIFE,
        session_max_age=max(settings.session_max_age, LIFE),
        debug="",
    )


def look(store: CheckoutStore) -> Target:
    """Ask the servers; raises :class:`DatabaseUnavailable`, and :class:`AccessDenied` where Redis refuses us."""
    settings, database = store.settings, store.database
    database.ping()
    place, away, headroom = None, "", None
    try:
        store.redis.ping()
        place = ", ".join(server.place for server in store.redis.servers())
        headroom = _headroom(store)
    except RedisUnavailable as error:
        away = str(error)
    hosts = [] if settings.redis_socket else [settings.redis_host, *(host for host, _ in settings.sentinels())]
    ours = number_starting_with(database, PREFIX, alive_at=store.clock.wall())
    return Target(
        place,
        away,
        database.place,
        is_local=database.is_local and all(map(is_loopback, hosts)),
        sessions=max(store.admin.count().number - ours, 0),
        leftovers=number_starting_with(database, PREFIX),
        headroom=headroom,
    )


def _headroom(store: CheckoutStore) -> int | None:
    """The bytes that the fullest server has left under its limit; ``None`` without a limit, or where it is unknown."""
    rooms = []
    for server in store.redis.servers():
        with suppress(CommandDenied, CommandUnknown):
            info = Inspector(server).info()
            limit, used = info.integer("maxmemory"), info.integer("used_memory")
            if limit and used is not None:
                rooms.append(max(limit - used, 0))
    return min(rooms, default=None)


def remove_all(store: CheckoutStore, prefix: str = PREFIX) -> int:
    """Remove every session of ours, or of the run of a ``prefix``, from both tiers; returns how many there were.

    The row goes last: it tells a later run that there is something to remove.

    Raises:
        TierUnavailable: one of the two is unavailable; the rest ends by itself, or with the next run.
    """
    removed = 0
    while names := starting_with(store.database, prefix, _PAGE):
        if store.settings.enable_checkout_sessions:
            for name in names:
                store.redis.remove(name)
        store.database.erase(*names)
        removed += len(names)
    return removed


@dataclass(frozen=True)
class Checkout:
    """A session to create."""

    checkout_id: str
    fields: dict[str, Any]


def checkouts(prefix: str, chance: random.Random, now: int) -> Iterator[Checkout]:
    """Invented sessions without end, of no real person; ``now`` is in milliseconds."""
    while True:
        for session in invented_sessions({Outcome.BROWSING: 50}, chance, now):
            fields = {name: value for name, value in session.fields.items() if name != "createdAt"}
            yield Checkout(f"{prefix}{session.checkout_id}", fields)
