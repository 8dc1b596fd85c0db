"""How full Redis is, how fast it fills, and what happens then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random, SystemRandom

from checkout_cli.clock import Clock
from checkout_cli.commands.memory.eviction import NO_EVICTION, EvictionRisk, eviction_risk, order_of
from checkout_cli.errors import CheckoutError, CommandDenied, CommandUnknown, RedisUnavailable
from checkout_cli.files.last_look import LastLook, Reading
from checkout_cli.servers.inspection import Info, Inspector, missing_grant
from checkout_cli.servers.memory import Memory
from checkout_cli.servers.per_server import PerServer, of_each_server
from checkout_cli.store.redis.admin import RedisAdmin

COMMAND = "memory"
SHORTEST_SPAN = 10.0
"""Seconds between two looks that are compared; in less, what a single client does looks like a trend."""
_USED, _EVICTED = "used_memory", "evicted_keys"

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
"""What memory is used for, and the field of INFO that tells; all but the data is also part of ``overhead``."""


@dataclass(frozen=True)
class Growth:
    """What has changed in ``seconds`` since an earlier look: bytes, and evicted keys (``None``: not known)."""

    JSON_KEYS = "seconds:1 bytes=size:0 bytesPerMinute=size_per_minute:0 evicted evictedPerMinute:2"

    seconds: float
    size: float
    evicted: float | None

    @property
    def size_per_minute(self) -> float:
        """Bytes a minute; below zero where it shrinks."""
        return self.size / self.seconds * 60

    @property
    def evicted_per_minute(self) -> float | None:
        """Keys a minute."""
        return None if self.evicted is None else self.evicted / self.seconds * 60


@dataclass(frozen=True)
class MemoryLook(Memory):
    """One server's memory, beside the look before; ``no_growth`` and ``no_risk`` say why nobody knows."""

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
        """What goes first when it is full, or why nobody knows."""
        return {"unknown": self.no_risk} if self.risk is None else replace(self.risk, none=self.no_risk)

    @property
    def minutes_until_full(self) -> float | None:
        """Until the limit, if it goes on growing like this; ``None`` where it does not, or has none."""
        if self.limit is None or self.headroom is None:
            return None
        if not self.headroom:
            return 0.0
        if self.growth is None or self.growth.size_per_minute <= 0:
            return None
        return self.headroom / self.growth.size_per_minute

    @property
    def never_full(self) -> str:
        """Why there are no minutes until it is full, in words; empty where there are."""
        if self.minutes_until_full is not None:
            return ""
        if not self.limit_known:
            return "the limit is unknown"
        if self.limit is None:
            return "there is no limit"
        return self.no_growth or "it does not grow"


@dataclass(frozen=True)
class MemoryReport(PerServer[MemoryLook]):
    """What every server tells; ``unwritten`` is why that was not kept for the next look."""

    unwritten: str = ""


def look_at_memory(
    redis: RedisAdmin, *, clock: Clock | None = None, last_look: LastLook | None = None, random: Random | None = None
) -> MemoryReport:
    """Ask every server, compare with the last look, and remember this one.

    Raises:
        CommandDenied, CommandUnknown: neither INFO nor MEMORY STATS works here.
        RedisUnavailable: no server answers.
    """
    clock, last_look = clock or Clock(), last_look or LastLook()

    def ask(server: Inspector) -> tuple[MemoryLook, str]:
        look = _Look(server, last_look, clock.wall())
        return look.memory(random or SystemRandom(), is_cluster=redis.is_cluster), look.remember()

    found = of_each_server(redis, ask, clock=clock)
    memory, unwritten = zip(*found.servers, strict=True)
    return MemoryReport(found.timestamp, memory, found.missing, max(unwritten))


def reading_of(info: Info, now: int) -> Reading:
    """What growth is judged by, at ``now`` (ms)."""
    numbers = {name: info.number(name) for name in (_USED, _EVICTED)}
    known = {name: value for name, value in numbers.items() if value is not None}
    return Reading(now, info.text("run_id") or "", known)


