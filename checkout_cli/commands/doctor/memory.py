"""Is there memory for the next checkout, and what would Redis throw away without it?"""

from __future__ import annotations

from checkout_cli.checks import Finding, Skip, crit, ok, warn, warn_if
from checkout_cli.commands.doctor.check import Group, server_check
from checkout_cli.commands.doctor.context import DoctorContext
from checkout_cli.keys import INDEX, INDEX_BESIDE
from checkout_cli.servers.inspection import Inspector
from checkout_cli.servers.memory import MORE_ROOM, Memory
from checkout_cli.session import Durability
from checkout_cli.units import size

LITTLE_LEFT, NOTHING_LEFT = 0.80, 0.95
FRAGMENTED, SWAPPED = 1.4, 1.0
WORTH_A_WORD = 10 << 20
"""Bytes; below them a ratio says nothing (MEMORY DOCTOR's own limit)."""
HIGH_PEAK = 1.5
LARGE_BUFFER = 200 << 10
MANY_SCRIPTS = 1000
LAGGING = 10
"""Per cent of the keys with a time to live that are dead and not removed yet."""


@server_check("memory-limit", Group.MEMORY, "info")
def memory_limit(_context: DoctorContext, server: Inspector) -> Finding:
    """The server's memory has a limit.

    Without maxmemory Redis grows until the machine kills it or swaps. With one it refuses writes, or evicts, as its
    policy says; the store then goes on with the database.
    """
    memory = Memory.of(server.place, server.info())
    limit, used, ram = memory.limit, memory.used, memory.system
    if not memory.limit_known:
        raise Skip("this server does not tell its limit")
    if limit is None:
        of_ram = f" of the {size(ram)} of its machine" if ram else ""
        return warn(f"no limit; {size(used)}{of_ram} in use", MORE_ROOM, usedBytes=used)
    if ram and limit > ram:
        evidence = f"the limit, {size(limit)}, is more than the machine has, {size(ram)}"
        return warn(evidence, MORE_ROOM, limitBytes=limit, systemBytes=ram)
    return ok(f"{size(limit)}", limitBytes=limit, usedBytes=used)


@server_check("memory-headroom", Group.MEMORY, "info")
def memory_headroom(_context: DoctorContext, server: Inspector) -> Finding:
    """There is room below the limit.

    What replication and the append-only file buffer does not count for the limit, and so not here.
    """
    memory = Memory.of(server.place, server.info())
    if not memory.limit or server.info().integer("used_memory") is None:
        raise Skip("there is no limit to stay below")
    share = memory.counted / memory.limit
    evidence = f"{size(memory.counted)} of {size(memory.limit)} ({share:.0%})"
    numbers = {"countedBytes": memory.counted, "limitBytes": memory.limit}
    if share >= NOTHING_LEFT:
        return crit(evidence, MORE_ROOM, **numbers)
    return warn_if(share >= LITTLE_LEFT, evidence, "checkoutctl memory show", **numbers)


@server_check("eviction-policy", Group.MEMORY, "info", "ours:zcard")
def eviction_policy(context: DoctorContext, server: Inspector) -> Finding:
    """A full server does not throw live checkouts away.

    Every session has a time to live, so both the allkeys and the volatile policies evict them, without a word and in
    the middle of a payment. With noeviction a full server refuses the write instead, and the store keeps the session
    in the database. Caches that may be evicted belong on a server of their own. With CHECKOUT_DURABILITY=redis a
    session can be evicted before the database has it, so that any other policy is critical.
    """
    memory = Memory.of(server.place, server.info())
    policy = memory.policy
    if not policy:
        raise Skip("this server does not tell its policy")
    if not memory.evicts:
        return ok("noeviction: a full server refuses writes, and the database takes them")
    sizes = server.sorted_set_sizes([INDEX, INDEX_BESIDE])
    # Another program's key, another node's, or denied: the number is only for the evidence.
    sessions = max(size for size in (0, *sizes) if isinstance(size, int))
    fix = memory.against_evictions
    evidence = f"{policy} evicts live checkouts when full; {sessions:,} are in the index"
    if context.settings.durability == Durability.REDIS:
        return crit(f"{evidence}; CHECKOUT_DURABILITY=redis: some before the database has them", fix, sessions=sessions)
    if not sessions and not policy.startswith("allkeys-"):
        return ok(f"{policy}; there are no sessions that it could evict", sessions=0)
    if memory.limit is None:
        return warn(f"{evidence}; no limit is set, so not today", fix, sessions=sessions)
    full = memory.used / memory.limit
    find = crit if policy.startswith("allkeys-") or full >= LITTLE_LEFT else warn
    return find(f"{evidence} ({full:.0%} full)", fix, sessions=sessions)


