"""This machine as far as Linux shows it in /proc and /sys: its processes, who listens where, and its settings."""

from __future__ import annotations

import ipaddress
import re
import shutil
import socket
import struct
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from checkout_cli.servers.installation import SERVERS, Program, found_programs

_LISTENING = "0A"
"""The state of a listening socket (Linux, include/net/tcp_states.h)."""
_CREDENTIALS = "3i"
"""The other side's process, user and group."""
_PORT_IN_TITLE = re.compile(r":([0-9]{1,5})(?=\s|$)|--(?:tls-)?port\s+([0-9]{1,5})")


@dataclass(frozen=True)
class Process:
    """A process. ``user`` is its effective user's id, ``groups`` are all of its groups' ids; ``state`` as ps has it."""

    pid: int
    name: str
    title: str
    user: int
    groups: tuple[int, ...]
    state: str
    status: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_server(self) -> bool:
        """Whether it is a Redis or Valkey server, going by its name."""
        program = self.title.split(" ", 1)[0].rpartition("/")[2]
        return self.name in SERVERS or program in SERVERS

    @property
    def titled_ports(self) -> set[int]:
        """The ports in its title, where a Redis writes the one that it listens on."""
        return {int(first or second) for first, second in _PORT_IN_TITLE.findall(self.title)}

    def kilobytes(self, name: str) -> int | None:
        """A size in its status, as ``VmSwap``; ``None`` where there is none."""
        size = self.status.get(name, "").split(" ")[0]
        return int(size) if size.isdecimal() else None

    def __str__(self) -> str:
        """As shown; the arguments may hold a password and are left out."""
        return f"{self.name} (process {self.pid}, user {user_name(self.user)})"


@dataclass(frozen=True)
class Listener:
    """A listening socket: its address and port, its owner's user id, and the process, if we may know which."""

    address: str
    port: int
    user: int
    process: Process | None

    def answers_for(self, addresses: Collection[str]) -> bool:
        """Whether a connection to one of the addresses can end here."""
        return self.address in {"0.0.0.0", "::"} or self.address in addresses  # noqa: S104  (compared, not bound)


@dataclass(frozen=True)
class Room:
    """The space on a disk, in bytes."""

    total: int
    free: int


class Machine:
    """What is read is read from below ``root``, so that a test can have a machine of its own making."""

    def __init__(self, root: Path = Path("/")) -> None:
        """Reads nothing yet."""
        self.root = root

    def path(self, path: str) -> Path:
        """Where a file of this machine is."""
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str | None:
        """A file's text without the space around it; ``None`` where there is none for us."""
        try:
            return self.path(path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return None

    @property
    def is_linux(self) -> bool:
        """Whether there is a /proc to read."""
        return self.path("proc/net/tcp").exists()

    def room(self, path: Path) -> Room:
        """The space on the disk that holds a path.

        Raises:
            OSError: it cannot be looked at.
        """
        usage = shutil.disk_usage(path)
        return Room(usage.total, usage.free)

    def programs(self) -> tuple[Program, ...]:
        """The servers and clients of Redis on PATH, without their versions."""
        return found_programs(run=lambda _: "")

    @property
    def platform(self) -> str:
        """As ``sys.platform`` has it."""
        return sys.platform

    # Addresses

    def addresses_of(self, host: str) -> set[str]:
        """The addresses of a host; none where it has none."""
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return set()
        return {str(address[0]) for *_, address in found}

    def owns(self, address: str) -> bool:
        """Whether an address is this machine's own: only those can be bound to."""
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if parsed.is_loopback or parsed.is_unspecified:
            return True
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
        """The process that listens on a Unix socket, by the kernel's word (Linux, unix(7), SO_PEERCRED)."""
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
        """A living process; ``None`` where there is none."""
        status = self.text(f"proc/{pid}/status")
        if status is None:
            return None
        fields = {name: value.strip() for name, _, value in (line.partition(":") for line in status.splitlines())}
        users, groups = fields.get("Uid", "").split(), fields.get("Gid", "").split()
        title = (self.text(f"proc/{pid}/cmdline") or "").replace("\0", " ").strip()
        return Process(
            pid,
            fields.get("Name", ""),
            title,
            int(users[1]) if len(users) > 1 else -1,
            tuple(int(group) for group in (*groups[1:2], *fields.get("Groups", "").split())),
            fields.get("State", ""),
            fields,
        )

    @cached_property
    def servers(self) -> tuple[Process, ...]:
        """All Redis and Valkey servers that run here."""
        return tuple(process for process in self._processes() if process.is_server)

    def _processes(self) -> Iterator[Process]:
        for pid in self._pids():
            process = self.process(pid)
            if process is not None:
                yield process

    def _pids(self) -> list[int]:
        try:
            return sorted(int(entry.name) for entry in self.path("proc").iterdir() if entry.name.isdecimal())
        except OSError:
            return []

    # Who listens where

    def listeners(self, port: int) -> list[Listener]:
        """Everything that listens on a port."""
        return self._with_processes([found for found in self._listening() if found[1] == port])

    def ports_of(self, processes: Sequence[Process]) -> set[int]:
        """The ports that processes listen on, as far as we may see."""
        wanted = {process.pid for process in processes}
        sockets = {inode for pid in wanted for inode in self._sockets(pid)}
        ports = {port for _, port, _, inode in self._listening() if inode in sockets}
        return ports.union(*(process.titled_ports for process in processes))

    def _with_processes(self, found: list[tuple[str, int, int, str]]) -> list[Listener]:
        missing = {inode for *_, inode in found}
        holders: dict[str, Process] = {}
        first = [process.pid for process in self.servers]  # most often it is one of them
        for pid in (*first, *(pid for pid in self._pids() if pid not in first)) if missing else ():
            held = missing & self._sockets(pid)
            process = self.process(pid) if held else None
            if process is not None:
                holders |= dict.fromkeys(held, process)
                missing -= held
            if not missing:
                break
        return [Listener(address, port, user, holders.get(inode)) for address, port, user, inode in found]

    def _sockets(self, pid: int) -> set[str]:
        """The inodes of a process' sockets; none where it is another user's and we are not root."""
        inodes = set()
        with suppress(OSError):
            for entry in self.path(f"proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    kind, _, inode = str(entry.readlink()).partition(":[")
                    if kind == "socket":
                        inodes.add(inode.rstrip("]"))
        return inodes

    def _listening(self) -> Iterator[tuple[str, int, int, str]]:
        """Address, port, user and inode of each listening socket (Linux, proc(5))."""
        for name in ("tcp", "tcp6"):
            for line in (self.text(f"proc/net/{name}") or "").splitlines()[1:]:
                parts = line.split()
                if len(parts) > 9 and parts[3] == _LISTENING:
                    raw, _, port = parts[1].partition(":")
                    yield _address(raw), int(port, 16), int(parts[7]), parts[9]


def _address(raw: str) -> str:
    """An address from /proc/net/tcp: words of four bytes, each in this machine's order."""
    words = (bytes.fromhex(raw[start : start + 8]) for start in range(0, len(raw), 8))
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    address = ipaddress.ip_address(packed)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


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
