"""``slowlog``: which commands took long, by their shape; their arguments are somebody's data."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from checkout_cli.clock import Clock
from checkout_cli.errors import CheckoutError, CommandDenied, CommandUnknown
from checkout_cli.servers.command_shape import CommandShape, shape_of
from checkout_cli.servers.inspection import Inspector, SlowCommand, missing_grant
from checkout_cli.servers.per_server import Partial, PerServer, of_each_server
from checkout_cli.store.redis.admin import RedisAdmin

MOST_ENTRIES = 1000
_MOST_ARGUMENTS = 32
"""Of a command that the server keeps; the last of them then says how many more there were."""
_MORE = re.compile(rb"\.\.\. \(([0-9]{1,7}) more arguments\)")


@dataclass(frozen=True)
class Entry:
    """One slow command; ``at`` is its moment in milliseconds, ``seconds`` how long the server worked on it."""

    SHOWN = (
        "number at@ durationMs=seconds command=shape.name key=shape.key family=shape.family "
        "otherArguments=shape.others client?"
    )

    number: int
    at: int
    seconds: float
    shape: CommandShape
    client: str


@dataclass(frozen=True)
class ShapeTotal:
    """All entries of one command on one family of keys; times in seconds."""

    SHOWN = "shape command=name family? calls totalMs=total longestMs=longest"

    name: str
    family: str
    calls: int
    total: float
    longest: float

    @property
    def shape(self) -> str:
        return f"{self.name} {self.family}".strip()


@dataclass(frozen=True)
class ServerSlowLog:
    """One server's. ``length`` is how many entries it has; ``threshold`` is in seconds, below 0 where the log is off.

    ``unknown`` says why threshold and size are not known, where they are not.
    """

    SHOWN = "server=place length thresholdMs=threshold maxLength=size unknown? totals entries"

    place: str
    entries: tuple[Entry, ...]
    length: int
    threshold: float | None
    size: int | None
    unknown: str = ""

    @property
    def totals(self) -> list[ShapeTotal]:
        groups: dict[tuple[str, str], list[float]] = {}
        for entry in self.entries:
            family = entry.shape.family
            groups.setdefault((entry.shape.name, "" if family is None else str(family)), []).append(entry.seconds)
        found = [ShapeTotal(*group, len(times), sum(times), max(times)) for group, times in groups.items()]
        return sorted(found, key=lambda total: -total.total)


@dataclass(frozen=True)
class Emptied(Partial):
    """What became of a reset: how many entries each server had, and whether they were dropped.

    ``missing`` are servers of a cluster that did not answer, and keep theirs.
    """

    SHOWN = "entries done dryRun!=done servers=lengths partial missingServers=missing"

    lengths: dict[str, int]
    done: bool
    missing: tuple[str, ...] = ()

    @property
    def entries(self) -> int:
        return sum(self.lengths.values())


def slow_log(redis: RedisAdmin, limit: int = 25, *, clock: Clock | None = None) -> PerServer[ServerSlowLog]:
    """The newest entries of every server, the newest first.

    Raises:
        CommandDenied, CommandUnknown: SLOWLOG is.
        RedisUnavailable: no server answers.
    """
    return of_each_server(redis, lambda server: _read(server, limit), clock=clock)


def empty_slow_log(redis: RedisAdmin, *, agreed: Callable[[dict[str, int]], bool]) -> Emptied:
    """Drop all entries of every server; ``agreed`` is shown how many of each, and decides.

    Raises:
        CommandDenied, CommandUnknown: SLOWLOG is.
        RedisUnavailable: no server answers, or one went away meanwhile; others may have dropped theirs.
    """
    found = of_each_server(redis, lambda server: (server, server.slow_log_length()))
    lengths = {server.place: length for server, length in found.servers}
    if not agreed(lengths):
        return Emptied(lengths, False, found.missing)
    for server, _ in found.servers:
        server.empty_slow_log()
    return Emptied(lengths, True, found.missing)


def _read(server: Inspector, limit: int) -> ServerSlowLog:
    entries = server.slow_commands(min(limit, MOST_ENTRIES))
    threshold, size, unknown = None, None, ""
    try:
        config = server.config()
        threshold = int(config["slowlog-log-slower-than"]) / 1_000_000
        size = int(config["slowlog-max-len"])
    except (CommandDenied, CommandUnknown) as refusal:
        unknown = missing_grant(refusal) or ""
    except (KeyError, ValueError):
        unknown = "this server does not tell it"
    try:
        length = server.slow_log_length()
    except CheckoutError:  # denied apart from GET
        length = len(entries)
    return ServerSlowLog(server.place, tuple(map(_entry, entries)), length, threshold, size, unknown)


def _entry(command: SlowCommand) -> Entry:
    words = command.arguments
    shape = shape_of(words)
    more = _MORE.fullmatch(words[-1]) if len(words) == _MOST_ARGUMENTS else None
    if more is not None:
        shape = replace(shape, others=shape.others - 1 + int(more[1]))
    return Entry(command.number, command.at, command.microseconds / 1_000_000, shape, command.client)
