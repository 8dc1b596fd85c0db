"""This machine: its processes, its listening sockets, and the files in which Linux shows its settings."""

from __future__ import annotations

import ipaddress
import re
import shutil
import socket
import struct
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from checkout_cli.config.addresses import ip_address
from checkout_cli.servers.installation import SERVERS, Installation
from checkout_cli.store.resolver import Deadline, resolved

LONGEST_LOOKUP = 2.0
"""Seconds for the addresses of a name."""
_LISTENING = "0A"
"""A listening socket's state (Linux, include/net/tcp_states.h)."""
_CREDENTIALS = "3i"
"""The peer's process, user and group."""
_PORT_IN_TITLE = re.compile(r":([0-9]{1,5})(?=\s|$)|--(?:tls-)?port\s+([0-9]{1,5})")


@dataclass(frozen=True)
class Process:
    """A process; ``state`` is psutil's, and ``details`` are the fields of /proc/PID/status on Linux."""

    pid: int
    name: str
    title: str
    user: int
    groups: tuple[int, ...]
    state: str
    details: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_server(self) -> bool:
        """Whether it is a Redis or Valkey server, by its name."""
        program = self.title.split(" ", 1)[0].rpartition("/")[2]
        return self.name in SERVERS or program in SERVERS

    @property
    def titled_ports(self) -> set[int]:
        """The ports in its title, where a Redis writes its own."""
        return {int(first or second) for first, second in _PORT_IN_TITLE.findall(self.title)}

    def __str__(self) -> str:
        """Without the arguments, which may hold a password."""
        return f"{self.name} (process {self.pid}, user {user_name(self.user)})"


@dataclass(frozen=True)
class Listener:
    """A listening socket, and its process where we may see it."""

    address: str
    port: int
    process: Process | None

    def answers_for(self, addresses: Collection[str]) -> bool:
        """Whether a connection to one of the addresses can end here."""
        return self.address in {"0.0.0.0", "::"} or self.address in addresses  # noqa: S104  (compared, not bound)


@dataclass(frozen=True)
class Room:
    """A disk's space, in bytes."""

    total: int
    free: int


