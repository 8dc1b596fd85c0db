"""``info``: INFO of each server, and its changes over a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from checkout_cli.errors import InvalidInput
from checkout_cli.servers.per_server import PerServer, of_each_server
from checkout_cli.store.redis.admin import RedisAdmin

EVERYTHING = "all"
BY_COMMAND = frozenset({"commandstats", "latencystats", "errorstats", "commands", "modules", "debug"})
"""Sections with a line for each command or error: left out unless they are asked for."""
_COUNTERS = frozenset({"stats", "cpu", "commandstats", "errorstats"})
"""Sections that count since the server's start."""
_NOISE = frozenset({"uptime_in_seconds", "lru_clock", "server_time_usec"})
"""Fields that always change, and say nothing."""


@dataclass(frozen=True)
class ServerInfo:
    """One server's sections of INFO, by title in lower case; fields as the server writes them."""

    JSON_KEYS = "server=place sections=values"

    place: str
    sections: Mapping[str, Mapping[str, str]]

    @property
    def values(self) -> dict[str, dict[str, Any]]:
        return {
            title: {name: _value(value) for name, value in fields.items()} for title, fields in self.sections.items()
        }


@dataclass(frozen=True)
class Change:
    """A field that has changed in ``seconds``; ``None`` where it is missing."""

    JSON_KEYS = "server=place section field=name before=value_before after=value_after perSecond:3"

    place: str
    section: str
    name: str
    before: str | None
    after: str | None
    seconds: float = 0.0

    @property
    def growth(self) -> float | None:
        try:
            return float(self.after or "") - float(self.before or "")
        except ValueError:
            return None

    @property
    def per_second(self) -> float | None:
        """How fast a counter grows; a gauge goes up and down, and has no rate."""
        counts = self.section in _COUNTERS and not self.name.startswith("instantaneous_")
        return self.growth / self.seconds if counts and self.growth is not None and self.seconds > 0 else None

    @property
    def value_before(self) -> Any:
        return None if self.before is None else _value(self.before)

    @property
    def value_after(self) -> Any:
        return None if self.after is None else _value(self.after)


@dataclass(frozen=True)
class InfoDiff:
    """The changes in ``seconds``, without the noise."""

    seconds: float
    changes: tuple[Change, ...]


def server_info(redis: RedisAdmin, sections: Sequence[str] = ()) -> PerServer[ServerInfo]:
    """Ask every server; without ``sections`` all but those that have a line for each command.

    Raises:
        InvalidInput: no server has such a section.
        CheckoutError: as :func:`of_each_server`.
    """
    found = of_each_server(redis, lambda server: ServerInfo(server.place, server.info().sections))
    wanted = _wanted(sections, {title for server in found.servers for title in server.sections})
    chosen = tuple(
        replace(server, sections={title: fields for title, fields in server.sections.items() if title in wanted})
        for server in found.servers
    )
    return replace(found, servers=chosen)


def _wanted(sections: Sequence[str], known: set[str]) -> set[str]:
    names = {name.lower() for name in sections}
    if EVERYTHING in names:
        return known
    for name in names - known:
        similar = get_close_matches(name, known, n=1)
        meant = f"did you mean {similar[0]}? " if similar else ""
        raise InvalidInput(f"no section is called {name[:32]!r}", hint=f"{meant}{', '.join(sorted(known))}, or all")
    return names or known - BY_COMMAND


def info_diff(
    redis: RedisAdmin, seconds: float, sections: Sequence[str] = (), *, sleep: Callable[[float], None] = time.sleep
) -> InfoDiff:
    """The difference of two INFOs, ``seconds`` apart; raises as :func:`server_info` does."""
    before = server_info(redis, sections)
    sleep(seconds)
    after = server_info(redis, sections)
    return InfoDiff((after.timestamp - before.timestamp) / 1000, tuple(_changes(before, after)))


def _changes(before: PerServer[ServerInfo], after: PerServer[ServerInfo]) -> Iterator[Change]:
    seconds = (after.timestamp - before.timestamp) / 1000
    old = {server.place: server.sections for server in before.servers}
    for server in after.servers:
        for title, fields in server.sections.items():
            known = old.get(server.place, {}).get(title, {})
            for name in dict.fromkeys([*fields, *known]):
                if fields.get(name) != known.get(name) and name not in _NOISE and not name.endswith("_human"):
                    yield Change(server.place, title, name, known.get(name), fields.get(name), seconds)


def _value(value: str) -> Any:
    """A number as a number, ``keys=3,expires=2`` as an object, anything else as text."""
    parts = [part.partition("=") for part in value.split(",")]
    if all(equals and name for name, equals, _ in parts):
        return {name: _number(inner) for name, _, inner in parts}
    return _number(value)


def _number(value: str) -> Any:
    digits = value.removeprefix("-")
    if digits.isascii() and digits.isdigit():
        return value if len(digits) > 1 and digits.startswith("0") else int(value)
    whole, point, rest = digits.partition(".")
    if point and whole.isdigit() and rest.isdigit() and digits.isascii():
        return float(value)
    return value
