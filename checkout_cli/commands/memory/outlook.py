"""One server's memory as ``memory tune`` sees it: its settings today, what is in use, and what an eviction would hit.

Where CONFIG is denied or renamed away, INFO still tells the limit and the policy.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import SystemRandom

from checkout_cli.commands.memory.estimates import estimated_families
from checkout_cli.commands.memory.limits import Evicts, Limits, evicts
from checkout_cli.commands.memory.sample import sample_of
from checkout_cli.errors import CheckoutError, CommandDenied, CommandUnknown
from checkout_cli.keys import Family
from checkout_cli.servers.inspection import Info, Inspector, missing_grant
from checkout_cli.servers.memory import Memory
from checkout_cli.servers.providers import Provider, provider_of
from checkout_cli.store.redis.server import RedisServer

SAMPLE = 1000
"""Keys that are looked at; with no more than twice as many, all are."""


@dataclass(frozen=True)
class Sample:
    """By family, how many keys there are and the bytes of all of them, estimated; no bytes where nobody tells."""

    keys: dict[Family, int]
    sizes: dict[Family, int]

    def share_of_bytes(self, *families: Family) -> float | None:
        """How much of the bytes belongs to these families, from 0 to 1; ``None`` where none are known."""
        total = sum(self.sizes.values())
        return sum(self.sizes.get(family, 0) for family in families) / total if total else None

    @property
    def session_bytes(self) -> float | None:
        """The average session's bytes; ``None`` where there is none, or nobody tells."""
        size, number = self.sizes.get(Family.SESSIONS), self.keys.get(Family.SESSIONS)
        return size / number if size and number else None


@dataclass(frozen=True)
class Looked:
    """One server as it is. Bytes everywhere; ``None`` is what it does not tell.

    ``memory`` is ``None`` where nobody tells what is in use. ``config_file`` is where its settings are read from at a
    start, empty where there is no such file. ``forks`` is whether it copies itself now and then, for snapshots, its
    append-only file or a replica. ``no_config`` is why CONFIG does not work, if it does not.
    """

    server: RedisServer
    run: str
    limits: Limits
    memory: Memory | None
    info: Info
    config_file: str | None
    forks: bool
    no_config: CheckoutError | None
    provider: Provider | None
    sample: Sample | None

    @property
    def place(self) -> str:
        """Where it is, in words."""
        return self.server.place

    @property
    def no_config_in_words(self) -> str | None:
        """What CONFIG would need to work, where it does not."""
        return None if self.no_config is None else missing_grant(self.no_config)

    @property
    def used(self) -> int | None:
        """What is in use."""
        return None if self.memory is None else self.memory.used

    @property
    def counted(self) -> int | None:
        """What counts against the limit."""
        return None if self.memory is None else self.memory.counted

    @property
    def primary(self) -> str | None:
        """Of a replica, whose; ``None`` for a primary."""
        if self.info.text("role") != "slave":
            return None
        return f"{self.info.text('master_host')}:{self.info.text('master_port')}"


@dataclass(frozen=True)
class Outlook:
    """What limits would mean for the data that is there now.

    ``excess`` is how many bytes are over the limit, and ``sessions`` about how many of the sessions would be evicted
    for them at once (``None``: nobody can tell). ``share`` is how much of the limit is in use, from 0.
    """

    JSON_KEYS = "evicts excessBytes=excess usedShare=share:4 evictedSessionsEstimate=sessions"

    evicts: Evicts
    excess: int | None
    share: float | None
    sessions: int | None


def look_at(server: RedisServer) -> Looked:
    """Ask a server.

    Raises:
        CommandDenied: it tells nothing, since both INFO and CONFIG GET are denied.
        CommandUnknown: the same, where they are renamed away.
        RedisUnavailable: it does not answer.
    """
    inspector = Inspector(server)
    try:
        info = inspector.info()
    except (CommandDenied, CommandUnknown):
        info = Info({})
    limits, no_config = Limits(info.integer("maxmemory"), info.text("maxmemory_policy")), None
    try:
        limits = limits.with_(limits_now(server))  # some services answer CONFIG GET in part
    except (CommandDenied, CommandUnknown) as refusal:
        if not info.sections:
            raise
        no_config = refusal
    return Looked(
        server,
        info.text("run_id") or "",
        limits,
        None if info.integer("used_memory") is None else Memory.of(server.place, info),
        info,
        info.text("config_file"),
        _forks(server, info),
        no_config,
        provider_of(server.host, info),
        None
        if info.integer("loading")
        else _sample(server, info),  # a server that loads refuses, and would count as away
    )


def limits_now(server: RedisServer) -> Limits:
    """The settings as CONFIG GET tells them.

    Raises:
        CommandDenied: this user may not ask.
        CommandUnknown: there is no CONFIG here.
        RedisUnavailable: no answer.
    """
    return Limits.of(server.config("maxmemory*"))


def _forks(server: RedisServer, info: Info) -> bool:
    if any((info.integer(name) or 0) > 0 for name in ("aof_enabled", "rdb_saves", "connected_slaves")):
        return True
    try:
        return bool(server.config("save").get("save"))
    except (CommandDenied, CommandUnknown):
        return False


def outlook(looked: Looked, limits: Limits) -> Outlook:
    """What limits would mean at once."""
    what = evicts(limits.policy or "")
    if limits.maxmemory == 0:
        return Outlook(what, 0, None, 0)
    if limits.maxmemory is None or looked.counted is None:
        return Outlook(what, None, None, None)
    excess = max(looked.counted - limits.maxmemory, 0)
    sessions = 0 if not excess or what is Evicts.NOTHING else _sessions_in(excess, looked.sample)
    return Outlook(what, excess, looked.counted / limits.maxmemory, sessions)


def _sessions_in(size: int, sample: Sample | None) -> int | None:
    """About how many sessions an eviction of so many bytes hits, if it hits all alike."""
    if sample is None:
        return None
    share, one = sample.share_of_bytes(Family.SESSIONS), sample.session_bytes
    return None if share is None or one is None else max(round(size * share / one), 1)


def _sample(server: RedisServer, info: Info) -> Sample | None:
    is_cluster = info.integer("cluster_enabled") == 1
    try:
        found = sample_of(
            server, SAMPLE, SystemRandom(), now=time.time_ns() // 1_000_000, is_cluster=is_cluster, few=2 * SAMPLE
        )
    except CheckoutError:  # it is denied, or cannot be now; what was learnt until here is enough
        return None
    families = estimated_families([found])
    return Sample(
        {each.family: each.keys for each in families},
        {each.family: each.size for each in families if each.size is not None},
    )
