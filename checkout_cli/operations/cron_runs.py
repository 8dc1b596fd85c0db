"""One run of a job, and when each ran last: a file for each in the user's own state directory."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from checkout_cli.operations.cron_jobs import JITTER, JOBS, Job, Setting
from checkout_cli.operations.state_file import StateFile

LONGEST = 1800.0
"""Seconds after which a run is ended: its commands bound themselves far below."""


class Run(msgspec.Struct, frozen=True, rename="camel"):
    """How a job ended last: when (ms), after how many seconds, with which exit code."""

    finished_at: int
    seconds: float
    exit_code: int


@dataclass(frozen=True)
class Outcome:
    """A run that has ended, and what it said; ``trouble`` is whether anybody should read that."""

    run: Run
    said: str
    trouble: bool


@dataclass(frozen=True)
class JobStatus:
    """A job, its last run, and whether the next one should have come by now."""

    job: Job
    last: Run | None
    overdue: bool


def run(
    job: Job,
    setting: Setting,
    *,
    jitter: float = JITTER,
    directory: Path | None = None,
    sleep: Callable[[float], None] = time.sleep,
    wall: Callable[[], float] = time.time,
) -> Outcome:
    """Wait a little, run the job's command, and note how it ended."""
    sleep(random.uniform(0, jitter))  # noqa: S311  (no secret)
    started = wall()
    command = [*setting.command, "--directory", str(setting.directory), *job.words]
    code, said = _ran(command)
    found = Run(int(wall() * 1000), round(wall() - started, 3), code)
    trouble = code not in {0, *job.mild}
    try:
        _file(job, directory).write({job.name: found})
    except OSError as error:  # status would say for ever that it has never run
        said += f"warning: when this ran cannot be noted: {error.strerror}\n"
        trouble = True
    return Outcome(found, said, trouble)


def _ran(command: Sequence[str]) -> tuple[int, str]:
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
        return 69, f"ended after {LONGEST:.0f} s\n"
    except OSError as error:
        return 69, f"{command[0]}: {error.strerror}\n"
    return done.returncode, done.stdout


def statuses(now: float, directory: Path | None = None) -> list[JobStatus]:
    """Of every job; ``now`` is in seconds since the epoch."""
    found = []
    for job in JOBS.values():
        last = _file(job, directory).read().get(job.name)
        late = last is None or now - last.finished_at / 1000 > job.overdue_after
        found.append(JobStatus(job, last, late))
    return found


def _file(job: Job, directory: Path | None) -> StateFile[Run]:
    return StateFile(f"cron-{job.name}.json", Run, lambda each: each.finished_at, directory)
