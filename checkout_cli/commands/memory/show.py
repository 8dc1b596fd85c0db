"""How full Redis is, how fast it fills, and what it evicts when full."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random, SystemRandom

from checkout_cli.clock import Clock
from checkout_cli.commands.memory.eviction import NO_EVICTION, EvictionRisk, eviction_risk, order_of
from checkout_cli.commands.memory.growth import SHORTEST_SPAN, USED, Growth, growth_between, reading_of
from checkout_cli.errors import CommandDenied, CommandUnknown, RedisUnavailable
from checkout_cli.files.last_look import LastLook
from checkout_cli.servers.inspection import Info, Inspector, missing_grant
from checkout_cli.servers.memory import Memory
from checkout_cli.servers.per_server import PerServer, of_each_server
from checkout_cli.store.redis.admin import RedisAdmin
from checkout_cli.store.redis.server import RedisServer

COMMAND = "memory"

_OVERHEADS = {
    "data": "used_memory_dataset",
    "overhead": "used_memory_overhead",
    "clients": "mem_clients_normal",
    "replicas": "mem_clients_slaves",
    "replicationBacklog": "mem_replication_backlog",
    "aofBuffer": "mem_aof_buffer",
    "scripts": "used_memory_scripts_eval",
    "functions": "used_memory_functions",
    "startup": "used_memory_startup",
}
"""Uses of memory, and their fields of INFO; all but the data are also part of ``overhead``."""
_FROM_MEMORY_STATS = {
    USED: "total.allocated",
    "used_memory_peak": "peak.allocated",
    "used_memory_rss": "allocator.resident",
    "used_memory_dataset": "dataset.bytes",
    "used_memory_overhead": "overhead.total",
    "used_memory_startup": "startup.allocated",
    "mem_clients_normal": "clients.normal",
    "mem_clients_slaves": "clients.slaves",
    "mem_replication_backlog": "replication.backlog",
    "mem_aof_buffer": "aof.buffer",
    "used_memory_scripts_eval": "lua.caches",
    "used_memory_functions": "functions.caches",
}
"""Fields of INFO, and what MEMORY STATS calls them."""


@dataclass(frozen=True)
class MemoryLook(Memory):
    """One server's memory and its change; ``no_growth`` and ``no_risk`` say why growth and risk are unknown."""

    JSON_KEYS = (
        "server=place usedBytes=used countedBytes=counted limitBytes=limit systemBytes=system headroomBytes=headroom "
        "fullness:4 peakBytes=peak residentBytes=resident fragmentation:3 reportedFragmentation policy? "
        "replica=is_replica evictedSinceStart=evicted sinceLastLook=growth minutesUntilFull:1 neverFull? "
        "overheadBytes=overheads evictedFirst notes"
    )

    overheads: Mapping[str, int] = field(default_factory=dict)
    growth: Growth | None = None
    no_growth: str = ""
    risk: EvictionRisk | None = None
    no_risk: str = ""
    notes: tuple[str, ...] = ()

    @property
    def evicted_first(self) -> EvictionRisk | dict[str, str]:
        return {"unknown": self.no_risk} if self.risk is None else replace(self.risk, none=self.no_risk)

    @property
    def minutes_until_full(self) -> float | None:
        """Until the limit, at this growth; ``None`` where it does not grow, or has no limit."""
        if self.limit is None or self.headroom is None:
            return None
        if not self.headroom:
            return 0.0
        if self.growth is None or self.growth.size_per_minute <= 0:
            return None
        return self.headroom / self.growth.size_per_minute

    @property
    def never_full(self) -> str:
        """Why there are no minutes until it is full; empty where there are."""
        if self.minutes_until_full is not None:
            return ""
        if not self.limit_known:
            return "the limit is unknown"
        if self.limit is None:
            return "there is no limit"
        return self.no_growth or "it does not grow"


