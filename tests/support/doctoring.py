"""What the tests of the doctor's checks share: one check examined, and machines of a test's own making."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checkout_cli.commands.doctor.check import Finding
from checkout_cli.commands.doctor.examination import DoctorReport, all_checks, chosen, examine
from checkout_cli.config.settings import Settings
from checkout_cli.files.last_look import LastLook
from checkout_cli.servers.inspection import Info
from checkout_cli.servers.installation import Program
from checkout_cli.servers.machine import Machine, Room

_LISTENING = "0A"
_HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def at(port: int, host: str = "127.0.0.1", **more: Any) -> Settings:
    """Settings for a Redis, with a database that is not there."""
    database = Path(tempfile.gettempdir()) / "no-such-directory" / "checkout.db"
    defaults = {"timeout": 0.5, "database_url": f"sqlite:///{database}"}
    return Settings(redis_host=host, redis_port=port, **defaults | more)


def finding(
    settings: Settings,
    name: str,
    directory: Path,
    *,
    machine: Machine | None = None,
    environ: Mapping[str, str] | None = None,
) -> Finding:
    """What one check finds; the counters of the run are kept in ``directory``."""
    report = examine(
        lambda: settings,
        [all_checks()[name]],
        directory=directory,
        environ=environ or {},
        last_look=LastLook(directory / "state"),
        machine=machine,
    )
    (result,) = report.results
    return result.finding


def examined(settings: Settings, directory: Path, *names: str) -> DoctorReport:
    """A run of the checks or groups of these names, or of all."""
    return examine(
        lambda: settings, chosen(names, []), directory=directory, environ={}, last_look=LastLook(directory / "state")
    )


class FakeMachine(Machine):
    """A machine in a directory: what is not put there is not there."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.own = {"127.0.0.1", "::1"}
        self.installed: tuple[Program, ...] = ()
        self.disk = Room(100 * 2**30, 50 * 2**30)
        self.write("proc/net/tcp", _HEADER)

    def write(self, path: str, text: str) -> Path:
        """Put a file there."""
        place = self.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        return place

    def run(
        self, pid: int, name: str, *, title: str = "", user: int = 999, state: str = "S (sleeping)", **more: str
    ) -> None:
        """Let a process live there; its group has the user's number."""
        fields = {"Name": name, "State": state, "Uid": f"{user} {user} {user} {user}", "Gid": f"{user} {user}", **more}
        self.write(f"proc/{pid}/status", "".join(f"{key}:\t{value}\n" for key, value in fields.items()))
        self.write(f"proc/{pid}/cmdline", f"{title or name}\0")
        self.path(f"proc/{pid}/fd").mkdir()

    def listen(self, port: int, *, pid: int | None = None, user: int = 999, address: str = "0100007F") -> None:
        """Let somebody listen there; without ``pid``, one whose process we may not look into."""
        table = self.path("proc/net/tcp")
        lines = table.read_text(encoding="utf-8").splitlines()
        inode = 4000 + len(lines)
        lines.append(
            f" 0: {address}:{port:04X} 00000000:0000 {_LISTENING} 0:0 00:0 00 {user} 0 {inode} 1 0 100 0 0 10 0"
        )
        table.write_text("\n".join(lines) + "\n", encoding="utf-8")
        if pid is not None:
            self.path(f"proc/{pid}/fd/{len(lines)}").symlink_to(f"socket:[{inode}]")

    def owns(self, address: str) -> bool:
        """As the test says."""
        return address in self.own

    def programs(self) -> tuple[Program, ...]:
        """As the test says."""
        return self.installed

    def room(self, path: Path) -> Room:
        """As the test says."""
        return self.disk


class Told:
    """A server that tells just this of itself."""

    def __init__(self, sessions: int = 0, **fields: object) -> None:
        self._info = Info({"memory": {name: str(value) for name, value in fields.items()}})
        self._sessions = sessions

    def info(self) -> Info:
        return self._info

    def sorted_set_sizes(self, _keys: object) -> list[int]:
        return [self._sessions]
