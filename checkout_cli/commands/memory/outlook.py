"""One server's memory as ``memory tune`` sees it: its settings today, what is in use, and what an eviction would hit.

Where CONFIG is denied or renamed away, INFO still tells the limit and the policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from checkout_cli.commands.memory.limits import Evicts, Limits, evicts
from checkout_cli.errors import CheckoutError, CommandDenied, CommandUnknown
from checkout_cli.keys import Family, family_of
from checkout_cli.servers.inspection import Info, Inspector
from checkout_cli.servers.providers import Provider, provider_of
from checkout_cli.store.redis.commands import Command
from checkout_cli.store.redis.server import RedisServer

SCANNED = 200
"""Keys that one SCAN looks at: about a millisecond of the server's time, even where nothing is in its caches."""
MOST_SCANS = 5
MOST_MEASURED = 200
"""Of the keys that were seen, so many are measured with MEMORY USAGE, in one pipeline."""


@dataclass(frozen=True)
class Sample:
    """A look at some keys: how many were seen of each family, and the bytes of those that were measured."""

    seen: dict[Family, int]
    measured: dict[Family, tuple[int, int]]
    """Of each family, how many keys, and their bytes together."""

    @property
    def keys(self) -> int:
        """How many were seen."""
        return sum(self.seen.values())

    def share_of_bytes(self, *families: Family) -> float | None:
        """How much of the measured bytes belongs to these families, from 0 to 1; ``None`` where none were measured."""
        total = sum(size for _, size in self.measured.values())
        return sum(self.measured.get(family, (0, 0))[1] for family in families) / total if total else None

    @property
    def session_bytes(self) -> float | None:
        """The average session's bytes; ``None`` where none was measured."""
        count, size = self.measured.get(Family.SESSIONS, (0, 0))
        return size / count if count else None


@dataclass(frozen=True)
class Looked:
    """One server as it is. Bytes everywhere; ``None`` is what it does not tell.

    ``counted`` is what counts against the limit. ``config_file`` is where its settings are read from at a start, empty
    where there is no such file. ``forks`` is whether it copies itself now and then, for snapshots, its append-only file
    or a replica. ``no_config`` is why CONFIG does not work, if it does not.
    """

    server: RedisServer
    run: str
    limits: Limits
    used: int | None
    counted: int | None
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
    used = info.integer("used_memory")
    return Looked(
        server,
        info.text("run_id") or "",
        limits,
        used,
        None if used is None else max(used - (info.integer("mem_not_counted_for_evict") or 0), 0),
        info,
        info.text("config_file"),
        _forks(server, info),
        no_config,
        provider_of(server.host, info),
        None if info.integer("loading") else _sample(server),  # a server that loads refuses, and would count as away
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


def _sample(server: RedisServer) -> Sample | None:
    """Some of the keys, as SCAN brings them: by their hashes, so that they are nobody's choice."""
    try:
        keys = _scanned(server)
        measured = _measured(server, keys[:: max(len(keys) // MOST_MEASURED, 1)][:MOST_MEASURED])
    except CheckoutError:  # it is denied, or cannot be now; what was learnt until here is enough
        return None
    seen: dict[Family, int] = {}
    for key in keys:
        seen[family_of(key)] = seen.get(family_of(key), 0) + 1
    return Sample(seen, measured)


def _scanned(server: RedisServer) -> list[bytes]:
    keys: list[bytes] = []
    cursor = b"0"
    for _ in range(MOST_SCANS):
        cursor, page = server.ask(("SCAN", cursor, "COUNT", SCANNED))
        keys += page
        if cursor == b"0":
            break
    return keys


def _measured(server: RedisServer, keys: Sequence[bytes]) -> dict[Family, tuple[int, int]]:
    found: dict[Family, tuple[int, int]] = {}
    commands: list[Command] = [("MEMORY", "USAGE", key) for key in keys]
    sizes: list[Any] = server.exchange(commands)[1] if commands else []
    for key, size in zip(keys, sizes, strict=True):
        if isinstance(size, int):  # not one that is denied, or has expired since
            count, total = found.get(family_of(key), (0, 0))
            found[family_of(key)] = (count + 1, total + size)
    return found