class Machine:
    """This machine; files are read from below ``root``, which a test can replace."""

    platform = sys.platform

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str | None:
        """A file's text without the space around it; ``None`` where we cannot read it."""
        try:
            return self.path(path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return None

    def room(self, path: Path) -> Room:
        """The space on the disk that holds a path; raises ``OSError``."""
        usage = shutil.disk_usage(path)
        return Room(usage.total, usage.free)

    @cached_property
    def installation(self) -> Installation:
        return Installation()

    # Addresses

    def addresses_of(self, host: str) -> set[str]:
        """The addresses of a host; none where it is unknown."""
        try:
            found = resolved(host, 0, Deadline(LONGEST_LOOKUP))
        except OSError:
            return set()
        return {str(address[0]) for *_, address in found}

    def owns(self, address: str) -> bool:
        """Whether an address is this machine's own: only those can be bound to."""
        parsed = ip_address(address.partition("%")[0])
        if parsed is None or parsed.is_loopback or parsed.is_unspecified:
            return parsed is not None
        family = socket.AF_INET6 if parsed.version == 6 else socket.AF_INET
        try:
            with socket.socket(family) as probe:
                probe.bind((str(parsed), 0))
        except OSError:
            return False
        return True

    def is_here(self, host: str) -> bool:
        """Whether all addresses of a host are this machine's own."""
        addresses = self.addresses_of(host)
        return bool(addresses) and all(self.owns(address) for address in addresses)

    def listener_of_socket(self, path: str, timeout: float) -> int | None:
        """The process that listens on a Unix socket, as the kernel says (Linux, unix(7), SO_PEERCRED)."""
        option = getattr(socket, "SO_PEERCRED", None)
        if option is None:
            return None
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(timeout)
                connection.connect(path)
                credentials = connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize(_CREDENTIALS))
        except OSError:
            return None
        return int(struct.unpack(_CREDENTIALS, credentials)[0]) or None  # 0: a process of another container

    # Processes

    def process(self, pid: int) -> Process | None:
        """A living process, if there is one."""
        import psutil

        wanted = [name for name in ("name", "status", "cmdline", "uids", "gids") if hasattr(psutil.Process, name)]
        try:
            told = psutil.Process(pid).as_dict(wanted)  # ``None`` for what we may not know
        except psutil.Error:
            return None
        user, group = (-1 if told.get(ids) is None else told[ids].effective for ids in ("uids", "gids"))
        lines = (self.text(f"proc/{pid}/status") or "").splitlines()
        details = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        groups = (group, *map(int, details.get("Groups", "").split()))
        return Process(
            pid, told["name"] or "", " ".join(told["cmdline"] or ()), user, groups, told["status"] or "", details
        )

    @cached_property
    def servers(self) -> tuple[Process, ...]:
        """All Redis and Valkey servers that run here."""
        return tuple(process for process in self._processes() if process.is_server)

    def _processes(self) -> Iterator[Process]:
        import psutil

        yield from filter(None, map(self.process, psutil.pids()))

    # Listening sockets

    def listeners(self, port: int) -> list[Listener]:
        """Everything that listens on a port."""
        found = [(address, pid) for address, listened, pid in self._listening() if listened == port]
        return [Listener(address, port, self.process(pid) if pid else None) for address, pid in found]

    def peers(self, port: int) -> list[str]:
        """The other end of each connection to a port of this machine: its address, and its process if that is here."""
        import psutil

        try:
            found = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_ESTABLISHED]
        except psutil.Error:  # only root may ask about others', on macOS
            return []
        ends = {each.laddr: each.pid for each in found if each.pid}
        others = [each.raddr for each in found if each.laddr.port == port]
        here = {pid: self.process(pid) for pid in {ends[other] for other in others if other in ends}}

        def called(other: Any) -> str:
            process = here.get(ends.get(other))
            return f"{other.ip} by {process}" if process else str(other.ip)

        return [called(other) for other in others]

    def ports_of(self, processes: Sequence[Process]) -> set[int]:
        """The ports that processes listen on, as far as we may see."""
        ports = {port for process in processes for _, port, _ in self._listening(process.pid)}
        return ports.union(*(process.titled_ports for process in processes))

    def _listening(self, pid: int | None = None) -> Iterator[tuple[str, int, int | None]]:
        """Address, port and, where we may see it, process of all listening sockets, or of one process's."""
        import psutil

        try:
            found = psutil.net_connections("tcp") if pid is None else psutil.Process(pid).net_connections("tcp")
        except psutil.Error:  # only root may ask about others', on macOS
            found = []
        for item in found:
            if item.status == psutil.CONN_LISTEN:
                address = ipaddress.ip_address(item.laddr.ip.partition("%")[0])
                yield str(getattr(address, "ipv4_mapped", None) or address), item.laddr.port, getattr(item, "pid", pid)

    def owner_of(self, port: int) -> int | None:
        """The user whose process listens on a port, which Linux shows to everybody (proc(5)); ``None`` elsewhere."""
        for name in ("tcp", "tcp6"):
            for line in (self.text(f"proc/net/{name}") or "").splitlines()[1:]:
                parts = line.split()
                if parts[3] == _LISTENING and int(parts[1].rpartition(":")[2], 16) == port:
                    return int(parts[7])
        return None


def user_name(user: int) -> str:
    """A user's name, or the number where it has none."""
    try:
        import pwd

        return pwd.getpwuid(user).pw_name
    except (ImportError, KeyError, OverflowError):
        return str(user)


def group_name(group: int) -> str:
    """A group's name, or the number where it has none."""
    try:
        import grp

        return grp.getgrgid(group).gr_name
    except (ImportError, KeyError, OverflowError):
        return str(group)
