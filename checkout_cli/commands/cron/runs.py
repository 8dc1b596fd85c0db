"""One run of a job, and when each ran last: a file for each in the user's own state directory."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from checkout_cli.commands.cron.crontab import NOT_INSTALLED, installed
from checkout_cli.commands.cron.jobs import JITTER, JOBS, Job, Setting, block
from checkout_cli.errors import ConfigurationError, ExitCode, InvalidInput
from checkout_cli.files.atomic_file import NotOurs, open_own
from checkout_cli.files.state_file import StateFile
from checkout_cli.jobs.heartbeat import AHEAD
from checkout_cli.typed import typed

LONGEST = 1800.0
"""Seconds after which a run is ended: its commands bound themselves far below."""


LONGEST_REASON = 200
"""Characters that are kept of what a run said."""


class Run(msgspec.Struct, frozen=True, rename="camel"):
    """The end of a job's run: when (ms), after how many seconds, with which exit code, and why if not 0.

    ``done_at`` is when one last exited with 0; before the first one, when the first one began.
    """

    finished_at: int
    seconds: float
    exit_code: int
    done_at: int = 0
    reason: str = ""

    @property
    def has_failed(self) -> bool:
        """Whether it is trouble by itself; that another run was under way is none (75), unless it stays so."""
        return self.exit_code not in {ExitCode.OK, ExitCode.TRY_AGAIN}

    def is_overdue(self, job: Job, now: float, since: int = 0) -> bool:
        """Whether no run has got through for too long, ``since`` (ms) it was installed; ``now`` is in seconds."""
        done_at = self.done_at or (self.finished_at if self.exit_code == ExitCode.OK else 0)
        return _is_late(job, max(done_at, since), now)


def _is_late(job: Job, since: int, now: float) -> bool:
    return not -AHEAD <= now * 1000 - since <= job.overdue_after * 1000


@dataclass(frozen=True)
class Outcome:
    """A run that has ended, and its output; ``trouble`` is whether anybody should read that."""

    JSON_KEYS = "finishedAt@=run.finished_at seconds=run.seconds exitCode=run.exit_code trouble output=said"

    run: Run
    said: str
    trouble: bool

    @property
    def exit_code(self) -> int:
        """The command's, where it is trouble."""
        return self.run.exit_code if self.trouble else ExitCode.OK

    @property
    def next_step(self) -> str:
        return "checkoutctl health"


@dataclass(frozen=True)
class JobStatus:
    """A job, its last run, and whether the next one should have come by now."""

    JSON_KEYS = (
        "job=job.name everyMinutes=job.every lastRun@=last.finished_at seconds=last.seconds exitCode=last.exit_code "
        "overdue reason"
    )

    job: Job
    last: Run | None
    overdue: bool

    @property
    def reason(self) -> str | None:
        """What the last run said, where there is trouble."""
        last = self.last
        if last is None or not last.exit_code or not (last.has_failed or self.overdue):
            return None
        return last.reason or f"exit code {last.exit_code}"


@dataclass(frozen=True)
class CronStatus:
    """The state of our lines in the crontab, in words, and of each job at ``now`` (s since the epoch)."""

    JSON_KEYS = "crontab=installed jobs"

    installed: str
    jobs: list[JobStatus]
    now: float

    @property
    def exit_code(self) -> ExitCode:
        """A finding where the lines are not installed, or a job is overdue or ended with an error."""
        late = self.installed == NOT_INSTALLED or any(job.overdue or job.reason for job in self.jobs)
        return ExitCode.FINDING if late else ExitCode.OK

    @property
    def next_step(self) -> str:
        return "checkoutctl cron install" if self.installed == NOT_INSTALLED else "checkoutctl doctor"


def job_called(name: str) -> Job:
    """One of the jobs by its name; raises ``InvalidInput`` where no job has that name."""
    if name not in JOBS:
        raise InvalidInput(f"no job is called {name[:64]!r}", hint=f"one of: {', '.join(JOBS)}")
    return JOBS[name]


