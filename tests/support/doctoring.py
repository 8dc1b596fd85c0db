"""What the tests of the doctor's checks share: one check examined, and machines of a test's own making."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from checkout_cli.checks import Finding
from checkout_cli.commands.doctor.run import DoctorReport, all_checks, run_checks
from checkout_cli.config.settings import Settings
from checkout_cli.files.last_look import LastLook
from checkout_cli.servers.inspection import Info
from checkout_cli.servers.installation import Installation, system_of
from checkout_cli.servers.machine import Machine, Process, Room

DEBIAN = Installation(system_of("Linux", {"ID": "debian", "PRETTY_NAME": "Debian"}), (), True, True)
"""Without a server, used by root."""


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
    report = run_checks(
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
    return run_checks(
        lambda: settings,
        all_checks().chosen(names, []),
        directory=directory,
        environ={},
        last_look=LastLook(directory / "state"),
    )


class FakeMachine(Machine):
    """A machine of the test's own, with files in a directory: what is not put there is not there."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.own = {"127.0.0.1", "::1"}
        self.installation = DEBIAN
        self.disk = Room(100 * 2**30, 50 * 2**30)
        self.living: dict[int, Process] = {}
        self.sockets: list[tuple[str, int, int | None]] = []
        self.owner: int | None = None

    def write(self, path: str, text: str) -> Path:
        """Put a file there."""
        place = self.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        return place

    def run(
        self, pid: int, name: str, *, title: str = "", user: int = 999, state: str = "sleeping", **details: str
    ) -> None:
        """Let a process live there; its group has the user's number."""
        self.living[pid] = Process(pid, name, title or name, user, (user,), state, details)

    def listen(self, port: int, *, pid: int | None = None, address: str = "127.0.0.1") -> None:
        """Let somebody listen there; without ``pid``, one whose process we may not look into."""
        self.sockets.append((address, port, pid))

    def process(self, pid: int) -> Process | None:
        """As the test says."""
        return self.living.get(pid)

    def _processes(self) -> Iterator[Process]:
        yield from self.living.values()

    def _listening(self, pid: int | None = None) -> Iterator[tuple[str, int, int | None]]:
        yield from (found for found in self.sockets if pid in {None, found[2]})

    def owner_of(self, port: int) -> int | None:
        """As the test says."""
        return self.owner

    def owns(self, address: str) -> bool:
        """As the test says."""
        return address in self.own

    def room(self, path: Path) -> Room:
        """As the test says."""
        return self.disk


class Told:
    """A server that tells just this of itself."""

    place = "here"

    def __init__(self, sessions: int = 0, **fields: object) -> None:
        self._info = Info({"memory": {name: str(value) for name, value in fields.items()}})
        self._sessions = sessions

    def info(self) -> Info:
        return self._info

    def sorted_set_sizes(self, _keys: object) -> list[int]:
        return [self._sessions]
