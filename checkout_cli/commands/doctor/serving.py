"""Can this Redis serve checkouts: is it the primary, loaded, writable, and are its own safeguards well?"""

from __future__ import annotations

import secrets

from checkout_cli.checks import Finding, Skip, crit, ok, warn, warn_if
from checkout_cli.commands.doctor.check import Group, Need, check, server_check
from checkout_cli.commands.doctor.context import DoctorContext
from checkout_cli.commands.ping.clients import Clients, connected_clients
from checkout_cli.config.addresses import address_text
from checkout_cli.config.fixes import setting, to_the_primary
from checkout_cli.errors import CommandDenied, RedisLoading, RedisUnavailable
from checkout_cli.keys import lock_key
from checkout_cli.servers.inspection import Info, Inspector
from checkout_cli.session import Durability
from checkout_cli.typed import typed

PROBE_LIFE = 5_000
"""How long the key of the write check lives at most, in milliseconds."""
MANY_CLIENTS = 0.8
LONGEST_WAIT = 60
"""Seconds to wait for a server that loads before anybody looks again."""
LAGGING = 10
"""Seconds since a replica's last word that are worth a warning."""

HURTING = {code: f"errorstat_{code}" for code in ("NOPERM", "OOM", "MISCONF", "READONLY", "NOAUTH", "NOREPLICAS")}
LOST_WITH = {
    "always": "no acknowledged write",
    "everysec": "the last second or two of what was not flushed yet",
    "no": "what the kernel had not written (30 s on Linux) of what was not flushed yet",
}
"""What a crash of the server takes with it by ``appendfsync``, where the writers end too."""
_EACH_SECOND = "redis-cli CONFIG SET appendfsync everysec, and the same in its configuration file"
_WAYS_OUT = {
    "OOM": "checkoutctl memory tune --advise",
    "maxmemory": "checkoutctl memory tune --advise",
    "MISCONF": "redis-cli BGSAVE",
    "READONLY": "checkoutctl doctor --only topology",
}
"""What to do about a refused write, by a word of the refusal."""


@server_check("topology", Group.SERVING, "info", "cluster|info")
def topology(context: DoctorContext, server: Inspector) -> Finding:
    """The settings name a primary, and the right kind of server.

    A replica refuses every write; a node of a cluster answers MOVED to a client that does not expect one. The settings
    must say REDIS_MODE=cluster for the one and name the primary (or the Sentinels) for the other.
    """
    info = server.info()
    if info.text("role") == "slave":
        host, port = info.text("master_host") or "?", info.integer("master_port") or 0
        evidence = f"a replica of {address_text(host, port)}: nothing can be written there"
        return crit(evidence, to_the_primary(context.settings, host, port))
    is_cluster = info.integer("cluster_enabled") == 1
    if is_cluster != context.settings.is_cluster:
        mode = "cluster" if is_cluster else "standalone"
        return crit(f"the server is {'' if is_cluster else 'not '}a node of a cluster", setting(REDIS_MODE=mode))
    if not is_cluster:
        behind = f" behind {len(context.settings.sentinels())} Sentinels" if context.settings.redis_sentinels else ""
        return ok(f"a primary{behind}")
    state = server.cluster_info()
    assigned, size = state.integer("cluster_slots_assigned") or 0, state.integer("cluster_size") or 0
    numbers = {"slotsAssigned": assigned, "primaries": size}
    if state.text("cluster_state") == "ok":
        return ok(f"a primary of a cluster of {size}, all {assigned:,} slots served", **numbers)
    failing = state.integer("cluster_slots_fail") or 0
    evidence = f"cluster_state {state.text('cluster_state')}: {assigned:,} slots assigned, {failing:,} failing"
    return crit(evidence, typed("redis-cli --cluster check {}", server.place), **numbers)


@server_check("loading", Group.SERVING, "info")
def loading(_context: DoctorContext, server: Inspector) -> Finding:
    """The server has loaded its data.

    After a restart Redis reads its snapshot or its append-only file first, and refuses everything meanwhile. The store
    serves from the database until then.
    """
    info = server.info()
    if info.integer("loading") != 1:
        return ok("its data is loaded")
    share, left = info.number("loading_loaded_perc") or 0.0, info.integer("loading_eta_seconds") or 0
    wait = f"sleep {min(max(left, 1), LONGEST_WAIT)}; checkoutctl health"
    return crit(f"loading its data: {share:.0f} %, about {left} s to go", wait)


@check("write", Group.SERVING, Need.REDIS, "locks:set,get,del")
def write(context: DoctorContext) -> Finding:
    """A key can be written, read and deleted.

    Doctor writes one key of its own under checkout:lock:, which would end by itself after five seconds, reads it and
    deletes it. A full server, one whose last save failed, and a replica each refuse in their own words.
    """
    key, value = lock_key(f"doctor-{secrets.token_hex(4)}"), secrets.token_hex(4)
    try:
        read = context.store.redis.write_and_read(key, value, PROBE_LIFE)
    except CommandDenied as denied:
        raise Skip(f"needs {denied.grant or 'write access to checkout:lock:*'}") from denied
    except RedisLoading as still:
        raise Skip("it still loads its data") from still
    except RedisUnavailable as refused:
        fix = next((fix for code, fix in _WAYS_OUT.items() if code in str(refused)), "redis-cli INFO errorstats")
        return crit(str(refused), fix)
    if read != value.encode():
        return crit("a key that was written read back differently", "checkoutctl monitor --family ours --seconds 10")
    return ok("a key was written, read and deleted")


