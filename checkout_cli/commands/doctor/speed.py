"""Is it fast, and if not, why?"""

from __future__ import annotations

import math
from collections.abc import Collection
from contextlib import suppress

from checkout_cli.checks import Finding, Skip, ok, warn, warn_if
from checkout_cli.commands.doctor.check import Group, Need, check, server_check
from checkout_cli.commands.doctor.context import DoctorContext
from checkout_cli.errors import CheckoutError, CommandDenied, CommandUnknown
from checkout_cli.servers.inspection import Inspector
from checkout_cli.store.redis.clients import described
from checkout_cli.store.redis.commands import decoded

SLOW_ROUND_TRIP = 0.010
"""Seconds, of the slowest in a hundred."""
SLOW_FORK = 500_000
"""Microseconds."""
SLOW_EVENT = 100
"""Milliseconds."""
LOOKED_AT = 128
"""Entries of the slow log: Redis' own default keeps no more."""

MOST_CALLERS = 3
"""Clients that a finding names."""

BLOCKING = {name: f"cmdstat_{name.lower()}" for name in ("KEYS", "FLUSHALL", "FLUSHDB", "MONITOR")}


@check("round-trip", Group.SPEED, Need.REDIS, "ping")
def round_trip(context: DoctorContext) -> Finding:
    """A round trip takes less than 10 ms.

    Twenty PINGs over one connection: the network, TLS and whatever keeps the server busy are all in it.
    """
    summary = context.connection
    median, slowest = summary.percentile(50), summary.percentile(99)
    numbers = {"medianMs": round(median * 1000, 3), "p99Ms": round(slowest * 1000, 3), "samples": summary.answered}
    evidence = f"median {median * 1000:.2f} ms, slowest {slowest * 1000:.2f} ms of {summary.answered}"
    return warn_if(slowest > SLOW_ROUND_TRIP, evidence, "checkoutctl latency", **numbers)


@server_check("blocking-commands", Group.SPEED, "info", "client|list", "slowlog|get")
def blocking_commands(context: DoctorContext, server: Inspector) -> Finding:
    """Nobody runs commands that block everybody else, such as KEYS.

    KEYS looks at every key while all shoppers wait, MONITOR copies every command to its client, and a flush deletes
    every checkout.
    """
    grown, since = context.all_grown(server, BLOCKING)
    if not grown:
        return ok(f"none {since}".rstrip())
    evidence = ", ".join(f"{command} {number:,} times" for command, number in grown.items())
    callers = _callers(server, grown)
    whose = f", by {', '.join(callers)}" if callers else ""
    return warn(f"{evidence} {since}{whose}: SCAN does not block", "checkoutctl monitor --command KEYS", **grown)


def _callers(server: Inspector, commands: Collection[str]) -> list[str]:
    """Clients that ran these commands: by their last command, and by the slow log; none where both are denied."""
    found: list[str] = []
    with suppress(CheckoutError):
        clients = server.clients()
        found += (described(each.address, each.name) for each in clients if each.command.upper() in commands)
    with suppress(CheckoutError):
        found += (
            described(entry.client, entry.client_name)
            for entry in server.slow_commands(LOOKED_AT)
            if entry.arguments and decoded(entry.arguments[0]).upper() in commands
        )
    return list(dict.fromkeys(filter(None, found)))[:MOST_CALLERS]


@server_check("slow-log", Group.SPEED, "slowlog|get", "slowlog|len", "config|get")
def slow_log(context: DoctorContext, server: Inspector) -> Finding:
    """The slow log is on, and empty of late.

    What took longer than slowlog-log-slower-than microseconds, of the last hour.
    """
    entries = server.slow_commands(LOOKED_AT)
    threshold = _setting(server, "slowlog-log-slower-than")
    if threshold is not None and threshold < 0:
        return warn("it is off", "redis-cli CONFIG SET slowlog-log-slower-than 10000")
    recent = [entry for entry in entries if entry.at > context.now() - 3_600_000]
    above = "" if threshold is None else f" of {threshold / 1000:g} ms or more"
    if not recent:
        return ok(f"no command{above} in the last hour", slow=0)
    slowest = max(recent, key=lambda entry: entry.microseconds)
    name = decoded(slowest.arguments[0])[:32].upper() if slowest.arguments else "?"
    took = slowest.microseconds / 1000
    client = described(slowest.client, slowest.client_name)
    by = f" by {client}" if client else ""
    evidence = f"{len(recent)} commands{above} in the last hour, the slowest {name}{by}: {took:,.1f} ms"
    return warn(evidence, "checkoutctl slowlog", slow=len(recent), slowestMs=took)


def _setting(server: Inspector, name: str) -> int | None:
    """A number from the server's configuration; ``None`` where that is denied."""
    try:
        return int(server.config().get(name, ""))
    except (CommandDenied, CommandUnknown, ValueError):
        return None


@server_check("latency-events", Group.SPEED, "latency|latest", "config|get")
def latency_events(context: DoctorContext, server: Inspector) -> Finding:
    """The server has measured no long pauses in the last hour.

    Only where its latency monitor is on (latency-monitor-threshold, off by default).
    """
    events = server.latency_events()
    recent = [event for event in events if event.at > context.now() - 3_600_000]
    long = [event for event in recent if event.latest >= SLOW_EVENT]
    if long:
        longest = max(long, key=lambda event: event.latest)
        took = f"{decoded(longest.name)[:40]} took {longest.latest:,} ms"
        evidence = f"{took}; {len(long)} kinds of pauses in the last hour"
        return warn(evidence, "checkoutctl latency", slowestMs=longest.latest)
    if _setting(server, "latency-monitor-threshold") == 0:
        raise Skip("the latency monitor is off: redis-cli CONFIG SET latency-monitor-threshold 100")
    return ok(f"{len(recent)} kinds of short pauses in the last hour")


@server_check("fork", Group.SPEED, "info")
def fork(_context: DoctorContext, server: Inspector) -> Finding:
    """Saving does not freeze the server.

    To save, Redis forks, and answers nobody while the page table is copied: 10 to 20 ms for each GiB on a good machine.
    """
    spent = server.info().integer("latest_fork_usec")
    if spent is None:
        raise Skip("this server does not tell it")
    if spent > SLOW_FORK:
        fix = "less memory per server, huge pages off, or a machine that forks faster"
        return warn(f"the last fork froze it for {spent / 1000:,.0f} ms", fix, forkMs=spent / 1000)
    return ok(f"the last fork took {spent / 1000:,.1f} ms" if spent else "it has not forked yet", forkMs=spent / 1000)


@server_check("hit-rate", Group.SPEED, "info")
def hit_rate(context: DoctorContext, server: Inspector) -> Finding:
    """Reads mostly find their key.

    Over all keys and programs of the server. Below 80 % caches are cold, are invalidated too often, or evicted.
    """
    hits, since = context.grown(server, "keyspace_hits", all_at_first=True)
    misses, _ = context.grown(server, "keyspace_misses", all_at_first=True)
    reads = hits + misses
    if reads < 1000:
        raise Skip(f"only {reads:,.0f} reads {since}")
    rate = hits / reads
    evidence = f"{rate:.1%} of {reads:,.0f} reads {since}"
    numbers = {"rate": round(rate, 4), "reads": int(reads)}
    return warn_if(rate < 0.8 and not math.isclose(rate, 0.8), evidence, "checkoutctl cache stats", **numbers)
