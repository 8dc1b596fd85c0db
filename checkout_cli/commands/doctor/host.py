"""Checks of the group ``host``: the machine that Redis runs on, where that is provably this one."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from checkout_cli.checks import Finding, Skip, crit, ok, warn, warn_if
from checkout_cli.commands.doctor.check import Group, Need, server_check
from checkout_cli.commands.doctor.context import DoctorContext
from checkout_cli.commands.doctor.serving import failed_saves
from checkout_cli.errors import CommandDenied, CommandUnknown
from checkout_cli.servers.inspection import Inspector
from checkout_cli.servers.machine import Machine, Process, group_name, user_name
from checkout_cli.typed import typed

DEFAULT_BACKLOG = 511
"""Redis' own ``tcp-backlog``, for a server that does not tell."""
LEAST_FREE = 0.10
"""Of a disk: below that, file systems slow down, and logs begin to fill it."""
DUMPS_TO_FIT = 2
"""A dump is written beside the old one."""
_OWN_DEPTH = 3
"""``/``, ``/var`` and the like belong to others too: to change their owner would harm them."""
_OTHERS_DIRECTORIES = ("/var/lib", "/var/log", "/var/tmp", "/var/run", "/var/cache")  # noqa: S108  (compared only)
_SYSTEM = re.compile("//|/(bin|boot|dev|etc|home|lib|lib64|proc|root|run|sbin|sys|usr)/")
_DATA_FILE = re.compile(r"dump.*\.rdb|temp-.*\.rdb|appendonlydir|appendonly\.aof.*|nodes.*\.conf")
_LOOK_AT_LOGS = "df -h {}; tail /var/log/redis/*.log"
_THP = "sys/kernel/mm/transparent_hugepage/enabled"
_CLOCKSOURCE = "sys/devices/system/clocksource/clocksource0"


@server_check("kernel-overcommit", Group.HOST, Need.LOCAL_SERVER)
def kernel_overcommit(context: DoctorContext, _: Inspector) -> Finding:
    """The kernel lets Redis fork: vm.overcommit_memory is 1.

    Otherwise a background save can fail for want of memory that the copy would never touch; Redis then refuses writes.
    """
    value = _kernel(context.machine, "proc/sys/vm/overcommit_memory")
    if value == "1":
        return ok("vm.overcommit_memory is 1")
    evidence = f"vm.overcommit_memory is {value}: a background save can fail under load"
    return warn(evidence, _sysctl("vm.overcommit_memory", 1))


@server_check("transparent-huge-pages", Group.HOST, Need.LOCAL_SERVER)
def transparent_huge_pages(context: DoctorContext, server: Inspector) -> Finding:
    """Transparent huge pages are not forced upon Redis.

    With them, each write after a fork copies 2 MB instead of 4 kB: latency and memory jump during a save. Redis 6 and
    newer switch them off for themselves, which counts.
    """
    value = _kernel(context.machine, _THP)
    if "[always]" not in value:
        return ok(f"transparent huge pages: {value}")
    if context.process(server).details.get("THP_enabled") == "0":
        return ok("transparent huge pages are on, and the server has switched them off for itself")
    return warn("transparent huge pages are on for every process", f"echo madvise | sudo tee /{_THP}")


@server_check("somaxconn", Group.HOST, Need.LOCAL_SERVER, "config|get")
def somaxconn(context: DoctorContext, server: Inspector) -> Finding:
    """The kernel queues as many new connections as Redis asks for (tcp-backlog).

    With a shorter queue, a burst of connections is dropped, and shoppers wait for a second try.
    """
    try:
        backlog = int(server.config().get("tcp-backlog") or DEFAULT_BACKLOG)
    except (CommandDenied, CommandUnknown):
        backlog = DEFAULT_BACKLOG
    value = int(_kernel(context.machine, "proc/sys/net/core/somaxconn"))
    if value >= backlog:
        return ok(f"net.core.somaxconn is {value}, tcp-backlog {backlog}", somaxconn=value, backlog=backlog)
    fix = _sysctl("net.core.somaxconn", max(backlog, 1024))
    evidence = f"net.core.somaxconn is {value}, less than tcp-backlog {backlog}"
    return warn(evidence, fix, somaxconn=value, backlog=backlog)