def growth_between(earlier: Reading | None, reading: Reading) -> tuple[Growth | None, str]:
    """What has changed since an earlier reading of the same server, or why nobody knows."""
    if not reading.run:
        return None, "growth is unknown: this server does not say since when it runs"
    if earlier is None or _USED not in earlier.counters:
        return None, "this is the first look; the next one tells how it grows"
    if earlier.run != reading.run:
        return None, "Redis has restarted since the last look; the next one tells how it grows"
    seconds = reading.seconds_since(earlier)
    if seconds < SHORTEST_SPAN:
        return None, f"the last look was less than {SHORTEST_SPAN:.0f} s ago; look again a little later"
    size = reading.counters[_USED] - earlier.counters[_USED]
    return Growth(seconds, size, reading.since(earlier, _EVICTED)), ""


def _facts(inspector: Inspector) -> tuple[Info, tuple[str, ...]]:
    """INFO, or as much of it as MEMORY STATS and CONFIG know, and what is missing then."""
    try:
        return inspector.info(), ()
    except (CommandDenied, CommandUnknown) as refusal:
        info, notes = _without_info(inspector, refusal)
        return info, (f"INFO {missing_grant(refusal)}: no peak of the past, no evictions, no growth", *notes)


def _without_info(inspector: Inspector, refusal: CheckoutError) -> tuple[Info, tuple[str, ...]]:
    try:
        stats = inspector.memory_stats()
    except (CommandDenied, CommandUnknown):
        raise refusal from None
    names = {
        _USED: "total.allocated",
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
    fields = {name: str(stats[known]) for name, known in names.items() if isinstance(stats.get(known), int)}
    notes: tuple[str, ...] = ()
    try:
        config = inspector.config()
    except (CommandDenied, CommandUnknown) as also:
        notes = (f"limit and policy are unknown: CONFIG {missing_grant(also)}",)
    else:
        settings = {"maxmemory": "maxmemory", "maxmemory_policy": "maxmemory-policy"}
        fields |= {name: config[known] for name, known in settings.items() if known in config}
    return Info({"memory": fields}), notes


class _Look:
    """One server's facts beside those of the look before."""

    def __init__(self, inspector: Inspector, last_look: LastLook, now: int) -> None:
        self._inspector = inspector
        self._info, self._notes = _facts(inspector)
        self._last_look = last_look
        self._now = now
        self._earlier = last_look.previous(COMMAND, inspector.place)
        self._reading = reading_of(self._info, now)

    def memory(self, random: Random, *, is_cluster: bool) -> MemoryLook:
        info, place = self._info, self._inspector.place
        if info.integer(_USED) is None:
            raise RedisUnavailable(f"Redis at {place} does not tell how much memory it uses")
        growth, no_growth = growth_between(self._earlier, self._reading)
        risk, no_risk = self._risk(Memory.of(place, info), random, is_cluster=is_cluster)
        return MemoryLook.of(
            place,
            info,
            growth=growth,
            no_growth=no_growth,
            overheads=self._overheads(),
            risk=risk,
            no_risk=no_risk,
            notes=(*self._notes, *(() if risk is None else risk.notes)),
        )

    def _overheads(self) -> dict[str, int]:
        known = {what: self._info.integer(name) for what, name in _OVERHEADS.items()}
        return {what: size for what, size in known.items() if size is not None}

    def remember(self) -> str:
        """Keep this look for the next one; returns why that is not possible, if it is not."""
        earlier, reading = self._earlier, self._reading
        if not reading.run:
            return ""
        if earlier is not None and earlier.run == reading.run and 0 <= reading.seconds_since(earlier) < SHORTEST_SPAN:
            return ""  # the earlier one goes on being compared with, until enough time has passed
        try:
            self._last_look.remember(COMMAND, self._inspector.place, reading)
        except OSError as error:
            return f"{self._last_look.path}: {error.strerror or error}"
        return ""

    def _risk(self, memory: Memory, random: Random, *, is_cluster: bool) -> tuple[EvictionRisk | None, str]:
        """What would be evicted first, or why nobody knows."""
        policy, limit = memory.policy, memory.limit
        if not policy:
            return None, "the policy is unknown"
        try:
            risk = eviction_risk(self._inspector.server, policy, limit, random, now=self._now, is_cluster=is_cluster)
        except (CommandDenied, CommandUnknown) as refusal:
            return None, f"SCAN or DBSIZE {missing_grant(refusal)}"
        except RedisUnavailable as away:  # it is loading, say; what INFO has told is worth showing
            return None, str(away)
        if memory.is_replica:
            return risk, "a replica evicts nothing by itself: its primary does"
        if policy == NO_EVICTION:
            return risk, order_of(policy)
        return risk, "" if limit is not None else "nothing is evicted without a limit"
