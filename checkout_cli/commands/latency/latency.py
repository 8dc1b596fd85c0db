"""``latency``: response times, seen from here and by the server itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from checkout_cli.commands.ping.summary import percentile
from checkout_cli.errors import CheckoutError
from checkout_cli.servers.inspection import Info, Inspector, missing_grant
from checkout_cli.servers.per_server import PerServer, of_each_server
from checkout_cli.store.redis.admin import RedisAdmin
from checkout_cli.store.redis.commands import decoded

GIBIBYTE = 1 << 30
MOST_EVENTS = 20
LONGEST_ADVICE = 4000
"""Characters of LATENCY DOCTOR's text."""
PERCENTILES = (("min", 0), ("median", 50), ("p95", 95), ("p99", 99), ("max", 100))


@dataclass(frozen=True)
class Pause:
    """The moment and the length of a pause, in milliseconds."""

    JSON_KEYS = "at@ ms"

    at: int
    ms: int


@dataclass(frozen=True)
class Event:
    """A kind of pause (Redis documentation, "Latency monitoring"); moments and lengths are in milliseconds."""

    JSON_KEYS = "event=name latestAt@ latestMs=latest longestMs=longest history"

    name: str
    latest_at: int
    latest: int
    longest: int
    history: tuple[Pause, ...] = ()


@dataclass(frozen=True)
class CommandTimes:
    """The server's statistics of one command: times in seconds, ``None`` where it has no percentiles."""

    JSON_KEYS = "command=name calls totalMs=total meanMs=mean p50Ms=p50 p99Ms=p99 rejected failed"

    name: str
    calls: int
    total: float
    rejected: int
    failed: int
    p50: float | None
    p99: float | None

    @property
    def mean(self) -> float:
        return self.total / self.calls if self.calls else 0.0


@dataclass(frozen=True)
class ServerLatency:
    """One server; ``unknown`` has the reason for each part that it does not tell.

    ``samples`` are round trips in seconds; ``threshold`` is in milliseconds, 0 where its monitor is off; the last fork
    took ``fork`` seconds, ``fork_per_gibibyte`` for each GiB in use now.
    """

    JSON_KEYS = (
        "server=place *percentiles samplesMs=samples monitorThresholdMs=threshold events advice? "
        "lastForkMs=fork forkMsPerGiB=fork_per_gibibyte commands unknown"
    )

    place: str
    samples: tuple[float, ...]
    threshold: int | None
    events: tuple[Event, ...]
    advice: str
    fork: float | None
    fork_per_gibibyte: float | None
    commands: tuple[CommandTimes, ...]
    unknown: dict[str, str]

    @property
    def percentiles(self) -> dict[str, float | None]:
        return {f"{name}Ms": percentile(self.samples, percent) for name, percent in PERCENTILES}


def measure_latency(
    redis: RedisAdmin, samples: int = 100, *, elapsed: Callable[[], float] = time.perf_counter
) -> PerServer[ServerLatency]:
    """Measure round trips, and ask for the servers' own measurements; raises as :func:`of_each_server` does."""
    return of_each_server(redis, lambda server: _measured(server, samples, elapsed))


def _measured(server: Inspector, samples: int, elapsed: Callable[[], float]) -> ServerLatency:
    unknown: dict[str, str] = {}

    def tried(part: str, ask: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return ask()
        except CheckoutError as error:
            reason = missing_grant(error)
            if reason is None:
                raise
            unknown[part] = reason
            return otherwise

    server.ping()  # connects
    trips = []
    for _ in range(samples):
        started = elapsed()
        server.ping()
        trips.append(elapsed() - started)
    info: Info = tried("commands", server.info, Info({}))
    config: dict[str, str] = tried("threshold", server.config, {})
    fork, used = info.integer("latest_fork_usec"), info.integer("used_memory")
    return ServerLatency(
        server.place,
        tuple(trips),
        int(config["latency-monitor-threshold"]) if "latency-monitor-threshold" in config else None,
        tried("events", lambda: _events(server), ()),
        tried("advice", lambda: _text(server.latency_advice()), ""),
        None if fork is None else fork / 1_000_000,
        None if fork is None or not used else fork / 1_000_000 / (used / GIBIBYTE),
        _commands(info),
        unknown,
    )


def _text(raw: object) -> str:
    return decoded(raw)[:LONGEST_ADVICE].strip() if isinstance(raw, bytes) else ""


def _events(server: Inspector) -> tuple[Event, ...]:
    latest = server.latency_events()[:MOST_EVENTS]
    histories = server.latency_histories([event.name for event in latest])
    events = []
    for event, history in zip(latest, histories, strict=True):
        past = () if isinstance(history, CheckoutError) else history  # HISTORY may be denied, and LATEST not
        moments = tuple(Pause(int(at) * 1000, int(length)) for at, length in past)
        events.append(Event(decoded(event.name), event.at, event.latest, event.longest, moments))
    return tuple(events)


def _commands(info: Info) -> tuple[CommandTimes, ...]:
    found = []
    for field in info.names("cmdstat_"):
        name, parts = field.removeprefix("cmdstat_"), info.parts(field)
        percentiles = info.parts(f"latency_percentiles_usec_{name}")
        found.append(
            CommandTimes(
                name.replace("|", " ").upper(),
                _whole(parts.get("calls")),
                _whole(parts.get("usec")) / 1_000_000,
                _whole(parts.get("rejected_calls")),
                _whole(parts.get("failed_calls")),
                _seconds(percentiles.get("p50")),
                _seconds(percentiles.get("p99")),
            )
        )
    return tuple(sorted(found, key=lambda command: -command.total))


def _whole(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0


def _seconds(microseconds: str | None) -> float | None:
    try:
        return None if microseconds is None else float(microseconds) / 1_000_000
    except ValueError:
        return None
