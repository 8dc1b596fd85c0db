"""Checks of the group ``connection``: the way to Redis, and what it lets us ask there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from checkout_cli.checks import Finding, Skip, Status, crit, ok, warn
from checkout_cli.commands.doctor.check import Group, Need, check, server_check
from checkout_cli.commands.doctor.context import COMMAND, DoctorContext
from checkout_cli.commands.ping.explain import Kind, timed_out
from checkout_cli.config.addresses import address_text, split_address
from checkout_cli.config.fixes import redis_cli
from checkout_cli.errors import CommandDenied, CommandUnknown, RedisRefusing, RedisUnavailable, WrongServer
from checkout_cli.keys import INDEX
from checkout_cli.servers.inspection import Inspector
from checkout_cli.servers.machine import Process, user_name
from checkout_cli.servers.providers import provider_of
from checkout_cli.store.redis.requirements import REQUIREMENTS, lacks_unless_reader, told
from checkout_cli.typed import typed

CLOCKS_APART = 2.0
"""Seconds: a session of half an hour does not notice less."""


@check("connect", Group.CONNECTION)
def connection(context: DoctorContext) -> Finding:
    """Redis answers at the address of the settings.

    Stage by stage: the name, the TCP connection, TLS, the password, a PING. A failure names its stage and the trouble:
    not installed, not running, wrong port, firewalled, hung, TLS mismatch, certificate, password, unknown name. Of a
    cluster, every primary has to answer: the sessions of one that does not come from the database.
    """
    found = context.attempt.finding()
    if found.status is Status.CRIT:
        return _with_last_limit(context, found)
    answering = len(context.servers)
    places = context.store.redis.missing_servers()
    if not places:
        return found
    host, port = split_address(places[0])
    evidence = f"no answer from {', '.join(places)}; {answering} other servers of the cluster answer"
    return crit(evidence, typed("checkoutctl --redis-host {} --redis-port {} ping", host, port), missingServers=places)


def _with_last_limit(context: DoctorContext, found: Finding) -> Finding:
    """Where a server takes no more clients, with the limit that it told the last time that it was asked."""
    last = context.last_look.previous(COMMAND, context.settings.redis_place)
    limit = None if last is None else last.counters.get("maxclients")
    if found.numbers.get("trouble") != Kind.FULL or limit is None:
        return found
    return replace(found, evidence=f"{found.evidence}; maxclients was {limit:,.0f} when doctor last asked")


@check("port-in-use", Group.CONNECTION)
def port_in_use(context: DoctorContext) -> Finding:
    """The port on this machine is held by Redis, and by nothing else.

    Looks up which process listens at the address of the settings. Only a process that you know to be left over
    should be ended; for any other, give Redis another port, and REDIS_PORT the same.
    """
    summary = context.connection
    if summary.socket:
        raise Skip(f"Redis is reached over the socket {summary.socket}, and no port")
    if not context.attempt.is_here:
        raise Skip(f"{summary.host} is not this machine")
    port, holders = summary.port, context.attempt.holders()
    if summary.failure is None:  # whatever holds it, as a container's proxy does, Redis is what answers
        return ok(f"port {port} is held by {holders[0] if holders else 'Redis'}", port=port)
    foreign = next((process for process in holders if not process.is_server), None)
    if foreign is not None:
        return _foreign(foreign, port)
    if holders:
        return ok(f"port {port} is held by {holders[0]}", port=port)
    if not isinstance(summary.failure.error, WrongServer) and not timed_out(summary.failure.error):
        raise Skip(f"nothing is seen to hold port {port}: see the connection check")
    owner = context.machine.owner_of(port)
    if owner is None:
        windows = context.machine.platform == "win32"
        command = f"netstat -ano | findstr :{port:d}" if windows else f"sudo lsof -nP -iTCP:{port:d} -sTCP:LISTEN"
        return crit(f"what holds port {port} does not answer as Redis", command, port=port)
    user = user_name(owner)
    evidence = f"a process of user {user} holds port {port}, and does not answer as Redis; only root may see which"
    return crit(evidence, f"sudo ss -ltnp 'sport = :{port:d}'", port=port, user=user)


def _foreign(process: Process, port: int) -> Finding:
    whose = f"systemctl status {process.pid:d}"  # its service, to be stopped if it should not be there
    if process.name == "docker-proxy":
        whose = f"docker ps --filter publish={port:d}"
    return crit(
        f"port {port} is held by {process}, which is not Redis",
        whose,
        port=port,
        pid=process.pid,
        process=process.name,
        user=user_name(process.user),
    )


@server_check("clock", Group.CONNECTION, "time")
def clock(context: DoctorContext, server: Inspector) -> Finding:
    """The clocks of Redis and of this machine agree.

    Lifetimes are counted by Redis, and the expiry in a session is written by the shop: clocks that differ make sessions
    end before or after the time that is shown for them. Half of the round trip is allowed for.
    """
    return _compared(context, "Redis'", server.time)


@check("database-clock", Group.CONNECTION, Need.DATABASE)
def database_clock(context: DoctorContext) -> Finding:
    """The clocks of the database and of this machine agree.

    A clean-up removes only what has ended by all of them, and nothing where they differ by a minute. SQLite has no
    clock of its own.
    """

    def own_time() -> int:
        time = context.store.database.own_time()
        if time is None:
            raise Skip("SQLite has no clock of its own")
        return time

    return _compared(context, "the database's", own_time)


def _compared(context: DoctorContext, whose: str, ask: Callable[[], int]) -> Finding:
    before = context.now()
    there = ask() / 1000
    after = context.now()
    half = (after - before) / 2000
    apart = max(abs(there - (before + after) / 2000) - half, 0.0)
    if apart <= CLOCKS_APART:
        return ok(f"{apart:.2f} s apart at most, where {CLOCKS_APART:g} s are tolerated", apartS=round(apart, 3))
    evidence = f"{whose} clock is {apart:.1f} s {'ahead of' if there > before / 1000 else 'behind'} this machine's"
    return warn(evidence, "timedatectl status", apartS=round(apart, 3))  # on either machine


_PROBES: dict[str, tuple[tuple[str | int, ...], str]] = {
    "INFO": (("INFO", "server"), "memory, load and the server's version stay unknown"),
    "CONFIG GET": (("CONFIG", "GET", "maxmemory"), "memory tune and the checks of its settings have no answer"),
    "CLIENT LIST": (("CLIENT", "LIST", "ID", 1), "who is connected stays unknown"),
    "MEMORY USAGE": (("MEMORY", "USAGE", INDEX), "memory families knows no sizes"),
    "SLOWLOG GET": (("SLOWLOG", "GET", 1), "slow commands stay unknown"),
    "LATENCY LATEST": (("LATENCY", "LATEST"), "the server's own latency events stay unknown"),
}
"""Harmless forms of the commands that other checks live on, and what it costs to do without."""


@server_check(
    "capability",
    Group.CONNECTION,
    *("info", "config|get", "client|list", "index:memory|usage", "slowlog|get", "latency|latest"),
)
def capability(context: DoctorContext, server: Inspector) -> Finding:
    """The commands that operating Redis needs are allowed.

    Managed services remove some of INFO, CONFIG, CLIENT, MEMORY, SLOWLOG and LATENCY, and an ACL rule can deny them.
    Everything works without them, but for what is said here; the store's own needs are the check "requirements".
    """
    replies = server.replies(*(probe for probe, _ in _PROBES.values()))
    denied: dict[str, str] = {}
    removed: list[str] = []
    for name, reply in zip(_PROBES, replies, strict=True):
        if isinstance(reply, CommandDenied):
            denied[name] = reply.grant or f"%R~{INDEX}"  # what is denied is the key
        elif isinstance(reply, CommandUnknown):
            removed.append(name)
        elif isinstance(reply, RedisUnavailable) and not isinstance(reply, RedisRefusing):
            raise reply  # any other error, as a cluster's redirection, comes from a server that let us ask
    if not denied and not removed:
        return ok(f"{', '.join(_PROBES)} are allowed")
    grants = list(dict.fromkeys(denied.values()))
    lacking = dict.fromkeys(denied, "is denied") | dict.fromkeys(removed, "is not there, for anybody")
    evidence = "; ".join(f"{name} {lacking[name]}: {cost}" for name, (_, cost) in _PROBES.items() if name in lacking)
    if not denied and "INFO" not in removed:
        return ok(evidence, removed=removed)  # its provider wants it so, and nothing is lost but a view
    fix = "allow INFO again: remove its rename-command line from the server's configuration"
    if grants:
        user = context.settings.redis_username or "default"
        fix = redis_cli(context.settings, "ACL", "SETUSER", user, *grants, place=address_text(*context.address(server)))
    return warn(evidence, fix, denied=list(denied), removed=removed, grants=grants)


@server_check("requirements", Group.CONNECTION, "info", "REQUIREMENTS")
def requirements(context: DoctorContext, server: Inspector) -> Finding:
    """Redis knows and allows all commands that the store needs, and tells its identity.

    Each command is called once, in a form that changes nothing: providers remove some, other engines lack some, and ACL
    rules deny some. A user who may neither read with GETEX nor run scripts only looks, and what the shop's user may do
    stays unknown: run doctor with the shop's REDIS_USERNAME.
    """
    lacks = lacks_unless_reader(server.server)
    if lacks is None:
        raise Skip("this user only looks: run doctor with the REDIS_USERNAME of the shop")
    if not lacks:
        return ok(f"all {len(REQUIREMENTS)} commands that the store needs are there and allowed")
    grants = list(dict.fromkeys(lack.grant for lack in lacks if lack.grant))
    denied = [lack for lack in lacks if lack.reason == "denied"]
    fix = "use a server that has them: Redis 6.2 or Valkey 7.2, or later, without rename-command"
    if denied and len(denied) == len(lacks):
        user, place = context.settings.redis_username or "default", address_text(*context.address(server))
        grant = redis_cli(context.settings, "ACL", "SETUSER", user, *grants, place=place)
        fix = grant if grants else "checkoutctl acl application"
    return crit(told(lacks), fix, lacks=[lack.command for lack in lacks], grants=grants)


@server_check("managed", Group.CONNECTION)
def managed(context: DoctorContext, server: Inspector) -> Finding:
    """Which managed service this is, and where its settings are changed there.

    Told by the host's name and by INFO; a service removes CONFIG because it sets these things itself.
    """
    try:
        info = server.info()
    except (CommandDenied, CommandUnknown):
        info = None
    provider = provider_of(context.address(server)[0], info)
    if provider is None:
        return ok("nothing shows a managed service")
    return ok(f"{provider.name}: limit by {provider.limit}; policy by {provider.policy}", provider=provider.name)


@check("install", Group.CONNECTION)
def install(_: DoctorContext) -> Finding:
    """This installation has the Python and the libraries that it needs.

    hiredis parses the answers of Redis; without it, redis-py does so in Python, several times slower.
    """
    import platform
    from importlib.metadata import PackageNotFoundError, version

    versions = {"Python": platform.python_version()}
    for name in ("redis", "hiredis", "sqlalchemy"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = ""
    shown = ", ".join(f"{name} {found}" for name, found in versions.items() if found)
    if not versions["hiredis"]:
        return warn(f"{shown}; hiredis is missing: large answers take several times longer", "pip install hiredis")
    return ok(shown, versions=versions)


OLDEST = {"Redis": (6, 2), "Valkey": (7, 2)}


@server_check("server-version", Group.CONNECTION)
def server_version(_: DoctorContext, server: Inspector) -> Finding:
    """The server is new enough: Redis 6.2 or Valkey 7.2.

    A Redis before 6.2 has no GETEX, with which a read grants a session its full lifetime again.
    """
    info = server.info()
    name, field = ("Valkey", "valkey_version") if info.text("valkey_version") else ("Redis", "redis_version")
    version, oldest = info.version(field), OLDEST[name]
    if version is None:
        raise Skip("INFO does not tell the server's version")
    text = info.text(field)
    if version >= oldest:
        return ok(f"{name} {text}", version=text)
    needed = f"{name} {'.'.join(map(str, oldest))}"
    evidence = f"{name} {text} is older than {needed.removeprefix(f'{name} ')}, the oldest that works with this"
    return crit(evidence, f"upgrade to {needed} or newer")