@dataclass(frozen=True)
class MemoryReport(PerServer[MemoryLook]):
    """The memory of all servers; ``unwritten`` is why it could not be stored for the next run."""

    unwritten: str = ""


def look_at_memory(
    redis: RedisAdmin, *, clock: Clock | None = None, last_look: LastLook | None = None, random: Random | None = None
) -> MemoryReport:
    """Ask every server, compare with the last run, and store the readings; raises as :func:`of_each_server` does."""
    clock, last_look, random = clock or Clock(), last_look or LastLook(), random or SystemRandom()
    found = of_each_server(redis, lambda server: _inspected(server, last_look, clock.wall(), random), clock=clock)
    memory, unwritten = zip(*found.servers, strict=True)
    return MemoryReport(found.timestamp, memory, found.missing, max(unwritten))


def _inspected(inspector: Inspector, last_look: LastLook, now: int, random: Random) -> tuple[MemoryLook, str]:
    """One server's memory, and why its reading could not be stored, if so."""
    info, notes = _facts(inspector)
    place = inspector.place
    if info.integer(USED) is None:
        raise RedisUnavailable(f"Redis at {place} does not tell how much memory it uses")
    earlier, reading = last_look.previous(COMMAND, place), reading_of(info, now)
    growth, no_growth = growth_between(earlier, reading)
    risk, no_risk = _risk(inspector.server, Memory.of(place, info), random, now)
    overheads = {use: info.integer(name) for use, name in _OVERHEADS.items()}
    memory = MemoryLook.of(
        place,
        info,
        growth=growth,
        no_growth=no_growth,
        overheads={use: size for use, size in overheads.items() if size is not None},
        risk=risk,
        no_risk=no_risk,
        notes=(*notes, *(() if risk is None else risk.notes)),
    )
    if not reading.run:
        return memory, ""
    if earlier is not None and earlier.run == reading.run and 0 <= reading.seconds_since(earlier) < SHORTEST_SPAN:
        return memory, ""  # the next run compares with the earlier one again, until enough time has passed
    try:
        last_look.remember(COMMAND, place, reading)
    except OSError as error:
        return memory, last_look.reason(error)
    return memory, ""


def _risk(server: RedisServer, memory: Memory, random: Random, now: int) -> tuple[EvictionRisk | None, str]:
    policy, limit = memory.policy, memory.limit
    if not policy:
        return None, "the policy is unknown"
    try:
        risk = eviction_risk(server, policy, limit, random, now=now)
    except (CommandDenied, CommandUnknown) as refusal:
        return None, f"SCAN or DBSIZE {missing_grant(refusal)}"
    except RedisUnavailable as error:  # loading, say; INFO is still worth showing
        return None, str(error)
    if memory.is_replica:
        return risk, "a replica evicts nothing by itself: its primary does"
    if policy == NO_EVICTION:
        return risk, order_of(policy)
    return risk, "" if limit is not None else "nothing is evicted without a limit"


def _facts(inspector: Inspector) -> tuple[Info, tuple[str, ...]]:
    """INFO, or as much of it as MEMORY STATS and CONFIG know, and notes on what is missing then."""
    try:
        return inspector.info(), ()
    except (CommandDenied, CommandUnknown) as error:
        refusal = error
    try:
        stats = inspector.memory_stats()
    except (CommandDenied, CommandUnknown):
        raise refusal from None
    notes = [f"INFO {missing_grant(refusal)}: no peak of the past, no evictions, no growth"]
    fields = {
        name: str(stats[known]) for name, known in _FROM_MEMORY_STATS.items() if isinstance(stats.get(known), int)
    }
    try:
        config = inspector.config()
    except (CommandDenied, CommandUnknown) as also:
        notes.append(f"limit and policy are unknown: CONFIG {missing_grant(also)}")
    else:
        settings = {"maxmemory": "maxmemory", "maxmemory_policy": "maxmemory-policy"}
        fields |= {name: config[known] for name, known in settings.items() if known in config}
    return Info({"memory": fields}), tuple(notes)
