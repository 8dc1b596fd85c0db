"""One server's memory for ``memory tune``: its settings, its use, and what an eviction would hit.

Where CONFIG is denied or renamed away, INFO still tells the limit and the policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import SystemRandom

from checkout_cli.clock import Clock
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
"""Keys that are sampled; where there are no more than twice as many, all are read."""
SOME_FILE = "redis.conf or valkey.conf"
"""Where a server does not tell which file it is."""


@dataclass(frozen=True)
class Sample:
    """The estimated number of keys and their bytes, by family; no bytes where the server does not tell."""

    keys: dict[Family, int]
    sizes: dict[Family, int]

    def share_of_bytes(self, *families: Family) -> float | None:
        """The part of all bytes that these families have, 0 to 1; ``None`` where no bytes are known."""
        total = sum(self.sizes.values())
        return sum(self.sizes.get(family, 0) for family in families) / total if total else None

    def sessions_in(self, size: int) -> int | None:
        """About how many sessions an eviction of so many bytes hits, if it hits all families alike."""
        sessions, number = self.sizes.get(Family.SESSIONS), self.keys.get(Family.SESSIONS)
        if not sessions or not number:
            return None
        return max(round(size * number / sum(self.sizes.values())), 1)


@dataclass(frozen=True)
class State:
    """One server. Sizes are in bytes; ``None`` is unknown.

    ``config_file`` is empty where the server was started without one. ``forks`` is whether the server copies itself now
    and then, for snapshots, its append-only file or a replica. ``no_config`` is why CONFIG does not work, if so.
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
        return self.server.place

    @property
    def no_config_in_words(self) -> str | None:
        return None if self.no_config is None else missing_grant(self.no_config)

    @property
    def used(self) -> int | None:
        return None if self.memory is None else self.memory.used

    @property
    def counted(self) -> int | None:
        return None if self.memory is None else self.memory.counted

    @property
    def elsewhere(self) -> str:
        """Where to change the settings, where CONFIG cannot."""
        if self.provider is not None:
            return f"the policy: {self.provider.policy}; the limit: {self.provider.limit}"
        return f"set maxmemory and maxmemory-policy in {self.config_file or SOME_FILE} or at your provider, and restart"

    @property
    def primary(self) -> str | None:
        """The address of a replica's primary."""
        if self.info.text("role") != "slave":
            return None
        return f"{self.info.text('master_host')}:{self.info.text('master_port')}"


@dataclass(frozen=True)
class Outlook:
    """The effect of limits on the present data.

    ``excess`` bytes are over the limit, and an estimated number of ``sessions`` would be evicted for them at once.
    ``share`` is the used part of the limit, from 0. ``None`` is unknown.
    """

    JSON_KEYS = "evicts excessBytes=excess usedShare=share:4 evictedSessionsEstimate=sessions"

    evicts: Evicts
    excess: int | None
    share: float | None
    sessions: int | None


def state_of(server: RedisServer) -> State:
    """Ask a server; raises where both INFO and CONFIG GET are refused, or where it does not answer."""
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
    return State(
        server,
        info.text("run_id") or "",
        limits,
        None if info.integer("used_memory") is None else Memory.of(server.place, info),
        info,
        info.text("config_file"),
        _forks(server, info),
        no_config,
        provider_of(server.host, info),
        None if info.integer("loading") else _sample(server),  # a loading server would refuse
    )


def limits_now(server: RedisServer) -> Limits:
    """The settings as CONFIG GET tells them."""
    return Limits.of(server.config("maxmemory*"))


def _forks(server: RedisServer, info: Info) -> bool:
    if any((info.integer(name) or 0) > 0 for name in ("aof_enabled", "rdb_saves", "connected_slaves")):
        return True
    try:
        return bool(server.config("save").get("save"))
    except (CommandDenied, CommandUnknown):
        return False


def outlook(state: State, limits: Limits) -> Outlook:
    """The immediate effect of limits."""
    what = evicts(limits.policy or "")
    if limits.maxmemory == 0:
        return Outlook(what, 0, None, 0)
    if limits.maxmemory is None or state.counted is None:
        return Outlook(what, None, None, None)
    excess = max(state.counted - limits.maxmemory, 0)
    sessions: int | None = 0
    if excess and what is not Evicts.NOTHING:
        sessions = None if state.sample is None else state.sample.sessions_in(excess)
    return Outlook(what, excess, state.counted / limits.maxmemory, sessions)


def _sample(server: RedisServer) -> Sample | None:
    try:
        found = sample_of(server, SAMPLE, SystemRandom(), now=Clock().wall(), few=2 * SAMPLE)
    except CheckoutError:  # denied, or not possible now; INFO and CONFIG are enough
        return None
    families = estimated_families([found])
    return Sample(
        {each.family: each.keys for each in families},
        {each.family: each.size for each in families if each.size is not None},
    )
