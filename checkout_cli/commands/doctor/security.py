"""Checks of the group ``security``: who else could reach Redis, and read what must stay secret."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from checkout_cli.checks import Finding, Skip, Status, crit, ok, warn, warn_if
from checkout_cli.commands.config.check import secret_files, secrets_in
from checkout_cli.commands.doctor.check import Group, Need, check, server_check
from checkout_cli.commands.doctor.context import DoctorContext
from checkout_cli.commands.doctor.sample import keys_of
from checkout_cli.config.addresses import is_loopback
from checkout_cli.config.settings import env_files, exposed, read_env_file
from checkout_cli.config.trusted_file import at_home
from checkout_cli.errors import CommandDenied, CommandUnknown, ConfigurationError
from checkout_cli.keys import Family
from checkout_cli.servers.inspection import Inspector, missing_grant
from checkout_cli.typed import typed

FOREIGN_SHARE = 0.2
"""Of all keys: below that, what other programs keep here hardly moves memory and eviction."""
ENOUGH = 50
"""Fewer keys than that say nothing about shares."""
_PROTECTED_ALONE = (7, 0)
"""From this version on, protected mode counts also where ``bind`` is set."""


@server_check("exposure", Group.SECURITY, "acl|list", "config|get")
def exposure(context: DoctorContext, server: Inspector) -> Finding:
    """Nobody on the network can use Redis without a password.

    A Redis that listens on an address of the network and has a user without a password gives away every session, and
    lets anybody run commands on the machine. Needs ACL LIST, unless we got in without a password ourselves.
    """
    open_users = _open_users(context, server)
    if not open_users:
        return ok("every user that is on has a password")
    users = " and ".join(open_users)
    status, where = _reach(context, server)
    evidence = f"user {users} needs no password, and {where}"
    if status is Status.OK:
        return ok(evidence, openUsers=open_users)
    set_one = f"ACL SETUSER {open_users[0]} resetpass '>NEW-PASSWORD'"
    fix = f"{set_one}, the same in its ACL file or configuration file, and REDIS_PASSWORD"
    if status is Status.WARN:
        return warn(f"{evidence}: only protected mode keeps other machines out", fix, openUsers=open_users)
    return crit(evidence, f"{fix}; or bind 127.0.0.1 in the server's configuration", openUsers=open_users)


def _open_users(context: DoctorContext, server: Inspector) -> list[str]:
    """The users who need no password and may run a command."""
    try:
        rules = [rule.split() for rule in server.user_rules()]
    except (CommandDenied, CommandUnknown):
        if context.settings.redis_username or context.settings.password():
            raise
        return ["default"]  # as whom we got in
    return [
        rule[1]
        for rule in rules
        if len(rule) > 1 and {"on", "nopass"} <= set(rule[2:]) and any(part.startswith("+") for part in rule[2:])
    ]


def _reach(context: DoctorContext, server: Inspector) -> tuple[Status, str]:
    """Who can connect, in words: a warning where only protected mode keeps other machines out."""
    summary = context.connection
    came_in = summary.connected.address if summary.connected is not None and not summary.socket else ""
    if came_in and not context.settings.is_cluster and not is_loopback(came_in):
        return Status.CRIT, f"we came in over {came_in}"
    try:
        settings = server.config()
    except (CommandDenied, CommandUnknown) as refusal:
        raise Skip(f"which addresses it listens on is unknown: {missing_grant(refusal)}") from refusal
    bound = [address.lstrip("-") for address in settings.get("bind", "").split()]
    others = [address for address in bound if not is_loopback(address)]
    if bound and not others:
        return Status.OK, f"only this machine reaches it (bind {' '.join(bound)})"
    if not bound and settings.get("bind") == "" and settings.get("port") == "0":
        return Status.OK, "it listens on no port"
    where = f"it listens on {' '.join(others)}" if others else "it listens on every address"
    try:
        counts_alone = (server.info().version() or (0,)) >= _PROTECTED_ALONE
    except (CommandDenied, CommandUnknown):
        counts_alone = False
    protected = settings.get("protected-mode") == "yes" and (counts_alone or not bound)
    return (Status.WARN if protected else Status.CRIT), where


@check("transport", Group.SECURITY, Need.REDIS)
def transport(context: DoctorContext) -> Finding:
    """What travels over a network is encrypted, to Redis, to every cluster node and to the Sentinels.

    Without TLS, sessions and the password can be read by whoever sees the packets, and who can change what a Sentinel
    says can send us to a Redis of his own.
    """
    summary, settings = context.connection, context.settings
    if summary.socket:
        return ok(f"{summary.socket} is a Unix socket: nothing leaves this machine")
    remote = next((host for host, _ in settings.sentinels() if not context.machine.is_here(host)), None)
    if remote is not None and not settings.sentinel_tls:
        fix = "set REDIS_SENTINEL_TLS=true; checkoutctl ping"
        return warn(f"what the Sentinel {remote} says travels as plain text", fix)
    if settings.redis_tls:
        return ok("TLS is on, certificate and host name verified")
    address = summary.connected.address if summary.connected is not None else summary.host
    nodes = [context.address(server)[0] for server in context.servers] if settings.is_cluster else []
    address = next((node for node in nodes if not context.machine.is_here(node)), address)
    if context.machine.owns(address):
        return ok(f"{address} is this machine: nothing leaves it")
    fix = "set REDIS_TLS=true and REDIS_PORT to the server's TLS port; checkoutctl ping"
    return warn(f"sessions and the password travel to {address} as plain text", fix)


@check("redirects", Group.SECURITY)
def redirects(context: DoctorContext) -> Finding:
    """A cluster and the Sentinels cannot send our password to any host.

    They name the hosts that we log in to. Without TLS nobody proves which host that is, so whoever can answer in their
    place gets the password. REDIS_ALLOWED_HOSTS names the hosts and networks that we follow them to.
    """
    settings = context.settings
    if not (settings.is_cluster or settings.redis_sentinels):
        return ok("no server sends us to another one")
    who = "a cluster names" if settings.is_cluster else "the Sentinels name"
    if settings.password() is None or settings.redis_tls or settings.redis_allowed_hosts:
        return ok(f"{who} the hosts that we connect to, and no password goes to just any of them")
    return warn(
        f"{who} the hosts that get our password, in clear and wherever they are",
        "set REDIS_TLS=true, or REDIS_ALLOWED_HOSTS to the hosts or networks of the servers",
    )


@check("secrets", Group.SECURITY)
def secrets(context: DoctorContext) -> Finding:
    """Passwords and personal data lie in files that only their owner can read.

    Looks at .env.local and .env, at REDIS_PASSWORD_FILE, and at the SQLite database with its companions and directory.
    """
    problems = list(_exposed_files(context))
    if not problems:
        return ok("no file with a secret or with personal data can be read by others")
    commands: dict[str, list[str]] = {}
    for path, _, mode in problems:
        commands.setdefault(mode, []).append(str(path))
    fix = " && ".join(typed("chmod {}" + " {}" * len(paths), mode, *paths) for mode, paths in commands.items())
    evidence = "; ".join(f"{path} {why}" for path, why, _ in problems)
    return warn(evidence, fix, files=[str(path) for path, _, _ in problems])


def _exposed_files(context: DoctorContext) -> Iterator[tuple[Path, str, str]]:
    """Each file that others can get at: why that is bad, and the mode that it should have."""
    for path, origin in env_files(context.directory).items():
        try:
            held = secrets_in(read_env_file(path, origin))
        except ConfigurationError:  # the configuration check says so
            continue
        if held and exposed(path):
            yield path, f"can be read by others, and holds {' and '.join(held)}", "600"
    for name, what in secret_files(context.settings).items():
        path = at_home(name)
        if exposed(path):
            yield path, f"can be read by others, and holds {what}", "600"
    yield from _exposed_database(context.store.database.sqlite_path)


def _exposed_database(path: Path | None) -> Iterator[tuple[Path, str, str]]:
    if path is None:
        return
    path = path.absolute()
    for companion in ("", "-wal", "-shm", "-journal"):
        file = path.with_name(path.name + companion)
        if exposed(file):
            yield file, "can be read by others, and holds shoppers' personal data", "600"
    try:
        mode = path.parent.stat().st_mode
    except OSError:
        return
    if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
        yield path.parent, "can be written by others, who could replace the database in it", "700"


@server_check("shared", Group.SECURITY, "info", "dbsize", "randomkey", "scan")
def shared(context: DoctorContext, server: Inspector) -> Finding:
    """No other program keeps its data in this Redis.

    Databases and programs share one memory limit and one eviction policy: another one's cache can push sessions out,
    and whoever may log in for it may read sessions too. Looks at INFO's databases and at a sample of some 2000 keys.
    """
    fix = "give the checkout a Redis of its own, and set REDIS_HOST and REDIS_PORT to it"
    try:
        databases = list(server.info().sections.get("keyspace", {}))
    except (CommandDenied, CommandUnknown):
        databases = []
    counts = {name: server.info().parts(name).get("keys", "?") for name in databases}
    if len(counts) > 1:
        shown = ", ".join(f"{name} has {keys} keys" for name, keys in counts.items())
        return warn(f"{len(counts)} databases share memory and eviction: {shown}", fix, databases=len(counts))
    keys = keys_of(context, server)
    sampled, foreign = sum(map(len, keys.values())), len(keys.get(Family.OTHER, []))
    evidence = f"one database; {foreign} of {sampled} sampled keys are other programs'"
    is_shared = sampled >= ENOUGH and foreign > FOREIGN_SHARE * sampled
    if is_shared:
        evidence = f"{foreign / sampled:.0%} of {sampled} sampled keys are no checkout's: they share memory"
    return warn_if(is_shared, evidence, fix, sampled=sampled, foreign=foreign)
