"""The jobs, and their lines for cron and systemd.

Each line runs ``checkoutctl cron run JOB``, which waits a little, says nothing unless something is wrong, and notes
when it ran. So the lines need no shell of their own, hold no secret, and mail comes only with trouble.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from checkout_cli.config.settings import ENV_FILE, env_files, resolve
from checkout_cli.config.variables import Origin
from checkout_cli.errors import ConfigurationError
from checkout_cli.files.directories import as_typed

BEGIN, END = "# BEGIN checkoutctl", "# END checkoutctl"
JITTER = 30
"""Seconds that a run waits at most before it begins, so that many machines do not ask at once."""


@dataclass(frozen=True)
class Job:
    """A command, and the minutes from one run to the next.

    Exit code 75 is no trouble at first: another run is under way, of any job on this machine, of a clean-up on any.
    """

    name: str
    words: tuple[str, ...]
    every: int

    @property
    def overdue_after(self) -> float:
        """Seconds without a run after which something is wrong."""
        return max(3 * self.every * 60.0, 900.0)


_ALL = (
    Job("cleanup", ("cleanup", "--expired", "--max-seconds", "240", "--quiet"), 5),
    Job("sync", ("sync", "--max-seconds", "240", "--quiet"), 5),
    Job("health", ("health",), 5),
)
JOBS = {job.name: job for job in _ALL}


@dataclass(frozen=True)
class Setting:
    """The command line of this program, and the directory whose .env.local it reads."""

    command: tuple[str, ...]
    directory: Path

    @classmethod
    def here(cls, directory: Path) -> Setting:
        """This very installation, its paths as they were typed: a link such as ``current`` survives a deploy.

        Raises ``ConfigurationError`` where a path cannot stand in a crontab.
        """
        program = Path(sys.argv[0])
        is_path = sys.argv[0] != program.name  # also ./checkoutctl
        found = str(program) if is_path else shutil.which(program.name)
        named = found is not None and Path(found).name.startswith("checkoutctl") and Path(found).is_file()
        command = (str(as_typed(Path(found))),) if named and found else (sys.executable, "-m", "checkout_cli")
        for path in (*command, str(as_typed(directory))):
            if not path.isprintable():
                raise ConfigurationError(
                    f"{path!r} has characters that cron and systemd cannot be told", hint="use another directory: -C"
                )
        return cls(command, as_typed(directory))

    def words(self, job: Job) -> tuple[str, ...]:
        """The command line of a job."""
        return (*self.command, "--directory", str(self.directory), "cron", "run", job.name)


def only_in_environment(directory: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that only this shell has, and where to put each, so that cron has it too."""
    alone = [
        item.variable.name
        for item in resolve(directory=directory, environ=environ).values()
        if item.origin is Origin.ENVIRONMENT
    ]
    (file, *_) = env_files(directory, environ)
    places = dict.fromkeys(alone, f"into {file}")
    if ENV_FILE in places:  # which no file can name
        places[ENV_FILE] = f"at the top of the crontab (crontab -e), as the line {ENV_FILE}={file}"
    return places


def moved_by_environment(directory: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """What this shell's variables move, and cron's jobs, which lack them, look for elsewhere."""
    moved = {
        "XDG_STATE_HOME": "~/.local/state: `cron status` here will not find when they ran, nor they what runs here note"
    }
    if not resolve(directory=directory, environ=environ)["database_url"].is_set:
        moved["XDG_DATA_HOME"] = "~/.local/share: they would use another SQLite file; set DATABASE_URL"
    for name, usual in moved.items():
        if value := environ.get(name, "").strip():
            yield (
                f"{name} is set in this shell alone, and cron's jobs use {usual}. "
                f"Put {name}={value} at the top of the crontab (crontab -e), or unset it"
            )


def line(setting: Setting, job: Job) -> str:
    """One line of a crontab."""
    import socket

    command = shlex.join(setting.words(job)).replace("%", "\\%")  # which cron takes for the end of the line
    # A minute that is always the same for one machine and directory, and another one for others.
    place = f"{socket.gethostname()} {setting.directory} {job.name}"
    minute = hashlib.sha256(place.encode()).digest()[0] % job.every
    return f"{minute}-59/{job.every} * * * * {command}"


def block(setting: Setting) -> str:
    """The lines for a crontab, between their marks."""
    lines = [BEGIN, "# written by: checkoutctl cron install; taken out by: checkoutctl cron remove"]
    return "\n".join([*lines, *(line(setting, job) for job in JOBS.values()), END, ""])


def _for_systemd(word: str) -> str:
    """A word of a command line (systemd.service(5), "Command lines"), which is no shell's."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return plain if re.fullmatch(r"[\w@%+=:,./-]+", plain, re.ASCII) else f'"{plain}"'


def units(setting: Setting) -> dict[str, str]:
    """The same as systemd's user units, by file name (systemd.service(5), systemd.timer(5))."""
    found = {}
    for job in JOBS.values():
        command = " ".join(map(_for_systemd, setting.words(job)))
        found[f"checkoutctl-{job.name}.service"] = (
            f"[Unit]\nDescription=checkoutctl {job.name}\n\n[Service]\nType=oneshot\nExecStart={command}\n"
        )
        found[f"checkoutctl-{job.name}.timer"] = (
            f"[Unit]\nDescription=checkoutctl {job.name} every {job.every} minutes\n\n"
            f"[Timer]\nOnCalendar=*:0/{job.every}\nRandomizedDelaySec={JITTER}\nPersistent=true\n\n"
            "[Install]\nWantedBy=timers.target\n"
        )
    return found