def failed_saves(info: Info) -> dict[str, str]:
    """The fields of INFO that report a failed save, and what they say."""
    names = ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
    return {name: text for name in names if (text := info.text(name)) not in {None, "ok"} and text is not None}


@server_check("persistence", Group.SERVING, "info", "config|get")
def persistence(context: DoctorContext, server: Inspector) -> Finding:
    """What the server saves to disk, it saves without errors.

    A failed save makes Redis refuse all writes (MISCONF), by default, and that guard should stay on: it is the disk or
    the fork that must be mended. With CHECKOUT_DURABILITY=redis, a write that is acknowledged and not flushed yet
    survives a crash of the server as far as the append-only file goes, or as long as its writer lives: with appendfsync
    always nothing is lost, with everysec what was written in the last second or two, with no what the kernel had not
    written, 30 s on Linux, and without the file everything since the last snapshot. The database has all that is
    older than CHECKOUT_FLUSH.
    """
    info = server.info()
    if failed := failed_saves(info):
        return crit(f"{', '.join(failed)}: not ok, as the server's log says", "redis-cli BGSAVE")
    has_log = info.integer("aof_enabled") == 1
    if context.settings.durability == Durability.REDIS and not has_log:
        fix = "redis-cli CONFIG SET appendonly yes, and appendonly yes in its configuration file"
        return warn("CHECKOUT_DURABILITY=redis, and no append-only file: a crash loses acknowledged writes", fix)
    changes = info.integer("rdb_changes_since_last_save") or 0
    kept = "append-only file on" if has_log else f"no append-only file, {changes:,} changes since the last snapshot"
    how = _written_how(server) if context.settings.durability == Durability.REDIS else ""
    if how in LOST_WITH:
        evidence = f"{kept}, appendfsync {how}: a crash loses {LOST_WITH[how]}"
        return warn_if(how == "no", evidence, _EACH_SECOND, changesSinceSnapshot=changes)
    return ok(kept, changesSinceSnapshot=changes)


def _written_how(server: Inspector) -> str:
    """When the append-only file is written to disk; empty where that is denied."""
    try:
        return server.config().get("appendfsync", "")
    except CommandDenied:
        return ""


@server_check("replication", Group.SERVING, "info")
def replication(_context: DoctorContext, server: Inspector) -> Finding:
    """Replicas follow.

    A replica that lags loses, in a failover, what it had not got yet. The store's database has it; a Redis alone has
    not.
    """
    info = server.info()
    if info.text("role") == "slave":
        if info.text("master_link_status") == "up":
            return ok("a replica that follows its primary")
        down = info.integer("master_link_down_since_seconds") or 0
        return crit(f"the link to its primary has been down for {down} s", "redis-cli INFO replication")
    written = info.integer("master_repl_offset") or 0
    replicas = [info.parts(name) for name in info.names("slave") if name.removeprefix("slave").isdigit()]
    if not replicas:
        return ok("no replicas", replicas=0)
    late = sum(item.get("state") != "online" or int(item.get("lag", "0")) > LAGGING for item in replicas)
    gap = max(written - int(item.get("offset", "0")) for item in replicas)
    which = f"{late} of {len(replicas)} replicas do not follow" if late else f"{len(replicas)} replicas"
    evidence = f"{which}, {gap:,} bytes behind at worst"
    return warn_if(late, evidence, "redis-cli INFO replication", replicas=len(replicas), gapBytes=gap)


@server_check("clients", Group.SERVING, "info", "config|get", "client|list")
def clients(context: DoctorContext, server: Inspector) -> Finding:
    """There is room for more connections.

    At maxclients Redis refuses new connections, of shoppers first. Whose the connections are is told by their
    addresses and names.
    """
    info = server.info()
    rejected, since = context.grown(server, "rejected_connections")
    connected = info.integer("connected_clients") or 0
    limit = info.integer("maxclients") or int(server.config().get("maxclients", "0"))
    numbers = {"connected": connected, "limit": limit, "rejected": int(rejected)}
    if not rejected and not (limit and connected > MANY_CLIENTS * limit):
        return ok(f"{connected:,} of {limit:,} connections in use, none refused {since}", **numbers)
    seen = Clients.of(connected_clients(server.client_list()), limit)
    fix = seen.way_out
    use = f"{connected:,} of {limit:,} connections are in use" + (f": {seen.by_whom}" if seen.groups else "")
    use = f"{use}; {seen.advice}"
    if rejected:
        return crit(
            f"{rejected:,.0f} connections were refused {since}; {use}", fix, **numbers, clients=dict(seen.groups)
        )
    return warn(use, fix, **numbers, clients=dict(seen.groups))


@server_check("refused-commands", Group.SERVING, "info")
def refused_commands(context: DoctorContext, server: Inspector) -> Finding:
    """No command was refused for want of memory, disk, permission or a primary.

    From the server's own error counters (Redis 6.2 and later), which also count what other programs were told.
    """
    if not server.info().names("errorstat_"):
        return ok("the server has counted no errors")
    grown, since = context.all_grown(server, HURTING)
    if not grown:
        return ok(f"none {since}".rstrip())
    evidence = ", ".join(f"{code} {number:,}" for code, number in grown.items())
    fix = "checkoutctl acl check" if set(grown) <= {"NOPERM", "NOAUTH"} else "checkoutctl doctor --only memory,serving"
    return warn(f"{evidence} {since}", fix, **grown)