@server_check("swap", Group.HOST, Need.LOCAL_SERVER)
def swap(context: DoctorContext, server: Inspector) -> Finding:
    """No part of Redis lies in swap.

    What was swapped out is read from the disk when it is next asked for, while every other client waits.
    """
    process = context.process(server)
    kilobytes = process.details.get("VmSwap", "").partition(" ")[0]
    if not kilobytes:
        raise Skip(f"/proc/{process.pid}/status has no VmSwap")
    swapped = int(kilobytes)
    if not swapped:
        return ok("nothing of the server is in swap", swappedBytes=0)
    evidence = f"{swapped / 1024:.1f} MiB of the server are in swap: whoever asks for them waits for the disk"
    fix = f"free -m; {_sysctl('vm.swappiness', 1)}"
    return warn(evidence, fix, swappedBytes=swapped * 1024)


@server_check("clocksource", Group.HOST, Need.LOCAL_SERVER)
def clocksource(context: DoctorContext, _: Inspector) -> Finding:
    """The kernel's clock is quick to read.

    Redis reads the clock for every command; with the source ``xen`` each reading is a costly call.
    """
    current = _kernel(context.machine, f"{_CLOCKSOURCE}/current_clocksource")
    if current != "xen":
        return ok(f"the clock source is {current}")
    better = (context.machine.text(f"{_CLOCKSOURCE}/available_clocksource") or "").split()
    if "tsc" not in better:
        return ok("the clock source is xen, and this machine has no tsc")
    return warn("the clock source is xen: slow", f"echo tsc | sudo tee /{_CLOCKSOURCE}/current_clocksource")


def _kernel(machine: Machine, path: str) -> str:
    value = machine.text(path)
    if not value:
        raise Skip(f"/{path} cannot be read")
    return value


def _sysctl(name: str, value: int) -> str:
    command = "sudo sysctl -w {}={} && echo {} | sudo tee -a /etc/sysctl.d/60-redis.conf"
    return typed(command, name, value, f"{name} = {value}")


# The data directory


@server_check("data-directory", Group.HOST, Need.LOCAL_SERVER, "config|get")
def data_directory(context: DoctorContext, server: Inspector) -> Finding:
    """Redis may write its data directory, and there is room in it ("Permission denied").

    Compares owner and mode of the directory and of the dump and append-only files with the user that the server runs
    as. A save that fails makes Redis refuse every write; the files must also be readable for the next start.
    """
    settings, info, process = server.config(), server.info(), context.process(server)
    directory = settings.get("dir", "")
    if not directory:
        raise Skip("the server does not tell its data directory")
    problems = list(_forbidden(context.machine, process, settings))
    failed = [f"{field} is {text}" for field, text in failed_saves(info).items()]
    if problems:
        return crit(
            "; ".join([*problems, *failed]), _ownership(context.machine, settings, process), directory=directory
        )
    if failed:
        evidence = f"{'; '.join(failed)}, though user {user_name(process.user)} may write {directory}"
        log = settings.get("logfile")
        look = typed("df -h {}; tail {}", directory, log) if log else typed(_LOOK_AT_LOGS, directory)
        return crit(evidence, look, directory=directory)
    keeps = bool(settings.get("save")) or settings.get("appendonly") == "yes"
    return _room(context.machine, directory, info.integer("used_memory") or 0, process, keeps=keeps)


def _forbidden(machine: Machine, process: Process, settings: dict[str, str]) -> Iterator[str]:
    """What the server's user may not do, in words."""
    directory = settings["dir"]
    place = machine.path(directory)
    user = user_name(process.user)
    if not _may(process, place, stat.S_IRWXO & ~stat.S_IROTH):
        yield f"user {user} may not write {directory} ({_described(place)})"
    for path, wanted in _files(place, settings):
        if not _may(process, path, wanted):
            does = "write" if wanted & stat.S_IWOTH else "read"
            shown = PurePosixPath(directory) / path.relative_to(place)
            yield f"user {user} may not {does} {shown} ({_described(path)})"