def run(
    job: Job,
    setting: Setting,
    *,
    jitter: float = JITTER,
    directory: Path | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Wait a little, run the job's command, and note how it ended; nothing where this machine still runs it (75).

    That another run is under way, again and again until the job is overdue, is trouble too.
    """
    sleep(random.uniform(0, jitter))  # noqa: S311  (no secret)
    began = time.time()
    with _alone(job, directory) as alone:
        if not alone:
            return Outcome(Run(int(began * 1000), 0.0, ExitCode.TRY_AGAIN), "", trouble=False)
        code, said = _ran([*setting.command, "--directory", str(setting.directory), *job.words])
        now, last, file = time.time(), None, _file(job, directory)
        if code:
            last = file.read().get(job.name)
        done_at = int(began * 1000) if code and last is None else last.done_at if last else int(now * 1000)
        found = Run(int(now * 1000), round(now - began, 3), code, done_at, _reason(said) if code else "")
        trouble = found.has_failed or found.is_overdue(job, now)
        try:
            file.write({job.name: found})
        except OSError as error:  # status would say for ever that it has never run
            said += f"warning: when this ran cannot be noted: {error.strerror}\n"
            trouble = True
        return Outcome(found, said, trouble)


@contextmanager
def _alone(job: Job, directory: Path | None) -> Iterator[bool]:
    """Whether no other run of this job is under way here; a run that dies, however it does, holds it no longer."""
    import fcntl  # where there is cron

    try:
        path = _file(job, directory).path.with_suffix(".lock")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.fdopen(open_own(path, os.O_RDWR | os.O_CREAT), "r+b")
    except NotOurs as error:
        raise ConfigurationError(f"{path}: {error.strerror}", hint=typed("ls -ld {}", path)) from error
    except OSError:
        yield True  # that nothing can be written there is told when the run is noted
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            alone = False
        else:
            alone = True
        yield alone


def _ran(command: list[str]) -> tuple[int, str]:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ExitCode.UNAVAILABLE, f"ended after {LONGEST:.0f} s\n"
    except OSError as error:
        return ExitCode.UNAVAILABLE, f"{command[0]}: {error.strerror}\n"
    return done.returncode, done.stdout


def status(setting: Setting) -> CronStatus:
    """The state of the crontab and of every job now."""
    now = time.time()
    return CronStatus(installed(block(setting)), statuses(now), now)


def statuses(now: float, directory: Path | None = None) -> list[JobStatus]:
    """The state of every job; ``now`` is in seconds since the epoch."""
    found, since = [], installed_at(directory)
    for job in JOBS.values():
        last = _file(job, directory).read().get(job.name)
        late = _is_late(job, since, now) if last is None else last.is_overdue(job, now, since)
        found.append(JobStatus(job, last, late))
    return found


class _Installed(msgspec.Struct, frozen=True):
    at: int


def installed_at(directory: Path | None = None) -> int:
    """When (ms) ``cron install`` last wrote our lines; 0 where that is unknown."""
    noted = _installed_file(directory).last("crontab")
    return 0 if noted is None else noted.at


def note_installed(*, installed: bool, directory: Path | None = None) -> None:
    """Note that our lines were just installed, or removed: no run is overdue before it was due."""
    with suppress(OSError):  # then status says that jobs have never run, until they have
        _installed_file(directory).put("crontab", _Installed(int(time.time() * 1000)) if installed else None)


def _installed_file(directory: Path | None) -> StateFile[_Installed]:
    return StateFile("cron-installed.json", _Installed, lambda each: each.at, directory)


def _reason(said: str) -> str:
    """Its first error, else its first line, in brief."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    return (errors or lines or [""])[0][:LONGEST_REASON]


def _file(job: Job, directory: Path | None) -> StateFile[Run]:
    return StateFile(f"cron-{job.name}.json", Run, lambda each: each.finished_at, directory)
