"""What is installed on this machine, and the commands that install and start a Redis."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SERVERS = ("redis-server", "valkey-server")
CLIENTS = ("redis-cli", "valkey-cli")

_VERSION = re.compile(r"\bv=([0-9][\w.+-]*)|\b(?:redis|valkey)-cli ([0-9][\w.+-]*)", re.IGNORECASE)
_SERVICE_MANAGERS = ("/run/systemd/system", "/run/openrc")
"""Where they are while they run; in most containers neither does."""
_VERSION_PATIENCE = 2.0
"""Seconds for a program to say its version."""


@dataclass(frozen=True)
class Program:
    """A program on PATH; ``version`` is empty where it does not say one."""

    name: str
    path: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


@dataclass(frozen=True)
class System:
    """An operating system or distribution; ``family`` is empty where we know no commands for it."""

    name: str
    family: str
    package: str = "redis"
    service: str = "redis"
    installer: str = ""


def found_programs(
    which: Callable[[str], str | None] = shutil.which, run: Callable[[str], str] | None = None
) -> tuple[Program, ...]:
    """The servers and clients of Redis and Valkey on PATH, with their versions."""
    paths = [(name, which(name)) for name in (*SERVERS, *CLIENTS)]
    return tuple(Program(name, path, _version((run or _version_text)(path))) for name, path in paths if path)


def _version_text(path: str) -> str:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, timeout=_VERSION_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""  # a broken program, which the connection check will tell more of
    return done.stdout.decode(errors="replace")


def _version(text: str) -> str:
    found = _VERSION.search(text)
    return (found[1] or found[2]) if found else ""


def this_system() -> System:
    try:
        release = platform.freedesktop_os_release() if platform.system() == "Linux" else {}
    except OSError:
        release = {}
    return system_of(platform.system(), release)


def system_of(kernel: str, release: Mapping[str, str]) -> System:
    """The system by its kernel's name (``platform.system()``) and the fields of its ``os-release`` file."""
    if kernel == "Darwin":
        return System("macOS", "macos", installer="brew install")
    if kernel == "Windows":
        return System("Windows", "windows", installer="choco install")
    name = release.get("PRETTY_NAME") or release.get("NAME") or kernel or "this system"
    relatives = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    major = release.get("VERSION_ID", "").partition(".")[0]
    number = int(major) if major.isdecimal() else None
    if relatives & {"debian", "ubuntu"}:
        return System(name, "debian", "redis-server", "redis-server", "apt-get update && {sudo}apt-get install -y")
    if relatives & {"rhel", "centos", "fedora"}:
        # Fedora 41 and Enterprise Linux 10 replaced Redis by Valkey; Enterprise Linux 7 has no dnf
        first_with_valkey = 41 if release.get("ID") == "fedora" else 10
        package = "valkey" if number is not None and number >= first_with_valkey else "redis"
        installer = "yum install -y" if number is not None and number < 8 else "dnf install -y"
        return System(name, "rhel", package, package, installer)
    if "arch" in relatives:  # Redis left Arch's packages for Valkey in 2025
        return System(name, "arch", "valkey", "valkey", "pacman -S --needed --noconfirm")
    if "alpine" in relatives:
        return System(name, "alpine", installer="apk add")
    return System(name, "")


@dataclass(frozen=True)
class Installation:
    """This machine's system and programs, and the commands to type on it."""

    system: System = field(default_factory=this_system)
    programs: tuple[Program, ...] = field(default_factory=found_programs)
    root: bool = field(default_factory=lambda: hasattr(os, "geteuid") and os.geteuid() == 0)
    service_manager: bool = field(default_factory=lambda: any(Path(path).is_dir() for path in _SERVICE_MANAGERS))

    @property
    def server(self) -> Program | None:
        """The installed Redis or Valkey server, if any."""
        return next((program for program in self.programs if program.name in SERVERS), None)

    @property
    def install_command(self) -> str:
        """The command that installs a server, or where to get one."""
        system = self.system
        if not system.installer:
            return "install redis-server with the system's package manager, or from https://redis.io/downloads"
        sudo = "" if self.root or system.family in {"macos", "windows"} else "sudo "
        return f"{sudo}{system.installer.format(sudo=sudo)} {system.package}"

    @property
    def start_command(self) -> str:
        """The command that starts an installed server, as a service where the system has a service manager."""
        system, sudo = self.system, "" if self.root else "sudo "
        server = self.server.name if self.server is not None else ""
        if system.family == "macos":
            return "brew services start redis"
        if system.family == "windows":
            return "redis-server"
        if self.service_manager and system.family == "alpine":
            return f"{sudo}rc-update add {system.service} && {sudo}rc-service {system.service} start"
        if self.service_manager and system.family:
            service = system.service
            if server and not service.startswith(server.partition("-")[0]):
                service = server.partition("-")[0]  # the other one of the two is installed
            return f"{sudo}systemctl enable --now {service}"
        return f"{server or ('valkey-server' if system.package == 'valkey' else 'redis-server')} --daemonize yes"

    @property
    def way_to_a_server(self) -> str:
        """The command after which a server runs here."""
        if self.server is not None:
            return self.start_command
        then = " && " if self.system.installer else "; then: "
        return f"{self.install_command}{then}{self.start_command}"