def _files(place: Path, settings: dict[str, str]) -> Iterator[tuple[Path, int]]:
    """The files of the data directory, with the permissions that the server needs for them, as bits for others."""
    dump = place / (settings.get("dbfilename") or "dump.rdb")
    yield dump, stat.S_IROTH  # a new one is renamed over it
    if settings.get("appendonly") != "yes":
        return
    parts = place / (settings.get("appenddirname") or "appendonlydir")
    yield parts, stat.S_IWOTH | stat.S_IXOTH
    logs = [place / (settings.get("appendfilename") or "appendonly.aof")]  # before Redis 7
    with suppress(OSError):  # not there, or not ours to look at
        logs += sorted(parts.iterdir())
    yield from ((log, stat.S_IROTH | stat.S_IWOTH) for log in logs)


def _may(process: Process, path: Path, wanted: int) -> bool:
    """Whether the process has these permissions, given as bits for others; true where we cannot look."""
    try:
        found = path.stat()
    except OSError:
        return True
    if process.user == 0:
        return True
    if found.st_uid == process.user:
        granted = found.st_mode >> 6
    elif found.st_gid in process.groups:
        granted = found.st_mode >> 3
    else:
        granted = found.st_mode
    return granted & wanted == wanted


def _described(path: Path) -> str:
    found = path.stat()
    return f"{user_name(found.st_uid)}:{group_name(found.st_gid)}, mode {stat.S_IMODE(found.st_mode):04o}"


def _ownership(machine: Machine, settings: dict[str, str], process: Process) -> str:
    """The commands that give the server its directory, or another one where others share it.

    The server names the directory, so root is asked to change only one that holds a server's files and nothing else.
    """
    directory, user = settings["dir"], user_name(process.user)
    group = group_name(process.groups[0]) if process.groups else user
    place = PurePosixPath(directory)
    if len(place.parts) < _OWN_DEPTH or str(place) in _OTHERS_DIRECTORIES or _SYSTEM.match(str(place)):
        own = "/var/lib/redis"
        make = "sudo install -d -o {} -g {} -m 750 {} && redis-cli CONFIG SET dir {}"
        return typed(make, user, group, own, own)  # which belongs into its configuration file too
    if _is_plain(machine, directory) and _holds_data_alone(machine.path(directory), settings):
        return typed("sudo chown -R {}:{} {} && sudo chmod 750 {}", user, group, directory, directory)
    return typed("ls -la {}", directory)  # only if nothing but Redis' data is there may the server's user own it


def _is_plain(machine: Machine, directory: str) -> bool:
    """Whether a path leads to no other place than it says: no ``//``, ``..`` or symbolic link."""
    if not re.fullmatch(r"(/[^/]+)+", directory) or {".", ".."} & set(directory.split("/")):
        return False
    return machine.path(directory).resolve() == machine.root.resolve() / directory.lstrip("/")


def _holds_data_alone(place: Path, settings: dict[str, str]) -> bool:
    """Whether every file there is one of a Redis server, and one of them begins as a snapshot does."""
    dump = place / (settings.get("dbfilename") or "dump.rdb")
    try:
        with dump.open("rb") as file:
            is_dump = file.read(9).startswith((b"REDIS", b"VALKEY"))
        for path in place.rglob("*"):
            found = path.lstat()
            is_ours = path == dump or _DATA_FILE.fullmatch(path.name)
            if not is_ours or not (
                stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)
            ):
                return False
    except OSError:  # not there, or not ours to look at
        return False
    return is_dump


def _room(machine: Machine, directory: str, used: int, process: Process, *, keeps: bool) -> Finding:
    writable = f"user {user_name(process.user)} may write {directory}"
    if not keeps:
        return ok(f"{writable}; persistence is off, so nothing is kept there", directory=directory)
    try:
        room = machine.room(machine.path(directory))
    except OSError:
        return ok(f"{writable}; its disk cannot be looked at", directory=directory)
    share = room.free / room.total if room.total else 0.0
    free = f"{room.free / 2**30:.1f} GiB ({share:.0%}) of its disk are free"
    numbers = {"directory": directory, "freeBytes": room.free, "totalBytes": room.total}
    fix = typed("df -h {}", directory)
    if room.free < DUMPS_TO_FIT * used:
        return warn(f"{free}, and two dumps of {used / 2**30:.1f} GiB must fit", fix, **numbers)
    is_full = share < LEAST_FREE
    return warn_if(is_full, f"{free}, less than {LEAST_FREE:.0%}" if is_full else f"{writable}; {free}", fix, **numbers)
