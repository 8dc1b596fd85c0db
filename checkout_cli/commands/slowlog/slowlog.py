"""``slowlog``: slow commands by their shape; their arguments are somebody's data."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from checkout_cli.errors import CheckoutError, CommandDenied, CommandUnknown
from checkout_cli.servers.command_shape import CommandShape, shape_of
from checkout_cli.servers.inspection import Inspector, SlowCommand, missing_grant
from checkout_cli.servers.per_server import Partial, PerServer, of_each_server
from checkout_cli.store.redis.admin import RedisAdmin
from checkout_cli.store.redis.clients import name_shown

_MOST_ARGUMENTS = 32
"""The arguments that a server keeps of a command; the last of them then counts the others."""
_MORE = re.compile(rb"\.\.\. \(([0-9]{1,7}) more arguments\)")


@dataclass(frozen=True)
class Entry:
    """One slow command of the server at ``place``, at a moment in milliseconds."""

    JSON_KEYS = (
        "number at@ durationMs=seconds command=shape.name key=shape.key family=shape.family "
        "otherArguments=shape.others client? clientName?=client_name"
    )

    place: str
    number: int
    at: int
    seconds: float
    shape: CommandShape
    client: str
    client_name: str = ""


@dataclass(frozen=True)
class ShapeTotal:
    """All entries of one command on one family of keys; times in seconds."""

    JSON_KEYS = "shape command=name family? calls totalMs=total longestMs=longest"

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
    """One server's log of ``length`` entries; ``threshold`` is in seconds, below 0 where the log is off.

    ``unknown`` is why threshold and size are unknown, if so.
    """

    JSON_KEYS = "server=place length thresholdMs=threshold maxLength=size unknown? totals entries"

    place: str
    entries: tuple[Entry, ...]
    length: int
    threshold: float | None
    size: int | None
    unknown: str = ""

    @property
    def totals(self) -> list[ShapeTotal]:
        """By command and family of keys, the longest total first."""
        groups: dict[tuple[str, str], list[float]] = {}
        for entry in self.entries:
            groups.setdefault((entry.shape.name, str(entry.shape.family or "")), []).append(entry.seconds)
        found = [ShapeTotal(*group, len(times), sum(times), max(times)) for group, times in groups.items()]
        return sorted(found, key=lambda total: -total.total)


@dataclass(frozen=True)
class Emptied(Partial):
    """The outcome of a reset: the number of entries of each server, and whether they were dropped.

    ``missing`` are servers of a cluster that did not answer, and keep theirs.
    """

    JSON_KEYS = "entries done dryRun!=done servers=lengths partial missingServers=missing"

    lengths: dict[str, int]
    done: bool
    missing: tuple[str, ...] = ()

    @property
    def entries(self) -> int:
        return sum(self.lengths.values())


def slow_log(redis: RedisAdmin, limit: int = 25) -> PerServer[ServerSlowLog]:
    """The entries of every server, the newest first; raises as :func:`of_each_server` does."""
    return of_each_server(redis, lambda server: _read(server, limit))


def empty_slow_log(redis: RedisAdmin, *, agreed: Callable[[dict[str, int]], bool]) -> Emptied:
    """Drop all entries of every server, once ``agreed``; raises as :func:`of_each_server` does."""
    found = of_each_server(redis, lambda server: (server, server.slow_log_length()))
    lengths = {server.place: length for server, length in found.servers}
    if not agreed(lengths):
        return Emptied(lengths, False, found.missing)
    for server, _ in found.servers:
        server.empty_slow_log()
    return Emptied(lengths, True, found.missing)


def _read(server: Inspector, limit: int) -> ServerSlowLog:
    entries = tuple(_entry(server.place, command) for command in server.slow_commands(limit))
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
    return ServerSlowLog(server.place, entries, length, threshold, size, unknown)


def _entry(place: str, command: SlowCommand) -> Entry:
    words = command.arguments
    shape = shape_of(words)
    more = _MORE.fullmatch(words[-1]) if len(words) == _MOST_ARGUMENTS else None
    if more is not None:
        shape = replace(shape, others=shape.others - 1 + int(more[1]))
    took = command.microseconds / 1_000_000
    return Entry(place, command.number, command.at, took, shape, command.client, name_shown(command.client_name))
