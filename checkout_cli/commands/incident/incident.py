"""One snapshot of everything that may matter to an incident, for tomorrow or for somebody else.

Each part is the answer of its own command, or says why there is none. None has a session's value, a password, or a
whole id.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from checkout_cli import __version__
from checkout_cli.clock import Clock
from checkout_cli.commands.doctor.run import all_checks, run_checks
from checkout_cli.commands.health.health import HealthCheck, HealthReport
from checkout_cli.commands.info.info import server_info
from checkout_cli.commands.latency.latency import measure_latency
from checkout_cli.commands.memory.show import look_at_memory
from checkout_cli.commands.slowlog.slowlog import slow_log
from checkout_cli.config.settings import Settings, resolve
from checkout_cli.config.variables import Resolved
from checkout_cli.errors import CheckoutError, InvalidInput, OwnMistake
from checkout_cli.files.atomic_file import write_atomically
from checkout_cli.files.last_look import LastLook
from checkout_cli.jobs.bounded_run import BoundedRun
from checkout_cli.store.redis.admin import RedisAdmin

_LIBRARIES = ("redis", "hiredis", "sqlalchemy", "psycopg", "typer", "rich", "msgspec")


@dataclass(frozen=True)
class Part:
    """One command's answer, or the problem."""

    answer: Any = None
    problem: CheckoutError | None = None


@dataclass(frozen=True)
class Incident:
    """A snapshot; ``timestamp`` is in milliseconds since the epoch, ``parts`` are by name."""

    timestamp: int
    configuration: tuple[Resolved, ...]
    versions: Mapping[str, str]
    parts: dict[str, Part] = field(default_factory=dict)


def gather(
    load: Callable[[], Settings],
    *,
    directory: Path,
    flags: Mapping[str, Any] | None = None,
    last_look: LastLook | None = None,
    run: BoundedRun | None = None,
) -> Incident:
    """Ask everything, one after the other; with Redis away, that costs a few time-outs in all.

    Raises:
        ConfigurationError: an environment file cannot be read.
    """
    settings = tuple(resolve(directory=directory, flags=flags).values())
    incident = Incident(Clock().wall(), settings, versions())
    questions = _questions(load, directory, last_look)
    run = run or BoundedRun()
    run.expect(len(questions))
    for name, ask in run.pages(questions.items(), lambda _: 1):
        incident.parts[name] = _asked(name, ask, incident.parts)
    return incident


Question = Callable[[], Any]


def _questions(load: Callable[[], Settings], directory: Path, last_look: LastLook | None) -> dict[str, Question]:
    """The questions in their order: health comes before the parts that need Redis."""

    def of_redis(ask: Callable[[RedisAdmin], Any]) -> Question:
        def asked() -> Any:
            with closing(RedisAdmin(load())) as redis:
                return ask(redis)

        return asked

    return {
        "health": lambda: HealthCheck(load).look(),
        "doctor": lambda: run_checks(load, all_checks().chosen([], []), directory=directory, last_look=last_look),
        "info": of_redis(server_info),
        "memory": of_redis(lambda redis: look_at_memory(redis, last_look=last_look)),
        "slowLog": of_redis(slow_log),
        "latency": of_redis(measure_latency),
    }


_NEEDS_REDIS = frozenset({"info", "memory", "slowLog", "latency"})


def _asked(name: str, ask: Question, before: Mapping[str, Part]) -> Part:
    health = before["health"].answer if name in _NEEDS_REDIS else None
    if isinstance(health, HealthReport) and not health.redis.connected:
        return Part(problem=health.redis.problem or CheckoutError("Redis was not asked", hint="checkoutctl doctor"))
    try:
        return Part(answer=ask())
    except CheckoutError as error:
        return Part(problem=error)
    except Exception as error:  # noqa: BLE001  (whatever it was, the other parts go on)
        return Part(problem=OwnMistake(error))


def versions() -> dict[str, str]:
    """The versions of this program, Python, the libraries and this system."""
    found = {"checkoutctl": __version__, "python": platform.python_version(), "system": platform.platform()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def default_path(now: int) -> Path:
    """The default file of a snapshot at this moment (ms)."""
    return Path(datetime.fromtimestamp(now / 1000, UTC).strftime("incident-%Y%m%dT%H%M%SZ.json"))


def keep(path: Path, content: bytes) -> None:
    """Write the file, for its owner alone; raises :class:`InvalidInput` where that is impossible."""
    try:
        write_atomically(path, content)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}", hint="--out FILE somewhere else") from error