@server_check("evictions", Group.MEMORY, "info")
def evictions(context: DoctorContext, server: Inspector) -> Finding:
    """Nothing was evicted since the last look.

    Each evicted key may have been a live checkout. Compared with the last run of doctor, because the server counts
    from its start; what a run has found stays a finding for an hour.
    """
    evicted, since = context.grown(server, "evicted_keys")
    if not evicted:
        return ok(f"none {since}", evicted=0)
    evidence = f"sessions are being lost: {evicted:,.0f} keys were evicted {since}"
    memory = Memory.of(server.place, server.info())
    return crit(evidence, memory.against_evictions if memory.evicts_sessions else MORE_ROOM, evicted=int(evicted))


@server_check("fragmentation", Group.MEMORY, "info")
def fragmentation(_context: DoctorContext, server: Inspector) -> Finding:
    """Little memory is lost between the values, and none of it is swapped out.

    The ratio of what the machine gives to what Redis uses. Above 1.4 memory is wasted; below 1 some of it is in the
    swap space, and every answer from there takes milliseconds.
    """
    info = server.info()
    ratio, lost = info.number("mem_fragmentation_ratio"), info.integer("mem_fragmentation_bytes") or 0
    if ratio is None:
        raise Skip("this server does not tell it")
    evidence = f"ratio {ratio:.2f}, {size(abs(lost))}"
    numbers = {"ratio": ratio, "bytes": lost}
    if abs(lost) < WORTH_A_WORD:
        return ok(f"{evidence}: too little to matter", **numbers)
    if ratio > FRAGMENTED:
        return warn(evidence, "redis-cli MEMORY PURGE", **numbers)
    if ratio < SWAPPED:
        return warn(f"{evidence} may be swapped out", "free -m", **numbers)
    return ok(evidence, **numbers)


@server_check("memory-overheads", Group.MEMORY, "info")
def memory_overheads(_context: DoctorContext, server: Inspector) -> Finding:
    """Buffers, scripts and past peaks take little memory.

    The limits are those of Redis' own MEMORY DOCTOR: a peak of 1.5 times today's use, client buffers of 200 KiB each,
    replica buffers of 10 MiB each, a thousand cached scripts.
    """
    info = server.info()
    used = info.integer("used_memory") or 0
    if used < WORTH_A_WORD:
        return ok(f"{size(used)} in use: too little to matter", usedBytes=used)
    buffers = (info.integer("mem_clients_normal") or 0) / max(info.integer("connected_clients") or 0, 1)
    replicas = (info.integer("mem_clients_slaves") or 0) / max(info.integer("connected_slaves") or 0, 1)
    peak, scripts = (info.integer("used_memory_peak") or used) / used, info.integer("number_of_cached_scripts") or 0
    limits = {
        f"the peak was {peak:.1f} times today's use": peak > HIGH_PEAK,
        f"{size(int(buffers))} of buffers per client": buffers > LARGE_BUFFER,
        f"{size(int(replicas))} of buffers per replica": replicas > WORTH_A_WORD,
        f"{scripts:,} cached scripts": scripts > MANY_SCRIPTS,
    }
    found = "; ".join(words for words, is_high in limits.items() if is_high)
    evidence = found or f"peak {peak:.1f} times today's use, {size(int(buffers))} per client, {scripts} scripts"
    numbers = {"peakRatio": round(peak, 3), "bytesPerClient": int(buffers), "scripts": scripts}
    return warn_if(found, evidence, "redis-cli MEMORY DOCTOR", **numbers)


@server_check("expiry-lag", Group.MEMORY, "info")
def expiry_lag(_context: DoctorContext, server: Inspector) -> Finding:
    """Redis removes expired keys about as fast as they expire.

    It samples keys in the background; when many are dead and still there, they fill the memory.
    """
    stale = server.info().number("expired_stale_perc")
    if stale is None:
        raise Skip("this server does not tell it")
    evidence = f"about {stale:.1f} % of the keys are expired and not removed"
    return warn_if(stale > LAGGING, evidence, "redis-cli CONFIG SET active-expire-effort 4", stalePercent=stale)
